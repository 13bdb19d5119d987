"""Grants: combination, roles, patterns, partial evaluation, masks and denied columns, default deny."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from rls.catalog import Catalog, Relation
from rls.errors import PolicyInvalid
from rls.policy.grant import Grant
from rls.policy.policy_set import PolicySet
from tests.policy.cases import CATALOG, EMPLOYEES, LEDGER, MANAGERS, ORDERS, PRODUCTS, REPORT, person, policy_set

WALL = """
relations: {with_columns: [tenant_id]}
policies:
  - {name: own_tenant, as: restrictive, to: [explorer, maker], using: tenant_id = user.tenant}
  - {name: admin_sees_all, to: [admin], using: true}
"""
OWN_ORDERS = """
relation: orders
policies:
  - {name: own_regions, to: [explorer], using: region IN user.regions}
  - {name: large, to: [explorer], using: amount > 1000 OR user.clearance >= 3}
  - {name: all, to: [maker], using: true}
columns:
  Region: {mask: "'***'", except: [maker]}
  margin: {deny: true, except: [maker, admin]}
  status: {labels: public}
"""


@pytest.fixture
def policies(tmp_path: Path) -> PolicySet:
    return policy_set(tmp_path, WALL, OWN_ORDERS, "relation: products\npublic: true\n")


def grant(policies: PolicySet, principal: object, relation: Relation = ORDERS) -> Grant:
    found = policies.grant(relation, principal, CATALOG)  # type: ignore[arg-type]
    assert found is not None
    return found


TENANT = '("orders"."tenant_id" = CAST($rls_tenant AS VARCHAR))'


def test_restrictive_and_permissive(policies: PolicySet) -> None:
    found = grant(policies, person("explorer", tenant="acme", regions=("EMEA",), clearance=1))
    assert found.kind == "conditional"
    assert found.predicate == (
        f'{TENANT} AND (("orders"."amount" > 1000) OR '
        'list_contains(CAST($rls_regions AS VARCHAR[]), "orders"."region"))'
    )
    assert found.parameters == {"rls_tenant": "acme", "rls_regions": ["EMEA"]}
    assert found.policies == ("large", "own_regions", "own_tenant")
    assert found.masks == {"region": "'***'"}
    assert found.denied == {"margin"}
    assert found.labels == {"status"}
    assert found.reasons == ()


def test_what_is_known_of_the_principal_folds_away(policies: PolicySet) -> None:
    found = grant(policies, person("explorer", tenant="acme", regions=("EMEA",), clearance=3))
    assert found.predicate == TENANT
    assert found.policies == ("large", "own_tenant")
    assert found.parameters == {"rls_tenant": "acme"}


def test_roles(policies: PolicySet) -> None:
    maker = grant(policies, person("maker", tenant="acme"))
    assert (maker.kind, maker.predicate, maker.masks, maker.denied) == ("conditional", TENANT, {}, frozenset())
    admin = grant(policies, person("admin"))
    assert (admin.kind, admin.predicate, admin.policies) == ("always", "", ("admin_sees_all",))
    # A second role brings its restrictions with it.
    both = grant(policies, person("admin", "explorer", tenant="acme"))
    assert (both.kind, both.predicate) == ("conditional", TENANT)
    nobody = grant(policies, person(tenant="acme"))
    assert (nobody.kind, nobody.policies) == ("never", ())
    assert nobody.reasons == ("no policy of `orders` applies to this principal's roles",)


def test_a_missing_attribute_closes(policies: PolicySet) -> None:
    found = grant(policies, person("maker", regions=("EMEA",)))
    assert (found.kind, found.policies, found.parameters) == ("never", ("own_tenant",), {})
    assert found.reasons == ("`own_tenant`: attribute `tenant` is missing or not of its declared type",)


def test_a_missing_attribute_of_one_policy_leaves_the_others(policies: PolicySet) -> None:
    found = grant(policies, person("explorer", tenant="acme", clearance=1))
    assert found.predicate == f'{TENANT} AND ("orders"."amount" > 1000)'
    assert found.reasons == ("`own_regions`: attribute `regions` is missing or not of its declared type",)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tenant", 1), ("tenant", ("acme",)), ("tenant", None), ("clearance", "3"), ("clearance", True),
        ("clearance", 2**63), ("clearance", Decimal(3)), ("regions", "EMEA"), ("regions", ("EMEA", None)),
        ("regions", ("EMEA", 1)), ("limit", 1.5), ("limit", Decimal("0.0000001")), ("limit", Decimal("NaN")),
        ("limit", Decimal(10) ** 12), ("since", "2025-01-01"), ("since", datetime(2025, 1, 1)), ("flag", 1),
        ("seen", date(2025, 1, 1)),
    ],
)  # fmt: skip
def test_a_value_that_is_not_of_its_type_is_missing(tmp_path: Path, name: str, value: object) -> None:
    text = f"relation: orders\npolicies: [{{name: p, using: 'user.{name} IS NOT NULL'}}]\n"
    found = grant(policy_set(tmp_path, text), person("explorer", **{name: value}))
    assert found.kind == "never"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tenant", "o'brien * ∅"), ("clearance", -(2**63)), ("regions", ()), ("limit", Decimal("123456789012.000001")),
        ("since", date(1, 1, 1)), ("flag", False), ("seen", datetime(2025, 1, 1, 12)), ("ids", (2**63 - 1,)),
    ],
)  # fmt: skip
def test_a_value_of_its_type_is_bound_as_it_is(tmp_path: Path, name: str, value: object) -> None:
    text = f"relation: products\npolicies: [{{name: p, using: 'coalesce(user.{name} IS NULL, id > 0)'}}]\n"
    found = grant(policy_set(tmp_path, text), person("explorer", **{name: value}), PRODUCTS)
    assert found.parameters == {f"rls_{name}": list(value) if isinstance(value, tuple) else value}
    assert str(value) not in found.predicate


FOLDED = {
    # using: (kind with the attributes below, kind without any)
    "user.clearance >= 2 OR user.flag": ("always", "never"),
    "user.clearance > 2 AND id = 1": ("never", "never"),
    "user.tenant IS NULL OR tenant_id = user.tenant": ("conditional", "always"),
    "user.tenant IS NOT NULL AND id = 1": ("conditional", "never"),
    "NOT (user.tenant IS NULL) AND id = 1": ("conditional", "never"),
    "(user.tenant IS NULL AND id = 1) OR tenant_id = user.tenant": ("conditional", "never"),
    "tenant_id IS DISTINCT FROM user.tenant": ("conditional", "never"),
    "coalesce(tenant_id = user.tenant, true)": ("conditional", "never"),
    "NOT tenant_id = user.tenant": ("conditional", "never"),
    "user.tenant IN ('acme', 'x')": ("always", "never"),
    "user.tenant NOT IN ('acme', 'x')": ("never", "never"),
    "user.tenant = 'ACME'": ("never", "never"),
    "user.tenant <> 'Ä'": ("always", "never"),
    "'EMEA' IN user.regions": ("always", "never"),
    "'explorer' IN user.roles": ("always", "always"),
    "'admin' IN user.roles": ("never", "never"),
    "user.subject = 'u-1'": ("always", "always"),
    "user.since BETWEEN DATE '2024-01-01' AND DATE '2024-12-31'": ("always", "never"),
    "user.since < DATE '2024-02-29'": ("never", "never"),
    "user.limit = 1.5": ("always", "never"),
    "user.clearance = 2.0": ("always", "never"),
    "user.flag AND NOT user.flag": ("never", "never"),
    "NULL": ("never", "never"),
    "true OR tenant_id = user.tenant": ("always", "always"),
    # Left to DuckDB: other types, functions, conversions.
    "user.tenant = 1": ("conditional", "never"),
    "lower(user.tenant) = 'acme'": ("conditional", "never"),
    "user.since < '2024-01-01'": ("conditional", "never"),
}


@pytest.mark.parametrize("using", FOLDED)
def test_kinds(tmp_path: Path, using: str) -> None:
    text = f"relation: orders\npolicies:\n  - name: p\n    using: |\n      {using}\n"
    policies = policy_set(tmp_path, text)
    known = person(
        "explorer",
        tenant="acme",
        regions=("EMEA",),
        clearance=2,
        flag=True,
        since=date(2024, 2, 29),
        limit=Decimal("1.5"),
    )
    assert (grant(policies, known).kind, grant(policies, person("explorer")).kind) == FOLDED[using]


def test_nobody_decided(policies: PolicySet) -> None:
    assert policies.grant(MANAGERS, person("admin"), CATALOG) is None
    # A pattern is for tables; a view is guarded by those it reads.
    assert policies.grant(REPORT, person("admin"), CATALOG) is None


def test_columns_alone_decide_nothing(tmp_path: Path) -> None:
    policies = policy_set(tmp_path, "relation: orders\ncolumns: {margin: {deny: true}}\n")
    assert policies.grant(ORDERS, person("admin"), CATALOG) is None


def test_restrictive_alone_shows_nothing(policies: PolicySet) -> None:
    found = grant(policies, person("explorer", tenant="acme"), EMPLOYEES)
    assert (found.kind, found.reasons) == ("never", ("no policy of `employees` applies to this principal's roles",))


def test_public(policies: PolicySet, tmp_path: Path) -> None:
    assert grant(policies, person(), PRODUCTS).kind == "always"
    # The wall still stands before a table that is public by mistake.
    walled = policy_set(tmp_path / "walled", WALL, "relation: orders\npublic: true\n")
    assert grant(walled, person("explorer", tenant="acme")).predicate == TENANT
    assert grant(walled, person()).kind == "always"


def test_patterns(tmp_path: Path) -> None:
    text = """
relations: {with_columns: [TENANT_ID, id], in_schemas: [Main], except: [employees]}
policies: [{name: p, using: "true"}]
columns: {email: {mask: "'x'"}, margin: {deny: true}}
"""
    policies = policy_set(tmp_path, text)
    decided = {r.label for r in CATALOG.relations.values() if policies.grant(r, person(), CATALOG)}
    assert decided == {"orders"}
    assert grant(policies, person()).denied == {"margin"}


def test_two_masks_for_one_column_are_refused(tmp_path: Path) -> None:
    pattern = "relations: {with_columns: [region]}\ncolumns: {region: {mask: \"'a'\"}}\n"
    named = "relation: orders\npolicies: [{name: p, using: true}]\ncolumns: {region: {mask: \"'b'\"}}\n"
    policies = policy_set(tmp_path, pattern, named)
    with pytest.raises(PolicyInvalid) as caught:
        policies.grant(ORDERS, person(), CATALOG)
    assert caught.value.code == "policy.ambiguous_mask"
    assert caught.value.file.endswith("1.yaml")
    assert f"{tmp_path / '0.yaml'}:2" in str(caught.value)
    same = policy_set(tmp_path / "same", pattern, named.replace("'b'", "'a'"))
    assert grant(same, person()).masks == {"region": "'a'"}


def test_denied_beats_masked(tmp_path: Path) -> None:
    pattern = "relations: {with_columns: [region]}\ncolumns: {region: {deny: true, except: [maker]}}\n"
    named = 'relation: orders\npolicies: [{name: p, using: true}]\ncolumns: {region: {mask: "user.tenant"}}\n'
    policies = policy_set(tmp_path, pattern, named)
    found = grant(policies, person("explorer", tenant="acme"))
    assert (found.denied, found.masks, found.parameters) == ({"region"}, {}, {})
    found = grant(policies, person("maker", tenant="acme"))
    assert (found.denied, found.parameters) == (frozenset(), {"rls_tenant": "acme"})
    assert found.masks == {"region": "CAST($rls_tenant AS VARCHAR)"}


def test_a_mask_without_its_attribute_shows_nothing(tmp_path: Path) -> None:
    text = """
relation: orders
policies: [{name: p, using: true}]
columns:
  amount: {mask: "CASE WHEN tenant_id = user.tenant THEN amount END"}
  status: {mask: "CASE WHEN tenant_id = user.tenant THEN status END"}
"""
    found = grant(policy_set(tmp_path, text), person())
    assert found.masks == {"amount": "CAST(NULL AS DECIMAL(9,2))", "status": "CAST(NULL AS VARCHAR)"}
    assert found.reasons[0] == "mask of `amount`: attribute `tenant` is missing or not of its declared type"


def test_a_mask_cannot_show_hidden_labels(tmp_path: Path) -> None:
    text = "relation: orders\npolicies: [{name: p, using: true}]\ncolumns: {region: {mask: status}}\n"
    assert grant(policy_set(tmp_path, text), person()).masks == {"region": 'CAST("orders"."status" AS VARCHAR)'}


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("relation: orders\npolicies: [{name: p, using: tenant = 'x'}]\n", "policy.unknown_column", 2),
        (
            "relation: orders\npolicies: [{name: p, using: true}]\ncolumns: {rigion: {deny: true}}\n",
            "policy.unknown_column",
            3,
        ),
        ("relation: orders\npublic: true\n---\nrelation: main.orders\npublic: true\n", "policy.duplicate_relation", 4),
        ("relation: orders\npolicies: [{name: p, using: id IN (FROM nothing)}]\n", "policy.unknown_relation", 2),
    ],
)
def test_policies_that_do_not_fit_the_catalog_stop_the_query(tmp_path: Path, text: str, code: str, line: int) -> None:
    policies = policy_set(tmp_path, text)
    for _ in range(2):
        with pytest.raises(PolicyInvalid) as caught:
            policies.grant(ORDERS, person("admin"), CATALOG)
        assert (caught.value.code, caught.value.line) == (code, line)


def test_names_are_found_from_main_wherever_the_query_stands(tmp_path: Path) -> None:
    text = "relation: ledger\npublic: true\n---\nrelation: employees\npolicies: [{name: p, using: id IN (FROM products SELECT id)}]\n"
    policies = policy_set(tmp_path, text)
    inside = CATALOG.from_schema(("finance",))
    assert policies.grant(LEDGER, person(), inside) is None
    found = policies.grant(EMPLOYEES, person(), inside)
    assert found is not None
    assert '"hidden"."main"."products"' in found.predicate


def test_catalogs_are_told_apart(policies: PolicySet) -> None:
    alice = person("explorer", tenant="acme", regions=("EMEA",))
    before = grant(policies, alice)
    narrower = Relation(("main",), "orders", tuple(c for c in ORDERS.columns if c.name != "region"))
    with pytest.raises(PolicyInvalid):
        policies.grant(narrower, alice, Catalog.of("shop", [narrower]))
    assert grant(policies, alice) == before


def test_many_threads_get_their_own_grants(policies: PolicySet) -> None:
    def ask(number: int) -> bool:
        found = grant(policies, person("explorer", tenant=f"t{number}", regions=(f"r{number}",)))
        return found.parameters == {"rls_tenant": f"t{number}", "rls_regions": [f"r{number}"]}

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(400)))


def test_policies_are_combined_in_order_of_names(tmp_path: Path) -> None:
    one = "relation: orders\npolicies: [{name: b, using: id = 2}, {name: a, using: id = 1}]\n"
    two = "relations: {with_columns: [id]}\npolicies: [{name: aa, using: id = 3}]\n"
    first = grant(policy_set(tmp_path / "x", one, two), person()).predicate
    assert first == '(("orders"."id" = 1) OR ("orders"."id" = 3) OR ("orders"."id" = 2))'
    assert grant(policy_set(tmp_path / "y", two, one), person()).predicate == first
