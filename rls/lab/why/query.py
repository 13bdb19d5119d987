"""A query and a persona → where its rows go: in each relation, after each policy, after each of its own conditions.

Takes a `World`; returns a `QueryWhy`. The rows of relations are counted as they are, the query's own steps through the
engine, as the persona.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rls.catalog import Relation
from rls.lab.truth.rows import policy_truths
from rls.lab.why.steps import Step, query_steps
from rls.lab.world.observe import filter_sql
from rls.lab.world.world import World

__all__ = ["QueryWhy", "RelationSteps", "Step", "why_query"]


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
    """Where the rows go. `steps` are the query's own, empty where its shape is not taken apart."""

    persona: str
    sql: str
    relations: tuple[RelationSteps, ...]
    steps: tuple[Step, ...]
    rows: int

    @property
    def lost_at(self) -> str:
        """Where the last row is lost, in words; "" where rows are left, or it cannot be told."""
        emptied = [step.what for step in self.steps if step.rows == 0 and not step.what.startswith("part ")]
        if self.rows and not emptied:
            return ""
        hidden = [relation.label for relation in self.relations if not relation.visible]
        if hidden:
            return f"no row of {', '.join(hidden)} is visible"
        return f"no row is left after {emptied[0]}" if emptied else ""

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
            "lost_at": self.lost_at,
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
        tuple(query_steps(world, persona, sql)),
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
    counts = world.raw.counts(relation, [condition for _, condition in counted], bound)
    steps = tuple(Step(what, count) for (what, _), count in zip(counted[:-1], counts[:-1], strict=True))
    reasons = () if grant is None else grant.reasons
    return RelationSteps(relation.label, world.total(relation), steps, counts[-1], reasons)
