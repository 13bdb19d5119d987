"""Plays worlds case by case, in worker processes that may die, and collects what they find.

It takes a seed and a span of worlds and yields `Finding`s; a worker that dies or hangs costs the case it was at, which
is a finding of its own. `play` is the loop itself, for tests in one process.
"""

from __future__ import annotations

import multiprocessing
import re
import resource
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from tests.fuzz.shrink import shrink
from tests.fuzz.verdict import Verdict, judge
from tests.fuzz.world import TURN, Options, World, is_meeting, make_world

__all__ = ["Event", "Finding", "Supervisor", "play", "replay"]

_MEMORY = 8 << 30
_HANG = 120.0
# The same fault shows in many queries: the first ones of a kind are made small.
_SHRUNK_PER_SIGNATURE = 2


@dataclass(frozen=True)
class Finding:
    """A fault: the query, a smaller one that shows it too, and where it was drawn (`seed`/`world`/`case`).

    The two databases of a world have the seeds `<seed>/<world>/a` and `<seed>/<world>/b`.
    """

    seed: str
    world: int
    case: int
    kind: str
    detail: str
    sql: str
    small: str = ""
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def signature(self) -> str:
        """What findings of one cause are likely to share."""
        return signature(self.kind, self.detail)

    def to_dict(self) -> dict[str, Any]:
        """For JSON lines."""
        return asdict(self)


@dataclass(frozen=True)
class Event:
    """What a worker says: `start` of a case with its SQL, its `end` with the verdict, `idle` for a world that is none."""

    kind: str
    world: int
    case: int
    sql: str = ""
    verdict: Verdict | None = None
    finding: Finding | None = None
    seconds: float = 0.0


def signature(kind: str, detail: str) -> str:
    """A kind and the words of its detail, without what varies: numbers, quoted words, places."""
    words = re.sub(r"['\"`].*?['\"`]|\{.*?\}|\d+", "…", detail)
    return f"{kind}: {words[:90]}" if kind.startswith(("fault", "crash")) or "error" in kind else kind


def play(
    seed: str,
    world: int,
    *,
    cases: int,
    options: Options,
    directory: Path,
    first: int = 0,
    small: Callable[[str], bool] = lambda _: True,
) -> Iterator[Event]:
    """Play one world from case `first` on; `small` says whether a fault of this signature is worth shrinking."""
    if is_meeting(f"{seed}/{world}", options):
        turns = [range(max(first, n), min(n + TURN, cases)) for n in range(first // TURN * TURN, cases, TURN)]
    else:
        turns = [range(first, cases)]
    for some in turns:
        yield from _play_turn(seed, world, some, options=options, directory=directory, small=small)


def _play_turn(
    seed: str, world: int, cases: range, *, options: Options, directory: Path, small: Callable[[str], bool]
) -> Iterator[Event]:
    made = make_world(f"{seed}/{world}", directory, options, turn=cases.start // TURN)
    if made is None:
        yield Event("idle", world, 0)
        return
    try:
        for case in cases:
            sql = made.query(f"{seed}/{world}/{case}")
            yield Event("start", world, case, sql)
            began = time.monotonic()
            verdict = _judged(made, sql)
            finding = None
            if verdict.fault:
                finding = Finding(seed, world, case, verdict.kind, verdict.detail, sql, notes=made.describe())
                if small(finding.signature):
                    finding = _shrunk(finding, made)
            yield Event("end", world, case, sql, verdict, finding, time.monotonic() - began)
    finally:
        made.close()


def _judged(made: World, sql: str) -> Verdict:
    try:
        return judge(made.pair, sql, oracle=made.meeting is None or not made.meeting.is_strict)
    except Exception:  # noqa: BLE001 - memory above all: it says nothing of the product, and ends no run
        return Verdict("harness", traceback.format_exc(limit=-4))
    finally:
        made.pair.heal()


def _shrunk(finding: Finding, made: World) -> Finding:
    def shows(sql: str) -> bool:
        found = _judged(made, sql)
        return found.fault and signature(found.kind, found.detail) == finding.signature

    return Finding(**{**finding.__dict__, "small": shrink(finding.sql, shows)})


def replay(finding: Finding, options: Options, directory: Path) -> list[tuple[str, Verdict]]:
    """Judge a finding's queries again, the small one first."""
    made = make_world(f"{finding.seed}/{finding.world}", directory, options, turn=finding.case // TURN)
    if made is None:
        return []
    try:
        return [(sql, _judged(made, sql)) for sql in (finding.small, finding.sql) if sql]
    finally:
        made.close()


class Supervisor:
    """Worker processes that share out the worlds, and what they have said so far."""

    def __init__(self, seed: str, *, cases: int, options: Options, jobs: int) -> None:
        self.seed, self.cases, self.options = seed, cases, options
        self.counts: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.open: list[Event] = []
        self._next = 0
        self._jobs = jobs
        self._folder = tempfile.TemporaryDirectory(prefix="rls-fuzz-", ignore_cleanup_errors=True)

    def run(self, *, first: int = 0, seconds: float, worlds: int | None = None) -> Iterator[Finding]:
        """Yield findings until the time is up or `worlds` worlds were played."""
        self._next, last = first, None if worlds is None else first + worlds
        deadline = time.monotonic() + seconds
        workers = [_Worker(self, number) for number in range(self._jobs)]
        try:
            for worker in workers:
                worker.start(self._take(last), 0)
            while time.monotonic() < deadline and any(worker.busy for worker in workers):
                wait([worker.pipe for worker in workers if worker.busy], timeout=1.0)
                for worker in workers:
                    yield from self._listen(worker, last)
        finally:
            for worker in workers:
                worker.stop()
            self._folder.cleanup()

    def _take(self, last: int | None) -> int | None:
        if last is not None and self._next >= last:
            return None
        self._next += 1
        return self._next - 1

    def _listen(self, worker: _Worker, last: int | None) -> Iterator[Finding]:
        while worker.busy:
            event = worker.receive()
            match event:
                case None:
                    return
                case Event(kind="start"):
                    worker.at = event
                case Event(kind="end", verdict=Verdict() as verdict):
                    self._count(verdict, event)
                    worker.at = None
                    if event.finding is not None:
                        yield event.finding
                case Event(kind="died"):
                    yield from self._died(worker, event, last)
                case Event(kind="idle"):
                    self.counts["idle worlds"] += 1
                case _:
                    worker.start(self._take(last), 0)

    def _count(self, verdict: Verdict, event: Event) -> None:
        self.counts[verdict.kind] += 1
        if verdict.kind == "refused":
            self.refusals[verdict.detail] += 1
        if verdict.kind in ("open", "plan error", "engine bug", "harness"):
            self.open.append(event)

    def _died(self, worker: _Worker, event: Event, last: int | None) -> Iterator[Finding]:
        at = worker.at
        worker.at = None
        if at is None:
            # While a world was being built: nothing that a query did.
            self.counts["lost worlds"] += 1
            worker.start(self._take(last), 0)
            return
        self.counts["crash"] += 1
        yield Finding(self.seed, at.world, at.case, "crash", event.sql, at.sql)
        worker.start(at.world, at.case + 1)

    @property
    def folder(self) -> Path:
        return Path(self._folder.name)


class _Worker:
    """One worker process and the case it is at."""

    def __init__(self, owner: Supervisor, number: int) -> None:
        self._owner, self._number = owner, number
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None
        self.pipe: Any = None
        self.at: Event | None = None
        self.busy = False
        self._heard = 0.0

    def start(self, world: int | None, case: int) -> None:
        """Have a world played from a case on; None is the end."""
        self.busy = world is not None
        if world is None:
            return
        if self._process is None or not self._process.is_alive():
            self.pipe, child = self._context.Pipe()
            directory = self._owner.folder / f"w{self._number}"
            self._process = self._context.Process(
                target=_serve, args=(child, self._owner.seed, self._owner.cases, self._owner.options, directory)
            )
            self._process.start()
            child.close()
        self._heard = time.monotonic()
        self.pipe.send((world, case))

    def receive(self) -> Event | None:
        """The next event, or None where there is none yet; `died` when the process is gone or hangs."""
        try:
            if self.pipe.poll():
                self._heard = time.monotonic()
                event: Event = self.pipe.recv()
                return event
        except (EOFError, OSError):
            self._process.join(5)
            code = self._process.exitcode
            self.stop()
            return Event("died", 0, 0, f"process ended with {code}")
        if time.monotonic() - self._heard > _HANG:
            self.stop()
            return Event("died", 0, 0, f"no answer within {_HANG:.0f} s")
        return None

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self.pipe.close()
            self._process = None


def _serve(pipe: Connection, seed: str, cases: int, options: Options, directory: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seen: Counter[str] = Counter()

    def small(signature: str) -> bool:
        seen[signature] += 1
        return seen[signature] <= _SHRUNK_PER_SIGNATURE

    while True:
        world, first = pipe.recv()
        for event in play(seed, world, cases=cases, options=options, directory=directory, first=first, small=small):
            pipe.send(event)
        pipe.send(Event("done", world, cases))
