"""A query and a persona → its rows after each join, each condition, each grouping, as DuckDB's parser takes it apart.

Takes a `World`; returns steps in the order a reader would check them. Every count is asked through the engine, as the
persona. Owns that a step costs about what the query costs: tables that stand beside each other with a comma are not
multiplied before the conditions that join them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rls.errors import RlsError
from rls.lab.world.raw import ask_duckdb
from rls.lab.world.world import World

__all__ = ["Step", "query_steps"]

Node = Mapping[str, Any]

_NO_TABLE: Node = {"type": "EMPTY", "alias": "", "sample": None}
_NO_CTES: Node = {"map": []}
_ONE: Node = {
    "class": "CONSTANT",
    "type": "VALUE_CONSTANT",
    "alias": "",
    "literal": {"kind": "INTEGER", "text": "1"},
}


@dataclass(frozen=True, slots=True)
class Step:
    """Rows that are left after something; `rows` is None where it could not be asked."""

    what: str
    rows: int | None


def query_steps(world: World, persona: str, sql: str) -> list[Step]:
    """The steps; none for shapes that are not taken apart (PIVOT, VALUES, …)."""
    tree = json.loads(ask_duckdb("SELECT json_serialize_sql($sql::VARCHAR)", {"sql": sql}))
    statements = tree.get("statements") or []
    if tree.get("error") or len(statements) != 1:
        return []
    return _Query(world, persona, statements[0]).steps(statements[0]["node"])


@dataclass(frozen=True)
class _Query:
    """The statement that parts of it are asked in place of."""

    world: World
    persona: str
    statement: Node

    def steps(self, node: Node) -> list[Step]:
        match node["type"]:
            case "SELECT_NODE" if node["from_table"]["type"] != "EMPTY":
                return self._select(node)
            case "SET_OPERATION_NODE":
                found = []
                for number, child in enumerate(node["children"], start=1):
                    ctes = {"map": [*node["cte_map"]["map"], *child["cte_map"]["map"]]}
                    part = self.steps({**child, "cte_map": ctes})
                    found += [Step(f"part {number}: {step.what}", step.rows) for step in part]
                return found
            case _:
                return []

    def _select(self, node: Node) -> list[Step]:
        bare = {**node, "select_list": [_ONE], "where_clause": None, "group_expressions": [], "group_sets": [],
                "having": None, "qualify": None, "modifiers": [], "sample": None,
                "aggregate_handling": "STANDARD_HANDLING"}  # fmt: skip
        conjuncts = _conjuncts(node["where_clause"])
        if _multiplies(node["from_table"]):
            # FROM a, b WHERE a.x = b.x: what joins them belongs to FROM.
            joining = [c for c in conjuncts if _joins(c)]
            steps = [self._after(bare, joining, f"{self._from(bare)}{self._where(joining)}")]
            taken, conjuncts = joining, [c for c in conjuncts if not _joins(c)]
        else:
            steps, taken = self._chain(bare), []
        for conjunct in conjuncts:
            what = f"{'AND' if taken else 'WHERE'} {self._condition(conjunct)}"
            taken = [*taken, conjunct]
            steps.append(self._after(bare, taken, what))
        if node["having"] is not None or node["qualify"] is not None:
            whole = {**node, "having": None, "qualify": None, "modifiers": []}
            steps.append(Step("groups, before HAVING or QUALIFY", self._count(whole)))
        rest = [m for m in node["modifiers"] if not m["type"].startswith("LIMIT")]
        if len(rest) < len(node["modifiers"]):
            steps.append(Step("before LIMIT and OFFSET", self._count({**node, "modifiers": rest})))
        return steps

    def _chain(self, bare: Node) -> list[Step]:
        """FROM, then one join more each."""
        tables, table = [bare["from_table"]], bare["from_table"]
        while table["type"] == "JOIN":
            table = table["left"]
            tables.insert(0, table)
        steps, before = [], ""
        for table in tables:
            part = {**bare, "from_table": table}
            text = self._from(part).removeprefix("FROM ")
            # A join is written as `(left JOIN right ON …)`.
            joined = text.startswith(f"({before} ") and text.endswith(")") and before
            what = text[len(before) + 2 : -1] if joined else f"FROM {text}"
            steps.append(Step(what.strip(), self._count(part)))
            before = text
        return steps

    def _after(self, bare: Node, conditions: list[Node], what: str) -> Step:
        where = conditions[0] if len(conditions) == 1 else _all(conditions) if conditions else None
        return Step(what, self._count({**bare, "where_clause": where}))

    def _where(self, conditions: list[Node]) -> str:
        return " WHERE " + " AND ".join(map(self._condition, conditions)) if conditions else ""

    def _from(self, node: Node) -> str:
        return self._text({**node, "cte_map": _NO_CTES}).removeprefix("SELECT 1 ")

    def _condition(self, expression: Node) -> str:
        node = {**self._nothing(), "select_list": [expression]}
        return self._text(node).removeprefix("SELECT ")

    def _nothing(self) -> dict[str, Any]:
        return {"type": "SELECT_NODE", "modifiers": [], "cte_map": _NO_CTES, "from_table": _NO_TABLE,
                "where_clause": None, "group_expressions": [], "group_sets": [], "having": None, "sample": None,
                "qualify": None, "aggregate_handling": "STANDARD_HANDLING"}  # fmt: skip

    def _count(self, node: Node) -> int | None:
        text = self._text(node)
        try:
            return int(self.world.session(self.persona).query(f"SELECT count(*) FROM ({text}) AS step").rows[0][0])
        except RlsError:
            return None

    def _text(self, node: Node) -> str:
        tree = json.dumps({"error": False, "statements": [{**self.statement, "node": node}]})
        return str(ask_duckdb("SELECT json_deserialize_sql($tree::JSON)", {"tree": tree})).strip()


def _conjuncts(where: Node | None) -> list[Node]:
    if where is None:
        return []
    return list(where["children"]) if where["type"] == "CONJUNCTION_AND" else [where]


def _all(conditions: list[Node]) -> Node:
    return {"class": "CONJUNCTION", "type": "CONJUNCTION_AND", "alias": "", "children": conditions}


def _multiplies(table: Node) -> bool:
    """Whether tables stand beside each other without a condition that joins them."""
    if table["type"] != "JOIN":
        return False
    return table["ref_type"] == "CROSS" or _multiplies(table["left"]) or _multiplies(table["right"])


def _joins(condition: Node) -> bool:
    """Whether it compares two columns."""
    sides = (condition.get("left"), condition.get("right"))
    return condition["class"] == "COMPARISON" and all(side and side["class"] == "COLUMN_REF" for side in sides)
