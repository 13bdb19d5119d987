"""Runs the query corpora through the engine under generated policies and judges every answer by the oracle.

    python -m tests.corpora [tpch|tpcds|clickbench|duckdb_slt|sqlite_slt|attacks|tokens ...] [--limit N] [--seed S]
                            [--rounds N] [--kind K] [--jobs N] [--json FILE] [--isolation …]

It takes the folder of `RLS_SHARED` (or `../shared`) and exits with 1 on any wrong answer or spurious error, or when 1 %
or more of the legal queries are refused. `attacks` and `tokens` are handed to their own runners.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.judging.driver import Isolation
from tests.judging.judge import FAULTS, STATUSES, Outcome, judge_all
from tests.judging.policygen import KINDS
from tests.judging.replay import Query, replay

__all__ = ["DATABASES", "SLT", "Unit", "run", "shared", "units", "verdict"]

DATABASES = {"tpch": "tpch", "tpcds": "tpcds", "clickbench": "clickbench"}
SLT = {"duckdb_slt": "sql.jsonl", "sqlite_slt": "select_1_4.jsonl"}
REFUSED_BELOW = 0.01
# The queries of one stage share a policy, so that the files of a stage are written once per this many queries.
_CHUNK = 40


@dataclass(frozen=True)
class Unit:
    """A piece of work for one process: a database's queries under one kind, or a test file under drawn kinds."""

    corpus: str
    name: str
    payload: Any
    kinds: tuple[str, ...]
    seed: int
    rounds: int = 1
    isolation: Isolation = "thread"


def shared() -> Path | None:
    """The folder of shared corpora, or None where this checkout stands alone."""
    root = Path(os.environ.get("RLS_SHARED") or Path(__file__).resolve().parents[2] / "shared")
    return root if (root / "corpus").is_dir() else None


def units(root: Path, corpus: str, *, limit: int | None, seed: int, rounds: int, kinds: tuple[str, ...]) -> list[Unit]:
    """Everything to do for one corpus; `limit` bounds the number of queries, drawn by `seed`."""
    folder, source = root / "corpus" / corpus, random.Random(f"{seed}{corpus}")
    if corpus in DATABASES:
        records = [json.loads(line) for line in (folder / "queries.jsonl").open(encoding="utf-8")]
        source.shuffle(records)
        queries = [Query(record["id"], record["sql"]) for record in records[: limit or None]]
        payload = (folder / f"{records[0]['db']}.duckdb", queries)
        return [Unit(corpus, f"{corpus} {kind}", payload, (kind,), seed) for kind in kinds]
    files = [json.loads(line) for line in (folder / SLT[corpus]).open(encoding="utf-8")]
    if limit is not None:
        source.shuffle(files)
        files = list(_up_to(files, limit))
    return [Unit(corpus, file["path"], file, kinds, seed, rounds) for file in files]


def _up_to(files: list[dict[str, Any]], limit: int) -> Iterator[dict[str, Any]]:
    for file in files:
        if limit <= 0:
            return
        # A file of a thousand queries is cut, not left out; its statements stay.
        steps, left = [], limit
        for step in file["steps"]:
            left -= step["kind"] == "query"
            if left >= 0 or step["kind"] != "query":
                steps.append(step)
        limit -= file["nq"]
        yield {**file, "steps": steps}


def run(unit: Unit) -> list[Outcome]:
    """Judge one unit, in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="rls-corpora-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        if unit.corpus in DATABASES:
            database, queries = unit.payload
            seed = f"{unit.seed}{unit.name}"
            return judge_all(
                unit.corpus,
                database,
                queries,
                kind=unit.kinds[0],
                seed=seed,
                directory=directory / "bench",
                isolation=unit.isolation,
            )
        before = Path.cwd()
        os.chdir(directory)
        try:
            return list(_run_file(unit, directory))
        finally:
            os.chdir(before)


def _run_file(unit: Unit, directory: Path) -> Iterator[Outcome]:
    source = random.Random(f"{unit.seed}{unit.name}")
    for number, stage in enumerate(replay(unit.name, unit.payload["steps"], directory=directory)):
        for reason, count in stage.skipped.items():
            yield from [Outcome(unit.corpus, unit.name, "", "skipped", "", detail=reason)] * count
        chunks = [stage.queries[i : i + _CHUNK] for i in range(0, len(stage.queries), _CHUNK)]
        for chunk in chunks * unit.rounds:
            kind = source.choice(unit.kinds)
            seed = f"{unit.seed}{unit.name}{number}{kind}"
            yield from judge_all(
                unit.corpus,
                stage.database,
                chunk,
                kind=kind,
                seed=seed,
                directory=directory / "bench",
                isolation=unit.isolation,
            )


def run_units(work: list[Unit], *, jobs: int) -> Iterator[tuple[Unit, list[Outcome]]]:
    """Run units in `jobs` processes; a process that dies costs its own unit, not the run."""
    suspects: list[Unit] = []
    waiting = list(work)
    while waiting:
        with ProcessPoolExecutor(jobs) as pool:
            futures: dict[Future[list[Outcome]], Unit] = {pool.submit(run, unit): unit for unit in waiting}
            waiting = []
            for future in as_completed(futures):
                unit = futures[future]
                try:
                    yield unit, future.result()
                except BrokenProcessPool:
                    suspects.append(unit)
    # Whoever ran or waited when a process died runs again, alone: only the guilty one dies twice.
    for unit in suspects:
        with ProcessPoolExecutor(1) as pool:
            try:
                yield unit, pool.submit(run, unit).result()
            except BrokenProcessPool:
                yield unit, [Outcome(unit.corpus, unit.name, ",".join(unit.kinds), "crash", "", detail="process died")]


def verdict(outcomes: Iterable[Outcome]) -> tuple[bool, str]:
    """Whether the run passes, and a line saying so."""
    counts = Counter(outcome.status for outcome in outcomes)
    faults = sum(counts[status] for status in FAULTS)
    legal = faults + counts["ok"] + counts["refused"]
    share = counts["refused"] / legal if legal else 0.0
    passed = faults == 0 and share < REFUSED_BELOW
    return passed, f"{counts['ok']} passed, {faults} failed, {counts['refused']} refused ({share:.2%} of the legal)"


def _report(outcomes: list[Outcome], *, examples: int) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    by_corpus = {name: Counter(o.status for o in outcomes if o.corpus == name) for name in {o.corpus for o in outcomes}}
    table = Table("outcome", *sorted(by_corpus), title="queries by outcome")
    for status in STATUSES:
        if any(counts[status] for counts in by_corpus.values()):
            table.add_row(status, *(str(by_corpus[name][status]) for name in sorted(by_corpus)))
    console.print(table)
    for status in ("refused", "withheld"):
        codes = Counter((o.code, o.detail if status == "withheld" else "") for o in outcomes if o.status == status)
        for (code, detail), count in codes.most_common():
            console.print(f"  {status} {count:>5}  {code}  {detail}", highlight=False, markup=False)
    failed = [outcome for outcome in outcomes if outcome.status in (*FAULTS, "refused")]
    for outcome in failed[:examples]:
        console.rule(f"{outcome.status} {outcome.code}: {outcome.id} under `{outcome.kind}`")
        console.print(f"{outcome.sql[:800]}\n  {outcome.detail}", highlight=False, markup=False)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    known = [*DATABASES, *SLT, "attacks", "tokens"]
    parser.add_argument("corpora", nargs="*", choices=[*known, []], default=[])
    parser.add_argument("--limit", type=int, help="queries per corpus")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1, help="drawn policies per stage of a test file")
    parser.add_argument("--kind", action="append", choices=[*KINDS, "mixed"], help="only these kinds of policy")
    parser.add_argument("--isolation", choices=["thread", "process"], default="thread", help="where queries run")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--examples", type=int, default=20, help="failures to print")
    parser.add_argument("--json", type=Path, help="write every outcome here, one JSON object per line")
    options = parser.parse_args(arguments)
    root = shared()
    if root is None:
        print("no corpora: set RLS_SHARED to the folder that holds `corpus` and `attacks`", file=sys.stderr)
        return 2
    wanted = options.corpora or known
    kinds = tuple(options.kind or [*KINDS, "mixed"])
    codes = [_run_special(name, root, options.isolation) for name in wanted if name in ("attacks", "tokens")]
    work = [
        replace(unit, isolation=options.isolation)
        for corpus in wanted
        if corpus in DATABASES or corpus in SLT
        for unit in units(root, corpus, limit=options.limit, seed=options.seed, rounds=options.rounds, kinds=kinds)
    ]
    if work:
        codes.append(_run_queries(work, options))
    return max(codes)


def _run_special(name: str, root: Path, isolation: Isolation) -> int:
    from tests.judging import attack_runner, token_runner

    folder = str(root / "attacks")
    if name == "tokens":
        return token_runner.main([folder])
    return attack_runner.main([folder, "--isolation", isolation])


def _run_queries(work: list[Unit], options: argparse.Namespace) -> int:
    from rich.progress import track

    outcomes: list[Outcome] = []
    # Long files first, so that no process is left alone with one at the end.
    work.sort(key=lambda unit: math.inf if unit.corpus in DATABASES else len(unit.payload["steps"]), reverse=True)
    for _, judged in track(
        run_units(work, jobs=options.jobs), "judging", total=len(work), disable=not sys.stdout.isatty()
    ):
        outcomes += judged
    outcomes.sort(key=lambda outcome: (outcome.corpus, outcome.id, outcome.kind))
    if options.json:
        options.json.write_text("".join(json.dumps(outcome.to_dict(), default=str) + "\n" for outcome in outcomes))
    _report(outcomes, examples=options.examples)
    passed, line = verdict(outcomes)
    print(line)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
