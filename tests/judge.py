"""Judges one query: the engine's outcome against the oracle's, in one word.

It takes a database, its generated policies and queries, and returns an `Outcome` per query. The words are in the
order of `STATUSES`; those in `FAULTS` are faults of the product.
"""

from __future__ import annotations

import random
import shutil
import time
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import duckdb

from tests import policygen
from tests.compare import differs
from tests.driver import Driver, Refusal, sign
from tests.oracle import Answer, answer, is_ordered, reduce_database
from tests.replay import Query
from tests.withheld import withheld

__all__ = ["FAULTS", "STATUSES", "Outcome", "judge_all"]

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


class _Bench:
    """A database under one kind of policy, with the oracle's copies beside it."""

    def __init__(self, database: Path, *, kind: str, source: random.Random, directory: Path) -> None:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        self.directory = directory
        self.database = Path(shutil.copyfile(database, directory / database.name))
        if kind in ("mapping", "mixed"):
            policygen.add_entitlements(self.database)
        with duckdb.connect(str(self.database)) as connection:
            self.made = policygen.generate(connection, kind, source=source)
        self.policies = policygen.write(self.made, directory / "policies")
        self.oracle = self._reduced("reduced", backwards=False)

    @cached_property
    def backwards(self) -> duckdb.DuckDBPyConnection:
        """The oracle with every table stored in reverse."""
        return self._reduced("backwards", backwards=True)

    def _reduced(self, name: str, *, backwards: bool) -> duckdb.DuckDBPyConnection:
        target = self.directory / name / self.database.name
        target.parent.mkdir()
        reduce_database(self.database, self.made.rules, target=target, backwards=backwards)
        return duckdb.connect(str(target), config={"threads": 2, "memory_limit": "3GB"}, read_only=True)

    def driver(self) -> Driver:
        """The engine, with a token of the caller."""
        token = sign(policygen.claims(self.made, now=int(time.time())), policygen.SECRET)
        return Driver(self.database, self.policies, token=token, name=self.database.stem)

    def close(self) -> None:
        """Close the oracle's copies."""
        self.oracle.close()
        if "backwards" in self.__dict__:
            self.backwards.close()


def judge_all(
    corpus: str, database: Path, queries: list[Query], *, kind: str, seed: str, directory: Path
) -> list[Outcome]:
    """Run every query on the engine and on the oracle under policies of `kind`."""
    bench = _Bench(database, kind=kind, source=random.Random(seed), directory=directory)
    try:
        with bench.driver() as driver:
            judged = []
            for query in queries:
                status, code, detail = _judge(bench, driver, query.sql)
                judged.append(Outcome(corpus, query.id, kind, status, query.sql, code, detail))
            return judged
    finally:
        bench.close()


def _judge(bench: _Bench, driver: Driver, sql: str) -> tuple[str, str, str]:
    reason = withheld(bench.oracle, sql)
    expected, again = answer(bench.oracle, sql), answer(bench.oracle, sql)
    if (expected.error or "").startswith(("InterruptException", "OutOfMemory")):
        return "skipped", "", "the oracle needs too long"
    actual = driver.ask(sql)
    if isinstance(actual, Refusal):
        if reason is not None:
            return "withheld", actual.code, reason
        if expected.error:
            return "both fail", actual.code, ""
        # DuckDB could not bind the guarded text although it binds the caller's: no decision, an error.
        return ("spurious error" if actual.code == _UNBOUND else "refused"), actual.code, actual.text[:400]
    if actual.error and not expected.error:
        return ("crash" if actual.error.startswith(_CRASHES) else "spurious error"), "", actual.error[:400]
    ordered = is_ordered(bench.oracle, sql)
    if differs(expected, again, ordered=ordered) is not None:
        return "undefined", "", "two runs of the oracle differ"
    return _compare(bench, sql, expected, actual, ordered)


def _compare(bench: _Bench, sql: str, expected: Answer, actual: Answer, ordered: bool) -> tuple[str, str, str]:
    difference = differs(expected, actual, ordered=ordered)
    match difference.kind if difference else None:
        case None:
            return ("both fail" if expected.error else "ok"), "", (actual.error or "")[:200]
        case "error":
            return "answered an error", "", difference.detail[:400]
        case "rows" | "order" as kind:
            # SQL leaves the answer open if it changes with the order in which the same rows are stored.
            turned = answer(bench.backwards, sql)
            open_ = differs(expected, turned, ordered=ordered)
            if open_ is not None and not (kind == "rows" and open_.kind == "order"):
                return "undefined", "", f"depends on the stored order: {difference.detail[:300]}"
            return f"wrong {kind}", "", difference.detail
        case kind:
            return f"wrong {kind}", "", difference.detail
