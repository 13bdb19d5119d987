"""Relations read from a copy of their permitted rows: what is hidden of them decides nothing, and nobody shares one."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rls.engine import Engine
from rls.engines.limits import Limits
from rls.errors import PolicyInvalid, QueryFailed, QueryRefused, RlsError
from rls.identity import mint_token
from rls.policy.load import load_policies
from tests.engine.kit import POLICIES, WAREHOUSE, build, write_policies

STRICT = POLICIES.replace("relation: orders\n", "relation: orders\nstrict: true\n").replace(
    "relation: products\npublic: true", "relation: products\npublic: true\n---\nrelation: shown\npublic: true"
)
# Rows of `acme` are the same in both; those of `globex` differ in everything that DuckDB stores about them.
PAIR = """
CREATE TABLE orders (id INTEGER, tenant_id VARCHAR, amount INTEGER, note VARCHAR, margin INTEGER, kind VARCHAR);
INSERT INTO orders SELECT i, 'acme', i * 10, 'n' || i, i, 'k' || i % 3 FROM range(1, 21) t(i);
INSERT INTO orders {hidden};
CREATE TABLE products (id INTEGER, name VARCHAR);
INSERT INTO products VALUES (1, 'chair'), (2, 'table');
CREATE TABLE undecided (id INTEGER);
CREATE VIEW shown AS SELECT id, amount FROM orders;
"""
HIDDEN = (
    "SELECT i, 'globex', i, 'n', 1, 'k1' FROM range(1, 21) t(i)",
    "SELECT -i, 'globex', 2000000000 + i, repeat('zz', 500) || i, NULL, NULL FROM range(1, 30001) t(i)",
)


class Kit:
    """Two engines whose databases differ in hidden rows only."""

    def __init__(self, folder: Path, **options: Any) -> None:
        policies = write_policies(folder / "policies", STRICT)
        self.limits = Limits(threads=2, seconds=20, processes=1)
        self.engines = [
            Engine.open(
                build(folder / f"{number}.duckdb", PAIR.replace("{hidden}", hidden)), policies=policies, name="shop",
                audit=lambda record: None, limits=self.limits, isolation="thread", **options,
            )
            for number, hidden in enumerate(HIDDEN)
        ]  # fmt: skip

    def token(self, tenant: str = "acme", role: str = "explorer") -> str:
        identity = self.engines[0].policies.identity
        return mint_token(
            identity, subject=f"{tenant}-{role}", roles=[role], attributes={"tenant": tenant}, lifetime=600
        )

    def answers(self, sql: str, **parameters: object) -> list[object]:
        return [answer(engine, self.token(), sql, parameters) for engine in self.engines]


def answer(engine: Engine, token: str, sql: str, parameters: dict[str, object] | None = None) -> object:
    try:
        result = engine.query(token, sql, parameters)
    except RlsError as error:
        return error.code, str(error)
    return result.columns, result.types, result.rows


def slices(engine: Engine) -> list[Any]:
    executor: Any = engine._executor
    return [instance.slices for instance in executor._database._opened.instances.values()]


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    found = Kit(tmp_path_factory.mktemp("strict"))
    yield found
    for engine in found.engines:
        engine.close()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM orders ORDER BY id",
        "SELECT kind, sum(amount) FROM orders GROUP BY kind ORDER BY ALL",
        "SELECT count(*) FROM orders WHERE amount BETWEEN 2000000000 AND ''",
        "SELECT count(*) FROM orders WHERE amount BETWEEN 77 AND ''",
        "SELECT count(*) FROM orders WHERE id < 0 AND CAST(kind AS INTEGER) = 1",
        "SELECT CAST(kind AS INTEGER) FROM orders",
        "SELECT 1 / 0 FROM orders WHERE amount > 100000",
        "SELECT a.id FROM orders a JOIN orders b ON a.id = b.id + 1 ORDER BY 1",
        "SELECT * FROM shown ORDER BY id",
        "WITH o AS (SELECT * FROM orders) SELECT (SELECT max(amount) FROM o), (SELECT count(*) FROM shown)",
        "SUMMARIZE orders",
        "PIVOT orders ON kind USING sum(amount) ORDER BY id",
        "SELECT id, amount FROM orders LIMIT 7",
        "SELECT first(id), arg_max(id, kind), list(id) FROM orders",
        "SELECT margin FROM orders",
        "SELECT nope FROM orders",
        "DESCRIBE orders",
    ],
)
def test_hidden_rows_change_nothing(kit: Kit, sql: str) -> None:
    first, second = kit.answers(sql)
    assert first == second


def test_answers_are_those_of_a_database_with_the_permitted_rows(kit: Kit) -> None:
    with duckdb.connect() as oracle:
        oracle.execute(
            "CREATE TABLE orders AS SELECT i AS id, 'acme' AS tenant_id, i * 10 AS amount, '***' AS note, "
            "'k' || i % 3 AS kind FROM range(1, 10) t(i)"
        )
        for sql in ("SELECT * FROM orders", "SELECT kind, count(*), max(note) FROM orders GROUP BY kind ORDER BY 1"):
            rows = kit.engines[0].query(kit.token(), sql).rows
            assert rows == oracle.execute(sql).fetchall()


def test_the_relation_itself_is_not_read(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs is the verified text with tables of ours in place of guards: no name of the data is left in it."""
    ran: list[str] = []
    import rls.engines.duckdb as module

    whole = module._run

    def spy(cursor: Any, statement: Any, guarded: Any, job: Any, attached: str) -> Any:
        ran.append(statement.query)
        return whole(cursor, statement, guarded, job, attached)

    monkeypatch.setattr(module, "_run", spy)
    engine = kit.engines[0]
    sql = "SELECT id FROM orders WHERE id = 3 UNION ALL SELECT id FROM shown UNION ALL SELECT id FROM products"
    engine.query(kit.token(), sql)
    attached = engine._executor.catalog.attached
    assert f'"{attached}"."main"."orders"' not in ran[0]
    assert ran[0].count(f'"{attached}_copies"') == 2
    assert ran[0].count(f'"{attached}"."main"."products"') == 1


def test_statistics_are_looked_at_where_all_that_is_hidden_is_copied(kit: Kit) -> None:
    from rls.rewrite.copies import plan_copies

    engine = kit.engines[0]
    state = engine._state
    principal = engine._verify(kit.token(), state)
    guarded = state.inner_templates.guard("SELECT CAST(kind AS INTEGER) FROM orders", principal)
    assert guarded.hide_statistics
    planned, copies = plan_copies(guarded, state.inner, slices=False)
    assert not planned.hide_statistics
    assert len(copies) == 1


def test_a_copy_is_kept_for_its_key_and_for_no_other(tmp_path: Path) -> None:
    kit = Kit(tmp_path)
    engine = kit.engines[0]
    sql = "SELECT count(*), min(tenant_id) FROM orders"
    for _ in range(2):
        assert engine.query(kit.token("acme"), sql).rows == [(9, "acme")]
        assert engine.query(kit.token("globex"), sql).rows == [(20, "globex")]
        assert engine.query(kit.token("acme", "maker"), sql).rows == [(20, "acme")]
    kept = [key for found in slices(engine) for key in found.keys()]  # noqa: SIM118
    assert len(kept) == len(set(kept)) == 3
    # Nobody is of tenant `nobody`: nothing is visible, and that is a copy too.
    assert engine.query(kit.token("nobody"), sql).rows == [(0, None)]
    engine.reload()
    (tmp_path / "policies" / "policies.yaml").write_text(STRICT.replace("amount < 100", "amount < 50"))
    engine.reload()
    assert engine.query(kit.token("acme"), sql).rows == [(4, "acme")]
    assert sum(len(found.keys()) for found in slices(engine)) == 1
    for each in kit.engines:
        each.close()


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    script = WAREHOUSE.replace("range(1, 41)", "range(1, 400001)").replace("i % 2 = 0", "i % 8 > 7")
    script = script.replace("THEN 'acme' ELSE 'globex' END", "THEN 'x' ELSE 't' || i % 8 END")
    policies = write_policies(tmp_path / "p", STRICT.replace("---\nrelation: shown\npublic: true\n", ""))
    limits = Limits(copies=4_000_000, threads=1, memory=400_000_000)
    options: dict[str, Any] = {"policies": policies, "audit": lambda record: None, "isolation": "thread"}
    with Engine.open(build(tmp_path / "w.duckdb", script), limits=limits, **options) as engine:
        identity = engine.policies.identity
        tokens = [
            mint_token(identity, subject=f"u{i}", roles=["maker"], attributes={"tenant": f"t{i}"}, lifetime=600)
            for i in range(8)
        ]
        for token in tokens + tokens[::-1]:
            assert engine.query(token, "SELECT count(*) FROM orders").rows == [(50_000,)]
            for found in slices(engine):
                assert found.used() <= 4_000_000
                assert 1 <= len(found.keys()) < 8
    with Engine.open(tmp_path / "w.duckdb", limits=Limits(copies=1_000_000), **options) as engine:
        with pytest.raises(QueryFailed) as caught:
            engine.query(tokens[0], "SELECT count(*) FROM orders")
        assert caught.value.code == "run.copies"
        assert [found.keys() for found in slices(engine)] == [()]


def test_a_copy_is_made_under_the_querys_own_limits(tmp_path: Path) -> None:
    slow = STRICT.replace(
        "amount < 100",
        "amount < (SELECT sum(a.id + b.id + c.id + d.id) FROM orders a, orders b, orders c, orders d, orders e)",
    )
    policies = write_policies(tmp_path / "p", slow)
    database = build(tmp_path / "w.duckdb", PAIR.replace("{hidden}", HIDDEN[0].replace("21", "400")))
    limits = Limits(seconds=0.5, threads=1)
    with Engine.open(
        database, policies=policies, audit=lambda record: None, limits=limits, isolation="thread"
    ) as engine:
        token = mint_token(engine.policies.identity, subject="u", roles=["explorer"], attributes={"tenant": "acme"})
        with pytest.raises(QueryFailed) as caught:
            engine.query(token, "SELECT count(*) FROM orders")
        assert caught.value.code == "run.timeout"
        assert [found.keys() for found in slices(engine)] == [()]


def test_policies_that_ask_for_the_time_are_copied_for_each_query(tmp_path: Path) -> None:
    text = STRICT.replace("amount < 100", "amount < 100 AND current_date > DATE '2020-01-01'")
    policies = write_policies(tmp_path / "p", text)
    database = build(tmp_path / "w.duckdb", PAIR.replace("{hidden}", HIDDEN[0]))
    for mode in ("thread", "process"):
        limits = Limits(threads=1, processes=1)
        with Engine.open(
            database, policies=policies, audit=lambda record: None, isolation=mode, limits=limits
        ) as engine:
            token = mint_token(engine.policies.identity, subject="u", roles=["explorer"], attributes={"tenant": "acme"})
            for _ in range(3):
                assert engine.query(token, "SELECT count(*) FROM orders").rows == [(9,)]
            if mode == "thread":
                assert [found.keys() for found in slices(engine)] == [()]
                assert [found.used() for found in slices(engine)] == [0]


def test_elsewhere_there_are_no_copies(kit: Kit) -> None:
    engine = kit.engines[0]
    with pytest.raises(QueryRefused) as caught:
        engine.guard(kit.token(), "SELECT * FROM shown")
    assert caught.value.code == "query.strict"
    assert engine.guard(kit.token(), "SELECT * FROM products").sql


def test_views_are_not_strict(tmp_path: Path) -> None:
    text = STRICT.replace("relation: shown\n", "relation: shown\nstrict: true\n")
    policies = load_policies(write_policies(tmp_path / "p", text))
    from rls.engines.duckdb import DuckDBExecutor

    executor = DuckDBExecutor.open(build(tmp_path / "w.duckdb", PAIR.replace("{hidden}", HIDDEN[0])))
    relation = executor.catalog.find(("shown",))
    executor.close()
    assert relation is not None
    with pytest.raises(PolicyInvalid) as caught:
        policies.bound(relation, executor.catalog)
    assert caught.value.code == "policy.strict_view"


def test_in_worker_processes_too(tmp_path: Path) -> None:
    policies = write_policies(tmp_path / "p", STRICT)
    database = build(tmp_path / "w.duckdb", PAIR.replace("{hidden}", HIDDEN[1]))
    limits = Limits(threads=1, processes=1)
    with Engine.open(database, policies=policies, audit=lambda record: None, limits=limits) as engine:
        for tenant, rows in (("acme", 9), ("globex", 0), ("acme", 9)):
            token = mint_token(engine.policies.identity, subject="u", roles=["explorer"], attributes={"tenant": tenant})
            sql = "SELECT count(*) FROM orders WHERE amount > $x"
            assert engine.query(token, sql, {"x": 0}).rows == [(rows,)]
        with pytest.raises(RlsError) as caught:
            engine.query(token, "SELECT CAST(kind AS INTEGER) FROM orders")
        assert caught.value.code == "run.cast"


def test_slices_of_other_relations_change_no_answer(tmp_path: Path) -> None:
    """Copies that need not be are made at the second time, and read from then on."""
    policies = write_policies(tmp_path / "p", STRICT.replace("strict: true\n", ""))
    database = build(tmp_path / "w.duckdb", PAIR.replace("{hidden}", HIDDEN[0]))
    queries = [
        "SELECT * FROM orders ORDER BY id",
        "SELECT kind, sum(amount) FROM orders GROUP BY kind ORDER BY 1",
        "SELECT count(*) FROM shown",
        "PIVOT orders ON kind USING sum(amount) ORDER BY id",
        "SELECT CAST(kind AS INTEGER) FROM orders",
        "SELECT * FROM orders WHERE id = 3",
    ]
    options: dict[str, Any] = {"policies": policies, "audit": lambda record: None, "isolation": "thread"}
    with Engine.open(database, **options) as plain, Engine.open(database, slices=True, **options) as sliced:
        identity = plain.policies.identity
        tokens = [
            mint_token(identity, subject=t, roles=["explorer"], attributes={"tenant": t}) for t in ("acme", "globex")
        ]
        asked = [(token, sql) for token in tokens for sql in queries] * 4
        random.Random(7).shuffle(asked)
        for token, sql in asked:
            assert answer(sliced, token, sql) == answer(plain, token, sql)
        assert sum(len(found.keys()) for found in slices(sliced)) >= 2
        assert sum(len(found.keys()) for found in slices(plain)) == 0


def test_queries_that_come_together_share_one_making(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rls.engines.slices import Slices

    made: list[str] = []
    whole = Slices._make

    def count(self: Slices, copy: Any, table: Any, cursor: Any) -> Any:
        made.append(copy.key)
        return whole(self, copy, table, cursor)

    monkeypatch.setattr(Slices, "_make", count)
    kit = Kit(tmp_path)
    found: list[object] = []
    token = kit.token("globex", "maker")
    threads = [
        threading.Thread(target=lambda: found.append(answer(kit.engines[1], token, "SELECT count(*) AS n FROM orders")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(("n",), ("BIGINT",), [(30_000,)])] * 8
    assert len(made) == 1
    for engine in kit.engines:
        engine.close()
