"""Whatever a caller asks, databases that differ in hidden rows only answer the same, errors included.

The listed queries are those by which PostgreSQL told of a hidden row once: each with what it does to be judged. More
of the kind: `python -m tests.engines.postgres.pairs`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.postgres.kit import start
from tests.engines.postgres.pairs import Pair, draw

TOLD = {
    "a filter outside is moved to the keys of groups": (
        "SELECT count(*) FROM (SELECT CAST(id AS SMALLINT) AS k FROM hidden GROUP BY id) t WHERE k > -5"
    ),
    "the same beside an aggregate": (
        "SELECT count(*) FROM (SELECT id * 2 AS k, count(*) AS n FROM hidden GROUP BY id) t WHERE k > -5"
    ),
    "a correlated sub-query is evaluated for hidden rows": (
        "SELECT count(*) FROM hidden a WHERE (SELECT max(b.id) * a.id FROM pub b) > 0"
    ),
    "and its aggregates, too": "SELECT count(*) FROM hidden a WHERE (SELECT max(b.id * a.id) FROM pub b) > 0",
    "which of its rows there are depends on a hidden row": (
        "SELECT count(*) FROM hidden a WHERE (SELECT count(CAST(b.id AS SMALLINT)) FROM pub b "
        "WHERE b.id < 0 OR a.id = 7) > 0"
    ),
    "a sub-query by itself is evaluated when a row needs it": (
        "SELECT count(*) FROM hidden a WHERE a.id = 7 AND a.id < (SELECT max(CAST(b.id AS SMALLINT)) FROM pub b)"
    ),
    "a sum may be too large": (
        "SELECT count(*) FROM hidden a WHERE a.id = 7 AND a.id < (SELECT sum(x) FROM "
        "(VALUES (CAST(1e308 AS DOUBLE)), (CAST(1e308 AS DOUBLE))) v(x))"
    ),
    "so may a spread": "SELECT count(*) FROM hidden a WHERE a.id = 7 AND a.id < (SELECT stddev_pop(d) FROM pub)",
    "the other side of a join is read when there is one": (
        "SELECT count(*) FROM hidden a JOIN (SELECT min(id) AS id, sum(d) AS s FROM pub) t ON t.id = a.id "
        "WHERE a.id = 7"
    ),
    "also for a sub-query in WHERE, which becomes a join": (
        "SELECT count(*) FROM (SELECT id, sum(d) AS s FROM pub GROUP BY id) t "
        "WHERE EXISTS (SELECT 1 FROM hidden h WHERE h.id = t.id AND h.id = 7)"
    ),
    "a list of values that are made for each row": (
        "SELECT count(*) FROM hidden a WHERE a.id IN (SELECT max(b.id * a.id) FROM pub b)"
    ),
    "a text that matches so much that the stack is full": (
        f"SELECT count(*) FROM hidden WHERE id = 7 AND note LIKE '{'%a' * 25_000}'"
    ),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    cluster = start()
    try:
        with Pair(cluster, tmp_path_factory.mktemp("pair")) as made:
            yield made
    finally:
        cluster.stop()


@pytest.mark.parametrize("sql", TOLD.values(), ids=TOLD)
def test_what_told_of_a_hidden_row_tells_no_more(sql: str, pair: Pair) -> None:
    without, with_hidden = pair.ask(sql)
    assert without == with_hidden
    assert "OFFSET 0" in pair.guard(sql)


def test_what_takes_more_room_than_a_text_has_is_fenced(pair: Pair) -> None:
    """A gigabyte of hidden text would be needed to see the difference."""
    for call in ("upper(note)", "lower(note)", "ltrim(note, 'x')", "rtrim(note, 'x')"):
        assert "OFFSET 0" in pair.guard(f"SELECT count(*) FROM hidden WHERE {call} = 'x'")
    assert "OFFSET 0" in pair.guard("SELECT count(*) FROM hidden WHERE note ILIKE 'x'")
    assert "OFFSET 0" in pair.guard("SELECT count(*) FROM hidden WHERE 'x' LIKE note")
    assert "OFFSET 0" not in pair.guard("SELECT count(*) FROM hidden WHERE note LIKE '%x%' AND length(note) > 1")


def test_bounded_numbers_need_no_fence(pair: Pair) -> None:
    """An average of exact numbers is neither so large nor so small that a product could leave DOUBLE."""
    held = "SELECT count(*) FROM hidden a WHERE id < (SELECT 0.2 * avg(b.big) / 3 + 1 FROM hidden b WHERE b.id = a.id)"
    assert "OFFSET 0" not in pair.guard(held)
    grown = "0.2 * " * 100
    assert "OFFSET 0" in pair.guard(f"SELECT count(*) FROM hidden WHERE id < (SELECT {grown} avg(big) FROM hidden)")
    assert "OFFSET 0" in pair.guard("SELECT count(*) FROM hidden WHERE id < (SELECT 0.2 * avg(d) FROM hidden)")


@pytest.mark.parametrize("number", range(40))
def test_drawn_queries_say_the_same(number: int, pair: Pair) -> None:
    sql = draw(f"test/{number}")
    without, with_hidden = pair.ask(sql)
    assert without == with_hidden, sql
