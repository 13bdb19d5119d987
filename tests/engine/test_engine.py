"""Verify, guard, execute, record: in that order, for everything that asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rls.audit.read import read_records
from rls.audit.record import AuditRecord
from rls.engine import Engine
from rls.engines.duckdb import DuckDBExecutor
from rls.engines.limits import Limits
from rls.errors import (
    AuditFailed,
    EngineInvalid,
    PolicyInvalid,
    QueryFailed,
    QueryRefused,
    RlsError,
    TokenRejected,
)
from rls.identity import Principal, mint_token
from rls.policy.load import load_policies
from tests.engine.kit import POLICIES, WAREHOUSE, build, write_policies

Kept = list[AuditRecord]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("engine") / "warehouse.duckdb", WAREHOUSE)


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_policies(tmp_path_factory.mktemp("policies"))


@pytest.fixture(scope="module")
def opened(database: Path, policies: Path) -> Iterator[tuple[Engine, Kept]]:
    kept: Kept = []
    with Engine.open(
        database, policies=policies, audit=kept.append, limits=Limits(threads=2, seconds=20), isolation="thread"
    ) as engine:
        yield engine, kept


@pytest.fixture
def engine(opened: tuple[Engine, Kept]) -> Engine:
    return opened[0]


@pytest.fixture
def kept(opened: tuple[Engine, Kept]) -> Kept:
    opened[1].clear()
    return opened[1]


def token(engine: Engine, tenant: str = "acme", *, role: str = "maker", **changes: Any) -> str:
    given = {"subject": f"u-{tenant}-{role}", "roles": [role], "attributes": {"tenant": tenant}, "lifetime": 600}
    return mint_token(engine.policies.identity, **{**given, **changes})


def test_the_token_decides_which_rows_and_columns_are_seen(engine: Engine) -> None:
    sql = "SELECT count(*), min(amount), max(amount), any_value(note) FROM orders"
    assert engine.query(token(engine), sql).rows == [(20, 20, 400, "note-2")]
    assert engine.query(token(engine, "globex"), sql).rows == [(20, 10, 390, "note-1")]
    assert engine.query(token(engine, role="explorer"), sql).rows == [(4, 20, 80, "***")]
    assert "margin" in engine.query(token(engine), "FROM orders").columns
    assert "margin" not in engine.query(token(engine, role="explorer"), "FROM orders").columns


def test_a_result_has_names_types_rows_and_other_forms(engine: Engine) -> None:
    result = engine.query(token(engine), "SELECT id, kind AS k, id FROM orders ORDER BY id LIMIT 2")
    assert result.columns == ("id", "k", "id")
    assert result.types == ("INTEGER", "VARCHAR", "INTEGER")
    assert result.rows == list(result) == [(2, "k2", 2), (4, "k1", 4)]
    assert result.row_count == len(result) == 2
    assert "2 rows" in repr(result)
    assert "k2" not in repr(result)
    pytest.importorskip("pyarrow")
    assert result.to_arrow().to_pydict() == {"id": [2, 4], "k": ["k2", "k1"]}
    arrow = engine.query(token(engine), "SELECT id, kind FROM orders ORDER BY id LIMIT 2", fetch="arrow")
    assert arrow.rows == [(2, "k2"), (4, "k1")]
    assert arrow.to_arrow() is arrow.to_arrow()
    pytest.importorskip("pandas")
    assert arrow.df()["kind"].tolist() == ["k2", "k1"]


def test_an_empty_result_is_a_result(engine: Engine) -> None:
    result = engine.query(token(engine), "SELECT * FROM finance.ledger")
    assert result
    assert result.rows == []


def test_attributes_and_parameters_are_bound(engine: Engine) -> None:
    found = engine.query(token(engine), "SELECT user.tenant, $low, count(*) FROM orders WHERE id > $low", {"low": 30})
    assert found.rows == [("acme", 30, 5)]
    for bad in ({}, {"low": 1, "more": 2}, {"rls_tenant": "globex"}, {"low": object()}, [1]):
        with pytest.raises(QueryRefused) as caught:
            engine.query(token(engine), "SELECT id FROM orders WHERE id > $low", bad)  # type: ignore[arg-type]
        assert caught.value.code.startswith("query.parameter")


def test_a_pivot_makes_columns_of_visible_values_only(engine: Engine) -> None:
    sql = "PIVOT (SELECT kind, id FROM orders WHERE id IN (2, 3, 4)) ON kind USING count(*) GROUP BY id ORDER BY id"
    assert engine.query(token(engine), sql).columns == ("id", "k1", "k2")
    assert engine.query(token(engine, "globex"), sql).columns == ("id", "k0")
    guarded = engine.guard(token(engine), sql)
    assert not guarded.pivots
    assert "'k1', 'k2'" in guarded.sql


def test_the_database_is_called_what_the_file_or_the_caller_says(database: Path, policies: Path) -> None:
    with Engine.open(database, policies=policies, audit=lambda _: None, name="shop", isolation="thread") as engine:
        assert engine.query(token(engine), "SELECT count(*) FROM shop.main.orders").rows == [(20,)]
        with pytest.raises(QueryRefused):
            engine.query(token(engine), "SELECT count(*) FROM warehouse.main.orders")
        assert engine.catalog.name == engine.catalog.attached == "shop"


@pytest.mark.parametrize(
    "sql",
    [
        r"SELECT '\x84'::BLOB AS x UNION ALL SELECT '00000000-0000-0000-0000-000000000001'::UUID",
        "SELECT repeat('█', 80)::JSON",
    ],
)
def test_an_error_whose_text_is_no_utf_8_is_an_error_like_others(engine: Engine, sql: str) -> None:
    with pytest.raises(QueryFailed) as found:
        engine.query(token(engine), sql)
    assert found.value.code == "run.cast"


def test_a_guarded_text_runs_on_another_connection(engine: Engine, database: Path, kept: Kept) -> None:
    guarded = engine.guard(token(engine, role="explorer"), "SELECT sum(amount) AS s FROM orders")
    with duckdb.connect() as other:
        other.execute(f"ATTACH '{database}' AS warehouse (READ_ONLY)")
        assert other.execute(guarded.sql, dict(guarded.parameters)).fetchall() == [(200,)]
    assert guarded.grants["orders"].policies == ("own_tenant", "small_ones")
    assert [(r.action, r.outcome, r.row_count) for r in kept] == [("guard", "allowed", None)]
    assert guarded.fingerprint == engine.guard(token(engine, role="explorer"), guarded.original).fingerprint
    assert guarded.fingerprint != engine.guard(token(engine, "globex"), guarded.original).fingerprint


def test_explain_shows_why_and_touches_nothing(engine: Engine, kept: Kept) -> None:
    persona = Principal("p", frozenset({"explorer"}), {"tenant": "acme"}, assurance="persona")
    found = engine.explain(persona, "SELECT * FROM orders, finance.ledger, products")
    assert found.references == ("orders", "finance.ledger", "products")
    assert {label: g.kind for label, g in found.grants.items()} == {
        "orders": "conditional",
        "finance.ledger": "never",
        "products": "always",
    }
    assert found.masked["orders"] == ("note",)
    assert found.denied["orders"] == ("margin",)
    assert '"warehouse"."main"."orders"' in found.sql
    assert "acme" not in str(found.to_dict())
    assert kept == []
    assert engine.explain(token(engine), "FROM products").references == ("products",)
    assert [(record.action, record.outcome) for record in kept] == [("explain", "allowed")]


@pytest.mark.parametrize(
    ("sql", "outcome", "code"),
    [
        ("SELECT count(*) FROM orders", "allowed", ""),
        ("SELECT * FROM finance.ledger", "denied", ""),
        ("SELECT * FROM undecided", "refused", "query.unknown_relation"),
        ("DELETE FROM orders", "refused", "query.statement_kind"),
        ("SELECT nope FROM orders", "refused", "query.unknown_column"),
        # DuckDB says `Not implemented` of a value and of a construct alike.
        (
            "SELECT time_bucket(to_months(id) + to_days(1), DATE '2020-01-01') FROM orders",
            "failed",
            "run.invalid_input",
        ),
        ("", "refused", "query.empty"),
        ("SELECT CAST(note AS INTEGER) FROM orders", "failed", "run.cast"),
        (None, "refused", "query.text"),
        (b"SELECT 1", "refused", "query.text"),
        ("SELECT '\ud800'", "refused", "query.text"),
        ("SELECT 1" + " " * 1_000_000, "refused", "query.too_long"),
    ],
)
def test_every_attempt_leaves_one_record(engine: Engine, kept: Kept, sql: Any, outcome: str, code: str) -> None:
    error = None
    try:
        engine.query(token(engine), sql)
    except RlsError as found:
        error = found
    assert [(r.outcome, r.code, r.subject) for r in kept] == [(outcome, code, "u-acme-maker")]
    if error is None:
        assert outcome in ("allowed", "denied")
    else:
        assert error.code == code
        assert error.__notes__ == [f"audit record {kept[0].audit_id}"]
        assert error.__context__ is None


def test_refused_tokens_and_refused_guards_are_recorded_as_well(engine: Engine, kept: Kept) -> None:
    for ask in (engine.query, engine.guard):
        with pytest.raises(TokenRejected):
            ask("not a token", "SELECT 1")
    with pytest.raises(QueryRefused):
        engine.guard(token(engine), "DROP TABLE orders")
    assert [(r.action, r.outcome, r.code) for r in kept] == [
        ("query", "rejected", "malformed"),
        ("guard", "rejected", "malformed"),
        ("guard", "refused", "query.statement_kind"),
    ]


def test_the_record_is_written_before_the_result_is_handed_out(database: Path, policies: Path) -> None:
    calls = 0

    def full(_: AuditRecord) -> None:
        nonlocal calls
        calls += 1
        raise OSError("disk full")

    with Engine.open(database, policies=policies, audit=full, isolation="thread") as engine:
        given = token(engine)
        asks: list[Callable[[], object]] = [
            lambda: engine.query(given, "SELECT count(*) FROM orders"),
            lambda: engine.guard(given, "SELECT count(*) FROM orders"),
            lambda: engine.query(given, "DROP TABLE orders"),
            lambda: engine.query("not a token", "SELECT 1"),
        ]
        for number, ask in enumerate(asks, start=1):
            with pytest.raises(AuditFailed) as caught:
                ask()
            assert caught.value.code == "audit.write"
            assert calls == number


def test_a_fault_in_the_engine_is_recorded_and_shows_nothing(
    engine: Engine, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("row 'secret'")

    monkeypatch.setattr(DuckDBExecutor, "execute", broken)
    with pytest.raises(QueryFailed) as caught:
        engine.query(token(engine), "SELECT 1")
    assert caught.value.code == kept[0].code == "run.fault"
    assert "secret" not in str(caught.value)
    assert "secret" not in kept[0].to_json()
    assert caught.value.__context__ is None
    monkeypatch.setattr(DuckDBExecutor, "execute", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    kept.clear()
    with pytest.raises(KeyboardInterrupt):
        engine.query(token(engine), "SELECT 1")
    assert [r.code for r in kept] == ["run.interrupted"]


def test_a_policy_that_cannot_be_applied_is_its_authors_business(database: Path, tmp_path: Path) -> None:
    folder = write_policies(
        tmp_path / "p", POLICIES + "---\nrelation: undecided\npolicies:\n- {name: n, using: zap = 1}\n"
    )
    kept: Kept = []
    with Engine.open(database, policies=folder, audit=kept.append, isolation="thread") as engine:
        with pytest.raises(QueryRefused) as caught:
            engine.query(token(engine), "SELECT * FROM undecided")
        assert "zap" not in str(caught.value)
        assert len(kept) == 1
        assert engine.query(token(engine), "SELECT 1").rows == [(1,)]


def test_only_a_verified_token_gets_rows(engine: Engine, kept: Kept) -> None:
    principal = Principal("u", frozenset({"maker"}), {"tenant": "acme"})
    for who in (principal, None, b"x", token(engine) + "x", token(engine, now=1_000_000_000.0)):
        with pytest.raises(TokenRejected) as caught:
            engine.query(who, "SELECT * FROM orders")  # type: ignore[arg-type]
        assert str(caught.value) == "token rejected; ask the issuer for a new one"
    assert {r.outcome for r in kept} == {"rejected"}


def test_a_session_ends_with_its_token(database: Path, policies: Path) -> None:
    now = 1_800_000_000.0
    loaded, executor, kept = load_policies(policies), DuckDBExecutor.open(database), []
    engine = Engine(executor, loaded, _List(kept), clock=lambda: now)
    session = engine.session(token(engine, now=now, lifetime=100))
    assert session.query("SELECT user.tenant").rows == [("acme",)]
    assert session.principal.subject == "u-acme-maker"
    assert session.guard("FROM orders").grants["orders"].kind == "conditional"
    assert session.explain("FROM products").references == ("products",)
    now += 111  # lifetime and leeway
    for ask in (session.query, session.guard):
        with pytest.raises(TokenRejected):
            ask("SELECT 1")
    assert [r.code for r in kept][-2:] == ["expired", "expired"]
    executor.close()


class _List:
    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def write(self, record: AuditRecord) -> None:
        self._kept.append(record)


def test_reloaded_policies_hold_for_the_next_query_and_a_broken_file_changes_nothing(
    database: Path, tmp_path: Path
) -> None:
    folder = write_policies(tmp_path / "p")
    with Engine.open(database, policies=folder, audit=tmp_path / "audit.jsonl", isolation="thread") as engine:
        session = engine.session(token(engine, role="explorer"))
        assert session.query("SELECT count(*) FROM orders").rows == [(4,)]
        write_policies(folder, POLICIES.replace("amount < 100", "amount < 50"))
        assert session.query("SELECT count(*) FROM orders").rows == [(4,)]
        before = engine.policies.version
        engine.reload()
        assert engine.policies.version != before
        assert session.query("SELECT count(*) FROM orders").rows == [(2,)]
        write_policies(folder, "relation: orders\npolicies: [{name: x, using: 'tenant_id ='}]")
        with pytest.raises(PolicyInvalid):
            engine.reload()
        assert session.query("SELECT count(*) FROM orders").rows == [(2,)]


def test_threads_and_principals_do_not_mix(database: Path, policies: Path, tmp_path: Path) -> None:
    queries = [
        "SELECT sum(amount), count(*) FROM orders",
        "SELECT kind, count(*) FROM orders GROUP BY ALL ORDER BY ALL",
        "SELECT o.id, p.name FROM orders o JOIN products p ON o.id = p.id ORDER BY ALL",
        "SELECT user.tenant, max(note) FROM orders",
        "SELECT * FROM orders",
        "SELECT count(*) FROM finance.ledger",
    ]
    with Engine.open(
        database, policies=policies, audit=tmp_path / "a.jsonl", limits=Limits(threads=2), isolation="thread"
    ) as engine:
        who = [token(engine, tenant, role=role) for tenant in ("acme", "globex") for role in ("maker", "explorer")]
        cases = [(given, sql) for given in who for sql in queries]
        expected = {case: engine.query(*case).rows for case in cases}
        wrong: list[object] = []

        def ask(number: int) -> None:
            for i in range(len(cases)):
                case = cases[(i * 7 + number * 3) % len(cases)]
                found = engine.query(*case).rows
                if found != expected[case]:
                    wrong.append((case[1], found, expected[case]))

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert sum(1 for _ in read_records(tmp_path / "a.jsonl")) == 9 * len(cases)


def test_what_cannot_be_opened_leaves_nothing_open(database: Path, policies: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineInvalid):
        Engine.open(tmp_path / "missing.duckdb", policies=policies, audit=tmp_path / "a.jsonl")
    with pytest.raises(PolicyInvalid):
        Engine.open(database, policies=tmp_path / "missing", audit=tmp_path / "a.jsonl")
    with pytest.raises(AuditFailed):
        Engine.open(database, policies=policies, audit=None)  # type: ignore[arg-type]
    engine = Engine.open(database, policies=policies, audit=tmp_path / "a.jsonl", isolation="thread")
    given = token(engine)
    engine.close()
    with pytest.raises(EngineInvalid) as caught:
        engine.query(given, "SELECT 1")
    assert caught.value.code == "engine.closed"
