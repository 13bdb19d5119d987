"""Statements about all rows and all principals: what is proved must be true of the engine, what is refuted was shown."""

from __future__ import annotations

import datetime
import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
import z3

from rls.catalog import Catalog, Column, Relation, fold
from rls.cli.app import run
from rls.errors import PolicyInvalid
from rls.identity.principal import Principal
from rls.lab.prove import Limits, prove_text, proving, run_invariants
from rls.lab.prove.encode import Scene
from rls.lab.prove.results import Result
from rls.lab.prove.solve import _facts_of_texts
from rls.lab.prove.statements import read_statement
from rls.lab.prove.symbols import Asker, Row, any_asker, any_row, visible
from rls.lab.prove.terms import TRUE, constant
from rls.lab.prove.types import TypeOracle
from rls.policy.parser import ExpressionInvalid
from rls.policy.policy_set import PolicySet
from tests.policy.cases import CATALOG, ORDERS, person, policy_set

SHOP = CATALOG.attached_as("shop")


def prove(policies: PolicySet, statement: str, *, about: str = "orders", **limits: tuple[str, ...]) -> Result:
    """The one result of a statement about one relation."""
    with proving(policies, SHOP, now=1_700_000_000) as prover:
        (result,) = prove_text(statement, prover, about=(about,), limits=Limits(**limits), base=Path("/"))
    return result


def policies_for(tmp_path: Path, *usings: str, relation: str = "orders") -> PolicySet:
    """Policies of `orders`: each text is a condition, with `restrictive:` or a role before it if need be."""
    lines = [f"relation: {relation}", "policies:"]
    for number, using in enumerate(usings):
        kind, _, rest = using.partition(": ")
        lines.append(f"  - name: p{number}")
        if rest and kind == "restrictive":
            lines.append("    as: restrictive")
        elif rest:
            lines.append(f"    to: [{kind}]")
        lines.append(
            f"    using: {(rest or using)!r}".replace('"', "'") if "'" not in using else f'    using: "{rest or using}"'
        )
    return policy_set(tmp_path, "\n".join(lines) + "\n")


PROVED = [
    (("tenant_id = user.tenant",), "isolated by tenant"),
    (("tenant_id = user.tenant",), "isolated by tenant_id"),
    (("restrictive: tenant_id = user.tenant", "region IN user.regions", "maker: true"), "isolated by tenant"),
    (("tenant_id = user.tenant AND (region IN user.regions OR amount < 5)",), "isolated by tenant"),
    (("tenant_id = user.tenant",), "visible implies tenant_id IS NOT NULL"),
    (("amount > 10",), "visible implies amount >= 10"),
    (("amount > 10",), "never visible where amount BETWEEN 1 AND 10"),
    (("ordered >= user.since",), "always denied without since"),
    (("region LIKE 'EU-%'",), "visible implies region > 'EU'"),
    (("status IN ('open', 'shipped')",), "visible is disjoint from status NOT IN ('open', 'shipped')"),
    (("list_has_any(tags, user.regions)",), "visible implies tags IS NOT NULL"),
    (("customer_id IN (SELECT customer_id FROM account_managers WHERE employee = user.subject)",), "visible implies customer_id IS NOT NULL"),
    (("NOT (amount > 10)",), "visible is equivalent to amount <= 10"),
    (("coalesce(region, 'none') = 'none'",), "visible is equivalent to region IS NULL OR region = 'none'"),
    (("id % 2 = 1 OR id % 2 = -1",), "visible is disjoint from id % 2 = 0"),
    (("maker: true", "explorer: amount < 5"), "policy p1 implies amount < 6"),
]  # fmt: skip


@pytest.mark.parametrize(("usings", "statement"), PROVED)
def test_what_holds_is_proved(tmp_path: Path, usings: tuple[str, ...], statement: str) -> None:
    result = prove(policies_for(tmp_path, *usings), statement)
    assert (result.verdict, result.reason) == ("proved", "")


REFUTED = [
    # An OR without parentheses reaches past the tenant.
    (("tenant_id = user.tenant AND region = 'EMEA' OR amount < 5",), "isolated by tenant"),
    # A hole for NULL, an attribute that may be missing, a list that two tenants share.
    (("tenant_id = user.tenant OR tenant_id IS NULL",), "isolated by tenant"),
    (("user.tenant IS NULL OR tenant_id = user.tenant",), "isolated by tenant"),
    (("region IN user.regions",), "isolated by tenant"),
    (("explorer: tenant_id = user.tenant", "maker: true"), "isolated by tenant"),
    (("amount >= 10",), "visible implies amount > 10"),
    (("region LIKE 'EU%'",), "visible implies region LIKE 'EU-%'"),
    (("ordered >= user.since OR user.since IS NULL",), "always denied without since"),
    (("amount > 10",), "visible is equivalent to NOT (amount <= 10) OR amount IS NULL"),
    (("tenant_id <> 'acme'",), "visible is equivalent to tenant_id IS DISTINCT FROM 'acme'"),
    (("customer_id IN (SELECT customer_id FROM account_managers WHERE employee = user.subject)",), "isolated by tenant"),
    (("list_contains(tags, user.tenant)",), "isolated by tenant"),
    (("margin < 0.1",), "visible implies margin < 0"),
    (("amount < user.limit",), "visible implies amount < 1000"),
    # What is not modelled is found by trying.
    (("lower(region) = 'emea'",), "visible implies region = 'emea'"),
]  # fmt: skip


@pytest.mark.parametrize(("usings", "statement"), REFUTED)
def test_what_does_not_hold_is_refuted_and_confirmed(tmp_path: Path, usings: tuple[str, ...], statement: str) -> None:
    result = prove(policies_for(tmp_path, *usings), statement)
    assert (result.verdict, result.reason) == ("refuted", "")
    assert result.counterexample is not None
    assert result.counterexample.principals


def test_what_is_not_modelled_is_said_and_never_proved(tmp_path: Path) -> None:
    result = prove(policies_for(tmp_path, "length(region) = 40"), "never visible where region = 'EMEA'")
    assert result.verdict == "undecided"
    assert result.left_open == ("length(region)",)
    assert "do not refute it" in result.reason


def test_roles_can_be_left_out(tmp_path: Path) -> None:
    policies = policies_for(tmp_path, "explorer: tenant_id = user.tenant", "admin: true")
    assert prove(policies, "isolated by tenant").verdict == "refuted"
    assert prove(policies, "isolated by tenant", unless=("admin",)).verdict == "proved"
    assert prove(policies, "isolated by tenant", only=("explorer",)).verdict == "refuted"


def test_a_proof_about_nobody_says_so(tmp_path: Path) -> None:
    assert prove(policies_for(tmp_path, "maker: true"), "isolated by tenant", unless=("maker",)).vacuous
    assert not prove(policies_for(tmp_path, "tenant_id = user.tenant"), "isolated by tenant").vacuous


def test_rows_of_mapping_tables_are_part_of_a_counterexample(tmp_path: Path) -> None:
    using = "customer_id IN (SELECT customer_id FROM account_managers WHERE employee = user.tenant)"
    example = prove(policies_for(tmp_path, using), "isolated by tenant").counterexample
    assert example is not None
    assert [label for label, _ in example.others] == ["account_managers", "account_managers"]
    tenants = {p.attributes["tenant"] for p in example.principals.values()}
    assert {row["employee"] for _, row in example.others} == tenants


def test_not_wider_than_another_directory(tmp_path: Path) -> None:
    old = policies_for(tmp_path / "old", "tenant_id = user.tenant")
    policies_for(tmp_path / "narrow", "tenant_id = user.tenant AND amount < 9")
    wide = policies_for(tmp_path / "wide", "tenant_id = user.tenant OR amount < 9")
    assert prove(old, f"not wider than {tmp_path / 'narrow'}").verdict == "refuted"
    assert prove(wide, f"not wider than {tmp_path / 'old'}").verdict == "refuted"
    assert prove(old, f"not wider than {tmp_path / 'wide'}").verdict == "proved"


def test_invariants_stand_beside_the_policies(tmp_path: Path) -> None:
    policies = policies_for(tmp_path, "tenant_id = user.tenant", "admin: true")
    file = tmp_path / "invariants.yaml"
    file.write_text(
        "invariants:\n"
        "  - name: tenants never meet\n    about: [orders]\n    unless: [admin]\n    prove: isolated by tenant\n"
        "  - prove: visible implies tenant_id = user.tenant\n    about: [orders]\n"
    )
    first, second = run_invariants(policies, SHOP, now=1_700_000_000)
    assert (first.name, first.verdict, first.line) == ("tenants never meet", "proved", 2)
    assert (second.verdict, second.line, second.file) == ("refuted", 6, str(file))
    file.write_text("invariants:\n  - prove: visible implies nothing_like_it = 1\n    about: [orders]\n")
    with pytest.raises(PolicyInvalid) as caught:
        run_invariants(policies, SHOP)
    assert (caught.value.code, caught.value.line, caught.value.column) == ("policy.unknown_column", 2, 28)


@pytest.mark.parametrize(
    "text", ["", "isolated", "visible implies", "a implies b implies c", "never seen", "not wider than "]
)
def test_what_is_no_statement_is_refused(text: str) -> None:
    with pytest.raises(ExpressionInvalid) as caught:
        read_statement(text)
    assert caught.value.code == "policy.statement"


def test_a_keyword_inside_quotes_is_text() -> None:
    assert [s.text for s in read_statement("visible implies note = ' implies '").sides] == [
        "visible",
        "note = ' implies '",
    ]


# -- the formulas against DuckDB ------------------------------------------------------------------------------------

COLUMNS = [
    c
    for c in ORDERS.columns
    if c.name in ("id", "tenant_id", "region", "amount", "ordered", "status", "tags", "margin")
]
SAMPLES: dict[str, list[Any]] = {
    "id": [-3, 0, 1, 2, 7],
    "tenant_id": [None, "", "a", "acme", "ACME"],
    "region": [None, "EMEA", "EU-1", "emea", "x"],
    "amount": [None, Decimal("0.00"), Decimal("9.99"), Decimal("10.00"), Decimal("-1.50")],
    "ordered": [None, datetime.date(2023, 12, 31), datetime.date(2024, 1, 1), datetime.date(2024, 3, 1)],
    "status": [None, "open", "shipped"],
    "tags": [None, [], ["a"], ["EMEA", "x"]],
    "margin": [None, 0.1, 0.0, -2.5, 10.0],
}
LEAVES = [
    "tenant_id = user.tenant", "region IN user.regions", "amount < user.limit", "amount >= 10", "amount = 9.99", "id IN user.ids",
    "ordered >= user.since", "ordered = DATE '2024-01-01'", "ordered < '2024-02-01'", "user.flag", "user.tenant IS NULL",
    "user.since IS NOT NULL", "user.clearance > 2", "user.tenant = 'acme'", "region LIKE 'EU-%'", "region LIKE '%M%'", "region NOT LIKE 'E%'",
    "region IS NULL", "status = 'open'", "status IN ('open', 'shipped')", "list_contains(tags, user.tenant)", "'a' IN tags",
    "list_has_any(tags, user.regions)", "list_has_all(user.regions, tags)", "margin < 0.1", "margin >= user.clearance", "id % 3 = 1",
    "id + 1 > 2", "id BETWEEN 0 AND user.clearance", "coalesce(region, user.tenant) = 'acme'", "tenant_id IS DISTINCT FROM region",
    "CASE WHEN id > 1 THEN region ELSE tenant_id END = 'EMEA'", "lower(region) = 'emea'", "amount * 2 > 10", "tenant_id < region",
    "tenant_id IN ('a', NULL)", "id NOT IN (1, 2)", "user.tenant IN ('acme', 'a')", "'explorer' IN user.roles", "true", "NULL",
    "customer_id IN (SELECT customer_id FROM account_managers WHERE employee = user.subject)", "ordered + 1 > DATE '2024-01-01'",
    "EXISTS (SELECT 1 FROM account_managers AS m WHERE m.employee = tenant_id)", "amount > id", "amount = margin", "region = status",
    "ordered < TIMESTAMP '2024-01-01 10:00:00'", "user.clearance IN user.ids", "starts_with(region, 'EM')", "user.limit > 1.5 AND region = 'x'",
]  # fmt: skip
ATTRIBUTES: dict[str, list[Any]] = {
    "tenant": ["acme", "a", "EMEA"],
    "regions": [(), ("EMEA",), ("x", "a")],
    "clearance": [1, 3],
    "ids": [(), (1, 7), (3,)],
    "limit": [Decimal("10"), Decimal("0.000001")],
    "since": [datetime.date(2024, 1, 1)],
    "flag": [True, False],
}


def condition(source: random.Random, depth: int) -> str:
    if depth == 0 or source.random() < 0.25:
        return source.choice(LEAVES)
    match source.randrange(3):
        case 0:
            return f"NOT ({condition(source, depth - 1)})"
        case 1:
            return f"({condition(source, depth - 1)}) AND ({condition(source, depth - 1)})"
        case _:
            return f"({condition(source, depth - 1)}) OR ({condition(source, depth - 1)})"


def facts(asker: Asker, row: Row, principal: Principal, values: dict[str, Any]) -> list[Any]:
    """That the symbols are this principal and this row."""
    found: list[Any] = []

    def same(term: Any, value: Any) -> None:
        known = constant(list(value) if isinstance(value, tuple) else value, term.type)
        assert known is not None
        found.append(term.null if known.null is TRUE else z3.And(z3.Not(term.null), term.value == known.value))

    for role, flag in asker.roles.items():
        found.append(flag if role in principal.roles else z3.Not(flag))
    given = {fold(name): value for name, value in principal.attributes.items()}
    same(asker.values["subject"], principal.subject)
    for name, flag in asker.present.items():
        if name in ("subject", "roles"):
            continue
        found.append(flag if name in given else z3.Not(flag))
        if name in given:
            same(asker.values[name], given[name])
    for column in COLUMNS:
        same(row.columns[column.name], values[column.name])
    return found


@pytest.mark.parametrize("seed", range(3))
def test_formulas_say_what_duckdb_says(tmp_path: Path, seed: int) -> None:
    """For drawn policies, rows and principals: exact where nothing was left open, and never impossible."""
    source = random.Random(seed)
    oracle = TypeOracle(SHOP)
    connection = duckdb.connect(":memory:")
    connection.execute("ATTACH ':memory:' AS shop")
    connection.execute("CREATE TABLE shop.main.account_managers (customer_id INTEGER, employee VARCHAR)")
    columns = ", ".join(f'"{c.name}" {c.type}' for c in ORDERS.columns)
    connection.execute(f"CREATE TABLE shop.main.orders ({columns})")
    exact = 0
    for number in range(22):
        usings = [condition(source, 2) for _ in range(source.choice((1, 1, 2, 3)))]
        kinds = [source.choice(("", "restrictive", "explorer", "maker")) for _ in usings]
        texts = [
            f'  - {{name: p{i}, {_kind(k)}using: "{u}"}}' for i, (u, k) in enumerate(zip(usings, kinds, strict=True))
        ]
        policies = policy_set(tmp_path / str(number), "relation: orders\npolicies:\n" + "\n".join(texts) + "\n")
        bound = policies.bound(ORDERS, SHOP)
        scene = Scene(oracle.catalog, oracle)
        asker, row = any_asker("one", policies.identity, policies.attributes, scene), any_row("row", ORDERS, scene)
        formula = visible(bound, asker, row, scene)
        for _ in range(6):
            values = {name: source.choice(choices) for name, choices in SAMPLES.items()}
            roles = source.sample(["explorer", "maker"], source.randrange(3))
            held = {n: source.choice(c) for n, c in ATTRIBUTES.items() if source.random() < 0.7}
            principal = person(*roles, subject="u-1", **held)
            fixed = [*scene.known, *scene.rules, *facts(asker, row, principal, values)]
            solver = z3.Solver()
            solver.add(*fixed, *_facts_of_texts([formula, *fixed], scene))
            expected = _duckdb_sees(connection, policies, principal, values)
            solver.push()
            solver.add(formula != z3.BoolVal(expected))
            wrong_possible = solver.check() == z3.sat
            solver.pop()
            solver.add(formula == z3.BoolVal(expected))
            assert solver.check() == z3.sat, (usings, kinds, values, principal, expected)
            if not scene.open_parts:
                exact += 1
                assert not wrong_possible, (usings, kinds, values, principal, expected)
    oracle.close()
    assert exact > 40


def _kind(kind: str) -> str:
    return "" if not kind else "as: restrictive, " if kind == "restrictive" else f"to: [{kind}], "


def _duckdb_sees(connection: Any, policies: PolicySet, principal: Principal, values: dict[str, Any]) -> bool:
    grant = policies.grant(ORDERS, principal, SHOP)
    assert grant is not None
    if grant.kind != "conditional":
        return grant.kind == "always"
    picked = ", ".join(f'CAST({_mark(c, values)} AS {c.type}) AS "{c.name}"' for c in ORDERS.columns)
    sql = f"SELECT count(*) FROM (SELECT {picked}) AS orders WHERE {grant.predicate}"
    named = {f"v_{name}": value for name, value in values.items()}
    (count,) = connection.execute(sql, {**named, **grant.parameters}).fetchone()
    return bool(count)


def _mark(column: Column, values: dict[str, Any]) -> str:
    return f"$v_{column.name}" if column.name in values else "NULL"


# -- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A database whose catalog statements are about."""
    path = tmp_path / "shop.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER, tenant_id VARCHAR, amount DECIMAL(9,2))")
    return path


def test_the_command_shows_who_sees_what(tmp_path: Path, shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policies_for(tmp_path / "p", "tenant_id = user.tenant OR amount < 5")
    command = ["prove", str(tmp_path / "p"), "--database", str(shop)]
    assert run([*command, "isolated by tenant"]) == 1
    shown = capsys.readouterr().out
    assert "refuted    orders" in shown
    assert "confirmed by the engine" in shown
    assert run([*command, "visible implies tenant_id = user.tenant OR amount < 6", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["verdict"] == "proved"


def test_wrong_statements_are_shown_at_their_place(
    tmp_path: Path, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policies_for(tmp_path / "p", "tenant_id = user.tenant")
    command = ["prove", str(tmp_path / "p"), "--database", str(shop)]
    assert run(command) == 2  # no statement and no invariants.yaml
    assert run([*command, "isolated by tenant", "--unless", "boss"]) == 2
    assert run([*command, "visible implies tenat = 1", "--about", "orders"]) == 3
    assert "did you mean `tenant_id`" in capsys.readouterr().err


def test_primary_keys_hold_in_every_database_that_is_thought_of(tmp_path: Path) -> None:
    columns = (Column("id", "INTEGER"), Column("tenant_id", "VARCHAR"))
    lines = (Column("order_id", "INTEGER"), Column("line", "INTEGER"))
    catalog = Catalog.of("shop", [Relation(("main",), "orders", columns), Relation(("main",), "lines", lines)])
    using = "order_id IN (SELECT id FROM orders WHERE tenant_id = user.tenant)"
    policies = policies_for(tmp_path, using, relation="lines")

    def ask(keys: dict[tuple[str, ...], tuple[str, ...]]) -> Result:
        with proving(policies, catalog, now=1_700_000_000, keys=keys) as prover:
            return prove_text("isolated by tenant", prover, about=("lines",), limits=Limits(), base=Path("/"))[0]

    open_, closed = ask({}), ask({("main", "orders"): ("id",)})
    assert (open_.verdict, open_.by_keys) == ("refuted", ())
    assert (closed.verdict, closed.by_keys) == ("proved", ("orders",))
    # A key of two columns, of which the condition asks for one, says nothing.
    assert ask({("main", "orders"): ("id", "tenant_id")}).verdict == "refuted"
    # The row that a statement is about is one of its table's.
    policies = policies_for(tmp_path, "id IN (SELECT id FROM orders WHERE tenant_id = user.tenant)")
    with proving(policies, catalog, now=1_700_000_000, keys={("main", "orders"): ("id",)}) as prover:
        (result,) = prove_text("isolated by tenant", prover, about=("orders",), limits=Limits(), base=Path("/"))
    assert result.verdict == "proved"
