"""Acknowledged widenings: entries of widenings.yaml, or of a command line, that a diff may widen.

    widenings:
      - relation: orders
        personas: [alice]          # left out: whoever it is
        reason: contract 2026-17
        until: "2026-12-31"        # the last day on which it counts; left out: always

Owns that nothing is acknowledged by accident: a reason is asked for, and an entry names its relation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from rls.errors import PolicyInvalid
from rls.lab.diff.compare import Change, Diff
from rls.yaml_model import suggest, validate
from rls.yaml_source import parse_documents

__all__ = ["Allowed", "allowed_from_options", "read_widenings", "stray", "unacknowledged"]


@dataclass(frozen=True, slots=True)
class Allowed:
    """A widening somebody answers for. `personas` empty: of whomever."""

    relation: str
    personas: tuple[str, ...] = ()
    reason: str = ""
    until: date | None = None

    def covers(self, change: Change, *, today: date) -> bool:
        """Whether it speaks of this change, today."""
        named = self.relation.lower() == change.relation.lower()
        who = not self.personas or change.persona in self.personas
        return named and who and (self.until is None or today <= self.until)


def allowed_from_options(options: Iterable[str]) -> list[Allowed]:
    """`RELATION` or `RELATION:PERSONA`, as on a command line.

    >>> allowed_from_options(["orders:alice", "events"])[0].personas
    ('alice',)
    """
    found = []
    for option in options:
        relation, colon, persona = option.partition(":")
        found.append(Allowed(relation, (persona,) if colon else (), "on the command line"))
    return found


def read_widenings(text: str, *, file: str) -> list[Allowed]:
    """The entries of a widenings.yaml. Raises PolicyInvalid at what is wrong in it."""
    from rls.lab.diff.widenings_model import WideningsFile

    document, *more = parse_documents(text, file=file)
    if more:
        raise more[0].invalid("policy.value", "widenings are one document")
    found = []
    for number, entry in enumerate(validate(document, WideningsFile).widenings):
        until = None
        if entry.until is not None:
            try:
                until = date.fromisoformat(entry.until)
            except ValueError:
                wrong: PolicyInvalid = document.invalid(
                    "policy.value",
                    f"`{entry.until}` is not a day",
                    path=("widenings", number, "until"),
                    hint="write it as 2026-12-31",
                )
                raise wrong from None
        found.append(Allowed(entry.relation, tuple(entry.personas), entry.reason, until))
    return found


def stray(allowed: Iterable[Allowed], found: Diff, *, today: date) -> Iterator[str]:
    """What entries say that speaks of nothing: relations and personas that are not there, days that are over."""
    for one in allowed:
        labels = {label.lower(): label for label in found.relations}
        if one.relation.lower() not in labels:
            hint = suggest(one.relation, found.relations)
            yield f"there is no table `{one.relation}`{f'; {hint}' if hint else ''}"
        for persona in one.personas:
            if persona not in found.personas:
                hint = suggest(persona, found.personas)
                yield f"there is no persona `{persona}`{f'; {hint}' if hint else ''}"
        if one.until is not None and today > one.until:
            yield f"what was acknowledged for `{one.relation}` held until {one.until}"


def unacknowledged(changes: Iterable[Change], allowed: Sequence[Allowed], *, today: date) -> list[Change]:
    """The widenings that no entry covers."""
    return [c for c in changes if c.widens and not any(a.covers(c, today=today) for a in allowed)]
