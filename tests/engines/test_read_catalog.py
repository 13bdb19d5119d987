"""The catalog as read from a DuckDB file: schema paths, views with their text, types, names as they are."""

from __future__ import annotations

import duckdb
import pytest

from rls.catalog import Catalog
from rls.engines.read_catalog import read_catalog, view_select
from tests.engine.kit import build

SCRIPT = """
CREATE TYPE mood AS ENUM ('a', 'it''s');
CREATE TABLE people (id INTEGER PRIMARY KEY, "Odd ""name" mood, twice INTEGER GENERATED ALWAYS AS (id * 2));
CREATE SCHEMA finance;
CREATE SCHEMA finance.deep;
CREATE TABLE finance.deep.ledger (x DECIMAL(9,2)[], s STRUCT(a INTEGER, "B x" VARCHAR));
CREATE TABLE gone (a INTEGER);
CREATE VIEW stale AS SELECT * FROM gone;
DROP TABLE gone;
CREATE VIEW plain AS SELECT id FROM people WHERE id > 0;
CREATE SECURE VIEW finance.named (a, "b AS (c)") AS SELECT 1, 'x; y';
CREATE VIEW "v AS w" AS WITH q AS (SELECT 1 AS z) SELECT * FROM q;
CREATE MACRO plus_one(x) AS x + 1;
CREATE SEQUENCE numbers;
"""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    path = build(tmp_path_factory.mktemp("catalog") / "w.duckdb", SCRIPT)
    with duckdb.connect(":memory:") as connection:
        connection.execute("CREATE TABLE decoy (i INTEGER)")
        connection.execute(f"ATTACH '{path}' AS rls_x (READ_ONLY)")
        return read_catalog(connection, "rls_x", name="w")


def test_every_relation_of_that_database_and_no_other(catalog: Catalog) -> None:
    assert {r.label for r in catalog.relations.values()} == {
        "people", "finance.deep.ledger", "stale", "plain", "finance.named", "v AS w",
    }  # fmt: skip
    assert catalog.name == "w"
    assert catalog.attached == "rls_x"


def test_tables_have_columns_in_order_with_type_texts(catalog: Catalog) -> None:
    people = catalog.find(("people",))
    assert people is not None
    assert people.kind == "table"
    assert [(c.name, c.type, c.nullable) for c in people.columns] == [
        ("id", "INTEGER", False),
        ('Odd "name', "ENUM('a', 'it''s')", True),
        ("twice", "INTEGER", True),
    ]


def test_nested_schemas_are_paths(catalog: Catalog) -> None:
    ledger = catalog.find(("finance", "deep", "ledger"))
    assert ledger is not None
    assert ledger.schema == ("finance", "deep")
    assert [c.type for c in ledger.columns] == ["DECIMAL(9,2)[]", 'STRUCT(a INTEGER, "B x" VARCHAR)']
    assert catalog.source(ledger) == '"rls_x"."finance"."deep"."ledger"'


def test_views_have_their_select_and_their_own_column_names(catalog: Catalog) -> None:
    named = catalog.find(("finance", "named"))
    assert named is not None
    assert named.kind == "view"
    assert named.sql == "SELECT 1, 'x; y'"
    assert [c.name for c in named.columns] == ["a", "b AS (c)"]
    for name, sql in [
        ("plain", "SELECT id FROM people WHERE (id > 0)"),
        ("v AS w", "WITH q AS (SELECT 1 AS z) SELECT * FROM q"),
        ("stale", "SELECT * FROM gone"),
    ]:
        view = catalog.find((name,))
        assert view is not None
        assert view.sql == sql


def test_the_same_data_has_the_same_version_under_the_same_names(catalog: Catalog) -> None:
    assert catalog.attached_as("w").version == catalog.attached_as("w").version
    assert catalog.attached_as("w").version != catalog.version


@pytest.mark.parametrize("statement", ["CREATE VIEW v AS SELECT 1", "CREATE TABLE v AS SELECT 1;", "", "CREATE VIEW;"])
def test_a_statement_of_another_form_is_not_guessed_at(statement: str) -> None:
    assert view_select(statement) is None
