"""A persona and a relation → what each policy says of which rows, asked of the rows as they are.

Takes a `World`; returns truth per policy and row, as SQL has it (TRUE, FALSE, NULL), and samples of rows with the
policies that let them through or hide them. Owns no decision: the texts it evaluates are those that grants are made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rls.catalog import Relation, fold, quote
from rls.lab.suites.suite import ShownRow
from rls.lab.world.world import World
from rls.policy.attributes import known_values
from rls.policy.evaluate import evaluate
from rls.policy.rules import Policy

__all__ = ["PolicyTruth", "policy_truths", "sample_rows", "shown_columns"]

_SHOWN_COLUMNS = 6
State = Literal["other_role", "missing", "true", "false", "rows"]


@dataclass(frozen=True, slots=True)
class PolicyTruth:
    """A policy for one principal. `state`: its roles are others, an attribute is missing, it is true or false for
    every row, or `rows` decide, by `sql` with `parameters`."""

    policy: Policy
    state: State
    sql: str
    parameters: Mapping[str, object]
    missing: tuple[str, ...] = ()

    def describe(self, value: bool | None) -> str:
        """What the policy says of a row, for which its SQL gave `value`."""
        match self.state:
            case "other_role":
                return f"{self.policy.name} is for {', '.join(sorted(self.policy.roles or ()))}"
            case "missing":
                return f"{self.policy.name} needs {', '.join(self.missing)}"
            case _:
                return f"{self.policy.name} is {_WORDS[value]}"


_WORDS = {True: "TRUE", False: "FALSE", None: "NULL"}


def policy_truths(world: World, persona: str, relation: Relation) -> list[PolicyTruth]:
    """Every policy of a relation, in the order they combine: restrictive ones first, each kind by name.

    Raises PolicyInvalid where a policy does not fit the relation.
    """
    bound = world.policies.bound(relation, world.raw.catalog)
    principal = world.personas[persona]
    known = known_values(principal, world.policies.attributes)
    found = []
    for each in () if bound is None else bound.policies:
        if not each.policy.applies_to(principal.roles):
            found.append(PolicyTruth(each.policy, "other_role", "FALSE", {}))
            continue
        verdict = evaluate(each.policy.using.root, each.holes, known)
        match verdict.kind:
            case "true" | "false":
                found.append(PolicyTruth(each.policy, verdict.kind, verdict.kind.upper(), {}))
            case "missing":
                found.append(PolicyTruth(each.policy, "missing", "FALSE", {}, tuple(sorted(verdict.attributes))))
            case _:
                parameters = {world.policies.attributes[a].parameter: known[a] for a in verdict.attributes}
                found.append(PolicyTruth(each.policy, "rows", verdict.text, parameters))
    return sorted(found, key=lambda t: (t.policy.kind != "restrictive", t.policy.name))


def sample_rows(
    world: World,
    persona: str,
    relation: Relation,
    *,
    where: str,
    parameters: Mapping[str, object],
    key: Sequence[str] = (),
    limit: int = 5,
) -> tuple[ShownRow, ...]:
    """Some rows for which `where` is true, as they are in the database, each with why it is visible or hidden."""
    truths = policy_truths(world, persona, relation)
    columns = shown_columns(relation, truths, key)
    bound = {name: value for truth in truths for name, value in truth.parameters.items()}
    picked = ", ".join([*(f"{quote(relation.name)}.{quote(c)}" for c in columns), *(f"({t.sql})" for t in truths)])
    rows = world.raw.rows(
        f"SELECT {picked} FROM {world.raw.source(relation)} WHERE {where} LIMIT {limit}", {**bound, **parameters}
    )
    return tuple(_shown(row, columns, truths, public=_is_public(world, relation)) for row in rows)


def shown_columns(relation: Relation, truths: Sequence[PolicyTruth], key: Sequence[str]) -> list[str]:
    """The columns that tell a row from others and that policies look at, then others while there is room."""
    used = {fold(h.names[-1]) for t in truths for h in t.policy.using.holes if h.kind == "column"}
    first = [*key, *(c.name for c in relation.columns if fold(c.name) in used)]
    return list(dict.fromkeys([*first, *(c.name for c in relation.columns)]))[: max(_SHOWN_COLUMNS, len(key))]


def _is_public(world: World, relation: Relation) -> bool:
    bound = world.policies.bound(relation, world.raw.catalog)
    return bound is not None and bound.public


def _shown(row: tuple[Any, ...], columns: list[str], truths: Sequence[PolicyTruth], *, public: bool) -> ShownRow:
    values, said = row[: len(columns)], dict(zip(map(id, truths), row[len(columns) :], strict=True))
    settled = settle_row(truths, said)
    why = tuple(t.describe(said[id(t)]) for t in settled)
    visible = any(said[id(t)] and t.policy.kind == "permissive" for t in settled)
    if public and not visible and not any(t.policy.kind == "restrictive" for t in settled):
        return ShownRow(dict(zip(columns, values, strict=True)), ("the relation is public",))
    return ShownRow(
        dict(zip(columns, values, strict=True)),
        why or ("there is no permissive policy",),
        tuple(t.policy for t in settled),
    )


def settle_row(truths: Sequence[PolicyTruth], said: Mapping[int, bool | None]) -> list[PolicyTruth]:
    """The policies that settle a row: those that restrict it away; else those that permit it; else those that could
    have, for this principal's roles if there are such. `said` by id of the truth."""
    mine = [t for t in truths if t.state != "other_role"]
    closing = [t for t in mine if t.policy.kind == "restrictive" and not said[id(t)]]
    if closing:
        return closing
    permissive = [t for t in truths if t.policy.kind == "permissive"]
    opening = [t for t in permissive if said[id(t)]]
    return opening or [t for t in permissive if t in mine] or permissive
