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
    return GuardedQuery(sql=sql, parameters=parameters, original=sql, grants={}, fingerprint="")
