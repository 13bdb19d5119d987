"""Templates: what was guarded before is not guarded again, and nobody can tell by the answer."""

from __future__ import annotations

import random
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot.tokens import TokenType

from rls.catalog import Catalog, Column, Relation
from rls.errors import QueryRefused
from rls.identity.capabilities import Capabilities
from rls.identity.principal import Principal
from rls.policy.grant import Grant
from rls.rewrite import templates as module
from rls.rewrite.barrier import lower
from rls.rewrite.guard import draft
from rls.rewrite.guarded import GuardedQuery
from rls.rewrite.literals import bound_literals, class_of
from rls.rewrite.parse import parse, tokenize
from rls.rewrite.resolve import resolve
from rls.rewrite.templates import Templates
from rls.rewrite.texts import OVERHEAD
from rls.rewrite.token_shape import literal_positions, shape_of_tokens
from tests.judging.compare import differs
from tests.judging.driver import Driver, sign
from tests.judging.oracle import Answer, build
from tests.rewrite import small
from tests.rewrite.test_goldens import GOLDEN, PERSONAS, records

SQL = "SELECT id, amount FROM orders WHERE id = 7"


def same(one: GuardedQuery, other: GuardedQuery) -> bool:
    """Whether two guarded queries are the same in everything that anybody can see of them."""
    return one == other and one.fingerprint == other.fingerprint


def forget_ready(templates: Templates) -> None:
    """Templates stay; nobody's query is ready."""
    for text in templates._texts._texts.values():
        text.ready.clear()


def test_the_same_principal_gets_the_same_query() -> None:
    templates = Templates(small.Policies(), small.CATALOG)
    first = templates.guard(SQL, small.PRINCIPAL)
    with mock.patch.object(module, "draft", side_effect=AssertionError("parsed again")):
        assert templates.guard(SQL, small.PRINCIPAL) is first
        # Another string of the same characters, as it comes from a network.
        assert templates.guard("".join(SQL), small.PRINCIPAL) is first
    assert same(first, lower(draft(SQL, small.PRINCIPAL, small.Policies(), small.CATALOG)))


def test_principals_of_one_shape_share_a_template() -> None:
    templates = Templates(small.Policies(), small.CATALOG)
    templates.guard(SQL, small.PRINCIPAL)
    other = Principal("u-2", attributes={"tenant": "b"})
    with mock.patch.object(module, "draft", side_effect=AssertionError("parsed again")):
        found = templates.guard(SQL, other)
    assert found.parameters == {"rls_tenant": "b"}
    assert same(found, lower(draft(SQL, other, small.Policies(), small.CATALOG)))


class Shapes(small.Policies):
    """Grants of every shape, by the principal's subject: kind, filter, mask, denied column and label are a letter each."""

    def grant(self, relation: Any, principal: Principal, catalog: Any) -> Grant | None:
        kind, predicate, mask, denied, label = principal.subject.split()
        return Grant(
            relation.label,
            kind,  # type: ignore[arg-type]
            {"a": small.OWN, "b": "id > 1", "c": "id > 2"}[predicate] if kind == "conditional" else "",
            {"rls_tenant": principal.attributes["tenant"]} if kind == "conditional" and predicate == "a" else {},
            {"tenant": {"x": "'*'", "y": "'+'"}[mask]} if mask != "-" else {},
            frozenset({"amount"} if denied == "d" else ()),
            frozenset({"mood"} if label == "l" else ()),
        )

    def capabilities(self, principal: Principal) -> Capabilities:
        return Capabilities(statements=frozenset({"select"}) if "narrow" in principal.roles else None)


principals = st.builds(
    lambda kind, predicate, mask, denied, label, tenant, roles: Principal(
        f"{kind} {predicate} {mask} {denied} {label}", roles=frozenset(roles), attributes={"tenant": tenant}
    ),
    st.sampled_from(["always", "conditional", "never"]),
    st.sampled_from("abc"),
    st.sampled_from("-xy"),
    st.sampled_from("-d"),
    st.sampled_from("-l"),
    st.sampled_from(["a", "b"]),
    st.sampled_from([(), ("narrow",)]),
)
queries = st.sampled_from(
    [
        "SELECT * FROM orders",
        "SELECT id, tenant FROM orders WHERE id = 7 AND mood = 'sunny'",
        "SELECT count(*) FROM orders o JOIN archive.orders a ON o.id = a.id",
        "SELECT total + 1 FROM big",
        "SELECT user.tenant, max(id) FROM orders GROUP BY ALL",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT n, id FROM t, orders",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(principals, queries), min_size=1, max_size=12))
def test_shapes_never_share_and_nothing_depends_on_who_came_before(asked: list[tuple[Principal, str]]) -> None:
    templates = Templates(Shapes(), small.CATALOG, for_engine=True)
    for principal, sql in asked:
        fresh = Templates(Shapes(), small.CATALOG, for_engine=True)
        try:
            expected: object = fresh.guard(sql, principal)
        except QueryRefused as error:
            with pytest.raises(QueryRefused) as found:
                templates.guard(sql, principal)
            assert (found.value.code, str(found.value)) == (error.code, str(error))
        else:
            assert templates.guard(sql, principal) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("always a - - -", "never a - - -"),
        ("always a - - -", "conditional b - - -"),
        ("never a - - -", "conditional b - - -"),
        ("conditional b - - -", "conditional c - - -"),
        ("conditional a - - -", "conditional b - - -"),
        ("always a - - -", "always a x - -"),
        ("always a x - -", "always a y - -"),
        ("always a - - -", "always a - d -"),
        ("always a - - -", "always a - - l"),
    ],
)
def test_shapes_that_differ_in_one_thing_never_share(one: str, other: str) -> None:
    people = [Principal(subject, attributes={"tenant": "a"}) for subject in (one, other, one, other)]
    sql = "SELECT * FROM orders"
    templates = Templates(Shapes(), small.CATALOG, for_engine=True)
    for who in people:
        assert templates.guard(sql, who) == Templates(Shapes(), small.CATALOG, for_engine=True).guard(sql, who)


def test_what_roles_may_write_is_part_of_the_shape() -> None:
    sql = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT n, id FROM t, orders"
    wide, narrow = [Principal("always a - - -", frozenset(r), {"tenant": "a"}) for r in ((), ("narrow",))]
    templates = Templates(Shapes(), small.CATALOG, for_engine=True)
    templates.guard(sql, wide)
    for ask in (templates.guard, templates.guard_alike):
        with pytest.raises(QueryRefused) as found:
            ask(sql, narrow)
        assert found.value.code == "query.statement_not_allowed"


def test_an_id_that_is_given_again_is_not_the_same_principal() -> None:
    templates = Templates(small.Policies(), small.CATALOG)
    other = Principal("u-2", attributes={"tenant": "b"})
    templates.guard(SQL, small.PRINCIPAL)
    templates._profiles[id(other)] = templates._profiles[id(small.PRINCIPAL)]
    assert templates.guard(SQL, other).parameters == {"rls_tenant": "b"}


def test_a_shared_template_has_a_fingerprint_of_its_own() -> None:
    templates = Templates(small.Policies(), small.CATALOG)
    first = templates.guard(SQL, small.PRINCIPAL)
    assert first.fingerprint != templates.guard(SQL, Principal("u-2", attributes={"tenant": "b"})).fingerprint


def test_memory_is_bounded_and_what_is_used_stays() -> None:
    templates = Templates(small.Policies(), small.CATALOG, memory=50 * OVERHEAD)
    often = templates.guard(SQL, small.PRINCIPAL)
    other = Principal("u-2", attributes={"tenant": "b"})
    for number in range(200):
        templates.guard(f"{SQL} OR id = {number}", small.PRINCIPAL)
        forget_ready(templates)
        templates.guard(SQL, other if number % 2 else small.PRINCIPAL)
    assert len(templates._texts) <= 50 >= templates._texts._size // OVERHEAD
    assert templates._texts.get(SQL)
    assert templates.guard(SQL, small.PRINCIPAL) == often


def test_what_is_kept_of_principals_is_bounded_by_their_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VALUES", 1_000)
    templates = Templates(small.Policies(), small.CATALOG)
    people = [Principal(f"u-{n}", attributes={"tenant": "a", "list": tuple(range(99))}) for n in range(50)]
    for who in people:
        assert templates.guard(SQL, who).parameters == {"rls_tenant": "a"}
        ready = [key for text in templates._texts._texts.values() for key in text.ready]
        assert templates._texts._ready == len(ready)
        assert sum(one.weight for one in templates._profiles.values()) == templates._weight <= 1_000
        assert set(ready) <= set(templates._profiles)
    assert id(people[-1]) in templates._profiles
    # Many with nothing but a name are bounded by their number.
    monkeypatch.setattr(module, "PRINCIPALS", 5)
    others = [Principal(f"v-{n}", attributes={"tenant": "b"}) for n in range(20)]
    for who in others:
        assert templates.guard(SQL, who).parameters == {"rls_tenant": "b"}
        assert len(templates._profiles) <= 5


def test_many_threads_get_the_same_answers() -> None:
    templates = Templates(Shapes(), small.CATALOG, for_engine=True, memory=30 * OVERHEAD)
    people = [Principal(f"conditional {p} {m} - -", attributes={"tenant": t}) for p in "ab" for m in "-x" for t in "ab"]
    texts = [f"SELECT id, tenant FROM orders WHERE id = {n % 7} AND amount > {n}.5" for n in range(25)]
    expected = {
        (i, sql): Templates(Shapes(), small.CATALOG, for_engine=True).guard(sql, who).parameters
        for i, who in enumerate(people)
        for sql in texts
    }
    faults: list[object] = []

    def ask(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(300):
            number, sql = draw.randrange(len(people)), draw.choice(texts)
            try:
                found = templates.guard_alike(sql, people[number])
                if found.parameters != expected[number, sql]:
                    faults.append((number, sql, found.parameters))
            except Exception as error:  # noqa: BLE001 - reported below
                faults.append(error)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def spelled(sql: str, catalog: Catalog = small.CATALOG) -> list[str]:
    """The literals of a text that are bound."""
    parsed = parse(sql)
    found = bound_literals(parsed, resolve(parsed, catalog), lambda relation: ["email"])
    return [sql[one.start : one.end] for one in found]


@pytest.mark.parametrize(
    ("sql", "bound"),
    [
        ("SELECT id FROM orders WHERE id = 7 AND amount >= 1.5", ["7", "1.5"]),
        ("SELECT id FROM orders o JOIN people p ON o.id = p.id AND p.name IN ('a', 'b') WHERE 3 < o.id", ["'a'", "'b'", "3"]),
        ("SELECT id FROM orders WHERE id BETWEEN 1 AND 2 OR NOT (tenant LIKE 'a%')", ["1", "2", "'a%'"]),
        # Another type beside it, or perhaps: a mask, a name of the query's own, a common table expression, a union.
        ("SELECT id FROM orders WHERE tenant > DATE '2026-01-01' AND tenant = 5 AND id = 'a' AND mood = 'sunny'", []),
        ("SELECT id FROM people WHERE email = 'a' AND name = 'b'", ["'b'"]),
        ("SELECT id FROM (SELECT id::UUID AS name, id FROM people) WHERE name = 'b' AND id = 5", ["5"]),
        ("WITH o AS (SELECT place AS tenant FROM orders) SELECT 1 FROM o WHERE o.tenant = 'b'", []),
        ("SELECT id FROM orders WHERE place.city = 'b' AND orders.tenant = 'b'", ["'b'"]),
        ("SELECT id FROM orders WHERE id = 5 UNION ALL SELECT name FROM people WHERE id = 5", []),
        ("SELECT id, unnest([1]) FROM orders WHERE id = 5", []),
        ("SELECT total FROM big WHERE total = 5", []),
        ("SELECT id FROM (SELECT * FROM orders WHERE id = 7) WHERE id IN (SELECT id FROM people WHERE id = 8)", ["7", "8"]),
        # Names of columns, positions, limits, arguments, intervals, expressions and what is not sure to be alike.
        ("SELECT id = 7 FROM orders ORDER BY 1 LIMIT 5", []),
        ("SELECT (SELECT max(id) FROM orders WHERE id = 7)", []),
        ("SELECT count(*) FILTER (WHERE id = 7) FROM orders GROUP BY amount = 3 HAVING max(id) = 2", []),
        ("SELECT id FROM orders WHERE substring(tenant, 2) = 'x' AND id + 1 = 2 AND id = 1 + 1", []),
        ("SELECT id FROM orders WHERE tenant = '42' AND tenant <> '' AND 'true' < tenant", ["'42'", "''", "'true'"]),
        ("SELECT id FROM orders WHERE tenant IN ('42', 'x') AND tenant BETWEEN '1' AND '2' AND tenant LIKE '4%'", ["'x'"]),
        ("SELECT id FROM orders WHERE id = '42' AND mood = '' AND amount < '1.5' AND tenant = 'ä'", []),
        ("SELECT id FROM orders WHERE id = -7 AND amount = 1e5 AND id = 99999999999999999999", []),
        ("SELECT id FROM orders WHERE tenant LIKE 'a!%' ESCAPE '!' AND tenant = E'a' AND tenant = $$a$$", []),
    ],
)  # fmt: skip
def test_which_literals_are_bound(sql: str, bound: list[str]) -> None:
    assert spelled(sql) == bound


DATED = Catalog.of("data", [Relation(("main",), "days", (Column("day", "DATE"), Column("at", "TIMESTAMP")))])


@pytest.mark.parametrize(
    ("condition", "bound"),
    [
        ("day > DATE '2026-01-01'", ["DATE '2026-01-01'"]),
        ("day BETWEEN CAST('2026-01-01' AS date) AND '2026-02-01'", ["CAST('2026-01-01' AS date)", "'2026-02-01'"]),
        ("at < TIMESTAMP '2026-01-01' OR day = cast ( '2026-01-01' as timestamp )",
         ["TIMESTAMP '2026-01-01'", "cast ( '2026-01-01' as timestamp )"]),
        # Other types, other times of the day, and words that convert where a cast may fail.
        ("at < TIMESTAMPTZ '2026-01-01' AND day = '2026-01-01'::DATE AND day = TRY_CAST('2026-01-01' AS DATE)", []),
        ("at < TIMESTAMP '2026-01-01 12:00:00' AND day < CAST('today' AS DATE) AND day > CAST(20260101 AS DATE)", []),
    ],
)  # fmt: skip
def test_which_days_are_bound(condition: str, bound: list[str]) -> None:
    assert spelled(f"SELECT count(*) FROM days WHERE {condition}", DATED) == bound


def test_near_texts_share_a_template() -> None:
    templates = Templates(small.Policies(), small.CATALOG, for_engine=True)
    templates.guard_alike("SELECT id FROM orders WHERE id = 7 AND tenant IN ('x', 'z')", small.PRINCIPAL)
    with mock.patch.object(module, "draft", side_effect=AssertionError("parsed again")):
        found = templates.guard_alike(
            "SELECT id\n FROM orders -- why\nWHERE id=123 AND tenant IN ('EMEA','b');", small.PRINCIPAL
        )
    assert found.near
    assert "why" not in found.sql
    own = {"rls_tenant": "a"}
    assert found.parameters == own | {"rls_0_0": 123, "rls_0_1": "EMEA", "rls_0_2": "b"}


@pytest.mark.parametrize(
    "other",
    [
        "SELECT id FROM orders WHERE id = 3000000000 AND tenant = 'x' LIMIT 5",  # another type
        "SELECT id FROM orders WHERE id = 7.5 AND tenant = 'x' LIMIT 5",
        "SELECT id FROM orders WHERE id = 7 AND tenant = '2026-01-01' LIMIT 5",
        "SELECT id FROM orders WHERE id = 7 AND tenant = '5' LIMIT 5",
        "SELECT id FROM orders WHERE id = 7 AND tenant = 'x' LIMIT 6",  # not bound, and another
        "SELECT id FROM orders WHERE id = 7 AND tenant = E'x' LIMIT 5",
        'SELECT id FROM orders WHERE id = 7 AND tenant = "x" LIMIT 5',
        "SELECT id FROM orders WHERE id = 7 AND tenant = 'x' OR id = 8 LIMIT 5",
    ],
)
def test_texts_that_are_not_near_are_guarded_for_themselves(other: str) -> None:
    templates = Templates(small.Policies(), small.CATALOG, for_engine=True)
    templates.guard_alike("SELECT id FROM orders WHERE id = 7 AND tenant = 'x' LIMIT 5", small.PRINCIPAL)
    assert not templates.guard_alike(other, small.PRINCIPAL).near


@pytest.mark.parametrize(
    ("known", "other"),
    [
        ("SELECT 'a'\n'b' FROM orders", "SELECT 'a' /*\n*/ 'b' FROM orders"),
        ("SELECT id FROM orders WHERE id % -5 = 0", "SELECT id FROM orders WHERE id %-5 = 0"),
        ("SELECT id FROM orders WHERE id & ~4 = 0", "SELECT id FROM orders WHERE id &~4 = 0"),
    ],
)
def test_what_duckdb_does_not_read_is_near_to_nothing(known: str, other: str) -> None:
    templates = Templates(small.Policies(), small.CATALOG, for_engine=True)
    templates.guard_alike(known, small.PRINCIPAL)
    with pytest.raises(QueryRefused):
        templates.guard_alike(other, small.PRINCIPAL)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_masked_column_binds_for_those_alone_who_see_it(order: tuple[int, int]) -> None:
    """Beside a mask nothing is bound, so two shapes of one text bind different literals."""
    people = [Principal(f"always a {mask} - -", attributes={"tenant": "a"}) for mask in "-x"]
    texts = [f"SELECT id FROM orders WHERE tenant = '{t}' AND id = {n}" for t, n in (("ab", 7), ("cd", 8), ("ef", 9))]
    templates = Templates(Shapes(), small.CATALOG, for_engine=True)
    for sql in texts:
        for number in (*order, *order):
            found = templates.guard_alike(sql, people[number])
            fresh = Templates(Shapes(), small.CATALOG, for_engine=True).guard(sql, people[number])
            assert (found.sql, found.parameters) == (fresh.sql, fresh.parameters)


def test_types_of_parameters_are_part_of_the_key() -> None:
    """`name = $n` is a comparison of texts for a text, and a cast of every name, which may raise, for a number."""
    templates = Templates(small.Policies(), small.CATALOG, for_engine=True)
    sql = "SELECT id FROM people WHERE name = $n"
    kinds = [{"n": "VARCHAR"}, {"n": "INTEGER"}, {"n": "VARCHAR"}, {"n": "INTEGER"}]
    found = [templates.guard_alike(sql, small.PRINCIPAL, types) for types in kinds]
    assert found[0] is found[2] and found[1] is found[3]
    fresh = [Templates(small.Policies(), small.CATALOG, for_engine=True).guard(sql, small.PRINCIPAL, t) for t in kinds]
    assert found == fresh
    assert found[0].sql != found[1].sql


def test_a_near_text_is_ready_the_next_time_and_for_others() -> None:
    templates = Templates(small.Policies(), small.CATALOG, for_engine=True)
    templates.guard_alike("SELECT id FROM orders WHERE id = 7", small.PRINCIPAL)
    near = "SELECT id FROM orders  WHERE id = 8"
    first = templates.guard_alike(near, small.PRINCIPAL)
    other = Principal("u-2", attributes={"tenant": "b"})
    with mock.patch.object(module, "tokenize", side_effect=AssertionError("read again")):
        assert templates.guard_alike(near, small.PRINCIPAL) is first
        second = templates.guard_alike(near, other)
    assert (first.near, second.near) == (True, True)
    assert first.parameters == {"rls_tenant": "a", "rls_0_0": 8}
    assert second.parameters == {"rls_tenant": "b", "rls_0_0": 8}


def test_a_near_text_is_guarded_for_itself_where_its_own_text_is_asked_for() -> None:
    templates = Templates(small.Policies(), small.CATALOG, for_engine=True)
    templates.guard_alike("SELECT id FROM orders WHERE id = 7", small.PRINCIPAL)
    near = "SELECT id FROM orders WHERE id = 8"
    assert templates.guard_alike(near, small.PRINCIPAL).near
    exact = templates.guard(near, small.PRINCIPAL)
    assert (exact.original, exact.near) == (near, False)
    assert templates.guard_alike(near, small.PRINCIPAL) is exact


def test_a_near_text_means_for_a_mask_what_it_says() -> None:
    """Beside a mask nothing is bound: who has one cannot read a text through another's literals, ready or not."""
    plain, masked = [Principal(f"always a {mask} - -", attributes={"tenant": "a"}) for mask in "-x"]
    templates = Templates(Shapes(), small.CATALOG, for_engine=True)
    first, near = "SELECT id FROM orders WHERE tenant = 'ab'", "SELECT id FROM orders WHERE tenant = 'cd'"
    templates.guard_alike(first, plain)
    templates.guard_alike(first, masked)
    assert templates.guard_alike(near, plain).near
    found = templates.guard_alike(near, masked)
    assert found == Templates(Shapes(), small.CATALOG, for_engine=True).guard(near, masked)
    assert "'cd'" in found.sql


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT id FROM orders WHERE id = 7 AND tenant = 'a'", "SELECT id FROM orders WHERE id = 7 OR tenant = 'a'"),
        ("SELECT id FROM orders WHERE id = 7", "SELECT id FROM orders WHERE id = 'a'"),
        ("SELECT x '41' FROM orders", "SELECT x'41' FROM orders"),
        ("SELECT 'a' 'b' FROM orders", "SELECT 'a'\n'b' FROM orders"),
        ("SELECT 1 x FROM orders", "SELECT 1x FROM orders"),
        ("SELECT id FROM orders", 'SELECT "id" FROM orders'),
        ("SELECT id FROM orders", "SELECT amount FROM orders"),
    ],
)
def test_texts_with_other_tokens_have_another_shape(one: str, other: str) -> None:
    def shape(sql: str) -> object:
        tokens = tokenize(sql)
        return tokens and shape_of_tokens(sql, tokens, literal_positions(tokens))

    assert shape(one) != shape(other)
    assert shape(one) == shape(one.replace(" ", "  "))


def test_shapes_that_were_forgotten_are_no_other_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHAPES", 3)
    templates = Templates(Shapes(), small.CATALOG, for_engine=True)
    people = [Principal(f"conditional {p} {m} - -", attributes={"tenant": "a"}) for p in "abc" for m in "-xy"]
    for who in people * 3:
        found = templates.guard("SELECT id, tenant FROM orders", who)
        assert found == Templates(Shapes(), small.CATALOG, for_engine=True).guard("SELECT id, tenant FROM orders", who)
        assert len(templates._shapes) <= 4
        templates._profiles.clear()


VALUES = {
    "INTEGER": ["0", "1", "2", "3", "40", "100", "2147483647"],
    "VARCHAR": ["'EMEA'", "'open'", "'a'", "'acme'", "'%a%'", "'zz zz'"],
    "TEXT": ["''", "'42'", "'1'", "'-1.5'", "'true'", "'infinity'", "'2026-13-01'", "' '", "'4%'"],
    "DATE": ["'2026-01-05'", "'2025-12-31'", "'1999-02-28'"],
}


DAYS = [
    f"SELECT id, CAST(notes AS VARCHAR) FROM orders WHERE placed_at {comparison} AND id <> 7 ORDER BY id"
    for day in ("'2024-02-01'", "DATE '2024-02-01'", "TIMESTAMP '2024-02-01'", "CAST('2024-02-01' AS DATE)")
    for comparison in (f"> {day}", f"BETWEEN {day} AND CAST('2026-01-05' AS TIMESTAMP)")
]


def varied(sql: str, draw: random.Random) -> str:
    """The text with other literals of the same class, and other white space."""
    text = sql
    for token in reversed(tokenize(sql) or []):
        start, end = token.start, token.end + 1
        if token.token_type in (TokenType.NUMBER, TokenType.STRING):
            class_ = class_of(sql[start:end])
            if class_ in VALUES and draw.random() < 0.7:
                text = text[:start] + draw.choice(VALUES[class_]) + text[end:]
        elif token.token_type == TokenType.COMMA and draw.random() < 0.3:
            text = text[:end] + "\n  /* c */ " + text[end:]
    return text


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Driver, Driver, str]]:
    """An engine that shares templates, one that does not, and a token for both."""
    directory = tmp_path_factory.mktemp("templates")
    database = build(directory / "warehouse.duckdb", [(GOLDEN / "schema.sql").read_text(encoding="utf-8")])
    policies = Path(shutil.copytree(GOLDEN / "policies", directory / "policies"))
    now = int(time.time())
    base = {"iss": "https://golden.test", "aud": "rls-golden", "iat": now, "exp": now + 3000}
    token = sign(base | PERSONAS["ada"]["claims"], (policies / "secret.txt").read_text(encoding="utf-8"))
    with Driver(database, policies, token=token) as sharing, Driver(database, policies, token=token) as plain:
        yield sharing, plain, token


def test_a_shared_template_gives_the_answer_of_the_text_itself(drivers: tuple[Driver, Driver, str]) -> None:
    sharing, plain, _ = drivers
    draw = random.Random("near")
    templates = sharing._engine._state.inner_templates
    near = 0

    def alike(sql: str, *given: Any) -> GuardedQuery:
        nonlocal near
        found = Templates.guard_alike(templates, sql, *given)
        near += found.near
        return found

    def exactly(sql: str, *given: Any) -> GuardedQuery:
        return Templates(own._policies, own._catalog).guard(sql, *given)

    own = plain._engine._state.inner_templates
    with (
        mock.patch.object(templates, "guard_alike", alike),
        mock.patch.object(own, "guard_alike", exactly),
    ):
        for text in (*(record["sql"] for record in records("legal.jsonl")), *DAYS):
            if re.search(r"sample|random|uuid|now\(|current_|today", text, re.IGNORECASE):
                continue
            sharing.ask(text)
            for _ in range(2):
                other = varied(text, draw)
                wanted, got = plain.ask(other), sharing.ask(other)
                if isinstance(wanted, Answer) and wanted.error is None:
                    assert isinstance(got, Answer), (other, got)
                    assert differs(wanted, got) is None, other
                else:
                    assert type(got) is type(wanted), (other, wanted, got)
                    assert re.sub(r"audit record \w+", "", str(got)) == re.sub(r"audit record \w+", "", str(wanted))
    assert near > 100


def test_an_error_points_into_the_text_that_was_sent(drivers: tuple[Driver, Driver, str]) -> None:
    sharing, plain, _ = drivers
    text = "SELECT id FROM orders WHERE tenant_id <> {} AND CAST(region AS INTEGER) = 5"
    sharing.ask(text.format("'nothing'"))
    moved = "\n\n   " + text.format("'none'")
    wanted, got = plain.ask(moved), sharing.ask(moved)
    assert isinstance(wanted, Answer) and isinstance(got, Answer)
    assert wanted.error == got.error and wanted.error is not None
    assert "line 3" in wanted.error
