"""Small worlds for the tests of policies: an identity file, a policy directory on disk, an empty or filled catalog."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rls.catalog import Catalog, Column, Relation
from rls.identity.principal import Principal
from rls.policy.load import load_policies
from rls.policy.policy_set import PolicySet

IDENTITY = """
issuers:
  - name: https://app.test
    audiences: [rls]
    algorithms: [RS256]
    keys: [{kid: k1, file: none.pem}]
roles: [explorer, maker, admin]
attributes:
  tenant: {type: string, readable: true}
  regions: {type: string, list: true, readable: true}
  clearance: {type: integer}
  ids: {type: integer, list: true}
  limit: {type: decimal, precision: 18, scale: 6}
  since: {type: date}
  flag: {type: boolean}
  seen: {type: timestamp}
"""

ORDERS = Relation(
    ("main",),
    "orders",
    (
        Column("id", "INTEGER", nullable=False),
        Column("tenant_id", "VARCHAR"),
        Column("region", "VARCHAR"),
        Column("customer_id", "INTEGER"),
        Column("amount", "DECIMAL(9,2)"),
        Column("ordered", "DATE"),
        Column("Odd Name", "VARCHAR"),
        Column("user", "VARCHAR"),
        Column("status", "ENUM('open', 'shipped', 'it''s (lost), really')"),
        Column("place", 'STRUCT(city VARCHAR, "zip, code" INTEGER)'),
        Column("tags", "VARCHAR[]"),
        Column("margin", "DOUBLE"),
    ),
)
MANAGERS = Relation(("main",), "account_managers", (Column("customer_id", "INTEGER"), Column("employee", "VARCHAR")))
EMPLOYEES = Relation(
    ("main",),
    "employees",
    (
        Column("id", "INTEGER"),
        Column("manager_id", "INTEGER"),
        Column("email", "VARCHAR"),
        Column("tenant_id", "VARCHAR"),
    ),
)
LEDGER = Relation(("finance",), "ledger", (Column("id", "INTEGER"), Column("tenant_id", "VARCHAR")))
PRODUCTS = Relation(("main",), "products", (Column("id", "INTEGER"), Column("name", "VARCHAR")))
REPORT = Relation(("main",), "report", (Column("tenant_id", "VARCHAR"),), "view", "SELECT tenant_id FROM orders")
CATALOG = Catalog.of("shop", [ORDERS, MANAGERS, EMPLOYEES, LEDGER, PRODUCTS, REPORT], attached="hidden")


def write_policies(directory: Path, files: Mapping[str, str], *, identity: str = IDENTITY) -> Path:
    """Write a policy directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "identity.yaml").write_text(identity, encoding="utf-8")
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
    return directory


def policy_set(directory: Path, *texts: str, identity: str = IDENTITY) -> PolicySet:
    """Load policies from the texts of their files."""
    files = {f"{number}.yaml": text for number, text in enumerate(texts)}
    return load_policies(write_policies(directory, files, identity=identity), keys="none")


def person(*roles: str, subject: str = "u-1", **attributes: Any) -> Principal:
    """A principal with these roles and attributes."""
    return Principal(subject, frozenset(roles), attributes)
