"""Slips inside mapping tables, hierarchies of people, lists and patterns: the suite seeded from the right set tells them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rls.cli.opening import open_catalog
from rls.lab.coverage.measure import measure_coverage
from rls.lab.coverage.report import advice
from rls.lab.mutate.score import mutate
from rls.lab.seed import Seed, make_seed
from rls.lab.suites.reader import directory_personas, read_suite
from rls.lab.suites.report import plain_failure
from rls.lab.suites.run import run_suites
from rls.policy.check import check_policies
from rls.policy.load import load_policies
from tests.lab.planted import Fault, write_database, write_set
from tests.lab.telling import NOON

TABLES = """
CREATE TABLE staff (email VARCHAR PRIMARY KEY, boss VARCHAR, broker VARCHAR NOT NULL, kind VARCHAR, active BOOLEAN);
CREATE TABLE books (code VARCHAR PRIMARY KEY, broker VARCHAR NOT NULL);
CREATE TABLE access (email VARCHAR NOT NULL, code VARCHAR NOT NULL, points INTEGER, revoked BOOLEAN);
CREATE TABLE contracts (id BIGINT PRIMARY KEY, broker VARCHAR NOT NULL, number VARCHAR, premium DECIMAL(9,2), state VARCHAR,
    level INTEGER, retired BOOLEAN);
CREATE TABLE areas (id BIGINT PRIMARY KEY, broker VARCHAR NOT NULL, region VARCHAR, severity INTEGER);
CREATE TABLE watchers (email VARCHAR NOT NULL, prefix VARCHAR NOT NULL, least INTEGER);
CREATE TABLE people (id BIGINT PRIMARY KEY, broker VARCHAR NOT NULL, email VARCHAR, score INTEGER);
"""
FILES = {
    "identity.yaml": """
issuers:
  - name: https://cover.example
    audiences: [cover]
    algorithms: [HS256]
    keys: [{kid: app-1, secret: {env: A_SECRET_THAT_IS_NOT_HERE}}]
roles: [clerk, manager]
attributes:
  broker: {type: string, required: true}
  mail: {type: string}
  level: {type: integer}
""",
    "personas.yaml": """
personas:
  cleo: {subject: cleo, roles: [clerk], attributes: {broker: alba, mail: cleo@alba.test, level: 2}}
  mona: {subject: mona, roles: [manager], attributes: {broker: brig, mail: mona@brig.test}}
""",
    "wall.yaml": """
relations: {with_columns: [broker]}
policies:
  - {name: own_broker, as: restrictive, using: broker = user.broker}
""",
    "staff.yaml": """
relation: staff
policies:
  - name: team
    to: [manager]
    using: >-
      email IN (
        WITH RECURSIVE below(email) AS (
          SELECT s.email FROM staff AS s WHERE s.email = user.mail AND s.kind IN ('lead', 'chief')
          UNION
          SELECT s.email FROM staff AS s JOIN below AS b ON s.boss = b.email
          WHERE s.broker = user.broker AND s.active
        )
        SELECT email FROM below)
  - {name: myself, using: email = user.mail}
---
relation: access
policies:
  - {name: own_access, using: email = user.mail}
---
relation: watchers
policies:
  - {name: own_watch, using: email = user.mail}
""",
    "rest.yaml": """
relation: books
policies:
  - name: granted
    to: [clerk, manager]
    using: >-
      code IN (SELECT a.code FROM access AS a
               WHERE a.email = user.mail AND a.points >= 10 AND a.revoked = false)
---
relation: contracts
policies:
  - {name: marine, to: [clerk], using: "number LIKE 'MAR-%' AND state NOT IN ('void', 'lost')"}
  - {name: large, to: [manager], using: "premium >= 1000 OR state IN ('open', 'late')"}
  - {name: levels, to: [clerk], using: level <= user.level AND NOT retired}
---
relation: areas
policies:
  - name: watched
    to: [manager]
    using: >-
      EXISTS (SELECT 1 FROM watchers AS w
              WHERE w.email = user.mail AND starts_with(areas.region, w.prefix) AND areas.severity >= w.least)
---
relation: people
policies:
  - {name: low, to: [clerk], using: score < 50}
columns:
  email: {mask: "'***'"}
""",
}
SUITE = (
    ("a step without the tenant", "staff.yaml", "WHERE s.broker = user.broker AND s.active", "WHERE s.active"),
    ("a step without its condition", "staff.yaml", "AND s.active", ""),
    ("a start without its condition", "staff.yaml", " AND s.kind IN ('lead', 'chief')", ""),
    ("a start with a shorter list", "staff.yaml", "('lead', 'chief')", "('lead')"),
    ("a threshold one lower", "rest.yaml", "a.points >= 10", "a.points >= 9"),
    ("a threshold much lower", "rest.yaml", "a.points >= 10", "a.points >= 1"),
    ("a mapping without a value", "rest.yaml", "a.revoked = false", "a.revoked IS NOT TRUE"),
    ("an anchor lost", "rest.yaml", "LIKE 'MAR-%'", "LIKE '%MAR-%'"),
    ("a pattern of one letter", "rest.yaml", "LIKE 'MAR-%'", "LIKE 'M%'"),
    ("a pattern in any case", "rest.yaml", "LIKE 'MAR-%'", "ILIKE 'MAR-%'"),
    ("NOT IN with a shorter list", "rest.yaml", "('void', 'lost')", "('void')"),
    ("IN with a shorter list", "rest.yaml", "('open', 'late')", "('open')"),
    ("IN with another case", "rest.yaml", "('open', 'late')", "('open', 'late', 'LATE')"),
    ("a wall without case", "wall.yaml", "using: broker = user.broker", "using: lower(broker) = lower(user.broker)"),
    ("no level", "rest.yaml", "level <= user.level AND", "(level > user.level) IS NOT TRUE AND"),
    ("not known to be retired", "rest.yaml", "AND NOT retired", "AND retired IS NOT TRUE"),
    ("a part for a beginning", "rest.yaml", "starts_with(areas.region, w.prefix)", "contains(areas.region, w.prefix)"),
    ("a mapping's threshold turned", "rest.yaml", "areas.severity >= w.least", "areas.severity <= w.least"),
)
# What no row of the right set's can tell: nothing in it speaks of the value.
WIDENED = (
    ("in a hierarchy's start", "staff.yaml", "('lead', 'chief')", "('lead', 'chief', 'clerk')", "team", "'clerk'", "s.kind"),
    ("outside sub-queries", "rest.yaml", "('open', 'late')", "('open', 'late', 'paid')", "large", "'paid'", "state"),
)  # fmt: skip


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_database(tmp_path_factory.mktemp("cover") / "cover.duckdb", names=(), tables=TABLES)


@pytest.fixture(scope="module")
def right(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Seed:
    folder = write_set(tmp_path_factory.mktemp("right") / "policies", right=FILES)
    return make_seed(folder, database, open_catalog(database), now=NOON)


def test_the_right_set_is_right(right: Seed, database: Path) -> None:
    # `people.email` is no wall for who sees people: `email = user.mail` says elsewhere whose row it is.
    policies = load_policies(right.file.parent, keys="none")
    assert [str(f) for f in check_policies(policies, open_catalog(database))] == []
    assert right.run.failed == () and right.coverage.open == ()


@pytest.mark.parametrize("slip", SUITE, ids=lambda slip: slip[0])
def test_the_suite_tells(slip: tuple[str, str, str, str], right: Seed, tmp_path: Path) -> None:
    name, file, before, after = slip
    folder = write_set(tmp_path, Fault(name, "suite", (), (file, before, after)), right=FILES)
    policies = load_policies(folder, keys="none")
    suite = read_suite(right.file, policies.identity, directory_personas(folder, policies.identity))
    failed = run_suites([suite], policies).failed
    assert failed, "no case fails"
    told = "\n".join(plain_failure(failure) for outcome in failed for failure in outcome.failures)
    assert file in told or "visible" in told


@pytest.mark.parametrize("slip", WIDENED, ids=lambda slip: slip[0])
def test_coverage_and_mutants_tell_of_an_item_too_many(slip: tuple[str, ...], right: Seed, tmp_path: Path) -> None:
    name, file, before, after, policy, item, compared = slip
    folder = write_set(tmp_path, Fault(name, "coverage", (), (file, before, after)), right=FILES)
    policies = load_policies(folder, keys="none")
    suite = read_suite(right.file, policies.identity, directory_personas(folder, policies.identity))
    (point,) = measure_coverage(policies, [suite]).open
    assert (point.kind, point.subject, point.state, point.part) == ("item", policy, item, compared)
    assert advice(point) == f"a persona and a row for which {item} in the list of `{compared}` decides"
    survivors = [fate.mutant for fate in mutate(policies, [suite]).survivors if fate.mutant.subject == policy]
    assert any(item in " ".join(m.before) and item not in " ".join(m.after) for m in survivors)
