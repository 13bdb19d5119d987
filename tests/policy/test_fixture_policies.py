"""The fixtures' policies, personas and keys: each persona sees what the comments beside the policies say.

The expected rows are written here as plain SQL or a walk in Python, without the policy compiler.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import pytest
from duckdb import DuckDBPyConnection

import fixtures
from rls.catalog import Catalog, Relation
from rls.engines.read_catalog import read_catalog
from rls.errors import TokenRejected
from rls.identity import Principal, load_personas, mint_token, verify_token
from rls.policy.check import check_policies
from rls.policy.grant import Grant
from rls.policy.load import load_policies
from rls.policy.policy_set import PolicySet

PERSONAS = ["alice", "bob", "gina", "hugo", "ines", "lena", "nora", "otto", "root", "sandy", "soren"]
ISSUERS = {
    "https://app.example": "rs256.private.pem",
    "https://portal.example": "es256.private.pem",
    "https://agents.example": "ed25519.private.pem",
    "https://embed.example": None,
}


@dataclass(frozen=True)
class World:
    con: DuckDBPyConnection
    catalog: Catalog
    policies: PolicySet
    personas: Mapping[str, Principal]

    def grant(self, persona: str, relation: str) -> Grant:
        grant = self.policies.grant(self.relation(relation), self.personas[persona], self.catalog)
        assert grant is not None
        return grant

    def relation(self, label: str) -> Relation:
        found = self.catalog.find(tuple(label.split(".")))
        assert found is not None
        return found

    def visible(self, persona: str, relation: str) -> list[int]:
        """Numbers of the rows that the grant leaves."""
        grant, found = self.grant(persona, relation), self.relation(relation)
        if grant.kind == "never":
            return []
        used = {name: value for name, value in grant.parameters.items() if f"${name} " in grant.predicate}
        where = f"WHERE {grant.predicate}" if grant.predicate else ""
        return rows(self.con, f'SELECT rowid FROM {self.catalog.source(found)} AS "{found.name}" {where}', used)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    path = fixtures.build(tmp_path_factory.mktemp("policies") / "warehouse.duckdb", 0.005, seed=7).path
    policies = load_policies(fixtures.POLICIES)
    personas = load_personas(fixtures.POLICIES / "personas.yaml", policies.identity)
    with duckdb.connect(str(path), read_only=True) as con:
        yield World(con, read_catalog(con, "warehouse", name="warehouse"), policies, personas)


def rows(con: DuckDBPyConnection, sql: str, parameters: dict[str, Any] | None = None) -> list[int]:
    return sorted(row for (row,) in con.execute(sql, parameters or None).fetchall())


def test_the_personas_cover_roles_tenants_and_gaps(world: World) -> None:
    personas = world.personas
    assert sorted(personas) == PERSONAS
    assert {frozenset(p.roles) for p in personas.values()} >= {
        frozenset({"explorer"}), frozenset({"maker"}), frozenset({"admin"}), frozenset(), frozenset({"admin", "explorer"})
    }  # fmt: skip
    assert {p.attributes["tenant"] for p in personas.values()} >= {"acme", "globex", "initech", "ACME", "o'brien & søn"}
    assert personas["lena"].attributes["regions"] == ()
    assert "clearance" not in personas["gina"].attributes


def test_the_policies_have_no_findings(world: World) -> None:
    assert check_policies(world.policies, world.catalog) == []


def test_every_persona_of_a_tenant_is_an_employee_there(world: World) -> None:
    people = dict(world.con.execute("SELECT user_id, (tenant_id, department) FROM employees").fetchall())
    for name, persona in world.personas.items():
        if persona.attributes["tenant"] != "platform":
            tenant, department = people[persona.subject]
            assert tenant == persona.attributes["tenant"], name
            assert department == persona.attributes.get("department", department), name


@pytest.mark.parametrize("issuer", ISSUERS)
def test_every_issuers_tokens_are_accepted(issuer: str, world: World) -> None:
    identity = world.policies.identity
    file = ISSUERS[issuer]
    key = None if file is None else (fixtures.KEYS / file).read_bytes()
    for persona in world.personas.values():
        token = mint_token(
            identity, subject=persona.subject, roles=sorted(persona.roles), attributes=persona.attributes,
            issuer=issuer, audience="rls-warehouse", key=key,
        )  # fmt: skip
        principal = verify_token(token, identity, now=time.time())
        assert principal.attributes == persona.attributes
        assert (principal.subject, principal.roles) == (persona.subject, persona.roles)
        with pytest.raises(TokenRejected):
            verify_token(token, identity, now=time.time() + 86_400)


OWN = "tenant_id = 'acme'"
MANAGED_BY_LENA = "SELECT customer_id FROM account_managers WHERE user_id = 'acme-7' AND until IS NULL"


@pytest.mark.parametrize(
    ("persona", "relation", "expected"),
    [
        # A restrictive wall and an OR of two permissive policies.
        ("alice", "orders", f"{OWN} AND region = 'EMEA'"),
        ("alice", "customers", f"{OWN} AND region = 'EMEA'"),
        ("alice", "order_lines", f"{OWN} AND order_id IN (SELECT id FROM orders WHERE region = 'EMEA')"),
        ("alice", "events", f"{OWN} AND region = 'EMEA'"),
        ("alice", "tenants", "id = 'acme'"),
        ("alice", "account_managers", "false"),
        # An empty list matches nothing; what is left comes from the mapping table.
        ("lena", "orders", f"{OWN} AND customer_id IN ({MANAGED_BY_LENA})"),
        ("lena", "customers", f"id IN ({MANAGED_BY_LENA})"),
        ("lena", "order_lines", f"order_id IN (SELECT id FROM orders WHERE customer_id IN ({MANAGED_BY_LENA}))"),
        ("lena", "events", "false"),
        ("lena", "account_managers", "user_id = 'acme-7'"),
        # A maker sees the tenant, from the day the contract covers; NULL classifications stay hidden.
        ("bob", "orders", OWN),
        ("bob", "events", f"{OWN} AND event_date >= DATE '2024-07-01'"),
        ("bob", "finance.ledger", f"{OWN} AND classification IN (1, 2, 3)"),
        ("bob", "finance.orders", OWN),
        ("bob", "account_managers", "starts_with(user_id, 'acme-')"),
        ("hugo", "events", "tenant_id = 'globex' AND event_date >= DATE '2025-01-01'"),
        ("hugo", "finance.ledger", "tenant_id = 'globex' AND classification IS NOT NULL"),
        # A missing clearance is no clearance; a department that is not finance sees no ledger.
        ("gina", "finance.ledger", "false"),
        ("gina", "finance.orders", "tenant_id = 'globex' AND amount < 10000"),
        ("alice", "finance.ledger", "false"),
        ("ines", "finance.ledger", "tenant_id = 'initech' AND classification <= 2"),
        ("sandy", "finance.ledger", "false"),
        ("alice", "2024 Targets", f"{OWN} AND (department = 'sales' OR (department IS NULL AND region = 'EMEA'))"),
        # Ids are compared exactly: case, quotes and letters outside ASCII.
        ("sandy", "orders", "tenant_id = 'ACME'"),
        ("soren", "orders", "tenant_id = 'o''brien & søn' AND region IN ('EMEA', 'APAC')"),
        # No role: only what is public. Admin: everything. Both roles: the wall for explorers stands.
        ("nora", "products", "true"),
        ("nora", "tenants", "false"),
        ("nora", "customers", "false"),
        ("root", "events", "true"),
        ("root", "finance.ledger", "true"),
        ("root", "employees", "true"),
        ("root", "account_managers", "true"),
        ("root", "tenants", "true"),
        ("otto", "orders", OWN),
        ("otto", "finance.ledger", "false"),
        ("otto", "tenants", "true"),
    ],
)
def test_rows(world: World, persona: str, relation: str, expected: str) -> None:
    source = ".".join(f'"{part}"' for part in relation.split("."))
    wanted = rows(world.con, f"SELECT rowid FROM {source} WHERE {expected}")
    assert bool(wanted) == (expected != "false")  # otherwise the comparison below proves nothing
    assert world.visible(persona, relation) == wanted


@pytest.mark.parametrize(("persona", "tenant"), [("alice", "acme"), ("hugo", "globex"), ("lena", "acme")])
def test_everyone_below_me_inside_the_tenant(world: World, persona: str, tenant: str) -> None:
    people = world.con.execute("SELECT rowid, id, manager_id, tenant_id, user_id, department FROM employees").fetchall()
    below = {p[1] for p in people if p[4] == world.personas[persona].subject}
    while more := {p[1] for p in people if p[2] in below} - below:
        below |= more
    wanted = {p[0] for p in people if p[1] in below and p[3] == tenant}
    if persona == "hugo":
        wanted |= {p[0] for p in people if p[3] == tenant and p[5] == "board"}
    if persona == "alice":
        assert {p[3] for p in people if p[1] in below} == {"acme", "ACME"}  # the wall is needed
    assert len(wanted) > 3
    assert world.visible(persona, "employees") == sorted(wanted)


def test_columns(world: World) -> None:
    of = world.grant
    assert of("alice", "orders").denied == {"margin"}
    assert list(of("alice", "orders").masks) == ["customer_email"]
    assert (of("bob", "orders").denied, dict(of("bob", "orders").masks)) == (frozenset(), {})
    assert of("alice", "customers").denied == {"Credit Limit"}
    assert of("bob", "events").denied == {"ip"}
    assert of("root", "events").denied == frozenset()
    assert list(of("root", "employees").masks) == ["salary"]
    assert of("alice", "orders").labels == {"status"}
    assert of("alice", "events").labels == frozenset()
