"""Some drawn cases, and whether the harness would notice: a protection taken out must be found.

`python -m tests.fuzz` draws thousands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.fuzz.calls import Binder
from tests.fuzz.queries import draw_query
from tests.fuzz.run import Finding, Supervisor, play
from tests.fuzz.shrink import shrink
from tests.fuzz.vary import vary
from tests.fuzz.verdict import Verdict, judge
from tests.fuzz.weaken import PROTECTIONS, RULES, without, without_rule
from tests.fuzz.world import NAME, TURN, Options, World, make_world
from tests.judging.oracle import Rule

# Worlds of seed `t`; the same cases every time.
SMALL, CASES = 2, 40
ENOUGH = 60


def faults(world: int, cases: int, options: Options, directory: Path) -> tuple[int, list[Finding]]:
    """How many cases were judged, and what they show."""
    ends = [
        event
        for event in play("t", world, cases=cases, options=options, directory=directory, small=lambda _: False)
        if event.kind == "end"
    ]
    return len(ends), [event.finding for event in ends if event.finding is not None]


@pytest.mark.parametrize("world", range(SMALL))
def test_hidden_rows_show_nowhere(world: int, tmp_path: Path) -> None:
    assert faults(world, CASES, Options(big=0.0, meeting=0.0), tmp_path) == (CASES, [])


def test_hidden_rows_show_nowhere_in_large_relations(tmp_path: Path) -> None:
    assert faults(2, 8, Options(big=1.0, meeting=0.0), tmp_path) == (8, [])


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, list[str]]]:
    """A world with many masks and denied columns, and queries on which the product is right."""
    world = make_world("t/6", tmp_path_factory.mktemp("world"), Options(big=0.0, meeting=0.0, hide=3.0))
    assert world is not None
    binder = Binder(world.columns, name=NAME)
    queries = [
        draw_query(f"t/6/{case}", binder=binder, tables=world.columns, big=None, catalog=NAME) for case in range(ENOUGH)
    ]
    binder.close()
    yield world, queries
    world.close()


@pytest.mark.parametrize("protection", PROTECTIONS)
def test_notices_a_missing(protection: str, masked: tuple[World, list[str]]) -> None:
    world, queries = masked
    with without(protection):
        # New engines: they keep what they have decided.
        world.pair.reopen()
        found = next((sql for sql in queries if judge(world.pair, sql).kind.startswith(("leak", "oracle"))), None)
    world.pair.reopen()
    assert found is not None
    assert not judge(world.pair, found).fault


# For each rule, a seed, a world and its turn in which it is missed.
MISSED = {
    "a CASE in a filter": ("m", 0, 3),
    "a struct's field in a policy": ("m", 6, 6),
    "a policy that fills a strict copy": ("t", 0, 3),
    "date_trunc beside intervals": ("t", 1, 6),
}


@pytest.mark.parametrize("rule", RULES)
def test_notices_a_missing_rule(rule: str, tmp_path: Path) -> None:
    seed, world, turn = MISSED[rule]
    first, meeting = turn * TURN, Options(big=0.0, meeting=1.0)

    def found() -> list[Finding]:
        events = play(
            seed, world, first=first, cases=first + TURN, options=meeting, directory=tmp_path, small=lambda _: False
        )
        return [event.finding for event in events if event.finding is not None]

    with without_rule(rule):
        assert found()
    assert not found()


def test_queries_are_drawn_again_from_their_seed(masked: tuple[World, list[str]]) -> None:
    world, queries = masked
    binder = Binder(world.columns, name=NAME)
    again = [draw_query(f"t/6/{n}", binder=binder, tables=world.columns, big=None, catalog=NAME) for n in (5, 9)]
    binder.close()
    assert again == [queries[5], queries[9]]
    assert len(set(queries)) > len(queries) * 0.95


def test_most_queries_run(masked: tuple[World, list[str]]) -> None:
    world, queries = masked
    failing = 0
    for sql in queries[:40]:
        try:
            world.pair.oracle.execute(sql)
        except duckdb.Error:
            failing += 1
    assert failing < 15


def test_varied_databases_keep_what_is_visible(tmp_path: Path) -> None:
    base, rule = tmp_path / "base.duckdb", Rule("tenant = 'a'", frozenset(["pay"]), {"name": "left(name, 1)"})
    with duckdb.connect(str(base)) as connection:
        connection.execute(
            "CREATE TABLE t AS SELECT i AS id, ['a', 'b'][1 + i % 2] AS tenant, 'Ada' AS name, i AS pay, 1.5 AS rate "
            "FROM range(200) AS r(i)"
        )
    seen, hidden = set(), set()
    for seed in range(8):
        target = tmp_path / f"{seed}.duckdb"
        vary(base, {("main", "t"): rule}, target=target, seed=str(seed))
        with duckdb.connect(str(target)) as connection:
            shown = "SELECT id, tenant, left(name, 1), rate FROM t WHERE tenant = 'a'"
            seen.add(tuple(connection.execute(shown).fetchall()))
            hidden.add(repr(connection.execute("SELECT count(*), min(name), max(rate), max(pay) FROM t").fetchall()))
    assert len(seen) == 1
    assert len(hidden) > 3


def test_shrinking_keeps_what_shows_and_drops_the_rest() -> None:
    sql = (
        "WITH w AS (SELECT 1 AS n) SELECT a.x, upper(CAST(a.note AS INTEGER) || 'y') FROM a LEFT JOIN b ON a.id = b.id "
        "WHERE a.x > 3 AND (a.y = 'SELECT' OR a.note = 5) ORDER BY 1 LIMIT 3"
    )
    small = shrink(sql, lambda text: "CAST(a.note AS INT" in text, attempts=2000, seconds=10)
    assert "CAST(a.note AS INT" in small
    assert len(small) < 40


def test_shrinking_of_text_that_only_duckdb_reads() -> None:
    sql = "PIVOT (SELECT x'41' AS a, b'01' AS b, note FROM orders) ON note USING count(*) ORDER BY ALL"
    assert shrink(sql, lambda text: "x'41'" in text) == "x'41'"


class Scripted:
    """Two databases and an oracle that answer what a test says."""

    def __init__(self, tmp_path: Path, *tables: str) -> None:
        from tests.judging.oracle import answer

        self._answer, self._connections = answer, []
        for statement in tables:
            connection = duckdb.connect()
            connection.execute(statement)
            self._connections.append(connection)
        self.oracle = self._connections[2]

    def ask(self, sql: str, *, which: int):  # type: ignore[no-untyped-def]
        return self._answer(self._connections[which], sql)

    def disguised(self) -> Iterator[duckdb.DuckDBPyConnection]:
        yield from self._connections[3:]

    def blanks(self, sql: str) -> list[object]:
        return []

    def is_visible(self, value: str) -> bool:
        return value == "seen"

    def detail(self, which: int) -> str:
        return "Conversion: Could not convert string 'unseen' to INT32"


ONE, TWO, BAD = (
    "CREATE TABLE t AS SELECT unnest(['1', '2']) AS v",
    "CREATE TABLE t AS SELECT unnest(['2', '1']) AS v",
    "CREATE TABLE t AS SELECT unnest(['1', '2', 'x']) AS v",
)


@pytest.mark.parametrize(
    ("sql", "tables", "kind"),
    [
        ("SELECT v FROM t", (ONE, ONE, ONE), "ok"),
        ("SELECT v::INT FROM t", (BAD, BAD, BAD), "fails"),
        ("SELECT v::INT FROM t", (ONE, BAD, ONE), "leak: error"),
        ("SELECT v::INT FROM t", (ONE, BAD, BAD), "open"),
        ("SELECT count(*) FROM t", (ONE, BAD, ONE), "leak: rows"),
        ("SELECT v FROM t", (BAD, BAD, ONE), "oracle: rows"),
        ("SELECT v::INT FROM t", (BAD, BAD, ONE), "oracle: error"),
        ("SELECT v::INT FROM t", (ONE, ONE, BAD), "answered"),
        ("SELECT first(v) FROM t", (ONE, TWO, ONE), "leak: rows"),
        ("SELECT first(v) FROM t, range(2)", (ONE, TWO, ONE, TWO), "open"),
        ("SELECT v FROM t ORDER BY v", (ONE, TWO, ONE), "ok"),
    ],
)
def test_verdicts(sql: str, tables: tuple[str, ...], kind: str, tmp_path: Path) -> None:
    assert judge(Scripted(tmp_path, *tables), sql).kind == kind  # type: ignore[arg-type]


def test_only_some_verdicts_are_faults() -> None:
    assert [Verdict(kind).fault for kind in ("leak: error", "oracle: rows", "crash", "ok", "open", "skipped")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip


def test_a_worker_plays_worlds_and_counts(tmp_path: Path) -> None:
    supervisor = Supervisor("t", cases=3, options=Options(big=0.0, meeting=0.0), jobs=1)
    findings = list(supervisor.run(first=0, seconds=60, worlds=1))
    assert findings == []
    assert sum(supervisor.counts.values()) == 3
