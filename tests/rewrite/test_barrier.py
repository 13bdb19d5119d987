"""The barrier's decision: what goes without a fence, what stands below one, and what is never bound at all."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

import pytest

from rls.engines.planner import PlannerProcess
from rls.errors import QueryRefused
from rls.identity.principal import Principal
from rls.policy.grant import Grant
from rls.rewrite.barrier import BUSY, MAX_MIXED, MAX_REFERENCES, lower
from rls.rewrite.bound import LOCAL, PlannerBusy
from rls.rewrite.guard import draft
from rls.rewrite.guarded import FENCED, TOO_SLOW, Barrier, GuardedQuery
from rls.rewrite.templates import Templates
from tests.rewrite import small


def lowered(sql: str, types: Mapping[str, str] | None = None, **options: Any) -> GuardedQuery:
    return lower(draft(sql, small.PRINCIPAL, small.Policies(), small.CATALOG), types, **options)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM orders",
        "SELECT tenant, count(*) FROM orders WHERE id > 3 GROUP BY tenant ORDER BY 2",
        "SELECT o.id, lower(p.name) FROM orders o JOIN people p ON o.id = p.id WHERE p.name LIKE 'A%'",
        "SELECT id FROM orders WHERE id IN (SELECT id FROM people) AND amount BETWEEN 1 AND 2.5",
        "SELECT DISTINCT id > 3 AND tenant = 'a', NOT (id > 5 OR id < 2) FROM orders",
    ],
)
def test_harmless_queries_have_no_fence(sql: str) -> None:
    found = lowered(sql)
    assert "OFFSET 0" not in found.sql
    assert (found.fence_reason, found.hide_statistics) == ("", False)


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT id FROM orders WHERE CAST(tenant AS INTEGER) = 5", "cast"),
        ("SELECT id FROM orders WHERE tenant = 5", "cast"),
        ("SELECT id FROM orders WHERE id + 1 > 5", "`+`"),
        ("SELECT id FROM orders WHERE (SELECT p.id FROM people p) = id", "error"),
        ("SELECT id FROM orders LIMIT 1", "limit"),
        ("SELECT id FROM orders ORDER BY id LIMIT 1", "limit"),
        ("SELECT tenant, count(*) FROM orders GROUP BY 1 LIMIT 1", "limit"),
        ("SELECT tenant, count(*) FROM orders GROUP BY 1 ORDER BY 2 LIMIT 10%", "limit"),
        ("SELECT tenant, count(*) FROM orders GROUP BY 1 ORDER BY 2 LIMIT (SELECT 3)", "limit"),
        ("SELECT * FROM (SELECT tenant, count(*) FROM orders GROUP BY 1 ORDER BY 2 LIMIT 1) t", "LIMIT"),
        ("(SELECT tenant, count(*) FROM orders GROUP BY 1 ORDER BY 2 LIMIT 1) UNION SELECT 'a', 1", "limit"),
        ("SELECT max(id) OVER () FROM orders", "window"),
        ("SELECT regexp_replace(tenant, 'a', 'b') FROM orders", "regexp_replace"),
        ("SELECT concat(tenant, tenant, tenant, tenant, tenant) FROM orders", "much per row"),
        ("SELECT id FROM orders WHERE id = $a", "parameter"),
        ("SUMMARIZE orders", "approx_quantile"),
    ],
)
def test_other_queries_are_fenced_and_say_why(sql: str, reason: str) -> None:
    found = lowered(sql)
    assert found.sql.count("OFFSET 0") == len(found.guards)
    assert reason in found.fence_reason


@pytest.mark.parametrize(
    ("sql", "hidden"),
    [
        ("SELECT sum(amount * amount * amount), count(*) FROM orders", False),
        ("SELECT tenant, sum(CASE WHEN tenant = 'a' THEN amount * amount * amount ELSE 0 END) / sum(amount) FROM orders GROUP BY 1", False),
        ("SELECT sum(x) FROM (SELECT amount * amount * amount AS x, id FROM orders)", False),
        ("SELECT tenant, sum(amount * amount * amount) FROM orders GROUP BY ALL ORDER BY 2 DESC LIMIT 3 OFFSET 1", False),
        ("SELECT count(amount * amount * amount) FROM orders", True),
        ("SELECT count(x) FROM (SELECT amount * amount * amount AS x FROM orders)", True),
        ("SELECT amount * amount * amount IS NULL FROM orders", True),
        ("SELECT amount * amount * amount > 3 FROM orders", True),
        ("SELECT id BETWEEN 77 AND CAST(tenant AS INTEGER) FROM orders", True),
        ("SELECT coalesce(amount * amount * amount, 1) FROM orders", True),
        ("SELECT sum(id) FILTER (WHERE amount * amount * amount > 3) FROM orders", True),
        ("SELECT CASE WHEN id > CAST(tenant AS INTEGER) THEN 1 END FROM orders", True),
        ("SELECT max(CAST(tenant AS INTEGER)) FROM orders", True),
        ("SELECT avg(id + 1) FROM orders", True),
        ("SELECT avg(amount), sum(id + 1) FROM orders", False),
    ],
)  # fmt: skip
def test_stored_extremes_are_hidden_where_they_could_take_an_error_away(sql: str, hidden: bool) -> None:
    found = lowered(sql, for_engine=True)
    assert (found.fence_reason, found.hide_statistics) == ("", hidden)


def test_what_only_the_answer_may_raise_needs_the_engine() -> None:
    sql = "SELECT sum(amount * amount * amount) FROM orders"
    assert "OFFSET 0" in lowered(sql).sql
    found = lowered(sql, for_engine=True)
    assert "OFFSET 0" not in found.sql
    assert not found.hide_statistics
    assert "OFFSET 0" in lowered(sql + " WHERE amount * amount * amount > 3", for_engine=True).sql


def test_many_joins_beside_a_mapping_table_are_fenced() -> None:
    class Mapped(small.Policies):
        def grant(self, relation: Any, principal: Principal, catalog: Any) -> Grant | None:
            return Grant(relation.label, "conditional", 'id IN (SELECT id FROM "memory"."main"."people")')

    few, many = (
        " JOIN ".join(f"orders o{n}" for n in range(count)).replace(" JOIN o", " NATURAL JOIN o") for count in (2, 5)
    )
    assert (
        "OFFSET 0" not in lower(draft(f"SELECT sum(amount) FROM {few}", small.PRINCIPAL, Mapped(), small.CATALOG)).sql
    )
    assert "OFFSET 0" in lower(draft(f"SELECT sum(amount) FROM {many}", small.PRINCIPAL, Mapped(), small.CATALOG)).sql


@pytest.mark.parametrize(
    ("sql", "copies"),
    [
        ("SELECT id + 1 FROM orders WHERE id = 7 LIMIT 5", ['"orders"."id" = 7']),
        ("WITH c AS (SELECT * FROM orders) SELECT id + 1 FROM c WHERE tenant = 'a' LIMIT 5", ["\"orders\".\"tenant\" = 'a'"]),
        ("SELECT o.id + 1 FROM people p LEFT JOIN orders o ON o.id = p.id WHERE o.amount IS NULL LIMIT 5", []),
        ("SELECT id + 1 FROM (SELECT * FROM orders LIMIT 3) WHERE id = 7 LIMIT 5", []),
        ("SELECT id + 1 FROM orders WHERE mood = 'sunny' LIMIT 5", []),
    ],
)  # fmt: skip
def test_conditions_below_the_fence(sql: str, copies: list[str]) -> None:
    found = lowered(sql)
    assert found.fence_reason
    (orders,) = [one for one in found.guards if one.relation.name == "orders"]
    assert [copy for copy in orders.conjuncts if "NOT NULL" not in copy] == copies


@pytest.mark.parametrize(
    ("condition", "type_", "copy"),
    [
        ("id = $a", "INTEGER", '"orders"."id" = CAST($a AS INTEGER)'),
        ("tenant = $a", "VARCHAR", '"orders"."tenant" = CAST($a AS VARCHAR)'),
        # Beside a number DuckDB would cast the column, on every row.
        ("tenant = CAST($a AS VARCHAR)", "INTEGER", None),
        ("tenant = $a", "INTEGER", None),
        ("id = CAST($a AS INTEGER)", "DOUBLE", None),
        ("tenant = $a", None, None),
    ],
)
def test_parameters_below_the_fence_have_their_columns_type(
    condition: str, type_: str | None, copy: str | None
) -> None:
    found = lowered(f"SELECT id + 1 FROM orders WHERE {condition} LIMIT 5", {} if type_ is None else {"a": type_})
    assert found.guards[0].conjuncts == (() if copy is None else (copy,))


class Watching:
    """A planner that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def plan(self, text: str, *given: Any, **options: Any) -> str:
        self.asked.append(text)
        return LOCAL.plan(text, *given, **options)


@pytest.mark.parametrize(
    ("sql", "plans"),
    [
        ("SELECT name FROM people WHERE id = 3", 1),
        ("SELECT name FROM people WHERE id = 3 LIMIT 1", 2),
        ("SELECT name FROM people p JOIN products USING (id, name) LIMIT 1", 2),
        ("SELECT name FROM people UNION SELECT name FROM products ORDER BY 1 LIMIT 1", 1),
    ],
)
def test_filters_are_looked_for_where_there_are_some(sql: str, plans: int) -> None:
    planner = Watching()
    lowered(sql, planner=planner)
    assert len(planner.asked) == plans


@pytest.mark.parametrize(("inner", "outer"), [("AND", "OR"), ("OR", "AND")])
def test_filters_are_not_looked_for_where_that_takes_the_square(inner: str, outer: str) -> None:
    def alternating(count: int) -> str:
        conditions = f" {outer} ".join(f"(id = {n} {inner} name = 'n{n}')" for n in range(count))
        return f"SELECT name FROM people WHERE {conditions} LIMIT 1"

    planner = Watching()
    lowered(alternating(MAX_MIXED), planner=planner)
    assert len(planner.asked) == 2
    assert lowered(alternating(MAX_MIXED + 2), planner=planner).fence_reason
    assert len(planner.asked) == 3


def test_a_relation_that_shows_all_is_bound_without_a_star() -> None:
    planner = Watching()
    lowered("SELECT p.name, o.tenant FROM products p, archive.orders o, orders", planner=planner)
    text = planner.asked[0]
    assert 'FROM rls_probe.main."main.products#0" p, rls_probe.main."archive.orders#0" o, (SELECT * REPLACE' in text


def test_a_text_with_very_many_references_is_not_bound() -> None:
    def joined(count: int) -> str:
        return "SELECT count(*) FROM " + ", ".join(f"people p{n}" for n in range(count))

    planner = Watching()
    assert lowered(joined(MAX_REFERENCES), planner=planner).fence_reason != FENCED.reason
    before = len(planner.asked)
    assert lowered(joined(MAX_REFERENCES + 1), planner=planner).fence_reason == FENCED.reason
    assert len(planner.asked) == before > 0


@pytest.mark.parametrize(
    "sql",
    [
        """SELECT "="({'a': 1}, [1, NULL]) FROM orders LIMIT 1""",
        "SELECT id FROM orders WHERE length(repeat('x', 2000000000)) > id LIMIT 1",
        "SELECT id FROM orders, query('SELECT 1')",
        "SELECT id FROM orders WHERE id < sleep_ms(5000)",
    ],
)
def test_what_is_refused_is_never_bound(sql: str) -> None:
    planner = Watching()
    with pytest.raises(QueryRefused):
        lowered(sql, planner=planner)
    assert planner.asked == []


def test_a_planner_that_is_busy_costs_a_fence_for_now() -> None:
    class Busy(Watching):
        def plan(self, text: str, *given: Any, **options: Any) -> str:
            if not self.asked:
                super().plan(text, *given, **options)
                raise PlannerBusy
            return super().plan(text, *given, **options)

    templates = Templates(small.Policies(), small.CATALOG, planner=Busy())
    assert templates.guard("SELECT id FROM orders", small.PRINCIPAL).fence_reason == BUSY.reason
    assert templates.guard("SELECT id FROM orders", small.PRINCIPAL).fence_reason == ""


def test_a_text_that_takes_too_long_keeps_its_fence_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rls.engines.planner.SECONDS", 0.05)
    # On a busy machine the process may take long to start, which is another reason.
    monkeypatch.setattr("rls.engines.planner.WAIT_SECONDS", 60.0)
    planner = PlannerProcess()
    try:
        lowered("SELECT id FROM people", planner=planner.patient())
        assert planner._process is not None
        os.kill(planner._process._child.pid, signal.SIGSTOP)  # now any text takes too long
        templates = Templates(small.Policies(), small.CATALOG, planner=planner)
        first = templates.guard("SELECT id FROM orders", small.PRINCIPAL)
        assert first.fence_reason == TOO_SLOW and "OFFSET 0" in first.sql
        # It is not asked for again and again.
        planner.close()
        assert templates.guard("SELECT id FROM orders", small.PRINCIPAL).fence_reason == TOO_SLOW
    finally:
        planner.close()


def test_a_text_that_exhausts_the_binder_costs_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    planner = PlannerProcess()
    try:
        levels = ", ".join(f"a{i} || a{i} AS a{i + 1}" for i in range(30))
        with monkeypatch.context() as patch:
            patch.setattr("rls.engines.planner.SECONDS", 1.0)
            found = lowered(f"SELECT tenant || tenant AS a0, {levels} FROM orders", planner=planner)
        assert found.hide_statistics and "OFFSET 0" in found.sql
        # The next text finds another process.
        assert lowered("SELECT id FROM orders", planner=planner).fence_reason == ""
    finally:
        planner.close()
    with pytest.raises(PlannerBusy):
        planner.plan("SELECT 1", "", "memory", {}, optimize=False)


def test_no_attribute_is_taken_for_a_literal() -> None:
    class Named(small.Policies):
        readable = frozenset({"literal_0"})

        def grant(self, relation: Any, principal: Principal, catalog: Any) -> Grant | None:
            own = {"rls_literal_0": principal.attributes["literal_0"]}
            return Grant(relation.label, "conditional", "tenant = CAST($rls_literal_0 AS VARCHAR)", own)

    templates = Templates(Named(), small.CATALOG, for_engine=True)
    found = templates.guard("SELECT id FROM orders WHERE tenant = 'b'", Principal("u", attributes={"literal_0": "a"}))
    assert found.parameters == {"rls_literal_0": "a", "rls_0_0": "b"}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM orders ORDER BY id LIMIT 1",
        "SELECT tenant, count(*) FROM orders GROUP BY 1 LIMIT 1",
        "SELECT tenant, count(*) FROM orders GROUP BY 1 ORDER BY 2 LIMIT 10%",
        "SELECT tenant, count(*) FROM orders GROUP BY 1 ORDER BY 2 LIMIT (SELECT 3)",
        "SELECT * FROM (SELECT tenant, count(*) FROM orders GROUP BY 1 ORDER BY 2 LIMIT 1) t",
    ],
)
def test_the_verifier_alone_takes_no_other_limit_without_a_fence(sql: str) -> None:
    bare = Barrier(fenced=False, hide_statistics=True)
    with pytest.raises(QueryRefused) as refused:
        draft(sql, small.PRINCIPAL, small.Policies(), small.CATALOG).finish(bare)
    assert refused.value.code == "query.unguarded"
    for last in ("LIMIT 3", "LIMIT 3 OFFSET 1"):
        grouped = f"SELECT tenant, count(*) FROM orders GROUP BY ALL ORDER BY 2 {last}"
        assert "OFFSET 0" not in draft(grouped, small.PRINCIPAL, small.Policies(), small.CATALOG).finish(bare).sql
