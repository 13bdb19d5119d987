"""Capabilities of roles, and a catalog → findings: what names nothing, has no effect, or opens more than it seems."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rls.catalog import Catalog
from rls.engines.limits import Limits
from rls.errors import PolicyInvalid
from rls.identity.capabilities import Capabilities
from rls.policy.findings import Finding
from rls.policy.policy_set import PolicySet, rules_for
from rls.yaml_source import Document, NodePath, read_documents

__all__ = ["check_roles"]


def check_roles(policies: PolicySet, catalog: Catalog, *, limits: Limits) -> Iterator[Finding]:
    """Findings at the roles in the identity file; `limits` are the engine's.

    error    `policy.unknown_relation`
    warning  `policy.role_relation` (a relation that nobody decided on), `policy.role_limit` (above the engine's, so
             without effect), `policy.without_role` (who has no role may do more than who has one)
    """
    identity = policies.identity
    try:
        document = read_documents(Path(identity.file))[0]
    except PolicyInvalid:
        return  # it was read a moment ago; without it there is no place to point at
    for role, may in identity.role_capabilities.items():
        at: NodePath = ("roles", role) if role else ("without_role",)
        yield from _relations(may, policies, catalog, document, at)
        for name, value in may.limits.items():
            if value > getattr(limits, name):
                message = f"the limit `{name}` is above the engine's, {getattr(limits, name):g}, and has no effect"
                hint = "lower it, or raise the engine's"
                error = document.invalid("policy.role_limit", message, path=(*at, "limits", name), hint=hint)
                yield Finding.of(error, "warning")
    narrowed = [role for role, may in identity.role_capabilities.items() if role and _narrows(may)]
    if narrowed and not _narrows(identity.role_capabilities[""]):
        message = f"role `{narrowed[0]}` is narrowed, and who has no role at all is not"
        hint = "narrow `without_role` too"
        error = document.invalid("policy.without_role", message, path=("roles", narrowed[0]), key=True, hint=hint)
        yield Finding.of(error, "warning")


def _relations(
    may: Capabilities, policies: PolicySet, catalog: Catalog, document: Document, at: NodePath
) -> Iterator[Finding]:
    from rls.yaml_model import suggest

    for path in sorted(may.relations or ()):
        place = (*at, "relations")
        relation = catalog.find(path)
        if relation is None:
            hint = suggest(".".join(path), [r.label for r in catalog.relations.values()])
            message = f"unknown relation `{'.'.join(path)}`"
            yield Finding.of(document.invalid("policy.unknown_relation", message, path=place, hint=hint))
        elif relation.kind == "table" and not rules_for(policies, relation, catalog):
            message = f"nobody decided on table `{relation.label}`: the role cannot read it"
            error = document.invalid("policy.role_relation", message, path=place, hint="write policies for it")
            yield Finding.of(error, "warning")


def _narrows(may: Capabilities) -> bool:
    said = (may.limits, may.statements is not None, may.relations is not None, not may.export, not may.read_policies)
    return any(said)
