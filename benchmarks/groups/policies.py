"""What many policies cost: loading them, the first query of a relation, and every query after that.

A set of 1,000 relations, 10,000 policies and 200 roles stands beside one of 1 relation and 10 policies: a query has to
cost the same. Loading is compared with reading the same files as YAML.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import cycle
from pathlib import Path

from ruamel.yaml import YAML

from benchmarks.answers import WrongAnswer
from benchmarks.many import make_catalog, make_policies, make_principal
from benchmarks.measure import Measurement, time_in_turn, time_once
from benchmarks.options import Options
from benchmarks.settings import guard_as_engine
from benchmarks.texts import new_text
from rls.policy.load import load_policies
from rls.policy.policy_set import PolicySet

__all__ = ["measure_policies"]

LARGEST = {"relations": 1_000, "per_relation": 10, "role_count": 200}
SMALLEST = {"relations": 1, "per_relation": 10, "role_count": 200}
READ, LOAD, ONE, MANY, FIRST = "read YAML", "load", "1 relation", "many relations", "first query of a relation"


def measure_policies(options: Options) -> Iterator[Measurement]:
    """Raises `WrongAnswer` unless a relation's guard is the same in a small and in a large set."""
    largest = {**LARGEST, "relations": min(LARGEST["relations"], options.largest // 1_000)}
    many_files, one_file = (make_policies(options.directory, **sizes) for sizes in (largest, SMALLEST))
    case = f"{largest['relations']:,} relations, {largest['relations'] * largest['per_relation']:,} policies"
    # Once each, unwarmed: a set is loaded once.
    loaded: list[PolicySet] = []
    reading = {
        READ: partial(time_once, partial(_read, many_files)),
        LOAD: partial(time_once, lambda: loaded.append(load_policies(many_files, keys="none"))),
    }
    loading = time_in_turn({}, rounds=1, elsewhere=reading)
    yield Measurement.of("policies", case, loading, what=LOAD, floor=READ)

    catalogs = {ONE: make_catalog(1), MANY: make_catalog(largest["relations"])}
    sets = {ONE: load_policies(one_file, keys="none"), MANY: loaded[0]}
    somebody = make_principal()
    sql = "SELECT region, count(*), sum(amount) FROM table_0 WHERE day > DATE '2025-01-01' GROUP BY region"
    texts = {name: guard_as_engine(sql, somebody, sets[name], catalogs[name]).sql for name in (ONE, MANY)}
    if texts[ONE] != texts[MANY]:
        raise WrongAnswer("a relation's guard depends on other relations' policies")
    others = cycle(range(1, max(2, largest["relations"])))

    def first() -> object:
        name = f"table_{next(others)}" if largest["relations"] > 1 else "table_0"
        return guard_as_engine(new_text(sql.replace("table_0", name)), somebody, sets[MANY], catalogs[MANY])

    calls = {
        name: lambda name=name: guard_as_engine(new_text(sql), somebody, sets[name], catalogs[name])
        for name in (ONE, MANY)
    }
    timings = time_in_turn({**calls, FIRST: first}, rounds=options.rounds, seconds=options.seconds)
    for what in (MANY, FIRST):
        yield Measurement.of("policies", case, timings, what=what, floor=ONE, checked="same guard")


def _read(directory: Path) -> None:
    for file in sorted(directory.glob("*.yaml")):
        # ruamel's own round trip keeps positions, as the loader has to.
        list(YAML(typ="rt").load_all(file.read_text(encoding="utf-8")))
