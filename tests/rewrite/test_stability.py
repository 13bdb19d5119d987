"""What gives other rows the next time although the data is the same: DuckDB's own word, and where it is wrong."""

from __future__ import annotations

import time

import duckdb
import pytest

from rls.catalog import Catalog, Column, Relation
from rls.rewrite.functions import reviews
from rls.rewrite.stability import _stable_functions, answer_lasts, changes_by_itself, parameters_of

EMPTY = Catalog.of("w", [])
SHIFTS = Catalog.of("w", [Relation((), "shifts", (Column("begins", "TIME WITH TIME ZONE"),))])


@pytest.mark.parametrize(
    "rows",
    [
        "(SELECT * FROM t WHERE age(day) < INTERVAL 1 YEAR)",
        "(SELECT * FROM t WHERE day < localtimestamp)",
        "(SELECT * FROM t WHERE day < current_localtimestamp())",
        "(SELECT * FROM t USING SAMPLE 10 ROWS)",
        "(SELECT * FROM t WHERE '10:00'::TIMETZ < x)",
        "(SELECT * FROM t WHERE id IN (SELECT id FROM m WHERE until > now()))",
        "(SELECT * FROM t WHERE nobody_knows(id))",
    ],
)
def test_a_policy_that_changes_by_itself(rows: str) -> None:
    """Copies of permitted rows must not be kept for it: tomorrow's are others."""
    assert changes_by_itself(rows, EMPTY)


@pytest.mark.parametrize(
    "rows",
    [
        "(SELECT * FROM t WHERE age(day, DATE '2024-01-01') < INTERVAL 1 YEAR)",
        "(SELECT * FROM t WHERE id IN (SELECT unnest($ids)))",
        "(SELECT * FROM t WHERE day AT TIME ZONE 'UTC' > TIMESTAMPTZ '2024-01-01 00:00:00+00')",
        "(SELECT * FROM t TABLESAMPLE reservoir(10 ROWS) REPEATABLE (1))",
    ],
)
def test_a_policy_that_does_not(rows: str) -> None:
    assert not changes_by_itself(rows, EMPTY)


def test_a_bare_time_in_a_zone_is_todays() -> None:
    text = "SELECT begins AT TIME ZONE 'Europe/Paris' FROM shifts"
    assert answer_lasts(text, {}, EMPTY)
    assert not answer_lasts(text, {}, SHIFTS)
    assert answer_lasts("SELECT begins FROM shifts", {}, SHIFTS)


def test_parameters_without_a_value_may_become_anything() -> None:
    text = 'SELECT $a, (SELECT max(x) FROM t WHERE y = $B), $"c d"'
    assert parameters_of(text) == {"a", "b", "c d"}
    assert not answer_lasts(text, {"a": 1, "b": 1}, EMPTY)
    assert answer_lasts(text, {"A": 1, "b": 1, "C D": None}, EMPTY)


def test_what_duckdb_calls_consistent_and_is_not() -> None:
    """These facts are why its word is not taken; a new release that mends them makes nothing wrong here."""
    with duckdb.connect() as connection:
        for call in ("current_localtimestamp()", "current_localtime()"):
            first = connection.execute(f"SELECT {call}").fetchone()
            time.sleep(0.002)
            assert connection.execute(f"SELECT {call}").fetchone() != first
        (days,) = connection.execute("SELECT age(current_date::TIMESTAMP - INTERVAL 9 DAY)").fetchone() or ()
        assert days.days == 9


def test_no_function_without_arguments_is_thought_to_last_but_constants() -> None:
    """Of those that callers may use: what takes nothing can only be empty, or read a clock, a seed or the session."""
    with duckdb.connect() as connection:
        known = connection.execute(
            "SELECT DISTINCT lower(function_name) FROM duckdb_functions() "
            "WHERE len(parameters) = 0 AND function_type IN ('scalar', 'macro') AND varargs IS NULL"
        ).fetchall()
    allowed = {review.name for review in reviews() if review.verdict != "forbidden"}
    lasting = {name for (name,) in known if name in allowed} & _stable_functions()
    assert lasting <= {"pi", "map", "list_value", "list_pack"}
