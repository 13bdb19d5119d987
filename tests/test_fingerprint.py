"""A fingerprint is a safe key of a result cache: equal fingerprints and equal data give equal results, for any two.

Peers leaked rows through caches whose keys lacked what decided (a role, a filter's value, a version). Here whole
principals are drawn, and pairs that differ in little, so that equal fingerprints are frequent and not trivial.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
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
from tests.engine_kit import build, write_policies

IDENTITY = """
issuers:
  - name: https://app.example
    audiences: [rls-warehouse]
    algorithms: [HS256]
    keys: [{kid: k1, secret: {file: secret}}]
    max_lifetime: 3600
    leeway: 10
roles: [explorer, maker, auditor]
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
"""
DATA = """
CREATE TABLE orders (id INTEGER, tenant VARCHAR, region VARCHAR, owner VARCHAR, day DATE, amount INTEGER, margin INTEGER);
INSERT INTO orders SELECT i, ['acme', 'ACME', 'globex'][1 + i % 3], ['EMEA', 'AMER', 'o''x'][1 + (i // 3) % 3],
  ['u-1', 'u-2', 'u-3'][1 + (i // 9) % 3], DATE '2024-01-01' + i::INTEGER, i * 7 % 50, i FROM range(54) t(i);
CREATE TABLE ledger (id INTEGER, level INTEGER);
INSERT INTO ledger SELECT i, i % 4 FROM range(12) t(i);
CREATE TABLE products (id INTEGER, name VARCHAR);
INSERT INTO products VALUES (1, 'chair'), (2, 'table');
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
)


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
    "roles": st.frozensets(st.sampled_from(["explorer", "maker", "auditor"])),
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


class Asked:
    """One engine; every answer is remembered by who asked what, never by its fingerprint."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._known: dict[tuple[Who, str], tuple[str, object]] = {}

    def __call__(self, who: Who, sql: str) -> tuple[str, object]:
        """Fingerprint and answer; the error's code where the query is refused or fails (then nothing is cached)."""
        if (who, sql) not in self._known:
            self._known[who, sql] = self._ask(who, sql)
        return self._known[who, sql]

    def token(self, who: Who) -> str:
        return mint_token(
            self.engine.policies.identity,
            subject=who.subject,
            roles=sorted(who.roles),
            attributes=who.attributes(),
            lifetime=3000,
        )

    def _ask(self, who: Who, sql: str) -> tuple[str, object]:
        token = self.token(who)
        try:
            fingerprint = self.engine.guard(token, sql).fingerprint
        except QueryRefused as error:
            return "", error.code
        try:
            result = self.engine.query(token, sql)
        except RlsError as error:
            return fingerprint, error.code
        return fingerprint, (result.columns, result.types, result.rows)


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
@given(pair=pairs(), sql=st.sampled_from(QUERIES))
def test_equal_fingerprints_give_equal_results(ask: Asked, pair: tuple[Who, Who], sql: str) -> None:
    (first, one), (second, other) = ask(pair[0], sql), ask(pair[1], sql)
    assume(first)
    same = first == second
    event(f"fingerprints {'equal' if same else 'differ'}, results {'equal' if one == other else 'differ'}")
    if same:
        assert one == other


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
    assert ask(ACME, sql) == ask(replace(ACME, **{part: value}), sql)


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
    assert ask(ACME, sql)[0] != ask(replace(ACME, **{part: value}), sql)[0]


def test_policies_catalog_and_text_are_in_the_fingerprint(ask: Asked, tmp_path: Path) -> None:
    sql = "SELECT count(*) FROM products"
    base = ask(ACME, sql)[0]
    assert base != ask(ACME, f"{sql} ")[0]
    with opened(tmp_path / "policies", policies=POLICIES.replace("clearance > 2", "clearance > 3")) as engine:
        assert Asked(engine)(ACME, sql)[0] != base
    with opened(tmp_path / "catalog", data=DATA.replace("level INTEGER", "level BIGINT")) as engine:
        assert Asked(engine)(ACME, sql)[0] != base
    # Another process over the same files shares the cache: no name that only one engine knows is in it.
    with opened(tmp_path / "again") as engine:
        assert Asked(engine)(ACME, sql)[0] == base


def test_a_key_of_the_text_alone_would_leak(ask: Asked) -> None:
    """What peers did: the same text and roles, another tenant, other rows."""
    sql, other = "SELECT sum(amount) FROM orders", replace(ACME, tenant="globex", subject="u-3")
    first, second = (ask.engine.guard(ask.token(who), sql) for who in (ACME, other))
    assert (first.sql, first.policy_version) == (second.sql, second.policy_version)
    assert first.fingerprint != second.fingerprint
    assert ask(ACME, sql)[1] != ask(other, sql)[1]


def test_values_that_a_caller_binds_are_the_callers_part_of_the_key(ask: Asked) -> None:
    """`guard` never sees them, so a cache keys on the fingerprint and on them."""
    token = ask.token(ACME)
    sql = "SELECT count(*) FROM orders WHERE id > $least"
    assert ask.engine.guard(token, sql).fingerprint == ask.engine.guard(token, sql).fingerprint
    assert ask.engine.query(token, sql, {"least": 0}).rows != ask.engine.query(token, sql, {"least": 50}).rows
