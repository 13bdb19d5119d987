"""Many principals, and long lists in their tokens: what the next query costs, and what is kept of those who asked.

Everybody has a token and a list of their own; a text that was sent before is guarded for the next of them. Beside it
stands PyJWT's decoding of as many tokens, which nothing that looks at a token can undercut.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import jwt

from benchmarks.answers import WrongAnswer
from benchmarks.many import SECRET, make_policies, make_principal, many_database
from benchmarks.measure import Measurement, time_in_turn
from benchmarks.options import Options
from benchmarks.settings import Setting
from rls.engine import Engine

__all__ = ["measure_principals"]

DECODE, NEXT, WARM = "PyJWT decode", "engine, next principal", "engine, same principal"
PRINCIPALS = (1_000, 10_000, 100_000, 1_000_000)
ITEMS = (10, 100, 1_000, 10_000)
SQL = "SELECT region, count(*) FROM table_0 GROUP BY region"
SAMPLE = 50  # tokens that nobody has seen, for one sample


class _People:
    """Tokens of people who come for the first time, each with a list that begins with their number."""

    def __init__(self, setting: Setting, engine: Engine) -> None:
        self._setting, self._engine, self._numbers = setting, engine, count(1)
        self._secret = SECRET.read_bytes().strip()
        self._claims: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}  # by the length of their lists
        self.before = _memory()

    def token(self, items: int) -> str:
        """As `mint_token` makes them, signed here: it checks what it makes, which takes longer than to make it."""
        if items not in self._claims:
            regions = tuple(f"region {n}" for n in range(items))
            whole = self._setting.token_for(make_principal(regions=regions))
            self._claims[items] = jwt.get_unverified_header(whole), self.decode(whole)
        header, claims = self._claims[items]
        number = next(self._numbers)
        person = {**claims["user"], "distinctId": f"user-{number}"}
        person["attributes"] = {**person["attributes"], "regions": [f"r{number}", *person["attributes"]["regions"][1:]]}
        return jwt.encode({**claims, "jti": f"{number:032x}", "user": person}, self._secret, "HS256", header)

    def guard(self, token: str) -> object:
        return self._engine.guard(token, SQL)

    def decode(self, token: str) -> dict[str, Any]:
        return jwt.decode(token, self._secret, algorithms=["HS256"], audience="bench", issuer="https://bench.example")

    def sample(self, call: Callable[[str], object], items: int) -> tuple[float, float]:
        """(CPU, wall) milliseconds per token, of tokens made for this sample."""
        tokens = [self.token(items) for _ in range(SAMPLE)]
        began, started = time.process_time(), time.perf_counter()
        for token in tokens:
            call(token)
        ended, stopped = time.process_time(), time.perf_counter()
        return (ended - began) * 1000 / SAMPLE, (stopped - started) * 1000 / SAMPLE

    def check(self, items: int) -> None:
        """Raise `WrongAnswer` unless the next one gets a list of their own."""
        lists = [self._engine.guard(self.token(items), SQL).parameters["rls_regions"] for _ in range(2)]
        if lists[0] == lists[1] or any(len(found) != items for found in lists):
            raise WrongAnswer(f"{items} items: not the list of who asks")

    def kept(self) -> str:
        """Memory since before the first came, in words."""
        return f"{max(0, _memory() - self.before) / 1024:,.0f} MB more"


def measure_principals(options: Options) -> Iterator[Measurement]:
    """`size` is how many have asked before, or how long their lists are. Raises `WrongAnswer`."""
    policies = make_policies(options.directory, relations=1, per_relation=2, role_count=2)
    setting = Setting(many_database(options.directory), policies, "", issuer="https://bench.example")
    with setting.open() as engine:
        people = _People(setting, engine)
        asked = 0
        for size in (n for n in PRINCIPALS if n <= options.principals):
            people.check(10)
            for _ in range(size - asked):
                people.guard(people.token(10))
            asked = size
            yield _measured(people, "principals", options, items=10, size=size)
            yield _again(people, "principals", options, items=10, size=size)
        for items in (n for n in ITEMS if n <= options.largest // 100):
            people.check(items)
            yield _measured(people, "list in a token", options, items=items, size=items)
            yield _again(people, "list in a token", options, items=items, size=items)


def _measured(people: _People, case: str, options: Options, *, items: int, size: int) -> Measurement:
    samples = {NEXT: partial(people.sample, people.guard, items), DECODE: partial(people.sample, people.decode, items)}
    timings = time_in_turn({}, rounds=min(options.rounds, 7), seconds=options.seconds, elsewhere=samples)
    return Measurement.of("principals", case, timings, what=NEXT, floor=DECODE, size=size, checked=people.kept())


def _again(people: _People, case: str, options: Options, *, items: int, size: int) -> Measurement:
    token = people.token(items)
    calls = {WARM: partial(people.guard, token), DECODE: partial(people.decode, token)}
    timings = time_in_turn(calls, rounds=options.rounds, seconds=options.seconds)
    return Measurement.of("principals", case, timings, what=WARM, floor=DECODE, size=size)


def _memory() -> int:
    """What this process holds now, in KiB; where only the most it ever held is known, that."""
    pages = Path("/proc/self/statm")
    if not pages.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(pages.read_text().split()[1]) * resource.getpagesize() // 1024
