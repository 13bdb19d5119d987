"""A URL → where a Spark Connect server is, and where its relations are.

`spark://host[:port]/[schema][?tls=true][&token_file=PATH][&parquet=DIRECTORY]`. Owns that secrets come from the
environment or a file, never from the URL, which ends up in logs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from rls.errors import EngineInvalid

__all__ = ["Address", "read_address"]

_PORT: Final = 15002
_OPTIONS: Final = ("parquet", "tls", "token_file")
_TOKEN: Final = "SPARK_CONNECT_AUTHENTICATE_TOKEN"  # noqa: S105 (the variable's name, which Spark's own client has too)


@dataclass(frozen=True, slots=True)
class Address:
    """`remote` is the client library's URL, with the token; `parquet` a directory of Parquet files that the server
    sees under the same path, or "" for the server's own catalog; `schema` what callers reach there as `main`."""

    remote: str = field(repr=False)
    host: str
    parquet: str
    schema: str


def read_address(url: str) -> Address:
    """Raises `EngineInvalid` (`engine.url`)."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORT
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise _invalid("the server's URL cannot be read") from None
    options = dict(given)
    schema = parts.path.strip("/")
    if not parts.hostname or parts.username or parts.password or parts.fragment or "/" in schema:
        raise _invalid("the server's URL cannot be read")
    for name in options:
        if name not in _OPTIONS:
            raise EngineInvalid(
                "engine.url",
                f"`{name[:40]}` may not stand in the server's URL",
                hint=f"put a token into {_TOKEN} or a file, as token_file=PATH",
            )
    if len(options) != len(given) or options.get("tls", "true") not in ("true", "false"):
        raise _invalid("the server's URL cannot be read")
    parquet = options.get("parquet", "")
    if parquet and (schema or not Path(parquet).is_absolute()):
        raise _invalid("`parquet` is an absolute path, and its schemas are its directories")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    token = _token(options.get("token_file"))
    settings = [f"token={token}"] if token else []
    settings += ["use_ssl=true"] if options.get("tls") == "true" else []
    remote = f"sc://{host}:{port}/" + "".join(f";{one}" for one in settings)
    return Address(remote, host, parquet.rstrip("/"), schema or "default")


def _token(file: str | None) -> str:
    """Raises `EngineInvalid`."""
    if file is None:
        token = os.environ.get(_TOKEN, "")
    else:
        try:
            token = Path(file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise EngineInvalid("engine.url", "the token's file cannot be read", hint="check token_file") from None
    if any(one in token for one in ";/ \n"):
        raise EngineInvalid("engine.url", "the token has characters that no URL can hold", hint="use another token")
    return token


def _invalid(message: str) -> EngineInvalid:
    return EngineInvalid(
        "engine.url", message, hint="write spark://host:port, and ?parquet=/directory for Parquet files"
    )
