"""A small shop with policies, personas and a suite, for tests of the laboratory."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import duckdb

import fixtures

IDENTITY = """
issuers:
  - name: https://app.example
    audiences: [shop]
    algorithms: [HS256]
    keys: [{kid: app-1, secret: {env: A_SECRET_THAT_IS_NOT_HERE}}]
roles: [explorer, maker]
attributes:
  tenant: {type: string, required: true}
  regions: {type: string, list: true, readable: true}
  since: {type: date}
"""
ORDERS = """
relation: orders
policies:
  - name: own_tenant
    as: restrictive
    using: tenant_id = user.tenant
  - name: own_regions
    to: [explorer]
    using: region IN user.regions
  - name: all_regions
    to: [maker]
    using: "true"
columns:
  email: {mask: "'***@' || split_part(email, '@', 2)", except: [maker]}
  margin: {deny: true, except: [maker]}
"""
OTHERS = """
relation: people
policies:
  - {name: myself, using: user_id = user.subject}
---
relation: products
public: true
"""
PERSONAS = """
personas:
  eve: {subject: u-1, roles: [explorer], attributes: {tenant: acme, regions: [EMEA]}}
  max: {subject: u-2, roles: [maker], attributes: {tenant: acme}}
"""
DATA = """
data:
  orders:
    columns:
      id: INTEGER
      tenant_id: VARCHAR
      region: VARCHAR
      amount: DECIMAL(9,2)
      email: VARCHAR
      margin: DECIMAL(9,2)
      placed: DATE
    rows:
      - [1, acme, EMEA, 10.50, ada@post.test, 3.20, 2026-01-01]
      - [2, acme, APAC, 20.00, bo@post.test, 5.00, 2026-01-02]
      - [3, globex, EMEA, 40.00, cy@corp.test, 9.10, 2026-01-03]
      - {id: 4, tenant_id: acme, amount: 5}
  people:
    columns: {user_id: VARCHAR, name: VARCHAR}
    rows: [[u-1, Eve], [u-2, Max], [u-3, Ada]]
  products:
    columns: {id: INTEGER}
    rows: [[1], [2]]
"""
SEES = """
sees:
  eve: {orders: [1], people: [u-1], products: all}
  max: {orders: [1, 2, 4], people: 1, products: 2}
"""
TABLES = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, tenant_id VARCHAR, region VARCHAR, amount DECIMAL(9,2), email VARCHAR,
    margin DECIMAL(9,2), placed DATE);
INSERT INTO orders VALUES (1, 'acme', 'EMEA', 10.5, 'ada@post.test', 3.2, '2026-01-01'),
    (2, 'acme', 'APAC', 20, 'bo@post.test', 5, '2026-01-02'), (3, 'globex', 'EMEA', 40, 'cy@corp.test', 9.1, '2026-01-03'),
    (4, 'acme', NULL, 5, NULL, NULL, NULL);
CREATE TABLE people (user_id VARCHAR, name VARCHAR);
INSERT INTO people VALUES ('u-1', 'Eve'), ('u-2', 'Max'), ('u-3', 'Ada');
CREATE TABLE products (id INTEGER);
INSERT INTO products VALUES (1), (2);
"""


def write_shop(folder: Path, *, suite: str = DATA + SEES, orders: str = ORDERS) -> Path:
    """A policy directory with one suite."""
    folder.mkdir(exist_ok=True)
    files = {"identity": IDENTITY, "orders": orders, "others": OTHERS, "personas": PERSONAS, "shop.test": suite}
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def write_database(path: Path) -> Path:
    """The same rows in a database file."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(TABLES)
    return path


@functools.cache
def warehouse() -> Path:
    """The fixture warehouse, small, built once for all tests of the laboratory; nobody writes to it."""
    folder = Path(tempfile.mkdtemp(prefix="rls-warehouse-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return fixtures.build(folder / "warehouse.duckdb", 0.002, seed=7).path
