"""Processes write one audit log and are killed at random; then `verify` must agree with what was acknowledged.

    python -m tests.audit.torture --records 100000 --processes 4      (minutes; see --help)

A worker writes records from several threads and notes every id whose `write` returned in a file of its own; the parent
ends workers with SIGKILL and starts others. Afterwards: every noted id is in the log, nothing is wrong that a crash
does not explain, and each of many tamperings with the log is found. `torture` is also called by the test suite.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rls.audit.anchors import Anchor
from rls.audit.log import AuditLog
from rls.audit.record import AuditRecord
from rls.audit.signing import Verifier, read_signer, read_verifier
from rls.audit.verify import Verification, verify_log

SECRET = b"a signing key for this test only."
# What a killed process may leave; anything else is a finding.
OF_A_CRASH = frozenset(("open_end", "torn", "unsigned_end"))


@dataclass
class Outcome:
    """What happened: counts, and sentences for what should not have."""

    acknowledged: int = 0
    unacknowledged: int = 0
    started: int = 0
    killed: int = 0
    seconds: float = 0.0
    verify_seconds: float = 0.0
    bytes: int = 0
    found: Counter[str] = field(default_factory=Counter)
    tampered: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def worker(place: str, notes: str, *, threads: int, durability: str, rotate: int) -> None:
    """Write until killed."""
    log = AuditLog(place, signer=read_signer(SECRET), durability=durability, rotate_bytes=rotate, heads=(200, 0.5))  # type: ignore[arg-type]
    fd = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    stem = f"{os.getpid():08x}{random.getrandbits(64):016x}"

    def write(number: int) -> None:
        count = 0
        while True:
            count += 1
            audit_id = f"{stem}{number:02x}{count:06x}"
            log.write(_record(audit_id, count))
            # Acknowledged: from here on a log without this record is wrong.
            os.write(fd, audit_id.encode() + b"\n")

    for number in range(threads):
        threading.Thread(target=write, args=(number,), daemon=True).start()
    threading.Event().wait()


def _record(audit_id: str, number: int) -> AuditRecord:
    return AuditRecord(
        time=f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}.000+00:00",
        audit_id=audit_id,
        action="query",
        outcome="allowed",
        subject=f"acme-{number % 20}",
        roles=("explorer",),
        sql="SELECT region, sum(amount) FROM orders GROUP BY region" + " " * (number * 37 % 3000),
        relations={"orders": {"kind": "conditional", "policies": ["own_tenant"]}},
    )


@dataclass(frozen=True)
class Plan:
    """How hard to try: `records` acknowledged in all; the rest is for each process, or what it says."""

    records: int = 100_000
    processes: int = 4
    threads: int = 4
    durability: str = "disk"
    rotate: int = 4 << 20
    tamperings: int = 36
    seed: int = 0


def torture(place: Path, plan: Plan) -> Outcome:
    """Run it; see the module's text."""
    source = random.Random(plan.seed)
    outcome = Outcome()
    notes = place.parent / f"{place.name}.notes"
    notes.mkdir()
    started = time.perf_counter()
    _write_and_kill(place, notes, plan=plan, source=source, outcome=outcome)
    outcome.seconds = time.perf_counter() - started
    # A note that was cut off by the kill is nobody's acknowledgement.
    lines = [line for file in notes.iterdir() for line in file.read_text().split("\n")[:-1]]
    acknowledged = {line for line in lines if len(line) == 32}
    outcome.acknowledged = len(acknowledged)
    verifier = read_verifier(SECRET)
    started = time.perf_counter()
    found = verify_log([place], verifiers=[verifier], expected=acknowledged)
    outcome.verify_seconds = time.perf_counter() - started
    outcome.unacknowledged = found.records - outcome.acknowledged
    outcome.found = Counter(f.code for f in found.findings)
    outcome.bytes = sum(f.stat().st_size for f in _files(place))
    outcome.wrong += [f"{f.code}: {f.message} ({f.writer})" for f in found.findings if f.code not in OF_A_CRASH]
    if outcome.unacknowledged > outcome.started * plan.threads * 2:
        outcome.wrong.append(f"{outcome.unacknowledged} records are there that nobody was told of")
    if sum(c.vouched for c in found.chains) < outcome.acknowledged:
        outcome.wrong.append("acknowledged records without a signature")
    if place.suffix != ".sqlite":
        _tamper_all(place, found, count=plan.tamperings, verifier=verifier, source=source, outcome=outcome)
    return outcome


def _write_and_kill(place: Path, notes: Path, *, plan: Plan, source: random.Random, outcome: Outcome) -> None:
    running: dict[Path, subprocess.Popen[bytes]] = {}
    options = ["--threads", str(plan.threads), "--durability", plan.durability, "--rotate", str(plan.rotate)]
    try:
        while _noted(notes) < plan.records:
            while len(running) < plan.processes:
                own = notes / f"{outcome.started}"
                command = [sys.executable, "-m", "tests.audit.torture", "--worker", str(place), "--notes", str(own)]
                running[own] = subprocess.Popen([*command, *options], stderr=subprocess.DEVNULL)
                outcome.started += 1
            time.sleep(source.uniform(0.05, 0.4))
            outcome.wrong += ["a worker ended by itself" for p in running.values() if p.poll() is not None]
            # Of those that have come as far as writing, so that something is cut off.
            busy = [own for own in running if own.exists() and own.stat().st_size]
            if busy and not outcome.wrong:
                _kill(running.pop(source.choice(busy)), outcome)
            elif outcome.wrong:
                return
    finally:
        for process in running.values():
            _kill(process, outcome)


def _kill(process: subprocess.Popen[bytes], outcome: Outcome) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    outcome.killed += 1


def _noted(notes: Path) -> int:
    return sum(file.stat().st_size for file in notes.iterdir()) // 33


def _files(place: Path) -> list[Path]:
    return sorted(place.glob("*.jsonl")) if place.is_dir() else [place]


Lines = list[bytes]


def _flip(lines: Lines, at: int, source: random.Random) -> Lines:
    where = source.randrange(len(lines[at]) - 1)
    line = bytearray(lines[at])
    line[where] ^= 1 << source.randrange(7)
    return [*lines[:at], bytes(line).replace(b"\n", b"?")[:-1] + b"\n", *lines[at + 1 :]]


def _other_outcome(lines: Lines, at: int, source: random.Random) -> Lines:
    return [*lines[:at], lines[at].replace(b'"outcome":"allowed"', b'"outcome":"refused"'), *lines[at + 1 :]]


def _swap(lines: Lines, at: int, source: random.Random) -> Lines:
    other = source.randrange(len(lines))
    moved = list(lines)
    moved[at], moved[other] = moved[other], moved[at]
    return moved


TAMPERINGS: dict[str, Callable[[Lines, int, random.Random], Lines]] = {
    "a bit": _flip,
    "an outcome": _other_outcome,
    "a line dropped": lambda x, at, _: [*x[:at], *x[at + 1 :]],
    "lines dropped": lambda x, at, s: [*x[:at], *x[at + s.randint(1, 50) :]],
    "a line repeated": lambda x, at, s: [*x[: s.randrange(len(x))], x[at], *x[s.randrange(len(x)) :]],
    "lines swapped": _swap,
    "the end cut off": lambda x, at, _: x[:at],
    "the end cut off in a line": lambda x, at, _: [*x[:at], x[at][:20]],
    "all gone": lambda *_: [],
}


def _tamper_all(
    place: Path,
    before: Verification,
    *,
    count: int,
    verifier: Verifier,
    source: random.Random,
    outcome: Outcome,
) -> None:
    """One tampering after the other, each undone; found means: an error that was not there before."""
    known = {(f.code, f.writer, f.sequence) for f in before.findings}
    anchors = [Anchor(w, sequence, hash_, "earlier") for w, (sequence, hash_) in before.heads.items()]
    names = list(TAMPERINGS)
    for number in range(count):
        name = names[number % len(names)]
        file = source.choice([f for f in _files(place) if f.stat().st_size])
        whole = file.read_bytes()
        lines = whole.splitlines(keepends=True)
        # Half of them where it is hardest to see: near the end.
        at = source.randrange(len(lines)) if source.random() < 0.5 else max(0, len(lines) - source.randint(1, 5))
        changed = b"".join(TAMPERINGS[name](lines, at, source))
        if changed == whole or _is_remnant(lines[at]):
            continue
        file.write_bytes(changed)
        found = verify_log([place], verifiers=[verifier], anchors=anchors)
        file.write_bytes(whole)
        outcome.tampered[name] += 1
        if not any((f.code, f.writer, f.sequence) not in known and f.severity == "error" for f in found.findings):
            outcome.wrong.append(f"not found: {name} at line {at + 1} of {len(lines)} in {file.name}")


def _is_remnant(line: bytes) -> bool:
    """Whether this is no line of a chain, but a piece that a crash had left: nothing depends on it."""
    try:
        json.loads(line)
    except ValueError:
        return True
    return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.audit.torture", description=__doc__.partition("\n")[0])
    parser.add_argument("--records", type=int, default=Plan.records, help="acknowledged in all, per place")
    parser.add_argument("--processes", type=int, default=Plan.processes)
    parser.add_argument("--threads", type=int, default=Plan.threads)
    parser.add_argument("--durability", choices=["disk", "process"], default=Plan.durability)
    parser.add_argument("--rotate", type=int, default=Plan.rotate, help="bytes of a file in a directory")
    parser.add_argument("--tamperings", type=int, default=Plan.tamperings)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--place", action="append", choices=["directory", "file", "sqlite"])
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--notes", help=argparse.SUPPRESS)
    options = vars(parser.parse_args())
    places, place, notes = options.pop("place"), options.pop("worker"), options.pop("notes")
    plan = Plan(**options)
    if place:
        worker(place, notes, threads=plan.threads, durability=plan.durability, rotate=plan.rotate)
    failed = False
    for kind in places or ["directory", "file"]:
        base = Path(tempfile.mkdtemp(prefix="audit-torture-"))
        name = {"directory": "audit", "file": "audit.jsonl", "sqlite": "audit.sqlite"}[kind]
        try:
            outcome = torture(base / name, plan)
        finally:
            shutil.rmtree(base)
        print(
            f"{kind}: {outcome.acknowledged:,} records acknowledged, {outcome.unacknowledged} more in the log,", end=" "
        )
        print(f"{outcome.started} processes, {outcome.killed} killed, {outcome.seconds:.0f} s writing,", end=" ")
        print(f"{outcome.bytes / 1e6:.0f} MB, {outcome.verify_seconds:.1f} s to verify")
        print(f"  left by crashes: {dict(outcome.found)}")
        print(f"  tampered and found: {dict(outcome.tampered)}")
        for sentence in outcome.wrong:
            print(f"  WRONG: {sentence}")
        failed = failed or bool(outcome.wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
