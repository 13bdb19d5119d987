"""A catalog → what a first set of policies can say of each table, and what is left for a person to decide.

Takes relations and names of columns, no rows; returns a `Plan`. Owns the guesses: which column keeps tenants apart,
which tables hang on a table that has it, and which columns look as if not everybody should see them.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from rls.catalog import Catalog, Column, Relation, fold

__all__ = ["ColumnPlan", "Plan", "TablePlan", "plan_start", "tenant_candidates"]

# Most telling first.
_TENANT_NAMES = (
    "tenant_id", "tenant", "tenant_key", "tenant_code", "org_id", "organization_id", "organisation_id", "company_id",
    "workspace_id", "account_id", "client_id", "customer_id", "team_id", "shop_id", "store_id", "owner_id",
)  # fmt: skip
# What else may be called like a tenant: named to whoever writes the policies, never taken by itself.
_LIKELY = re.compile(
    r"(mandant|mandt|mandator|firma|bukrs|company|client|org|organi[sz]ation|subsidiary|entity|division|branch|site|"
    r"clinic|hospital|school|partner|reseller|account)(_?(id|no|nr|key|code))?"
)
_NAMING = re.compile(r"(?<=.)_?(id|no|nr|key|code)$")
_TEXT = frozenset(("VARCHAR", "UUID"))
_WHOLE = frozenset(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"))

Treatment = Literal["secret", "email", "personal", "sensitive"]
_SUSPICIOUS: tuple[tuple[Treatment, str], ...] = (
    (
        "secret",
        r"passw(or)?d|pwd|passphrase|secret|(api|access|auth|refresh|session)_?(key|token)|private_key|salt|otp|pin",
    ),
    ("email", r"e_?mail(_address)?"),
    (
        "personal",
        r"phone(_number)?|mobile|fax|ssn|social_security(_number)?|tax_(id|number)|national_id|passport(_number)?|iban|"
        r"insurance_(no|nr|number|id)|bank_account|account_number|card_number|credit_card|cvv|birth_?da(y|te)|date_of_birth|dob|street|address|"
        r"home_address|ip(_address)?|license_plate|((maiden|first|last|full|given|family|birth)_?name)|surname",
    ),
    (
        "sensitive",
        r"salary|wage|pay|payroll|gross|net_pay|earnings|bonus|compensation|income|margin|credit_(limit|score)|diagnosis|medical|disability|"
        r"religion|ethnicity|gender|criminal_record|performance_rating",
    ),
)

Decision = Literal["wall", "own_row", "through", "undecided"]


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """A column that looks as if not everybody should see it."""

    column: Column
    treatment: Treatment


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What can be said of a table.

    `wall`: it has the tenant column; `own_row`: it is the list of tenants; `through`: its column `via` points to the
    column `key` of `parent`, which has the tenant column; `undecided`: a person must say.
    """

    relation: Relation
    decision: Decision
    columns: tuple[ColumnPlan, ...] = ()
    enums: tuple[str, ...] = ()
    via: str = ""
    parent: Relation | None = None
    key: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """All tables, sorted by label; `tenant` is the column's name ("" without one), `tenant_type` of the attribute.

    `cast` is whether the column must be compared as text: it is a UUID, or of several types.
    """

    tenant: str
    tenant_type: Literal["string", "integer"]
    cast: bool
    tables: tuple[TablePlan, ...]
    views: tuple[str, ...]


def plan_start(catalog: Catalog, *, tenant: str | None = None) -> Plan:
    """What to start with; `tenant` names the tenant column where the guess would be wrong."""
    tables = sorted((r for r in catalog.relations.values() if r.kind == "table"), key=lambda r: r.label)
    views = tuple(sorted(r.label for r in catalog.relations.values() if r.kind == "view"))
    name = fold(tenant) if tenant is not None else _tenant_column(tables)
    types = {c.type for r in tables if (c := r.column(name)) is not None} if name else set()
    whole = bool(types) and types <= _WHOLE
    written = next((c.name for r in tables if (c := r.column(name)) is not None), "") if name else ""
    plans = tuple(_table(relation, name, tables) for relation in tables)
    return Plan(written, "integer" if whole else "string", not whole and types != {"VARCHAR"}, plans, views)


def _tenant_column(tables: list[Relation]) -> str:
    """The column that most tables share among those that are called like one; "" where none is."""
    found = Counter(fold(c.name) for r in tables for c in r.columns if fold(c.name) in _TENANT_NAMES and _usable(c))
    # A name that only one of many tables has is no wall (`customer_id` in a list of orders).
    least = 2 if len(tables) > 2 else 1
    best = [n for n in _TENANT_NAMES if found[n] >= least]
    telling = [n for n in best if n.startswith(("tenant", "org", "company", "workspace"))]
    return max(telling or best, key=lambda n: (found[n], -_TENANT_NAMES.index(n)), default="")


def tenant_candidates(catalog: Catalog, *, most: int = 3) -> tuple[tuple[str, int], ...]:
    """Columns that may keep tenants apart although they are called otherwise, with how many tables have them: those
    with a likely name first, then those that point to a table that points to none, as `clinic_id` does to a list of
    clinics."""
    tables = [r for r in catalog.relations.values() if r.kind == "table"]
    every = Counter(fold(c.name) for r in tables for c in r.columns if _usable(c))
    likely = [(name, count) for name, count in every.most_common() if count > 1 and _LIKELY.fullmatch(name)]
    named = Counter({name: count for name, count in every.items() if _NAMING.search(name)})
    lists = {name: [r for r in tables if _lists(r, name)] for name in named}
    pointed = [
        (name, count)
        for name, count in named.most_common()
        if count > 2 and any(not _points(r, [n for n in named if n != name and lists[n]]) for r in lists[name])
    ]
    return tuple(dict([*likely, *pointed]).items())[:most]


def _lists(relation: Relation, name: str) -> bool:
    """Whether the rows of a table are what `clinic_id` names."""
    stem = _NAMING.sub("", name)
    called = fold(relation.name) in (stem, f"{stem}s", f"{stem}es", re.sub("y$", "ies", stem))
    return called and (relation.column("id") is not None or relation.column(name) is not None)


def _points(relation: Relation, names: list[str]) -> bool:
    return any(fold(c.name) in names for c in relation.columns)


def _usable(column: Column) -> bool:
    return column.type in _TEXT or column.type in _WHOLE


def _table(relation: Relation, tenant: str, tables: list[Relation]) -> TablePlan:
    columns = tuple(
        ColumnPlan(c, found)
        for c in relation.columns
        if fold(c.name) != tenant and c.type != "BOOLEAN" and (found := _treatment(c.name))
    )
    enums = tuple(c.name for c in relation.columns if c.type.startswith("ENUM("))
    if tenant and relation.column(tenant) is not None:
        return TablePlan(relation, "wall", columns, enums)
    if tenant and _is_list_of(relation, tenant):
        key = relation.column("id")
        return TablePlan(relation, "own_row", columns, enums, key="" if key is None else key.name)
    leads = _parent(relation, tenant, tables) if tenant else None
    if leads is not None:
        via, parent, key_name = leads
        return TablePlan(relation, "through", columns, enums, via, parent, key_name)
    return TablePlan(relation, "undecided", columns, enums)


def _treatment(name: str) -> Treatment | None:
    """`customer_email`, `salary_eur` and `Credit Limit` are found by their parts."""
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z0-9]+", "_", name).strip("_").lower()
    for treatment, words in _SUSPICIOUS:
        if re.search(rf"(^|_)({words})(_|$)", parts):
            return treatment
    return None


def _is_list_of(relation: Relation, tenant: str) -> bool:
    """`tenants` is the list of what `tenant_id` names, if its rows have an `id`."""
    stem = re.sub(r"_(id|key|code)$", "", tenant)
    return fold(relation.name) in (stem, f"{stem}s", re.sub("y$", "ies", stem)) and relation.column("id") is not None


def _parent(relation: Relation, tenant: str, tables: list[Relation]) -> tuple[str, Relation, str] | None:
    """The table with the tenant column that a column `order_id` points to, the column, and the key there."""
    for column in relation.columns:
        stem = re.sub(r"_(id|key)$", "", fold(column.name))
        if stem == fold(column.name):
            continue
        for other in tables:
            named = fold(other.name) in (stem, f"{stem}s", f"{stem}es", re.sub("y$", "ies", stem))
            key = next((k for k in (other.column("id"), other.column(column.name)) if k is not None), None)
            if named and key is not None and key.type == column.type and other.column(tenant) is not None:
                return column.name, other, key.name
    return None
