"""Attributes and roles that are declared and used by nothing: left over, or a policy that was meant and is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rls.catalog import fold
from rls.errors import PolicyInvalid
from rls.policy.expressions import Expression
from rls.policy.findings import Finding
from rls.policy.policy_set import PolicySet
from rls.yaml_source import read_documents

__all__ = ["attributes_read", "find_unused"]


def find_unused(policies: PolicySet) -> Iterator[Finding]:
    """Warnings at the declarations in the identity file."""
    identity = policies.identity
    try:
        document = read_documents(Path(identity.file))[0]
    except PolicyInvalid:
        return  # it was read a moment ago; without it there is no place to point at
    expressions = list(_expressions(policies))
    used = attributes_read(policies)
    for name, attribute in identity.attributes.items():
        if fold(name) not in used and not attribute.readable:
            message = f"attribute `{name}` is declared and used by no policy"
            hint = "remove it, or make it `readable` if queries use it"
            error = document.invalid("policy.unused_attribute", message, path=("attributes", name), key=True, hint=hint)
            yield Finding.of(error, "warning")
    roles = {role for rules in policies.rules for p in rules.policies for role in p.roles or ()}
    roles |= {role for rules in policies.rules for c in rules.columns for role in c.exempt}
    if "roles" in used:
        roles |= {text for expression in expressions for text in _texts(expression.root.tree)}
    declared = document.data.get("roles") or []
    for index, role in enumerate(declared):
        # Who reads everybody's records needs no row of theirs.
        if role not in roles and identity.capabilities(frozenset((role,))).read_audit == "own":
            message = f"role `{role}` is declared and used by no policy"
            named = isinstance(declared, dict)
            error = document.invalid("policy.unused_role", message, path=("roles", role if named else index), key=named)
            yield Finding.of(error, "warning")


def attributes_read(policies: PolicySet) -> frozenset[str]:
    """Folded names of the attributes that conditions and masks read, built-in ones included."""
    return frozenset(name for expression in _expressions(policies) for name in expression.attributes)


def _expressions(policies: PolicySet) -> Iterator[Expression]:
    for rules in policies.rules:
        for policy in rules.policies:
            yield policy.using
        for column in rules.columns:
            if column.mask is not None:
                yield column.mask


def _texts(tree: Any) -> Iterator[str]:
    """The string literals of a tree."""
    if isinstance(tree, dict):
        if tree.get("kind") == "STRING":
            yield tree["text"]
        for value in tree.values():
            yield from _texts(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _texts(value)
