"""Policies → slightly wrong ones: the mistakes that authors make, one at a time.

Takes a loaded `PolicySet`; yields mutants, each a whole policy set with one change. Owns which changes there are: a
condition dropped, turned around or joined the other way (inside sub-queries, too), a comparison or list changed, a
policy, role or mask too many or too few. A change that cannot be written as a policy is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from rls.lab.mutate.wording import LONG, difference, one_line, short
from rls.lab.truth.branches import own_sql, own_text
from rls.lab.truth.inner import COMPARISONS, changed_inside
from rls.lab.truth.near import LISTS, one_sided, shortened_lists
from rls.lab.truth.patterns import changed_patterns
from rls.policy.expressions import Branch, Expression, read_expression
from rls.policy.parser import ExpressionInvalid
from rls.policy.policy_set import PolicySet
from rls.policy.rules import ColumnRule, Place, Policy, Rules

__all__ = ["Mutant", "make_mutants"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A policy set with one change of `subject` (a policy or column). `before` and `after` are lines of the policy;
    `roles` are those it makes a difference for (None: any)."""

    subject: str
    change: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    roles: frozenset[str] | None
    rules: Rules  # the document, as it is changed
    policies: PolicySet = field(repr=False)
    place: Place = field(repr=False)


def make_mutants(policies: PolicySet) -> Iterator[Mutant]:
    """All of them, in order of files."""
    for number, document in enumerate(policies.rules):
        for policy in document.policies:
            for change in _of_policy(policy, policies):
                kept = (change.made if p is policy else p for p in document.policies)
                rules = replace(document, policies=tuple(p for p in kept if isinstance(p, Policy)))
                yield _mutant(policies, number, rules, policy, change)
        for rule in document.columns:
            for change in _of_column(rule, policies):
                left = (change.made if c is rule else c for c in document.columns)
                rules = replace(document, columns=tuple(c for c in left if isinstance(c, ColumnRule)))
                yield _mutant(policies, number, rules, rule, change)


@dataclass(frozen=True, slots=True)
class _Change:
    """What changed, the lines before and after, and what the policy or column has become (None: it is gone)."""

    what: str
    before: str
    after: str
    made: Policy | ColumnRule | None
    role: str = ""


def _mutant(policies: PolicySet, number: int, rules: Rules, of: Policy | ColumnRule, change: _Change) -> Mutant:
    every = tuple(rules if index == number else r for index, r in enumerate(policies.rules))
    # What is remembered of the original's rules is not the mutant's.
    changed = replace(policies, rules=every, version=f"{policies.version}+")
    subject, roles = (of.name, of.roles) if isinstance(of, Policy) else (of.column, None)
    roles = frozenset({change.role}) if change.role else roles
    lines = tuple(change.before.splitlines()), tuple(change.after.splitlines())
    return Mutant(subject, change.what, *lines, roles, rules, changed, of.place)


def _of_policy(policy: Policy, policies: PolicySet) -> Iterator[_Change]:
    using = f"using: {one_line(policy.using.text)}"
    if policy.kind == "restrictive" or policy.using.text.strip().lower() != "false":
        yield _Change("policy removed", f"name: {policy.name}\n{using}", "", None)
    if policy.kind == "restrictive":
        opened = replace(policy, kind="permissive")
        yield _Change("restrictive made permissive", "as: restrictive", "as: permissive", opened)
    roles = policy.roles
    if roles is not None:
        before = f"to: [{', '.join(sorted(roles))}]"
        for role in sorted(policies.identity.roles - roles):
            after = f"to: [{', '.join(sorted(roles | {role}))}]"
            yield _Change(f"role {role} added", before, after, replace(policy, roles=roles | {role}), role)
        for role in sorted(roles) if len(roles) > 1 else ():
            after = f"to: [{', '.join(sorted(roles - {role}))}]"
            yield _Change(f"role {role} removed", before, after, replace(policy, roles=roles - {role}), role)
    for change, text, told in _conditions(policy.using):
        try:
            expression = read_expression(text, policies.attributes, branches=True)
        except ExpressionInvalid:
            continue
        before, after = told or (one_line(policy.using.text), text)
        yield _Change(change, f"using: {before}", f"using: {after}", replace(policy, using=expression))


def _of_column(rule: ColumnRule, policies: PolicySet) -> Iterator[_Change]:
    if not rule.denied and rule.mask is None:
        return
    what = "deny" if rule.denied else "mask"
    yield _Change(f"{what} removed", f"{rule.column}: {{{what}: …}}", "", None)
    before = f"except: [{', '.join(sorted(rule.exempt))}]"
    for role in sorted(policies.identity.roles - rule.exempt):
        after = f"except: [{', '.join(sorted(rule.exempt | {role}))}]"
        yield _Change(f"role {role} spared", before, after, replace(rule, exempt=rule.exempt | {role}), role)


def _conditions(using: Expression) -> Iterator[tuple[str, str, tuple[str, str] | None]]:
    """Changed conditions: what changed, the text, and where it is a part of a long one, that part before and after."""
    root = using.root

    def write(changed: dict[int, str]) -> str:
        return _write(root, using.text, changed, top=True)

    for branch, parent in _with_parents(root, None):
        own = own_text(using.text, branch)
        name = short(one_line(own))
        if branch.kind in ("and", "or"):
            joined = f" {'OR' if branch.kind == 'and' else 'AND'} ".join(
                _write(c, using.text, {}, top=False) for c in branch.children
            )
            yield (
                f"{branch.kind.upper()} made {'OR' if branch.kind == 'and' else 'AND'}",
                write({id(branch): f"({joined})"}),
                None,
            )
        if parent is not None and parent.kind in ("and", "or"):
            rest = [c for c in parent.children if c is not branch]
            joined = f" {parent.kind.upper()} ".join(_write(c, using.text, {}, top=False) for c in rest)
            yield f"`{name}` dropped", write({id(parent): f"({joined})"}), None
        if branch.kind != "leaf":
            continue
        if branch.tree["class"] == "CONSTANT":
            other = "false" if own.lower() == "true" else "true"
            yield f"`{name}` made {other}", write({id(branch): other}), None
            continue
        yield f"`{name}` turned around", write({id(branch): f"(NOT ({own}))"}), None
        if parent is None:
            yield f"`{name}` made true", "true", None
        yield f"`{name}` accepts NULL", write({id(branch): f"(({own}) IS NOT FALSE)"}), None
        for text in _leaves(branch):
            told = None
            change = f"`{name}` made `{text}`"
            if len(text) > LONG and (written := _written(branch.tree)) is not None:
                told = difference(written, text)
                change = "`{}` made `{}`".format(*difference(written, text, around=1))
            yield change, write({id(branch): f"({text})"}), told


def _leaves(branch: Branch) -> Iterator[str]:
    """Other comparisons and patterns, and longer or shorter lists, in place of a leaf."""
    tree = branch.tree
    changed: list[dict[str, Any]] = [{**tree, "type": other} for other in COMPARISONS.get(str(tree["type"]), ())]
    listed = None
    if tree["type"] == "COMPARE_IN":
        listed = tree["children"][0]
    if tree["type"] in LISTS:
        changed += [made for made, _ in shortened_lists(tree)]
    elif tree["class"] == "BETWEEN":
        changed += [made for made, _ in one_sided(tree)]
    elif tree["class"] == "FUNCTION" and tree["function_name"] == "contains" and len(tree["arguments"]) == 2:
        listed = tree["arguments"][1]["expression"]  # `x IN user.list`
    for each in (*changed, *changed_inside(tree), *changed_patterns(tree)):
        text = _written(each)
        if text is not None:
            yield text
    value = None if listed is None else _written(listed)
    if value is not None:
        yield f"{value} IS NOT NULL"  # the list with everything in it


def _written(tree: dict[str, Any]) -> str | None:
    """DuckDB's text of a tree, without the parentheses around it; None where it has none that it reads back."""
    try:
        text = own_sql(tree)
    except ExpressionInvalid:
        return None
    if not text.startswith("("):
        return text
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return text[1:-1] if place == len(text) - 1 else text
    return text


def _with_parents(branch: Branch, parent: Branch | None) -> Iterator[tuple[Branch, Branch | None]]:
    yield branch, parent
    for child in branch.children:
        yield from _with_parents(child, branch)


def _write(branch: Branch, text: str, changed: dict[int, str], *, top: bool) -> str:
    """A branch as text, with some of its parts changed."""
    if id(branch) in changed:
        return changed[id(branch)]
    match branch.kind:
        case "leaf":
            own = own_text(text, branch)
            return own if top or branch.tree["class"] == "CONSTANT" else f"({own})"
        case "not":
            return f"NOT {_write(branch.children[0], text, changed, top=False)}"
        case _:
            written = f" {branch.kind.upper()} ".join(_write(c, text, changed, top=False) for c in branch.children)
            return written if top else f"({written})"
