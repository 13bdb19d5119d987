"""A name inside a policy's sub-queries → the column of a table that it comes from, through CTEs and derived tables.

Takes the expression, the catalog and what each reference stands for; returns the table and the column's name. Owns the
guess where a star stands before the column: the first table read that has a column of that name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from rls.catalog import Catalog, Relation, fold
from rls.policy.compared import nodes_of
from rls.policy.expressions import Expression
from rls.policy.parser import Tree, character_offset
from rls.policy.reader import NO_POSITION
from rls.policy.scopes import Hole, Scope, Source

__all__ = ["Lineage", "selected"]

Origin = tuple[Relation, tuple[str, ...]]  # a table, and the column with the fields inside it
_Behind = frozenset[tuple[str, int]]


@dataclass(frozen=True)
class _Made:
    """A column of a sub-query: what the sub-query is called, and the place among what it selects."""

    query: str
    place: int


@dataclass
class Lineage:
    """One expression about one relation."""

    expression: Expression
    relation: Relation
    catalog: Catalog
    _holes: dict[int, Hole] = field(init=False)
    _queries: dict[str, list[Tree]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._holes = {h.offset: h for h in self.expression.holes if h.kind == "column"}
        for name, query in _named_queries(self.expression.root.tree):
            self._queries.setdefault(name, []).append(query)

    def column(self, hole: Hole, behind: _Behind = frozenset()) -> Origin | None:
        """Where a column comes from; None where nothing is known. `behind`: what is asked already."""
        names = tuple(map(fold, hole.names))
        scope: Scope | None = hole.scope
        while scope is not None:
            if len(names) == 1 and names[0] in scope.names:
                return None
            for source in scope.sources:
                rest = names[1:] if len(names) > 1 and names[0] == source.name else names
                offered = next((origin for name, origin in self._offered(source) if name == rest[0]), None)
                if offered is not None:
                    return self._resolved(offered, rest, behind)
            scope = scope.outer
        key = self.relation.key
        width = next((w for w in range(min(len(names) - 1, len(key)), 0, -1) if names[:w] == key[-w:]), 0)
        return None if self.relation.column(names[width]) is None else (self.relation, names[width:])

    def united(self) -> Iterator[list[Tree]]:
        """What stands at one place in two queries that are united: `UNION`, a hierarchy's start and its step."""
        for listed in self._queries.values():
            for query in listed:
                for one, other in pairwise(selected(query)):
                    yield from ([a, b] for a, b in zip(one, other, strict=False))

    def shared(self) -> Iterator[list[Origin]]:
        """The columns that `JOIN … USING (…)` compares."""
        tables = [t for path in self.expression.relations if (t := self.catalog.find(path)) is not None]
        for name in _using(self.expression.root.tree):
            yield [(table, (fold(name),)) for table in dict.fromkeys(tables) if table.column(name) is not None]

    def _offered(self, source: Source) -> list[tuple[str | None, Origin | _Made]]:
        """The columns of an entry of FROM, in order."""
        listed: list[tuple[str | None, Origin | _Made]] = []
        if source.path is not None:
            table = self.catalog.find(source.path)
            listed = [] if table is None else [(fold(c.name), (table, (c.name,))) for c in table.columns]
        for place, item in enumerate(source.items):
            listed += self._offered(item) if isinstance(item, Source) else [(item, _Made(source.name, place))]
        renamed = zip(source.renamed, listed, strict=False)
        return [*((name, origin) for name, (_, origin) in renamed), *listed[len(source.renamed) :]]

    def _resolved(self, origin: Origin | _Made, names: tuple[str, ...], behind: _Behind) -> Origin | None:
        if not isinstance(origin, _Made):
            return origin[0], (*origin[1], *names[1:])
        asked = (origin.query, origin.place)
        if asked in behind:
            return None
        lists = [items for query in self._queries.get(origin.query, ()) for items in selected(query)]
        if not lists or any(item["class"] == "STAR" for items in lists for item in items):
            return self._guess(names)
        for items in lists:
            found = self._of_item(items[origin.place], behind | {asked}) if origin.place < len(items) else None
            if found is not None:
                return found[0], (*found[1], *names[1:])
        return None

    def _of_item(self, item: Tree, behind: _Behind) -> Origin | None:
        """The one column that an expression is made of."""
        columns = [n for n in nodes_of(item) if n["class"] == "COLUMN_REF"]
        start = columns[0].get("query_location", NO_POSITION) if len(columns) == 1 else NO_POSITION
        hole = None if start >= NO_POSITION else self._holes.get(character_offset(self.expression.text, start))
        return None if hole is None else self.column(hole, behind)

    def _guess(self, names: tuple[str, ...]) -> Origin | None:
        for path in (*self.expression.relations, (*self.relation.schema, self.relation.name)):
            table = self.catalog.find(path)
            if table is not None and table.column(names[0]) is not None:
                return table, names
        return None


def selected(query: Tree) -> Iterator[list[Tree]]:
    """What a query selects, for each of those that it unites."""
    match query["type"]:
        case "SET_OPERATION_NODE":
            for child in query["children"]:
                yield from selected(child)
        case "RECURSIVE_CTE_NODE":
            yield from selected(query["left"])
            yield from selected(query["right"])
        case "SELECT_NODE":
            yield list(query["select_list"])
        case _:
            return


def _named_queries(tree: Any) -> Iterator[tuple[str, Tree]]:
    """The sub-queries that have a name: of WITH, and in FROM."""
    if isinstance(tree, list):
        for each in tree:
            yield from _named_queries(each)
    elif isinstance(tree, dict):
        if isinstance(tree.get("cte_map"), dict):
            yield from ((fold(entry["key"]), entry["value"]["query_node"]) for entry in tree["cte_map"]["map"])
        if tree.get("type") == "SUBQUERY" and tree.get("alias") and isinstance(tree.get("subquery"), dict):
            yield fold(tree["alias"]), tree["subquery"]["node"]
        for each in tree.values():
            yield from _named_queries(each)


def _using(tree: Any) -> Iterator[str]:
    if isinstance(tree, list):
        for each in tree:
            yield from _using(each)
    elif isinstance(tree, dict):
        yield from tree.get("using_columns") or ()
        for each in tree.values():
            yield from _using(each)
