"""TPC-H on DuckDB, on PostgreSQL and under PostgreSQL's own row security: the same answers for every persona.

The native way runs the text that the engine would run for somebody who sees everything: names and functions are ported,
no guard hides a row. Skips where no PostgreSQL server is installed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.cases import Case, load_cases
from tests.engines.tpch_site import PERSONAS, Site, open_site
from tests.engines.witness import alike

SCALE = 0.001
# At this scale they find the same for everybody, mostly nothing.
UNIFORM = frozenset(("q02", "q03", "q05", "q07", "q08", "q11", "q16", "q17", "q18", "q19", "q20", "q21"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("tpch"), scale=SCALE) as made:
        yield made


@pytest.mark.parametrize("case", load_cases("tpch/queries"), ids=lambda case: case.name)
def test_tpch(site: Site, case: Case) -> None:
    bare = site.bare(case.sql)
    for name in PERSONAS:
        expected = site.witness.duckdb.query(site.witness.tokens[name], case.sql)
        actual = site.witness.postgres.query(site.witness.tokens[name], case.sql)
        # Nothing in these queries can raise: the text is the one that an expert would write.
        assert "OFFSET 0" not in site.witness.postgres.guard(site.witness.tokens[name], case.sql).sql
        assert (actual.columns, actual.types) == (expected.columns, expected.types)
        assert alike(actual.rows) == alike(expected.rows), name
        if name == "unclustered":  # its policy is lost on export
            continue
        natively = [tuple(map(plain, row)) for row in site.witness.natively(site.witness.personas[name], bare)]
        assert alike(natively) == alike([tuple(map(plain, row)) for row in expected.rows]), name
    rows = {repr(site.witness.duckdb.query(token, case.sql).rows) for token in site.witness.tokens.values()}
    assert len(rows) > 1 or case.name in UNIFORM


def plain(value: object) -> object:
    """Numbers by their value: without the engine's conversions, PostgreSQL gives whole sums as decimals."""
    from decimal import Decimal

    return float(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else value
