"""The cold path takes time in proportion to the text: counted in lines that run, not in seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from rls.errors import QueryRefused
from rls.rewrite.guard import draft
from rls.rewrite.guarded import FENCED
from rls.rewrite.literals import bound_literals
from rls.rewrite.nesting import MAX_NESTING, check_nesting, levels
from rls.rewrite.parse import tokenize
from tests.rewrite import small

LONG = "a text that is longer than any guard of this test may ever become, and then some; it is of the caller " * 3


def many(part: str, between: str, around: str = "{}") -> Callable[[int], str]:
    return lambda size: around.replace("{}", between.join(part.replace("{n}", str(n)) for n in range(size)))


SERIES = {
    "references": many("(SELECT max(id) FROM orders WHERE id = {n}) AS a{n}", ", ", "SELECT {}"),
    "references without names": many("(SELECT max(id) FROM orders WHERE id = {n})", ", ", "SELECT {}"),
    "references in a union": many("SELECT id FROM orders WHERE id = {n}", " UNION ALL "),
    "references in conditions": many(
        "id IN (SELECT id FROM people WHERE name = 'x{n}')", " OR ", "SELECT 1 FROM orders WHERE {}"
    ),
    "joins": many("JOIN orders o{n} ON o{n}.id = o.id", " ", "SELECT 1 FROM orders o {}"),
    "relations of one name": many(
        "orders.id IN (SELECT archive.orders.id FROM main.orders, archive.orders)", " OR ", "SELECT 1 FROM orders WHERE {}"
    ),
    "definitions": many("c{n} AS (SELECT id FROM orders WHERE id > {n})", ", ", "WITH {} SELECT count(*) FROM c0"),
    "definitions of one": many(
        "c{n} AS (SELECT id FROM first)", ", ", "WITH first AS (SELECT id FROM orders), {} SELECT count(*) FROM c0"
    ),
    "items of a list": many("{n}", ", ", "SELECT count(*) FROM orders WHERE id IN ({})"),
    "long texts": many(f"'{LONG}{{n}}'", ", ", "SELECT count(*) FROM orders WHERE tenant IN ({})"),
    "conditions": many("tenant LIKE 'a{n}%'", " OR ", "SELECT tenant FROM orders WHERE {}"),
    "attributes": many("tenant = user.tenant", " OR ", "SELECT id FROM orders WHERE {}"),
    "qualified columns": many("main.orders.id + {n} AS c{n}", ", ", "SELECT {} FROM orders"),
    "qualified conditions": many("main.orders.id = {n}", " OR ", "SELECT 1 FROM orders WHERE {}"),
    "branches": many("WHEN id = {n} THEN 'x{n}'", " ", "SELECT CASE {} END AS c FROM orders"),
    "brackets": many("((id))", ", ", "SELECT {} FROM orders"),
    "samples": many("(SELECT id FROM orders TABLESAMPLE 10%)", ", ", "SELECT 1 FROM {}"),
    "values": many("(SELECT * FROM (VALUES (1)) v(x)) v{n}", ", ", "SELECT 1 FROM {}"),
    "pivots in FROM": many("(FROM orders PIVOT (count(*) FOR id IN ({n})))", " UNION ALL "),
}  # fmt: skip


def lines_of(call: Callable[[], object]) -> int:
    """How many lines of Python run."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def guard(sql: str) -> None:
    query = draft(sql, small.PRINCIPAL, small.Policies(), small.CATALOG)
    query.literals = bound_literals(query.parsed, query.found, lambda relation: ())
    query.finish(FENCED)  # beyond some hundred references no plan is looked at


@pytest.mark.parametrize("name", SERIES)
def test_four_times_the_text_takes_four_times_the_lines(name: str) -> None:
    text = SERIES[name]
    small_text, large_text = text(50), text(200)
    guard(text(2))  # what is remembered of guards and functions
    few, many_lines = lines_of(lambda: guard(small_text)), lines_of(lambda: guard(large_text))
    growth = many_lines / few / (len(large_text) / len(small_text))
    assert growth < 1.25, (few, many_lines)


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        (many("sum(id) OVER w{n}", ", ", "SELECT {} FROM orders WINDOW ")(300)
         + many("w{n} AS (ORDER BY (SELECT max(id) FROM orders))", ", ")(300), "query.unnamed_item"),
        (many("(PIVOT orders ON tenant USING count(*)) p{n}", ", ", "SELECT 1 FROM {}")(51), "query.pivot"),
    ],
)  # fmt: skip
def test_what_cannot_be_linear_is_refused(sql: str, code: str) -> None:
    with pytest.raises(QueryRefused) as found:
        guard(sql)
    assert found.value.code == code


def deep(sql: str) -> int:
    tokens = tokenize(sql)
    assert tokens is not None
    return levels([token.token_type for token in tokens])


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", 0),
        ("SELECT ((1))", 2),
        ("SELECT (1), (2), (3)", 1),
        ("SELECT - + ~ 1", 3),
        ("SELECT -(-(-1))", 3),
        ("SELECT NOT NOT a AND NOT b", 2),
        ("SELECT CASE WHEN CASE WHEN a THEN b END THEN c END", 2),
        ("SELECT CASE WHEN (a) THEN b END, (CASE a WHEN 1 THEN 2 END)", 2),
        ("SELECT x[1][2][3]", 2),
        ("SELECT a.b.c.d, a.b", 3),
        ("SELECT [[{'a': (1)}]]", 4),
    ],
)
def test_levels_of_nesting(sql: str, expected: int) -> None:
    assert deep(sql) == expected


@pytest.mark.parametrize(
    "deeper",
    [
        lambda n: "SELECT " + "(" * n + "1" + ")" * n,
        lambda n: "SELECT " + "NOT " * n + "true",
        lambda n: "SELECT " + "CASE WHEN " * n + "true" + " THEN 1 END" * n,
        lambda n: "SELECT x[1]" + "[1]" * n,
        lambda n: "SELECT a" + ".a" * n,
    ],
)
def test_the_bound_on_nesting_holds_exactly(deeper: Callable[[int], str]) -> None:
    for size, allowed in ((MAX_NESTING, True), (MAX_NESTING + 1, False)):
        sql = deeper(size)
        tokens = tokenize(sql)
        assert tokens is not None
        kinds = [token.token_type for token in tokens]
        if allowed:
            check_nesting(sql, tokens, kinds)
        else:
            with pytest.raises(QueryRefused, match="nested deeper"):
                check_nesting(sql, tokens, kinds)
