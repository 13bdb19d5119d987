"""One policy or column rule and one relation → findings: names, types, and conditions that are no conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from rls.catalog import Relation, shown_type
from rls.errors import PolicyInvalid
from rls.policy.check_endless import find_endless
from rls.policy.check_mixed import find_mixed
from rls.policy.check_sight import find_oversights
from rls.policy.check_truth import find_constants
from rls.policy.check_types import bound_forms, find_mismatches, sample_parameters, type_of
from rls.policy.expressions import Branch, Expression
from rls.policy.findings import Finding
from rls.policy.parser import ExpressionInvalid
from rls.policy.policy_set import PolicySet, bind_column, bind_policy, public_labels
from rls.policy.reader import attribute_name
from rls.policy.rules import ColumnRule, Place, Policy, Rules
from rls.policy.scratch import Scratch
from rls.policy.strict_forms import Strict, StrictForms

__all__ = ["check_column", "check_policy"]


def check_policy(
    policies: PolicySet, policy: Policy, relation: Relation, scratch: Scratch, forms: StrictForms, *, truth: bool
) -> Iterator[Finding]:
    """What is wrong with a policy for a relation; `truth` looks for parts that are always or never true, too; `forms`
    are the policies' strict ones."""
    label = relation.label
    try:
        bound = bind_policy(policies, policy, relation, scratch.catalog)
    except PolicyInvalid as error:
        yield Finding.of(error, relation=label)
        return
    strict = bound_forms(forms.of(policy.using), relation, scratch.catalog, policies.attributes)
    leaves = [(leaf, leaf.text(bound.holes)) for leaf in policy.using.root.leaves()]
    scratch.expect([text for _, text in (*strict, *leaves)], relation, sample_parameters(policies.attributes))
    mismatches = _mismatches(policies, policy.using, policy.place, relation, scratch, forms=strict)
    yield from mismatches
    if mismatches:
        return
    for leaf, text in leaves:
        problem = _not_a_condition(policy, leaf, partial(type_of, text, relation, scratch, policies.attributes))
        if problem is not None:
            yield Finding.of(policy.place.invalid_expression(problem), relation=label)
            return
    if truth:
        root = policy.using.root
        problems = (
            _constants(policies, policy, relation, scratch),
            _opening_lists(policy, root),
            find_mixed(policy),
            find_endless(policy),
            find_oversights(bound, relation, scratch.catalog),
        )
        for problem in (p for found in problems for p in found):
            yield Finding.of(policy.place.invalid_expression(problem), "warning")


def check_column(
    policies: PolicySet,
    rule: ColumnRule,
    relation: Relation,
    scratch: Scratch,
    forms: StrictForms,
    *,
    rules: list[Rules],
) -> Iterator[Finding]:
    """What is wrong with a column rule for a relation, whose other rules are `rules`."""
    labels = public_labels(rules, relation)
    try:
        bound = bind_column(policies, rule, relation, scratch.catalog, labels=labels)
    except PolicyInvalid as error:
        yield Finding.of(error, relation=relation.label)
        return
    column = relation.column(rule.column)
    hides = rule.denied or rule.mask is not None
    if hides and rule.exempt and rule.exempt >= policies.identity.roles:
        message = f"every role is spared: only who has none finds `{rule.column}` hidden"
        problem = rule.place.invalid("policy.mask_for_nobody", message, hint="shorten `except`")
        yield Finding.of(problem, "warning", relation=relation.label)
    if rule.mask is None or bound.mask is None or column is None:
        return
    strict = bound_forms(forms.of(rule.mask), relation, scratch.catalog, policies.attributes)
    mismatches = _mismatches(policies, rule.mask, rule.place, relation, scratch, forms=strict)
    yield from mismatches
    if mismatches:
        return
    try:
        found = type_of(bound.mask, relation, scratch, policies.attributes)
    except ExpressionInvalid as error:
        yield Finding.of(rule.place.invalid_expression(error), relation=relation.label)
        return
    shown = column.type if column.name in labels else shown_type(column.type)
    if found != shown:
        problem = rule.place.invalid(
            "policy.mask_type",
            f"the mask of `{column.name}` is {found}, the column {shown}: its type depends on who asks",
            hint=f"write `CAST(… AS {shown})`",
        )
        yield Finding.of(problem, "warning", relation=relation.label)


def _mismatches(
    policies: PolicySet,
    expression: Expression,
    place: Place,
    relation: Relation,
    scratch: Scratch,
    *,
    forms: list[tuple[Strict, str]],
) -> list[Finding]:
    found = find_mismatches(expression, forms, relation, scratch, policies.attributes)
    return [Finding.of(place.invalid_expression(m), relation=relation.label) for m in found]


def _not_a_condition(policy: Policy, leaf: Branch, type_of_leaf: Callable[[], str]) -> ExpressionInvalid | None:
    """Why a leaf does not bind, or is not true or false."""
    try:
        found = type_of_leaf()
    except ExpressionInvalid as error:
        error.offset, error.length = leaf.start, leaf.end - leaf.start
        return error
    if found == "BOOLEAN" or (leaf.tree["class"] == "CONSTANT" and leaf.tree["literal"]["kind"] == "NULL_LITERAL"):
        return None
    return ExpressionInvalid(
        "policy.not_a_condition",
        f"`{' '.join(policy.using.text[leaf.start : leaf.end].split())}` is {found}, not true or false",
        offset=leaf.start,
        hint="compare it with something",
    )


def _constants(
    policies: PolicySet, policy: Policy, relation: Relation, scratch: Scratch
) -> Iterator[ExpressionInvalid]:
    root = policy.using.root
    for constant in find_constants(policy.using, relation, scratch, policies.attributes):
        whole = constant.branch is root
        if whole and constant.value and policy.kind == "permissive" and root.tree["class"] == "CONSTANT":
            continue  # `using: true` says what it means
        closed = whole and not constant.value and root.tree["class"] == "CONSTANT"
        if closed and policy.description.strip():
            continue  # somebody decided that nobody sees a row, and says why
        text = policy.using.text if whole else policy.using.text[constant.branch.start : constant.branch.end]
        code, how = ("policy.always_true", "always") if constant.value else ("policy.always_false", "never")
        yield ExpressionInvalid(
            code,
            f"`{' '.join(text.split())}` in policy `{policy.name}` is {how} true",
            offset=0 if whole else constant.branch.start,
            hint=_meant(closed=closed) if closed or constant.value else None,
        )


def _meant(*, closed: bool) -> str:
    if closed:
        return "write who sees which rows; if nobody is to see one, say why in `description`"
    return "write `true` alone if every row is meant"


def _opening_lists(policy: Policy, branch: Branch) -> Iterator[ExpressionInvalid]:
    """`region NOT IN user.hidden`: who has an empty list sees every region."""
    for child in branch.children:
        name = _list_attribute(child) if branch.kind == "not" and child.kind == "leaf" else None
        if name is not None:
            yield ExpressionInvalid(
                "policy.empty_list_opens",
                f"`NOT IN user.{name}` in policy `{policy.name}` hides nothing from who has an empty list",
                offset=branch.start,
                hint=f"add `AND len(user.{name}) > 0` if that is not meant",
            )
        yield from _opening_lists(policy, child)


def _list_attribute(leaf: Branch) -> str | None:
    tree = leaf.tree
    if tree["class"] != "FUNCTION" or tree["function_name"] != "contains" or not tree["arguments"]:
        return None
    return attribute_name(tree["arguments"][0]["expression"])
