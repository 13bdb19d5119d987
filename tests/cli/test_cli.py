"""The command line: what it prints, as text and as JSON, and how it ends."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rls.audit.read import read_records
from rls.cli import run
from rls.cli.app import COMMANDS
from rls.cli.as_json import plain
from rls.cli.cells import cells
from rls.cli.demo_stage import set_stage
from rls.cli.failures import caret_lines
from rls.cli.sql_view import lay_out_guard, mark_sql, side_by_side, wrap
from rls.engines.duckdb import DuckDBExecutor
from rls.errors import Position
from rls.rewrite.guarded import Splice
from rls.rewrite.splice import apply_splices

ROOT = Path(__file__).parents[2]
HEAVY = {"duckdb", "sqlglot", "pydantic", "jwt", "cryptography", "ruamel", "rich", "fixtures"}

DATA = """
CREATE TABLE orders (id INTEGER, tenant_id VARCHAR, region VARCHAR, amount DECIMAL(9,2), note VARCHAR);
INSERT INTO orders VALUES
    (1, 'acme', 'EMEA', 10.50, 'plain'), (2, 'acme', 'APAC', 20, NULL), (3, 'globex', 'EMEA', 40, 'hidden-note');
CREATE TABLE open_data (id INTEGER);
"""
FILES = {
    "identity.yaml": """
issuers:
  - name: https://app.example
    audiences: [shop]
    algorithms: [HS256]
    keys: [{kid: app-1, secret: {file: key.secret}}]
roles: [explorer, maker]
attributes:
  tenant: {type: string, required: true}
  regions: {type: string, list: true, readable: true}
  since: {type: date}
  limit: {type: decimal}
""",
    "key.secret": "a shared secret of the test suite, long enough for HS256",
    "personas.yaml": """
personas:
  eve: {subject: u-1, roles: [explorer], attributes: {tenant: acme, regions: [EMEA]}}
  max: {subject: u-2, roles: [maker], attributes: {tenant: acme, since: 2024-01-01, limit: 1.5}}
  nil: {subject: u-3, attributes: {tenant: acme}}
""",
    "orders.yaml": """
relation: orders
policies:
  - {name: own_tenant, as: restrictive, using: tenant_id = user.tenant}
  - {name: own_regions, to: [explorer], using: region IN user.regions}
  - {name: all_regions, to: [maker], using: "true"}
columns:
  note: {mask: "'***'", except: [maker]}
---
relation: open_data
public: true
""",
}

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database and its policies in an empty directory, which is the current one; every option comes from RLS_*."""
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute(DATA)
    (tmp_path / "policies").mkdir()
    for name, text in FILES.items():
        (tmp_path / "policies" / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name, value in (("POLICIES", "policies"), ("DATABASE", "shop.duckdb"), ("AUDIT", "audit.jsonl")):
        monkeypatch.setenv(f"RLS_{name}", value)
    for name in ("RLS_TOKEN", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def rls(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line; returns exit code, standard output, standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def token(shop: Path, rls: Run) -> Callable[[str], str]:
    return lambda persona: rls("token", "mint", "--as", persona)[1].strip()


# --- starting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"import sys; from rls.cli import run; run({arguments!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()} & HEAVY == set()


def test_help_lines_are_those_of_the_commands(rls: Run) -> None:
    printed = rls("--help")[1]
    for name, (home, line) in COMMANDS.items():
        module, _, attribute = home.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert command.name == name
        assert command.get_short_help_str(limit=200) == line
        assert re.search(rf"^  {name} +\w", printed, re.MULTILINE)


@pytest.mark.parametrize(
    "command", [["demo"], ["check"], ["explain"], ["query"], ["token", "mint"], ["token", "inspect"]]
)
def test_every_command_takes_json_and_explains_itself(rls: Run, command: list[str]) -> None:
    code, printed, _ = rls(*command, "--help")
    assert code == 0
    assert "--json" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["exlpain"], "did you mean `explain`"),
        (["explain", "--as", "eve"], "missing argument 'SQL'"),
        (["explain", "--as", "evr", "SELECT 1"], "did you mean `eve`"),
        (["query", "SELECT 1"], "RLS_TOKEN"),
        (["query", "--token", "x", "--token-file", "y", "SELECT 1"], "give one of"),
        (["query", "--token-file", "nowhere", "SELECT 1"], "cannot read the token file `nowhere`"),
        (["token", "mint"], "give one of"),
        (["token", "mint", "--claims", "policies/orders.yaml"], "not JSON"),
        (["check", "policies", "--nope"], "no such option"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(shop: Path, rls: Run, arguments: list[str], words: str) -> None:
    code, printed, told = rls(*arguments)
    assert (code, printed) == (2, "")
    assert told.startswith("error cli.usage: ")
    assert told.count("\n") == 1
    assert words.lower() in told.lower()
    code, printed, told = rls(*arguments, "--json")
    assert (code, told) == (2, "")
    assert json.loads(printed)["error"]["code"] == "cli.usage"


def test_a_group_without_command_shows_its_help(rls: Run) -> None:
    code, printed, told = rls("token")
    assert (code, printed) == (2, "")
    assert "mint" in told.split("Commands:")[1]


# --- check ------------------------------------------------------------------------------------------------------------


def test_check_is_content_with_the_shop(shop: Path, rls: Run) -> None:
    text = FILES["identity.yaml"]
    (shop / "policies" / "identity.yaml").write_text(text[: text.index("  since:")], encoding="utf-8")
    (shop / "policies" / "personas.yaml").unlink()
    assert rls("check", "policies") == (0, "nothing to report  (1 file, 2 tables)\n", "")


def test_check_shows_each_finding_at_its_place(shop: Path, rls: Run) -> None:
    file = shop / "policies" / "orders.yaml"
    file.write_text(FILES["orders.yaml"].replace("region IN", "regin IN").partition("---")[0], encoding="utf-8")
    code, printed, _ = rls("check", "policies")
    assert code == 1
    assert "nobody decided on table `open_data`" in printed
    place = re.search(r"orders\.yaml:(\d+):(\d+) error policy\.unknown_column", printed)
    assert place is not None
    line, caret = re.findall(r"^    (.*own_regions.*)\n    ( *\^)$", printed, re.MULTILINE)[0]
    assert line == file.read_text(encoding="utf-8").splitlines()[int(place[1]) - 1]
    assert line[len(caret) - 1 :].startswith("regin")
    code, printed, _ = rls("check", "policies", "--json")
    assert code == 1
    found = json.loads(printed)
    assert {f["code"] for f in found["findings"]} >= {"policy.unknown_column", "policy.undecided"}
    assert found["errors"] == sum(f["severity"] == "error" for f in found["findings"])


def test_check_counts_warnings_only_when_strict(shop: Path, rls: Run) -> None:
    more = "  - {name: never, to: [maker], using: region = 'x' AND region = 'y'}\ncolumns:"
    file = shop / "policies" / "orders.yaml"
    file.write_text(FILES["orders.yaml"].replace("columns:", more), encoding="utf-8")
    code, printed, _ = rls("check", "policies", "--json")
    told = json.loads(printed)
    assert (code, told["errors"], told["warnings"]) == (0, 0, 3)
    assert [f["code"] for f in told["findings"] if f["file"].endswith("orders.yaml")] == ["policy.always_false"]
    assert rls("check", "policies", "--strict")[0] == 1


@pytest.mark.parametrize("name", ["orders.yaml", "identity.yaml", "personas.yaml"])
def test_half_written_files_are_exit_code_3_with_their_place(shop: Path, rls: Run, name: str) -> None:
    (shop / "policies" / name).write_text(FILES[name] + "\nrelation: [", encoding="utf-8")
    code, _, told = rls("check", "policies")
    assert code == 3
    assert re.match(rf"policies/{name}:\d+:\d+: error policy\.\w+: ", told)
    code, printed, _ = rls("check", "policies", "--json")
    assert code == 3
    assert json.loads(printed)["error"]["file"] == f"policies/{name}"


# --- explain ----------------------------------------------------------------------------------------------------------


def test_explain_shows_before_and_after_and_why(shop: Path, rls: Run) -> None:
    code, printed, _ = rls("explain", "--as", "eve", "SELECT note\nFROM orders, open_data")
    assert code == 0
    assert re.search(r"^1  SELECT note +SELECT note$", printed, re.MULTILINE)
    assert re.search(r"^2  FROM orders, open_data +FROM \(SELECT \*$", printed, re.MULTILINE)
    assert re.search(r"orders +some rows +own_regions, own_tenant +note masked", printed)
    assert re.search(r"open_data +all rows +public", printed)
    assert "$rls_regions = ['EMEA']" in printed


def test_explain_says_why_nothing_is_seen(shop: Path, rls: Run) -> None:
    printed = rls("explain", "--as", "nil", "SELECT * FROM orders")[1]
    assert "no rows" in printed
    assert "orders: " in printed.split("no rows")[1]


def test_explain_as_json_has_the_texts_and_the_places(shop: Path, rls: Run) -> None:
    sql = "SELECT o.id FROM orders AS o"
    told = json.loads(rls("explain", "--as", "eve", "--json", sql)[1])
    splices = [Splice(s["start"], s["end"], s["text"]) for s in told["splices"]]
    assert told["original"] == sql
    assert apply_splices(sql, splices) == told["sql"]
    assert told["relations"]["orders"]["policies"] == ["own_regions", "own_tenant"]
    assert told["values"] == {"rls_tenant": "acme", "rls_regions": ["EMEA"]}


def test_explain_touches_no_data_and_no_key(shop: Path, rls: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("explain ran something")

    monkeypatch.setattr(DuckDBExecutor, "execute", refuse)
    (shop / "policies" / "key.secret").unlink()
    assert rls("explain", "--as", "eve", "SELECT * FROM orders")[0] == 0
    assert not (shop / "audit.jsonl").exists()


# --- query ------------------------------------------------------------------------------------------------------------


def test_query_shows_the_rows_of_the_tokens_holder(shop: Path, rls: Run, token: Callable[[str], str]) -> None:
    code, printed, _ = rls("query", "--token", token("eve"), "SELECT id, amount, note FROM orders")
    assert code == 0
    lines = [re.split(r"\s{3,}", line.strip()) for line in printed.splitlines()]
    assert lines[0] == ["id", "amount", "note"]
    assert lines[2] == ["1", "10.50", "***"]
    assert lines[4][0].startswith("1 row · ")
    (record,) = read_records(shop / "audit.jsonl")
    assert isinstance(record, dict)
    assert record["audit_id"] in printed


def test_query_as_json_keeps_what_json_cannot_say(shop: Path, rls: Run, token: Callable[[str], str]) -> None:
    (shop / "max.jwt").write_text(token("max") + "\n", encoding="utf-8")
    code, printed, _ = rls(
        "query", "--token-file", "max.jwt", "--json", "SELECT id, amount, note FROM orders ORDER BY id"
    )
    told = json.loads(printed)
    assert code == 0
    assert told["columns"] == [
        {"name": "id", "type": "INTEGER"},
        {"name": "amount", "type": "DECIMAL(9,2)"},
        {"name": "note", "type": "VARCHAR"},
    ]
    assert told["rows"] == [[1, "10.50", "plain"], [2, "20.00", None]]
    assert told["row_count"] == 2


@pytest.mark.parametrize(
    ("sql", "exit_code", "code", "carets"),
    [
        ("SELECT *\nFROM order", 5, "query.unknown_relation", "     ^^^^^"),
        ("DELETE FROM orders", 5, "query.statement_kind", None),
        ("", 5, None, None),
        ("SELECT CAST(region AS INTEGER) FROM orders", 6, "run.cast", None),
    ],
)
def test_errors_say_code_and_place(  # noqa: PLR0917
    shop: Path, rls: Run, token: Callable[[str], str], sql: str, exit_code: int, code: str | None, carets: str | None
) -> None:
    mine = token("max")
    ended, printed, told = rls("query", "--token", mine, sql)
    assert (ended, printed) == (exit_code, "")
    lines = told.splitlines()
    assert lines[0].startswith(f"error {code or 'query.'}")
    assert "EMEA" not in told
    if carets is not None:
        assert lines[1:3] == [f"  {sql.splitlines()[-1]}", f"  {carets}"]
    ended, printed, told = rls("query", "--token", mine, "--json", sql)
    assert (ended, told) == (exit_code, "")
    assert json.loads(printed)["error"]["exit_code"] == exit_code


def test_query_reads_sql_from_standard_input(
    shop: Path, rls: Run, token: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLS_TOKEN", token("max"))
    script = shop / "query.sql"
    script.write_bytes("SELECT 'å' AS a".encode())
    with script.open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert json.loads(rls("query", "--json", "-")[1])["rows"] == [["å"]]


@pytest.mark.parametrize("bad", ["", "x", "a.b.c", "cut"])
def test_a_rejected_token_is_exit_code_4_without_a_reason(
    shop: Path, rls: Run, token: Callable[[str], str], bad: str
) -> None:
    given = token("eve")[:-2] if bad == "cut" else bad
    code, printed, told = rls("query", "--token", given, "SELECT * FROM orders")
    assert (code, printed) == (4, "")
    assert told.splitlines()[0] == "error token.rejected: token rejected; ask the issuer for a new one"


def test_without_a_record_there_is_no_result(shop: Path, rls: Run, token: Callable[[str], str]) -> None:
    code, printed, told = rls("query", "--token", token("eve"), "--audit", "no/such.jsonl", "SELECT * FROM orders")
    assert (code, printed) == (6, "")
    assert told.startswith("error audit.")


def test_a_missing_database_is_the_engines_error(shop: Path, rls: Run, token: Callable[[str], str]) -> None:
    code, _, told = rls("query", "--token", token("eve"), "--database", "nowhere.duckdb", "SELECT 1")
    assert (code, told.split(":")[0]) == (6, "error engine.database_missing")


def test_a_defect_shows_nothing_of_its_exception(
    shop: Path, rls: Run, token: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("hidden-note")

    monkeypatch.setattr("rls.cli.query.as_dict", fail)
    monkeypatch.delenv("RLS_TRACEBACK", raising=False)
    code, printed, told = rls("query", "--token", token("eve"), "--json", "SELECT 1")
    assert (code, told) == (6, "")
    assert "hidden-note" not in printed
    assert json.loads(printed)["error"]["code"] == "cli.defect"


# --- token ------------------------------------------------------------------------------------------------------------


def test_minted_tokens_are_accepted(shop: Path, rls: Run, token: Callable[[str], str]) -> None:
    code, printed, _ = rls("token", "inspect", token("max"))
    assert code == 0
    assert "would be accepted" in printed
    assert re.search(r"user\.limit +1\.5\n", printed)
    told = json.loads(rls("token", "inspect", "--json", token("max"))[1])
    assert told["accepted"]
    assert told["attributes"] == {"tenant": "acme", "since": "2024-01-01", "limit": "1.5"}


def test_claims_can_be_minted(shop: Path, rls: Run) -> None:
    claims = '{"subject": "u-9", "roles": ["maker"], "attributes": {"tenant": "acme", "limit": 0.1}}'
    (shop / "claims.json").write_text(claims, encoding="utf-8")
    minted = json.loads(rls("token", "mint", "--claims", "claims.json", "--lifetime", "60", "--json")[1])
    told = json.loads(rls("token", "inspect", "--json", minted["token"])[1])
    assert (told["accepted"], told["subject"], told["attributes"]["limit"]) == (True, "u-9", "0.1")
    assert told["claims"]["exp"] - told["claims"]["iat"] == 60


@pytest.mark.parametrize(
    ("claims", "exit_code"),
    [
        ('{"subject": "u-9", "roles": ["mkaer"], "attributes": {"tenant": "acme"}}', 4),
        ('{"subject": "u-9", "attributes": {"tennant": "acme"}}', 4),
        ('{"subject": "u-9"}', 4),
        ('{"subject": "u-9", "roles": "maker"}', 2),
        ('{"subject": 9}', 2),
        ("[]", 2),
    ],
)
def test_what_would_be_refused_is_not_minted(shop: Path, rls: Run, claims: str, exit_code: int) -> None:
    (shop / "claims.json").write_text(claims, encoding="utf-8")
    code, printed, _ = rls("token", "mint", "--claims", "claims.json")
    assert (code, printed) == (exit_code, "")


def test_inspect_says_everything_that_is_wrong(shop: Path, rls: Run, token: Callable[[str], str]) -> None:
    head, body, signature = token("eve").split(".")
    changed = f"{head}.{body}.{signature[::-1]}"
    code, printed, _ = rls("token", "inspect", changed)
    assert code == 4
    assert "would be refused" in printed
    code, printed, _ = rls("token", "inspect", "--json", "x.y")
    assert code == 4
    assert [f["reason"] for f in json.loads(printed)["findings"]] == ["malformed"]


# --- demo -------------------------------------------------------------------------------------------------------------


TOUR = ("demo", "--dir", "tour", "--scale", "0.002")


def test_demo_tells_its_whole_story(shop: Path, rls: Run) -> None:
    code, printed, _ = rls(*TOUR)
    assert code == 0
    assert [line[0] for line in printed.splitlines() if re.match(r"\d  \S.* ─", line)] == list("123456")
    assert "\x1b" not in printed
    story, next_steps = printed.split("Try next")
    assert max(map(len, story.splitlines())) <= 80
    assert [line.split()[1] for line in next_steps.splitlines() if line.startswith("rls ")] == [
        "explain",
        "query",
        "token",
        "check",
        "demo",
    ]
    # A second run keeps what the reader changed, and the numbers follow.
    file = shop / "tour" / "policies" / "orders.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("[maker]", "[admin]", 1), encoding="utf-8")
    told = json.loads(rls(*TOUR, "--json")[1])
    questions = {q["title"]: q for q in told["questions"]}
    revenue = questions["revenue by region"]
    seen = {name: answer["rows_read"] for name, answer in revenue["answers"].items()}
    assert seen["bob"] == 0
    assert 0 < seen["gina"] < seen["alice"] < revenue["unguarded"]["rows_read"]
    assert re.search(rf"revenue by region +{seen['alice']} .* {revenue['unguarded']['rows_read']:,}\n", story)
    assert questions["ledger balances"]["answers"]["gina"]["rows_read"] == 0
    refused, fenced = told["attacks"]
    assert refused["got"]["error"]["code"] == "query.statement_kind"
    assert " earns " in fenced["unguarded"]["error"]
    assert fenced["got"]["rows"]
    assert len(told["audit"]) == 17
    assert [r["outcome"] for r in told["audit"]].count("refused") == 1


def test_demo_begins_anew_when_asked(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(path: Path, *_: object, **__: object) -> None:
        duckdb.connect(str(path)).close()

    def nothing(*_: object) -> None: ...

    monkeypatch.setattr("fixtures.build", build)

    first = set_stage(shop / "tour", scale=0.002, fresh=False, on_step=nothing)
    (first.policies / "orders.yaml").unlink()
    assert not set_stage(shop / "tour", scale=0.002, fresh=False, on_step=nothing).built
    assert not (first.policies / "orders.yaml").exists()
    assert set_stage(shop / "tour", scale=0.002, fresh=True, on_step=nothing).built
    assert (first.policies / "orders.yaml").exists()


def test_demo_leaves_other_peoples_directories_alone(shop: Path, rls: Run) -> None:
    before = sorted(shop.rglob("*"))
    code, _, told = rls("demo", "--dir", ".")
    assert code == 2
    assert "--dir" in told
    assert sorted(shop.rglob("*")) == before


# --- what the terminal gets -------------------------------------------------------------------------------------------


def test_colours_are_for_terminals_that_want_them(shop: Path, rls: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("explain", "--as", "eve", "SELECT * FROM orders")
    assert "\x1b" not in rls(*arguments)[1]
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert re.search(r"\x1b\[[0-9;]*3[0-7]", rls(*arguments)[1])
    monkeypatch.setenv("NO_COLOR", "1")
    # Plain text: not even bold.
    assert "\x1b" not in rls(*arguments)[1]


def test_wide_results_fit_a_terminal_and_are_whole_in_a_pipe(
    shop: Path, rls: Run, token: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLS_TOKEN", token("max"))
    sql = "SELECT " + ", ".join(f"'{'x' * 60}' AS column_{n}" for n in range(6)) + " FROM orders"
    whole = rls("query", sql)[1]
    assert whole.count("x" * 60) == 12
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    fitted = re.sub(r"\x1b\[[0-9;]*m", "", rls("query", "--rows", "1", sql)[1])
    assert max(map(len, fitted.splitlines())) <= 80
    assert "1 shown" in fitted
    assert "of 6 columns fit" in fitted


def test_a_value_cannot_steer_the_terminal(shop: Path, rls: Run, token: Callable[[str], str]) -> None:
    printed = rls("query", "--token", token("max"), "SELECT E'\\x1b[2J' || id AS \"a\tb\" FROM orders")[1]
    assert "\x1b" not in printed
    assert "\\x1b[2J1" in printed


def test_output_to_a_closed_pipe_is_no_error(shop: Path, token: Callable[[str], str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "rls", "query", "--token", token("max"), "SELECT * FROM orders"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT\n\t'東京', x\nFROM\n t", "x"),
        ("SELECT " + "a, " * 100 + "here" + ", b" * 100, "here"),
        ("SELECT 1 +", "+"),
        ("SELECT\u2028 1,\r\n\x0bhere", "here"),
    ],
)
def test_carets_stand_under_the_word(sql: str, word: str) -> None:
    line, carets = caret_lines(sql, Position.at(sql, sql.index(word), len(word)))
    start = len(carets) - len(carets.lstrip())
    wide = sum(c in "東京" for c in line)
    assert line[start - wide :].startswith(word)
    assert carets.strip() == "^" * len(word)
    assert len(line) <= 80
    assert "\t" not in line


def test_a_place_in_a_huge_text_is_shown_at_once() -> None:
    text = "(" * 300_000 + "東" * 300_000
    line, carets = caret_lines(text, Position.at(text, 299_990, 20))
    assert cells(line) <= 80
    assert line[carets.index("^") :].startswith("(" * 10 + "東")


def test_a_position_outside_the_text_still_has_a_caret() -> None:
    assert caret_lines("", Position.at("", 5)) == ("", "^")
    assert caret_lines("ab", Position(9, 7, 4)) == ("", "^")


GUARD = (
    '(SELECT * EXCLUDE ("a") FROM "db"."main"."t" AS "t" WHERE ("t"."x" = \'FROM  WHERE\') AND ("y" OR "z") OFFSET 0)'
)


def test_laying_out_changes_white_space_between_clauses_only() -> None:
    shown = "".join(s.text for s in lay_out_guard(GUARD))
    assert re.sub(r"\n *", " ", shown) == GUARD
    assert [line.split()[0] for line in shown.splitlines()] == [
        "(SELECT",
        "EXCLUDE",
        "FROM",
        "WHERE",
        "AND",
        "OR",
        "OFFSET",
    ]


@pytest.mark.parametrize(
    "sql",
    ["SELECT 'it''s' /* a -- b */, \"q\" FROM t -- end", "SELECT $x, 1.5e3, ü\nFROM t;", "", "'open", "$$ a ' $$"],
)
def test_marks_cover_the_text(sql: str) -> None:
    assert "".join(s.text for s in mark_sql(sql)) == sql


def test_before_and_after_stand_on_rows_of_the_callers_lines() -> None:
    sql = "SELECT *\nFROM main .\n t, u\nLIMIT 1"
    start = sql.index("main")
    rows = side_by_side(sql, [Splice(start, start + 9, GUARD), Splice(len(sql), len(sql), " + 0")])
    assert [row.line for row in rows] == [1, 2, 4]
    assert "\n".join("".join(s.text for s in row.before) for row in rows) == sql
    assert rows[1].before[2].mark == "replaced"
    assert "".join(s.text for s in rows[2].after) == "LIMIT 1 + 0"


def test_wrapped_lines_fit_and_lose_nothing() -> None:
    lines = ["".join(s.text for s in line) for line in wrap(mark_sql(GUARD * 2), 30)]
    assert max(len(line.rstrip()) for line in lines) <= 30
    assert re.sub(r"\s", "", "".join(lines)) == re.sub(r"\s", "", GUARD * 2)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (Decimal("1.10"), "1.10"),
        (2**53 + 1, "9007199254740993"),
        (float("nan"), "nan"),
        (date(2026, 1, 2), "2026-01-02"),
        (b"\x00\xff", "AP8="),
        ({1: "a"}, [[1, "a"]]),
        (frozenset({"b", "a"}), ["a", "b"]),
        ((True, None, {"k": (1, 2)}), [True, None, {"k": [1, 2]}]),
    ],
)
def test_json_loses_nothing(value: object, wanted: Any) -> None:
    assert plain(value) == wanted
