"""What a parsed statement names: relations, qualified columns and attributes, each with its span in the text and the
place where it stands. Value objects of `resolve`; owns that a span is what the text says there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlglot import exp

from rls.catalog import Relation, fold
from rls.errors import QueryRefused
from rls.rewrite.parse import Parsed

__all__ = [
    "AttributeUse",
    "Place",
    "QualifiedColumn",
    "Reference",
    "Resolution",
    "Scope",
    "first_offset",
    "refuse_reference",
    "span_of",
]


@dataclass(eq=False, slots=True)
class Place:
    """Where a name stands: in this SELECT, in this item of its list (None: elsewhere in it) or in its WINDOW clause;
    and where that SELECT stands."""

    select: exp.Expr
    outer: Place | None
    item: exp.Expr | None = None
    in_window: bool = False

    @staticmethod
    def around(place: Place | None) -> Iterator[Place]:
        """The place and those around it, innermost first."""
        while place is not None:
            yield place
            place = place.outer


@dataclass(eq=False, slots=True)
class Reference:
    """A base relation named in the text at `start:end`; `name` is its last part as written, `aliased` whether the
    caller gave an alias, `node` its node in the tree."""

    relation: Relation
    start: int
    end: int
    name: str
    aliased: bool
    node: exp.Expr
    place: Place | None
    alias: str = ""  # the alias the guard gets where the caller gave none


@dataclass(slots=True)
class QualifiedColumn:
    """A column reference whose qualifier `start:end` names a schema or database: `main.orders` in `main.orders.id`."""

    reference: Reference
    start: int
    end: int
    whole_row: bool
    node: exp.Expr
    place: Place | None


@dataclass(slots=True)
class AttributeUse:
    """`user.<name>` in the caller's text at `start:end`."""

    name: str
    start: int
    end: int
    node: exp.Expr
    place: Place | None


class Scope:
    """The common table expressions visible at a place: the first `limit` of one WITH clause, then the outer ones."""

    __slots__ = ("limit", "names", "nodes", "outer")

    def __init__(self, outer: Scope | None, names: dict[str, int], limit: int, nodes: list[exp.Expr]) -> None:
        self.outer, self.names, self.limit, self.nodes = outer, names, limit, nodes

    @staticmethod
    def sees(scope: Scope | None, name: str) -> bool:
        """Whether a folded name is a common table expression here."""
        while scope is not None:
            ordinal = scope.names.get(name)
            if ordinal is not None and ordinal < scope.limit:
                return True
            scope = scope.outer
        return False


@dataclass
class Resolution:
    """All that must be replaced in the text."""

    references: list[Reference] = field(default_factory=list)
    columns: list[QualifiedColumn] = field(default_factory=list)
    attributes: list[AttributeUse] = field(default_factory=list)
    pivots: list[tuple[exp.Expr, Scope | None]] = field(default_factory=list)
    literals: list[exp.Expr] = field(default_factory=list)
    named: set[str] = field(default_factory=set)  # folded names that the query gives to columns of its own
    reshaped: bool = False  # columns of unknown type: set operations, PIVOT, UNNEST, renamed stars, COLUMNS


def span_of(parsed: Parsed, identifier: exp.Expr) -> tuple[int, int]:
    """Start and end (exclusive) of an identifier in the text, checked against the text itself."""
    meta = identifier.meta
    start, end = meta.get("start"), meta.get("end")
    if start is None or end is None or start not in parsed.token_at:
        raise refuse_reference(parsed, identifier)
    token = parsed.tokens[parsed.token_at[start]]
    # The tree must name what the text says there; a desugared or synthesised identifier must not be spliced.
    if token.end != end or fold(token.text) != fold(identifier.name):
        raise refuse_reference(parsed, identifier)
    return start, end + 1


def first_offset(node: exp.Expr) -> int:
    """Where the first name in a part of the tree stands."""
    return min((i.meta["start"] for i in node.find_all(exp.Identifier) if "start" in i.meta), default=0)


def refuse_reference(parsed: Parsed, node: exp.Expr) -> QueryRefused:
    """The refusal of a name that cannot be replaced."""
    start = first_offset(node)
    return QueryRefused(
        "query.reference",
        "a relation or column is named in a way that is not supported",
        position=parsed.position(start),
        hint="write schema.name, with double quotes where needed",
    )
