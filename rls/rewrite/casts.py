"""The reviewed table of casts and comparisons: two bound types go in, whether a value can fail to convert comes out.

`casts.tsv` beside this file holds one row per source kind, verdict and witness, with the targets it is for (by `/`;
the target `=` stands for comparing, sorting and grouping values of the source). `python -m tests.functions.cast_review`
measures every pair on the running DuckDB. Owns that a pair without a row raises.

Verdicts
  total      no value of the source raises
  raises     CAST may raise; TRY_CAST gives NULL
  magnitude  integers and DECIMAL: widths decide, see `magnitude`
  parts      total where the casts (or comparisons) of the parts are: elements, fields of the same names
  refused    the binder does not cast
  forbidden  raises although unmarked, TRY_CAST too: it makes the instance invalid, or is not known
The witness, where there is one, is a value of the source on which every cast of the row raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from rls.rewrite.functions import SHORT
from rls.rewrite.magnitude import cast, limit

__all__ = ["COMPARISON", "CastReview", "cast_reviews", "cast_verdict", "compares", "is_total_cast", "joins", "kind_of"]

TABLE: Final = Path(__file__).with_name("casts.tsv")
COMPARISON: Final = "="

Type = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CastReview:
    """A row of the table."""

    source: str
    verdict: str
    targets: tuple[str, ...]
    witness: str
    reason: str


def cast_reviews() -> tuple[CastReview, ...]:
    """Every row of the table, in its order."""
    rows = []
    for line in TABLE.read_text(encoding="utf-8").splitlines()[1:]:
        source, verdict, targets, witness, reason = line.split("\t")
        rows.append(CastReview(source, verdict, tuple(targets.split("/")), witness, reason))
    return tuple(rows)


def cast_verdict(source: str, target: str) -> str | None:
    """The verdict of a pair of kinds, `=` as target for a comparison; None where the table has none.

    >>> cast_verdict("INTEGER", "VARCHAR"), cast_verdict("VARCHAR", "INTEGER"), cast_verdict("VARCHAR", "ORDERS")
    ('total', 'raises', None)
    """
    return _pairs().get((source, target))


def is_total_cast(source: Type, target: Type, *, attempt: bool = False) -> bool:
    """Whether a cast between bound types raises on no value; `attempt` for TRY_CAST."""
    a, b = kind_of(source), kind_of(target)
    if a == "NULL" or (source == target and a == b and compares(source)):
        return True
    match cast_verdict(a, b):
        case "total":
            return True
        case "raises":
            return attempt
        case "magnitude":
            widest = limit(source)
            return attempt or (widest is not None and cast(widest, source, target) is not None)
        case "parts":
            return all(is_total_cast(x, y, attempt=attempt) for x, y in _parts(source, target))
        case _:
            return False


def compares(type_: Type) -> bool:
    """Whether values of a bound type compare, sort and group without an error."""
    match cast_verdict(kind_of(type_), COMPARISON):
        case "total":
            return True
        case "parts":
            inner = _children(type_)
            return bool(inner) and all(compares(child) for _, child in inner)
        case _:
            return False


def joins(type_: Type) -> bool:
    """Whether values of a bound type compare without an error as a join's condition, too.

    Mark joins (`IN (SELECT …)`, `<> ANY`, SEMI JOIN) are not implemented for INTERVAL; `< ANY` casts TIMETZ in vain.
    """
    return (
        compares(type_)
        and kind_of(type_) not in ("INTERVAL", "TIMETZ")
        and all(joins(child) for _, child in _children(type_))
    )


def kind_of(type_: Type) -> str:
    """A bound type's name in the table: JSON is a VARCHAR with an alias; other aliases stand in no row."""
    info = type_.get("type_info") or {}
    name: str = info.get("alias") or type_["id"]
    return SHORT.get(name, name)


def _parts(source: Type, target: Type) -> Sequence[tuple[Type, Type]]:
    a, b = _children(source), _children(target)
    if kind_of(target) in ("VARCHAR", "JSON"):
        return [(child, target) for _, child in a] or [(source, {"id": ""})]
    if not a or [name for name, _ in a] != [name for name, _ in b]:
        return [(source, {"id": ""})]  # no cast of the table
    return [(x, y) for (_, x), (_, y) in zip(a, b, strict=True)]


def _children(type_: Type) -> list[tuple[str, Type]]:
    """(field, type) of each part; of a list and an array the one element."""
    info = type_.get("type_info") or {}
    if "child_type" in info:
        return [("", info["child_type"])]
    return [(field["first"].lower(), field["second"]) for field in info.get("child_types") or ()]


@cache
def _pairs() -> dict[tuple[str, str], str]:
    return {(row.source, target): row.verdict for row in cast_reviews() for target in row.targets}
