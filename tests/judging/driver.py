"""The system under test as the runners see it: open a database with policies, ask, get an answer or a refusal.

It takes paths and returns `Answer` or `Refusal`; every exception of the product becomes one of the two, with all of
its public text, and anything else becomes an error that no oracle will excuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from tests.judging.oracle import Answer

if TYPE_CHECKING:
    from rls.rewrite.guarded import GuardedQuery

__all__ = ["Driver", "Isolation", "Refusal", "sign", "sign_rsa"]

Isolation = Literal["thread", "process"]


@dataclass(frozen=True)
class Refusal:
    """The query was not run: `code` is stable, `text` is all that the caller gets to read."""

    code: str
    text: str


class Driver:
    """One engine over one database; `ask` never raises."""

    def __init__(
        self,
        database: Path | str,
        policies: Path,
        *,
        token: str,
        audit: Path | None = None,
        name: str | None = None,
        limits: Any = None,
        isolation: Isolation = "thread",
    ) -> None:
        from rls.engine import Engine

        self._token = token
        audit = audit or Path(database).parent / "audit.jsonl"
        self._engine = Engine.open(
            database, policies=policies, audit=audit, name=name, limits=limits, isolation=isolation
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()

    def ask(
        self, sql: str, *, token: str | None = None, parameters: Mapping[str, object] | None = None
    ) -> Answer | Refusal:
        """The engine's answer; an error after the query was accepted is an `Answer` with `error`."""
        from rls.errors import QueryFailed, QueryRefused, RlsError

        try:
            result = self._engine.query(token or self._token, sql, parameters)
            return Answer(tuple(result.columns), tuple(result.types), result.rows)
        except QueryRefused as error:
            return Refusal(error.code, f"{error} {error.to_dict()}")
        except QueryFailed as error:
            return Answer(error=f"{error.code}: {error} {error.to_dict()}")
        except RlsError as error:
            return Answer(error=f"{error.code}: {error}")
        except Exception as error:  # noqa: BLE001 - whatever escapes is a fault to report, not the end of the run
            return Answer(error=f"escaped {type(error).__name__}: {error}")

    def guard(self, sql: str, *, token: str | None = None) -> GuardedQuery:
        """The guarded text, for execution elsewhere; raises the product's own errors."""
        return self._engine.guard(token or self._token, sql)


def sign(claims: dict[str, Any], secret: str) -> str:
    """An HS256 token with the key id `k1`."""
    import jwt

    return jwt.encode(claims, secret, algorithm="HS256", headers={"kid": "k1"})


def sign_rsa(claims: dict[str, Any]) -> tuple[str, bytes]:
    """An RS256 token with the key id `k1`, and the public key (PEM) of the pair made for it."""
    import jwt
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": "k1"}), public
