"""Mistakes planted in a policy set over forty tables: each is found, and what is shown says where to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rls.catalog import Catalog
from rls.cli.opening import open_catalog
from rls.lab.seed import Seed, make_seed
from rls.policy.check import check_policies
from rls.policy.load import load_policies
from tests.lab.planted import FAULTS, FEW, Fault, write_database, write_set
from tests.lab.telling import NOON, tell


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_database(tmp_path_factory.mktemp("planted") / "app.duckdb")


@pytest.fixture(scope="module")
def catalog(database: Path) -> Catalog:
    return open_catalog(database)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve of the tables, where rows are made."""
    return write_database(tmp_path_factory.mktemp("small") / "app.duckdb", names=FEW)


@pytest.fixture(scope="module")
def right(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Seed:
    """The suite seeded from the right policies."""
    folder = write_set(tmp_path_factory.mktemp("right") / "policies")
    return make_seed(folder, small, open_catalog(small), now=NOON)


def test_the_right_set_is_right(right: Seed, catalog: Catalog) -> None:
    assert len(catalog.relations) == 40
    policies = load_policies(right.file.parent, keys="none")
    assert [str(f) for f in check_policies(policies, catalog)] == []
    assert right.run.failed == () and right.coverage.open == () and right.over == ()
    assert right.wall is not None and len(right.wall.columns) == 8


def test_every_kind_is_planted() -> None:
    assert len(FAULTS) >= 40 and len({f.name for f in FAULTS}) == len(FAULTS)
    assert {f.found for f in FAULTS} == {"load", "check", "seed", "suite", "coverage", "mutate", "prove"}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_it_is_found_and_shown(fault: Fault, right: Seed, small: Path, catalog: Catalog, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "policies", fault)
    if fault.tables:
        catalog = open_catalog(write_database(tmp_path / "app.duckdb", more=fault.tables))
    told = tell(fault, folder, small, catalog, right)
    assert told, f"nothing found by {fault.found}"
    # One of the things that are told has all that the reader needs.
    assert any(all(word in each for word in fault.shows) for each in told), "\n".join(told)
