"""Do expressions of the answer ever see a hidden row where guards have no fence? `python -m tests.rewrite.late_review [--step N]`.

Tables whose hidden rows overflow, whose visible rows do not; every shape of query with a raising expression where
`rls.rewrite.late` says that it comes late, under every kind of row filter, sub-queries included. An error is a leak. Some
shapes make DuckDB push aggregates below joins (`partial_aggregate_pushdown`): `pushed` counts them.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb

ROWS = 20_000
FILTERS = (
    "tenant = 1", "tenant IN (1, 77)", "(tenant = 1 OR owner = 'seen')", "lower(owner) = 'seen'", "tenant % 7 = 1",
    "list_contains([1, 77], tenant)", "CASE WHEN tenant = 1 THEN true ELSE false END", "owner LIKE 's%'",
    "tenant IN (SELECT tenant FROM acl)", "EXISTS (SELECT 1 FROM acl WHERE acl.tenant = x.tenant)",
    "(owner = 'seen' OR tenant IN (SELECT tenant FROM acl WHERE who = 'nobody'))", "tenant = (SELECT max(tenant) FROM acl)",
)  # fmt: skip
EXPRESSIONS = (
    "o.p * (1 - o.q)", "CAST(o.note AS INTEGER)", "o.n + 1", "CAST(o.day AS TIMESTAMP)", "CAST(o.note AS JSON)",
    "o.day + INTERVAL 1 MONTH", "o.n % (o.n - 2147483647)",
)  # fmt: skip
CALLS = ("max({e})", "count({e})", "sum(length(CAST({e} AS VARCHAR)))", "min({e}), count(*)", "count(DISTINCT {e})")
SHAPES = (
    "SELECT {e} FROM {o} o", "SELECT DISTINCT {e} FROM {o} o", "SELECT {e} AS r FROM {o} o ORDER BY 1 LIMIT 5",
    "SELECT id, {e} FROM {o} o ORDER BY id DESC LIMIT 3", "SELECT {a} FROM {o} o", "SELECT o.k, {a} FROM {o} o GROUP BY 1",
    "SELECT o.tenant, {a} FROM {o} o GROUP BY 1", "SELECT d.name, {a} FROM {o} o JOIN dim d ON o.k = d.k GROUP BY 1",
    "SELECT o.k, {a} FROM {o} o JOIN dim d ON o.k = d.k GROUP BY ROLLUP (1)",
    "SELECT l.k, {a} FROM {o} o JOIN {l} l ON o.k = l.k GROUP BY 1", "SELECT {a} FROM {o} o JOIN {l} l ON o.id = l.id",
    "SELECT o.k, {a} FROM {o} o JOIN {o} b ON o.k = b.k GROUP BY 1", "SELECT l.k, {a} FROM {l} l LEFT JOIN {o} o ON o.k = l.k GROUP BY 1",
    "SELECT {a} FROM {o} o LEFT JOIN {l} l ON o.id = l.id", "SELECT {a} FROM {o} o FULL JOIN {l} l ON o.id = l.id",
    "SELECT d.name, {a} FROM {o} o JOIN {l} l ON o.k = l.k JOIN dim d ON l.k = d.k GROUP BY 1",
    "SELECT {a} FROM {o} o, dim d WHERE o.k < d.k", "SELECT o.k, {a} FROM {o} o WHERE k IN (SELECT k FROM {l} l) GROUP BY 1",
    "SELECT {a} FROM {o} o WHERE id NOT IN (SELECT id FROM {l} l WHERE amount > 3)",
    "SELECT d.name, {a} FROM {o} o JOIN dim d USING (k) WHERE d.name LIKE '%1%' AND o.id > 7 AND o.owner LIKE '%e%' GROUP BY 1",
    "WITH c AS (SELECT * FROM {o} o WHERE k > 3) SELECT {a} FROM c o",
    "WITH c AS MATERIALIZED (SELECT * FROM {o} o) SELECT {a} FROM c o JOIN c b ON o.id = b.id",
    "SELECT {a} FILTER (WHERE o.k > 3) FROM {o} o", "SELECT max(CASE WHEN o.k > 3 THEN {e} END) FROM {o} o",
    "SELECT max(r) FROM (SELECT {e} AS r, o.k FROM {o} o) GROUP BY k",
    "SELECT {e}, {a} FROM {o} o GROUP BY 1 ORDER BY 2 LIMIT 5", "SELECT {e}, count(*) FROM {o} o GROUP BY ROLLUP (1)",
    "SELECT {e}, {a} FROM {o} o JOIN {l} l ON o.k = l.k GROUP BY ALL", "SELECT {a} FROM {o} o GROUP BY {e}, o.k",
    "SELECT {e}, d.name, count(DISTINCT o.id) FROM {o} o JOIN dim d ON o.k = d.k GROUP BY 1, 2 ORDER BY 1",
    "SELECT r, count(*) FROM (SELECT {e} AS r FROM {o} o LEFT JOIN {l} l ON o.id = l.id) GROUP BY r",
    # The same sub-plan twice, below the answer.
    "SELECT {a} FROM (SELECT * FROM {o} x WHERE k > 3 UNION ALL SELECT * FROM {o} x WHERE k > 3) o",
    "SELECT k, {a} FROM {o} o WHERE id > (SELECT avg(id) FROM {o} y WHERE k > 3) AND k > 3 GROUP BY 1 "
    "ORDER BY 2 LIMIT 5",
    "SELECT o.k, {a} FROM (SELECT *, count(*) OVER () AS c FROM {o} x) o JOIN (SELECT k, count(*) AS c FROM {o} x GROUP BY k) "
    "b ON o.k = b.k GROUP BY 1",
    "SELECT o.k, {a} FROM {o} o GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5 OFFSET 2",
)  # fmt: skip


def create(connection: duckdb.DuckDBPyConnection) -> None:
    """Tables `o` and `l` with policies to come, `dim` and `acl` without."""
    seen = "i % 7 = 1"
    connection.execute(
        f"CREATE TABLE o AS SELECT i AS id, i % 7 AS tenant, i % 50 AS k, if({seen}, 'seen', 'hidden') AS owner, "
        f"if({seen}, '5', 'SECRET' || i) AS note, if({seen}, 1.5, 9999999999999.99)::DECIMAL(15,2) AS p, "
        f"if({seen}, 0.5, -9999999999999.99)::DECIMAL(15,2) AS q, if({seen}, 3, 2147483647)::INTEGER AS n, "
        f"if({seen}, DATE '2020-01-01', DATE '5881580-07-10') AS day FROM range({ROWS}) r(i)"
    )
    connection.execute(
        f"CREATE TABLE l AS SELECT i AS id, i % 7 AS tenant, i % 50 AS k, i % 9 AS amount FROM range({ROWS}) r(i)"
    )
    connection.execute("CREATE TABLE acl AS SELECT 1 AS tenant, 'eve' AS who")
    connection.execute("CREATE TABLE dim AS SELECT i AS k, 'n' || i AS name FROM range(50) r(i)")
    connection.execute("CHECKPOINT")


def queries() -> Iterator[str]:
    """Every shape, with every expression, under every filter."""
    for row_filter, expression, shape in itertools.product(FILTERS, EXPRESSIONS, SHAPES):
        other = "tenant = 1" if "owner" in row_filter else row_filter
        guards = [f"(SELECT * FROM {table} AS x WHERE {rows})" for table, rows in (("o", row_filter), ("l", other))]
        for call in CALLS if "{a}" in shape else ("",):
            if "FILTER" in shape and "," in call:
                continue
            yield shape.format(e=expression, a=call.format(e=expression), o=guards[0], l=guards[1])


def leaks(connection: duckdb.DuckDBPyConnection, texts: Iterator[str]) -> tuple[int, int, list[tuple[str, str]]]:
    """(queries run, plans with pushed aggregates, (query, error) for each leak)."""
    done = pushed = 0
    found = []
    for text in texts:
        done += 1
        plan = connection.execute(f"EXPLAIN {text}").fetchall()[0][1]
        pushed += "EXPORT_STATE" in plan
        try:
            connection.execute(text).fetchall()
        except duckdb.Error as error:
            found.append((text, str(error).split("\n")[0]))
    return done, pushed, found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--step", type=int, default=1, help="every so many queries")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(str(Path(folder) / "late.duckdb")) as connection:
        create(connection)
        done, pushed, found = leaks(connection, itertools.islice(queries(), 0, None, options.step))
    print(f"{done} queries, {pushed} with pushed aggregates, {len(found)} leaks")
    for text, message in found[:20]:
        print(f"  {message}\n    {text}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
