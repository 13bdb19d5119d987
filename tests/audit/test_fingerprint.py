"""A fingerprint is a safe key of a result cache: equal fingerprints and equal data give equal results, for any two.

Peers leaked rows through caches whose keys lacked what decided (a role, a filter's value, a version). Here whole
principals are drawn, and pairs that differ in little, so that equal fingerprints are frequent and not trivial.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from rls.audit.record import AuditRecord
from rls.engine import Engine
from rls.engines.limits import Limits
from rls.errors import QueryRefused, RlsError
from rls.identity import mint_token
from rls.rewrite.guarded import GuardedQuery
from tests.engine.kit import build, write_policies

IDENTITY = """
issuers:
  - name: https://app.example
    audiences: [rls-warehouse]
    algorithms: [HS256]
    keys: [{kid: k1, secret: {file: secret}}]
    max_lifetime: 3600
    leeway: 10
roles: {explorer: {}, maker: {}, auditor: {}, guest: {limits: {rows: 1}}}
attributes:
  tenant: {type: string, readable: true}
  regions: {type: string, list: true}
  clearance: {type: integer, readable: true}
  since: {type: date}
  unused: {type: string}
"""
POLICIES = """
relation: orders
policies:
  - {name: own_tenant, as: restrictive, to: [explorer, maker], using: tenant = user.tenant}
  - {name: own_regions, to: [explorer], using: region IN user.regions}
  - {name: own_rows, to: [explorer], using: owner = user.subject}
  - {name: recent, as: restrictive, to: [maker], using: day >= user.since OR user.clearance > 2}
  - {name: all_rows, to: [maker, auditor], using: "true"}
columns:
  owner: {mask: "CASE WHEN user.clearance > 1 THEN owner ELSE '***' END", except: [auditor]}
  margin: {deny: true, except: [maker, auditor]}
---
relation: ledger
policies:
  - {name: cleared, to: [maker, explorer], using: level <= user.clearance}
---
relation: products
public: true
---
relation: visits
policies: [{name: lately, using: "age(seen) < INTERVAL 1 YEAR"}]
"""
DATA = """
CREATE TABLE orders (id INTEGER, tenant VARCHAR, region VARCHAR, owner VARCHAR, day DATE, amount INTEGER, margin INTEGER);
INSERT INTO orders SELECT i, ['acme', 'ACME', 'globex'][1 + i % 3], ['EMEA', 'AMER', 'o''x'][1 + (i // 3) % 3],
  ['u-1', 'u-2', 'u-3'][1 + (i // 9) % 3], DATE '2024-01-01' + i::INTEGER, i * 7 % 50, i FROM range(54) t(i);
CREATE TABLE ledger (id INTEGER, level INTEGER);
INSERT INTO ledger SELECT i, i % 4 FROM range(12) t(i);
CREATE TABLE products (id INTEGER, name VARCHAR);
INSERT INTO products VALUES (1, 'chair'), (2, 'table');
CREATE TABLE visits (seen TIMESTAMP);
CREATE VIEW lately AS SELECT id FROM products WHERE DATE '2024-01-01' < today();
CREATE VIEW busy AS SELECT tenant, region, count(*) AS n FROM orders GROUP BY ALL;
"""
# Each gives the same rows in the same order whenever it runs on the same data.
QUERIES = (
    "SELECT * FROM orders ORDER BY id",
    "SELECT count(*), sum(amount) FROM orders",
    "SELECT owner, count(*) FROM orders GROUP BY owner ORDER BY ALL",
    "SELECT * FROM products ORDER BY id",
    "SELECT * FROM busy ORDER BY ALL",
    "SELECT o.id, l.level FROM orders o JOIN ledger l ON o.id = l.id ORDER BY ALL",
    "SELECT user.tenant, user.clearance, count(*) FROM products",
    "SELECT id FROM orders WHERE amount > user.clearance ORDER BY id",
    "SELECT id FROM ledger EXCEPT SELECT id FROM orders ORDER BY 1",
    "WITH o AS (FROM orders) SELECT count(*), (SELECT max(id) FROM ledger) FROM o",
    "SELECT margin FROM orders ORDER BY 1",
    "PIVOT (SELECT region, amount FROM orders) ON region USING sum(amount)",
    "SELECT 1 / (SELECT count(*) FROM ledger)",
    "SELECT count(*) FROM orders WHERE id > $value",
    "SELECT typeof($value), $value AS value FROM products",
)
# What a caller may bind: some are equal to Python and different to SQL.
VALUES = (None, 0, 1, 50, True, 1.0, "1", Decimal("1.0"), [1], [True])


@dataclass(frozen=True)
class Who:
    """A principal as its token says it."""

    subject: str
    roles: frozenset[str]
    tenant: str | None
    regions: tuple[str, ...] | None
    clearance: int | None
    since: str | None
    unused: str | None

    def attributes(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in ("tenant", "regions", "clearance", "since", "unused")}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in given.items() if v is not None}


PARTS: dict[str, st.SearchStrategy[Any]] = {
    "subject": st.sampled_from(["u-1", "u-2", "acme"]),
    "roles": st.frozensets(st.sampled_from(["explorer", "maker", "auditor", "guest"])),
    "tenant": st.sampled_from([None, "acme", "ACME", "globex", "EMEA"]),
    "regions": st.none() | st.lists(st.sampled_from(["EMEA", "AMER", "o'x"]), max_size=2).map(tuple),
    "clearance": st.sampled_from([None, 0, 1, 2, 3]),
    "since": st.sampled_from([None, "2024-01-10", "2024-02-20"]),
    "unused": st.sampled_from([None, "a", "b"]),
}
PEOPLE = st.builds(Who, **PARTS)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Who, Who]:
    """Two principals; often they differ in a part or two."""
    first = draw(PEOPLE)
    parts = draw(st.lists(st.sampled_from(list(PARTS)), max_size=2, unique=True))
    second = draw(PEOPLE) if draw(st.integers(0, 3)) == 0 else replace(first, **{p: draw(PARTS[p]) for p in parts})
    return first, second


@dataclass(frozen=True)
class Answer:
    """What was guarded, and what came of it: columns, types and rows, or the code of an error."""

    guarded: GuardedQuery | None
    result: object


class Asked:
    """One engine; every answer is remembered by who asked what, never by its fingerprint."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._known: dict[tuple[Who, str, str], Answer] = {}

    def __call__(self, who: Who, sql: str, value: object = None) -> Answer:
        """The answer to a text, with `value` for its parameter if it has one. Where the query is refused, or fails,
        nothing is cached."""
        parameters = {"value": value} if "$value" in sql else {}
        key = (who, sql, repr(parameters))
        if key not in self._known:
            self._known[key] = self._ask(who, sql, parameters)
        return self._known[key]

    def fingerprint(self, who: Who, sql: str) -> str:
        guarded = self(who, sql).guarded
        assert guarded is not None
        return guarded.fingerprint

    def token(self, who: Who) -> str:
        return mint_token(
            self.engine.policies.identity,
            subject=who.subject,
            roles=sorted(who.roles),
            attributes=who.attributes(),
            lifetime=3000,
        )

    def _ask(self, who: Who, sql: str, parameters: Mapping[str, object]) -> Answer:
        token = self.token(who)
        try:
            guarded = self.engine.guard(token, sql, parameters)
        except QueryRefused as error:
            return Answer(None, error.code)
        try:
            result = self.engine.query(token, sql, parameters)
        except RlsError as error:
            return Answer(guarded, error.code)
        return Answer(guarded, (result.columns, result.types, repr(result.rows)))


def opened(folder: Path, *, policies: str = POLICIES, data: str = DATA) -> Engine:
    folder.mkdir(exist_ok=True)
    directory = write_policies(folder / "policies", policies)
    (directory / "identity.yaml").write_text(IDENTITY)
    kept: list[AuditRecord] = []
    return Engine.open(
        build(folder / "warehouse.duckdb", data),
        policies=directory,
        audit=kept.append,
        limits=Limits(threads=1),
        isolation="thread",
    )


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with opened(tmp_path_factory.mktemp("fingerprint")) as engine:
        yield Asked(engine)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(pair=pairs(), sql=st.sampled_from(QUERIES), values=st.tuples(st.sampled_from(VALUES), st.sampled_from(VALUES)))
def test_equal_fingerprints_give_equal_results(
    ask: Asked, pair: tuple[Who, Who], sql: str, values: tuple[object, object]
) -> None:
    one, other = ask(pair[0], sql, values[0]), ask(pair[1], sql, values[1])
    assume(one.guarded and other.guarded)
    assert one.guarded
    assert other.guarded
    assert one.guarded.cacheable
    same = one.guarded.fingerprint == other.guarded.fingerprint
    event(
        f"fingerprints {'equal' if same else 'differ'}, results {'equal' if one.result == other.result else 'differ'}"
    )
    if same:
        assert one.result == other.result


@pytest.fixture(scope="module")
def answers(ask: Asked) -> list[Answer]:
    """Everybody, changed in one part after the other, asks everything: what a cache would see on a busy day."""
    source = random.Random(6)
    people = [
        replace(ACME, roles=frozenset(roles), **{part: value})
        for roles in ({"explorer"}, {"maker"}, {"auditor"}, {"guest", "explorer"}, {"guest"})
        for part, values in SOME.items()
        for value in values
    ]
    found = [ask(who, sql, source.choice(VALUES)) for who in people for sql in QUERIES]
    return [answer for answer in found if answer.guarded]


SOME: dict[str, tuple[Any, ...]] = {
    "subject": ("u-1", "u-2"),
    "tenant": (None, "acme", "ACME"),
    "regions": (None, (), ("EMEA",), ("AMER", "o'x")),
    "clearance": (None, 0, 1, 3),
    "since": (None, "2024-02-20"),
    "unused": ("b",),
}


def conflicts(answers: list[Answer], key: Callable[[GuardedQuery], str]) -> int:
    """How many keys have two answers."""
    found: dict[str, set[str]] = defaultdict(set)
    for answer in answers:
        assert answer.guarded is not None
        found[key(answer.guarded)].add(repr(answer.result))
    return sum(len(results) > 1 for results in found.values())


def without(*names: str) -> Callable[[GuardedQuery], str]:
    def key(guarded: GuardedQuery) -> str:
        return replace(guarded, parameters={k: v for k, v in guarded.parameters.items() if k not in names}).fingerprint

    return key


WEAKER: dict[str, Callable[[GuardedQuery], str]] = {
    "no tenant": without("rls_tenant"),
    "no regions": without("rls_regions"),
    "no clearance": without("rls_clearance"),
    "no date": without("rls_since"),
    "no subject": without("rls_subject"),
    "no value of the caller's": without("value"),
    "values without their types": lambda g: (
        replace(g, parameters={}).fingerprint + repr(sorted((n, str(v)) for n, v in g.parameters.items()))
    ),
    "values that Python calls equal": lambda g: (
        replace(g, parameters={}).fingerprint
        + repr([(n, repr(v).replace("True", "1").replace("1.0", "1")) for n, v in sorted(g.parameters.items())])
    ),
    "no bounds of a role": lambda g: replace(g, bounds=()).fingerprint,
    "no text": lambda g: replace(g, sql="").fingerprint,
    "the caller's text for the guarded one": lambda g: replace(g, sql=g.original).fingerprint,
    "nothing but the caller's text": lambda g: g.original,
}


def test_a_busy_day_has_no_two_answers_for_one_fingerprint(answers: list[Answer]) -> None:
    assert conflicts(answers, lambda guarded: guarded.fingerprint) == 0
    keys = {answer.guarded.fingerprint for answer in answers if answer.guarded}
    assert len(answers) > 900
    assert len(keys) < 0.7 * len(answers), "shared among many, or the day proves nothing"


@pytest.mark.parametrize("part", WEAKER)
def test_a_fingerprint_that_lacks_a_part_would_be_caught(answers: list[Answer], part: str) -> None:
    """The same day, with a key that has less in it: it must show, or the test above cannot fail."""
    assert conflicts(answers, WEAKER[part]) > 0


ACME = Who("u-1", frozenset({"explorer"}), "acme", ("EMEA",), 2, "2024-01-10", "a")


@pytest.mark.parametrize(
    ("sql", "part", "value"),
    [
        ("SELECT count(*) FROM orders", "unused", "b"),
        ("SELECT count(*) FROM ledger", "tenant", "globex"),
        ("SELECT count(*) FROM ledger", "subject", "u-2"),
        ("SELECT * FROM products ORDER BY id", "roles", frozenset({"maker"})),
        ("SELECT * FROM products ORDER BY id", "regions", None),
        ("SELECT count(*) FROM orders", "since", "2024-02-20"),
    ],
)
def test_what_decides_nothing_is_shared(ask: Asked, sql: str, part: str, value: Any) -> None:
    """A cache that nobody shares is safe, and useless."""
    other = replace(ACME, **{part: value})
    assert ask.fingerprint(ACME, sql) == ask.fingerprint(other, sql)
    assert ask(ACME, sql).result == ask(other, sql).result


@pytest.mark.parametrize(
    ("sql", "part", "value"),
    [
        ("SELECT count(*) FROM orders", "tenant", "ACME"),
        ("SELECT count(*) FROM orders", "regions", ("EMEA", "o'x")),
        ("SELECT count(*) FROM orders", "subject", "u-2"),
        ("SELECT count(*) FROM orders", "roles", frozenset({"maker"})),
        ("SELECT owner FROM orders", "clearance", 1),
        ("SELECT user.tenant FROM products", "tenant", None),
        ("SELECT count(*) FROM busy", "tenant", "globex"),
    ],
)
def test_what_decides_is_in_the_fingerprint(ask: Asked, sql: str, part: str, value: Any) -> None:
    assert ask.fingerprint(ACME, sql) != ask.fingerprint(replace(ACME, **{part: value}), sql)


def test_policies_catalog_and_text_are_in_the_fingerprint(ask: Asked, tmp_path: Path) -> None:
    sql = "SELECT count(*) FROM products"
    base = ask.fingerprint(ACME, sql)
    assert base != ask.fingerprint(ACME, f"{sql} ")
    with opened(tmp_path / "policies", policies=POLICIES.replace("clearance > 2", "clearance > 3")) as engine:
        assert Asked(engine).fingerprint(ACME, sql) != base
    with opened(tmp_path / "catalog", data=DATA.replace("level INTEGER", "level BIGINT")) as engine:
        assert Asked(engine).fingerprint(ACME, sql) != base
    # Another process over the same files shares the cache: no name that only one engine knows is in it.
    with opened(tmp_path / "again") as engine:
        assert Asked(engine).fingerprint(ACME, sql) == base


def test_a_key_of_the_text_alone_would_leak(ask: Asked) -> None:
    """What peers did: the same text and roles, another tenant, other rows."""
    sql, other = "SELECT sum(amount) FROM orders", replace(ACME, tenant="globex", subject="u-3")
    first, second = (ask.engine.guard(ask.token(who), sql) for who in (ACME, other))
    assert (first.sql, first.policy_version) == (second.sql, second.policy_version)
    assert first.fingerprint != second.fingerprint
    assert ask(ACME, sql).result != ask(other, sql).result


def test_values_that_a_caller_binds_are_part_of_it(ask: Asked) -> None:
    token = ask.token(ACME)
    sql = "SELECT count(*) FROM orders WHERE id > $least"
    first, other = (ask.engine.guard(token, sql, {"least": least}) for least in (0, 50))
    assert first.fingerprint != other.fingerprint
    assert first.parameters["least"] == 0
    assert first.cacheable
    unbound = ask.engine.guard(token, sql)
    assert not unbound.cacheable
    assert "least" not in unbound.parameters
    with pytest.raises(QueryRefused, match="no parameter `\\$most`"):
        ask.engine.guard(token, sql, {"most": 1})
    with pytest.raises(QueryRefused, match="reserved"):
        ask.engine.guard(token, sql, {"rls_tenant": "globex"})


@pytest.mark.parametrize(
    ("sql", "cacheable"),
    [
        ("SELECT count(*) FROM orders WHERE day < current_date", False),
        ("SELECT now()", False),
        ("SELECT localtimestamp", False),
        ("SELECT age(day) FROM orders", False),
        ("SELECT age(day, DATE '2024-01-01') FROM orders", True),
        ("SELECT ago(INTERVAL 1 DAY)", False),
        ("SELECT (SELECT max(x) FROM (SELECT random() AS x)) FROM products", False),
        ("SELECT uuid()", False),
        ("SELECT * FROM orders USING SAMPLE 50%", False),
        ("SELECT * FROM orders TABLESAMPLE reservoir(5 ROWS)", False),
        ("SELECT * FROM orders TABLESAMPLE bernoulli(50%) REPEATABLE (7)", True),
        ("SELECT CAST('10:00:00' AS TIMETZ)", False),
        ("SELECT from_json('{}', '{\"a\": \"TIME WITH TIME ZONE\"}')", False),
        ("SELECT day::TIMESTAMP AT TIME ZONE 'Europe/Paris' FROM orders", True),
        ("SELECT * FROM range(3)", True),
        ("SELECT unnest([1, 2])", True),
        ("FROM busy", True),
        ("PIVOT (SELECT region, amount FROM orders) ON region USING sum(amount)", True),
        ("PIVOT (SELECT region, random() AS r FROM orders) ON region USING sum(r)", False),
        ("FROM lately", False),
        ("FROM visits", False),
    ],
)
def test_what_changes_by_itself_is_not_cacheable(ask: Asked, sql: str, cacheable: bool) -> None:
    assert ask.engine.guard(ask.token(ACME), sql).cacheable is cacheable


def test_a_zone_of_a_bare_time_depends_on_the_day(tmp_path: Path, ask: Asked) -> None:
    """Summer time: what a time of day is in another zone is decided by today's date."""
    sql = "SELECT day::TIMESTAMP AT TIME ZONE 'Europe/Paris' FROM orders"
    with opened(tmp_path / "zoned", data=DATA + "CREATE TABLE shifts (begins TIMETZ);") as engine:
        assert not engine.guard(Asked(engine).token(ACME), sql).cacheable
    value = time(10, tzinfo=timezone(timedelta(hours=2)))
    asked = "SELECT timezone('Europe/Paris', $least)"
    assert not ask.engine.guard(ask.token(ACME), asked, {"least": value}).cacheable
    assert ask.engine.guard(ask.token(ACME), "SELECT $least", {"least": value}).cacheable
