"""Runs the public attack corpus against another engine than DuckDB; leaks count, and so do answers unlike the oracle's.

    python -m tests.engines.attacks ENGINE FOLDER [--only ID ...]

What the engine lacks is refused, which is no finding here; how many are is part of the report. Starts its own server.
Exits with 1 on any leak, and on an engine that does not answer afterwards.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from rls.engines.limits import Limits
from tests.engines.suite import servers
from tests.judging.attack_runner import Attack, Finding, Site, load, prepare, score
from tests.judging.driver import Driver, Refusal
from tests.judging.judge import Server
from tests.judging.oracle import Answer, answer

__all__ = ["judge_attack", "main", "run"]

_ALIVE = "SELECT count(*) AS n FROM products"
_SECONDS = {"postgres": 5.0, "sail": 20.0, "spark": 40.0}


def run(folder: Path, server: Server, directory: Path, *, seconds: float, only: Collection[str] = ()) -> list[Finding]:
    """Every attack once, or those named in `only`."""
    site = _without_nested(prepare(folder, directory), server, directory)
    with Driver(
        server.load(site.database),
        site.policies,
        token=site.token,
        limits=Limits(seconds=seconds, rows=300_000),
        audit=directory / "audit",
        name="memory",
    ) as driver:
        findings = []
        driver.ask(_ALIVE)  # a server's first query takes longer than all that follow
        for attack in load(folder):
            if only and attack.id not in only:
                continue
            findings.append(judge_attack(attack, driver.ask(attack.sql), site, directory))
            alive = driver.ask(_ALIVE)
            if not isinstance(alive, Answer) or alive.rows != [(4,)]:
                findings.append(Finding(attack, "instance lost", repr(alive)[:300]))
        return findings


def judge_attack(attack: Attack, outcome: Answer | Refusal, site: Site, directory: Path) -> Finding:
    """What became of an attack, against the oracle in `site`; what the engine lacks is `refused`."""
    expected = None
    if isinstance(outcome, Answer) or attack.expect == "filtered":
        copy = Path(shutil.copyfile(site.oracle, directory / "copy" / "memory.duckdb"))
        with duckdb.connect(str(copy)) as connection:
            expected = answer(connection, attack.sql)
    found = score(attack, outcome, expected)
    return replace(found, kind="refused") if found.kind == "broken" and isinstance(outcome, Refusal) else found


def _without_nested(site: Site, server: Server, directory: Path) -> Site:
    """The same databases without what the engine has no type for."""
    (directory / "copy").mkdir()
    made = []
    for number, file in enumerate((site.database, site.oracle)):
        target = directory / f"plain{number}" / "memory.duckdb"
        target.parent.mkdir()
        shutil.copyfile(file, target)
        server.strip(target)
        made.append(target)
    return replace(site, database=made[0], oracle=made[1])


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engine", choices=sorted(servers()))
    parser.add_argument("folder", type=Path, help="the corpus: schema.sql, prefiltered.sql, attacks.jsonl")
    parser.add_argument("--only", nargs="*", default=[], help="only these attacks, by id")
    options = parser.parse_args(arguments)
    try:
        server = servers()[options.engine]()
    except pytest.skip.Exception as reason:
        print(reason)
        return 0
    try:
        with tempfile.TemporaryDirectory(prefix="rls-attacks-") as name:
            seconds = _SECONDS[options.engine]
            findings = run(options.folder, server, Path(name), seconds=seconds, only=set(options.only))
    finally:
        server.close()
    counts = Counter(finding.kind for finding in findings)
    for finding in findings:
        if finding.kind not in ("held", "refused"):
            print(f"{finding.kind}: {finding.attack.id} ({finding.attack.expect}) {finding.attack.sql[:300]!r}")
            print(f"    {finding.detail}")
    bad = len(findings) - counts["held"] - counts["refused"]
    print(f"of those held, {counts['refused']} are refused that DuckDB answers")
    print(f"{len(findings) - bad} passed, {bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
