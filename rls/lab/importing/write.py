"""An `Imported` → the text of a policy file: a document per relation, with what is missing as comments above it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from rls.lab.importing.model import Imported, ImportedPolicy

__all__ = ["write_policies"]


def write_policies(found: Imported, *, source: str) -> str:
    """YAML that `load_policies` reads once the identity file declares what the first lines ask for."""
    lines = [f"# Imported from {' '.join(source.split())}. Read it, run `rls check`, then `rls prove` what must hold."]
    if found.roles:
        lines.append(f"# identity.yaml needs   roles: [{', '.join(map(_scalar, found.roles))}]")
    for attribute in found.attributes.values():
        many = ", list: true" if attribute.many else ""
        lines.append(f"# identity.yaml needs   {attribute.name}: {{type: {attribute.kind}{many}}}   (check the type)")
    for number, relation in enumerate(dict.fromkeys([*found.policies, *found.denied, *found.comments])):
        if number:
            lines.append("---")
        lines += _document(found, relation)
    return "\n".join(lines) + "\n"


def _document(found: Imported, relation: str) -> Iterator[str]:
    for comment in found.comments.get(relation, []):
        yield from (f"# {line}".rstrip() for line in comment.splitlines())
    policies = found.policies.get(relation, [])
    denied = found.denied.get(relation, {})
    if not policies and not denied:
        yield f"# No policy of {' '.join(relation.split())} could be carried over: every query of it is refused."
        # A document must say something; nobody sees a row.
        policies = [ImportedPolicy("nobody", "permissive", None, "false")]
    yield f"relation: {_scalar(relation)}"
    if policies:
        yield "policies:"
    for policy in policies:
        yield f"  - name: {_scalar(policy.name)}"
        if policy.kind == "restrictive":
            yield "    as: restrictive"
        if policy.roles is not None:
            yield f"    to: [{', '.join(map(_scalar, policy.roles))}]"
        remark = "   # NOT CARRIED OVER, so it hides everything: see above" if policy.lost else ""
        yield f"    using: {_scalar(policy.using)}{remark}"
    if denied:
        yield "columns:"
    for column, spared in denied.items():
        exempt = f", except: [{', '.join(map(_scalar, spared))}]" if spared else ""
        yield f"  {_scalar(column)}: {{deny: true{exempt}}}"


def _scalar(text: str) -> str:
    """A YAML scalar in double quotes, in which JSON's escapes mean the same."""
    return json.dumps(text, ensure_ascii=False)
