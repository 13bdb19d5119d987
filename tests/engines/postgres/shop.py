"""A small shop on a PostgreSQL server of our own, with traps in its hidden rows, and an engine over it."""

from __future__ import annotations

from pathlib import Path

from rls.engines.limits import Limits
from tests.engines import shop
from tests.engines.postgres.kit import READER, Cluster, start

__all__ = ["POLICIES", "Shop", "start_shop"]

SHOP = f"""
CREATE TYPE state AS ENUM ('open', 'done', 'lost in court');
CREATE TABLE orders (id integer, tenant_id text, amount numeric(9,2), n integer, note varchar(40), state state,
  seen timestamptz, small real, extra jsonb, big numeric, tags text[], folded text COLLATE any_case);
INSERT INTO orders SELECT i, CASE WHEN i % 2 = 0 THEN 'acme' ELSE 'globex' END, i, CASE WHEN i % 2 = 0 THEN i ELSE 2147483647 END,
  CASE WHEN i % 2 = 0 THEN 'Zebra ' ELSE 'CANARY ' END || i, 'open', '2024-01-01 10:00+02', 0.1, '{{}}', i, '{{}}', 'x'
FROM generate_series(1, 40) i;
CREATE TABLE days (id integer, tenant_id text, amount numeric(9,2), n integer, note varchar(40), day date, moment timestamp);
INSERT INTO days SELECT id, tenant_id, amount, n, note, date '2023-12-31' + id, date '2023-12-31' + id FROM orders;
CREATE TABLE products (id integer, name text, zero integer);
INSERT INTO products VALUES (1, 'Äpfel', 0), (2, 'zebra', 0), (3, 'Zoo', 0), (4, 'apple', NULL);
CREATE SCHEMA finance;
CREATE TABLE finance.ledger (id integer);
CREATE TABLE finance."odd ""name"" 100%" ("a ""b"" %s $1" text, "É" integer);
INSERT INTO finance."odd ""name"" 100%" VALUES ('it''s \\ %s $1', 1);
CREATE TABLE "Twice" (id integer);
CREATE TABLE twice (id integer);
CREATE TABLE undecided (id integer);
CREATE VIEW everything AS SELECT * FROM orders;
CREATE DOMAIN label AS varchar(20);
CREATE TABLE parcels (id integer, tenant_id text, weight numeric, size numeric, label label, about json, raw bytea, due time,
  tags text[], address inet, span interval, days date[], prices numeric(9,2)[], numbers integer[], links inet[]);
INSERT INTO parcels VALUES (1, 'acme', 1.5, 2, 'one', '{{"b": 1,  "a": [2]}}', '\\x00ff', '10:00', '{{x,NULL}}', '::1', '1 day',
    '{{2026-01-02}}', '{{1.5}}', '{{1}}', NULL),
  (2, 'acme', 0.25, 3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{{}}', NULL, '{{{{1,2}},{{3,4}}}}', NULL),
  (3, 'globex', 9e131071, 9e131071, 'CANARY', '{{}}', '', '11:00', '{{}}', '::1', '1 day', '{{infinity}}', NULL, NULL, NULL);
CREATE TABLE shapes (outline point, around box);
CREATE TABLE secret (id integer);
CREATE TABLE changing (id integer, old text);
INSERT INTO changing VALUES (1, 'kept');
CREATE ROLE {READER} LOGIN;
GRANT USAGE ON SCHEMA public, finance TO {READER};
GRANT SELECT ON ALL TABLES IN SCHEMA public, finance TO {READER};
REVOKE SELECT ON secret FROM {READER};
"""
_DAYS = """
---
relation: parcels
policies:
  - {name: own_tenant, using: tenant_id = user.tenant}
---
relation: days
policies:
  - {name: own_tenant, using: tenant_id = user.tenant}
"""
POLICIES = shop.shop_policies('odd "name" 100%') + _DAYS


def start_shop() -> Cluster:
    """A server with the database `shop`; it is the caller's to stop. Skips the test where there is none."""
    import psycopg

    made = start()
    try:
        with psycopg.connect(made.url(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE shop")
        with psycopg.connect(made.url("shop"), autocommit=True) as connection:
            connection.execute(
                "CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
            )
            for statement in SHOP.split(";\n"):
                connection.execute(statement)
    except BaseException:
        made.stop()
        raise
    return made


class Shop(shop.Shop):
    """The shop on a server; nobody may read more of it than its reader."""

    def __init__(self, cluster: Cluster, directory: Path, limits: Limits | None = None) -> None:
        super().__init__(cluster.url("shop", user=READER), POLICIES, directory, limits=limits)
