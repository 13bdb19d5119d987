"""Suites → outcomes: worlds are opened once per set of rows, cases run in parallel, each in the persona's session.

Takes a policy directory or loaded parts; returns an `Outcome` per case in the order of the files, whatever the order
they ended in. Owns filters, and that a suite whose data cannot be made is an outcome too.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rls.catalog import Catalog, Relation
from rls.errors import PolicyInvalid
from rls.identity.principal import Principal
from rls.lab.suites.judge import CaseError, judge
from rls.lab.suites.plan import key_columns, plan_cases
from rls.lab.suites.reader import read_suites
from rls.lab.suites.suite import Case, Failure, Outcome, Suite
from rls.lab.world.world import World, open_given, open_live
from rls.policy.load import load_policies
from rls.policy.policy_set import PolicySet

__all__ = ["Filters", "Run", "Worlds", "run_case", "run_directory", "run_suites"]

OnCase = Callable[[Outcome, int, int], None]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which cases run: `words` all stand in the case's id; `persona` and `relation` are names with `*` for anything."""

    words: tuple[str, ...] = ()
    persona: str | None = None
    relation: str | None = None

    def keep(self, case: Case) -> bool:
        """Whether a case is wanted."""
        if any(word.lower() not in case.id.lower() for word in self.words):
            return False
        if self.persona is not None and not fnmatch.fnmatchcase(case.persona, self.persona):
            return False
        if self.relation is None:
            return True
        read = case.relation if case.relation is not None else (case.sql or "")
        pattern = self.relation if case.relation is not None else f"*{self.relation}*"
        return fnmatch.fnmatchcase(read.lower(), pattern.lower())


@dataclass(frozen=True, slots=True)
class Run:
    """How a run ended: outcomes in order, those of invariants last; `left_out` cases by filters, `unproved` invariants
    for want of a database, seconds of wall time."""

    outcomes: tuple[Outcome, ...]
    suites: tuple[Suite, ...]
    left_out: int
    seconds: float
    policy_version: str
    unproved: int = 0

    @property
    def failed(self) -> tuple[Outcome, ...]:
        return tuple(o for o in self.outcomes if o.status != "passed")

    def _repr_html_(self) -> str:
        """Counts, the grids and each failure, in a notebook."""
        from rls.lab.html import fragment
        from rls.lab.suites.report import run_parts

        return fragment(*run_parts(self))

    def count(self, status: str) -> int:
        """Cases with this status."""
        return sum(o.status == status for o in self.outcomes)

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "passed": self.count("passed"),
            "failed": self.count("failed"),
            "errors": self.count("error"),
            "left_out": self.left_out,
            "unproved": self.unproved,
            "seconds": round(self.seconds, 3),
            "policy_version": self.policy_version,
            "cases": [o.to_dict() for o in self.outcomes],
        }


def run_directory(
    directory: Path,
    *,
    database: Path | str | None = None,
    only: Sequence[Path] | None = None,
    filters: Filters | None = None,
    jobs: int = 2,
    on_case: OnCase | None = None,
) -> Run:
    """Run the suites of a policy directory (`only`: these files of it), and prove its invariants (not with `only`).

    database  the live database, a DuckDB file or a server's URL: rows for suites without `data`, types for those with
              it, which run on DuckDB
    jobs      cases that run at once
    on_case   called with each outcome, the number of cases done and of all

    Raises PolicyInvalid where policies or suites cannot be read, EngineInvalid for the database.
    """
    policies = load_policies(directory, keys="none")
    suites = read_suites(directory, policies.identity)
    if only is not None:
        wanted = {path.resolve() for path in only}
        suites = [suite for suite in suites if suite.file.resolve() in wanted]
    run = run_suites(suites, policies, database=database, filters=filters, jobs=jobs, on_case=on_case)
    return run if only is not None else _with_invariants(run, policies, database, filters)


def _with_invariants(run: Run, policies: PolicySet, database: Path | str | None, filters: Filters | None) -> Run:
    from rls.lab.suites.prove_invariants import count_invariants, prove_invariants

    count = count_invariants(policies)
    if not count or (filters is not None and filters.persona is not None):
        return run
    if database is None:
        return replace(run, unproved=count)
    started = time.perf_counter()
    with open_live(database, policies, {}) as world:
        found = prove_invariants(policies, world.catalog, keys=world.raw.primary_keys())
    kept = [outcome for outcome in found if filters is None or filters.keep(outcome.case)]
    left_out = run.left_out + len(found) - len(kept)
    seconds = run.seconds + time.perf_counter() - started
    return replace(run, outcomes=(*run.outcomes, *kept), left_out=left_out, seconds=seconds)


def run_suites(
    suites: Sequence[Suite],
    policies: PolicySet,
    *,
    database: Path | str | None = None,
    filters: Filters | None = None,
    jobs: int = 2,
    on_case: OnCase | None = None,
) -> Run:
    """Run loaded suites; see `run_directory`."""
    started = time.perf_counter()
    with Worlds(policies, database) as worlds:
        work: list[tuple[Suite, World | None, Case, Failure | None]] = []
        left_out = 0
        for suite in suites:
            world, cases, problem = worlds.prepare(suite)
            kept = [case for case in cases if filters is None or problem is not None or filters.keep(case)]
            left_out += len(cases) - len(kept)
            work += [(suite, world, case, problem) for case in kept]
        outcomes: list[Outcome] = []
        with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
            for outcome in pool.map(lambda item: run_case(*item), work):
                outcomes.append(outcome)
                if on_case is not None:
                    on_case(outcome, len(outcomes), len(work))
    return Run(tuple(outcomes), tuple(suites), left_out, time.perf_counter() - started, policies.version)


@dataclass
class Worlds:
    """The worlds of some suites, opened when first needed; equal rows at the same moment are one world."""

    policies: PolicySet
    database: Path | str | None
    _stack: ExitStack = field(default_factory=ExitStack)
    _open: dict[object, World] = field(default_factory=dict)
    _catalog: list[Catalog] = field(default_factory=list)

    def prepare(self, suite: Suite) -> tuple[World | None, list[Case], Failure | None]:
        """A suite's world and cases; or one case that stands for the suite, with what is wrong."""
        try:
            world = self.open(suite)
            return world, plan_cases(suite, world.catalog), None
        except PolicyInvalid as error:
            return None, [_whole(suite)], Failure("suite", str(error))

    def open(self, suite: Suite) -> World:
        """The world of a suite. Raises PolicyInvalid for its data, EngineInvalid for the database."""
        key = _world_key(suite)
        if key not in self._open:
            self._open[key] = self._stack.enter_context(self._new(suite))
        world = self._open[key]
        # Inline personas of other suites are not this one's.
        return world if world.personas == suite.personas else _with_personas(world, suite.personas)

    def _new(self, suite: Suite) -> Any:
        if suite.data is not None:
            catalog = self._live_catalog() if self.database is not None else None
            return open_given(suite.data, catalog, self.policies, suite.personas, now=suite.now)
        if self.database is None:
            hint = "give --database, or rows under `data`"
            raise suite.place.document.invalid("policy.suite_data", "this suite is about a live database", hint=hint)
        return open_live(self.database, self.policies, suite.personas, now=suite.now)

    def _live_catalog(self) -> Catalog:
        if not self._catalog:
            assert self.database is not None  # noqa: S101 - the caller has looked
            with open_live(self.database, self.policies, {}) as world:
                self._catalog.append(world.catalog)
        return self._catalog[0]

    def __enter__(self) -> Worlds:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _with_personas(world: World, personas: Mapping[str, Principal]) -> World:
    other = world.with_policies(world.policies)
    other.personas = personas
    return other


def _world_key(suite: Suite) -> object:
    if suite.data is None:
        return ("live", suite.now)
    return (suite.now, repr([(g.path, dict(g.columns), g.rows) for g in suite.data]))


def _whole(suite: Suite) -> Case:
    """A case that stands for a suite which could not begin."""
    from rls.lab.suites.model import Expect

    return Case(
        id=f"{suite.file.name}::suite",
        suite=suite.name,
        test="suite",
        persona="",
        relation=None,
        sql=None,
        parameters={},
        expect=Expect(rows="none"),
        place=suite.place,
    )


def run_case(suite: Suite, world: World | None, case: Case, problem: Failure | None) -> Outcome:
    """One case of what `Worlds.prepare` gave."""
    if world is None:
        return Outcome(case, "error", (problem,) if problem is not None else ())
    started = time.perf_counter()

    def key_of(world: World, relation: Relation) -> tuple[str, ...]:
        return key_for(suite, world, relation)

    try:
        failures = judge(world, case, key_of=key_of)
    except CaseError as error:
        return Outcome(case, "error", (error.failure,), time.perf_counter() - started)
    return Outcome(case, "failed" if failures else "passed", tuple(failures), time.perf_counter() - started)


def key_for(suite: Suite, world: World, relation: Relation) -> tuple[str, ...]:
    """The columns that name a row of a relation in a suite. Raises CaseError for columns that do not exist."""
    key = key_columns(suite, relation, world.catalog, world.raw.primary_key(relation))
    unknown = [name for name in key if relation.column(name) is None]
    if unknown:
        raise CaseError(Failure("key", f"`{relation.label}` has no column `{unknown[0]}` to name its rows by"))
    return key
