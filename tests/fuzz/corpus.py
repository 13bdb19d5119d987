"""Noninterference over queries that nobody drew: the attack corpus, the goldens, the query corpora.

It takes names of corpora (none: all that are there) and asks every query of two databases that differ in hidden rows
only. What the answers should be is not asked here: the corpora's own runners do that.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import duckdb

from tests import attack_runner, corpora, policygen
from tests.driver import sign
from tests.fuzz.pair import Pair, Setting, make_pair
from tests.fuzz.run import signature
from tests.fuzz.shrink import shrink
from tests.fuzz.verdict import Verdict, judge
from tests.oracle import Rule, build
from tests.replay import CATALOG, Query, replay

__all__ = ["ATTACK_RULES", "Unit", "ask_all", "golden_units", "run_corpora"]

GOLDEN = Path(__file__).parents[1] / "golden"

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
    """A piece of work for one process: one database, one principal, some queries."""

    corpus: str
    name: str
    payload: Any
    seed: str


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


def run_corpora(names: list[str], *, seconds: float, seed: str, out: Path | None) -> int:
    """Ask the corpora until the time is up; 1 if there was a fault, 2 if nothing was there to ask."""
    root = corpora.shared()
    work = [
        unit
        for name in names or ["golden", "attacks", *corpora.DATABASES, *corpora.SLT]
        for unit in _units(name, root, seed)
    ]
    if not work:
        print("nothing to ask: set RLS_SHARED to the folder that holds `corpus` and `attacks`", file=sys.stderr)
        return 2
    deadline, counts, faults = time.monotonic() + seconds, Counter[str](), Counter[str]()
    for unit in work:
        if time.monotonic() > deadline:
            break
        for asked in _in_process(unit):
            counts[f"{asked.corpus}: {asked.verdict.kind}"] += 1
            if not asked.verdict.fault:
                continue
            kind = signature(asked.verdict.kind, asked.verdict.detail)
            faults[kind] += 1
            if out:
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asked.to_dict(), default=str) + "\n")
            if faults[kind] <= 3:
                print(
                    f"{asked.verdict.kind}: {asked.id}\n  {asked.small or asked.sql[:500]}\n  {asked.verdict.detail[:600]}",
                    flush=True,
                )
    for kind, count in sorted(counts.items()):
        print(f"{count:>6}  {kind}")
    return 1 if faults else 0


def _units(name: str, root: Path | None, seed: str) -> list[Unit]:
    if name == "golden":
        return golden_units(seed) if GOLDEN.is_dir() else []
    if root is None:
        return []
    if name == "attacks":
        return [Unit(name, name, root / "attacks", seed)]
    found = corpora.units(root, name, limit=None, seed=int(re.sub(r"\D", "", seed) or 0), rounds=1, kinds=("mixed",))
    random.Random(seed).shuffle(found)
    return [Unit(name, unit.name, unit.payload, seed) for unit in found]


def golden_units(seed: str) -> list[Unit]:
    """A unit per persona."""
    personas = json.loads((GOLDEN / "personas.json").read_text(encoding="utf-8"))
    return [Unit("golden", name, persona, seed) for name, persona in personas.items()]


def _in_process(unit: Unit) -> list[Asked]:
    """A unit's verdicts, from a process of its own: one that dies is a finding."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(ask_unit, unit).result()
        except BrokenProcessPool:
            return [Asked(unit.corpus, unit.name, "", Verdict("crash", "the process ended"))]


def ask_unit(unit: Unit) -> list[Asked]:
    """Everything of one unit."""
    with tempfile.TemporaryDirectory(prefix="rls-fuzz-", ignore_cleanup_errors=True) as name:
        directory, before = Path(name), Path.cwd()
        os.chdir(directory)
        try:
            return list(_asked(unit, directory))
        finally:
            os.chdir(before)


def _asked(unit: Unit, directory: Path) -> Iterator[Asked]:
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


def _golden(unit: Unit, directory: Path) -> Iterator[Asked]:
    base = directory / "warehouse.duckdb"
    build(base, [(GOLDEN / "schema.sql").read_text(encoding="utf-8")])
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
    yield from ask_all(unit.corpus, pair, queries)


def _attacks(unit: Unit, directory: Path) -> Iterator[Asked]:
    site = attack_runner.prepare(unit.payload, directory)
    setting = Setting(site.policies, site.token, CATALOG, ATTACK_RULES)
    pair = make_pair(site.database, setting, directory=directory, seed=unit.seed, reduced=site.oracle)
    attacks = attack_runner.load(unit.payload)
    # What only asks for time or memory says nothing of rows, and would take an hour.
    yield from ask_all(unit.corpus, pair, [Query(a.id, a.sql) for a in attacks if a.category != "resource"])


def _generated(unit: Unit, database: Path, queries: list[Query], directory: Path) -> Iterator[Asked]:
    """Queries under generated policies of a drawn kind."""
    source = random.Random(f"{unit.seed}{unit.name}{directory.name}")
    directory.mkdir(exist_ok=True)
    base = Path(shutil.copyfile(database, directory / database.name))
    policygen.add_entitlements(base)
    with duckdb.connect(str(base)) as connection:
        made = policygen.generate(
            connection, source.choice(["mixed", "modulo", "either", "mapping", "listed"]), source=source
        )
    token = sign(policygen.claims(made, now=int(time.time())), policygen.SECRET)
    policies = policygen.write(made, directory / "policies")
    setting = Setting(policies, token, base.stem, made.rules, frozen=[policygen.ENTITLEMENTS])
    pair = make_pair(base, setting, directory=directory, seed=f"{unit.seed}{unit.name}")
    yield from ask_all(unit.corpus, pair, queries)


def ask_all(corpus: str, pair: Pair | None, queries: list[Query]) -> Iterator[Asked]:
    """Verdicts of noninterference for `queries`."""
    if pair is None:
        yield from (Asked(corpus, query.id, query.sql, Verdict("no pair")) for query in queries)
        return
    try:
        for query in queries:
            verdict = judge(pair, query.sql, oracle=False)
            small = shrink(query.sql, _shows(pair, verdict)) if verdict.fault else ""
            yield Asked(corpus, query.id, query.sql, verdict, small)
    finally:
        pair.close()


def _shows(pair: Pair, verdict: Verdict) -> Any:
    return lambda sql: judge(pair, sql, oracle=False).kind == verdict.kind
