"""Judges one query: the engine's outcome against the oracle's, in one word.

It takes a database, its generated policies and queries, and returns an `Outcome` per query. The words are in the
order of `STATUSES`; those in `FAULTS` are faults of the product.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import duckdb

from tests.judging import policygen
from tests.judging.compare import differs, is_subset
from tests.judging.driver import Driver, Isolation, Refusal, sign
from tests.judging.oracle import Answer, answer, ordering, reduce_database, without_limit
from tests.judging.replay import Query
from tests.judging.withheld import withheld

__all__ = ["FAULTS", "STATUSES", "NotHeld", "Outcome", "Server", "compare", "judge_all"]

FAULTS = ("wrong rows", "wrong order", "wrong names", "wrong types", "spurious error", "answered an error", "crash")
STATUSES = ("ok", "both fail", *FAULTS, "refused", "withheld", "undefined", "skipped")

_UNBOUND = "query.invalid"
_CRASHES = ("escaped", "run.fault", "run.internal")


@dataclass(frozen=True)
class Outcome:
    """How one query fared under one kind of policy; `code` for refusals, `detail` for people."""

    corpus: str
    id: str
    kind: str
    status: str
    sql: str
    code: str = ""
    detail: str = ""

    def to_dict(self) -> dict[str, str]:
        """For `--json`."""
        return asdict(self)


class NotHeld(Exception):
    """A database has values that another engine has no place for."""


class Server(Protocol):
    """Another engine than DuckDB: where a database is copied to, to be asked there."""

    def strip(self, database: Path) -> None:
        """Drop from a DuckDB file what the engine has no type for."""
        ...

    def load(self, database: Path) -> str:
        """Copy a DuckDB file there, in place of the one before; what `Engine.open` takes. Raises `NotHeld`."""
        ...


class _Bench:
    """A database under one kind of policy, with the oracle's copies beside it."""

    def __init__(
        self, database: Path, *, kind: str, source: random.Random, directory: Path, server: Server | None
    ) -> None:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        self.directory = directory
        self.database = Path(shutil.copyfile(database, directory / database.name))
        if kind in ("mapping", "mixed"):
            policygen.add_entitlements(self.database)
        self.server = server
        if server is not None:
            server.strip(self.database)
        with duckdb.connect(str(self.database)) as connection:
            self.made = policygen.generate(connection, kind, source=source)
        self.policies = policygen.write(self.made, directory / "policies")
        self._copies: dict[str, duckdb.DuckDBPyConnection] = {}

    def oracle(self, order: str = "kept") -> duckdb.DuckDBPyConnection:
        """The reduced copy, its rows stored in this order."""
        if order not in self._copies:
            target = self.directory / order / self.database.name
            target.parent.mkdir()
            reduce_database(self.database, self.made.rules, target=target, order=order)
            config = {"threads": 2, "memory_limit": "3GB"}
            self._copies[order] = duckdb.connect(str(target), config=config, read_only=True)
        return self._copies[order]

    def driver(self, isolation: Isolation) -> Driver:
        """The engine, with a token of the caller."""
        token = sign(policygen.claims(self.made, now=int(time.time())), policygen.SECRET)
        asked = self.database if self.server is None else self.server.load(self.database)
        return Driver(
            asked,
            self.policies,
            token=token,
            name=self.database.stem,
            isolation=isolation,
            audit=self.directory / "audit.jsonl",
        )

    def close(self) -> None:
        """Close the oracle's copies."""
        for copy in self._copies.values():
            copy.close()


def judge_all(
    corpus: str,
    database: Path,
    queries: list[Query],
    *,
    kind: str,
    seed: str,
    directory: Path,
    isolation: Isolation = "thread",
    server: Server | None = None,
) -> list[Outcome]:
    """Run every query on the engine (DuckDB, or another one's `server`) and on the oracle, under policies of `kind`."""
    bench = _Bench(database, kind=kind, source=random.Random(seed), directory=directory, server=server)
    try:
        with bench.driver(isolation) as driver:
            judged = []
            for query in queries:
                status, code, detail = _judge(bench, driver, query.sql)
                judged.append(Outcome(corpus, query.id, kind, status, query.sql, code, detail))
            return judged
    except NotHeld as error:
        return [Outcome(corpus, query.id, kind, "skipped", query.sql, detail=str(error)) for query in queries]
    finally:
        bench.close()


def _judge(bench: _Bench, driver: Driver, sql: str) -> tuple[str, str, str]:
    oracle = bench.oracle()
    reason = withheld(oracle, sql)
    expected, again = answer(oracle, sql), answer(oracle, sql)
    if (expected.error or "").startswith(("InterruptException", "OutOfMemory")):
        return "skipped", "", "the oracle needs too long"
    return compare(
        expected, again, driver.ask(sql), oracle, sql, reason=reason, others=lambda: _stored_otherwise(bench, sql)
    )


def compare(
    expected: Answer,
    again: Answer,
    actual: Answer | Refusal,
    oracle: duckdb.DuckDBPyConnection,
    sql: str,
    *,
    reason: str | None,
    others: Callable[[], Iterator[Answer]],
) -> tuple[str, str, str]:
    """Status, code and detail of an outcome beside the oracle's two; `reason` is why it may be withheld, `others` are
    the oracle's answers where the same rows are stored in other orders."""
    if isinstance(actual, Refusal):
        if reason is not None:
            return "withheld", actual.code, reason
        if expected.error:
            return "both fail", actual.code, ""
        # DuckDB could not bind the guarded text although it binds the caller's: no decision, an error.
        return ("spurious error" if actual.code == _UNBOUND else "refused"), actual.code, actual.text[:400]
    if actual.error and not expected.error:
        return ("crash" if actual.error.startswith(_CRASHES) else "spurious error"), "", actual.error[:400]
    by = ordering(oracle, sql, expected.names)
    if differs(expected, again, by=by) is not None:
        return "undefined", "", "two runs of the oracle differ"
    difference = differs(expected, actual, by=by)
    match difference.kind if difference else None:
        case None:
            return ("both fail" if expected.error else "ok"), "", (actual.error or "")[:200]
        case "error":
            return "answered an error", "", difference.detail[:400]
        case "rows" | "order" as kind if _depends_on_storage(others(), expected, by=by, kind=kind):
            return "undefined", "", f"depends on the stored order: {difference.detail[:300]}"
        case "rows" if by and _is_cut_among_equals(expected, actual, oracle, sql, by=by):
            return "undefined", "", f"cut off among equals: {difference.detail[:300]}"
        case kind:
            return f"wrong {kind}", "", difference.detail


def _stored_otherwise(bench: _Bench, sql: str) -> Iterator[Answer]:
    return (answer(bench.oracle(order), sql) for order in ("backwards", "shuffled"))


def _depends_on_storage(others: Iterator[Answer], expected: Answer, *, by: list[int] | None, kind: str) -> bool:
    """Whether SQL leaves the answer open: it changes with the order in which the same rows are stored."""
    found = (differs(expected, other, by=by) for other in others)
    return any(one is not None and one.kind in ("rows", kind) for one in found)


def _is_cut_among_equals(
    expected: Answer, actual: Answer, oracle: duckdb.DuckDBPyConnection, sql: str, *, by: list[int]
) -> bool:
    """Whether a LIMIT leaves the answer open: all rows are the query's, and what they are sorted by is the same."""
    whole = without_limit(oracle, sql)
    if whole is None:
        return False
    first, second = ([tuple(row[place] for place in by) for row in one.rows] for one in (expected, actual))
    return first == second and is_subset(actual, answer(oracle, whole))
