"""The system under test as the runners see it: open a database with policies, ask, get an answer or a refusal.

It takes paths and returns `Answer` or `Refusal`; every exception of the product becomes one of the two, with all of
its public text, and anything else becomes an error that no oracle will excuse.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.oracle import Answer

__all__ = ["Driver", "Refusal"]


@dataclass(frozen=True)
class Refusal:
    """The query was not run: `code` is stable, `text` is all that the caller gets to read."""

    code: str
    text: str


class Driver:
    """One engine over one database; `ask` never raises."""

    def __init__(
        self, database: Path, policies: Path, *, token: str, name: str | None = None, limits: Any = None
    ) -> None:
        import rls

        options = {"limits": limits} if limits is not None else {}
        self._token = token
        self._engine = rls.Engine.open(
            database, policies=policies, audit=database.parent / "audit.jsonl", name=name, **options
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.close()

    def ask(self, sql: str, *, token: str | None = None) -> Answer | Refusal:
        """The engine's answer; an error after the query was accepted is an `Answer` with `error`."""
        from rls.errors import QueryFailed, QueryRefused, RlsError

        try:
            result = self._engine.query(token or self._token, sql)
            return Answer(tuple(result.names), tuple(result.types), result.rows)
        except QueryRefused as error:
            return Refusal(error.code, f"{error} {error.to_dict()}")
        except QueryFailed as error:
            return Answer(error=f"{error.code}: {error} {error.to_dict()}")
        except RlsError as error:
            return Answer(error=f"{error.code}: {error}")
        except Exception as error:  # noqa: BLE001 - whatever escapes is a fault to report, not the end of the run
            return Answer(error=f"escaped {type(error).__name__}: {error}")


def sign(claims: dict[str, Any], secret: str) -> str:
    """An HS256 token with the key id `k1`."""
    import jwt

    return jwt.encode(claims, secret, algorithm="HS256", headers={"kid": "k1"})


def now() -> int:
    """The time for `iat`, in whole seconds."""
    return int(time.time())
