"""A policy set and a catalog → PostgreSQL's row policies, which let through the same rows.

Who asks is said by settings of the session: `rls.subject`, `rls.roles` and one per attribute (lists as arrays), made by
`settings_of`. Sub-queries become functions that run with their owner's rights, as policies here read mapping tables.
Owns that a condition which cannot be said the same way never widens: a permissive policy is left out, a restrictive
one hides everything. https://www.postgresql.org/docs/current/ddl-rowsecurity.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rls.catalog import Catalog, Relation, quote
from rls.identity.principal import Principal
from rls.lab.exporting.conditions import Lost, Translator
from rls.policy.attributes import Attribute, known_values
from rls.policy.policy_set import PolicySet
from rls.policy.rules import Bound, BoundPolicy

__all__ = ["Exported", "export_postgres", "settings_of"]


@dataclass
class Exported:
    """A script, and what it does not say: (where, why)."""

    statements: list[str] = field(default_factory=list)
    lost: list[tuple[str, str]] = field(default_factory=list)

    @property
    def sql(self) -> str:
        return "\n".join(self.statements) + "\n"


def export_postgres(policies: PolicySet, catalog: Catalog) -> Exported:
    """The script for every table of a catalog; run it as the tables' owner, who is not bound by the policies.

    Raises PolicyInvalid where a policy does not fit a relation.
    """
    made = Exported()
    made.statements += [
        f"-- Row policies {policies.version}. Run as the tables' owner; who asks is another role, without BYPASSRLS.",
        "-- Each session says who it is: set_config('rls.subject', …, true), set_config('rls.roles', '{…}', true), …",
        "CREATE SCHEMA IF NOT EXISTS rls_rights;",
        "GRANT USAGE ON SCHEMA rls_rights TO PUBLIC;",
    ]
    translator = Translator(policies, catalog)
    for relation in sorted(catalog.relations.values(), key=lambda r: r.key):
        if relation.kind == "table":
            _table(relation, policies.bound(relation, catalog), translator, made)
    return made


def settings_of(principal: Principal, attributes: Mapping[str, Attribute]) -> dict[str, str]:
    """The session's settings that say who a principal is, as text; an attribute it lacks is the empty text."""
    known = known_values(principal, attributes)
    return {f"rls.{name}": _setting(known[name]) if name in known else "" for name in sorted(attributes)}


def _setting(value: object) -> str:
    if isinstance(value, list):
        items = (_setting(item).replace("\\", "\\\\").replace('"', '\\"') for item in value)
        return "{" + ",".join(f'"{item}"' for item in items) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _table(relation: Relation, bound: Bound | None, translator: Translator, made: Exported) -> None:
    table = translator.table(relation)
    made.statements += ["", f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"]
    if bound is None:
        made.statements.append("-- Nobody decided on this table: without a policy nobody sees a row.")
        return
    if bound.public:
        made.statements.append(f"CREATE POLICY {quote('public')} ON {table} FOR SELECT USING (true);")
    taken: dict[str, int] = {}
    for policy in bound.policies:
        name = policy.policy.name[:50]
        taken[name] = taken.get(name, 0) + 1
        name = name if taken[name] == 1 else f"{name} {taken[name]}"
        _policy(name, policy, relation, translator, made)
    for column in bound.columns:
        what = "denied" if column.rule.denied else "masked" if column.mask is not None else ""
        if what:
            made.lost.append(
                (f"{relation.label}.{column.column}", f"{what} here; PostgreSQL's policies are about rows")
            )
            made.statements.append(f"-- NOT CARRIED OVER: column {quote(column.column)} is {what}: use a view.")


def _policy(name: str, bound: BoundPolicy, relation: Relation, translator: Translator, made: Exported) -> None:
    policy, table = bound.policy, translator.table(relation)
    functions: list[str] = []
    try:
        prefix = f"{'_'.join(relation.key)}_{name}"
        using = translator.condition(bound, relation, prefix=prefix, functions=functions)
    except Lost as lost:
        made.lost.append((f"{relation.label}: {policy.name}", str(lost)))
        made.statements.append(f"-- NOT CARRIED OVER: policy {quote(name)}: {' '.join(str(lost).split())}")
        if policy.kind == "permissive":
            return
        using, functions = "false", []
    if policy.roles is not None:
        listed = ", ".join("'" + role.replace("'", "''") + "'" for role in sorted(policy.roles))
        roles = f"nullif(current_setting('rls.roles', true), '')::text[] && ARRAY[{listed}]::text[]"
        # A policy for other roles does not apply: a permissive one gives nothing, a restrictive one takes nothing.
        joined = f"{roles} AND ({using})" if policy.kind == "permissive" else f"({roles}) IS NOT TRUE OR ({using})"
        using = joined
    made.statements += functions
    kind = policy.kind.upper()
    made.statements.append(f"CREATE POLICY {quote(name)} ON {table} AS {kind} FOR SELECT USING ({using});")
