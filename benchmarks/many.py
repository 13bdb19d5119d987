"""Sizes → a policy directory of that size, and the catalog it is for: what a platform with many tables has.

Relations are alike, so that what differs between two sizes is the size. Policies of a relation are for roles in turn;
each role has the same share of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb

import fixtures
from rls.catalog import Catalog, Column, Relation
from rls.identity.principal import Principal

__all__ = ["COLUMNS", "SECRET", "make_catalog", "make_policies", "make_principal", "many_database", "roles"]

COLUMNS = (
    Column("id", "BIGINT"),
    Column("tenant_id", "VARCHAR"),
    Column("region", "VARCHAR"),
    Column("customer_id", "BIGINT"),
    Column("amount", "DECIMAL(15,2)"),
    Column("day", "DATE"),
    Column("email", "VARCHAR"),
)
DOCUMENTS_PER_FILE = 20
KEY_ID, SECRET = "bench-1", fixtures.KEYS / "hs256.secret"
# In turn; the number keeps every policy's text its own.
CONDITIONS = (
    "region IN user.regions AND amount >= {number}",
    "customer_id IN user.customers OR id = {number}",
    "day >= DATE '2024-01-01' + {number}",
    "amount < {number} AND tenant_id = user.tenant",
    "email LIKE '%{number}' AND region IN user.regions",
)


def roles(count: int) -> list[str]:
    """Names of roles."""
    return [f"role_{number}" for number in range(count)]


def make_policies(directory: Path, *, relations: int, per_relation: int, role_count: int) -> Path:
    """A directory with `per_relation` policies for each of `relations`; what is there already is used again."""
    target = directory / f"many-{relations}-{per_relation}-{role_count}"
    known = target.is_dir()
    target.mkdir(exist_ok=True)
    # Written each time: the key stands where the fixtures are now.
    names = ", ".join(roles(role_count))
    (target / "identity.yaml").write_text(
        f"""issuers:
  - name: https://bench.example
    audiences: [bench]
    algorithms: [HS256]
    keys: [{{kid: {KEY_ID}, secret: {{file: {SECRET}}}}}]
    max_lifetime: 86400
    max_bytes: 262144
    claims: {{subject: /user/distinctId, roles: /user/role, attributes: /user/attributes}}
roles: [{names}]
attributes:
  tenant: {{type: string, required: true}}
  regions: {{type: string, list: true, max_items: 10000}}
  customers: {{type: integer, list: true, max_items: 10000}}
""",
        encoding="utf-8",
    )
    if known:
        return target
    documents = [_document(number, per_relation, role_count) for number in range(relations)]
    for start in range(0, relations, DOCUMENTS_PER_FILE):
        text = "---\n".join(documents[start : start + DOCUMENTS_PER_FILE])
        (target / f"relations_{start:05}.yaml").write_text(text, encoding="utf-8")
    return target


def make_catalog(relations: int) -> Catalog:
    """The catalog that `make_policies` writes policies for."""
    return Catalog.of("data", (Relation(("main",), f"table_{number}", COLUMNS) for number in range(relations)))


def many_database(directory: Path) -> Path:
    """A database with the first of these relations, empty."""
    target = directory / "many.duckdb"
    if not target.is_file():
        with duckdb.connect(str(target)) as connection:
            columns = ", ".join(f"{column.name} {column.type}" for column in COLUMNS)
            connection.execute(f"CREATE TABLE table_0 ({columns})")
    return target


def make_principal(
    *, role: str = "role_0", customers: Iterable[int] = (1, 2, 3), subject: str = "user-1", **attributes: Any
) -> Principal:
    """Somebody with one role and a list of customers."""
    values = {"tenant": "acme", "regions": ("EMEA", "APAC"), "customers": tuple(customers), **attributes}
    return Principal(subject, frozenset({role}), values, assurance="persona")


def _document(relation: int, per_relation: int, role_count: int) -> str:
    lines = [f"relation: table_{relation}", "policies:"]
    lines.append("  - {name: own_tenant, as: restrictive, using: tenant_id = user.tenant}")
    for number in range(per_relation - 1):
        role = f"role_{(number + relation * (per_relation - 1)) % role_count}"
        condition = CONDITIONS[number % len(CONDITIONS)].format(number=relation * 100 + number)
        # Everybody's first policy lets role_0 in, so that guards have something to say at every size.
        to = f"[{role}]" if number else "[role_0]"
        lines.append(f'  - {{name: rule_{number}, to: {to}, using: "{condition}"}}')
    lines += ["columns:", "  email: {mask: \"'***'\"}", ""]
    return "\n".join(lines)
