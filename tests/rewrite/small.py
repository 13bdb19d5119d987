"""A small catalog, database and policy set for tests of the rewrite; nothing here uses the code under test but values.

Two tenants, an enum, a struct, two relations called `orders`, a view; the principal is of tenant `a`."""

from __future__ import annotations

from typing import Any

import duckdb

from rls.catalog import Catalog, Column, Relation
from rls.identity.capabilities import Capabilities
from rls.identity.principal import Principal
from rls.policy.grant import Grant

SETUP = """
CREATE TYPE mood AS ENUM ('sunny', 'rainy');
CREATE TABLE orders (id INTEGER, tenant VARCHAR, amount DECIMAL(9,2), mood mood, place STRUCT(city VARCHAR, zip INTEGER));
INSERT INTO orders VALUES (1, 'a', 3, 'sunny', {'city': 'Oslo', 'zip': 1}), (2, 'b', 4, 'rainy', {'city': 'Rome', 'zip': 2}),
  (3, 'a', 5, NULL, NULL), (4, NULL, 6, 'sunny', NULL);
CREATE SCHEMA archive;
CREATE TABLE archive.orders AS SELECT id + 100 AS id, tenant, amount FROM orders;
CREATE TABLE people (id INTEGER, tenant VARCHAR, name VARCHAR, salary INTEGER, email VARCHAR);
INSERT INTO people VALUES (1, 'a', 'Ada', 10, 'ada@x'), (2, 'b', 'Bob', 20, 'bob@x');
CREATE TABLE products (id INTEGER, name VARCHAR);
INSERT INTO products VALUES (1, 'pen'), (2, 'ink');
CREATE TABLE secret (id INTEGER);
CREATE VIEW big AS SELECT id, amount AS total FROM orders WHERE amount > 1;
"""
TEXT, NUMBER = "VARCHAR", "INTEGER"
ORDERS = Relation(
    ("main",),
    "orders",
    (
        Column("id", NUMBER),
        Column("tenant", TEXT),
        Column("amount", "DECIMAL(9,2)"),
        Column("mood", "ENUM('sunny', 'rainy')"),
        Column("place", "STRUCT(city VARCHAR, zip INTEGER)"),
    ),
)
PEOPLE = Relation(
    ("main",),
    "people",
    tuple(
        Column(n, t) for n, t in [("id", NUMBER), ("tenant", TEXT), ("name", TEXT), ("salary", NUMBER), ("email", TEXT)]
    ),
)
ARCHIVE = Relation(("archive",), "orders", ORDERS.columns[:3])
PRODUCTS = Relation(("main",), "products", (Column("id", NUMBER), Column("name", TEXT)))
SECRET = Relation(("main",), "secret", (Column("id", NUMBER),))
BIG = Relation(
    ("main",),
    "big",
    (Column("id", NUMBER), Column("total", "DECIMAL(9,2)")),
    kind="view",
    sql="SELECT id, amount AS total FROM orders WHERE amount > 1",
)
CATALOG = Catalog.of("memory", [ORDERS, PEOPLE, ARCHIVE, PRODUCTS, SECRET, BIG])
PRINCIPAL = Principal("u-1", attributes={"tenant": "a"})
OWN = "tenant = CAST($rls_tenant AS VARCHAR)"


class Policies:
    """Tenant filter on orders (both) and people, products public, nothing on `secret`; people lose salary and e-mail."""

    version = "v1"
    readable = frozenset({"tenant"})

    def grant(self, relation: Relation, principal: Principal, catalog: Catalog) -> Grant | None:
        own: dict[str, Any] = {"rls_tenant": principal.attributes["tenant"]}
        match relation.label:
            case "orders" | "archive.orders":
                return Grant(relation.label, "conditional", OWN, own, policies=("own_tenant",))
            case "people":
                return Grant("people", "conditional", OWN, own, {"email": "'***'"}, frozenset({"salary"}))
            case "products":
                return Grant("products", "always")
            case _:
                return None

    def capabilities(self, principal: Principal) -> Capabilities:
        return Capabilities()

    def attribute_parameter(self, name: str) -> str:
        return f"CAST($rls_{name} AS VARCHAR)"


def database() -> duckdb.DuckDBPyConnection:
    """The data in memory, under the catalog name `memory`."""
    con = duckdb.connect()
    con.execute(SETUP)
    return con


def permitted() -> duckdb.DuckDBPyConnection:
    """The same database holding only what the principal may see: the oracle."""
    con = database()
    con.execute("""
        DROP VIEW big;
        CREATE OR REPLACE TABLE orders AS SELECT * REPLACE (mood::VARCHAR AS mood) FROM orders WHERE tenant = 'a';
        CREATE OR REPLACE TABLE archive.orders AS FROM archive.orders WHERE tenant = 'a';
        CREATE OR REPLACE TABLE people AS SELECT * EXCLUDE (salary) REPLACE ('***' AS email) FROM people WHERE tenant = 'a';
        CREATE VIEW big AS SELECT id, amount AS total FROM orders WHERE amount > 1;
        DROP TABLE secret;
    """)
    return con
