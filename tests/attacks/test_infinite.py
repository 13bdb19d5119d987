"""Infinite dates and times: what is shown of them does not depend on what hidden rows of the same block hold, and is
what a database with visible rows only shows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import duckdb
import pytest

from rls.engine import Engine
from tests.attacks.kit import opened, token_of

HIDDEN = ("2020-01-01", "infinity", "-infinity", "5881580-07-10", "5877642-06-25 (BC)", None)
VISIBLE = (("infinity", "infinity"), ("-infinity", "infinity"), ("infinity", "2020-02-02"), (None, "-infinity"))
POLICIES = {
    "by attribute": "tenant = user.tenant",
    "by the column": "tenant = user.tenant AND d > DATE '2000-01-01'",
    "by a table": "tenant IN (SELECT z.tenant FROM z WHERE z.subj = user.subject)",
}
QUERIES = (
    "SELECT min(d), max(d), count(d) FROM {}",
    "SELECT min(d)::VARCHAR, max(d)::VARCHAR FROM {}",
    "SELECT min(d), max(d) FROM {} WHERE d IS NOT NULL",
    "SELECT d, count(*) FROM {} GROUP BY d ORDER BY d",
    "SELECT max(d) FROM {} WHERE d > '2020-01-01'",
    "SELECT min(date_trunc('month', d)), max(last_day(d)) FROM {}",
    "SELECT min(year(d)), max(month(d)), bool_or(isfinite(d)) FROM {}",
    "SELECT max(d) OVER (), min(d) OVER () FROM {}",
    "SELECT min(t), max(t), min(t)::VARCHAR FROM {}",
    "SELECT count(*) FROM {} WHERE year(d) IS NULL",
    "SELECT arg_min(d, t), max(d) FILTER (WHERE isfinite(d)) FROM {}",
)


def _value(value: str | None) -> str:
    return "NULL" if value is None else f"'{value}'"


def _tables(hidden: str | None, rows: int) -> str:
    text = "CREATE TABLE z AS SELECT 'u' AS subj, 'a' AS tenant;"
    for number, (one, other) in enumerate(VISIBLE):
        shown = f"if(i % 2 = 1, {_value(hidden)}, if(i % 4 = 0, {_value(one)}, {_value(other)}))"
        date = f"CAST({shown} AS DATE)"
        time = f"if(isfinite({date}) AND abs(year({date})) > 9999, NULL, {date})::TIMESTAMP"
        text += f"CREATE TABLE t{number} AS SELECT if(i % 2 = 0, 'a', 'b') AS tenant, {date} AS d, {time} AS t FROM range({rows}) r(i);"
    return text


@pytest.fixture(scope="module", params=[(policy, rows) for policy in POLICIES for rows in (12, 6000)], ids=str)
def engines(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[list[Engine], duckdb.DuckDBPyConnection]]:
    policy, rows = request.param
    text = "---\n".join(
        f'relation: t{n}\npolicies:\n  - {{name: own, using: "{POLICIES[policy]}"}}\n' for n in range(len(VISIBLE))
    )
    plain = duckdb.connect()
    plain.execute(_tables("2020-01-01", rows))
    by_column = " OR d <= DATE '2000-01-01' OR d IS NULL" if "column" in policy else ""
    for number in range(len(VISIBLE)):
        plain.execute(f"DELETE FROM t{number} WHERE tenant <> 'a'{by_column}")
    with contextlib.ExitStack() as undo:
        undo.callback(plain.close)
        yield (
            [
                undo.enter_context(opened(tmp_path_factory.mktemp("infinite"), _tables(hidden, rows), text))
                for hidden in HIDDEN
            ],
            plain,
        )


@pytest.mark.parametrize("query", QUERIES)
def test_infinite_dates_are_shown_alike(engines: tuple[list[Engine], duckdb.DuckDBPyConnection], query: str) -> None:
    some, plain = engines
    for number in range(len(VISIBLE)):
        sql = query.format(f"t{number}")
        expected = plain.execute(sql).fetchall()
        assert [engine.query(token_of(engine), sql).rows for engine in some] == [expected] * len(some)
