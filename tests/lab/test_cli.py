"""`rls test` and `rls schema`, the reports they write, and the pytest plugin."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rls.cli import run
from rls.lab.schemas import KINDS, json_schema
from rls.lab.suites.watch import changes
from tests.lab.kit import DATA, SEES, write_database, write_shop

ROOT = Path(__file__).parents[2]
FAILING = (
    DATA
    + "sees:\n  eve: {orders: [1, 2], people: [u-1], products: all}\n  max: {orders: [1, 2, 4], people: 1, products: 2}\n"
)
LEAKING = DATA + "sees: {}\ntests: [{name: '<b>', as: eve, query: 'SELECT 1 AS \"a<b\"', expect: {rows: [[2]]}}]\n"

Rls = Callable[..., tuple[int, str, str]]


@pytest.fixture
def rls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Rls:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("RLS_POLICIES", "RLS_DATABASE", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_a_suite_that_passes_is_one_line(tmp_path: Path, rls: Rls) -> None:
    write_shop(tmp_path / "shop")
    code, printed, _ = rls("test", "shop")
    assert code == 0
    assert re.fullmatch(r"shop/shop.test.yaml  6 passed  \d+.\d\d s\n\n6 passed  \(1 suite, \d+.\d\d s\)\n", printed)


def test_a_failure_shows_rows_and_the_policies_behind_them(tmp_path: Path, rls: Rls) -> None:
    write_shop(tmp_path / "shop", suite=FAILING)
    code, printed, _ = rls("test", "shop")
    assert code == 1
    assert "✗ eve · orders · who sees what  shop/shop.test.yaml:24" in printed
    assert "  1 row expected and not visible" in printed
    assert re.search(r"2 +acme +APAC +20\.00 +own_regions is FALSE", printed)
    assert re.search(r"shop/orders.yaml:\d+  own_regions region IN user.regions", printed)
    assert re.search(r"eve +✗ +✓ +✓", printed)
    assert max(map(len, printed.splitlines())) <= 80
    told = json.loads(rls("test", "shop", "--json")[1])
    assert (told["passed"], told["failed"], told["errors"]) == (5, 1, 0)
    failed = next(c for c in told["cases"] if c["status"] == "failed")
    assert failed["failures"][0]["policies"][0]["using"] == "region IN user.regions"
    assert failed["failures"][0]["rows"][0]["values"]["amount"] == "20.00"


def test_one_suite_of_a_directory_can_be_run(tmp_path: Path, rls: Rls) -> None:
    folder = write_shop(tmp_path / "shop", suite=FAILING)
    (folder / "more").mkdir()
    (folder / "more" / "fine.test.yaml").write_text(DATA + SEES)
    assert rls("test", "shop/more/fine.test.yaml")[0] == 0
    assert "(2 suites" in rls("test", "shop")[1]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["shop", "-k", "nothing has this name"], 2, "none of 6 cases is left by -k, --persona and --relation"),
        (["nowhere"], 3, "cannot read"),
        (["empty"], 3, "there is no suite in this directory"),
        (["alone.test.yaml"], 2, "there is no identity.yaml in a directory above"),
        ([], 2, "missing argument"),
    ],
)
def test_what_cannot_run_says_so(tmp_path: Path, rls: Rls, arguments: list[str], code: int, told: str) -> None:
    write_shop(tmp_path / "shop")
    (write_shop(tmp_path / "empty") / "shop.test.yaml").unlink()
    (tmp_path / "alone.test.yaml").write_text("sees: {}")
    got, _, error = rls("test", *arguments)
    assert got == code
    assert told in error


def test_reports_for_other_programs(tmp_path: Path, rls: Rls) -> None:
    write_shop(tmp_path / "shop", suite=LEAKING.replace("SELECT 1", "SELECT 1/0, 1"))
    code, printed, _ = rls("test", "shop", "--junit", "out/junit.xml", "--html", "out/page.html", "--github")
    assert code == 1
    root = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot()
    assert (root.get("tests"), root.get("failures")) == ("7", "7")
    case = next(c for c in root.iter("testcase") if c.get("name") == "<b>[eve]")
    assert (case.get("file"), case.get("line")) == ("shop/shop.test.yaml", "24")
    assert "a<b" in str(next(iter(case)).get("message"))
    commands = [line for line in printed.splitlines() if line.startswith("::error ")]
    assert len(commands) == 7
    assert commands[0].startswith("::error file=shop/shop.test.yaml,line=23,col=7,title=eve%3A orders::")
    assert "%0A" in commands[0]
    page = (tmp_path / "out" / "page.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "http" not in page
    assert "&lt;b&gt;" in page
    assert "<b>[" not in page


def test_a_live_suite_needs_a_database(tmp_path: Path, rls: Rls) -> None:
    write_shop(
        tmp_path / "shop",
        suite="sees: {eve: {orders: {where: \"tenant_id = 'acme' AND region = 'EMEA'\"}, people: 1, products: all}}\nonly: {personas: eve}\n",
    )
    assert "this suite is about a live database" in rls("test", "shop")[1]
    database = write_database(tmp_path / "shop.duckdb")
    assert rls("test", "shop", "--database", str(database))[0] == 0


def test_watching_sees_changes_of_yaml_files(tmp_path: Path) -> None:
    folder = write_shop(tmp_path / "shop")
    seen = changes([folder], pause=0.001)
    # It looks for the first time when it is first asked.
    threading.Timer(0.05, (folder / "new.yaml").write_text, ["a"]).start()
    assert next(seen) == [folder / "new.yaml"]
    (folder / "orders.yaml").write_text("changed")
    assert next(seen) == [folder / "orders.yaml"]


def test_schemas_know_every_key_and_explain_those_of_suites(rls: Rls) -> None:
    suite = json.loads(rls("schema", "suite")[1])
    for part in (suite, *(suite["$defs"][name] for name in ("Expect", "TestEntry", "GivenRows", "Only"))):
        assert part["additionalProperties"] is False
        assert [name for name, key in part["properties"].items() if "description" not in key] == []
    assert "as" in suite["$defs"]["TestEntry"]["required"]
    assert {"type": "boolean"} in json_schema("policies")["$defs"]["PolicyEntry"]["properties"]["using"]["anyOf"]
    assert "using" in json_schema("policies")["$defs"]["PolicyEntry"]["properties"]


def test_schemas_are_written_for_editors(tmp_path: Path, rls: Rls) -> None:
    code, printed, _ = rls("schema", "--write", "schemas")
    assert code == 0
    assert printed.split() == [f"schemas/{name}" for _, name in KINDS.values()]
    assert all("$schema" in json.loads(Path(name).read_text()) for name in printed.split())
    assert rls("schema")[0] == 2


def test_pytest_collects_the_same_suites(tmp_path: Path) -> None:
    write_shop(tmp_path / "shop", suite=FAILING)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "other.test.yaml").write_text("no: suite")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "rls.lab.pytest_plugin", "-p", "no:cacheprovider", "."],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        # Where rls is installed, pytest would load the plugin a second time.
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 5 passed" in done.stdout
    assert "who sees what[eve/orders]" in done.stdout
    assert "1 row expected and not visible" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("command", ["test", "matrix", "init", "schema", "why", "coverage", "mutate"])
def test_commands_explain_themselves_and_take_json(rls: Rls, command: str) -> None:
    code, printed, _ = rls(command, "--help")
    assert code == 0
    assert "--json" in printed
    assert max(map(len, printed.splitlines())) <= 100


@pytest.mark.parametrize(
    "command",
    [
        ["matrix", "shop", "--html"],
        ["coverage", "shop", "--html"],
        ["test", "shop", "--html"],
        ["test", "shop", "--junit"],
        ["diff", "shop", "shop", "--html"],
        ["diff", "shop", "shop", "--markdown"],
        ["export", "markdown", "shop", "--out"],
        ["import", "postgres", "rules.sql", "--out"],
    ],
    ids=" ".join,
)
def test_a_file_that_cannot_be_written_is_one_clear_error(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_shop(tmp_path / "shop")
    monkeypatch.setenv("RLS_DATABASE", str(write_database(tmp_path / "shop.duckdb")))
    (tmp_path / "rules.sql").write_text("CREATE POLICY p ON t USING (true);")
    # A file stands where a directory would have to be.
    assert run([*command, "rules.sql/report"]) == 2
    assert "error cli.usage: cannot write `rules.sql/report`: " in capsys.readouterr().err


def test_what_nobody_listed_is_told_once_for_all_who_see_it(tmp_path: Path, rls: Rls) -> None:
    write_shop(tmp_path / "shop", suite=DATA + SEES.replace(", products: all", "").replace(", products: 2", ""))
    code, printed, _ = rls("test", "shop")
    assert code == 1
    assert printed.count("2 rows visible, none expected") == 1
    assert "✗ eve, max · products · who sees what" in printed
    assert "list it in `sees` below their names: `products: all`" in printed
    assert "4 passed, 2 failed" in printed


def test_a_query_as_a_persona_needs_no_token_and_leaves_no_record(tmp_path: Path, rls: Rls) -> None:
    write_shop(tmp_path / "shop")
    write_database(tmp_path / "shop.duckdb")
    here = ("--policies", "shop", "--database", "shop.duckdb")
    code, printed, _ = rls("query", "--as", "eve", *here, "SELECT id, email FROM orders")
    assert code == 0
    assert "***@post.test" in printed and "as eve, not recorded" in printed
    code, _, told = rls("query", "--as", "eve", *here, "SELECT margin FROM orders")
    assert (code, "audit record" in told) == (5, False)
    assert rls("query", "--as", "nobody", *here, "SELECT 1")[0] == 2
    assert rls("query", "--as", "eve", "--token", "x", *here, "SELECT 1")[0] == 2
    assert "no result without a record" in rls("query", "--token", "x", *here, "SELECT 1")[2]
