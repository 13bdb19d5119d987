"""Two databases that differ in hidden rows only, and queries that try to see a difference.

The hidden rows make expressions raise; `draw` hides such expressions in aggregates, sub-queries, joins and set
operations, beside conditions that only a hidden row meets. Whatever the query, both databases must say the same.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

import rls
from tests.engine.kit import write_policies
from tests.engines.postgres.kit import READER, Cluster, start

__all__ = ["Pair", "draw", "main"]

_SAME = """
CREATE TABLE rights (tenant text);
INSERT INTO rights VALUES ('acme');
CREATE TABLE hidden (id integer, tenant text, note text, far date, big bigint, d double precision);
INSERT INTO hidden SELECT i, 'acme', i::text, '2024-01-01', i, i FROM generate_series(100, 110) i;
CREATE TABLE listed (LIKE hidden);
INSERT INTO listed SELECT * FROM hidden;
CREATE TABLE pub (id integer, note text, far date, big bigint, d double precision);
INSERT INTO pub VALUES (7, 'b', '2024-01-01', 7, 1e308), (100, '100', '2024-01-01', 100, 1e308), (100000, 'd', '300000-01-01', 9e18, 5)
"""
# One row that a condition on `id` finds, one that it does not.
_HIDDEN = """
INSERT INTO hidden VALUES (7, 'globex', repeat('a', 30000), '300000-01-01', 9223372036854775807, 1e308),
  (2147483647, 'globex', 'CANARY', 'infinity', -9223372036854775807, -1e308);
INSERT INTO listed SELECT * FROM hidden WHERE tenant = 'globex'
"""
_POLICIES = """
relation: hidden
policies:
  - {name: rights, using: tenant IN (SELECT tenant FROM rights)}
---
relation: listed
policies:
  - {name: mine, using: tenant IN user.regions}
---
{relation: rights, public: true}
---
{relation: pub, public: true}
"""


class Pair:
    """Both databases on one server, each behind an engine of its own."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        import psycopg

        for name, statements in (("without", _SAME), ("with_hidden", f"{_SAME};\n{_HIDDEN}")):
            with psycopg.connect(cluster.url(), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
                if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [READER]).fetchall():
                    connection.execute(f"CREATE ROLE {READER} LOGIN")
            with psycopg.connect(cluster.url(name), autocommit=True) as connection:
                for statement in statements.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}")
                connection.execute("ANALYZE")
        policies = write_policies(directory / "policies", _POLICIES)
        self._token = rls.mint_token(
            rls.load_identity(policies),
            subject="eve",
            roles=["maker"],
            attributes={"tenant": "acme", "regions": ["acme"]},
        )
        self._engines = [
            rls.Engine.open(
                cluster.url(name, user=READER),
                policies=policies,
                audit=lambda _: None,
                isolation="thread",
                name="shop",
            )
            for name in ("without", "with_hidden")
        ]

    def ask(self, sql: str) -> tuple[str, str]:
        """What the caller sees in each, as a text."""
        without, with_hidden = (self._one(engine, sql) for engine in self._engines)
        return without, with_hidden

    def guard(self, sql: str) -> str:
        """The guarded text."""
        return self._engines[1].guard(self._token, sql).sql

    def _one(self, engine: rls.Engine, sql: str) -> str:
        try:
            return repr(sorted(map(repr, engine.query(self._token, sql).rows)))
        except rls.RlsError as error:
            return f"{error.code} {error.message}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for engine in self._engines:
            engine.close()


def draw(seed: str) -> str:
    """A query of `hidden` or `listed`, whose hidden rows make parts of it raise."""
    return _Draw(random.Random(seed)).query()


class _Draw:
    def __init__(self, dice: random.Random) -> None:
        self._dice, self._count = dice, 0

    def _of(self, *choices: str) -> str:
        return self._dice.choice(choices)

    def _name(self) -> str:
        self._count += 1
        return f"{self._of('q', 'v', 'c', 't')}{self._count}" if self._count > 1 else self._of("q", "v", "t")

    def query(self) -> str:
        a = self._name()
        table = self._of("hidden", "hidden", "hidden", "listed")
        where = f" WHERE {' AND '.join(self._conditions([a], 2))}" if self._dice.random() < 0.9 else ""
        source, names = self._from(f"{table} {a}", a)
        shape = self._dice.randrange(7)
        if shape == 0:
            return f"SELECT count(*) FROM (SELECT {self._risky(a)} AS k, {self._aggregate(a)} AS n FROM {source}{where} GROUP BY {a}.id) o WHERE k > -5"
        if shape == 1:
            return f"SELECT {self._aggregate(self._dice.choice(names))} AS n FROM {source}{where}"
        if shape == 2:
            return f"SELECT {a}.id FROM {source}{where} QUALIFY {self._of('sum', 'max', 'count')}({self._risky(a)}) OVER (PARTITION BY {a}.tenant) > 0"
        if shape == 3:
            return f"SELECT count(*) FROM (SELECT {a}.id FROM {source}{where} {self._of('UNION ALL', 'EXCEPT', 'INTERSECT', 'UNION')} SELECT {self._aggregate('p')} FROM pub p) o WHERE id < 1000"
        if shape == 4:
            return f"SELECT DISTINCT {self._risky(a)} AS k FROM {source}{where} ORDER BY k LIMIT 5"
        if shape == 5:
            return f"WITH w AS (SELECT {self._aggregate(a)} AS n, min({a}.id) AS m FROM {source}{where}) SELECT count(*) FROM w JOIN hidden h ON h.id = w.m WHERE h.id = 7"
        return f"SELECT count(*) FROM {source}{where}"

    def _from(self, source: str, a: str) -> tuple[str, Sequence[str]]:
        b = self._name()
        match self._dice.randrange(6):
            case 0:
                return (
                    f"{source} JOIN pub {b} ON {self._of(f'{a}.id = {b}.id', f'{a}.note = {b}.note', f'{self._risky(a)} = {b}.id')}",
                    [a, b],
                )
            case 1:
                return f"{source} LEFT JOIN hidden {b} ON {a}.id = {b}.id AND {self._risky(b)} > 0", [a, b]
            case 2:
                grouped = (
                    f"(SELECT {self._of('id', 'min(id)')} AS id, {self._aggregate('p')} AS n FROM pub p GROUP BY p.id)"
                )
                return f"{source} {self._of('JOIN', 'LEFT JOIN')} {grouped} {b} ON {a}.id = {b}.id", [a]
            case 3:
                return (
                    f"{source}, LATERAL (SELECT {self._aggregate('p')} AS id FROM pub p WHERE p.id {self._of('=', '<=')} {a}.id) {b}",
                    [a],
                )
        return source, [a]

    def _conditions(self, names: list[str], depth: int) -> list[str]:
        found = []
        for _ in range(self._dice.randint(1, 2)):
            a = self._dice.choice(names)
            found.append(
                self._dice.choice(
                    [
                        f"{a}.id = 7",
                        f"{a}.id = 7",
                        f"{self._risky(a)} > 0",
                        f"({self._inner(names, depth)}) {self._of('>', '<', '=')} {a}.id",
                        f"{a}.id {self._of('IN', 'NOT IN')} ({self._inner(names, depth)})",
                        f"EXISTS ({self._inner(names, depth)})",
                        f"{a}.note LIKE '{self._of('%a%', '%a' * 400)}'",
                        f"{self._of('lower', 'upper', 'trim')}({a}.note) = 'x'",
                        f"CASE WHEN {a}.id = 7 THEN {self._risky(a)} ELSE 1 END > 0",
                    ]
                )
            )
        return found

    def _inner(self, names: list[str], depth: int) -> str:
        b = self._name()
        where = f" WHERE {' AND '.join(self._conditions([*names, b], depth - 1))}" if depth > 0 else ""
        shown = self._of(self._aggregate(b), self._aggregate(b), f"max({b}.id) * {self._dice.choice(names)}.id")
        source = self._of(
            "pub",
            "pub",
            "hidden",
            "(VALUES (7, 1e308, 'a', DATE '2024-01-01', 7), (8, 1e308, 'b', DATE '2024-01-01', 8))",
        )
        columns = "(id, d, note, far, big)" if source.startswith("(") else ""
        grouped = self._of("", "", f" GROUP BY {b}.id", f" HAVING sum({b}.d) > 0")
        return f"SELECT {shown} FROM {source} {b}{columns}{where}{grouped}"

    def _aggregate(self, a: str) -> str:
        return self._of(
            f"max({self._risky(a)})", f"count({self._risky(a)})", f"sum({a}.d)", f"max({a}.id) + {self._of('1', '2000000000')}",
            f"sum({self._risky(a)})", f"stddev_pop({a}.d)", f"max({a}.id) FILTER (WHERE {self._risky(a)} > 0)",
            f"sum({a}.d) / sum({a}.id)", f"avg({a}.d)", f"min({a}.id)",
        )  # fmt: skip

    def _risky(self, a: str) -> str:
        return self._of(
            f"CAST({a}.id AS SMALLINT)", f"({a}.id * 2)", f"(-{a}.id + {a}.id * 3)", f"({a}.big + 1)", f"CAST({a}.d AS INTEGER)",
            f"year(CAST({a}.far AS TIMESTAMP))", f"({a}.id // ({a}.id - 7))", f"({a}.d * 10)", f"length(upper({a}.note))",
            f"date_diff('day', {a}.far, DATE '2024-01-01')",
        )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """`python -m tests.engines.postgres.pairs [--seed S] [--minutes M]`: drawn queries, on a server of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", default=f"{datetime.now(UTC):%Y-%m-%d}")
    parser.add_argument("--minutes", type=float, default=3.0)
    options = parser.parse_args(arguments)
    try:
        cluster = start()
    except pytest.skip.Exception as reason:
        print(reason)
        return 0
    until, counts, leaks = time.monotonic() + options.minutes * 60, Counter[str](), 0
    try:
        with tempfile.TemporaryDirectory() as directory, Pair(cluster, Path(directory)) as pair:
            while time.monotonic() < until:
                sql = draw(f"{options.seed}/{counts.total()}")
                without, with_hidden = pair.ask(sql)
                counts["rows" if without.startswith("[") else without.partition(" ")[0]] += 1
                if without != with_hidden:
                    leaks += 1
                    print(f"leak: {sql}\n  {without[:200]}\n  {with_hidden[:200]}", flush=True)
    finally:
        cluster.stop()
    for kind, count in counts.most_common():
        print(f"{count:>6}  {kind}")
    print(f"seed {options.seed}: {counts.total()} queries, {leaks} leaks")
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
