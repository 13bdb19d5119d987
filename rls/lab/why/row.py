"""One row and one persona → visible or not, and what every policy says of it down to its leaves, with the values.

Takes a `World`, a relation and a key; returns a `RowWhy`. For who writes policies: it shows values of the row and of
the persona's attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rls.catalog import Relation, quote
from rls.lab.truth.branches import Leaf, leaves_of
from rls.lab.world.observe import filter_sql, key_condition
from rls.lab.world.world import World
from rls.policy.attributes import known_values
from rls.policy.evaluate import evaluate
from rls.policy.expressions import Branch
from rls.policy.rules import BoundPolicy, Policy

__all__ = ["NodeWhy", "PolicyWhy", "RowWhy", "why_row"]


@dataclass(frozen=True, slots=True)
class NodeWhy:
    """A branch of a condition: `kind` is `and`, `or`, `not` or `leaf`; a leaf has the author's `text`, the values it
    compares, and the attributes it lacks. `value` is its truth for the row."""

    kind: str
    value: bool | None
    text: str = ""
    values: tuple[tuple[str, Any], ...] = ()
    missing: tuple[str, ...] = ()
    children: tuple[NodeWhy, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "value": self.value,
            "text": self.text,
            "values": dict(self.values),
            "missing": list(self.missing),
            "children": [child.to_dict() for child in self.children],
        }


@dataclass(frozen=True, slots=True)
class PolicyWhy:
    """What one policy says of the row. `applies` is whether it is for the persona's roles, `passes` whether it lets
    the row through."""

    policy: Policy
    applies: bool
    passes: bool
    root: NodeWhy
    missing: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        place = self.policy.place
        return {
            "policy": self.policy.name,
            "kind": self.policy.kind,
            "file": place.file,
            "line": place.line,
            "applies": self.applies,
            "passes": self.passes,
            "missing": list(self.missing),
            "condition": self.root.to_dict(),
        }


@dataclass(frozen=True, slots=True)
class RowWhy:
    """A row, or that there is none. `values` as they are in the database, `shown` as the persona sees them."""

    persona: str
    relation: str
    key: Mapping[str, Any]
    exists: bool
    visible: bool
    reason: str
    policies: tuple[PolicyWhy, ...]
    values: Mapping[str, Any]
    shown: Mapping[str, Any]

    def _repr_html_(self) -> str:
        """The truth table, in a notebook."""
        from rls.lab.html import fragment
        from rls.lab.why.report import row_parts

        return fragment(*row_parts(self))

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "persona": self.persona,
            "relation": self.relation,
            "key": dict(self.key),
            "exists": self.exists,
            "visible": self.visible,
            "reason": self.reason,
            "policies": [p.to_dict() for p in self.policies],
            "values": dict(self.values),
            "shown": dict(self.shown),
        }


def why_row(world: World, persona: str, relation: Relation, key: Sequence[str], values: Sequence[Any]) -> RowWhy:
    """Why a row is visible or not.

    key, values   the columns that name the row, and their values; texts are read as the columns' types

    Raises PolicyInvalid where a policy does not fit the relation.
    """
    named = dict(zip(key, values, strict=True))
    condition, parameters = key_condition(world.raw, relation, key, [tuple(values)])
    source = world.raw.source(relation)
    rows = world.raw.rows(f"SELECT * FROM {source} WHERE {condition} LIMIT 1", parameters)
    if not rows:
        return RowWhy(persona, relation.label, named, False, False, "there is no such row", (), {}, {})
    row = dict(zip((c.name for c in relation.columns), rows[0], strict=True))
    bound = world.policies.bound(relation, world.raw.catalog)
    if bound is None:
        reason = "nobody decided on this relation: queries of it are refused"
        return RowWhy(persona, relation.label, named, True, False, reason, (), row, {})
    principal = world.personas[persona]
    known = known_values(principal, world.policies.attributes)
    place = _Row(relation, row, condition, parameters)
    policies = tuple(
        _policy(world, each, place, known, applies=each.policy.applies_to(principal.roles))
        for each in sorted(bound.policies, key=lambda b: (b.policy.kind != "restrictive", b.policy.name))
    )
    shown = _shown(world, persona, relation, condition, parameters)
    reason = _reason(policies, public=bound.public)
    return RowWhy(persona, relation.label, named, True, shown is not None, reason, policies, row, shown or {})


@dataclass(frozen=True, slots=True)
class _Row:
    """The row that is asked about, and how to find it."""

    relation: Relation
    values: Mapping[str, Any]
    condition: str
    parameters: Mapping[str, Any]


def _policy(world: World, bound: BoundPolicy, row: _Row, known: Mapping[str, object], *, applies: bool) -> PolicyWhy:
    leaves = leaves_of(bound, row.relation, known)
    attributes = world.policies.attributes
    bound_values = {attributes[name].parameter: value for name, value in known.items()}
    texts = ", ".join(f"({leaf.sql})" for leaf in leaves)
    found = world.raw.rows(
        f"SELECT {texts} FROM {world.raw.source(row.relation)} WHERE {row.condition} LIMIT 1",
        {**bound_values, **row.parameters},
    )[0]
    truth = {id(leaf.branch): value for leaf, value in zip(leaves, found, strict=True)}
    verdict = evaluate(bound.policy.using.root, bound.holes, known)
    missing = tuple(sorted(verdict.attributes)) if verdict.kind == "missing" else ()
    by_branch = {id(leaf.branch): leaf for leaf in leaves}
    root = _node(bound.policy.using.root, truth, by_branch, row.values, known)
    # A condition that lacks an attribute is FALSE, whatever the rest of it says.
    passes = applies and not missing and bound.policy.using.root.truth(truth) is True
    return PolicyWhy(bound.policy, applies, passes, root, missing)


def _node(
    branch: Branch,
    truth: Mapping[int, bool | None],
    leaves: Mapping[int, Leaf],
    row: Mapping[str, Any],
    known: Mapping[str, object],
) -> NodeWhy:
    value = branch.truth(truth)
    if branch.kind != "leaf":
        return NodeWhy(branch.kind, value, children=tuple(_node(c, truth, leaves, row, known) for c in branch.children))
    leaf = leaves[id(branch)]
    values = [(name, row[name]) for name in leaf.columns]
    values += [(f"user.{name}", known[name]) for name in sorted(branch.attributes) if name in known]
    return NodeWhy("leaf", value, leaf.text, tuple(values), leaf.missing)


def _shown(
    world: World, persona: str, relation: Relation, condition: str, parameters: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The row as the persona sees it; None where it is hidden."""
    grant = world.grant(persona, relation)
    if grant is None:
        return None
    columns = [c.name for c in relation.columns if c.name not in grant.denied]
    picked = ", ".join(grant.masks.get(name, f"{quote(relation.name)}.{quote(name)}") for name in columns)
    rows = world.raw.rows(
        f"SELECT {picked} FROM {world.raw.source(relation)} WHERE {condition} AND {filter_sql(grant)} LIMIT 1",
        {**grant.parameters, **parameters},
    )
    return dict(zip(columns, rows[0], strict=True)) if rows else None


def _reason(policies: Sequence[PolicyWhy], *, public: bool) -> str:
    """What settles it, in one line."""
    mine = [p for p in policies if p.applies]
    closing = [p.policy.name for p in mine if p.policy.kind == "restrictive" and not p.passes]
    if closing:
        return f"restricted away by {', '.join(closing)}"
    opening = [p.policy.name for p in mine if p.policy.kind == "permissive" and p.passes]
    if opening:
        return f"let through by {', '.join(opening)}"
    if public:
        return "the relation is public"
    permissive = [p.policy.name for p in mine if p.policy.kind == "permissive"]
    if permissive:
        return f"no permissive policy lets it through: {', '.join(permissive)}"
    return "no permissive policy is for this persona's roles"
