"""The reviewed table against the running DuckDB: complete, right about leakproof, tight about forbidden."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rls.rewrite.functions import (
    NOT_LITERAL,
    PLACES,
    Review,
    allowed_collation,
    allowed_type,
    bare_function,
    review,
    reviews,
)
from tests.functions.leaks import leaks
from tests.functions.review import compare, fuzz
from tests.functions.totals import examples, forms
from tests.functions.worker import Worker

SHARED = Path(os.environ.get("RLS_SHARED") or Path(__file__).resolve().parents[3] / "shared")


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    started = Worker(seconds=60)
    yield started
    started.close()


def names(connection: duckdb.DuckDBPyConnection, sql: str) -> set[tuple[str, str]]:
    """(name, place) of all functions, types and collations in the engine's tree of `sql`; empty where it has none."""
    row = connection.execute("SELECT json_serialize_sql($1)", [sql]).fetchone()
    assert row
    found: set[tuple[str, str]] = set()
    walk(json.loads(row[0]).get("statements", []), found, "expression")
    return found


def walk(node: Any, found: set[tuple[str, str]], place: str) -> None:
    if isinstance(node, list):
        for item in node:
            walk(item, found, place)
    if not isinstance(node, dict):
        return
    match node:
        case {"class": "FUNCTION" | "WINDOW", "function_name": name}:
            found.add((name, place))
        case {"class": "TYPE", "type_name": name}:
            found.add((name, "type"))
        case {"class": "COLLATE", "collation": name}:
            found.update((part, "collation") for part in name.split("."))
    for key, value in node.items():
        table = node.get("type") == "TABLE_FUNCTION" and key == "function"
        walk(value, found, "table" if table else "expression")


def test_the_table_is_complete_for_this_duckdb(connection: duckdb.DuckDBPyConnection) -> None:
    missing, extra = compare(connection)
    assert not missing, "review these: `python -m tests.functions.review fuzz NAME`, then add a row"
    assert not extra, "these are gone: drop their rows"


def test_rows_are_sorted_unique_and_use_the_vocabulary() -> None:
    keys = [(row.name, row.kinds[0]) for row in reviews()]
    assert keys == sorted(set(keys))
    for row in reviews():
        assert row.verdict in ("leakproof", "raises", "forbidden"), row
        assert row.kinds[0] in PLACES, row
        assert row.reason, row
        assert not row.total or (
            row.verdict == "raises" and not {"count", "steps"} & {c.split(":")[0] for c in row.condition.split()}
        ), row
        assert row.name == row.name.lower(), row
        for condition in row.condition.split():
            assert condition.split(":")[0] in ("arguments", "escape", "count", "part", "statistics", "steps"), row


def test_the_worst_row_decides_where_the_place_is_not_said() -> None:
    assert verdict("histogram", "aggregate") == "raises"
    assert verdict("histogram", "table") == "forbidden"
    assert verdict("histogram") == "forbidden"
    assert verdict("current_query", "expression") == "forbidden"
    assert review("range") == review("RANGE")


def verdict(name: str, kind: str | None = None) -> str | None:
    found = review(name, kind)
    return found and found.verdict


@pytest.mark.parametrize("name", ["", "nope", "\u212aurtosis", "lower ", '"lower"', "main.lower", "hash\x00"])
def test_an_unknown_name_has_no_review(name: str) -> None:
    assert review(name) is None
    assert not allowed_type(name)
    assert not allowed_collation(name)


SPELLINGS = {
    "x LIKE 'a'": "~~",
    "x NOT LIKE 'a'": "!~~",
    "x NOT ILIKE 'a'": "!~~*",
    "x LIKE 'a' ESCAPE '!'": "like_escape",
    "x NOT ILIKE 'a' ESCAPE '!'": "ilike_escape",
    "x SIMILAR TO 'a'": "regexp_full_match",
    "x !~* 'a'": "regexp_matches",
    "x GLOB 'a'": "~~~",
    "x ^@ 'a'": "^@",
    "5!": "factorial",
    "-x": "-",
    "x ** 2": "**",
    "x // 2": "//",
    "x ->> 'a'": "->>",
    "x IN y": "contains",
    "[1]": "list_value",
    "{'a': 1}": "struct_pack",
    "(1, 2)": "row",
    "MAP {1: 2}": "map",
    "[a + 1 FOR a IN x IF a > 1]": "list_apply",
    "EXTRACT(year FROM x)": "date_part",
    "x AT TIME ZONE 'UTC'": "timezone",
    "INTERVAL (x) DAY": "to_days",
    "OVERLAY(x PLACING 'a' FROM 1)": "overlay",
    "TRIM(LEADING 'a' FROM x)": "ltrim",
    "count(*)": "count_star",
    "percentile_cont(0.5) WITHIN GROUP (ORDER BY x)": "quantile_cont",
    "first_value(x) OVER ()": "first_value",
    "x = ANY([1])": "unnest",
    "COLUMNS(lambda c: c LIKE 'a')": "list_filter",
    "x OPERATOR(main.+) 1": "+",
    "\"FormatReadableSize\"(x)": "formatreadablesize",
}  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_names_stand_in_the_table_as_they_stand_in_the_tree(
    connection: duckdb.DuckDBPyConnection, spelling: str
) -> None:
    found = {name for name, place in names(connection, f"SELECT {spelling} FROM t") if place == "expression"}
    assert SPELLINGS[spelling] in found
    for name in found:
        assert verdict(name, "expression") in ("leakproof", "raises"), name


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT stats(x) FROM t",
        'SELECT "STATS"(x) FROM t',
        "SELECT main.stats(x) FROM t",
        "SELECT system.main.stats(x) FROM t",
        "SELECT x.stats() FROM t",
        "SELECT x.stats(y).upper() FROM t",
        "SELECT [stats(a) FOR a IN x] FROM t",
        "SELECT sum(x) FILTER (WHERE stats(x) > '') FROM t",
        "SELECT 1 ORDER BY stats(1)",
        "SELECT x FROM t LIMIT (SELECT len(stats(1)))",
        'SELECT "="(x, y) FROM t',
        'SELECT "is distinct FROM"(x, y) FROM t',
        "SELECT x OPERATOR(pg_catalog.=) y, current_setting('a')",
        "SELECT * FROM query('SELECT 1')",
        "FROM t JOIN LATERAL (SELECT nextval('s')) ON true",
        "SELECT * FROM range((SELECT count(*) FROM duckdb_tables()))",
        "SELECT __internal_compress_string_ubigint(x) FROM t",
        "SELECT count(*) OVER (ORDER BY getvariable('a')) FROM t",
    ],
)
def test_forbidden_functions_are_found_in_every_spelling(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    assert "forbidden" in {verdict(name, place) for name, place in names(connection, sql)}


def test_bare_names_are_reviewed() -> None:
    assert bare_function("Current_Date") == "current_date"
    assert bare_function("amount") is None
    for name in ("user", "current_schema", "SESSION_USER"):
        assert verdict(str(bare_function(name)), "expression") == "forbidden"


def test_types_and_collations() -> None:
    assert all(allowed_type(name) for name in ("INTEGER", "list", "STRUCT", "TIMESTAMP WITH TIME ZONE", "Json"))
    assert not any(allowed_type(name) for name in ("orders", "NULL", "TYPE", "Bignum", "varint", "INTEGER, 1"))
    assert allowed_collation("NOCASE.NOACCENT.de")
    assert not any(allowed_collation(name) for name in ("", "de.", "nocase) UNION ALL SELECT"))


@pytest.mark.parametrize(
    ("name", "arguments", "permitted"),
    [
        ("like_escape", [NOT_LITERAL, "10!%%", "!"], True),
        ("like_escape", [NOT_LITERAL, "10!!", "!"], True),
        ("like_escape", [NOT_LITERAL, "10!!!", "!"], False),
        ("like_escape", [NOT_LITERAL, "a", ""], True),
        ("like_escape", [NOT_LITERAL, "a", "!!"], False),
        ("like_escape", [NOT_LITERAL, "a", "é"], False),
        ("like_escape", [NOT_LITERAL, NOT_LITERAL, "!"], False),
        ("like_escape", ["a", "b", NOT_LITERAL], False),
        ("like_escape", [NOT_LITERAL, None, "!"], False),
        ("repeat", ["a", 10**7], True),
        ("repeat", ["a", 10**8], False),
        ("repeat", ["a", NOT_LITERAL], True),
        ("range", [10**8], True),
        ("range", [2 * 10**10], False),
        ("range", [0, 2 * 10**10, 1000], True),
        ("range", [-(2 * 10**10), 0], False),
        ("range", [NOT_LITERAL, 2 * 10**10], True),
        ("date_trunc", ["Month", NOT_LITERAL], True),
        ("date_trunc", ["nonsense", NOT_LITERAL], False),
        ("lower", [NOT_LITERAL], True),
        ("stats", [NOT_LITERAL], False),
    ],
)
def test_conditions(name: str, arguments: list[object], permitted: bool) -> None:
    found = review(name, "expression")
    assert found
    assert found.permits(arguments) is permitted


def test_an_unknown_condition_never_holds() -> None:
    assert not Review("f", ("scalar",), "raises", "nonsense:1", "", "").permits([])


@pytest.mark.parametrize(
    ("name", "types", "literals", "total"),
    [
        ("lower", ["VARCHAR"], [NOT_LITERAL], True),
        ("length", ["VARIANT"], [NOT_LITERAL], False),
        ("+", ["INTEGER", "INTEGER"], [NOT_LITERAL, 1], False),
        ("+", ["DOUBLE", "DOUBLE"], [NOT_LITERAL, NOT_LITERAL], True),
        ("+", ["DOUBLE", "FLOAT"], [NOT_LITERAL, NOT_LITERAL], False),
        ("substring", ["VARCHAR", "BIGINT"], [NOT_LITERAL, 3], True),
        ("substring", ["VARCHAR", "BIGINT"], [NOT_LITERAL, 2**31], False),
        ("substring", ["VARCHAR", "BIGINT"], [NOT_LITERAL, True], False),
        ("substring", ["VARCHAR", "BIGINT"], [NOT_LITERAL, NOT_LITERAL], False),
        ("date_trunc", ["VARCHAR", "TIMESTAMP"], ["DAY", NOT_LITERAL], True),
        # The session's zone moves the last day out of range.
        ("date_trunc", ["VARCHAR", "TIMESTAMP WITH TIME ZONE"], ["DAY", NOT_LITERAL], False),
        ("date_trunc", ["VARCHAR", "TIMESTAMP"], ["month", NOT_LITERAL], False),
        ("date_trunc", ["VARCHAR", "TIMESTAMP"], [NOT_LITERAL, NOT_LITERAL], False),
        ("greatest", ["DATE", "DATE"], [NOT_LITERAL, NOT_LITERAL], True),
        ("greatest", ["DATE", "DATE", "DATE"], [NOT_LITERAL] * 3, True),
        ("greatest", ["DATE", "DATE", "TIME"], [NOT_LITERAL] * 3, False),
        ("greatest", [], [], False),
        ("round", ["DECIMAL", "INTEGER"], [NOT_LITERAL, 2], True),
        ("round", ["DECIMAL", "INTEGER"], [NOT_LITERAL, -2], False),
        ("round", ["DECIMAL", "INTEGER"], [NOT_LITERAL, NOT_LITERAL], False),
        ("stats", ["INTEGER"], [NOT_LITERAL], False),
        ("like_escape", ["VARCHAR"] * 3, [NOT_LITERAL, "a", "!"], True),
        ("like_escape", ["VARCHAR"] * 3, [NOT_LITERAL, "a!", "!"], False),
    ],
)
def test_totals(name: str, types: list[str], literals: list[object], total: bool) -> None:
    found = review(name, "scalar")
    assert found
    assert found.is_total(types, literals) is total


def test_no_total_raises(worker: Worker) -> None:
    for row in reviews():
        found = [] if row.condition == "escape" else list(examples(row.total))
        # Some of many, and one form of an aggregate each; `python -m tests.functions.totals` tries all of them.
        for arguments in found[:: 1 + len(found) // 24]:
            tried = list(forms(row.name, row.kinds[0], arguments))
            outcome, message = worker.ask(tried[len(repr(arguments)) % len(tried)])
            assert outcome in ("ok", "bind"), (row.name, arguments, message)


def test_no_leakproof_function_raises(worker: Worker) -> None:
    """A sample of the tool's full run, the same every time."""
    for row in reviews():
        kind = row.kinds[0]
        if row.verdict != "leakproof" or PLACES[kind] != "expression" or "collate_" in row.name:
            continue
        finding = fuzz(worker, row.name, kind, limit=3)
        assert not finding.refutes_leakproof(), row.name


def test_the_fuzz_sees_errors_crashes_and_leaks(worker: Worker) -> None:
    assert fuzz(worker, "sqrt", "scalar").raised
    assert fuzz(worker, "=", "scalar", limit=60).fatal
    assert list(leaks(worker, "epoch_ns({})", ["DATE"]))
    assert list(leaks(worker, "like_escape({}, 'a\\', '\\')", ["VARCHAR"]))
    assert not list(leaks(worker, "CAST({} AS INTEGER)", ["VARCHAR"]))


def test_a_permitted_escape_does_not_raise(worker: Worker) -> None:
    for pattern in ("a\\\\", "%\\%", "\\_", "(%", ""):
        assert worker.ask(f"SELECT count(*) FROM x18 WHERE v LIKE '{pattern}' ESCAPE '\\'") == ("ok", "")


def attacks() -> list[dict[str, Any]]:
    file = SHARED / "attacks" / "attacks.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.skipif(not attacks(), reason="the public attack corpus is not beside this checkout")
def test_legal_queries_of_the_attack_corpus_use_allowed_functions_only(connection: duckdb.DuckDBPyConnection) -> None:
    refused = {
        (case["id"], name)
        for case in attacks()
        if case["expect"] == "filtered"
        for name, place in names(connection, case["sql"])
        if verdict(name, place) not in ("leakproof", "raises")
    }
    assert not refused


def corpus() -> Iterator[tuple[str, str]]:
    """(corpus, text) of the shared queries that are meant to run."""
    for name in ("tpch", "tpcds", "clickbench"):
        for line in (SHARED / "corpus" / name / "queries.jsonl").read_text().splitlines():
            yield name, json.loads(line)["sql"]
    for line in (SHARED / "corpus" / "duckdb_slt" / "sql.jsonl").read_text().splitlines():
        for step in json.loads(line)["steps"]:
            if step["kind"] == "query" and step["expect"] == "ok":
                yield "duckdb_slt", step["sql"]


@pytest.mark.skipif(not (SHARED / "corpus").is_dir(), reason="the query corpora are not beside this checkout")
def test_forbidden_functions_are_rare_in_the_corpora(connection: duckdb.DuckDBPyConnection) -> None:
    asked, refused = Counter[str](), Counter[str]()
    for name, sql in corpus():
        asked[name] += 1
        # What has no row is a macro, a type or a table of the file itself.
        refused[name] += any(verdict(*used) == "forbidden" for used in names(connection, sql))
    assert [refused[name] for name in ("tpch", "tpcds", "clickbench")] == [0, 0, 0]
    # Sequences, catalog listings, settings and enum labels: DuckDB's tests of exactly these.
    assert refused["duckdb_slt"] < 0.03 * asked["duckdb_slt"]


def test_the_module_imports_nothing_heavy() -> None:
    code = "import sys, rls.rewrite.functions as f; f.review('lower'); print('duckdb' in sys.modules, 'sqlglot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
