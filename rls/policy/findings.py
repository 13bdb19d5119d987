"""What `check` reports: a value object per problem, with its place in a file."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from rls.errors import PolicyInvalid

__all__ = ["Finding", "Severity"]

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A problem of a policy directory with a catalog. An `error` stops queries or hides all; a `warning` is for a
    person to look at. `line` and `column` from 1; `relation` is set where the problem is one relation's."""

    file: str
    line: int
    column: int
    severity: Severity
    code: str
    message: str
    hint: str | None = None
    relation: str | None = None

    @classmethod
    def of(cls, error: PolicyInvalid, severity: Severity = "error", *, relation: str | None = None) -> Finding:
        """The finding that an error is."""
        place = (error.file, error.line, error.column)
        return cls(*place, severity, error.code, error.message, error.hint, relation)

    def __str__(self) -> str:
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.file}:{self.line}:{self.column}: {self.severity}: {self.message}{hint}"

    def to_dict(self) -> dict[str, object]:
        """For `--json`."""
        return asdict(self)
