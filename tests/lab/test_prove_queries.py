"""Statements about policies with joins by USING, CTEs, unions and hierarchies: proved by what each row of them is made
of, refuted with the rows of a start and a step, which the engine confirmed."""

from __future__ import annotations

from pathlib import Path

import pytest

from rls.catalog import Catalog, Column, Relation
from rls.lab.prove import Limits, prove_text, proving
from rls.lab.prove.results import Result
from tests.policy.cases import policy_set

MAIN = ("main",)
UNITS = Relation(
    MAIN, "units", (Column("unit", "VARCHAR", nullable=False), Column("org", "VARCHAR"), Column("parent", "VARCHAR"))
)
FILES = Relation(MAIN, "files", (Column("id", "INTEGER", nullable=False), Column("unit", "VARCHAR")))
TEAM = Relation(MAIN, "team", (Column("person", "INTEGER"), Column("id", "INTEGER"), Column("until", "DATE")))
CARERS = Relation(MAIN, "carers", (Column("person", "INTEGER"), Column("login", "VARCHAR"), Column("org", "VARCHAR")))
WORLD = Catalog.of("care", [UNITS, FILES, TEAM, CARERS]).attached_as("care")
KEYS = {("main", "units"): ("unit",), ("main", "files"): ("id",), ("main", "carers"): ("person",)}

WALLED = (
    "unit IN (WITH RECURSIVE t(code, depth) AS (SELECT u.unit, 1 FROM units u WHERE u.parent IS NULL AND u.org = "
    "user.tenant UNION SELECT u.unit, t.depth + 1 FROM units u JOIN t ON u.parent = t.code WHERE u.org = user.tenant) "
    "SELECT code FROM t)"
)
STEP_OPEN = WALLED.replace(" WHERE u.org = user.tenant)", ")").replace("u.parent IS NULL AND ", "")
START_OPEN = WALLED.replace(" AND u.org = user.tenant UNION", " UNION")


def prove(tmp_path: Path, using: str, statement: str) -> Result:
    """The one result of a statement about `files`."""
    policies = policy_set(tmp_path, f'relation: files\npolicies:\n  - name: p\n    using: "{using}"\n')
    with proving(policies, WORLD, now=1_700_000_000, keys=KEYS) as prover:
        (result,) = prove_text(statement, prover, about=("files",), limits=Limits(), base=Path("/"))
    assert isinstance(result, Result)
    return result


@pytest.mark.parametrize(
    "using",
    [
        WALLED,
        WALLED.replace("SELECT code FROM t", "SELECT x.code FROM t AS x(code, d) WHERE x.d > 1"),
        "unit IN (WITH mine AS (SELECT unit FROM units WHERE org = user.tenant) SELECT unit FROM mine)",
        "unit IN (WITH mine AS (SELECT * FROM units WHERE org = user.tenant), top AS (FROM mine) SELECT unit FROM top)",
        "unit IN (SELECT q.a FROM (SELECT unit, org FROM units) AS q(a, b) WHERE q.b = user.tenant)",
        "unit IN (SELECT unit FROM units WHERE org = user.tenant UNION SELECT unit FROM units WHERE user.tenant = org)",
        "EXISTS (SELECT 1 FROM units u WHERE u.unit = files.unit AND EXISTS (SELECT 1 FROM carers c "
        "WHERE c.org = u.org AND u.org = user.tenant))",
    ],
)
def test_a_wall_in_every_part_is_proved(tmp_path: Path, using: str) -> None:
    result = prove(tmp_path, using, "isolated by tenant")
    assert result.verdict == "proved" and result.by_keys, result


@pytest.mark.parametrize(
    ("using", "needed"),
    [
        (STEP_OPEN, {"units"}),
        (START_OPEN, {"units"}),
        ("unit IN (WITH RECURSIVE t(code) AS (SELECT user.tenant UNION SELECT u.unit FROM units u JOIN t ON u.parent "
         "= t.code) SELECT code FROM t)", {"units"}),
        ("id IN (SELECT id FROM team JOIN carers USING (person) WHERE login = user.subject)", {"team", "carers"}),
        ("unit IN (WITH mine AS (SELECT unit FROM units WHERE org = 'all') SELECT unit FROM mine)", {"units"}),
        ("unit IN (SELECT unit FROM units WHERE org = user.tenant UNION SELECT unit FROM units WHERE parent = "
         "user.subject)", {"units"}),
        # A name that a CTE takes is no table's, wherever it stands below.
        ("unit IN (WITH units AS (SELECT unit FROM files WHERE unit > 'a') SELECT unit FROM units WHERE EXISTS "
         "(SELECT 1 FROM units AS u WHERE u.unit = 'b'))", {"files"}),
    ],
)  # fmt: skip
def test_what_is_open_somewhere_is_refuted_with_the_rows_it_needs(tmp_path: Path, using: str, needed: set[str]) -> None:
    result = prove(tmp_path, using, "isolated by tenant")
    assert result.verdict == "refuted" and result.counterexample is not None, result
    assert {label for label, _ in result.counterexample.others} == needed
    assert result.counterexample.policies  # as the engine said


@pytest.mark.parametrize(
    "using",
    [
        # The step is no plain query: its rows may be any.
        WALLED.replace("SELECT u.unit, t.depth + 1", "SELECT max(u.unit), max(t.depth) + 1"),
        # Two rows before the limit are not one row.
        "unit IN (SELECT unit FROM units WHERE org = user.tenant ORDER BY unit LIMIT 1)",
    ],
)
def test_what_is_not_known_is_left_open(tmp_path: Path, using: str) -> None:
    result = prove(tmp_path, using, "isolated by tenant")
    assert result.verdict in ("undecided", "refuted") and result.left_open


@pytest.mark.parametrize(
    ("using", "verdict"), [("id IN (SELECT id FROM files)", "proved"), ("id IN (SELECT id FROM team)", "undecided")]
)
def test_a_list_without_nulls_leaves_nothing_unknown(tmp_path: Path, using: str, verdict: str) -> None:
    assert prove(tmp_path, using, f"visible is equivalent to ({using}) IS NOT FALSE").verdict == verdict
