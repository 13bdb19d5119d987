"""A policy set over forty tables, and the mistakes that people make in such sets, one at a time.

A `Fault` changes files of the right set (or adds tables), and says which tool finds it and what the reader must be
shown: words of the finding, the failing case or the open point, and where to mend it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import duckdb

__all__ = ["FAULTS", "FEW", "FILES", "Fault", "write_database", "write_set"]

# 31 tables alike; the others are below.
NAMES = [
    "accounts",
    "assets",
    "audits",
    "batches",
    "bookings",
    "budgets",
    "campaigns",
    "carts",
    "claims",
    "contacts",
    "contracts",
    "coupons",
    "deals",
    "deliveries",
    "deposits",
    "forecasts",
    "grants",
    "inspections",
    "invoices",
    "leads",
    "licences",
    "meetings",
    "offers",
    "payouts",
    "plans",
    "quotes",
    "refunds",
    "renewals",
    "returns",
    "shifts",
    "shipments",
]
FEW = ["invoices", "leads", "offers"]

TABLES = """
CREATE TABLE tenants (id VARCHAR PRIMARY KEY, name VARCHAR);
CREATE TABLE countries (code VARCHAR PRIMARY KEY, name VARCHAR);
CREATE TABLE customers (id BIGINT PRIMARY KEY, tenant_id VARCHAR NOT NULL, region VARCHAR, email VARCHAR, phone VARCHAR);
CREATE TABLE orders (id BIGINT PRIMARY KEY, tenant_id VARCHAR NOT NULL, region VARCHAR, customer_id BIGINT,
    email VARCHAR, amount DECIMAL(9,2), placed DATE, status VARCHAR);
CREATE TABLE order_lines (order_id BIGINT, line INTEGER, quantity INTEGER);
CREATE TABLE documents (id BIGINT PRIMARY KEY, tenant_id VARCHAR NOT NULL, classification INTEGER, owner VARCHAR);
CREATE TABLE projects (id BIGINT PRIMARY KEY, tenant_id VARCHAR NOT NULL, title VARCHAR);
CREATE TABLE memberships (user_id VARCHAR, project_id BIGINT, customer_id BIGINT, until DATE);
CREATE TABLE blocked (order_id BIGINT, region VARCHAR);
"""

IDENTITY = """
issuers:
  - name: https://app.example
    audiences: [app]
    algorithms: [HS256]
    keys: [{kid: app-1, secret: {env: A_SECRET_THAT_IS_NOT_HERE}}]
roles: [explorer, maker, auditor]
attributes:
  tenant: {type: string, required: true}
  regions: {type: string, list: true}
  clearance: {type: integer}
  since: {type: date}
"""
FILES = {
    "identity.yaml": IDENTITY,
    "personas.yaml": """
personas:
  eve: {subject: u-1, roles: [explorer], attributes: {tenant: acme, regions: [EMEA], clearance: 2, since: 2026-01-01}}
  max: {subject: u-2, roles: [maker], attributes: {tenant: globex, regions: [EMEA, APAC], clearance: 3}}
  ada: {subject: u-3, roles: [auditor], attributes: {tenant: acme}}
""",
    "tenancy.yaml": """
relations: {with_columns: [tenant_id]}
policies:
  - name: own_tenant
    as: restrictive
    using: tenant_id = user.tenant
""",
    "regions.yaml": """
relations: {with_columns: [tenant_id, region], except: [customers, orders]}
policies:
  - {name: own_regions, to: [explorer], using: region IN user.regions}
  - {name: all_regions, to: [maker], using: "true"}
""",
    "customers.yaml": """
relation: customers
policies:
  - {name: own_regions, to: [explorer], using: region IN user.regions}
  - {name: all_regions, to: [maker, auditor], using: "true"}
columns:
  email: {mask: "'***'", except: [maker]}
  phone: {deny: true, except: [maker]}
""",
    "orders.yaml": """
relation: orders
policies:
  - {name: own_regions, to: [explorer], using: region IN user.regions}
  - {name: all_regions, to: [maker], using: "true"}
  - name: large
    to: [auditor]
    using: amount >= 1000 AND status IN ('open', 'paid')
  - name: covered
    as: restrictive
    to: [explorer]
    using: user.since IS NULL OR placed >= user.since
columns:
  email: {mask: "'***'", except: [maker]}
---
relation: order_lines
policies:
  - name: with_order
    to: [explorer, maker]
    using: order_id IN (SELECT id FROM orders WHERE tenant_id = user.tenant)
""",
    "documents.yaml": """
relation: documents
policies:
  - {name: cleared, to: [explorer, maker], using: classification <= user.clearance}
  - {name: own, to: [explorer, maker], using: owner = user.subject}
---
relation: projects
policies:
  - name: member
    to: [explorer, maker]
    using: id IN (SELECT project_id FROM memberships WHERE user_id = user.subject AND until IS NULL)
---
relation: memberships
policies:
  - {name: own_memberships, to: [explorer, maker], using: user_id = user.subject}
---
relation: blocked
policies:
  - {name: auditors, to: [auditor], using: order_id > 0}
---
relation: tenants
policies:
  - {name: own_row, to: [explorer, maker], using: id = user.tenant}
---
relation: countries
public: true
""",
}

Tool = Literal["load", "check", "seed", "suite", "coverage", "mutate", "prove"]


@dataclass(frozen=True)
class Fault:
    """A mistake. `change` is (file, right text, wrong text); `add` new files; `tables` more SQL; `found` by which tool;
    `shows` words that must be in what it says, the place to mend among them. `relation`: of the cases to run."""

    name: str
    found: Tool
    shows: tuple[str, ...]
    change: tuple[str, str, str] | None = None
    add: dict[str, str] = field(default_factory=dict)
    tables: str = ""
    relation: str | None = None


OPEN = 'relation: invoices\npolicies:\n  - {name: everything, to: [explorer, maker], using: "true"}\n'
WALLED = "relations: {with_columns: [tenant_id]}"

FAULTS = (
    Fault(
        "always true branch",
        "check",
        ("policy.always_true", "customers.yaml:4"),
        ("customers.yaml", "region IN user.regions", "region IN user.regions OR 1 = 1"),
    ),
    Fault(
        "a column compared with itself",
        "check",
        ("policy.always_true", "tenancy.yaml:6"),
        ("tenancy.yaml", "tenant_id = user.tenant", "tenant_id = tenant_id"),
    ),
    Fault(
        "tenant filter missing on one of forty tables",
        "check",
        ("policy.no_wall", "`invoices`", "invoices.yaml:3"),
        ("tenancy.yaml", WALLED, "relations: {with_columns: [tenant_id], except: [invoices]}"),
        add={"invoices.yaml": OPEN},
    ),
    Fault(
        "tenant filter missing, met by two tenants",
        "seed",
        ("two tenants: invoices", "everything", "invoices.yaml:3"),
        ("tenancy.yaml", WALLED, "relations: {with_columns: [tenant_id], except: [invoices]}"),
        add={"invoices.yaml": OPEN},
    ),
    Fault(
        "permissive where restrictive was meant, everywhere",
        "seed",
        ("two tenants: ", "all_regions", "customers.yaml:5"),
        ("tenancy.yaml", "    as: restrictive\n", ""),
    ),
    Fault(
        "the wall is not for one role",
        "check",
        ("policy.no_wall", "maker", "`invoices`"),
        ("tenancy.yaml", WALLED, "relations: {with_columns: [tenant_id], except: [invoices]}"),
        add={
            "invoices.yaml": OPEN
            + "  - {name: own_tenant, as: restrictive, to: [explorer], using: tenant_id = user.tenant}\n"
        },
    ),
    Fault(
        "rows without a tenant are everybody's",
        "check",
        ("policy.no_wall", "`invoices`"),
        ("tenancy.yaml", WALLED, "relations: {with_columns: [tenant_id], except: [invoices]}"),
        add={
            "invoices.yaml": OPEN
            + "  - {name: own_tenant, as: restrictive, using: tenant_id = user.tenant OR tenant_id IS NULL}\n"
        },
    ),
    Fault(
        "NULL hole by coalesce",
        "check",
        ("policy.null_opens", "documents.yaml:4", "classification"),
        ("documents.yaml", "classification <= user.clearance", '"coalesce(classification, 0) <= user.clearance"'),
    ),
    Fault(
        "NOT IN over a column with NULLs",
        "check",
        ("policy.not_in_null", "orders.yaml:8", "blocked"),
        (
            "orders.yaml",
            "amount >= 1000 AND status",
            "id NOT IN (SELECT order_id FROM blocked) AND amount >= 1000 AND status",
        ),
    ),
    Fault(
        "NOT IN an attribute that may be empty",
        "check",
        ("policy.empty_list_opens", "customers.yaml:4"),
        ("customers.yaml", "region IN user.regions", "region NOT IN user.regions"),
    ),
    Fault(
        "OR and AND without parentheses",
        "check",
        ("policy.mixed_and_or", "orders.yaml:8", "parentheses"),
        ("orders.yaml", "amount >= 1000 AND status", "amount >= 1000 OR placed IS NULL AND status"),
    ),
    Fault(
        "role typo",
        "load",
        ("policy.unknown_role", "explorrer", "customers.yaml:4"),
        ("customers.yaml", "to: [explorer]", "to: [explorrer]"),
    ),
    Fault(
        "attribute typo",
        "load",
        ("policy.unknown_attribute", "user.regoins", "customers.yaml:4"),
        ("customers.yaml", "user.regions", "user.regoins"),
    ),
    Fault(
        "attribute of the wrong type",
        "check",
        ("policy.type_mismatch", "documents.yaml:4"),
        ("documents.yaml", "classification <= user.clearance", "classification <= user.tenant"),
    ),
    Fault(
        "a list compared as one value",
        "load",
        ("policy.list_attribute", "customers.yaml:4"),
        ("customers.yaml", "region IN user.regions", "region = user.regions"),
    ),
    Fault(
        "IN over a text",
        "load",
        ("policy.list_attribute", "customers.yaml:4"),
        ("customers.yaml", "region IN user.regions", "region IN user.tenant"),
    ),
    Fault(
        "mask forgotten where others have one",
        "check",
        ("policy.unmasked", "`email`", "orders.yaml:2", "`customers`"),
        ("orders.yaml", "columns:\n  email: {mask: \"'***'\", except: [maker]}\n", ""),
    ),
    Fault(
        "mask that every role is spared",
        "check",
        ("policy.mask_for_nobody", "customers.yaml:7"),
        ("customers.yaml", "except: [maker]}\n  phone", "except: [explorer, maker, auditor]}\n  phone"),
    ),
    Fault(
        "mask of another type",
        "check",
        ("policy.mask_type", "customers.yaml"),
        ("customers.yaml", "\"'***'\"", '"0"'),
    ),
    Fault(
        "mask dropped, seen by the suite",
        "suite",
        ("masked", "email"),
        ("customers.yaml", "  email: {mask: \"'***'\", except: [maker]}\n", ""),
        relation="customers",
    ),
    Fault(
        "a new table that the pattern misses",
        "check",
        ("policy.undecided", "`vouchers`"),
        tables="CREATE TABLE vouchers (id BIGINT, tenantId VARCHAR, region VARCHAR)",
    ),
    Fault(
        "a new table with its own file, and a column called otherwise",
        "check",
        ("policy.near_column", "`vouchers`", "tenantId", "tenancy.yaml:2"),
        add={"vouchers.yaml": 'relation: vouchers\npolicies: [{name: all, to: [maker], using: "true"}]\n'},
        tables="CREATE TABLE vouchers (id BIGINT, tenantId VARCHAR)",
    ),
    Fault(
        "stale column",
        "check",
        ("policy.unknown_column", "orders.yaml"),
        tables="ALTER TABLE orders RENAME COLUMN status TO state",
    ),
    Fault(
        "stale column of a mask",
        "check",
        ("policy.unknown_column", "customers.yaml:8"),
        tables="ALTER TABLE customers RENAME COLUMN phone TO telephone",
    ),
    Fault(
        "stale table",
        "check",
        ("policy.unknown_relation", "documents.yaml"),
        tables="ALTER TABLE blocked RENAME TO stopped",
    ),
    Fault(
        "> for >=",
        "suite",
        ("not visible", "large", "orders.yaml:8"),
        ("orders.yaml", "amount >= 1000", "amount > 1000"),
        relation="orders",
    ),
    Fault(
        "date boundary",
        "suite",
        ("not visible", "covered", "orders.yaml:12"),
        ("orders.yaml", "placed >= user.since", "placed > user.since"),
        relation="orders",
    ),
    Fault(
        "an item too many in a list",
        "suite",
        ("should not be", "large", "orders.yaml:8"),
        ("orders.yaml", "('open', 'paid')", "('open', 'paid', 'OPEN')"),
        relation="orders",
    ),
    Fault(
        "wrong column of the same type",
        "check",
        ("policy.odd_column", "`email`", "customers.yaml:4"),
        ("customers.yaml", "region IN user.regions", "email IN user.regions"),
    ),
    Fault(
        "wrong column as tenant",
        "check",
        ("policy.no_wall", "`invoices`"),
        ("tenancy.yaml", WALLED, "relations: {with_columns: [tenant_id], except: [invoices]}"),
        add={"invoices.yaml": OPEN + "  - {name: own_tenant, as: restrictive, using: region = user.tenant}\n"},
    ),
    Fault(
        "mapping table joined on the wrong key",
        "check",
        ("policy.odd_key", "orders.yaml:8", "memberships"),
        (
            "orders.yaml",
            "amount >= 1000 AND status",
            "customer_id IN (SELECT project_id FROM memberships WHERE user_id = user.subject) AND status",
        ),
    ),
    Fault(
        "mapping table joined on the wrong key, seen by the suite",
        "suite",
        ("member", "documents.yaml:11"),
        ("documents.yaml", "SELECT project_id FROM memberships", "SELECT customer_id FROM memberships"),
        relation="projects",
    ),
    Fault(
        "ended memberships still count",
        "suite",
        ("visible", "member", "documents.yaml:11"),
        ("documents.yaml", " AND until IS NULL", ""),
        relation="projects",
    ),
    Fault(
        "EXISTS that does not look at the row",
        "check",
        ("policy.uncorrelated", "documents.yaml:11"),
        (
            "documents.yaml",
            "id IN (SELECT project_id FROM memberships WHERE user_id = user.subject AND until IS NULL)",
            "EXISTS (SELECT 1 FROM memberships AS m WHERE m.user_id = user.subject AND m.project_id = project_id)",
        ),
    ),
    Fault(
        "lines of everybody's orders",
        "prove",
        ("no two principals with different user.tenant", "with_order", "orders.yaml:20"),
        ("orders.yaml", " WHERE tenant_id = user.tenant)", ")"),
        relation="order_lines",
    ),
    Fault(
        "case does not matter",
        "seed",
        ("two tenants: invoices", "everything"),
        ("tenancy.yaml", WALLED, "relations: {with_columns: [tenant_id], except: [invoices]}"),
        add={
            "invoices.yaml": OPEN
            + "  - {name: own_tenant, as: restrictive, using: lower(tenant_id) = lower(user.tenant)}\n"
        },
    ),
    Fault(
        "LIKE %",
        "check",
        ("policy.like_all", "customers.yaml:4"),
        ("customers.yaml", "region IN user.regions", "\"region LIKE '%'\""),
    ),
    Fault(
        "a token's text as a pattern",
        "check",
        ("policy.pattern", "user.tenant", "customers.yaml:4"),
        ("customers.yaml", "region IN user.regions", "\"email LIKE '%' || user.tenant\""),
    ),
    Fault(
        "a policy for a role that nobody has",
        "coverage",
        ("as ghost", "customers.yaml:5"),
        ("customers.yaml", "to: [maker, auditor]", "to: [maker, auditor, ghost]"),
        add={"identity.yaml": IDENTITY.replace("auditor]", "auditor, ghost]")},
    ),
    Fault(
        "two policies of one name",
        "check",
        ("policy.duplicate_name", "own_regions", "more.yaml"),
        add={
            "more.yaml": "relations: {with_columns: [tenant_id, phone]}\npolicies:\n"
            "  - {name: own_regions, to: [auditor], using: region IS NOT NULL}\n"
        },
    ),
    Fault(
        "restrictive only",
        "check",
        ("policy.restrictive_only", "`documents`"),
        ("documents.yaml", "{name: cleared, to: [explorer, maker], using: classification <= user.clearance}\n"
         "  - {name: own, to: [explorer, maker], using: owner = user.subject}",
         "{name: cleared, as: restrictive, using: classification <= user.clearance}"),
    ),
    Fault(
        "true without roles",
        "check",
        ("policy.open", "documents.yaml:15"),
        ("documents.yaml", "{name: own_memberships, to: [explorer, maker], using: user_id = user.subject}",
         '{name: own_memberships, using: "true"}'),
    ),
    Fault(
        "a condition that never holds",
        "check",
        ("policy.always_false", "orders.yaml"),
        ("orders.yaml", "amount >= 1000 AND status", "amount >= 1000 AND amount < 1000 AND status"),
    ),
    Fault(
        "a role too many",
        "suite",
        ("should not be", "large", "orders.yaml:8"),
        ("orders.yaml", "to: [auditor]\n    using: amount", "to: [auditor, explorer]\n    using: amount"),
        relation="orders",
    ),
    Fault(
        "an attribute that nothing uses any more",
        "check",
        ("policy.unused_attribute", "clearance", "identity.yaml"),
        ("documents.yaml", "classification <= user.clearance", "classification <= 2"),
    ),
    Fault(
        "a suite that does not look at the boundary",
        "mutate",
        ("large", "amount > 1000", "orders.yaml:8"),
        add={
            "thin.test.yaml": """
data:
  orders:
    columns: {id: BIGINT, tenant_id: VARCHAR, region: VARCHAR, email: VARCHAR, amount: "DECIMAL(9,2)", placed: DATE,
              status: VARCHAR}
    rows: [[1, acme, EMEA, a@b.test, 5000, 2026-02-01, open], [2, acme, EMEA, a@b.test, 1, 2026-02-01, open]]
only: {personas: [ada]}
sees: {ada: {orders: [1]}}
"""
        },
    ),
)  # fmt: skip


def write_database(path: Path, *, names: Sequence[str] = NAMES, tables: str = TABLES, more: str = "") -> Path:
    """The forty tables (or fewer that are alike: `names`), without rows."""
    columns = "id BIGINT PRIMARY KEY, tenant_id VARCHAR NOT NULL, region VARCHAR, amount DECIMAL(9,2), note VARCHAR"
    with duckdb.connect(str(path)) as connection:
        connection.execute(tables)
        for name in names:
            connection.execute(f"CREATE TABLE {name} ({columns})")
        if more:
            connection.execute(more)
    return path


def write_set(folder: Path, fault: Fault | None = None, *, right: Mapping[str, str] = FILES) -> Path:
    """The policy directory, with a mistake in it or without."""
    folder.mkdir(parents=True, exist_ok=True)
    files = dict(right)
    if fault is not None:
        files.update(fault.add)
        if fault.change is not None:
            name, before, after = fault.change
            assert before in files[name], f"{fault.name}: {before} is not in {name}"
            files[name] = files[name].replace(before, after)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder
