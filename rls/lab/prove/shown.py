"""A query inside a policy → one row of its answer: what stands in it, what must be true, and the rows of tables needed.

Takes a query that selects columns from joins, CTEs, derived tables, unions and hierarchies of such; returns `Shown`,
None for every other one. Owns that no row of the answer is left out: below a hierarchy's start, a row is a step away
from any row; only while the scene looks for counterexamples, which prove nothing, from the start itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import z3

from rls.catalog import Relation, fold
from rls.lab.prove.encode import Encoder
from rls.lab.prove.terms import FALSE, TRUE, Term, common, free_term
from rls.policy.parser import Tree

__all__ = ["Shown", "show_row"]

Columns = tuple[tuple[str, Term], ...]  # by folded name, in order
Need = tuple[Any, Relation, Mapping[str, Term]]


@dataclass(frozen=True)
class Shown:
    """`columns` of the row; `meets` are conditions that hold of it; `needs` are rows of tables, each with when it is
    needed."""

    columns: Columns
    meets: tuple[Any, ...]
    needs: tuple[Need, ...]


@dataclass(frozen=True)
class _Table:
    """An entry of FROM."""

    name: str
    row: Shown


def show_row(encoder: Encoder, query: Tree) -> Shown | None:
    """One row, whichever it is."""
    if query.get("modifiers"):
        return None
    for entry in () if query["type"] == "RECURSIVE_CTE_NODE" else query["cte_map"]["map"]:
        # An entry sees those before it, and what is around its query.
        defined = (entry["value"], encoder)
        encoder = replace(encoder, queries={**encoder.queries, fold(entry["key"]): defined})
    match query["type"]:
        case "SELECT_NODE":
            return _selected(encoder, query)
        case "SET_OPERATION_NODE" if query["setop_type"] == "UNION":
            rows = [show_row(encoder, child) for child in query["children"]]
            found, *others = rows
            for other in others:
                found = None if found is None or other is None else _either(encoder, found, other)
            return found
        case _:
            return None


def _selected(encoder: Encoder, query: Tree) -> Shown | None:
    if query["group_expressions"] or query["having"] is not None:
        return None
    if not all(_is_plain(item) for item in query["select_list"]):
        return None
    tables = _tables(encoder, query["from_table"])
    if tables is None:
        return None
    inner = _inside(encoder, tables)
    conditions = [inner.condition(each).true for each in _conditions(query)]
    columns: list[tuple[str, Term]] = []
    for item in query["select_list"]:
        if item["class"] == "STAR":
            if _is_changed(item) or any(join["using_columns"] for join in _joins(query["from_table"])):
                return None
            columns += [column for table in tables for column in table.row.columns]
        else:
            name = item["alias"] or (item["column_names"][-1] if item["class"] == "COLUMN_REF" else "")
            columns.append((fold(name), inner.term(item)))
    meets = (*(m for t in tables for m in t.row.meets), *conditions, *_shared(query["from_table"], tables))
    return Shown(tuple(columns), meets, tuple(n for t in tables for n in t.row.needs)) if columns else None


def _is_plain(item: Tree) -> bool:
    # Without GROUP BY, an aggregate would be among the columns; any call but an operator may be one.
    match item["class"]:
        case "COLUMN_REF" | "CONSTANT" | "STAR":
            return True
        case "FUNCTION":
            return bool(item["is_operator"]) and all(_is_plain(a["expression"]) for a in item["arguments"])
        case _:
            return False


def _is_changed(star: Tree) -> bool:
    lists = ("exclude_list", "replace_list", "qualified_exclude_list", "rename_list", "relation_name", "expr")
    return any(star.get(part) for part in lists)


def _inside(encoder: Encoder, tables: Sequence[_Table]) -> Encoder:
    """The encoder for what stands in a query: names are those of its tables, then those around it."""

    def resolve(names: Sequence[str]) -> Term | None:
        found = _resolve(names, tables)
        return encoder.resolve_inner(names) if found is None else found

    return replace(encoder, resolve_inner=resolve)


def _tables(encoder: Encoder, table: Tree) -> list[_Table] | None:
    """The entries of a FROM clause; None where one is not known."""
    match table["type"]:
        case "EMPTY":
            return []
        case "BASE_TABLE":
            found = _base_table(encoder, table)
            return None if found is None else [found]
        case "SUBQUERY":
            row = show_row(encoder, table["subquery"]["node"])
            return None if row is None else [_Table(fold(table["alias"]), _renamed(row, table["column_name_alias"]))]
        case "JOIN" if table["join_type"] == "INNER" and table["ref_type"] in ("REGULAR", "CROSS"):
            left = _tables(encoder, table["left"])
            # A derived table on the right sees what is on the left.
            right = None if left is None else _tables(_inside(encoder, left), table["right"])
            return None if left is None or right is None else [*left, *right]
        case _:
            return None


def _base_table(encoder: Encoder, table: Tree) -> _Table | None:
    scene = encoder.scene
    path = tuple(table["qualified_name"]["path"])
    name = fold(table["alias"] or path[-1])
    if len(path) == 1 and fold(path[0]) in encoder.queries:
        row = _of_query(encoder, fold(path[0]))
        return None if row is None else _Table(name, _renamed(row, table["column_name_alias"]))
    relation = scene.catalog.find(path)
    if relation is None:
        return None
    number = next(scene.numbers)
    columns = tuple(
        (
            fold(c.name),
            free_term(f"{relation.label} {number}.{c.name}", c.type, nullable=c.nullable, assume=scene.assume),
        )
        for c in relation.columns
    )
    needs = ((TRUE, relation, dict(columns)),)
    return _Table(name, _renamed(Shown(columns, (), needs), table["column_name_alias"]))


def _of_query(encoder: Encoder, name: str) -> Shown | None:
    """A row of a CTE."""
    entry = encoder.queries[name]
    if isinstance(entry, Shown):
        return entry
    value, around = entry
    if value["query_node"]["type"] == "RECURSIVE_CTE_NODE":
        row = _of_hierarchy(around, name, value)
    else:
        row = show_row(around, value["query_node"])
    return None if row is None else _renamed(row, value["aliases"])


def _of_hierarchy(encoder: Encoder, name: str, value: Mapping[str, Any]) -> Shown | None:
    start = show_row(encoder, value["query_node"]["left"])
    if start is None:
        return None
    # A step starts at a row that is in the hierarchy already, whichever that is.
    from_ = start if encoder.scene.guessing else _any_like(encoder, start)
    if from_ is None:
        return None
    above = {**encoder.queries, name: _renamed(from_, value["aliases"])}
    step = show_row(replace(encoder, queries=above), value["query_node"]["right"])
    found = None if step is None else _either(encoder, start, step)
    return start if found is None and encoder.scene.guessing else found


def _any_like(encoder: Encoder, row: Shown) -> Shown | None:
    """A row of which nothing is known but its columns' types."""
    columns = [(name, _any(encoder, term, term, nullable=True)) for name, term in row.columns]
    known = tuple((name, term) for name, term in columns if term is not None)
    return Shown(known, (), ()) if len(known) == len(columns) else None


def _any(encoder: Encoder, one: Term, other: Term, *, nullable: bool) -> Term | None:
    """Any value that a column may have which unites two terms; None where that is not known."""
    scene = encoder.scene
    name = f"united {next(scene.numbers)}"
    if one.kind in ("opaque", "null", "list") or one.kind != other.kind or one.value.sort() != other.value.sort():
        return None
    if one.type == other.type:
        return free_term(name, one.type, nullable=nullable, assume=scene.assume)
    if one.kind != "number":
        return None
    # Which of the types it has is not known, so nothing is said of its size.
    digits = tuple(max(pair) for pair in zip(one.digits, other.digits, strict=True))
    return Term(
        "number",
        z3.Const(name, one.value.sort()),
        z3.Bool(f"{name} is null") if nullable else FALSE,
        one.type,
        (digits[0], digits[1]),
    )


def _either(encoder: Encoder, one: Shown, other: Shown) -> Shown | None:
    """A row that is the one or the other."""
    if len(one.columns) != len(other.columns):
        return None
    scene = encoder.scene
    first = z3.Bool(f"the first of two {next(scene.numbers)}")
    columns: list[tuple[str, Term]] = []
    meets: list[Any] = []
    for (name, left), (_, right) in zip(one.columns, other.columns, strict=True):
        nullable = not (z3.is_false(left.null) and z3.is_false(right.null))
        united = _any(encoder, left, right, nullable=nullable)
        if united is None:
            return None
        for when, term in ((first, left), (z3.Not(first), right)):
            values = common(united, term)
            if values is None:
                return None
            same = z3.And(united.null == term.null, z3.Or(united.null, values[0] == values[1]))
            meets.append(z3.Implies(when, same))
        columns.append((name, united))
    meets += [z3.Implies(first, each) for each in one.meets]
    meets += [z3.Implies(z3.Not(first), each) for each in other.meets]
    needs = [(z3.And(first, when), relation, row) for when, relation, row in one.needs]
    needs += [(z3.And(z3.Not(first), when), relation, row) for when, relation, row in other.needs]
    return Shown(tuple(columns), tuple(meets), tuple(needs))


def _renamed(row: Shown, names: Sequence[str]) -> Shown:
    """`AS t(a, b)`."""
    told = [(fold(name), term) for name, (_, term) in zip(names, row.columns, strict=False)]
    return replace(row, columns=(*told, *row.columns[len(told) :]))


def _conditions(query: Tree) -> Iterator[Tree]:
    if query["where_clause"] is not None:
        yield query["where_clause"]
    for join in _joins(query["from_table"]):
        if join["condition"] is not None:
            yield join["condition"]


def _shared(table: Tree, tables: Sequence[_Table]) -> Iterator[Any]:
    """What `USING (…)` asks: columns of one name are equal in all tables that have it and are joined by it."""
    for name in {fold(name) for join in _joins(table) for name in join["using_columns"]}:
        terms = [term for each in tables for column, term in each.row.columns if column == name]
        values = common(terms[0], terms[1]) if len(terms) == 2 else None
        if values is not None:
            yield z3.And(z3.Not(terms[0].null), z3.Not(terms[1].null), values[0] == values[1])


def _joins(table: Tree) -> Iterator[Tree]:
    if table["type"] == "JOIN":
        yield table
        yield from _joins(table["left"])
        yield from _joins(table["right"])


def _resolve(names: Sequence[str], tables: Sequence[_Table]) -> Term | None:
    """The column of a query's own tables that a name means; None for a name around it."""
    parts = [fold(name) for name in names]
    for table in tables:
        if len(parts) == 1 or (len(parts) == 2 and table.name == parts[0]):
            found = next((term for name, term in table.row.columns if name == parts[-1]), None)
            if found is not None:
                return found
    return None
