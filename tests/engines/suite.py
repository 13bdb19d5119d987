"""One suite, all engines: goldens, attacks and query corpora on another engine than DuckDB, judged by DuckDB's oracle.

    python -m tests.engines.suite ENGINE [goldens|tpch|tpcds|clickbench|duckdb_slt|sqlite_slt ...] [--limit N] [--kind K]
                                 [--seed S] [--persona P] [--minutes M] [--figures FILE] [--json FILE] [--examples N]

Each query is alike (names, types, rows, order), refused by the name of what the engine lacks, or different. Exits with
1 on any difference that `tests/engines/ENGINE_explained.jsonl` does not explain. `--figures` writes what the README's
table is checked against.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.corpora import DATABASES, SLT, shared, units
from tests.engines.goldens import golden_outcomes
from tests.judging.judge import FAULTS, Outcome, judge_all
from tests.judging.policygen import KINDS
from tests.judging.replay import replay

__all__ = ["DATA", "main", "outcomes_of", "servers", "summary"]

DATA = Path(__file__).parents[1] / "engines"
SETS = ("goldens", *DATABASES, *SLT)
_CHUNK = 40


def servers() -> dict[str, Callable[..., Any]]:
    """Engine → what starts a server of it (`tests.judging.judge.Server`)."""
    from tests.engines.postgres import kit as postgres_kit
    from tests.engines.spark import cluster as spark_cluster
    from tests.engines.spark import kit as spark_kit

    return {
        "postgres": postgres_kit.Server,
        "sail": spark_kit.SailServer,
        "spark": spark_cluster.ClusterServer,
    }


def outcomes_of(name: str, server: Any, options: argparse.Namespace) -> Iterator[Outcome]:
    """Every outcome of one set, until its time is over."""
    until = time.monotonic() + options.minutes * 60
    with tempfile.TemporaryDirectory(prefix="rls-suite-", ignore_cleanup_errors=True) as made:
        directory = Path(made)
        found = (
            golden_outcomes(server, directory, options.persona)
            if name == "goldens"
            else _corpus(name, server, options, directory)
        )
        for outcome in found:
            yield outcome
            if time.monotonic() > until:
                print(f"{name}: cut after {options.minutes:g} minutes")
                return


def _corpus(name: str, server: Any, options: argparse.Namespace, directory: Path) -> Iterator[Outcome]:
    root = shared()
    if root is None:
        print(f"{name}: no corpora: set RLS_SHARED to the folder that holds them")
        return
    kinds = tuple(options.kind or [*KINDS, "mixed"])
    for unit in units(root, name, limit=options.limit, seed=options.seed, rounds=1, kinds=kinds):
        seed = f"{unit.seed}{unit.name}"
        if name in DATABASES:
            database, queries = unit.payload
            kind = unit.kinds[0]
            yield from judge_all(
                name, database, queries, kind=kind, seed=seed, directory=directory / "bench", server=server
            )
            continue
        source = random.Random(seed)
        for number, stage in enumerate(replay(unit.name, unit.payload["steps"], directory=directory)):
            for start in range(0, len(stage.queries), _CHUNK):
                kind = source.choice(unit.kinds)
                yield from judge_all(
                    name,
                    stage.database,
                    stage.queries[start : start + _CHUNK],
                    kind=kind,
                    seed=f"{seed}{number}{kind}",
                    directory=directory / "bench",
                    server=server,
                )


def explained(engine: str) -> set[str]:
    """The queries whose differences are accounted for, by id."""
    file = DATA / f"{engine}_explained.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return {json.loads(line)["id"] for line in lines}


def summary(outcomes: list[Outcome], known: set[str]) -> dict[str, Any]:
    """The figures of one set: queries that DuckDB answers, and how many are alike, refused and different here."""
    counts = Counter(
        "different" if one.status in FAULTS else {"ok": "alike", "withheld": "refused"}.get(one.status, one.status)
        for one in outcomes
    )
    wrong = [one for one in outcomes if one.status in FAULTS]
    reasons = Counter(construct(one) for one in outcomes if one.status == "refused")
    asked = counts["alike"] + counts["refused"] + counts["different"]
    return {
        "asked": asked,
        "alike": counts["alike"],
        "refused": counts["refused"],
        "different": counts["different"],
        "unexplained": sum(one.id not in known for one in wrong),
        "no answer anywhere": counts["both fail"],
        "undefined": counts["undefined"],
        "reasons": dict(reasons.most_common(25)),
    }


def construct(outcome: Outcome) -> str:
    """What a refusal names."""
    if found := re.search(r"cannot run (.*?) as DuckDB does", outcome.detail):
        return re.sub(r"`[^`]*`", "…", found[1]) if "function" not in found[1] else found[1]
    return outcome.code


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engine", choices=sorted(servers()))
    parser.add_argument("sets", nargs="*", choices=[*SETS, []], default=[])
    parser.add_argument("--limit", type=int, help="queries per corpus")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--kind", action="append", choices=[*KINDS, "mixed"], help="only these kinds of policy")
    parser.add_argument("--persona", action="append", default=[], help="goldens as this persona only")
    parser.add_argument("--minutes", type=float, default=60.0, help="time for each set")
    parser.add_argument("--examples", type=int, default=10, help="differences to print for each set")
    parser.add_argument("--figures", type=Path, help="write the figures here")
    parser.add_argument("--json", type=Path, help="write every outcome here, one JSON object per line")
    options = parser.parse_args(arguments)
    try:
        server = servers()[options.engine]()
    except pytest.skip.Exception as reason:
        print(reason)
        return 0
    known, figures, everything = explained(options.engine), {}, []
    try:
        for name in options.sets or SETS:
            outcomes = list(outcomes_of(name, server, options))
            everything += outcomes
            if not outcomes:
                continue
            figures[name] = summary(outcomes, known)
            print(f"{name}: { ({k: v for k, v in figures[name].items() if k != 'reasons'}) }")
            for reason, count in figures[name]["reasons"].items():
                print(f"  refused {count:>5}  {reason}")
            for outcome in [one for one in outcomes if one.status in FAULTS][: options.examples]:
                print(f"  {outcome.status}: {outcome.id} under `{outcome.kind}`\n    {outcome.sql[:600]}")
                print(f"    {outcome.detail[:400]}")
    finally:
        server.close()
    if options.json:
        options.json.write_text("".join(json.dumps(one.to_dict(), default=str) + "\n" for one in everything))
    if options.figures:
        before = json.loads(options.figures.read_text(encoding="utf-8")) if options.figures.exists() else {}
        options.figures.write_text(json.dumps({**before, **figures}, indent=1, ensure_ascii=False) + "\n")
    passed = sum(one["alike"] + one["refused"] for one in figures.values())
    failed = sum(one["unexplained"] for one in figures.values())
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
