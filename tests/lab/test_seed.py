"""`rls seed`: the suite it writes loads, passes, meets every branch, and notices mistakes in the policies."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from rls.cli.opening import open_catalog
from rls.errors import EngineInvalid
from rls.lab.coverage.measure import measure_coverage
from rls.lab.mutate.score import mutate
from rls.lab.seed import Seed, make_seed
from rls.lab.seed.hierarchies import grow, without_circle
from rls.lab.suites.reader import directory_personas, read_suite, read_suites
from rls.lab.suites.run import run_directory
from rls.lab.yaml_flow import yaml_flow
from rls.policy.load import load_policies
from rls.yaml_source import parse_documents
from tests.lab.kit import IDENTITY, write_database, write_shop

NOON = 1_768_478_400.0  # 2026-01-15T12:00:00Z

CIRCLES = """
relation: staff
policies:
  - name: below
    using: >-
      id IN (WITH RECURSIVE below(id) AS (SELECT id FROM staff WHERE user_id = user.subject
             UNION ALL SELECT s.id FROM staff AS s JOIN below AS b ON s.boss = b.id) SELECT id FROM below)
"""
STAFF = "CREATE TABLE staff (id INTEGER PRIMARY KEY, user_id VARCHAR, boss INTEGER);"


def seeded(tmp_path: Path, *, orders: str | None = None, tables: str | None = None, identity: str = IDENTITY) -> Seed:
    """A seeded suite of the small shop."""
    import duckdb

    shop = write_shop(tmp_path / "shop") if orders is None else write_shop(tmp_path / "shop", orders=orders)
    (shop / "shop.test.yaml").unlink()
    (shop / "identity.yaml").write_text(identity, encoding="utf-8")
    database = write_database(tmp_path / "shop.duckdb")
    if tables is not None:
        with duckdb.connect(str(database)) as connection:
            connection.execute(tables)
    return make_seed(shop, database, open_catalog(database), now=NOON)


def test_the_suite_passes_and_meets_everything(tmp_path: Path) -> None:
    made = seeded(tmp_path)
    assert made.run.failed == ()
    assert made.coverage.open == () and made.unreached == ()
    assert "Seeded by `rls seed`: check these." in made.text
    # It is a suite like any other, and needs no database.
    run = run_directory(tmp_path / "shop")
    assert run.failed == () and len(run.outcomes) == len(made.run.outcomes)
    assert "email" in made.text and "***@mail.test" in made.text and "absent: [margin]" in made.text


def test_two_tenants_meet_in_every_table_with_the_wall(tmp_path: Path) -> None:
    open_orders = """
relation: orders
policies:
  - {name: own_tenant, as: restrictive, using: tenant_id = user.tenant}
  - {name: everything, using: "true"}
---
relation: invoices
policies:
  - {name: everything, using: "true"}
---
relation: notes
policies:
  - {name: own_tenant, using: tenant_id = user.tenant}
"""
    tables = "CREATE TABLE invoices (id INTEGER, tenant_id VARCHAR); CREATE TABLE notes (id INTEGER, tenant_id VARCHAR)"
    made = seeded(tmp_path, orders=open_orders, tables=tables)
    assert made.wall is not None and made.wall.attribute == "tenant"
    failed = {(o.case.relation, o.case.test.partition(":")[0]) for o in made.run.failed}
    assert failed == {("invoices", "two tenants")}
    row = made.run.failed[0].failures[0]
    assert [p.name for p in row.policies] == ["everything"] and "should not be" in row.message


def test_without_the_solver_values_on_the_boundary_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rls.lab.seed.reach.find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "z3", None)
    orders = """
relation: orders
policies:
  - name: sizes
    using: amount >= 100 AND (placed < DATE '2026-01-01' OR email LIKE '%@corp.test') AND region NOT IN ('EMEA')
"""
    made = seeded(tmp_path, orders=orders)
    assert made.run.failed == () and made.coverage.open == ()
    # The boundaries themselves, and what lies beyond them.
    assert all(f" {n}" in made.text for n in ("100,", "99.99,", "2026-01-01}", "2025-12-31}"))


def test_what_cannot_be_met_is_named(tmp_path: Path) -> None:
    pytest.importorskip("z3")
    orders = """
relation: orders
policies:
  - name: never
    using: amount > 5 AND amount < 3 OR tenant_id = user.tenant
  - name: odd
    using: coalesce(region, 'x') = 'y' AND region IS NULL
"""
    made = seeded(tmp_path, orders=orders)
    assert made.run.failed == ()
    assert [(p.subject, p.part, p.state) for p, _ in made.unreached] == [
        ("never", "amount > 5 AND amount < 3", "TRUE"),
        ("odd", "coalesce(region, 'x') = 'y' AND region IS NULL", "TRUE"),
    ]
    assert all("no principal and no row" in why for _, why in made.unreached)


def test_mapping_tables_and_hierarchies(tmp_path: Path) -> None:
    orders = """
relation: orders
policies:
  - name: managed
    using: id IN (SELECT order_id FROM managers WHERE user_id = user.subject AND until IS NULL)
---
relation: staff
policies:
  - name: below
    using: >-
      id IN (WITH RECURSIVE below(id) AS (SELECT id FROM staff WHERE user_id = user.subject
             UNION SELECT s.id FROM staff AS s JOIN below AS b ON s.boss = b.id) SELECT id FROM below)
"""
    tables = """
CREATE TABLE managers (user_id VARCHAR, order_id INTEGER, until DATE);
CREATE TABLE staff (id INTEGER PRIMARY KEY, user_id VARCHAR, boss INTEGER);
"""
    made = seeded(tmp_path, orders=orders, tables=tables)
    assert made.run.failed == () and made.coverage.open == ()
    policies = load_policies(tmp_path / "shop", keys="none")
    suites = read_suites(tmp_path / "shop", policies.identity)
    fates = mutate(policies, suites).survivors
    assert not [f for f in fates if f.difference and not f.difference.startswith("no ")]


CREWS = """
relation: orders
policies:
  - name: of_crew
    using: >-
      region IN (SELECT a.region FROM crew_regions AS a JOIN members AS m ON m.crew = a.crew
                 JOIN crews AS c ON c.crew = a.crew
                 WHERE m.login = user.subject AND m.left_on IS NULL AND NOT c.retired AND a.code IN ('rw', 'ro'))
  - name: not_held
    as: restrictive
    using: NOT EXISTS (SELECT 1 FROM holds AS h WHERE h.order_id = orders.id AND (h.ends IS NULL OR h.ends > 7))
"""
CREW_TABLES = """
CREATE TABLE crews (crew INTEGER, retired BOOLEAN);
CREATE TABLE members (crew INTEGER, login VARCHAR, left_on DATE);
CREATE TABLE crew_regions (crew INTEGER, region VARCHAR, code VARCHAR);
CREATE TABLE holds (order_id INTEGER, ends INTEGER);
"""


@pytest.fixture(scope="module")
def crews(tmp_path_factory: pytest.TempPathFactory) -> Seed:
    pytest.importorskip("z3")
    return seeded(tmp_path_factory.mktemp("crews"), orders=CREWS, tables=CREW_TABLES)


@pytest.mark.parametrize(
    ("right", "slip"),
    [
        ("m.left_on IS NULL", "coalesce(m.left_on, DATE '2026-01-01') < DATE '2030-01-01'"),
        ("AND m.left_on IS NULL ", ""),
        ("m.left_on IS NULL", "m.left_on IS NOT NULL"),
        ("NOT c.retired", "c.retired IS NOT TRUE"),
        ("h.ends > 7", "h.ends >= 7"),
        ("AND NOT c.retired ", ""),
        ("a.code IN ('rw', 'ro')", "a.code IN ('rw')"),
        ("a.code IN ('rw', 'ro')", "a.code IS NOT NULL"),
        ("a.code IN ('rw', 'ro')", "a.code IN ('rw', 'ro') IS NOT FALSE"),
        ("h.ends IS NULL OR h.ends > 7", "h.ends > 7"),
        ("h.ends IS NULL OR h.ends > 7", "h.ends IS NULL"),
        ("h.ends > 7", "h.ends > 8"),
    ],
)
def test_each_condition_over_joined_tables_decides_for_somebody(
    crews: Seed, right: str, slip: str, tmp_path: Path
) -> None:
    """Rows of the inner tables that fail one condition each, and somebody whose sight hangs on it."""
    assert crews.run.failed == ()
    folder = tmp_path / "shop"
    shutil.copytree(crews.file.parent, folder)
    text = (folder / "orders.yaml").read_text(encoding="utf-8")
    assert text.count(right) == 1
    (folder / "orders.yaml").write_text(text.replace(right, slip), encoding="utf-8")
    assert run_directory(folder).failed != ()


@pytest.mark.parametrize(("column", "attribute"), [("VARCHAR", "string"), ("INTEGER", "integer")])
def test_a_hierarchy_below_what_an_attribute_names(tmp_path: Path, column: str, attribute: str) -> None:
    """The names inside the hierarchy are its own (`t(code)`), the key is compared with the attribute itself."""
    orders = """
relation: files
policies:
  - name: own_unit
    to: [maker]
    using: >-
      unit IN (WITH RECURSIVE t(code) AS (SELECT u.unit_no FROM units u WHERE u.unit_no = user.unit
               UNION SELECT u.unit_no FROM units u JOIN t ON u.parent = t.code) SELECT code FROM t)
  - name: own_team
    to: [explorer]
    using: file_no IN (SELECT file_no FROM team JOIN carers USING (person) WHERE login = user.subject AND until IS NULL)
"""
    tables = f"""
CREATE TABLE units (unit_no {column} PRIMARY KEY, parent {column});
CREATE TABLE files (file_no INTEGER PRIMARY KEY, unit {column});
CREATE TABLE carers (person INTEGER PRIMARY KEY, login VARCHAR);
CREATE TABLE team (file_no INTEGER, person INTEGER, until DATE);
"""
    identity = f"{IDENTITY}  unit: {{type: {attribute}}}\n"
    made = seeded(tmp_path, orders=orders, tables=tables, identity=identity)
    assert made.run.failed == () and made.coverage.open == ()
    policies = load_policies(tmp_path / "shop", keys="none")
    suite = read_suite(made.file, policies.identity, directory_personas(made.file.parent, policies.identity))
    units = [row["unit_no"] for given in suite.data or () if given.label == "units" for row in given.rows]
    assert len(units) == len(set(units)) > 1
    # A step up instead of down, no step at all, another start, the role added: each is noticed.
    survivors = [f"{f.mutant.subject} {f.mutant.change}" for f in mutate(policies, [suite]).survivors]
    assert not [s for s in survivors if "own_" in s and "accepts NULL" not in s and "!= t.code" not in s]


def test_a_hierarchy_that_a_circle_would_make_endless(tmp_path: Path) -> None:
    made = seeded(tmp_path, orders=CIRCLES, tables=STAFF)
    assert made.run.failed == () and made.coverage.open == ()


def test_lines_of_descent_and_rows_below_no_other() -> None:
    grown = grow({0: ("acme", None), 1: ("globex", None)}, [1], range(100), room=100, after=10)
    rows = dict(enumerate(grown.rows, grown.first))
    assert grown.first == 10 and all(rows[key][1] is None for key in grown.alone)
    ends = [key for key in rows if key not in {parent for _, parent in rows.values()}]

    def line(key: int) -> list[str]:
        return [] if key not in rows else [*line(rows[key][1]), rows[key][0]]

    lines = [line(key) for key in ends if key not in grown.alone]
    assert ["acme"] * 5 in lines and ["globex", "acme"] in lines and ["acme", "globex"] in lines
    assert len(grow({0: ("acme", None)}, [1], range(30), room=30, after=30).rows) <= 30


def test_a_circle_is_opened() -> None:
    assert without_circle(("a", 12), [1], [10, 11, 12], 2) == ("a", 10)
    assert without_circle(("a", 10), [1], [10, 11, 12], 0) == ("a", None)
    assert without_circle(("a", 99), [1], [10, 11, 12], 0) == ("a", 99)


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    made = seeded(tmp_path)
    with pytest.raises(EngineInvalid) as caught:
        make_seed(tmp_path / "shop", tmp_path / "shop.duckdb", open_catalog(tmp_path / "shop.duckdb"))
    assert caught.value.code == "engine.directory"
    assert made.file.read_text(encoding="utf-8") == made.text


def test_when_the_time_is_up_there_is_a_suite_and_what_it_lacks_is_told(tmp_path: Path) -> None:
    made = seeded(tmp_path, orders=CIRCLES, tables=STAFF)
    again = make_seed(
        tmp_path / "shop",
        tmp_path / "shop.duckdb",
        open_catalog(tmp_path / "shop.duckdb"),
        now=NOON,
        replace_file=True,
        seconds=0,
    )
    assert made.cut_short == () and len(again.cut_short) >= 2
    assert again.run.failed == () and again.personas > 0
    assert all(why == "not looked for, the time was up" for _, why in again.unreached)


def test_the_same_policies_give_the_same_suite(tmp_path: Path) -> None:
    first = seeded(tmp_path)
    catalog = open_catalog(tmp_path / "shop.duckdb")
    again = make_seed(tmp_path / "shop", tmp_path / "shop.duckdb", catalog, now=NOON, replace_file=True)
    assert again.text == first.text


def test_most_mistakes_would_be_noticed(tmp_path: Path) -> None:
    made = seeded(tmp_path)
    policies = load_policies(tmp_path / "shop", keys="none")
    suite = read_suite(made.file, policies.identity, directory_personas(tmp_path / "shop", policies.identity))
    assert mutate(policies, [suite]).score >= 85
    assert measure_coverage(policies, [suite]).percent == 100


@pytest.mark.parametrize(
    "value", ["no", "a: b", "1", "2026-01-01", "# x", "", " a", "a, b", "o'brien", "Zoë", None, 1.5]
)
def test_values_survive_yaml(value: object) -> None:
    document = parse_documents(f"a: [{yaml_flow(value)}]", file="x.yaml")[0]
    assert document.data["a"][0] == value
