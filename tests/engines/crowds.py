"""Databases that differ in how many hidden rows there are, and joins whose expressions raise on *visible* rows.

    python -m tests.engines.crowds [duckdb|postgres] [--seed S] [--minutes M]

What a query answers must not depend on hidden rows. Whether, and with which error, it ends before may: an engine chooses
its plan by the sizes of whole tables, and a plan decides which visible rows meet an expression before a join discards
them. README says so under "What is not promised"; this counts how often, and exits with 1 where two answers differ.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import duckdb
import pytest

import rls
from tests.engine.kit import write_policies
from tests.engines.postgres.kit import READER, start

__all__ = ["Crowds", "draw", "main"]

Verdict = Literal["same rows", "same error", "another error", "rows or an error", "other rows", "refused"]

_VISIBLE: Final = """
CREATE TABLE rights (tenant text);
INSERT INTO rights VALUES ('acme');
CREATE TABLE orders (id integer, tenant text, note text, grp integer, big bigint, d double precision);
INSERT INTO orders SELECT i, 'acme', i::text, i % 5, i, i FROM generate_series(1, 40) AS t(i);
INSERT INTO orders VALUES (100000, 'acme', 'x', 3, 9000000000000000000, 1e308), (50000, 'acme', NULL, 4, 5, 2);
CREATE TABLE lines AS SELECT * FROM orders WHERE id % 3 = 0 OR id > 1000;
CREATE TABLE pub AS SELECT * FROM orders WHERE id <= 30 OR id = 100000
"""
# They raise nowhere themselves: there is nothing to be found but their number.
_HIDDEN: Final = {
    "none": "",
    "many": "INSERT INTO orders SELECT i, 'globex', i::text, i % 997, i, i FROM generate_series(1, 20000) AS t(i)",
    "others": "INSERT INTO lines SELECT i % 30, 'globex', i::text, i % 5, i, i FROM generate_series(1, 20000) AS t(i);\n"
    "INSERT INTO orders SELECT i % 3, 'globex', 'a', 1, i, i FROM generate_series(1, 3000) AS t(i)",
}
_POLICIES: Final = """
relation: orders
policies:
  - {name: own, using: tenant = user.tenant}
---
relation: lines
policies:
  - {name: rights, using: tenant IN (SELECT tenant FROM rights)}
---
{relation: rights, public: true}
---
{relation: pub, public: true}
"""
_PLACES: Final = ("orders", "lines", "orders", "pub")


class Crowds:
    """The databases, each behind an engine of its own."""

    def __init__(self, engine: str) -> None:
        self._stack = ExitStack()
        with ExitStack() as undo:
            folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="rls-crowds-")))
            place = _on_postgres(undo) if engine == "postgres" else _in_files(folder)
            policies = write_policies(folder / "policies", _POLICIES)
            self._token = rls.mint_token(
                rls.load_identity(policies), subject="eve", roles=["maker"], attributes={"tenant": "acme"}
            )
            self._engines = [
                undo.enter_context(
                    rls.Engine.open(
                        place(name, f"{_VISIBLE};\n{hidden}"),
                        policies=policies,
                        audit=lambda _: None,
                        isolation="thread",
                        name="shop",
                    )
                )
                for name, hidden in _HIDDEN.items()
            ]
            self._stack = undo.pop_all()

    def ask(self, sql: str) -> tuple[Verdict, list[str]]:
        """What the caller is told by each, and what that comes to."""
        told = [self._one(engine, sql) for engine in self._engines]
        failed = [one for one in told if one.startswith("run.")]
        if any(one.startswith("query.") for one in told):
            return "refused", told
        if len({one for one in told if one not in failed}) > 1:
            return "other rows", told
        if failed and len(failed) < len(told):
            return "rows or an error", told
        if len(set(told)) > 1:
            return "another error", told
        return ("same error" if failed else "same rows"), told

    def _one(self, engine: rls.Engine, sql: str) -> str:
        try:
            return repr(engine.query(self._token, sql).rows)
        except rls.RlsError as error:
            return error.code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def _in_files(folder: Path) -> Callable[[str, str], str]:
    def make(name: str, statements: str) -> str:
        file = folder / f"{name}.duckdb"
        with duckdb.connect(str(file)) as connection:
            connection.execute(statements)
        return str(file)

    return make


def _on_postgres(undo: ExitStack) -> Callable[[str, str], str]:
    import psycopg

    cluster = start()
    undo.callback(cluster.stop)
    with psycopg.connect(cluster.url(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {READER} LOGIN")

    def make(name: str, statements: str) -> str:
        with psycopg.connect(cluster.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        with psycopg.connect(cluster.url(name), autocommit=True) as connection:
            for statement in filter(None, statements.split(";\n")):
                connection.execute(statement)
            connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}")
            connection.execute("ANALYZE")
        return cluster.url(name, user=READER)

    return make


def draw(seed: str) -> str:
    """A join of two or three tables with themselves and each other."""
    return _Draw(random.Random(seed)).query()


class _Draw:
    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._of = dice.choice

    def query(self) -> str:
        names = ["a", "b", "c"][: self._dice.randint(2, 3)]
        source = f"{self._of(_PLACES)} a"
        for at, name in enumerate(names[1:], 1):
            before = self._of(names[:at])
            on = self._of(
                [f"{before}.{c} = {name}.{c}" for c in ("id", "grp", "note")] + [f"{self._risky(before)} = {name}.id"]
            )
            if self._dice.random() < 0.3:
                on += f" AND {self._risky(name)} > {self._dice.randint(0, 30)}"
            source += f" {self._of(('JOIN', 'JOIN', 'LEFT JOIN'))} {self._of(_PLACES)} {name} ON {on}"
        conditions = " AND ".join(self._condition(self._of(names)) for _ in range(self._dice.randint(1, 3)))
        what = self._of(["count(*)", f"sum({self._risky(self._of(names))})", f"max({self._of(names)}.id)"])
        return f"SELECT {what} AS n FROM {source} WHERE {conditions}"

    def _condition(self, name: str) -> str:
        match self._dice.randrange(20):
            case 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8:
                return f"{self._risky(name)} > {self._dice.randint(-5, 30)}"
            case 9 | 10 | 11 | 12 | 13 | 14 | 15:
                return self._calm(name)
        shown = self._of(["z.id", self._risky("z")])
        return f"{name}.id IN (SELECT {shown} FROM {self._of(_PLACES)} z WHERE {self._calm('z')})"

    def _calm(self, a: str) -> str:
        number = self._dice.randint(0, 9)
        return self._of(
            [f"{a}.grp = {number % 6}", f"{a}.id < {number * 7}", f"{a}.note LIKE '%{number}%'", f"{a}.id <> 7"]
        )

    def _risky(self, a: str) -> str:
        return self._of(
            [f"CAST({a}.id AS SMALLINT)", f"({a}.id // ({a}.id - 7))", f"CAST({a}.d AS INTEGER)", f"({a}.big * 2)",
             f"({a}.id * {a}.id)"]
        )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engine", nargs="?", choices=["duckdb", "postgres"], default="postgres")
    parser.add_argument("--seed", default=f"{datetime.now(UTC):%Y-%m-%d}")
    parser.add_argument("--minutes", type=float, default=1.0)
    options = parser.parse_args(arguments)
    counts = Counter[str]()
    try:
        with Crowds(options.engine) as crowds:
            until = time.monotonic() + options.minutes * 60
            while time.monotonic() < until:
                sql = draw(f"{options.seed}/{counts.total()}")
                verdict, told = crowds.ask(sql)
                counts[verdict] += 1
                if verdict == "other rows":
                    print(f"{sql}\n  " + "\n  ".join(one[:200] for one in told), flush=True)
    except pytest.skip.Exception as reason:
        print(reason)
        return 0
    asked = counts.total() - counts["refused"]
    for kind, count in counts.most_common():
        print(f"{count:>6}  {kind}" + (f"  {count / asked:.1%}" if kind != "refused" else ""))
    print(f"seed {options.seed}: {asked} queries on {options.engine}")
    return 1 if counts["other rows"] else 0


if __name__ == "__main__":
    sys.exit(main())
