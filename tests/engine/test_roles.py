"""What roles may do, at the engine: every limit ends a query with its code, and nothing else tells the roles apart."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rls.engine import Engine
from rls.engines.limits import Limits
from rls.errors import QueryFailed, QueryRefused, RlsError
from rls.identity import mint_token
from rls.identity.personas import load_personas
from tests.engine.kit import IDENTITY, POLICIES, WAREHOUSE, build, write_policies

ROLES = """
roles:
  explorer:
    limits: {seconds: 0.5, rows: 10, columns: 3, text: 200, parameters: 3, list_items: 20, nesting: 4, concurrent: 2,
             per_principal: 1}
    statements: [select, summarize]
    relations: [orders, shown]
    export: false
    read_policies: false
  maker: {}
"""
SCRIPT = WAREHOUSE + "CREATE VIEW shown AS SELECT o.id FROM orders o, products p WHERE p.id = 1;"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("roles")
    policies = write_policies(folder / "policies", POLICIES)
    (policies / "identity.yaml").write_text(IDENTITY.replace("roles: [explorer, maker]", ROLES))
    limits = Limits(threads=1, seconds=20, rows=1000)
    audit: Callable[[object], None] = lambda record: None  # noqa: E731
    with Engine.open(
        build(folder / "w.duckdb", SCRIPT), policies=policies, audit=audit, limits=limits, isolation="thread"
    ) as found:
        yield found


def token(engine: Engine, *roles: str, subject: str = "amir") -> str:
    identity = engine.policies.identity
    return mint_token(identity, subject=subject, roles=list(roles), attributes={"tenant": "acme"}, lifetime=600)


def code(engine: Engine, sql: str, *roles: str, parameters: dict[str, object] | None = None, **options: Any) -> str:
    try:
        engine.query(token(engine, *roles), sql, parameters, **options)
    except RlsError as error:
        assert "amir" not in str(error)
        return error.code
    return ""


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT count(*) FROM orders", ""),
        ("SELECT id FROM orders LIMIT 10", ""),
        ("SELECT id FROM orders, range(3)", "run.rows"),
        ("SELECT 1, 2, 3, 4", "run.columns"),
        ("SELECT range(20)", ""),
        ("SELECT range(21)", "run.list_items"),
        ("SELECT {'a': [1, range(21)]}", "query.invalid"),
        ("SELECT {'a': [[1], range(21)]}", "run.list_items"),
        ("SELECT map_from_entries([(i, i) FOR i IN range(21)])", "run.list_items"),
        ("SELECT [[[[1]]]]", ""),
        ("SELECT array_value([[[[1]]]])", "query.too_nested"),
        ("SELECT ((((1))))", ""),
        ("SELECT (((((1)))))", "query.too_nested"),
        ("SELECT 1 /*" + 200 * "x" + "*/", "query.too_long"),
        ("SELECT count(*) FROM range(200000) a(i), range(200000) b(j) WHERE hash(i, j) = 7", "run.timeout"),
        ("SELECT * FROM (VALUES (1)) t", "query.statement_not_allowed"),
        ("PIVOT orders ON kind USING sum(amount)", "query.statement_not_allowed"),
        ("SELECT * FROM (PIVOT orders ON kind USING sum(amount))", "query.statement_not_allowed"),
        ("FROM orders UNPIVOT (v FOR n IN (id, amount))", "query.statement_not_allowed"),
        ("WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r) SELECT i FROM r", "query.statement_not_allowed"),
        ("DESCRIBE orders", "query.statement_not_allowed"),
        ("FROM orders LIMIT 1", "run.columns"),
        ("SUMMARIZE SELECT id FROM orders", "run.columns"),
        ("SELECT count(*) FROM shown", ""),
        ("SELECT count(*) FROM products", "query.unknown_relation"),
    ],
)  # fmt: skip
def test_a_role_is_held_to_what_it_may_do(engine: Engine, sql: str, expected: str) -> None:
    assert code(engine, sql, "explorer") == expected
    # The other role is not narrowed, and neither is who has both.
    for roles in (("maker",), ("maker", "explorer")):
        if expected not in ("query.invalid", "run.timeout"):
            assert code(engine, sql, *roles) in ("", "run.rows")


def test_arrow_results_are_held_to_the_same(engine: Engine) -> None:
    pytest.importorskip("pyarrow")
    executor, limits = engine._executor, Limits(list_items=20, nesting=4, rows=10, columns=3)
    from tests.engine.kit import ready

    for sql, expected in (
        ("SELECT range(20) a, NULL::INTEGER[] b, {'x': [[1], range(20)]} c", ""),
        ("SELECT range(21)", "run.list_items"),
        ("SELECT {'a': [[1], range(21)]}", "run.list_items"),
        ("SELECT map_from_entries([(i, i) FOR i IN range(21)])", "run.list_items"),
        ("SELECT map_from_entries([(1, range(21))])", "run.list_items"),
        ("SELECT union_value(n := range(21))", "run.list_items"),
        ("SELECT array_value(range(21), range(1))", "run.list_items"),
        ("SELECT [range(3) FOR i IN range(9)] FROM range(10)", ""),
        ("SELECT [[[[[1]]]]]", "run.nesting"),
        ("SELECT {'a': {'b': {'c': {'d (((((': 1::DECIMAL(9,2)}}}}", ""),
        ("SELECT {'a': {'b': {'c': {'d': [1]}}}}", "run.nesting"),
        ("SELECT range(21) WHERE false", ""),
    ):
        for fetch in ("rows", "arrow"):
            try:
                executor.execute(ready(sql), {}, fetch=fetch, limits=limits)  # type: ignore[arg-type]
                found = ""
            except RlsError as error:
                found = error.code
            assert (sql, found) == (sql, expected)


def test_parameters_are_bounded(engine: Engine) -> None:
    assert code(engine, "SELECT $x", "explorer", parameters={"x": [1, 2]}) == ""
    assert code(engine, "SELECT $x", "explorer", parameters={"x": [1, 2, 3]}) == "query.parameters"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM {name}",
        "SELECT {name}.id FROM {name} JOIN orders USING (id)",
        "SELECT nope(1) FROM {name}",
        "SELECT main.{name}.id FROM main.{name}",
        "SELECT * FROM nowhere, {name}",
        "SELECT * FROM {name}, nowhere",
        "SELECT * FROM orders WHERE id IN (SELECT id FROM {name}) AND",
        "SUMMARIZE {name}",
        "SELECT * FROM w.main.{name}",
        "SELECT 1 FROM range(1), LATERAL (SELECT * FROM {name})",
    ],
)
def test_a_relation_that_may_not_be_named_does_not_exist(engine: Engine, sql: str) -> None:
    def answer(name: str) -> tuple[str, str]:
        with pytest.raises(QueryRefused) as caught:
            engine.query(token(engine, "explorer"), sql.format(name=name))
        return caught.value.code, str(caught.value).replace(name, "?")

    assert answer("products") == answer("prodacts")


def test_results_may_be_kept_from_leaving(engine: Engine) -> None:
    pytest.importorskip("pandas")
    sql = "SELECT id FROM orders LIMIT 2"
    assert code(engine, sql, "explorer", fetch="arrow") == "query.export_not_allowed"
    result = engine.query(token(engine, "explorer"), sql)
    assert len(result.rows) == 2
    for leave in (result.to_arrow, result.df):
        with pytest.raises(QueryRefused) as caught:
            leave()
        assert caught.value.code == "query.export_not_allowed"
    assert engine.query(token(engine, "maker"), sql).df().shape == (2, 1)


def test_policies_may_be_kept_from_being_read(engine: Engine, tmp_path: Path) -> None:
    sql = "SELECT note FROM orders"
    for roles, shown in ((("explorer",), False), (("maker",), True)):
        found = engine.explain(token(engine, *roles), sql)
        guarded = engine.guard(token(engine, *roles), sql)
        everything = repr((found, found.to_dict(), {**vars(guarded), "sql": "", "splices": (), "check": None}))
        assert ("own_tenant" in everything) is ("rls_tenant" in repr(found)) is shown
        if not shown:
            for word in ("tenant_id", "'***'", "margin"):
                assert word not in everything
        assert found.grants["orders"].kind == "conditional"
        assert guarded.grants["orders"].kind == "conditional"
        assert "own_tenant" not in guarded.sql
    assert found.masked == {"orders": ()}
    # The author of policies asks for a persona.
    (tmp_path / "personas.yaml").write_text(
        "personas: {eve: {subject: e, roles: [explorer], attributes: {tenant: acme}}}"
    )
    eve = load_personas(tmp_path / "personas.yaml", engine.policies.identity)["eve"]
    assert "own_tenant" in repr(engine.explain(eve, sql))


def test_who_runs_too_many_at_once_waits(engine: Engine) -> None:
    """An explorer runs one at a time, and all explorers two; makers do not notice."""
    long = "SELECT count(*) FROM range(200000) a(i), range(200000) b(j) WHERE hash(i, j) = 7"
    outcomes: list[tuple[str, str]] = []

    def ask(subject: str) -> None:
        try:
            engine.query(token(engine, "explorer", subject=subject), long)
        except QueryFailed as error:
            outcomes.append((subject, error.code))

    threads = [threading.Thread(target=ask, args=(subject,)) for subject in ("amir", "amir", "amir", "bea", "eve")]
    for thread in threads:
        thread.start()
    while engine._turns._admission._running.total() < 2:
        threading.Event().wait(0.002)
    assert code(engine, "SELECT count(*) FROM orders", "maker") == ""
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [("amir", "run.timeout")] * 3 + [("bea", "run.timeout"), ("eve", "run.timeout")]
    assert not engine._turns._admission._running


def test_interfaces_can_ask_what_may_be_done(engine: Engine) -> None:
    may = engine.session(token(engine, "explorer")).capabilities
    assert (may.export, may.read_audit) == (False, "own")
    assert may.limits["rows"] == 10


def test_an_engines_own_limits_stay_the_upper_bound(tmp_path: Path) -> None:
    policies = write_policies(tmp_path / "p")
    roles = "roles: {explorer: {limits: {rows: 100, seconds: 100}}, maker: {}}"
    (policies / "identity.yaml").write_text(IDENTITY.replace("roles: [explorer, maker]", roles))
    with Engine.open(
        build(tmp_path / "w.duckdb", WAREHOUSE), policies=policies, audit=lambda record: None, isolation="thread",
        limits=Limits(rows=5, threads=1),
    ) as engine:  # fmt: skip
        assert code(engine, "FROM range(6)", "explorer") == code(engine, "FROM range(6)", "maker") == "run.rows"
        assert code(engine, "FROM range(5)", "explorer") == ""
