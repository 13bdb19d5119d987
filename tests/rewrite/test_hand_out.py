"""Texts that are handed out: many that are alike share one query, and nobody gets anything of somebody else's text."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterator
from unittest import mock

import duckdb
import pytest

from rls.catalog import Catalog
from rls.errors import QueryRefused
from rls.identity.principal import Principal
from rls.rewrite import templates as module
from rls.rewrite.barrier import lower
from rls.rewrite.guard import draft, guard
from rls.rewrite.hand_out import HandedOut
from rls.rewrite.parse import tokenize
from rls.rewrite.token_shape import literal_positions, plain_text, shape_of_tokens
from tests.judging.compare import differs
from tests.judging.driver import Driver
from tests.judging.oracle import Answer
from tests.rewrite import small
from tests.rewrite.test_goldens import records
from tests.rewrite.test_templates import drivers, varied

__all__ = ["drivers"]

SQL = "SELECT id FROM orders WHERE id = 7 AND tenant IN ('x', 'z') LIMIT 5"
OTHER = Principal("u-2", attributes={"tenant": "b"})


@pytest.fixture
def handed() -> HandedOut:
    return HandedOut(small.Policies(), small.CATALOG)


def test_the_first_is_exact_the_next_share_one_that_is_plain(handed: HandedOut) -> None:
    first = handed.guard_alike(SQL, small.PRINCIPAL)
    assert first == lower(draft(SQL, small.PRINCIPAL, small.Policies(), small.CATALOG))
    second = handed.guard_alike(SQL.replace("7", " 8"), small.PRINCIPAL)
    assert (first.near, second.near) == (False, True)
    with mock.patch.object(module, "draft", side_effect=AssertionError("parsed again")):
        third = handed.guard_alike(SQL.replace("7", "9").replace("'x'", "'w'"), OTHER)
        assert handed.guard_alike(SQL, small.PRINCIPAL) is first
    assert third.sql == second.sql
    assert third.parameters == {"rls_tenant": "b", "rls_0_0": 9, "rls_0_1": "w", "rls_0_2": "z"}
    with mock.patch.object(module, "tokenize", side_effect=AssertionError("read again")):
        assert handed.guard_alike(SQL.replace("7", " 8"), small.PRINCIPAL) is second


def test_nobody_gets_what_somebody_else_wrote(handed: HandedOut) -> None:
    texts = [
        "SELECT id /* first */  FROM orders WHERE id=7 AND tenant = 'theirs' ORDER   BY id -- x",
        "SELECT id FROM orders WHERE id\t= 8 AND tenant = 'second' ORDER BY id -- y",
        "SELECT\n\nid FROM orders WHERE id = 9 AND tenant = 'mine' ORDER\nBY id; -- z",
    ]
    found = [handed.guard_alike(sql, small.PRINCIPAL) for sql in texts]
    assert [one.near for one in found] == [False, True, True]
    assert found[1].sql == found[2].sql
    for mine, query in zip(texts[1:], found[1:], strict=True):
        assert (query.original, query.splices) == (mine, ())
        shown = f"{query.sql} {query.original} {query.splices} {query.parameters}".replace("rls_0_", "")
        for other in texts:
            for word in re.findall(r"first|theirs|second|mine|-- \w|\b[789]\b", other):
                assert other is mine or word in mine or word not in shown


def test_it_does_not_depend_on_who_came_before() -> None:
    # The first is spelled plainly as it is.
    texts = [f"SELECT id{gap}FROM orders WHERE id ={gap}{n}" for n, gap in ((7, " "), (8, "\n"), (9, " /* a */ "))]
    found = []
    for first in texts:
        handed = HandedOut(small.Policies(), small.CATALOG)
        handed.guard_alike(first.replace("id FROM", "id  FROM").replace("= 7", "=  6"), small.PRINCIPAL)
        others = [one for one in texts if one is not first]
        found += [handed.guard_alike(one, small.PRINCIPAL).sql for one in others]
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM orders WHERE orders = {} OR secret() = 1",
        "SELECT id FROM orders WHERE id = {} AND",
        "SELECT id FROM nowhere WHERE id = {}",
    ],
)
def test_a_refusal_points_into_the_text_that_was_sent(handed: HandedOut, sql: str) -> None:
    for text in (sql.format(7), sql.format("\n   8"), sql.format("9")):
        with pytest.raises(QueryRefused) as wanted:
            guard(text, small.PRINCIPAL, small.Policies(), small.CATALOG)
        with pytest.raises(QueryRefused) as found:
            handed.guard_alike(text, small.PRINCIPAL)
        assert str(found.value) == str(wanted.value)


def test_a_parameter_of_the_callers_keeps_a_text_to_itself(handed: HandedOut) -> None:
    for number in range(3):
        text = f"SELECT id FROM orders WHERE id = {number} AND tenant = $who"
        found = handed.guard_alike(text, small.PRINCIPAL, {"who": "VARCHAR"})
        assert (found.near, found.original) == (False, text)


def test_many_threads_get_the_same(handed: HandedOut) -> None:
    wrong: list[object] = []

    def work(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(60):
            number = draw.randrange(10)
            who = draw.choice([small.PRINCIPAL, OTHER])
            found = handed.guard_alike(f"SELECT id FROM orders WHERE id = {number}", who)
            values = dict(found.parameters)
            if values.pop("rls_tenant") != who.attributes["tenant"] or (values or {"": number}) != (
                {"rls_0_0": number} if found.near else {"": number}
            ):
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.fixture(scope="module")
def connection(drivers: tuple[Driver, Driver, str]) -> Iterator[duckdb.DuckDBPyConnection]:
    """Somebody else's connection over the same catalog."""
    database = drivers[0]._engine._executor._database._path  # type: ignore[attr-defined]
    with duckdb.connect() as found:
        found.execute(f"ATTACH '{database}' AS warehouse (READ_ONLY)")
        found.execute("USE warehouse")
        yield found


def _answer(connection: duckdb.DuckDBPyConnection, sql: str, parameters: object) -> Answer | str:
    try:
        found = connection.execute(sql, parameters)
        names, types = zip(*((column[0], str(column[1])) for column in found.description), strict=True)
        return Answer(names, types, found.fetchall())
    except duckdb.Error as error:
        return type(error).__name__


def test_the_answer_is_that_of_the_text_itself(
    drivers: tuple[Driver, Driver, str], connection: duckdb.DuckDBPyConnection
) -> None:
    engine, token = drivers[0]._engine, drivers[2]
    catalog: Catalog = engine.catalog
    principal = engine.session(token).principal
    draw, near = random.Random("handed out"), 0
    for record in records("legal.jsonl"):
        if re.search(r"sample|random|uuid|now\(|current_|today|recursive", record["sql"], re.IGNORECASE):
            continue
        if not tokenize(record["sql"]) or draw.random() < 0.6:
            continue
        engine.guard(token, record["sql"])
        for _ in range(2):
            other = varied(record["sql"], draw)
            try:
                exact = guard(other, principal, engine.policies, catalog)
            except QueryRefused:
                with pytest.raises(QueryRefused):
                    engine.guard(token, other)
                continue
            found = engine.guard(token, other)
            if exact.pivots:
                assert not found.near
                continue
            near += found.near
            wanted = _answer(connection, exact.sql, dict(exact.parameters))
            got = _answer(connection, found.sql, dict(found.parameters))
            if isinstance(wanted, Answer):
                assert isinstance(got, Answer), (other, got)
                assert differs(wanted, got) is None, other
            else:
                assert got == wanted, other
    assert near > 40


def test_a_plain_spelling_means_the_same() -> None:
    for record in records("legal.jsonl"):
        sql = record["sql"]
        tokens = tokenize(sql) or []
        plain = plain_text(sql, tokens)
        again = tokenize(plain) or []
        assert shape_of_tokens(plain, again, literal_positions(again)) == shape_of_tokens(
            sql, tokens, literal_positions(tokens)
        ), sql
        assert plain_text(plain, again) == plain


def test_what_is_spelled_plainly_already_is_near_as_well(handed: HandedOut) -> None:
    for number in (7, 8, 8, 9, 7):
        sql = f"SELECT id FROM orders WHERE id = {number}"
        found = handed.guard_alike(sql, small.PRINCIPAL)
        assert (found.original, found.near) == (sql, number != 7)
        assert found.parameters.get("rls_0_0", 7) == number
    with mock.patch.object(module, "draft", side_effect=AssertionError("parsed again")):
        assert handed.guard_alike("SELECT id FROM orders WHERE id = 10", OTHER).near
