"""A query and a persona → where its rows go: in each relation, after each policy, after each of its own conditions.

Takes a `World`; returns a `QueryWhy`. The query's own steps are asked through the engine, as the persona: its FROM
alone, then with one condition more each, as DuckDB's parser reads them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rls.catalog import Relation
from rls.errors import RlsError
from rls.lab.truth.rows import policy_truths
from rls.lab.world.observe import filter_sql
from rls.lab.world.world import World

__all__ = ["QueryWhy", "RelationSteps", "Step", "why_query"]


@dataclass(frozen=True, slots=True)
class Step:
    """Rows that are left after something; `rows` is None where it could not be asked."""

    what: str
    rows: int | None


@dataclass(frozen=True, slots=True)
class RelationSteps:
    """A relation that the query reads: all rows, those that each policy leaves, those that are visible."""

    label: str
    total: int
    steps: tuple[Step, ...]
    visible: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QueryWhy:
    """Where the rows go. `steps` are the query's own, empty where its shape is not taken apart (UNION, …)."""

    persona: str
    sql: str
    relations: tuple[RelationSteps, ...]
    steps: tuple[Step, ...]
    rows: int

    def _repr_html_(self) -> str:
        """The counts, in a notebook."""
        from rls.lab.html import fragment
        from rls.lab.why.report import query_parts

        return fragment(*query_parts(self))

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "persona": self.persona,
            "sql": self.sql,
            "relations": [
                {
                    "relation": r.label,
                    "rows": r.total,
                    "policies": [{"after": s.what, "rows": s.rows} for s in r.steps],
                    "visible": r.visible,
                    "reasons": list(r.reasons),
                }
                for r in self.relations
            ],
            "steps": [{"after": s.what, "rows": s.rows} for s in self.steps],
            "result": self.rows,
        }


def why_query(world: World, persona: str, sql: str) -> QueryWhy:
    """Ask it, and count on the way. Raises QueryRefused and QueryFailed as a session does."""
    session = world.session(persona)
    result = session.query(sql)
    labels = session.explain(sql).grants
    relations = [r for r in world.catalog.relations.values() if r.label in labels and r.kind == "table"]
    return QueryWhy(
        persona,
        sql,
        tuple(_relation(world, persona, relation) for relation in sorted(relations, key=lambda r: r.label)),
        tuple(_steps(world, persona, sql)),
        result.row_count,
    )


def _relation(world: World, persona: str, relation: Relation) -> RelationSteps:
    """Rows after one restrictive policy more each, then by each permissive policy of what those leave."""
    grant = world.grant(persona, relation)
    truths = [t for t in policy_truths(world, persona, relation) if t.state != "other_role"]
    bound: dict[str, object] = {} if grant is None else dict(grant.parameters)
    walls: list[str] = []
    counted: list[tuple[str, str]] = []
    for truth in truths:
        bound |= truth.parameters
        lacking = f" (needs {', '.join(truth.missing)})" if truth.missing else ""
        if truth.policy.kind == "restrictive":
            walls.append(truth.sql)
            counted.append((f"left by {truth.policy.name}{lacking}", " AND ".join(walls)))
        else:
            own = " AND ".join([*walls, truth.sql])
            counted.append((f"of these, permitted by {truth.policy.name}{lacking}", own))
    counted.append(("", filter_sql(grant)))
    picked = ", ".join(f"count_if({condition})" for _, condition in counted)
    row = world.raw.rows(f"SELECT {picked} FROM {world.raw.source(relation)}", bound)[0]
    counts = [int(value or 0) for value in row]
    steps = tuple(Step(what, count) for (what, _), count in zip(counted[:-1], counts[:-1], strict=True))
    reasons = () if grant is None else grant.reasons
    return RelationSteps(relation.label, world.total(relation), steps, counts[-1], reasons)


def _steps(world: World, persona: str, sql: str) -> list[Step]:
    """The query's FROM, then its conditions one by one, then what groups and limits leave."""
    tree = json.loads(world.raw.rows("SELECT json_serialize_sql($sql::VARCHAR)", {"sql": sql})[0][0])
    statements = tree.get("statements") or []
    if tree.get("error") or len(statements) != 1 or statements[0]["node"].get("type") != "SELECT_NODE":
        return []
    node = statements[0]["node"]
    if node["from_table"].get("type") == "EMPTY":
        return []
    where = node["where_clause"]
    conjuncts = (
        where["children"] if where is not None and where["type"] == "CONJUNCTION_AND" else [where] if where else []
    )
    bare = {**node, "select_list": [_one()], "where_clause": None, "group_expressions": [], "group_sets": [],
            "having": None, "qualify": None, "modifiers": [], "sample": None,
            "aggregate_handling": "STANDARD_HANDLING"}  # fmt: skip
    steps = [Step("FROM", _count(world, persona, tree, bare))]
    taken: list[Any] = []
    for conjunct in conjuncts:
        taken.append(conjunct)
        condition = taken[0] if len(taken) == 1 else {**where, "children": list(taken)}
        text = _text(world, {**bare, "select_list": [conjunct], "from_table": _nothing()}, tree)
        what = f"WHERE {text}" if len(taken) == 1 else f"AND {text}"
        steps.append(Step(what, _count(world, persona, tree, {**bare, "where_clause": condition})))
    if node["having"] is not None or node["qualify"] is not None:
        whole = {**node, "having": None, "qualify": None, "modifiers": []}
        steps.append(Step("groups, before HAVING or QUALIFY", _count(world, persona, tree, whole)))
    return steps


def _count(world: World, persona: str, tree: Mapping[str, Any], node: Mapping[str, Any]) -> int | None:
    text = _write(world, tree, node)
    if text is None:
        return None
    try:
        return int(world.session(persona).query(f"SELECT count(*) FROM ({text}) AS step").rows[0][0])
    except RlsError:
        return None


def _write(world: World, tree: Mapping[str, Any], node: Mapping[str, Any]) -> str | None:
    statement = {**tree["statements"][0], "node": node}
    text = json.dumps({"error": False, "statements": [statement]})
    found = world.raw.rows("SELECT json_deserialize_sql($tree::JSON)", {"tree": text})
    return str(found[0][0]) if found else None


def _text(world: World, node: Mapping[str, Any], tree: Mapping[str, Any]) -> str:
    written = _write(world, tree, node) or ""
    return written.removeprefix("SELECT ").strip()


def _one() -> dict[str, Any]:
    return {"class": "CONSTANT", "type": "VALUE_CONSTANT", "alias": "", "literal": {"kind": "INTEGER", "text": "1"}}


def _nothing() -> dict[str, Any]:
    return {"type": "EMPTY", "alias": "", "sample": None}
