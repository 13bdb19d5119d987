"""Small databases and guarded queries for the tests of the engine."""

from __future__ import annotations

from pathlib import Path

import duckdb

from rls.rewrite.guarded import GuardedQuery

SMALL = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, tenant_id VARCHAR NOT NULL, amount DECIMAL(9,2), note VARCHAR);
INSERT INTO orders VALUES (1, 'acme', 10.50, 'secret-1'), (2, 'acme', NULL, '2'), (3, 'globex', 7.00, 'secret-3');
CREATE SCHEMA finance;
CREATE TABLE finance.ledger (id INTEGER, posted_at TIMESTAMPTZ, kind ENUM('in', 'out'));
INSERT INTO finance.ledger VALUES (1, '2024-01-01 00:00:00+00', 'in');
"""


def build(path: Path, script: str = SMALL) -> Path:
    """A DuckDB file made by a script."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(script)
    return path


def ready(sql: str, **parameters: object) -> GuardedQuery:
    """A text as if the rewrite had made it."""
    return GuardedQuery(sql=sql, parameters=parameters, original=sql, grants={})


IDENTITY = """
issuers:
  - name: https://app.example
    audiences: [rls-warehouse]
    algorithms: [HS256]
    keys: [{kid: k1, secret: {file: secret}}]
    max_lifetime: 3600
    leeway: 10
roles: [explorer, maker]
attributes:
  tenant: {type: string, required: true, readable: true, max_length: 64}
  regions: {type: string, list: true}
"""

POLICIES = """
relation: orders
policies:
  - name: own_tenant
    as: restrictive
    using: tenant_id = user.tenant
  - name: all_rows
    to: [maker]
    using: "true"
  - name: small_ones
    to: [explorer]
    using: amount < 100
columns:
  note: {mask: "'***'", except: [maker]}
  margin: {deny: true, except: [maker]}
---
relation: products
public: true
---
relation: finance.ledger
policies:
  - name: nobody
    to: [maker]
    using: "false"
"""

WAREHOUSE = """
CREATE TABLE orders (id INTEGER, tenant_id VARCHAR, amount INTEGER, note VARCHAR, margin INTEGER, kind VARCHAR);
INSERT INTO orders
SELECT i, CASE WHEN i % 2 = 0 THEN 'acme' ELSE 'globex' END, i * 10, 'note-' || i, i, 'k' || i % 3
FROM range(1, 41) t(i);
CREATE TABLE products (id INTEGER, name VARCHAR);
INSERT INTO products VALUES (1, 'chair'), (2, 'table');
CREATE SCHEMA finance;
CREATE TABLE finance.ledger (id INTEGER);
INSERT INTO finance.ledger VALUES (1);
CREATE TABLE undecided (id INTEGER);
"""


def write_policies(folder: Path, text: str = POLICIES) -> Path:
    """A policy directory with its identity file and key."""
    folder.mkdir(exist_ok=True)
    (folder / "identity.yaml").write_text(IDENTITY)
    (folder / "secret").write_bytes(bytes(range(64)))
    (folder / "policies.yaml").write_text(text)
    return folder
