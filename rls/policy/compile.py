"""The policies that hold for a relation, and a principal → `Grant`: PostgreSQL's combination, by partial evaluation.

    permissive policies that apply to the principal's roles     OR   → at least one must let a row through
    restrictive policies that apply to the principal's roles    AND  → every one must let it through
    no permissive policy applies                                     → `never`, whatever the restrictive ones say

as `get_row_security_policies` of PostgreSQL's rowsecurity.c does, with its order: restrictive first, each kind sorted
by name, so that the same policies always give the same text, the same plan and the same error. Two differences, both
narrower. A policy that cannot be evaluated, because an attribute is missing or does not fit its declared type, is
FALSE: a permissive one gives nothing, a restrictive one hides everything (a restriction that is skipped when it
cannot be decided is a hole). And there is no bypass: an administrator sees all through a policy that says so.

Conditions are combined as texts that DuckDB wrote and this package put in parentheses, never as the author's text, so
`a OR b` in one policy cannot reach past the AND of another. Values stay out of the text: it holds parameters only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rls.identity.principal import Principal
from rls.policy.attributes import Attribute, known_values
from rls.policy.evaluate import Verdict, evaluate
from rls.policy.grant import Grant
from rls.policy.rules import Bound, Policy

__all__ = ["compile_grant"]


def compile_grant(bound: Bound, principal: Principal, attributes: Mapping[str, Attribute]) -> Grant:
    """The grant of a principal for a relation whose rules are bound to the catalog. Pure, and parses nothing."""
    known = known_values(principal, attributes)
    rows = _combine(bound, principal, known)
    columns = _columns(bound, principal, known)
    return Grant(
        relation=bound.relation.label,
        kind=rows.kind,
        predicate=rows.predicate,
        parameters={attributes[name].parameter: known[name] for name in sorted(rows.attributes | columns.attributes)},
        masks=columns.masks,
        denied=columns.denied,
        labels=bound.labels,
        strict=bound.strict,
        policies=rows.policies,
        reasons=(*rows.reasons, *columns.reasons),
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    kind: Literal["always", "conditional", "never"]
    predicate: str
    attributes: frozenset[str]
    policies: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Columns:
    masks: dict[str, str]
    denied: frozenset[str]
    attributes: frozenset[str]
    reasons: tuple[str, ...]


def _combine(bound: Bound, principal: Principal, known: Mapping[str, object]) -> _Rows:
    verdicts = [
        (b.policy, evaluate(b.policy.using.root, b.holes, known))
        for b in bound.policies
        if b.policy.applies_to(principal.roles)
    ]
    reasons = tuple(reason for policy, verdict in verdicts if (reason := _reason(policy, verdict)))
    restrictive = [(p, v) for p, v in verdicts if p.kind == "restrictive"]
    permissive = [(p, v) for p, v in verdicts if p.kind == "permissive"]

    # A restriction that no row can meet, or that cannot be decided, leaves nothing for the others to open.
    closing = [p.name for p, v in restrictive if not _can_pass(v)]
    if closing:
        return _Rows("never", "", frozenset(), _names(closing), reasons)

    # Rows are visible by a permissive policy only: without one the restrictive ones have nothing to restrict.
    passing = [(p, v) for p, v in permissive if _can_pass(v)]
    if not passing and not bound.public:
        return _Rows("never", "", frozenset(), (), reasons or (_nobody(bound),))

    opening = [(p, v) for p, v in passing if v.kind == "true"]
    conditions = [v for _, v in restrictive if v.kind == "rest"]
    if opening or bound.public:
        # `x OR TRUE`: the other permissive policies decide nothing.
        deciding = [p.name for p, _ in (*restrictive, *opening)]
    else:
        deciding = [p.name for p, _ in (*restrictive, *passing)]
        conditions.append(_any_of([v for _, v in passing]))
    if not conditions:
        return _Rows("always", "", frozenset(), _names(deciding), reasons)
    attributes = frozenset[str]().union(*(v.attributes for v in conditions))
    predicate = " AND ".join(v.text for v in conditions)
    return _Rows("conditional", predicate, attributes, _names(deciding), reasons)


def _columns(bound: Bound, principal: Principal, known: Mapping[str, object]) -> _Columns:
    rules = [c for c in bound.columns if not c.rule.exempt & principal.roles]
    # A denied column beats a mask of it.
    denied = frozenset(c.column for c in rules if c.rule.denied)
    masks: dict[str, str] = {}
    attributes: set[str] = set()
    reasons: list[str] = []
    for column in rules:
        mask = column.rule.mask
        if mask is None or column.mask is None or column.column in denied:
            continue
        missing = mask.attributes - known.keys()
        if missing:
            # What the mask would show is not known, so nothing is shown.
            masks[column.column] = column.blank
            reasons.append(f"mask of `{column.column}`: {_missing(missing)}")
        else:
            masks[column.column] = column.mask
            attributes |= mask.attributes
    return _Columns(masks, denied, frozenset(attributes), tuple(reasons))


def _can_pass(verdict: Verdict) -> bool:
    return verdict.kind == "true" or (verdict.kind == "rest" and verdict.possible)


def _any_of(verdicts: list[Verdict]) -> Verdict:
    text = verdicts[0].text if len(verdicts) == 1 else "(" + " OR ".join(v.text for v in verdicts) + ")"
    return Verdict("rest", text, frozenset[str]().union(*(v.attributes for v in verdicts)))


def _reason(policy: Policy, verdict: Verdict) -> str | None:
    """Why a policy lets no row through, without any value."""
    match verdict.kind:
        case "missing":
            return f"`{policy.name}`: {_missing(verdict.attributes)}"
        case "false":
            return f"`{policy.name}`: false for this principal"
        case "rest" if not verdict.possible and verdict.empty:
            return f"`{policy.name}`: attribute {_quoted(verdict.empty)} is an empty list"
        case "rest" if not verdict.possible:
            return f"`{policy.name}`: true for no row"
        case _:
            return None


def _nobody(bound: Bound) -> str:
    kinds = {b.policy.kind for b in bound.policies}
    if "permissive" not in kinds:
        return f"`{bound.relation.label}` has no permissive policy"
    return f"no policy of `{bound.relation.label}` applies to this principal's roles"


def _missing(names: frozenset[str]) -> str:
    return f"attribute {_quoted(names)} is missing or not of its declared type"


def _quoted(names: frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _names(names: list[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))
