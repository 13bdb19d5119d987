"""Runs the public attack corpus against a Spark Connect server, guarded; leaks count, and so do answers unlike the oracle's.

    python -m tests.engines.spark.attacks FOLDER [sail|spark]

What the engine lacks is refused, which is no finding here; how many are is part of the report. Starts its own server.
Exits with 1 on any leak, and on an engine that does not answer afterwards.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rls.engines.limits import Limits
from tests.engines.postgres.attacks import judge_attack
from tests.engines.suite import servers
from tests.judging.attack_runner import Finding, Site, load, prepare
from tests.judging.driver import Driver
from tests.judging.oracle import Answer

__all__ = ["main", "run"]

_ALIVE = "SELECT count(*) AS n FROM products"


def run(folder: Path, server: Any, directory: Path) -> list[Finding]:
    """Every attack once."""
    site = _without_nested(prepare(folder, directory), server, directory)
    limits = Limits(seconds=20, rows=300_000)
    with Driver(
        server.load(site.database),
        site.policies,
        token=site.token,
        limits=limits,
        audit=directory / "audit",
        name="memory",
    ) as driver:
        findings = []
        for attack in load(folder):
            findings.append(judge_attack(attack, driver.ask(attack.sql), site, directory))
            alive = driver.ask(_ALIVE)
            if not isinstance(alive, Answer) or alive.rows != [(4,)]:
                findings.append(Finding(attack, "instance lost", repr(alive)[:300]))
        return findings


def _without_nested(site: Site, server: Any, directory: Path) -> Site:
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
    given = arguments or sys.argv[1:]
    try:
        server = servers()[given[1] if len(given) > 1 else "sail"]()
    except pytest.skip.Exception as reason:
        print(reason)
        return 0
    try:
        with tempfile.TemporaryDirectory(prefix="rls-attacks-") as name:
            findings = run(Path(given[0]), server, Path(name))
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
