"""Runs the public attack corpus against an engine and scores it as its README says: leak, instance lost, broken.

    python -m tests.judging.attack_runner FOLDER [--only ID ...] [--isolation thread|process]

It takes the corpus folder (`schema.sql`, `prefiltered.sql`, `attacks.jsonl`), builds the database and the oracle, and
runs the engine in a process of its own, so that a crash costs one query and is counted. Exits with 1 on any finding.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import duckdb

from tests.judging.compare import differs, is_subset
from tests.judging.driver import Driver, Isolation, Refusal, sign_rsa
from tests.judging.oracle import Answer, answer

__all__ = ["POLICIES", "Attack", "Finding", "Worker", "main", "prepare", "score"]

POLICIES = Path(__file__).parents[1] / "attacks" / "policies"
# What a cell that the caller may not see looks like (schema.sql says so).
_CANARY = re.compile(
    r"CANARY_?\w*|globex|initech|APAC|AMER|\b77\d{6}\b|2077-\d\d-\d\d|datetime\(2077, \d+, \d+|9999-12-31|"
    r"datetime\(9999, 12, 31"
)
_SALARY = re.compile(r"\bsalary\b", re.IGNORECASE)
_ALIVE = "SELECT count(*) AS n FROM products"
_CLAIMS = {"iss": "https://issuer.test", "aud": "duck-rls", "sub": "alice", "tenant_id": "acme", "region": "EMEA"}
_SECONDS = 60.0


@dataclass(frozen=True)
class Attack:
    """One record of `attacks.jsonl`."""

    id: str
    category: str
    sql: str
    expect: str
    compare: str


@dataclass(frozen=True)
class Finding:
    """What an attack showed: `leak`, `instance lost`, `broken`, or `held`."""

    attack: Attack
    kind: str
    detail: str = ""


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--isolation", choices=["thread", "process"], default="thread", help="where queries run")
    options = parser.parse_args(arguments)
    findings = run(options.folder, only=set(options.only), isolation=options.isolation)
    _report(findings)
    bad = sum(finding.kind != "held" for finding in findings)
    print(f"{len(findings) - bad} passed, {bad} failed")
    return 1 if bad else 0


def load(folder: Path) -> list[Attack]:
    """The records of the corpus, and our own variants of them (`tests/attacks/variants.jsonl`)."""
    fields = Attack.__dataclass_fields__
    files = (folder / "attacks.jsonl", Path(__file__).parents[1] / "attacks" / "variants.jsonl")
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return [Attack(**{k: v for k, v in json.loads(line).items() if k in fields}) for line in lines]


def run(folder: Path, *, only: Collection[str] = (), isolation: Isolation = "thread") -> list[Finding]:
    """Run the whole corpus, or the attacks named in `only`."""
    from rich.progress import track

    attacks = [attack for attack in load(folder) if not only or attack.id in only]
    with tempfile.TemporaryDirectory(prefix="rls-attacks-", ignore_cleanup_errors=True) as name:
        site = prepare(folder, Path(name))
        with Worker(site, folder, isolation=isolation) as worker:
            return [
                _run_one(attack, worker, site)
                for attack in track(attacks, "attacking", disable=not sys.stdout.isatty())
            ]


@dataclass(frozen=True)
class Site:
    """The database under attack, its policies and a token, and the oracle's database."""

    database: Path
    policies: Path
    token: str
    oracle: Path


def prepare(folder: Path, directory: Path) -> Site:
    """Build everything an engine needs: the catalog is called `memory`, as the corpus' qualified names say."""
    schema, prefiltered = ((folder / name).read_text(encoding="utf-8") for name in ("schema.sql", "prefiltered.sql"))
    database, oracle = directory / "engine" / "memory.duckdb", directory / "oracle" / "memory.duckdb"
    for path, script in ((database, schema), (oracle, schema + prefiltered)):
        path.parent.mkdir()
        with duckdb.connect(str(path)) as connection:
            connection.execute(script)
    policies = Path(shutil.copytree(POLICIES, directory / "policies"))
    issued = int(time.time())
    token, public = sign_rsa({**_CLAIMS, "iat": issued, "exp": issued + 3000, "roles": ["analyst"]})
    (policies / "k1.pub.pem").write_bytes(public)
    return Site(database, policies, token, oracle)


class Worker:
    """An engine in its own process; `ask` returns an outcome, or None when the process died or hangs."""

    def __init__(self, site: Site, folder: Path, *, isolation: Isolation = "thread") -> None:
        self._what = (site, folder, isolation)
        self._start()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, child = context.Pipe()
        self._process = context.Process(target=_serve, args=(child, *self._what), daemon=False)
        self._process.start()
        child.close()
        if self._receive() != "ready":
            raise RuntimeError("the engine did not start")

    def _stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _receive(self) -> Any:
        try:
            return self._pipe.recv() if self._pipe.poll(_SECONDS) else None
        except EOFError:
            return None

    def ask(self, sql: str) -> Answer | Refusal | None:
        """The outcome of one query, after which another query got its answer; else None, and a new engine is up."""
        try:
            self._pipe.send(sql)
        except OSError:
            received = None
        else:
            received = self._receive()
        if received is None or not received[1]:
            self._stop()
            self._start()
            return None
        outcome: Answer | Refusal = received[0]
        return outcome


def _serve(pipe: Connection, site: Site, folder: Path, isolation: Isolation) -> None:
    """The engine's process. Holds what a careless host holds: a frame in a variable, the corpus as working directory."""
    import pandas

    from rls.engines.limits import Limits

    secret_df = pandas.DataFrame({"secret": ["CANARY_python_variable"]})
    os.chdir(folder)
    limits = Limits(seconds=5, rows=300_000, memory=1 << 30)
    with Driver(
        site.database, site.policies, token=site.token, name="memory", limits=limits, isolation=isolation
    ) as driver:
        pipe.send("ready")
        while True:
            outcome = driver.ask(pipe.recv())
            alive = driver.ask(_ALIVE)
            pipe.send((outcome, isinstance(alive, Answer) and alive.rows == [(4,)] and len(secret_df) == 1))


def _run_one(attack: Attack, worker: Worker, site: Site) -> Finding:
    outcome = worker.ask(attack.sql)
    if outcome is None:
        return Finding(attack, "instance lost", f"no answer within {_SECONDS:.0f} s, or the process died")
    expected = None
    if isinstance(outcome, Answer) or attack.expect == "filtered":
        with tempfile.TemporaryDirectory() as name:
            # A fresh copy each time: what runs on the oracle may write.
            copy = Path(shutil.copyfile(site.oracle, Path(name) / "memory.duckdb"))
            with duckdb.connect(str(copy)) as connection:
                expected = answer(connection, attack.sql)
    return score(attack, outcome, expected)


def score(attack: Attack, outcome: Answer | Refusal, expected: Answer | None) -> Finding:
    """Severity first: a leak whatever was expected, then what should have run and did not."""
    if canary := _canary(attack, outcome):
        return Finding(attack, "leak", f"`{canary}` is visible in {outcome!r}"[:400])
    if isinstance(outcome, Refusal):
        wrong = attack.expect == "filtered" and expected is not None and expected.error is None
        return Finding(attack, "broken" if wrong else "held", f"{outcome.code}: {outcome.text}"[:400])
    if outcome.error is not None:
        return _score_error(attack, outcome.error, expected)
    if attack.expect == "denied":
        return Finding(attack, "leak", f"should have been refused, gave {outcome.rows[:3]}"[:400])
    return _score_rows(attack, outcome, expected or Answer(error="no oracle"))


def _score_error(attack: Attack, error: str, expected: Answer | None) -> Finding:
    if attack.expect == "denied":
        # Ended by a limit, a query without table data shows nothing; on data, whether it fails is one bit.
        harmless = attack.category == "resource" and error.startswith("run.")
        return Finding(attack, "held" if harmless else "leak", f"ran and failed: {error}"[:400])
    if expected is not None and expected.error is not None:
        return Finding(attack, "held", error[:400])
    return Finding(attack, "leak", f"an error that the oracle does not raise: {error}"[:400])


def _score_rows(attack: Attack, outcome: Answer, expected: Answer) -> Finding:
    match attack.compare:
        case "none":
            return Finding(attack, "held")
        case "subset":
            whole = is_subset(outcome, expected) or outcome.error is not None
            return Finding(
                attack, "held" if whole else "leak", "" if whole else f"rows beyond the oracle's {outcome}"[:400]
            )
        case mode:
            difference = differs(expected, outcome, by=None if mode == "ordered" else [])
            if difference is None:
                return Finding(attack, "held")
            return Finding(attack, "leak", f"{difference.kind}: {difference.detail}")


def _canary(attack: Attack, outcome: Answer | Refusal) -> str | None:
    """A hidden value in what came back that the query did not contain itself."""
    shown = outcome.text if isinstance(outcome, Refusal) else f"{outcome.names} {outcome.rows} {outcome.error}"
    found = _CANARY.findall(shown)
    if isinstance(outcome, Refusal) or outcome.error:
        found += _SALARY.findall(shown)
    asked = attack.sql.lower()
    return next((word for word in found if word.lower() not in asked), None)


def _report(findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    kinds = ("held", "leak", "instance lost", "broken")
    table = Table("category", *kinds, title="attacks by outcome")
    for category in sorted({finding.attack.category for finding in findings}):
        counts = Counter(finding.kind for finding in findings if finding.attack.category == category)
        table.add_row(category, *(str(counts[kind] or "") for kind in kinds))
    console.print(table)
    for finding in sorted(findings, key=lambda f: kinds.index(f.kind)):
        if finding.kind != "held":
            text = f"{finding.kind}: {finding.attack.id} ({finding.attack.expect}) {finding.attack.sql[:300]!r}"
            console.print(f"{text}\n    {finding.detail}", highlight=False, markup=False)


if __name__ == "__main__":
    sys.exit(main())
