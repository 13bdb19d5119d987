"""Mistakes planted among schemas, quoted names, mappings with two dates and hierarchies: found, and told where to mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from rls.catalog import Catalog
from rls.cli.opening import open_catalog
from rls.lab.seed import Seed, make_seed
from rls.policy.check import check_policies
from rls.policy.load import load_policies
from tests.lab.planted import Fault, write_database, write_set
from tests.lab.planted_freight import ALIKE, FAULTS, FILES, TABLES
from tests.lab.telling import NOON, tell


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables that rows are made for."""
    return write_database(tmp_path_factory.mktemp("small") / "freight.duckdb", names=(), tables=TABLES)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    path = tmp_path_factory.mktemp("freight") / "freight.duckdb"
    return open_catalog(write_database(path, names=(), tables=TABLES + ALIKE))


@pytest.fixture(scope="module")
def right(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Seed:
    """The suite seeded from the right policies."""
    folder = write_set(tmp_path_factory.mktemp("right") / "policies", right=FILES)
    return make_seed(folder, small, open_catalog(small), now=NOON)


def test_the_right_set_is_right(right: Seed, catalog: Catalog) -> None:
    policies = load_policies(right.file.parent, keys="none")
    assert len(catalog.relations) == 40
    assert [str(f) for f in check_policies(policies, catalog)] == []
    assert right.run.failed == () and right.coverage.open == () and right.over == ()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_it_is_found_and_shown(fault: Fault, right: Seed, small: Path, catalog: Catalog, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "policies", fault, right=FILES)
    if fault.tables:
        changed = write_database(tmp_path / "freight.duckdb", names=(), tables=TABLES + ALIKE, more=fault.tables)
        catalog = open_catalog(changed)
    told = tell(fault, folder, small, catalog, right)
    assert told, f"nothing found by {fault.found}"
    # One of the things that are told has all that the reader needs.
    assert any(all(word in each for word in fault.shows) for each in told), "\n".join(told)
