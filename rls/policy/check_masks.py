"""Masks of a policy set → columns beside a masked one that look as if they held the same, and roles spared for nothing.

Takes bound relations; gives warnings at the place of the mask. Owns that a role which no policy shows a row is named:
its exemption helps nobody but who has a second role, and there it widens what that role was meant to see.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from rls.policy.findings import Finding
from rls.policy.rules import Bound, BoundColumn, ColumnRule

__all__ = ["find_masks"]


def find_masks(bounds: Iterable[Bound]) -> Iterator[Finding]:
    """Warnings `policy.unmasked` and `policy.spared_unseen`."""
    covered: dict[int, tuple[ColumnRule, list[Bound]]] = {}
    for bound in bounds:
        for column in _ruled(bound):
            covered.setdefault(id(column.rule), (column.rule, []))[1].append(bound)
            yield from _alike(column, bound)
    for rule, listed in covered.values():
        # A pattern may spare a role that sees rows of one of its tables only.
        unseen = [role for role in sorted(rule.exempt) if not any(_sees(role, bound) for bound in listed)]
        for role in unseen:
            label = listed[0].relation.label
            told = f"`{rule.column}` is shown to `{role}`, and no policy shows that role a row of `{label}`"
            hint = f"take `{role}` out of `except`: it opens the column only for who has another role, too"
            yield Finding.of(rule.place.invalid("policy.spared_unseen", told, hint=hint), "warning", relation=label)


def _ruled(bound: Bound) -> list[BoundColumn]:
    return [c for c in bound.columns if c.rule.denied or c.rule.mask is not None]


def _sees(role: str, bound: Bound) -> bool:
    opening = (each.policy for each in bound.policies if each.policy.kind == "permissive")
    return bound.public or any(policy.applies_to(frozenset((role,))) for policy in opening)


def _alike(column: BoundColumn, bound: Bound) -> Iterator[Finding]:
    """`iban` is masked, and `payer_iban` beside it is shown."""
    masked = bound.relation.column(column.column)
    if masked is None:
        return
    label, ruled = bound.relation.label, {c.column for c in _ruled(bound)}
    shown = [c for c in bound.relation.columns if c.name not in ruled and c.type == masked.type]
    for other in shown:
        if _is_another(_words(other.name), _words(masked.name)) and not _compares(other.name, bound):
            told = f"`{masked.name}` of `{label}` is masked or denied, and `{other.name}` beside it is shown"
            hint = "mask or deny it, too; where it holds something else, another name would tell"
            yield Finding.of(column.rule.place.invalid("policy.unmasked", told, hint=hint), "warning", relation=label)


def _words(name: str) -> list[str]:
    """`payerIBAN_2` → payer, iban."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)
    return [part.lower() for part in parts]


def _is_another(name: list[str], masked: list[str]) -> bool:
    """Whether a name is the masked one with a word before or after it, or a number."""
    size = len(masked)
    return len("".join(masked)) >= 4 and masked in (name[:size], name[-size:])


def _compares(name: str, bound: Bound) -> bool:
    """Whether a policy compares the column: who wrote it knows what it holds."""
    return any(
        hole.kind == "column" and hole.names[-1].casefold() == name.casefold()
        for each in bound.policies
        for hole in each.policy.using.holes
    )
