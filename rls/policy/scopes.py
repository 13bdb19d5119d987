"""Which names an expression can see at each place, as far as its text says it; the catalog's part comes in `bind`.

Value objects for `reader` (which makes them) and `bind` (which asks them). A `Scope` is one FROM clause: its sources,
then the names that stand beside them, then the scope around it; the outermost is the relation a policy is about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Hole", "Item", "Scope", "Source"]


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of a FROM clause, or a CTE: what it is called and which columns it has, in order.

    `path` is set for a base relation (its columns are the catalog's); else `items` hold a name, None for a column
    without one, or a source whose columns stand there (`*`). `renamed` are the column aliases of `AS q(a, b)`.
    """

    name: str
    path: tuple[str, ...] | None = None
    items: tuple[Item, ...] = ()
    renamed: tuple[str, ...] = ()
    aliased: bool = False


Item = str | None | Source


@dataclass(frozen=True, slots=True)
class Scope:
    """The sources of a FROM clause and `names` beside them (lambda parameters; in ORDER BY, output names)."""

    sources: tuple[Source, ...] = ()
    names: frozenset[str] = frozenset()
    outer: Scope | None = None


@dataclass(frozen=True, slots=True)
class Hole:
    """A place in an expression that is filled later: `user.<attribute>`, a column, or a relation of a sub-query.

    `names` as written, without quotes; `offset` and `length` in characters of the author's text.
    """

    kind: Literal["attribute", "column", "relation"]
    names: tuple[str, ...]
    offset: int
    length: int
    scope: Scope
