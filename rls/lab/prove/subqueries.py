"""Sub-queries over mapping tables → formulas: any table, but where a plain one says TRUE there is a row that shows it.

Takes `x IN (SELECT …)`, `EXISTS (…)` and scalar sub-queries; returns a `Term`. What the sub-query answers is left open
(a function of the names in it: the same for everybody, since all see one data base). Where it is a plain join, its
TRUE needs rows that meet its conditions; those rows become part of a counterexample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import z3

from rls.catalog import Relation, fold
from rls.lab.prove.encode import Encoder
from rls.lab.prove.terms import Term, common, free_term
from rls.policy.parser import Tree

__all__ = ["encode_subquery"]


@dataclass(frozen=True)
class _Source:
    name: str
    relation: Relation
    columns: Mapping[str, Term]  # by folded name


def encode_subquery(encoder: Encoder, node: Tree) -> Term:
    """What a sub-query gives."""
    kind = node["subquery_type"]
    if kind not in ("ANY", "EXISTS"):
        return encoder.open(node)
    answer = encoder.open(node, type_="BOOLEAN")
    scene = encoder.scene
    child: Term | None = None
    if kind == "EXISTS":
        answer = Term("boolean", answer.value, type="BOOLEAN")
    else:
        child = encoder.term(node["child"])
        # NULL is in no list; without rows the answer is FALSE even then.
        scene.rules.append(z3.Implies(answer.true, z3.Not(child.null)))
    query = node["subquery"]["node"]
    if node["comparison_type"] not in ("COMPARE_EQUAL", "INVALID") or not _is_plain(query):
        return answer
    sources = list(_sources(encoder, query["from_table"]))
    inner = replace(encoder, resolve_inner=lambda names: _resolve(names, sources))
    conditions = [inner.condition(condition) for condition in _conditions(query)]
    meets = [condition.true for condition in conditions]
    if child is not None:
        selected = inner.term(query["select_list"][0])
        values = common(inner._fitted(selected, child), inner._fitted(child, selected))
        meets.append(z3.Not(selected.null))
        if values is not None:
            meets.append(values[0] == values[1])
    scene.rules.append(z3.Implies(answer.true, z3.And(*meets)))
    scene.witnesses += [(answer.true, source.relation, source.columns) for source in sources]
    return answer


def _is_plain(query: Tree) -> bool:
    """SELECT one column FROM tables joined by conditions WHERE a condition; nothing else."""
    if query["type"] != "SELECT_NODE" or query["modifiers"] or query["cte_map"]["map"]:
        return False
    if query["group_expressions"] or query["having"] is not None or len(query["select_list"]) != 1:
        return False
    return _has_no_aggregate(query["select_list"][0]) and _is_join(query["from_table"])


def _has_no_aggregate(node: Tree) -> bool:
    # Without GROUP BY, an aggregate would be among the columns; any call may be one.
    return node["class"] in ("COLUMN_REF", "CONSTANT", "STAR")


def _is_join(table: Tree) -> bool:
    match table["type"]:
        case "BASE_TABLE":
            return not table["column_name_alias"]
        case "JOIN":
            plain = table["join_type"] == "INNER" and table["ref_type"] in ("REGULAR", "CROSS")
            return plain and not table["using_columns"] and _is_join(table["left"]) and _is_join(table["right"])
        case _:
            return False


def _sources(encoder: Encoder, table: Tree) -> Iterator[_Source]:
    if table["type"] == "JOIN":
        yield from _sources(encoder, table["left"])
        yield from _sources(encoder, table["right"])
        return
    scene = encoder.scene
    path = tuple(table["qualified_name"]["path"])
    relation = scene.catalog.find(path)
    if relation is None:
        return
    name = fold(table["alias"] or path[-1])
    number = next(scene.numbers)
    columns = {
        fold(c.name): free_term(f"{relation.label} {number}.{c.name}", c.type, nullable=c.nullable, assume=scene.assume)
        for c in relation.columns
    }
    yield _Source(name, relation, columns)


def _conditions(query: Tree) -> Iterator[Tree]:
    if query["where_clause"] is not None:
        yield query["where_clause"]
    pending: list[Any] = [query["from_table"]]
    while pending:
        table = pending.pop()
        if table["type"] == "JOIN":
            if table["condition"] is not None:
                yield table["condition"]
            pending += [table["left"], table["right"]]


def _resolve(names: Sequence[str], sources: Sequence[_Source]) -> Term | None:
    """The column of the sub-query's own tables that a name means; None for a name of the relation around it."""
    parts = [fold(name) for name in names]
    if len(parts) == 1:
        found = [s.columns[parts[0]] for s in sources if parts[0] in s.columns]
        return found[0] if found else None
    if len(parts) == 2:
        return next((s.columns[parts[1]] for s in sources if s.name == parts[0] and parts[1] in s.columns), None)
    return None
