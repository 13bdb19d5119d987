"""A statement and a relation → claims: who must not see what under which policies. These are solved, and confirmed.

A `Claim` names principals and rows, and the sights that together would refute the statement. Owns that every side of
a statement is a policy set, conditions included: what the solver reasons about is then what the engine can be asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from rls.catalog import Catalog, Relation, fold
from rls.lab.prove.statements import Operand, Statement
from rls.policy.bind import bind
from rls.policy.expressions import read_expression
from rls.policy.parser import ExpressionInvalid
from rls.policy.policy_set import PolicySet, rules_for
from rls.policy.rules import Place, Policy, Rules
from rls.yaml_model import suggest

__all__ = ["Claim", "Limits", "Sight", "claims_of"]


@dataclass(frozen=True, slots=True)
class Sight:
    """Under the policies called `policies`, principal `asker` sees (`wanted`) or does not see row `row`."""

    asker: str
    row: str
    policies: str
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class Limits:
    """Of which principals a statement speaks: those with one of `only` (if any), without all of `unless`."""

    only: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """It is refuted by principals and rows for which all `sights` hold, and `apart` differs, and `lacking` is missing.

    `sets` has the policies by the name sights give; `reading` says in words what is claimed.
    """

    relation: Relation
    reading: str
    sights: tuple[Sight, ...]
    sets: Mapping[str, PolicySet]
    limits: Limits
    apart: tuple[Literal["attribute", "column"], str] | None = None
    lacking: str | None = None

    @property
    def askers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(s.asker for s in self.sights))

    @property
    def rows(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(s.row for s in self.sights))


def claims_of(
    statement: Statement,
    relation: Relation,
    policies: PolicySet,
    catalog: Catalog,
    *,
    place: Place,
    limits: Limits,
    older: PolicySet | None = None,
) -> list[Claim]:
    """The claims that make up a statement about one relation.

    Raises ExpressionInvalid `policy.statement` for a name that is not there, and those of `read_expression`.
    """
    label = relation.label
    seen = Sight("one", "row", "now")
    match statement.kind:
        case "isolated":
            return [_isolated(statement, relation, policies, limits)]
        case "denied":
            name = _attribute(statement, policies)
            reading = f"no principal without user.{name} sees a row of `{label}`"
            return [Claim(relation, reading, (seen,), {"now": policies}, limits, lacking=fold(name))]
        case "not_wider":
            assert older is not None  # noqa: S101 - the caller has read it
            before = Sight("one", "row", "old", wanted=False)
            reading = f"whoever sees a row of `{label}` sees it under `{statement.path}` too"
            return [Claim(relation, reading, (seen, before), {"now": policies, "old": older}, limits)]
        case "never":
            sets = {"now": policies}
            sights = [seen]
            for side in statement.sides:
                sets["condition"] = _set_of(side, relation, policies, catalog, place)
                sights.append(Sight("one", "row", "condition"))
            where = f" where {statement.sides[0].text}" if statement.sides else ""
            return [Claim(relation, f"nobody sees a row of `{label}`{where}", tuple(sights), sets, limits)]
        case "implies" | "equivalent" | "disjoint":
            left, right = statement.sides
            sets = {
                name: _set_of(side, relation, policies, catalog, place)
                for name, side in (("left", left), ("right", right))
            }
            first, second = _words(left), _words(right)
            if statement.kind == "disjoint":
                sights = [Sight("one", "row", "left"), Sight("one", "row", "right")]
                return [Claim(relation, f"of no row of `{label}`: {first}, and {second}", tuple(sights), sets, limits)]
            directions = [("left", "right", first, second)]
            if statement.kind == "equivalent":
                directions.append(("right", "left", second, first))
            return [
                Claim(
                    relation,
                    f"of every row of `{label}`: if {then}, then {always}",
                    (Sight("one", "row", wanted), Sight("one", "row", unwanted, wanted=False)),
                    sets,
                    limits,
                )
                for wanted, unwanted, then, always in directions
            ]


def _isolated(statement: Statement, relation: Relation, policies: PolicySet, limits: Limits) -> Claim:
    name, label = statement.name, relation.label
    attribute = policies.attributes.get(fold(name))
    if attribute is not None:
        differ = "with nothing in common in" if attribute.many else "with different"
        reading = f"no two principals {differ} user.{attribute.name} both see a row of `{label}`"
        sights = (Sight("one", "row", "now"), Sight("another", "row", "now"))
        return Claim(relation, reading, sights, {"now": policies}, limits, apart=("attribute", fold(name)))
    column = relation.column(name)
    if column is None:
        raise ExpressionInvalid(
            "policy.statement",
            f"`{name}` is neither an attribute nor a column of `{label}`",
            offset=statement.text.find(name),
            length=len(name),
        )
    reading = f"no principal sees rows of `{label}` with two different values of {column.name}"
    sights = (Sight("one", "row", "now"), Sight("one", "other row", "now"))
    return Claim(relation, reading, sights, {"now": policies}, limits, apart=("column", column.name))


def _attribute(statement: Statement, policies: PolicySet) -> str:
    found = policies.attributes.get(fold(statement.name))
    if found is None or found.name in ("subject", "roles"):
        raise ExpressionInvalid(
            "policy.statement",
            f"`{statement.name}` is not an attribute that could be missing",
            offset=statement.text.find(statement.name),
            length=len(statement.name),
            hint="declare it in the identity file",
        )
    return found.name


def _set_of(side: Operand, relation: Relation, policies: PolicySet, catalog: Catalog, place: Place) -> PolicySet:
    """The policies under which a principal sees exactly the rows for which a side holds."""
    match side.kind:
        case "visible":
            return policies
        case "policy":
            known = [p for rules in rules_for(policies, relation, catalog) for p in rules.policies]
            named = [p for p in known if p.name == side.text]
            if not named:
                raise ExpressionInvalid(
                    "policy.statement",
                    f"`{relation.label}` has no policy `{side.text}`",
                    offset=side.offset,
                    length=len(side.text) + 7,
                    hint=suggest(side.text, [p.name for p in known]),
                )
            only = tuple(replace(policy, kind="permissive") for policy in named)
        case "condition":
            try:
                using = read_expression(side.text, policies.attributes, branches=True)
                bind(using, relation, catalog, policies.attributes)  # names that are not there are found here
            except ExpressionInvalid as error:
                error.offset += side.offset
                raise
            only = (Policy("condition", "permissive", None, using, place),)
    rules = Rules((*relation.schema, relation.name), public=False, policies=only, columns=(), place=place)
    return replace(policies, rules=(rules,))


def _words(side: Operand) -> str:
    match side.kind:
        case "visible":
            return "it is visible"
        case "policy":
            return f"policy `{side.text}` lets it through"
        case _:
            return f"{side.text}"
