"""Two policy sets → what their files say differently: policies and column rules added, removed or changed.

Takes loaded sets; returns changes sorted by what they are about. It compares what was read, not the text of files, so
that a moved or reformatted document is no change. Owns no judgement: whether more is seen is for `diff` to count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rls.policy.policy_set import PolicySet
from rls.policy.rules import ColumnRule, Pattern, Policy, Rules

__all__ = ["PolicyChange", "find_changes"]


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A policy or column rule that is not what it was. `target` is a relation or pattern in words; `before` and `after`
    are what it says, "" where it is not there."""

    target: str
    what: str
    kind: Literal["added", "removed", "changed"]
    before: str
    after: str


def find_changes(old: PolicySet, new: PolicySet) -> list[PolicyChange]:
    """Every difference, sorted by target and name."""
    before, after = _said(old), _said(new)
    found = []
    for key in sorted(before.keys() | after.keys()):
        was, is_ = before.get(key, ""), after.get(key, "")
        if was != is_:
            kind: Literal["added", "removed", "changed"] = "added" if not was else "removed" if not is_ else "changed"
            found.append(PolicyChange(key[0], key[1], kind, was, is_))
    return found


def _said(policies: PolicySet) -> dict[tuple[str, str], str]:
    return {(_target(rules), name): text for rules in policies.rules for name, text in _parts(rules)}


def _target(rules: Rules) -> str:
    match rules.target:
        case Pattern(with_columns, in_schemas, exempt):
            words = [f"tables with {', '.join(with_columns)}"] if with_columns else ["tables"]
            words += [f"in {', '.join('.'.join(s) for s in in_schemas)}"] if in_schemas else []
            words += [f"but {', '.join('.'.join(e) for e in exempt)}"] if exempt else []
            return " ".join(words)
        case path:
            return ".".join(path[1:] if path[0].lower() == "main" and len(path) > 1 else path)


def _parts(rules: Rules) -> Iterator[tuple[str, str]]:
    if rules.public:
        yield "public", "every row for everybody"
    for policy in rules.policies:
        yield f"policy {policy.name}", _policy(policy)
    for column in rules.columns:
        yield f"column {column.column}", _column(column)


def _policy(policy: Policy) -> str:
    roles = "" if policy.roles is None else f" to {', '.join(sorted(policy.roles))}"
    return f"{policy.kind}{roles}: {' '.join(policy.using.text.split())}"


def _column(rule: ColumnRule) -> str:
    spared = f" except {', '.join(sorted(rule.exempt))}" if rule.exempt else ""
    if rule.denied:
        return f"denied{spared}"
    if rule.mask is not None:
        return f"masked{spared}: {' '.join(rule.mask.text.split())}"
    return "labels public"
