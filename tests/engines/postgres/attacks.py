"""Runs the public attack corpus against PostgreSQL, guarded; leaks count, and so do answers unlike the oracle's.

    python -m tests.engines.postgres.attacks FOLDER

What PostgreSQL lacks is refused, which is no finding here; how many are is part of the report. Starts its own server.
Exits with 1 on any leak, and on an engine that does not answer afterwards.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from rls.engines.limits import Limits
from tests.engines.postgres.kit import READER, Cluster, load_database, start, strip
from tests.judging.attack_runner import Attack, Finding, Site, load, prepare, score
from tests.judging.driver import Driver, Refusal
from tests.judging.oracle import Answer, answer

__all__ = ["judge_attack", "main", "run"]

_ALIVE = "SELECT count(*) AS n FROM products"


def run(folder: Path, cluster: Cluster, directory: Path) -> list[Finding]:
    """Every attack once."""
    site = prepare(folder, directory)
    plain = _without_nested(site, directory)
    load_database(cluster, plain.database, database="memory")
    limits = Limits(seconds=5, rows=300_000)
    with Driver(
        cluster.url("memory", user=READER), plain.policies, token=site.token, limits=limits, audit=directory / "audit"
    ) as driver:
        findings = []
        for attack in load(folder):
            outcome = driver.ask(attack.sql)
            findings.append(judge_attack(attack, outcome, plain, directory))
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


def _without_nested(site: Site, directory: Path) -> Site:
    """The same databases without what PostgreSQL has no type for."""
    (directory / "copy").mkdir()
    made = []
    for number, file in enumerate((site.database, site.oracle)):
        target = directory / f"plain{number}" / "memory.duckdb"
        target.parent.mkdir()
        shutil.copyfile(file, target)
        strip(target)
        made.append(target)
    return replace(site, database=made[0], oracle=made[1])


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    folder = Path((arguments or sys.argv[1:])[0])
    try:
        cluster = start()
    except pytest.skip.Exception as reason:
        print(reason)
        return 0
    try:
        with tempfile.TemporaryDirectory(prefix="rls-attacks-") as name:
            findings = run(folder, cluster, Path(name))
    finally:
        cluster.stop()
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
