"""What roles may do beside what policies let them see: a value object, and the union of several. It imports nothing.

A role that says nothing of a capability is not narrowed in it, and a principal with several roles gets the most
generous of each: roles open, as permissive policies do. What the engine allows at most stays the upper bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

__all__ = ["STATEMENTS", "Capabilities", "most_generous"]

Item = TypeVar("Item")

# Kinds of statement, wherever in a query they stand; `recursive` is WITH RECURSIVE, `select` every other query.
STATEMENTS = ("describe", "pivot", "recursive", "select", "summarize", "unpivot", "values")


@dataclass(frozen=True)
class Capabilities:
    """What one role, or one principal, may do.

    limits         name of a limit of the engine (`rls.engines.limits.Limits`) → the role's own, in the same unit
    statements     kinds of statement it may send (of `STATEMENTS`); None: all
    relations      paths of the relations it may name (what a view reads is the view's business); None: all. Policies
                   still decide on the rows; a relation that is not listed does not exist for it
    export         whether results may leave as Arrow tables and DataFrames, and not as rows only
    read_policies  whether it may see which policies decided, in `explain` and in a `GuardedQuery`
    read_audit     whose records it may read
    shared         the role whose `concurrent` counts for this principal; "" where that is bounded by the engine alone
    """

    limits: Mapping[str, int | float] = field(default_factory=dict)
    statements: frozenset[str] | None = None
    relations: frozenset[tuple[str, ...]] | None = None
    export: bool = True
    read_policies: bool = True
    read_audit: Literal["own", "all"] = "own"
    shared: str = ""


def most_generous(found: Iterable[Capabilities]) -> Capabilities:
    """The union of several: of each limit the largest, and none where one of them sets none; at least one is given.

    >>> a, b = Capabilities({"rows": 10, "seconds": 1}, export=False), Capabilities({"rows": 20}, export=False)
    >>> most_generous([a, b])
    Capabilities(limits={'rows': 20}, statements=None, relations=None, export=False, read_policies=True, \
read_audit='own', shared='')
    """
    each = list(found)
    names = set(each[0].limits).intersection(*(one.limits for one in each))
    limits = {name: max(one.limits[name] for one in each) for name in sorted(names)}
    widest = max((one for one in each if "concurrent" in limits), key=_concurrent, default=None)
    return Capabilities(
        limits=limits,
        statements=_union([one.statements for one in each]),
        relations=_union([one.relations for one in each]),
        export=any(one.export for one in each),
        read_policies=any(one.read_policies for one in each),
        read_audit="all" if any(one.read_audit == "all" for one in each) else "own",
        shared=widest.shared if widest else "",
    )


def _concurrent(one: Capabilities) -> tuple[int | float, str]:
    # By name among equals, so that the same roles always share the same places.
    return one.limits["concurrent"], one.shared


def _union(sets: list[frozenset[Item] | None]) -> frozenset[Item] | None:
    known = [one for one in sets if one is not None]
    return frozenset[Item]().union(*known) if len(known) == len(sets) else None
