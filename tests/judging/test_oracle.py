"""The judges judged: the oracle reduces what it should, and comparing, judging and scoring notice every kind of fault."""

from __future__ import annotations

import math
import random
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from tests.judging import judge as judging
from tests.judging.attack_runner import Attack, score
from tests.judging.compare import differs, is_subset
from tests.judging.driver import Refusal
from tests.judging.judge import Outcome, compare, judge_all
from tests.judging.oracle import Answer, Rule, answer, build, ordering, reduce_database, without_limit
from tests.judging.policygen import KINDS, generate
from tests.judging.replay import Query, replay
from tests.judging.withheld import withheld

SCHEMA = (
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "CREATE TABLE parent (id INTEGER PRIMARY KEY, mood mood, moods mood[], secret VARCHAR)",
    "INSERT INTO parent VALUES (1, 'ok', ['sad'], 'a'), (2, 'sad', [], 'b'), (3, NULL, NULL, 'c'), (4, 'ok', ['ok'], 'd')",
    "CREATE TABLE child (id INTEGER, parent_id INTEGER REFERENCES parent(id))",
    "INSERT INTO child VALUES (10, 1), (11, 2), (12, NULL)",
    "CREATE TABLE undecided (x INTEGER)",
    "CREATE VIEW moods AS SELECT mood, count(*) AS n FROM parent GROUP BY mood",
)
RULES = {
    ("main", "parent"): Rule("id <> 2", frozenset(["secret"]), {"id": "id * 10"}),
    # Reads the unreduced parent: rules are about true rows.
    ("main", "child"): Rule("parent_id IN (SELECT id FROM parent WHERE mood = 'sad')"),
}


@pytest.fixture
def reduced(tmp_path: Path) -> duckdb.DuckDBPyConnection:
    source = build(tmp_path / "source.duckdb", SCHEMA)
    return duckdb.connect(str(reduce_database(source, RULES, target=tmp_path / "reduced.duckdb")))


def test_reduced_copy_holds_only_permitted_rows_and_columns(reduced: duckdb.DuckDBPyConnection) -> None:
    seen = answer(reduced, "SELECT * FROM parent")
    assert seen.names == ("id", "mood", "moods")
    assert seen.types == ("INTEGER", "VARCHAR", "VARCHAR[]")
    assert seen.rows == [(10, "ok", ["sad"]), (30, None, None), (40, "ok", ["ok"])]
    assert answer(reduced, "FROM child").rows == [(11, 2)]
    assert answer(reduced, "SELECT * FROM moods ORDER BY ALL").rows == [("ok", 2), (None, 1)]
    assert "does not exist" in (answer(reduced, "FROM undecided").error or "")


@pytest.mark.parametrize(("order", "ids"), [("backwards", [40, 30, 10]), ("kept", [10, 30, 40])])
def test_order_of_the_copy(tmp_path: Path, order: str, ids: list[int]) -> None:
    source = build(tmp_path / "source.duckdb", SCHEMA)
    with duckdb.connect(str(reduce_database(source, RULES, target=tmp_path / "b.duckdb", order=order))) as copy:
        assert [row[0] for row in answer(copy, "FROM parent").rows] == ids


def test_rule_about_a_column_that_is_not_there(tmp_path: Path) -> None:
    source = build(tmp_path / "source.duckdb", SCHEMA)
    with pytest.raises(ValueError, match="salary"):
        reduce_database(source, {("main", "child"): Rule(denied=frozenset(["salary"]))}, target=tmp_path / "x.duckdb")


def test_slow_queries_end() -> None:
    with duckdb.connect() as connection:
        endless = answer(connection, "SELECT count(*) FROM range(1000000000) a, range(1000000) b", seconds=0.1)
    assert endless.error is not None
    assert endless.error.startswith("InterruptException")


@pytest.mark.parametrize(
    ("sql", "places"),
    [
        ("SELECT 1 AS a, 2 AS b ORDER BY 2, a DESC", [1, 0]),
        ("SELECT 1 AS a, 2 AS b UNION SELECT 2, 3 ORDER BY ALL", [0, 1]),
        ("SELECT t.a FROM (SELECT 1 AS a) t ORDER BY t.a NULLS FIRST LIMIT 3", [0]),
        ("SELECT 1 AS a ORDER BY a + 1", None),
        ("SELECT 1 AS a, 2 AS a ORDER BY a", None),
        ("SELECT * FROM (SELECT 1 AS x ORDER BY x)", []),
        ("SELECT list(x ORDER BY x) FROM (SELECT 1 AS x)", []),
        ("no query", []),
    ],
)
def test_ordering(sql: str, places: list[int] | None) -> None:
    with duckdb.connect() as connection:
        assert ordering(connection, sql, answer(connection, sql).names) == places


def one(*values: object, types: str = "T") -> Answer:
    """An answer of one column."""
    return Answer(("c",), (types,), [(value,) for value in values])


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (one(1, 2, 2), one(2, 1, 2)),
        (one(math.nan), one(float("nan"))),
        (one(0.1 + 0.2), one(0.3)),
        (one("0.7071067811865475"), one("0.7071067811865476")),
        (one("[0.30000000000000004, 1]"), one("[0.3, 1]")),
        (one([1, {"a": None}]), one([1, {"a": None}])),
        (one(*(i / 3 for i in range(2000))), one(*(i / 3 * (1 + 1e-13) for i in range(2000)))),
        (Answer(error="A: x"), Answer(error="B: y")),
    ],
)
def test_same_answers(left: Answer, right: Answer) -> None:
    assert differs(left, right) is None


@pytest.mark.parametrize(
    ("left", "right", "by", "kind"),
    [
        (one(1, 2, 2), one(1, 1, 2), [], "rows"),
        (one(1), one(1, 1), [], "rows"),
        (one(1), one(1.0), [], "rows"),
        (one(1), one(True), [], "rows"),
        (one(Decimal("1.0")), one(Decimal("1.00")), [], "rows"),
        (one(1.0), one(1.000001), [], "rows"),
        (one("0.70710678"), one("0.70710679"), [], "rows"),
        (one("a 0.7071067811865475"), one("b 0.7071067811865475"), [], "rows"),
        (one("7071067811865475"), one("7071067811865476"), [], "rows"),
        (one(Decimal("0.7071067811865475")), one(Decimal("0.7071067811865476")), [], "rows"),
        (one(None), one("None"), [], "rows"),
        (one({"a": 1, "b": 2}), one({"b": 2, "a": 1}), [], "rows"),
        (one(1, 2), one(2, 1), [0], "order"),
        (one(1, 2), one(2, 1), None, "order"),
        (one(1), one(1, types="U"), [], "types"),
        (one(1), Answer(("d",), ("T",), [(1,)]), [], "names"),
        (one(1), Answer(error="X: no"), [], "error"),
        (Answer(error="X: no"), one(1), [], "error"),
    ],
)
def test_different_answers(left: Answer, right: Answer, by: list[int] | None, kind: str) -> None:
    difference = differs(left, right, by=by)
    assert difference is not None
    assert difference.kind == kind


def test_ties_may_stand_in_any_order() -> None:
    left = Answer(("k", "v"), ("T", "T"), [(1, "a"), (1, "b"), (2, "c")])
    right = Answer(("k", "v"), ("T", "T"), [(1, "b"), (1, "a"), (2, "c")])
    assert differs(left, right, by=[0]) is None
    assert differs(left, right, by=[0, 1]) is not None


def test_subset_counts() -> None:
    assert is_subset(one(1, 2), one(1, 2, 2))
    assert not is_subset(one(1, 1), one(1, 2))


def test_replay_groups_queries_between_writes(tmp_path: Path) -> None:
    steps = [
        {"kind": "statement", "expect": "ok", "sql": "CREATE TABLE t AS SELECT 1 AS a", "line": 1},
        {"kind": "query", "expect": "ok", "sql": "FROM t", "line": 2},
        {"kind": "query", "expect": "ok", "sql": "INSERT INTO t VALUES (2) RETURNING a", "line": 3},
        {"kind": "query", "expect": "ok", "sql": "SELECT sum(a) FROM t", "line": 4},
    ]
    stages = []
    for stage in replay("file", steps, directory=tmp_path):
        with duckdb.connect(str(stage.database)) as connection:
            stages.append(
                ([query.id for query in stage.queries], answer(connection, "FROM t").rows, dict(stage.skipped))
            )
    assert stages == [(["file:2"], [(1,)], {}), (["file:4"], [(1,), (2,)], {"not a SELECT": 1})]


@pytest.mark.parametrize("kind", KINDS)
def test_generated_rules_are_sql_of_the_oracle(tmp_path: Path, kind: str) -> None:
    source = build(tmp_path / "source.duckdb", SCHEMA)
    judging.policygen.add_entitlements(source)
    with duckdb.connect(str(source)) as connection:
        made = generate(connection, kind, source=random.Random(7))
    assert set(made.rules) == {("main", "parent"), ("main", "child"), ("main", "undecided")}
    assert [document["relation"] for document in made.documents] == ["child", "parent", "undecided"]
    reduce_database(source, made.rules, target=tmp_path / "reduced.duckdb")


class Faulty:
    """Stands for an engine that answers from a copy, whatever the policies say."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, change: str | None) -> None:
        self.connection, self.change = connection, change

    def __enter__(self) -> Faulty:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def ask(self, sql: str) -> Answer | Refusal:
        if self.change == "refuse":
            return Refusal("query.construct", "no")
        return answer(self.connection, self.change or sql)


@pytest.mark.parametrize(
    ("reduced", "change", "statuses"),
    [
        (True, None, ["ok", "ok", "both fail", "ok"]),
        (False, None, ["wrong rows", "wrong rows", "both fail", "ok"]),
        (True, "refuse", ["refused", "refused", "both fail", "withheld"]),
        (True, "SELECT 1 // 'x'", ["spurious error", "spurious error", "both fail", "spurious error"]),
    ],
)
def test_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reduced: bool, change: str | None, statuses: list[str]
) -> None:
    source = build(tmp_path / "source.duckdb", SCHEMA)
    queries = ["SELECT count(*) FROM parent", "SELECT id FROM parent ORDER BY id", "FROM nowhere", "SELECT version()"]

    def driver(bench: judging._Bench, isolation: str) -> Faulty:
        copy = bench.oracle().cursor() if reduced else duckdb.connect(str(bench.database), read_only=True)
        return Faulty(copy, change)

    monkeypatch.setattr(judging._Bench, "driver", driver)
    outcomes = judge_all(
        "c", source, [Query(sql, sql) for sql in queries], kind="none", seed="1", directory=tmp_path / "bench"
    )
    assert [outcome.status for outcome in outcomes] == statuses


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT count(*) FROM parent", None),
        ("SELECT histogram(id), current_date FROM parent", None),
        ("SELECT * FROM (DESCRIBE parent)", None),
        ("SELECT * FROM duckdb_tables()", "table function"),
        ("SELECT current_setting('threads')", "function about the system"),
        ("SELECT * FROM information_schema.tables", "catalog or file"),
        ("SELECT * FROM 'x.csv'", "catalog or file"),
        ("SHOW TABLES", "catalog or file"),
        ("SELECT twice(id) FROM parent", "macro of the database"),
        ("SELECT rowid FROM parent", "physical row number"),
        ("SELECT * FROM parent JOIN child USING (RowId)", "physical row number"),
    ],
)
def test_withheld(sql: str, reason: str | None) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE MACRO twice(x) AS 2 * x")
        assert withheld(connection, sql) == reason


ROWS = one(1)


@pytest.mark.parametrize(
    ("expect", "sql", "outcome", "expected", "kind"),
    [
        ("filtered", "FROM orders", ROWS, ROWS, "held"),
        ("filtered", "FROM orders", one(2), ROWS, "leak"),
        ("filtered", "FROM orders", Refusal("query.construct", "no"), ROWS, "broken"),
        ("filtered", "FROM orders", Answer(error="run.cast: no"), ROWS, "leak"),
        ("filtered", "FROM orders", Answer(error="run.cast: no"), Answer(error="C: x"), "held"),
        ("denied", "FROM orders", ROWS, ROWS, "leak"),
        ("denied", "FROM orders", Refusal("query.construct", "no"), None, "held"),
        ("denied", "FROM orders", Refusal("query.construct", "see CANARY_globex_name"), None, "leak"),
        ("denied", "SELECT 'CANARY_x'", Refusal("query.construct", "no `CANARY_x`"), None, "held"),
        ("filtered_or_denied", "FROM orders", one("CANARY_x"), one("CANARY_x"), "leak"),
        ("filtered_or_denied", "FROM orders", one(77001201), one(77001201), "leak"),
    ],
)
def test_attack_scores(expect: str, sql: str, outcome: Answer | Refusal, expected: Answer | None, kind: str) -> None:
    assert score(Attack("A", "x", sql, expect, "multiset"), outcome, expected).kind == kind


def test_outcome_is_plain_data() -> None:
    assert Outcome("c", "i", "k", "ok", "SELECT 1").to_dict()["status"] == "ok"


@pytest.mark.parametrize(
    ("rows", "status"),
    [
        ([("a", 2), ("b", 1)], "ok"),
        ([("a", 2), ("c", 1)], "undefined"),  # as good as b
        ([("a", 2), ("d", 1)], "wrong rows"),  # no row of the query
        ([("a", 2), ("a", 2)], "wrong rows"),
        ([("b", 1), ("c", 1)], "wrong rows"),  # not the greatest
    ],
)
def test_a_limit_may_cut_among_equals(rows: list[tuple[str, int]], status: str) -> None:
    with duckdb.connect() as oracle:
        oracle.execute("CREATE TABLE t AS FROM (VALUES ('a', 2), ('b', 1), ('c', 1)) v(k, n)")
        sql = "SELECT k, n FROM t ORDER BY n DESC LIMIT 2"
        expected = Answer(("k", "n"), ("VARCHAR", "INTEGER"), [("a", 2), ("b", 1)])
        actual = Answer(expected.names, expected.types, rows)
        found = compare(expected, expected, actual, oracle, sql, reason=None, others=lambda: iter(()))
        assert found[0] == status
        assert without_limit(oracle, sql) == "SELECT k, n FROM t ORDER BY n DESC"
        assert without_limit(oracle, "SELECT k FROM (SELECT k FROM t LIMIT 1)") is None
