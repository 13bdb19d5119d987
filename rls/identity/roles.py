"""`roles` of identity.yaml → what each role may do.

Takes the validated file and its document; returns capabilities by role, under "" those of a principal without a role.
Owns that a name which is no relation's, or is given twice, is refused at its place and not skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rls.catalog import fold, parse_path
from rls.identity.capabilities import Capabilities
from rls.yaml_source import Document, NodePath

if TYPE_CHECKING:
    from rls.identity.model import IdentityFile, RoleEntry

__all__ = ["read_roles"]


def read_roles(file: IdentityFile, document: Document) -> dict[str, Capabilities]:
    """Capabilities by role. Raises PolicyInvalid: `policy.role`, `policy.relation_name`."""
    found = {"": _read_role(file.without_role, document, ("without_role",), name="")}
    if isinstance(file.roles, dict):
        for name, entry in file.roles.items():
            found[name] = _read_role(entry, document, ("roles", name), name=name)
        return found
    for number, name in enumerate(file.roles):
        if name in found:
            raise document.invalid("policy.role", f"role `{name}` is declared twice", path=("roles", number))
        found[name] = Capabilities()
    return found


def _read_role(entry: RoleEntry, document: Document, at: NodePath, *, name: str) -> Capabilities:
    limits = {limit: value for limit, value in entry.limits if value is not None}
    _refuse_twice(entry.statements, document, (*at, "statements"))
    return Capabilities(
        limits=limits,
        statements=None if entry.statements is None else frozenset(entry.statements),
        relations=None if entry.relations is None else _read_relations(entry.relations, document, (*at, "relations")),
        export=entry.export,
        read_policies=entry.read_policies,
        read_audit=entry.read_audit,
        shared=name if "concurrent" in limits else "",
    )


def _read_relations(names: list[str], document: Document, at: NodePath) -> frozenset[tuple[str, ...]]:
    _refuse_twice(names, document, at)
    found = set()
    for number, name in enumerate(names):
        path = parse_path(name)
        if path is None:
            raise document.invalid(
                "policy.relation_name",
                f"`{name}` is not a relation's name",
                path=(*at, number),
                hint='write `schema.name`; a part with a dot or quote in it in double quotes, as `"a.b"`',
            )
        found.add(path)
    return frozenset(found)


def _refuse_twice(names: Sequence[str] | None, document: Document, at: NodePath) -> None:
    folded = [fold(name) for name in names or ()]
    for number, name in enumerate(folded):
        if name in folded[:number]:
            raise document.invalid("policy.role", f"`{name}` is given twice", path=(*at, number))
