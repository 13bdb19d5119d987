"""`rls init`: what it guesses, that the start is closed, and that what it writes checks and passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from rls.catalog import Catalog, Column, Relation
from rls.cli import run
from rls.lab.start.look import plan_start
from rls.lab.suites.run import run_directory
from rls.policy.check import check_policies
from rls.policy.load import load_policies
from tests.engine.kit import build
from tests.lab.kit import warehouse

Rls = Callable[..., tuple[int, str]]

SHOP = """
CREATE TYPE state AS ENUM ('new', 'done');
CREATE TABLE "group" (id INTEGER PRIMARY KEY, "order" INTEGER);
CREATE TABLE orders (id INTEGER, Org_ID UUID, state state, "Card Number" VARCHAR, birth_date DATE, api_token VARCHAR);
INSERT INTO orders VALUES (1, '11111111-1111-1111-1111-111111111111', 'new', '4', '2000-01-01', 'x'),
    (2, '22222222-2222-2222-2222-222222222222', 'done', '5', '2000-01-01', 'y'),
    (3, '11111111-1111-1111-1111-111111111111', 'done', '6', NULL, 'z'), (4, NULL, 'new', '7', NULL, 'q');
CREATE TABLE customers (id INTEGER, org_id VARCHAR, user_email VARCHAR, surname VARCHAR);
INSERT INTO customers VALUES (1, '11111111-1111-1111-1111-111111111111', 'a@b', 'A'), (2, 'other', 'c@d', 'B');
CREATE TABLE order_lines (order_id INTEGER, amount DECIMAL(9,2), salary INTEGER);
INSERT INTO order_lines VALUES (1, 2.5, 1), (2, 1, 1), (3, 4, 1);
CREATE TABLE orgs (id VARCHAR, name VARCHAR);
INSERT INTO orgs VALUES ('11111111-1111-1111-1111-111111111111', 'One');
CREATE SCHEMA "odd.schema";
CREATE TABLE "odd.schema"."a ""b" (org_id VARCHAR);
CREATE TABLE identity (id INTEGER, note VARCHAR);
CREATE VIEW done AS SELECT id FROM orders WHERE state = 'done';
"""


@pytest.fixture
def rls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Rls:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("RLS_POLICIES", "RLS_DATABASE"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str) -> tuple[int, str]:
        code = run(arguments)
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return call


def test_a_shop_gets_a_start_that_checks_and_passes(tmp_path: Path, rls: Rls) -> None:
    build(tmp_path / "shop.duckdb", SHOP)
    code, printed = rls("init", "start", "--database", "shop.duckdb")
    assert code == 0, printed
    assert max(len(line) for line in printed.splitlines()) <= 80
    assert "tenants are kept apart by org_id" in printed
    code, printed = rls("check", "start", "--database", "shop.duckdb")
    assert code == 0, printed
    undecided = [line.partition(":")[0] for line in printed.splitlines() if "policy.always_false" in line]
    assert undecided == ["start/group.yaml", "start/table_identity.yaml"]
    assert printed.splitlines()[-1].startswith("0 errors, 2 warnings")
    done = run_directory(tmp_path / "start", database=tmp_path / "shop.duckdb")
    assert [(o.case.id, o.failures) for o in done.failed] == []
    seen = {(o.case.persona, o.case.relation) for o in done.outcomes if o.case.listed}
    assert ("explorer_a", "order_lines") in seen
    assert ("explorer_b", "orders") in seen
    assert not any(persona == "nobody_a" for persona, _ in seen)


def test_the_fixtures_get_one_too(tmp_path: Path, rls: Rls) -> None:
    database = warehouse()
    told = json.loads(rls("init", "start", "--database", str(database), "--json")[1])
    decided = {t["relation"]: t["decision"] for t in told["tables"]}
    assert decided["tenants"] == "own_row"
    assert decided["account_managers"] == "through"
    assert [name for name, how in decided.items() if how == "undecided"] == ["products"]
    columns = {t["relation"]: t["columns"] for t in told["tables"]}
    assert columns["employees"] == {"email": "email", "salary": "sensitive"}
    assert run_directory(tmp_path / "start", database=database).failed == ()


def test_a_start_is_closed(tmp_path: Path, rls: Rls) -> None:
    build(tmp_path / "shop.duckdb", SHOP)
    rls("init", "start", "--database", "shop.duckdb")
    code, printed = rls("matrix", "start", "--database", "shop.duckdb", "--json")
    assert code == 0
    relations = {r["relation"]: r["personas"] for r in json.loads(printed)["relations"]}
    assert {p["visible"] for p in relations["group"].values()} == {0}
    assert all(cells["nobody_a"]["visible"] == 0 for cells in relations.values())
    assert relations["orders"]["explorer_a"]["absent"] == ["api_token", "birth_date"]
    assert relations["orders"]["explorer_a"]["masked"] == ["Card Number"]
    assert "surname" in relations["customers"]["explorer_a"]["masked"]
    assert relations["orders"]["maker_a"]["absent"] == ["api_token"]


def test_tenants_of_numbers_and_no_look_at_rows(tmp_path: Path, rls: Rls) -> None:
    build(tmp_path / "n.duckdb", "CREATE TABLE t (company_id BIGINT, x INTEGER); INSERT INTO t VALUES (77, 1), (78, 2)")
    assert "personas of 77, 78" in rls("init", "a", "--database", "n.duckdb")[1]
    assert run_directory(tmp_path / "a", database=tmp_path / "n.duckdb").failed == ()
    assert "personas of 1, 2" in rls("init", "b", "--database", "n.duckdb", "--no-rows")[1]
    assert "77" not in "".join(f.read_text() for f in (tmp_path / "b").glob("*.yaml"))


def test_without_a_tenant_column_everything_is_to_decide(tmp_path: Path, rls: Rls) -> None:
    build(tmp_path / "n.duckdb", "CREATE TABLE t (part VARCHAR, x INTEGER); INSERT INTO t VALUES ('p', 1)")
    code, printed = rls("init", "a", "--database", "n.duckdb")
    assert code == 0
    assert "no column that keeps tenants apart was found" in printed
    assert rls("check", "a", "--database", "n.duckdb")[0] == 0
    assert run_directory(tmp_path / "a", database=tmp_path / "n.duckdb").failed == ()
    assert "kept apart by part" in rls("init", "b", "--database", "n.duckdb", "--tenant-column", "PART")[1]
    assert rls("init", "c", "--database", "n.duckdb", "--tenant-column", "nope")[0] == 6


def test_columns_that_may_be_the_tenants_are_named(tmp_path: Path, rls: Rls) -> None:
    build(
        tmp_path / "n.duckdb",
        "CREATE TABLE visits (visit_id INTEGER, patient_no INTEGER, mandant VARCHAR);"
        "CREATE TABLE notes (visit_id INTEGER, patient_no INTEGER, text VARCHAR, insurance_no VARCHAR);"
        "CREATE TABLE invoices (visit_id INTEGER, patient_no INTEGER, mandant VARCHAR);"
        "CREATE TABLE patients (patient_no INTEGER, name VARCHAR)",
    )
    code, printed = rls("init", "a", "--database", "n.duckdb")
    assert code == 0
    # What is called like a tenant comes first; a visit points to a patient, and keeps nobody apart.
    told = [line.partition("--tenant-column ")[2] for line in printed.splitlines() if "perhaps" in line]
    assert told == ["mandant  (in 2 tables)", "patient_no  (in 4 tables)"]
    assert "insurance_no masked" in printed


def test_nothing_is_overwritten(tmp_path: Path, rls: Rls) -> None:
    build(tmp_path / "n.duckdb", "CREATE TABLE t (x INTEGER)")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    code, printed = rls("init", "mine", "--database", "n.duckdb")
    assert code == 6
    assert "`mine` is not empty" in printed
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (["tenant_id", "customer_id"], "tenant_id"),
        (["customer_id"], ""),
        (["org_id", "customer_id"], "org_id"),
        (["tenant_id DATE"], ""),
    ],
)
def test_the_tenant_column_is_one_that_tables_share(columns: list[str], found: str) -> None:
    def made(*names: str) -> tuple[Column, ...]:
        return tuple(Column(n.split()[0], n.split()[1] if " " in n else "VARCHAR") for n in names)

    both = [Relation(("main",), "a", made(*columns)), Relation(("main",), "b", made(columns[0], "x"))]
    others = [Relation(("main",), "c", made("customer_id2")), Relation(("main",), "d", made("y"))]
    relations = both if found else [both[0], *others]
    assert plan_start(Catalog.of("db", [*relations, *others])).tenant == found


def test_the_written_policies_say_what_they_are_about(tmp_path: Path, rls: Rls) -> None:
    with duckdb.connect(str(tmp_path / "n.duckdb")) as connection:
        connection.execute("CREATE TABLE t (tenant_id VARCHAR, mood ENUM('a'))")
    rls("init", "a", "--database", "n.duckdb")
    text = (tmp_path / "a" / "t.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=.schemas/policies.schema.json\n# t: 2 columns.")
    assert "`mood` is an ENUM" in text
    assert (tmp_path / "a" / ".schemas" / "policies.schema.json").is_file()
    policies = load_policies(tmp_path / "a", keys="none")
    assert (
        check_policies(
            policies,
            Catalog.of("n", [Relation(("main",), "t", (Column("tenant_id", "VARCHAR"), Column("mood", "ENUM('a')")))]),
        )
        == []
    )


CLINIC = """
CREATE TABLE clinics (clinic_id INTEGER PRIMARY KEY, name VARCHAR);
CREATE TABLE staff (staff_id INTEGER PRIMARY KEY, clinic_id INTEGER, job VARCHAR);
CREATE TABLE patients (patient_id INTEGER PRIMARY KEY, clinic_id INTEGER, staff_id INTEGER);
CREATE TABLE visits (id INTEGER, clinic_id INTEGER, patient_id INTEGER);
CREATE TABLE shifts (staff_id INTEGER, day DATE);
CREATE TABLE tests (visit_id INTEGER, patient_id INTEGER, result DOUBLE);
"""


def test_a_column_of_another_name_is_proposed_and_what_leads_to_it_is_proved(tmp_path: Path, rls: Rls) -> None:
    build(tmp_path / "n.duckdb", CLINIC)
    code, printed = rls("init", "a", "--database", "n.duckdb")
    assert code == 0
    # Patients and staff are listed as well, but their lists point to a clinic.
    assert [line for line in printed.splitlines() if "perhaps" in line] == [
        "  perhaps rls init a --database n.duckdb --tenant-column clinic_id  (in 4 tables)"
    ]
    assert rls("init", "b", "--database", "n.duckdb", "--tenant-column", "clinic_id")[0] == 0
    # `visits.id` is no key, so that nothing is claimed of what leads there.
    assert "about: [shifts]" in (tmp_path / "b" / "invariants.yaml").read_text()
    code, printed = rls("prove", "b", "--database", "n.duckdb")
    assert code == 0, printed
    assert "as the primary keys of staff hold" in " ".join(printed.split())
