"""Noninterference over queries that nobody drew: the attack corpus, the goldens, the query corpora.

It takes names of corpora (none: all that are there) and asks every query of two databases that differ in hidden rows
only. What the answers should be is not asked here: the corpora's own runners do that.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import duckdb

from tests import corpora
from tests.fuzz.pair import Pair, Setting, make_pair
from tests.fuzz.run import signature
from tests.fuzz.schema import BIG_ROWS
from tests.fuzz.shrink import shrink
from tests.fuzz.verdict import Verdict, judge
from tests.judging import attack_runner, policygen
from tests.judging.driver import sign
from tests.judging.oracle import Rule, build, open_quietly, quoted, tables_of
from tests.judging.replay import CATALOG, Query, replay

__all__ = ["ATTACK_RULES", "Unit", "ask_unit", "golden_units", "run_corpora"]

GOLDEN = Path(__file__).parents[1] / "golden"
_GROWN = 0.15  # of the databases
_LARGE_ENOUGH = 2_000  # rows
_MOST_CRASHES = 5

# What the attack corpus' policies say (see its `policies.md`); relations that are not here are hidden altogether.
_OWN: Final = Rule("tenant_id = 'acme' AND region = 'EMEA'")
ATTACK_RULES: Final[dict[tuple[str, ...], Rule]] = {
    ("main", "tenants"): Rule("id = 'acme'"),
    ("main", "customers"): _OWN,
    ("main", "orders"): _OWN,
    ("main", "order_items"): _OWN,
    ("main", "events"): _OWN,
    ("main", "employees"): Rule("tenant_id = 'acme'", denied=frozenset(["salary"])),
    ("main", "products"): Rule(),
}


@dataclass(frozen=True)
class Unit:
    """A piece of work for one process: one database, one principal, some queries.

    `grown`: its largest table gets some 300,000 rows. `without`: ids of queries that have ended a process.
    """

    corpus: str
    name: str
    payload: Any
    seed: str
    grown: bool = False
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """One query's verdict; `small` shows the same fault."""

    corpus: str
    id: str
    sql: str
    verdict: Verdict
    small: str = ""

    def to_dict(self) -> dict[str, str]:
        """For JSON lines."""
        found = {"corpus": self.corpus, "id": self.id, "kind": self.verdict.kind, "detail": self.verdict.detail}
        return {**found, "sql": self.sql, "small": self.small}


def run_corpora(
    names: list[str], *, seconds: float, seed: str, out: Path | None, limit: int | None = None, jobs: int = 1
) -> int:
    """Ask the corpora until the time is up; 1 if there was a fault, 2 if nothing was there to ask.

    limit  at most so many queries of each query corpus, drawn by `seed`
    jobs   so many units at a time
    """
    root = corpora.shared()
    work = [
        unit
        for name in names or ["golden", "attacks", *corpora.DATABASES, *corpora.SLT]
        for unit in _units(name, root, seed, limit)
    ]
    if not work:
        print("nothing to ask: set RLS_SHARED to the folder that holds `corpus` and `attacks`", file=sys.stderr)
        return 2
    deadline, counts, faults = time.monotonic() + seconds, Counter[str](), Counter[str]()
    with ThreadPoolExecutor(jobs) as threads:
        # Each thread waits for a process of its own.
        for judged in threads.map(lambda unit: _in_process(unit, deadline), work):
            for asked in judged:
                counts[f"{asked.corpus}: {asked.verdict.kind}"] += 1
                if asked.verdict.fault:
                    _tell(asked, faults, out)
    for kind, count in sorted(counts.items()):
        print(f"{count:>6}  {kind}")
    print(f"seed {seed}: {counts.total() - faults.total()} passed, {faults.total()} failed")
    return 1 if faults else 0


def _tell(asked: Asked, faults: Counter[str], out: Path | None) -> None:
    kind = signature(asked.verdict.kind, asked.verdict.detail)
    faults[kind] += 1
    if out:
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asked.to_dict(), default=str) + "\n")
    if faults[kind] <= 3:
        text = asked.small or asked.sql[:500]
        print(f"{asked.verdict.kind}: {asked.id}\n  {text}\n  {asked.verdict.detail[:600]}", flush=True)


def _units(name: str, root: Path | None, seed: str, limit: int | None) -> list[Unit]:
    if name == "golden":
        return golden_units(seed) if GOLDEN.is_dir() else []
    if root is None:
        return []
    if name == "attacks":
        return [Unit(name, name, root / "attacks", seed)]
    source = random.Random(seed)
    found = corpora.units(root, name, limit=limit, seed=source.getrandbits(30), rounds=1, kinds=("mixed",))
    source.shuffle(found)
    return [Unit(name, unit.name, unit.payload, seed, grown=source.random() < _GROWN) for unit in found]


def golden_units(seed: str) -> list[Unit]:
    """A unit per persona, and one over a large table."""
    personas = json.loads((GOLDEN / "personas.json").read_text(encoding="utf-8"))
    small = [Unit("golden", name, persona, seed) for name, persona in personas.items()]
    return [*small, replace(small[0], grown=True)]


def _in_process(unit: Unit, deadline: float) -> list[Asked]:
    """A unit's verdicts, from a process of its own: one that dies is a finding, and the rest is asked again."""
    ended: list[Asked] = []
    with tempfile.TemporaryDirectory(prefix="rls-fuzz-") as name:
        place = Path(name) / "asking"
        while time.monotonic() < deadline and len(ended) < _MOST_CRASHES:
            place.write_text('["", ""]', encoding="utf-8")
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                try:
                    return [*ended, *pool.submit(ask_unit, unit, place, deadline - time.monotonic()).result()]
                except BrokenProcessPool:
                    id_, sql = json.loads(place.read_text(encoding="utf-8"))
            ended.append(Asked(unit.corpus, id_ or unit.name, sql, Verdict("crash", "the process ended")))
            unit = replace(unit, without=(*unit.without, id_))
    return ended


def ask_unit(unit: Unit, place: Path, seconds: float) -> list[Asked]:
    """Everything of one unit, or what `seconds` allow; `place` says at any time which query is being asked."""
    deadline, found = time.monotonic() + seconds, []
    with tempfile.TemporaryDirectory(prefix="rls-fuzz-", ignore_cleanup_errors=True) as name:
        directory, before = Path(name), Path.cwd()
        os.chdir(directory)
        try:
            for pair, query in questions(unit, directory):
                if time.monotonic() > deadline:
                    break
                if query.id in unit.without:
                    continue
                place.write_text(json.dumps([query.id, query.sql]), encoding="utf-8")
                found.append(_ask(unit.corpus, pair, query))
        finally:
            os.chdir(before)
    return found


def questions(unit: Unit, directory: Path) -> Iterator[tuple[Pair | None, Query]]:
    """A unit's queries, each with the pair to ask; None where there is none."""
    match unit.corpus:
        case "golden":
            yield from _golden(unit, directory)
        case "attacks":
            yield from _attacks(unit, directory)
        case name if name in corpora.DATABASES:
            database, queries = unit.payload
            yield from _generated(unit, database, queries, directory)
        case _:
            for number, stage in enumerate(replay(unit.name, unit.payload["steps"], directory=directory)):
                yield from _generated(unit, stage.database, stage.queries, directory / f"stage{number}")


def _golden(unit: Unit, directory: Path) -> Iterator[tuple[Pair | None, Query]]:
    base = directory / "warehouse.duckdb"
    build(base, [(GOLDEN / "schema.sql").read_text(encoding="utf-8")])
    if unit.grown:
        _grow(base, corpus=unit.corpus)
    policies = Path(shutil.copytree(GOLDEN / "policies", directory / "policies"))
    now = int(time.time())
    claims = {"iss": "https://golden.test", "aud": "rls-golden", "iat": now, "exp": now + 3000}
    token = sign(claims | unit.payload["claims"], (policies / "secret.txt").read_text(encoding="utf-8"))
    rules = {
        tuple(path.split(".")): Rule(r.get("predicate", "true"), frozenset(r.get("denied", [])), r.get("masks", {}))
        for path, r in unit.payload["rules"].items()
    }
    # Policies of customers read the mapping table; `fixed` are columns that masks and filters read.
    setting = Setting(policies, token, "warehouse", rules, support=[("main", "account_managers")])
    pair = make_pair(base, setting, directory=directory, seed=unit.seed + unit.name)
    records = [
        json.loads(line)
        for name in ("legal", "refused")
        for line in (GOLDEN / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    queries = [Query(f"{unit.name}: {record['id']}", record["sql"]) for record in records if "sql" in record]
    yield from _with(pair, queries)


def _attacks(unit: Unit, directory: Path) -> Iterator[tuple[Pair | None, Query]]:
    site = attack_runner.prepare(unit.payload, directory)
    setting = Setting(site.policies, site.token, CATALOG, ATTACK_RULES)
    pair = make_pair(site.database, setting, directory=directory, seed=unit.seed, reduced=site.oracle)
    attacks = attack_runner.load(unit.payload)
    # What only asks for time or memory says nothing of rows, and would take an hour.
    yield from _with(pair, [Query(a.id, a.sql) for a in attacks if a.category != "resource"])


def _generated(
    unit: Unit, database: Path, queries: list[Query], directory: Path
) -> Iterator[tuple[Pair | None, Query]]:
    """Queries under generated policies of a drawn kind."""
    source = random.Random(f"{unit.seed}{unit.name}{directory.name}")
    directory.mkdir(exist_ok=True)
    base = Path(shutil.copyfile(database, directory / database.name))
    if unit.grown:
        _grow(base, corpus=unit.corpus)
    policygen.add_entitlements(base)
    with open_quietly(base) as connection:
        made = policygen.generate(
            connection, source.choice(["mixed", "modulo", "either", "mapping", "listed"]), source=source
        )
    token = sign(policygen.claims(made, now=int(time.time())), policygen.SECRET)
    policies = policygen.write(made, directory / "policies")
    setting = Setting(policies, token, base.stem, made.rules, frozen=[policygen.ENTITLEMENTS])
    pair = make_pair(base, setting, directory=directory, seed=f"{unit.seed}{unit.name}")
    yield from _with(pair, queries)


def _with(pair: Pair | None, queries: list[Query]) -> Iterator[tuple[Pair | None, Query]]:
    try:
        yield from ((pair, query) for query in queries)
    finally:
        if pair is not None:
            pair.close()


def _ask(corpus: str, pair: Pair | None, query: Query) -> Asked:
    """One query's verdict, and a smaller query where it is a fault."""
    if pair is None:
        return Asked(corpus, query.id, query.sql, Verdict("no pair"))
    verdict = judge(pair, query.sql, oracle=False)
    small = shrink(query.sql, lambda sql: _same_fault(judge(pair, sql, oracle=False), verdict)) if verdict.fault else ""
    return Asked(corpus, query.id, query.sql, verdict, small)


def _same_fault(found: Verdict, wanted: Verdict) -> bool:
    return found.fault and signature(found.kind, found.detail) == signature(wanted.kind, wanted.detail)


def _grow(database: Path, *, corpus: str) -> None:
    """Copy the rows of the largest table until there are some 300,000: from there on DuckDB filters in other ways."""
    with open_quietly(database) as connection:
        counts = {}
        for path in tables_of(connection):
            row = connection.execute(f"SELECT count(*) FROM {quoted(*path)}").fetchone()
            counts[path] = row[0] if row else 0
        if not counts:
            return
        path, count = max(counts.items(), key=lambda item: item[1])
        if corpus in corpora.SLT and count < _LARGE_ENOUGH:
            # A copy of three rows, a hundred thousand times, makes joins that end nowhere.
            return
        with contextlib.suppress(duckdb.ConstraintException):
            name = quoted(*path)
            connection.execute(f"INSERT INTO {name} SELECT t.* FROM {name} AS t, range({BIG_ROWS // max(1, count)})")
