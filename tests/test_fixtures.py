"""The fixture warehouse: the same seed gives the same data, and the data has the traps that real data has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner
from duckdb import DuckDBPyConnection

import fixtures
from fixtures.__main__ import main
from rls.catalog import quote

SMALL = 0.002


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> fixtures.Summary:
    return fixtures.build(tmp_path_factory.mktemp("fixtures") / "warehouse.duckdb", SMALL, seed=7, threads=2)


@pytest.fixture(scope="module")
def con(built: fixtures.Summary) -> Iterator[DuckDBPyConnection]:
    with duckdb.connect(str(built.path), read_only=True) as connection:
        yield connection


def hash_rows(path: Path) -> dict[str, int]:
    """Per table one number over the values and the place of every row: another order is another number."""
    with duckdb.connect(str(path), read_only=True) as con:
        tables = con.execute("SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal").fetchall()
        return {f"{s}.{t}": hash_table(con, f"{quote(s)}.{quote(t)}") for s, t in tables}


def hash_table(con: DuckDBPyConnection, source: str) -> int:
    return one(con, f"SELECT bit_xor(hash(rowid, r)) FROM {source} AS r")


def one(con: DuckDBPyConnection, sql: str) -> int:
    row = con.execute(sql).fetchone()
    assert row is not None
    return int(row[0])


def test_same_seed_gives_the_same_rows_in_the_same_order_for_any_number_of_threads(
    built: fixtures.Summary, tmp_path: Path
) -> None:
    again = fixtures.build(tmp_path / "again.duckdb", SMALL, seed=7, threads=1)
    assert hash_rows(again.path) == hash_rows(built.path)


def test_events_of_several_row_groups_do_not_depend_on_threads(tmp_path: Path) -> None:
    # Below 122,880 rows everything is one row group and no second thread ever gets work.
    paths = [fixtures.build(tmp_path / f"{n}.duckdb", 0.026, threads=n).path for n in (1, 3)]
    assert hash_rows(paths[0]) == hash_rows(paths[1])


def test_another_seed_gives_other_rows_everywhere(built: fixtures.Summary, tmp_path: Path) -> None:
    other = fixtures.build(tmp_path / "other.duckdb", SMALL, seed=8)
    ours, theirs = hash_rows(built.path), hash_rows(other.path)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] == theirs[name]] == []


def test_scale_is_honoured(built: fixtures.Summary, tmp_path: Path) -> None:
    assert fixtures.sizes_at(1.0)["events"] == 10_000_000
    assert (built.rows["events"], built.rows["orders"], built.rows["customers"]) == (20_000, 2_000, 400)
    tiny = fixtures.build(tmp_path / "tiny.duckdb", 0.000_000_1)
    assert min(tiny.rows.values()) >= tiny.rows["tenants"] == 12


@pytest.mark.parametrize("scale", [0, -1, 101, float("nan"), float("inf")])
def test_a_scale_out_of_range_is_refused_and_leaves_nothing(tmp_path: Path, scale: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        fixtures.build(tmp_path / "x.duckdb", scale)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_only_replaced_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "precious.duckdb"
    path.write_text("precious")
    with pytest.raises(FileExistsError):
        fixtures.build(path, 0.0001)
    assert path.read_text() == "precious"
    with pytest.raises(FileExistsError, match="is a directory"):
        fixtures.build(tmp_path, 0.0001, replace=True)
    assert fixtures.build(path, 0.0001, replace=True).rows["events"] == 1_000
    assert [p.name for p in tmp_path.iterdir()] == ["precious.duckdb"]


@pytest.mark.parametrize(
    ("child", "columns", "parent", "parent_columns"),
    [
        ("customers", "tenant_id", "tenants", "id"),
        ("employees", "tenant_id", "tenants", "id"),
        ("employees", "manager_id", "employees", "id"),
        ("account_managers", "customer_id", "customers", "id"),
        ("account_managers", "user_id", "employees", "user_id"),
        ("orders", "(tenant_id, customer_id)", "customers", "(tenant_id, id)"),
        ("orders", "tenant_id", "tenants", "id"),
        ("order_lines", "(tenant_id, order_id)", "orders", "(tenant_id, id)"),
        ("order_lines", "product_id", "products", "id"),
        ("events", "(tenant_id, customer_id)", "customers", "(tenant_id, id)"),
        ('"2024 Targets"', "tenant_id", "tenants", "id"),
        ("finance.ledger", "(tenant_id, posted_by)", "employees", "(tenant_id, id)"),
        ("finance.orders", "(tenant_id, approved_by)", "employees", "(tenant_id, id)"),
    ],
)
def test_references_hold(con: DuckDBPyConnection, child: str, columns: str, parent: str, parent_columns: str) -> None:
    reference = columns.strip("()").split(", ")[-1]
    rows = con.execute(
        f"SELECT count(*), count(*) FILTER ({columns} NOT IN (SELECT {parent_columns} FROM {parent}))"
        f" FROM {child} WHERE {reference} IS NOT NULL"
    ).fetchone()
    assert rows is not None
    assert rows[0] > 0
    assert rows[1] == 0


def test_orders_are_the_sum_of_their_lines(con: DuckDBPyConnection) -> None:
    wrong = (
        "SELECT count(*) FROM orders o FULL JOIN"
        ' (SELECT order_id, sum("Line Total") AS total FROM order_lines GROUP BY order_id) l ON l.order_id = o.id'
        " WHERE o.amount IS DISTINCT FROM l.total"
    )
    assert one(con, wrong) == 0


def test_every_tenant_has_rows_in_every_relation_of_tenants(con: DuckDBPyConnection) -> None:
    tenants = {t for (t,) in con.execute("SELECT id FROM tenants").fetchall()}
    owned = con.execute(
        "SELECT schema_name, table_name FROM duckdb_columns() WHERE column_name = 'tenant_id' AND NOT internal"
    ).fetchall()
    assert len(owned) == 8
    for schema, table in owned:
        found = con.execute(f"SELECT DISTINCT tenant_id FROM {quote(schema)}.{quote(table)}").fetchall()
        assert tenants <= {t for (t,) in found}, table


def test_tenants_differ_in_size_and_two_ids_differ_in_case_only(con: DuckDBPyConnection) -> None:
    sizes = dict(con.execute("SELECT tenant_id, count(*) FROM events GROUP BY 1").fetchall())
    assert sizes["acme"] > 3 * sizes["cyberdyne"]
    assert sizes["ACME"] > 0
    assert sizes[""] > 0  # events that lost their tenant,
    assert sizes[None] > 0  # and events that never had one


def test_nulls_are_where_real_data_has_them(con: DuckDBPyConnection) -> None:
    for source, column in [
        ("customers", "region"), ("customers", "email"), ("customers", "address"), ("customers", "address.geo"),
        ("customers", "risk"), ("customers", "tags"), ("customers", "profile"), ("customers", "tags[2]"),
        ("orders", "customer_id"), ("orders", "region"), ("orders", "margin"), ("orders", "shipments[2].carrier"),
        ("events", "tenant_id"), ("events", "region"), ("events", "user_id"), ("employees", "salary"),
        ("employees", "manager_id"), ("account_managers", "customer_id"), ("account_managers", "until"),
        ("finance.ledger", "classification"), ("finance.orders", "approved_at"), ('"2024 Targets"', "department"),
    ]:  # fmt: skip
        nulls, values = con.execute(f"SELECT count(*) - count({column}), count({column}) FROM {source}").fetchall()[0]
        assert nulls > 0, (source, column)
        assert values > 0, (source, column)


def test_odd_names_and_types_exist(con: DuckDBPyConnection) -> None:
    columns = {
        (f"{schema}.{table}", name): kind
        for schema, table, name, kind in con.execute(
            "SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal"
        ).fetchall()
    }
    assert {("main.customers", "group"), ("main.customers", "Credit Limit"), ("main.2024 Targets", "order"),
            ("main.2024 Targets", "Target €"), ("main.events", "Load Time (ms)"), ("main.products", "in stock"),
            ("main.orders", "id"), ("finance.orders", "id")} <= columns.keys()  # fmt: skip
    assert sum(table == "main.events" for table, _ in columns) >= 25
    kinds = {kind.split("(")[0] for kind in columns.values()}
    assert {"BIGINT", "BOOLEAN", "DATE", "DECIMAL", "DOUBLE", "ENUM", "INTEGER", "INTEGER[]", "JSON", "MAP", "STRUCT",
            "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "UUID", "VARCHAR", "VARCHAR[]"} <= kinds  # fmt: skip
    assert {kind for kind in columns.values() if kind.endswith(")[]")} == {
        "STRUCT(carrier VARCHAR, shipped_on DATE, parcels INTEGER)[]"
    }


def test_every_label_of_every_enum_is_used(con: DuckDBPyConnection) -> None:
    for source, column in [("customers", "risk"), ("orders", "status"), ("events", "type")]:
        unused = one(con, f"SELECT len(enum_range(any_value({column}))) - count(DISTINCT {column}) FROM {source}")
        assert unused == 0, column


def test_the_hierarchy_has_no_cycle_and_crosses_tenants_once(con: DuckDBPyConnection) -> None:
    below = (
        "WITH RECURSIVE below(id, top, steps) AS ("
        " SELECT id, id, 0 FROM employees WHERE manager_id IS NULL"
        " UNION ALL SELECT e.id, top, steps + 1 FROM employees e JOIN below b ON e.manager_id = b.id WHERE steps < 100)"
    )
    reached, deepest = con.execute(f"{below} SELECT count(*), max(steps) FROM below").fetchall()[0]
    assert reached == one(con, "SELECT count(*) FROM employees")  # each is reached once, from one root
    assert 3 <= deepest < 100
    crossing = con.execute(
        "SELECT e.user_id, m.user_id FROM employees e JOIN employees m ON m.id = e.manager_id"
        " WHERE e.tenant_id <> m.tenant_id"
    ).fetchall()
    assert crossing == [("ACME-1", "acme-2")]


def test_views_have_rows_and_do_not_show_the_tenant(con: DuckDBPyConnection) -> None:
    for view in ("recent_orders", "revenue_by_region"):
        shown = con.execute(f"SELECT * FROM {view}")
        assert shown.fetchone() is not None
        assert "tenant_id" not in [c[0] for c in shown.description]


def test_parquet_holds_the_same_rows_in_the_same_order(built: fixtures.Summary, tmp_path: Path) -> None:
    made = fixtures.build(tmp_path / "lake", SMALL, seed=7, format="parquet")
    assert made.rows == built.rows
    with duckdb.connect(str(built.path), read_only=True) as con:
        for label in made.rows:
            schema, _, name = label.rpartition(".")
            file = made.path / (schema or "main") / f"{name}.parquet"
            columns = con.execute(f"DESCRIBE SELECT * FROM '{file}'").fetchall()
            assert not [c for c in columns if c[1].startswith(("ENUM", "JSON"))]
            different = one(
                con,
                f"SELECT count(*) FROM (SELECT a::VARCHAR AS t FROM {quote(schema or 'main')}.{quote(name)} AS a)"
                f" POSITIONAL JOIN (SELECT b::VARCHAR AS p FROM '{file}' AS b) WHERE t IS DISTINCT FROM p",
            )
            assert different == 0, label


def test_the_command_builds_and_refuses_politely(tmp_path: Path) -> None:
    run, path = CliRunner().invoke, str(tmp_path / "w.duckdb")
    made = run(main, ["build", path, "--scale", "0.0001", "--seed", "3"])
    assert made.exit_code == 0
    assert "finance.ledger" in made.output
    again = run(main, ["build", path, "--scale", "0.0001"])
    assert again.exit_code == 1
    assert "already there" in again.output
    assert run(main, ["build", path, "--scale", "0", "--replace"]).exit_code == 2
    assert run(main, ["build", path, "--scale", "0.0001", "--replace"]).exit_code == 0
