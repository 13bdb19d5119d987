"""Any principal, any row, and whether the one sees the other, as formulas.

Takes a relation's bound policies; returns when a row is visible. It follows `rls.policy.compile` and `evaluate` step by
step: permissive policies OR, restrictive ones AND, none is no row; a policy that needs a missing attribute is false
unless another branch has settled it. That the two agree is tested on random policies, rows and principals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import z3

from rls.catalog import Relation, fold
from rls.identity.declared import Identity
from rls.lab.prove.encode import Encoder, Scene
from rls.lab.prove.terms import FALSE, TRUE, Term, constant, element_type, free_term, sort_of, text_value
from rls.lab.truth.settling import settles
from rls.policy.attributes import BUILT_IN, Attribute
from rls.policy.expressions import Branch, Expression
from rls.policy.rules import Bound, BoundPolicy, Policy
from rls.policy.scopes import Hole, Scope

__all__ = ["Asker", "Row", "any_asker", "any_row", "visible"]


@dataclass(frozen=True)
class Asker:
    """A principal: for each declared role whether it has it, for each attribute whether it is there, and its value."""

    name: str
    roles: Mapping[str, Any]
    present: Mapping[str, Any]
    values: Mapping[str, Term]


@dataclass(frozen=True)
class Row:
    """A row of a relation: a term per column, by the catalog's name."""

    name: str
    relation: Relation
    columns: Mapping[str, Term]


def any_asker(name: str, identity: Identity, attributes: Mapping[str, Attribute], scene: Scene) -> Asker:
    """Any principal that a token can make."""
    roles = {role: z3.Bool(f"{name} is {role}") for role in sorted(identity.roles)}
    present: dict[str, Any] = {}
    values: dict[str, Term] = {}
    built_in = {fold(attribute.name) for attribute in BUILT_IN}
    for folded, attribute in attributes.items():
        if folded in built_in:
            continue
        declared = identity.attributes[attribute.name]
        present[folded] = TRUE if declared.required else z3.Bool(f"{name} has {folded}")
        term = free_term(f"{name}.{folded}", attribute.type, nullable=False, assume=scene.assume)
        values[folded] = term
        _assume_declared(term, attribute, declared.enum, scene)
    subject = free_term(f"{name}.subject", "VARCHAR", nullable=False, assume=scene.assume)
    scene.assume(_not_empty(subject.value))
    agent = free_term(f"{name}.agent", "VARCHAR", nullable=False, assume=scene.assume)
    scene.assume(_not_empty(agent.value))
    present["agent"] = z3.Bool(f"{name} has an agent")
    held = z3.K(z3.IntSort(), FALSE)
    for role, has in roles.items():
        held = z3.If(has, z3.Store(held, text_value(role), TRUE), held)
    own = Term("list", held, FALSE, "VARCHAR[]", identity=z3.Int(f"{name}.roles as such"))
    return Asker(
        name,
        roles,
        {**present, "subject": TRUE, "roles": TRUE},
        {**values, "subject": subject, "roles": own, "agent": agent},
    )


def _assume_declared(term: Term, attribute: Attribute, enum: tuple[object, ...] | None, scene: Scene) -> None:
    """What every value of an attribute satisfies, by the identity file: no blank text, one of the listed values."""
    if not attribute.many:
        if attribute.kind == "string":
            scene.assume(_not_empty(term.value))
        if enum is not None:
            known = [constant(value, attribute.type) for value in enum]
            if None not in known:
                scene.assume(z3.Or(*(term.value == k.value for k in known if k is not None)))
        return
    element = z3.Const("x", sort_of(element_type(attribute.type)))
    if attribute.kind == "string":
        scene.assume(z3.Not(z3.Select(term.value, text_value(""))))
    if enum is not None:
        known = [constant(value, element_type(attribute.type)) for value in enum]
        if None not in known:
            listed = z3.K(element.sort(), FALSE)
            for k in known:
                assert k is not None  # noqa: S101 - looked at above
                listed = z3.Store(listed, k.value, TRUE)
            scene.assume(z3.IsSubset(term.value, listed))


def _not_empty(text: Any) -> Any:
    return text > text_value("")


def any_row(name: str, relation: Relation, scene: Scene) -> Row:
    """Any row of a relation."""
    columns = {
        c.name: free_term(f"{name}.{c.name}", c.type, nullable=c.nullable, assume=scene.assume)
        for c in relation.columns
    }
    return Row(name, relation, columns)


def visible(bound: Bound | None, asker: Asker, row: Row, scene: Scene) -> Any:
    """When the row is visible to the principal; a relation that nobody decided on is refused, so never."""
    if bound is None:
        return FALSE
    passes = [(b.policy.kind, *_passes(b, asker, row, scene)) for b in bound.policies]
    restrictive = [z3.Implies(applies, holds) for kind, applies, holds in passes if kind == "restrictive"]
    permissive = [z3.And(applies, holds) for kind, applies, holds in passes if kind == "permissive"]
    return z3.And(*restrictive, z3.Or(z3.BoolVal(bound.public), *permissive))


def _passes(bound: BoundPolicy, asker: Asker, row: Row, scene: Scene) -> tuple[Any, Any]:
    """When a policy applies to the principal, and when it then lets the row through."""
    policy = bound.policy
    encoder = Encoder(
        scene,
        row.relation,
        policy.using.text,
        bound_texts(policy.using, bound.holes, row.relation),
        row.columns,
        asker.values,
    )
    verdict = _verdict(policy.using.root, encoder, asker, len(bound.holes))
    return _applies(policy, asker), z3.And(z3.Not(verdict.missing), verdict.true)


def _applies(policy: Policy, asker: Asker) -> Any:
    return TRUE if policy.roles is None else z3.Or(*(asker.roles[role] for role in sorted(policy.roles)))


def bound_texts(expression: Expression, holes: tuple[str, ...], relation: Relation) -> dict[int, str]:
    """Bound names by their place in the text, without those that a sub-query's own table of this name hides."""
    pairs = zip(expression.holes, holes, strict=True)
    return {hole.offset: text for hole, text in pairs if hole.kind != "attribute" and not _is_hidden(hole, relation)}


def _is_hidden(hole: Hole, relation: Relation) -> bool:
    scope: Scope | None = hole.scope
    while scope is not None and hole.kind == "column":
        if any(source.name == fold(relation.name) for source in scope.sources):
            return True
        scope = scope.outer
    return False


@dataclass(frozen=True)
class _Verdict:
    """`settled_true` and `settled_false`: by who asks alone; `true` and `false` for this row, unless `missing`."""

    settled_true: Any
    settled_false: Any
    missing: Any
    true: Any
    false: Any


def _verdict(branch: Branch, encoder: Encoder, asker: Asker, holes: int) -> _Verdict:
    """`evaluate`, as a formula."""
    match branch.kind:
        case "leaf":
            return _leaf(branch, encoder, asker, holes)
        case "not":
            v = _verdict(branch.children[0], encoder, asker, holes)
            return _Verdict(v.settled_false, v.settled_true, v.missing, v.false, v.true)
        case _:
            inner = [_verdict(child, encoder, asker, holes) for child in branch.children]
    every, some = (z3.And, z3.Or) if branch.kind == "and" else (z3.Or, z3.And)
    settled_true, settled_false = every(*(v.settled_true for v in inner)), some(*(v.settled_false for v in inner))
    # One settled FALSE settles an AND, whatever the others would have needed.
    settled = settled_false if branch.kind == "and" else settled_true
    missing = z3.And(z3.Not(settled), z3.Or(*(v.missing for v in inner)))
    true, false = every(*(v.true for v in inner)), some(*(v.false for v in inner))
    if branch.kind == "and":
        return _Verdict(settled_true, settled_false, missing, z3.And(true, z3.Not(settled)), z3.Or(false, settled))
    return _Verdict(settled_true, settled_false, missing, z3.Or(true, settled), z3.And(false, z3.Not(settled)))


def _leaf(branch: Branch, encoder: Encoder, asker: Asker, holes: int) -> _Verdict:
    attribute = _presence_test(branch)
    if attribute is not None:
        name, wanted = attribute
        present = asker.present[name]
        true, false = (z3.Not(present), present) if wanted == "OPERATOR_IS_NULL" else (present, z3.Not(present))
        return _Verdict(true, false, FALSE, true, false)
    term = encoder.condition(branch.tree)
    present = z3.And(*(asker.present[name] for name in sorted(branch.attributes)))
    if not settles(branch, {name: asker.values[name].type for name in branch.attributes}, holes=holes):
        return _Verdict(FALSE, FALSE, z3.Not(present), term.true, term.false)
    return _Verdict(z3.And(present, term.true), z3.And(present, term.false), z3.Not(present), term.true, term.false)


def _presence_test(branch: Branch) -> tuple[str, str] | None:
    from rls.policy.reader import attribute_name

    tree = branch.tree
    if tree["class"] != "OPERATOR" or tree["type"] not in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"):
        return None
    name = attribute_name(tree["children"][0])
    return None if name is None else (name, tree["type"])
