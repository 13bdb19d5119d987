"""Every error that leaves the library, as one tree: a class per owner of the problem, a stable code per problem.

    RlsError
    ├── TokenRejected      token.*    the caller: one opaque public message, the typed reason is for the audit record
    ├── PolicyInvalid      policy.*   the policy author: file, line and column
    ├── QueryRefused       query.*    the author of the SQL: nothing was run; position in the caller's text
    ├── QueryFailed        run.*      the query ran and was ended (limit, error on visible rows)
    ├── AuditFailed        audit.*    the operator: the record could not be written, so the result is withheld
    └── EngineInvalid      engine.*   the operator: database, catalog or configuration

Invariant (private): no message, hint or code carries a row's value, a policy's text or an attribute's value.
Messages are lower case, one line, no final period, the caller's own words in backticks.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "AuditFailed",
    "EngineInvalid",
    "PolicyInvalid",
    "Position",
    "QueryFailed",
    "QueryRefused",
    "RlsError",
    "TokenRejected",
]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a text: `offset` counts characters from 0, `line` and `column` from 1; `length` in characters."""

    offset: int
    line: int
    column: int
    length: int = 1

    @classmethod
    def at(cls, text: str, offset: int, length: int = 1) -> Position:
        """Position of `offset` in `text`.

        >>> Position.at("SELECT\\n  x", 9)
        Position(offset=9, line=2, column=3, length=1)
        """
        offset = max(0, min(offset, len(text)))
        line = text.count("\n", 0, offset) + 1
        column = offset - (text.rfind("\n", 0, offset) + 1) + 1
        return cls(offset, line, column, length)


class RlsError(Exception):
    """Base of all errors of this library; `str(error)` is the public one-line message, `error.code` is stable."""

    exit_code = 6

    def __init__(self, code: str, message: str, *, hint: str | None = None, detail: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        # For the audit record and the operator's log only: may hold what the caller must not see.
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def to_dict(self) -> dict[str, object]:
        """The public part, for `--json` and services."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class TokenRejected(RlsError):
    """The token is not accepted; the public message is always the same, `reason` is a stable code for the audit."""

    exit_code = 4

    def __init__(self, reason: str, *, detail: str | None = None) -> None:
        super().__init__("token.rejected", "token rejected", hint="ask the issuer for a new one", detail=detail)
        self.reason = reason


class PolicyInvalid(RlsError):
    """A policy or identity file is wrong; `file`, `line` and `column` (from 1) say where."""

    exit_code = 3

    def __init__(
        self,
        code: str,
        message: str,
        *,
        file: str,
        line: int = 1,
        column: int = 1,
        hint: str | None = None,
    ) -> None:
        super().__init__(code, message, hint=hint)
        self.file, self.line, self.column = file, line, column

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {super().__str__()}"

    def to_dict(self) -> dict[str, object]:
        return {**super().to_dict(), "file": self.file, "line": self.line, "column": self.column}


class QueryRefused(RlsError):
    """The query was not run; `position` points into the caller's text where that is known."""

    exit_code = 5

    def __init__(
        self,
        code: str,
        message: str,
        *,
        position: Position | None = None,
        hint: str | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(code, message, hint=hint, detail=detail)
        self.position = position

    def __str__(self) -> str:
        where = f" (line {self.position.line}, column {self.position.column})" if self.position else ""
        text = f"{self.message}{where}"
        return f"{text}; {self.hint}" if self.hint else text

    def to_dict(self) -> dict[str, object]:
        p = self.position
        place = None if p is None else {"offset": p.offset, "line": p.line, "column": p.column, "length": p.length}
        return {**super().to_dict(), "position": place}


class QueryFailed(RlsError):
    """The guarded query started and did not end well: a limit, or an error on rows the caller may see."""


class AuditFailed(RlsError):
    """The audit record could not be written; by invariant (recorded) the result is withheld."""


class EngineInvalid(RlsError):
    """The database, the catalog or the engine's configuration cannot be used."""
