"""What an import gives: policies by relation, what they need of the identity file, and what could not be carried over.

Value objects and the one place where conditions are checked: what our own reader of policies refuses is not written.
Owns that a loss never widens: a permissive rule that is lost is left out, a restrictive one becomes FALSE.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from rls.catalog import quote
from rls.policy.attributes import BUILT_IN, Attribute
from rls.policy.expressions import read_expression
from rls.policy.parser import ExpressionInvalid

__all__ = ["Imported", "ImportedPolicy", "NotCarried", "Remark", "literal", "name_sql", "text_of"]

Severity = Literal["lost", "note"]


class NotCarried(Exception):
    """A rule, or a part of it, that cannot be said faithfully; the text says why."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something a person has to look at: `lost` was not carried over, a `note` was, with a difference."""

    severity: Severity
    where: str
    message: str

    def to_dict(self) -> dict[str, str]:
        return {"severity": self.severity, "where": self.where, "message": self.message}


@dataclass(frozen=True, slots=True)
class ImportedPolicy:
    """A policy as it will stand in a file; `lost` is the original's text where only FALSE is left of it."""

    name: str
    kind: Literal["permissive", "restrictive"]
    roles: tuple[str, ...] | None
    using: str
    lost: str = ""


@dataclass
class Imported:
    """Policies and denied columns by relation, as names are written in policy files; grows while a format is read."""

    policies: dict[str, list[ImportedPolicy]] = field(default_factory=dict)
    denied: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    comments: dict[str, list[str]] = field(default_factory=dict)
    remarks: list[Remark] = field(default_factory=list)
    attributes: dict[str, Attribute] = field(default_factory=dict)
    roles: dict[str, None] = field(default_factory=dict)

    def attribute(self, name: str, kind: str = "string", *, many: bool = False) -> str:
        """Note that an attribute is needed, and return how a policy calls it. Raises NotCarried for an odd name."""
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_")
        if not re.fullmatch(r"[a-z_][a-z0-9_]*", name):
            raise NotCarried(f"`{name}` cannot be an attribute's name")
        if name in {a.name for a in BUILT_IN}:
            return f"user.{name}"
        known = self.attributes.get(name)
        if known is not None and known.many != many:
            raise NotCarried(f"`{name}` is used as one value and as a list")
        # A cast says more than its absence.
        if known is None or known.kind == "string":
            self.attributes[name] = Attribute(name, kind, many)
        return f"user.{name}"

    def add(
        self,
        relation: str,
        name: str,
        using: str,
        *,
        kind: Literal["permissive", "restrictive"] = "permissive",
        roles: tuple[str, ...] | None = None,
    ) -> None:
        """A policy; its condition is read as the loader will read it. Raises NotCarried where that fails."""
        self.check(using)
        self.roles.update(dict.fromkeys(roles or ()))
        self._put(relation, ImportedPolicy(self._free(relation, name), kind, roles, using))

    def check(self, condition: str) -> None:
        """Raises NotCarried where the loader would not take this as one condition."""
        known = {a.name: a for a in (*BUILT_IN, *self.attributes.values())}
        try:
            read_expression(condition, known, branches=True)
        except ExpressionInvalid as error:
            raise NotCarried(f"{error.message}{f'; {error.hint}' if error.hint else ''}") from None

    def lose(
        self,
        relation: str,
        name: str,
        why: str,
        original: str,
        *,
        kind: Literal["permissive", "restrictive"] = "permissive",
        roles: tuple[str, ...] | None = None,
    ) -> None:
        """A policy that is not carried over: a comment, and FALSE in its place if it restricted."""
        self.remarks.append(Remark("lost", f"{relation}: {name}", why))
        self.comments.setdefault(relation, []).append(f"NOT CARRIED OVER: {name}: {why}\n{original}")
        if kind == "restrictive":
            self.roles.update(dict.fromkeys(roles or ()))
            self._put(relation, ImportedPolicy(self._free(relation, name), kind, roles, "false", original))

    def note(self, where: str, message: str) -> None:
        """Something that is carried over with a difference."""
        remark = Remark("note", where, message)
        if remark not in self.remarks:
            self.remarks.append(remark)

    def drop(self, where: str, message: str) -> None:
        """Something without a relation to put a comment at."""
        self.remarks.append(Remark("lost", where, message))

    @property
    def lost(self) -> list[Remark]:
        return [r for r in self.remarks if r.severity == "lost"]

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "policies": {
                relation: [
                    {"name": p.name, "as": p.kind, "to": None if p.roles is None else list(p.roles), "using": p.using}
                    for p in policies
                ]
                for relation, policies in self.policies.items()
            },
            "attributes": {a.name: {"type": a.kind, "list": a.many} for a in self.attributes.values()},
            "roles": list(self.roles),
            "remarks": [r.to_dict() for r in self.remarks],
        }

    def _put(self, relation: str, policy: ImportedPolicy) -> None:
        self.policies.setdefault(relation, []).append(policy)

    def _free(self, relation: str, name: str) -> str:
        name = " ".join("".join(c for c in name if c.isprintable()).split())[:200] or "policy"
        taken = {p.name for p in self.policies.get(relation, [])}
        return next(n for n in (name, *(f"{name}_{i}" for i in range(2, 10_000))) if n not in taken)


def literal(value: object) -> str:
    """A YAML value as an SQL literal. Raises NotCarried for what is none."""
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str():
            return "'" + value.replace("'", "''") + "'"
        case None:
            return "NULL"
        case _ if hasattr(value, "as_tuple"):
            return str(value)
        case _:
            raise NotCarried("a value that is neither text, number nor truth")


def name_sql(name: str) -> str:
    """A column's name in a condition, quoted where it must be."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name not in _KEYWORDS else quote(name)


def text_of(path: tuple[str, ...]) -> str:
    """A relation's name as policy files write it; `public` of PostgreSQL is DuckDB's `main`."""
    parts = path[1:] if len(path) > 1 and path[0].lower() in ("public", "main") else path
    return ".".join(quote(p) if re.search(r'[."]', p) else p for p in parts)


_KEYWORDS = frozenset((
    "all", "and", "any", "as", "asc", "between", "by", "case", "cast", "desc", "distinct", "else", "end", "except",
    "exists", "false", "for", "from", "group", "having", "in", "is", "join", "left", "like", "limit", "not",
    "null", "offset", "on", "or", "order", "select", "set", "table", "then", "to", "true", "union", "user",
    "using", "when", "where", "with",
))  # fmt: skip
