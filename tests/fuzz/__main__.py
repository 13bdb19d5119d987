"""The command line: `python -m tests.fuzz --minutes N [--seed S] [--out FILE] [--json]`.

Plays random worlds until the time is up, or replays findings (`--replay FILE`), or asks the query corpora
(`--corpus`). The seed `today` is the date. Exits with 1 when there was a fault.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.run import Finding, Supervisor, replay
from tests.fuzz.world import Options


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--world", type=int, default=0, help="the first world")
    parser.add_argument("--worlds", type=int, help="at most so many worlds")
    parser.add_argument("--cases", type=int, default=120, help="queries per world")
    parser.add_argument("--big", type=float, default=0.25, help="share of worlds with a relation of 300,000 rows")
    parser.add_argument(
        "--meeting", type=float, default=0.35, help="share of worlds where conditions of policies and callers meet"
    )
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, help="append findings here, one JSON object per line")
    parser.add_argument("--json", action="store_true", help="print findings and counts as JSON lines")
    parser.add_argument("--open", type=int, default=0, help="print so many of the differences that SQL leaves open")
    parser.add_argument("--replay", type=Path, help="judge the findings of this file again")
    parser.add_argument("--corpus", nargs="*", metavar="NAME", help="ask the corpora instead of random queries")
    parser.add_argument("--limit", type=int, help="with --corpus: at most so many queries of each query corpus")
    options = parser.parse_args(arguments)
    if options.seed == "today":
        options.seed = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    world = Options(big=options.big, meeting=options.meeting)
    if options.replay:
        return _replay(options.replay, world)
    if options.corpus is not None:
        from tests.fuzz.corpus import run_corpora

        return run_corpora(
            options.corpus, seconds=options.minutes * 60, seed=options.seed, out=options.out, limit=options.limit,
            jobs=options.jobs,
        )  # fmt: skip
    return _fuzz(options, world)


def _fuzz(options: argparse.Namespace, world: Options) -> int:
    supervisor = Supervisor(options.seed, cases=options.cases, options=world, jobs=options.jobs)
    signatures: Counter[str] = Counter()
    began = time.monotonic()
    for finding in supervisor.run(first=options.world, seconds=options.minutes * 60, worlds=options.worlds):
        signatures[finding.signature] += 1
        if options.out:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(finding.to_dict(), default=str) + "\n")
        if options.json:
            print(json.dumps(finding.to_dict(), default=str), flush=True)
        elif signatures[finding.signature] <= 3:
            _show(finding)
    counts = dict(supervisor.counts.most_common())
    if options.json:
        print(json.dumps({"counts": counts, "refusals": supervisor.refusals, "seconds": time.monotonic() - began}))
    else:
        for event in supervisor.open[: options.open]:
            print(f"open {event.world}/{event.case}: {event.verdict.detail if event.verdict else ''}\n  {event.sql}")
        print(f"{sum(counts.values())} cases in {time.monotonic() - began:.0f} s: {counts}")
        print(f"refused: {dict(supervisor.refusals.most_common())}")
        for signature, count in signatures.most_common():
            print(f"{count:>5}  {signature}")
        faults = signatures.total()
        print(f"seed {options.seed}: {sum(counts.values()) - faults} passed, {faults} failed")
    return 1 if signatures else 0


def _show(finding: Finding) -> None:
    place = f"{finding.seed}/{finding.world}/{finding.case}"
    print(f"{finding.kind} at {place} (databases {finding.seed}/{finding.world}/a and /b)")
    print(f"  {finding.small or finding.sql}\n  {finding.detail}\n  {finding.notes}", flush=True)


def _replay(path: Path, options: Options) -> int:
    faults = 0
    with tempfile.TemporaryDirectory(prefix="rls-fuzz-", ignore_cleanup_errors=True) as name:
        for line in path.read_text(encoding="utf-8").splitlines():
            finding = Finding(**json.loads(line))
            for sql, verdict in replay(finding, options, Path(name)):
                faults += verdict.fault
                print(f"{verdict.kind}: {sql}\n  {verdict.detail}", flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
