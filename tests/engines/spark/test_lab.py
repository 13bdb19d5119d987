"""The laboratory over a Spark Connect server: what its tools say of a file, they say of the same rows on a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from rls.cli import run
from tests.engines.lab import said, same
from tests.engines.spark.kit import SailServer
from tests.lab.kit import ORDERS, SEES, warehouse, write_database, write_shop

FIXTURES = Path(__file__).parents[3] / "fixtures" / "policies"
WIDER = ORDERS.replace("region IN user.regions", "region IN user.regions OR region = 'APAC'")


@dataclass(frozen=True)
class Twins:
    """The same rows in a file and on a server."""

    file: Path
    url: str


@pytest.fixture(scope="module")
def server() -> Iterator[SailServer]:
    made = SailServer(keep=9)
    yield made
    made.close()


@pytest.fixture
def shop(server: SailServer, tmp_path: Path) -> Twins:
    file = write_database(tmp_path / "shop.duckdb")
    with duckdb.connect(str(file)) as connection:
        # DuckDB writes Parquet files without keys, and calls a column required in which nothing is NULL.
        connection.execute(
            "CREATE TABLE keyless AS FROM orders; DROP TABLE orders; ALTER TABLE keyless RENAME TO orders"
        )
        for table, column in (("orders", "id"), ("orders", "tenant_id"), ("orders", "amount"), ("people", "user_id")):
            connection.execute(f"ALTER TABLE {table} ALTER {column} SET NOT NULL")
    return Twins(file, server.load(file))


def test_test_matrix_and_coverage(shop: Twins, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policies = write_shop(tmp_path / "policies", suite=SEES)
    code, found = same(capsys, shop.url, shop.file, "test", policies)
    assert (code, found["passed"], found["failed"]) == (0, 6, 0)
    _, found = same(capsys, shop.url, shop.file, "matrix", policies)
    assert [one["rows"] for one in found["relations"]] == [4, 3, 2]
    same(capsys, shop.url, shop.file, "coverage", policies)
    # Rows of the server's, not of a suite.
    extra = shop.url.partition("parquet=")[2]
    with duckdb.connect() as connection:
        connection.execute(f"COPY (FROM '{extra}/orders.parquet' UNION ALL SELECT 5, 'acme', 'EMEA', 1, NULL, NULL, NULL) "
                           f"TO '{extra}/more.parquet' (FORMAT parquet)")  # fmt: skip
    (Path(extra) / "more.parquet").rename(Path(extra) / "orders.parquet")
    code, found = said(capsys, "test", policies, "--persona", "eve", "--database", shop.url)
    (failed,) = [case for case in found["cases"] if case["status"] == "failed"]
    assert (code, failed["relation"], failed["failures"][0]["rows"][0]["values"]["id"]) == (1, "orders", 5)


@pytest.mark.parametrize(
    "sees",
    [
        "{orders: {keys: [1]}, people: {keys: [u-1, nobody]}, products: none}",
        "{orders: {where: \"tenant_id = 'acme'\"}, people: {includes: [u-2], excludes: [u-1]}, products: 1}",
        "{orders: {same_as: max}, people: {rows: [[u-1, Eve]]}, products: denied}",
    ],
)
def test_what_fails_is_told_alike(sees: str, shop: Twins, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policies = write_shop(tmp_path / "policies", suite=f"sees:\n  eve: {sees}\n", orders=WIDER)
    code, found = same(capsys, shop.url, shop.file, "test", policies)
    assert (code, found["errors"]) == (1, 0)


def test_why(shop: Twins, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policies = write_shop(tmp_path / "policies", suite=SEES)
    for key in ("1", "placed=2026-01-03", "amount=20", "region=EMEA"):
        same(capsys, shop.url, shop.file, "why", policies, "--as", "eve", "--relation", "orders", "--key", key)
    _, found = same(
        capsys, shop.url, shop.file, "why", policies, "--as", "eve", "SELECT * FROM orders WHERE amount > 15"
    )
    assert found["lost_at"] == "no row is left after WHERE (amount > 15)"
    _, found = same(
        capsys, shop.url, shop.file, "query", "--policies", policies, "--as", "eve", "SELECT id FROM orders"
    )
    assert found["rows"] == [[1]]


def test_the_fixture_warehouse(server: SailServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All that the server has words for is as on DuckDB; what it lacks is told by name, not as nothing to be seen."""
    file = tmp_path / "warehouse.duckdb"
    file.write_bytes(warehouse().read_bytes())
    url = server.load(file)
    _, found = said(capsys, "test", FIXTURES, "--database", url)
    _, wanted = said(capsys, "test", FIXTURES, "--database", file)
    assert (wanted["failed"], found["errors"]) == (0, 0)
    refused = {(case["relation"], case["query"]): str(case["failures"]) for case in found["cases"] if case["failures"]}
    assert all("query.not_portable" in why or "unknown_relation" in why for why in refused.values())
    assert {relation for relation, _ in refused if relation} == {"employees"}
    assert len([query for _, query in refused if query]) == 1
    _, found = said(capsys, "matrix", FIXTURES, "--database", url)
    _, wanted = said(capsys, "matrix", FIXTURES, "--database", file)
    for here, there in zip(found["relations"], wanted["relations"], strict=True):
        if here["relation"] == "employees":
            assert "WITH RECURSIVE" in here["personas"]["alice"]["reason"]
        else:
            assert here == there
    assert run(["seed", str(write_shop(tmp_path / "policies")), "--database", url]) in (0, 1)
    capsys.readouterr()


def test_a_server_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyspark.sql.connect.session", reason="no Spark Connect client: pip install 'rls[spark]'")
    policies = write_shop(tmp_path / "policies", suite=SEES)
    for command in ("test", "matrix", "coverage"):
        assert run([command, str(policies), "--json", "--database", "spark://127.0.0.1:9"]) == 6
        assert json.loads(capsys.readouterr().out)["error"]["code"] == "engine.database_unreachable"
