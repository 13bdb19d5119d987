"""The laboratory over a PostgreSQL server: what its tools say of a file, they say of the same rows on a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rls.cli import run
from rls.engines.limits import Limits
from rls.engines.opening import open_server, read_catalog_of
from rls.engines.server import ServerExecutor
from rls.errors import EngineInvalid, QueryFailed
from rls.identity.personas import load_personas
from rls.lab.suites.run import run_directory
from rls.lab.world.raw import RawFailed
from rls.lab.world.world import open_directory, open_live, primary_keys_of
from rls.policy.load import load_policies
from tests.engines.lab import said, same, timeless
from tests.engines.postgres.kit import READER, Cluster, load_database, start
from tests.judging.oracle import quoted
from tests.lab.kit import DATA, ORDERS, SEES, warehouse, write_database, write_shop

FIXTURES = Path(__file__).parents[3] / "fixtures" / "policies"
WIDER = ORDERS.replace("region IN user.regions", "region IN user.regions OR region = 'APAC'")
PASSWORD = "sesame-4711"


@dataclass(frozen=True)
class Twins:
    """The same rows in a file and on a server."""

    cluster: Cluster
    file: Path
    name: str

    @property
    def url(self) -> str:
        return self.cluster.url(self.name, user=READER)

    def change(self, *statements: str) -> None:
        """What the owner of the server's tables does."""
        import psycopg

        with psycopg.connect(self.cluster.url(self.name), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def large(cluster: Cluster) -> Twins:
    """The fixture warehouse, with its keys."""
    load_database(cluster, warehouse(), database="warehouse")
    made = Twins(cluster, warehouse(), "warehouse")
    for (schema, table), columns in primary_keys_of(made.file, read_catalog_of(made.file)).items():
        place = quoted("public" if schema == "main" else schema, table)
        made.change(f"ALTER TABLE {place} ADD PRIMARY KEY ({', '.join(map(quoted, columns))})")
    return made


@pytest.fixture
def shop(cluster: Cluster, tmp_path: Path, request: pytest.FixtureRequest) -> Twins:
    """A shop of four orders, for this test alone."""
    file, name = write_database(tmp_path / "shop.duckdb"), f"shop_{abs(hash(request.node.name))}"
    load_database(cluster, file, database=name)
    made = Twins(cluster, file, name)
    made.change("ALTER TABLE orders ADD PRIMARY KEY (id)")
    return made


def both(capsys: pytest.CaptureFixture[str], twins: Twins, *arguments: object) -> tuple[int, Any]:
    """What a command says of both, once it was looked at that it is the same."""
    return same(capsys, twins.url, twins.file, *arguments)


def test_suites_are_judged_on_the_servers_rows(shop: Twins, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policies = write_shop(tmp_path / "policies", suite=SEES)
    code, found = both(capsys, shop, "test", policies)
    assert (code, found["passed"], found["failed"]) == (0, 6, 0)
    shop.change("INSERT INTO orders (id, tenant_id, region) VALUES (5, 'acme', 'EMEA'), (6, 'globex', 'EMEA')")
    code, found = said(capsys, "test", policies, "--database", shop.url)
    failures = {case["persona"]: case["failures"] for case in found["cases"] if case["status"] == "failed"}
    assert code == 1
    assert failures.keys() == {"eve", "max"}
    (one,) = failures["eve"]
    assert (one["kind"], one["count"], [row["values"]["id"] for row in one["rows"]]) == ("extra_rows", 1, [5])
    assert one["rows"][0]["why"] == ["own_regions is TRUE"]


@pytest.mark.parametrize(
    "sees",
    [
        "{orders: {keys: [1]}, people: {keys: [u-1, nobody]}, products: none}",
        "{orders: {where: \"tenant_id = 'acme'\"}, people: {includes: [u-2], excludes: [u-1]}, products: 1}",
        "{orders: {same_as: max}, people: {rows: [[u-1, Eve]]}, products: denied}",
        "{orders: {columns: [id], rows: 1, masked: [], absent: [id], sums: {amount: 1}, values: {region: [EMEA]}}}",
        "{orders: {where: no_such_column, because: [own_regions]}, people: all}",
    ],
)
def test_what_fails_is_told_alike(sees: str, shop: Twins, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policies = write_shop(tmp_path / "policies", suite=f"sees:\n  eve: {sees}\n", orders=WIDER)
    run(["test", str(policies), "--json", "--database", shop.url])
    found = json.loads(capsys.readouterr().out)
    run(["test", str(policies), "--json", "--database", str(shop.file)])
    wanted = json.loads(capsys.readouterr().out)
    for report in (found, wanted):
        for failure in (failure for case in report["cases"] for failure in case["failures"]):
            if failure["kind"] == "sql":
                failure["message"] = ""  # each engine's own words
    assert timeless(found) == timeless(wanted)
    assert found["failed"] + found["errors"]


def test_suites_with_rows_run_on_duckdb_with_the_servers_types(
    shop: Twins, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = DATA.replace("      placed: DATE\n", "      placed: DATE\n").split("    columns:")[0]
    rows = "    - [1, acme, EMEA, 10.50, ada@post.test, 3.20, 2026-01-01]\n"
    policies = write_shop(tmp_path / "policies", suite=f"{bare.rstrip()}\n{rows}sees:\n  eve: {{orders: [1]}}\n")
    assert both(capsys, shop, "test", policies)[0] == 1  # max sees it as well, and nobody said so
    wrong = write_shop(tmp_path / "wrong", suite="data: {nowhere: [[1]]}\nsees: {eve: {}}\n")
    _, found = both(capsys, shop, "test", wrong)
    assert "the database has no relation `nowhere`" in found["cases"][0]["failures"][0]["message"]


def test_the_fixture_warehouse(large: Twins, capsys: pytest.CaptureFixture[str]) -> None:
    """Recursive policies, mapping tables, hierarchies, invariants: all but a view, which the server's catalog lacks."""
    code, found = said(capsys, "test", FIXTURES, "--database", large.url)
    _, wanted = said(capsys, "test", FIXTURES, "--database", large.file)
    assert (wanted["failed"], wanted["errors"], found["errors"]) == (0, 0, 0)
    assert [case["query"] for case in found["cases"] if case["status"] != "passed"] == [
        case["query"] for case in wanted["cases"] if "recent_orders" in (case["query"] or "")
    ]
    assert (code, found["passed"]) == (1, wanted["passed"] - 1)
    both(capsys, large, "matrix", FIXTURES)
    both(capsys, large, "why", FIXTURES, "--as", "alice", "--relation", "employees", "--key", 3)
    both(
        capsys,
        large,
        "why",
        FIXTURES,
        "--as",
        "alice",
        "SELECT * FROM orders o, customers c WHERE c.id = o.customer_id",
    )
    both(capsys, large, "prove", FIXTURES)


def test_coverage(shop: Twins, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, found = both(capsys, shop, "coverage", write_shop(tmp_path / "policies", suite=SEES))
    assert found["covered"] == 16


def test_rows_are_named_by_values_of_every_kind(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import duckdb

    file = tmp_path / "kinds.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            "CREATE TABLE orders AS SELECT 7 AS id, 'acme' AS tenant_id, 'EMEA' AS region, DATE '2026-01-02' AS day, "
            "TIMESTAMP '2026-01-02 03:04:05' AS at, TIMESTAMPTZ '2026-01-02 03:04:05+00' AS exactly, 1.50::DECIMAL(9,2) "
            "AS price, 0.5::DOUBLE AS share, true AS paid, 'open'::ENUM('open', 'done') AS state, "
            "'b4f5c1de-0000-4000-8000-000000000001'::UUID AS code, NULL::VARCHAR AS note, 'x' AS email, 1 AS margin"
        )
    load_database(cluster, file, database="kinds")
    policies = write_shop(tmp_path / "policies")
    for name, value in (
        ("day", "2026-01-02"), ("at", "2026-01-02 03:04:05"), ("exactly", "2026-01-02 03:04:05+00"), ("price", "1.5"),
        ("share", "0.5"), ("paid", "true"), ("state", "open"), ("code", "b4f5c1de-0000-4000-8000-000000000001"),
        ("tenant_id", "acme"),
    ):  # fmt: skip
        arguments = ("why", policies, "--as", "max", "--relation", "orders", "--key", f"{name}={value}")
        _, found = both(capsys, Twins(cluster, file, "kinds"), *arguments)
        assert found["visible"], name
    assert run(["why", str(policies), "--as", "max", "--relation", "orders", "--key", "day=soon",
                "--database", cluster.url("kinds", user=READER)]) == 2  # fmt: skip
    assert "`soon` is not a value of `day`, which is DATE" in " ".join(capsys.readouterr().err.split())


def test_seed_reads_types_and_keys_of_a_server(shop: Twins, tmp_path: Path) -> None:
    texts = []
    for name, database in (("file", str(shop.file)), ("url", shop.url)):
        policies = write_shop(tmp_path / name, suite=SEES)
        assert run(["seed", str(policies), "--database", database]) == 0
        texts.append((policies / "seeded.test.yaml").read_text())
    assert texts[0].replace("/file", "") == texts[1].replace("/url", "")


def test_keys_are_those_that_the_server_vouches_for(shop: Twins) -> None:
    shop.change(
        "CREATE SCHEMA Finance",
        'CREATE TABLE finance."Lines" (n integer, "Order" integer, PRIMARY KEY ("Order", n))',
        "CREATE TABLE parents (id integer PRIMARY KEY)",
        "CREATE TABLE children () INHERITS (parents)",
        "CREATE TABLE odd (id integer, at inet PRIMARY KEY)",
        "CREATE TABLE parts (id integer PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE part PARTITION OF parts FOR VALUES FROM (1) TO (9)",
        f"GRANT USAGE ON SCHEMA finance TO {READER}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public, finance TO {READER}",
    )
    executor = open_server(shop.url, limits=Limits())
    try:
        assert executor.primary_keys() == {
            ("main", "orders"): ("id",),
            ("main", "parts"): ("id",),
            ("main", "part"): ("id",),
            ("finance", "lines"): ("Order", "n"),
        }
        assert primary_keys_of(shop.url, executor.catalog) == executor.primary_keys()
    finally:
        executor.close()


def test_what_a_server_lacks_is_a_reason_and_no_zero(
    shop: Twins, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = ORDERS.replace("region IN user.regions", "regexp_matches(region, user.regions[1])")
    policies = write_shop(tmp_path / "policies", suite=SEES, orders=odd)
    code, found = said(capsys, "matrix", policies, "--database", shop.url)
    (orders,) = [one for one in found["relations"] if one["relation"] == "orders"]
    eve, most = orders["personas"]["eve"], orders["personas"]["max"]
    assert (code, eve["visible"], orders["seen_by_nobody"]) == (0, None, None)
    assert "query.not_portable" in eve["reason"]
    assert most["visible"] == 3
    _, found = said(capsys, "test", policies, "--persona", "eve", "--relation", "orders", "--database", shop.url)
    (case,) = found["cases"]
    assert case["status"] == "failed"
    assert "query.not_portable" in case["failures"][0]["message"]


def test_a_policy_that_fails_on_a_row_is_told_as_such(
    shop: Twins, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails = ORDERS.replace("region IN user.regions", "(id * 1000000000) % 7 >= 0")
    _, found = both(capsys, shop, "matrix", write_shop(tmp_path / "policies", suite=SEES, orders=fails))
    (orders,) = [one for one in found["relations"] if one["relation"] == "orders"]
    assert orders["personas"]["eve"]["visible"] is None
    assert "fails on some row" in orders["personas"]["eve"]["reason"]


def test_a_row_that_a_policy_fails_on_cannot_be_explained(
    shop: Twins, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = ORDERS.replace("region IN user.regions", "regexp_matches(region, user.regions[1])")
    policies = write_shop(tmp_path / "policies", suite=SEES, orders=odd)
    arguments = ("why", policies, "--as", "eve", "--relation", "orders", "--key", 1)
    code, found = said(capsys, *arguments, "--database", shop.url)
    assert (code, found["error"]["code"]) == (6, "run.failed")
    assert "query.not_portable" in found["error"]["message"]
    code, found = said(capsys, *arguments, "--database", shop.file)
    assert (code, found["visible"]) == (0, True)


def test_a_persona_asks_a_server(shop: Twins, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policies = write_shop(tmp_path / "policies")
    sql = "SELECT id, email FROM orders ORDER BY id"
    _, found = both(capsys, shop, "query", "--policies", policies, "--as", "eve", sql)
    assert found["rows"] == [[1, "***@post.test"]]


def test_a_server_that_went_away_is_nobodys_policy(shop: Twins, tmp_path: Path) -> None:
    policies = write_shop(tmp_path / "policies")
    with open_directory(policies, shop.url) as world:
        orders = world.catalog.relations[("main", "orders")]
        assert world.raw.count(orders) == 4
        with pytest.raises(RawFailed, match="not_portable") as refused:
            world.raw.rows(f"SELECT regexp_matches(region, 'x') FROM {world.raw.source(orders)}")
        assert refused.value.refused
        shop.cluster.halt()
        try:
            with pytest.raises((EngineInvalid, QueryFailed), match=r"reached|lost"):
                world.raw.count(orders)
            with pytest.raises(EngineInvalid) as gone:
                run_directory(write_shop(tmp_path / "live", suite=SEES), database=shop.url)
            assert gone.value.code == "engine.database_unreachable"
        finally:
            shop.cluster.resume()
        assert world.raw.count(orders) == 4


def test_no_error_repeats_what_may_be_a_secret(shop: Twins, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policies = write_shop(tmp_path / "policies", suite=SEES)
    directory = shop.cluster.directory
    for wrong in (
        f"postgresql://{READER}:{PASSWORD}@/{shop.name}?host={directory}",
        f"postgresql://{READER}@/{shop.name}?host={directory}&password={PASSWORD}",
        f"postgresql://{READER}@/{PASSWORD}?host={directory}",
    ):
        for command in (["test", policies], ["matrix", policies], ["coverage", policies], ["seed", policies],
                        ["prove", policies, "isolated by tenant"],
                        ["why", policies, "--as", "eve", "SELECT 1 FROM orders"]):  # fmt: skip
            assert run([*map(str, command), "--database", wrong]) == 6, command
            told = capsys.readouterr()
            assert "error engine." in told.err
            assert PASSWORD not in told.err + told.out


def test_what_the_role_cannot_read_is_not_there(
    shop: Twins, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All rows are all that the connection's role sees: native row security hides rows from the laboratory as well."""
    policies = write_shop(tmp_path / "policies", suite=SEES)
    shop.change(
        f"REVOKE SELECT ON people FROM {READER}",
        "ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY low ON orders TO {READER} USING (id < 4)",
    )
    _, found = said(capsys, "matrix", policies, "--database", shop.url)
    assert {one["relation"]: one["rows"] for one in found["relations"]} == {"orders": 3, "products": 2}


def test_equal_worlds_are_opened_once(shop: Twins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def opening(url: str, *, limits: Limits) -> ServerExecutor:
        opened.append(url)
        return open_server(url, limits=limits)

    monkeypatch.setattr("rls.lab.world.world.open_server", opening)
    policies = write_shop(tmp_path / "policies", suite=SEES)
    (policies / "other.test.yaml").write_text(SEES)
    assert not run_directory(policies, database=shop.url).failed
    assert len(opened) == 1


def test_worlds_close_what_they_opened(shop: Twins, tmp_path: Path) -> None:
    policies = load_policies(write_shop(tmp_path / "policies"), keys="none")
    personas = load_personas(tmp_path / "policies" / "personas.yaml", policies.identity)
    world = open_live(shop.url, policies, personas)
    assert world.session("eve").query("SELECT count(*) FROM orders").rows == [(1,)]
    world.close()
    with pytest.raises(EngineInvalid):
        world.raw.count(world.catalog.relations[("main", "orders")])
