"""How many queries of the shared corpora are judged total, and why the others are not: `python -m tests.rewrite.leakproof_yardstick`.

    python -m tests.rewrite.leakproof_yardstick [tpch|tpcds|clickbench ...] [--kind K] [--each] [--examples N]

Every table gets a policy; each query is guarded, and its text judged as `rls.rewrite.leakproof` does for the engine.
Prints per corpus the share of totals, the reasons of the others by frequency, and what judging costs in CPU time.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from rls.errors import RlsError
from rls.rewrite import leakproof
from rls.rewrite.bound import bound_plan
from tests.corpora import DATABASES, shared
from tests.judging import policygen
from tests.judging.driver import Driver, sign
from tests.judging.policygen import KINDS

__all__ = ["Judged", "judge_corpus"]


@dataclass(frozen=True)
class Judged:
    """One guarded query: why it may raise (None: it cannot), why before a row filter, and the CPU seconds of binding and
    of judging."""

    id: str
    reason: str | None
    early: str | None
    bind: float
    judge: float


def judge_corpus(root: Path, corpus: str, *, kind: str, seed: str) -> Iterator[Judged]:
    """Guard and judge every query of one corpus under policies of `kind` on every table."""
    folder = root / "corpus" / corpus
    records = [json.loads(line) for line in (folder / "queries.jsonl").open(encoding="utf-8")]
    with tempfile.TemporaryDirectory(prefix="rls-yardstick-") as name:
        database = Path(name) / f"{records[0]['db']}.duckdb"
        database.write_bytes((folder / database.name).read_bytes())
        if kind in ("mapping", "mixed"):
            policygen.add_entitlements(database)
        with duckdb.connect(str(database)) as connection:
            made = policygen.generate(connection, kind, source=random.Random(seed))
        token = sign(policygen.claims(made, now=int(time.time())), policygen.SECRET)
        policies = policygen.write(made, Path(name) / "policies")
        with Driver(database, policies, token=token, name=database.stem) as driver:
            catalog = driver._engine.catalog
            for record in records:
                try:
                    text = driver.guard(record["sql"], token=token).sql
                except RlsError as error:
                    yield Judged(record["id"], f"refused: {error.code}", f"refused: {error.code}", 0, 0)
                    continue
                started = time.process_time()
                bound = bound_plan(text, catalog)
                between = time.process_time()
                reason = leakproof.why_plan_may_raise(bound)
                judged = time.process_time() - between
                early = leakproof.why_plan_may_raise_early(bound)
                yield Judged(record["id"], reason, early, between - started, judged)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpora", nargs="*", choices=[*DATABASES, []], default=[])
    parser.add_argument("--kind", choices=[*KINDS, "mixed"], default="equality", help="the policies' kind")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--each", action="store_true", help="print every query that may raise")
    options = parser.parse_args(arguments)
    root = shared()
    if root is None:
        print("no corpora: set RLS_SHARED to the folder that holds `corpus`", file=sys.stderr)
        return 2
    for corpus in options.corpora or DATABASES:
        judged = list(judge_corpus(root, corpus, kind=options.kind, seed=options.seed))
        total = sum(one.reason is None for one in judged)
        late = sum(one.early is None for one in judged)
        cost = 1000 / len(judged)
        print(
            f"{corpus}: {total} of {len(judged)} total, {late} but for the answer; CPU per query: bind {cost * sum(o.bind for o in judged):.2f} ms, "
            f"judge {cost * sum(o.judge for o in judged):.2f} ms"
        )
        for reason, count in Counter(one.reason for one in judged if one.reason).most_common():
            print(f"  {count:>3}  {reason}")
        for one in judged if options.each else ():
            print(f"  {one.id}: {one.reason or 'total'}" + (f"; early: {one.early}" if one.early else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
