"""Suites (`*.test.yaml`) as pytest tests: collected beside an identity file, one item per case.

pytest loads this module at its start in every project where rls is installed, so it imports nothing else before a
suite is found. Options: `--rls-database FILE|URL`, or `rls_database` in pytest's configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rls.identity.principal import Principal
    from rls.lab.suites.run import Worlds
    from rls.lab.suites.suite import Case, Failure, Outcome, Suite
    from rls.lab.world.world import World
    from rls.policy.policy_set import PolicySet

__all__ = ["CaseItem", "SuiteFile", "pytest_addoption", "pytest_collect_file", "pytest_unconfigure"]

_ENDINGS = (".test.yaml", ".test.yml")


class CaseFailed(Exception):
    """A case did not pass; what differs is in its outcome."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.case.id)
        self.outcome = outcome


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("rls", "row-level security suites (*.test.yaml)")
    group.addoption("--rls-database", metavar="FILE|URL", help="database for suites without rows of their own")
    parser.addini("rls_database", "database (a file or a URL) for suites without rows of their own", default="")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SuiteFile | None:
    """A suite is a file of that name with an identity file beside it, or in a directory above."""
    if not file_path.name.endswith(_ENDINGS):
        return None
    folder = next((p for p in file_path.parents if (p / "identity.yaml").is_file()), None)
    if folder is None:
        return None
    made: SuiteFile = SuiteFile.from_parent(parent, path=file_path)
    made.policies = folder
    return made


def pytest_unconfigure(config: pytest.Config) -> None:
    for opened in config.stash.get(_OPENED, {}).values():
        opened[2].__exit__()


_Opened = tuple["PolicySet", "dict[str, Principal]", "Worlds"]
_OPENED: pytest.StashKey[dict[Path, _Opened]] = pytest.StashKey()


class SuiteFile(pytest.File):
    """A suite file."""

    policies: Path

    def collect(self) -> Iterator[CaseItem]:
        """An item per case, cells of the matrix included."""
        from rls.lab.suites.reader import read_suite

        policies, personas, worlds = self._open()
        suite = read_suite(self.path, policies.identity, personas)
        world, cases, problem = worlds.prepare(suite)
        for case in cases:
            item: CaseItem = CaseItem.from_parent(self, name=case.id.partition("::")[2])
            item.set_up(suite, world, case, problem)
            yield item

    def _open(self) -> _Opened:
        from rls.lab.suites.reader import directory_personas
        from rls.lab.suites.run import Worlds
        from rls.lab.world.world import database_at
        from rls.policy.load import load_policies

        opened = self.config.stash.setdefault(_OPENED, {})
        if self.policies not in opened:
            chosen = self.config.getoption("--rls-database") or self.config.getini("rls_database")
            database = database_at(str(chosen)) if chosen else None
            if isinstance(database, Path):
                database = self.config.rootpath / database
            policies = load_policies(self.policies, keys="none")
            personas = directory_personas(self.policies, policies.identity)
            opened[self.policies] = (policies, personas, Worlds(policies, database))
        return opened[self.policies]

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:  # noqa: ARG002
        """What cannot be read is told in one line, with its place."""
        from rls.errors import RlsError

        return str(excinfo.value) if isinstance(excinfo.value, RlsError) else super().repr_failure(excinfo)


class CaseItem(pytest.Item):
    """A case."""

    suite: Suite
    world: World | None
    case: Case
    problem: Failure | None

    def set_up(self, suite: Suite, world: World | None, case: Case, problem: Failure | None) -> None:
        """What it runs."""
        self.suite, self.world, self.case, self.problem = suite, world, case, problem

    def runtest(self) -> None:
        from rls.lab.suites.run import run_case

        outcome = run_case(self.suite, self.world, self.case, self.problem)
        if outcome.status != "passed":
            raise CaseFailed(outcome)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The differences, as `rls test` tells them."""
        from rls.lab.suites.report import plain_failure

        if not isinstance(excinfo.value, CaseFailed):
            return super().repr_failure(excinfo, style)
        case = self.case
        place = f"{case.place.file}:{case.place.line}"
        listed = "" if case.listed else " (not listed, so expected to be invisible)"
        told = [plain_failure(failure) for failure in excinfo.value.outcome.failures]
        return "\n".join([f"{place}: {case.persona} · {case.subject}{listed}", *told])

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.case.place.line - 1, self.name
