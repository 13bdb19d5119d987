"""Help for a query that does not bind, made only of what its author may know."""

from __future__ import annotations

import re

import pytest

from rls.catalog import Column
from rls.engines.shadow import Shadow
from rls.errors import QueryRefused, RlsError
from rls.rewrite.guarded import GuardedQuery, Splice
from rls.rewrite.splice import apply_splices

SHOWN = (Column("id", "INTEGER"), Column("name", "VARCHAR"), Column("tags", "VARCHAR[]"), Column("select", "DATE"))
GUARD = (
    '(SELECT * EXCLUDE ("secret") FROM "rls_x"."main"."orders" AS "orders" '
    "WHERE tenant_id = $rls_tenant AND ')' <> \"odd)\" OFFSET 0)"
)


@pytest.fixture(scope="module")
def shadow() -> Shadow:
    return Shadow()


def explain(shadow: Shadow, original: str, *, parameters: dict[str, object] | None = None) -> RlsError | None:
    """The shadow's error for a text in which `orders` stands for one guarded relation."""
    splices, at = [], -1
    while (at := original.find("orders", at + 1)) >= 0:
        aliased = re.match(r"orders [a-z]\b", original[at:])
        splices.append(Splice(at, at + 6, GUARD if aliased else GUARD + ' AS "orders"'))
    sql = apply_splices(original, splices)
    guarded = GuardedQuery(sql, {"rls_tenant": "acme"}, original, {}, tuple(splices))
    asked: list[str] = []

    def describe(relation: str) -> tuple[Column, ...]:
        asked.append(relation)
        return SHOWN

    found = shadow.explain(guarded, parameters or {}, describe)
    assert set(asked) <= {GUARD}
    return found


@pytest.mark.parametrize(
    ("sql", "code", "words", "at"),
    [
        ("SELECT nam FROM orders", "query.unknown_column", "`nam`", "nam"),
        ("SELECT secret FROM orders", "query.unknown_column", "`secret`", "secret"),
        ("SELECT x.nope FROM orders x", "query.unknown_column", "`x` has no column `nope`", "x.nope"),
        ("SELECT id\nFROM orders a, orders b", "query.ambiguous_column", "`a.id` or `b.id`", "id"),
        ("SELECT name, id FROM orders GROUP BY name", "query.grouping", "`id`", "id"),
        ("SELECT sum(name) FROM orders", "query.arguments", "`sum(VARCHAR)`", "sum"),
        ("SELECT 1 + 'a' FROM orders", "query.arguments", "+(INTEGER_LITERAL, STRING_LITERAL)", "+"),
        ("SELECT unnest(id) FROM orders", "query.invalid", "UNNEST()", "unnest"),
        ("SELECT id FROM orders UNION SELECT 1, 2", "query.invalid", "same number of result columns", None),
    ],
)
def test_it_says_what_is_wrong_and_where(shadow: Shadow, sql: str, code: str, words: str, at: str | None) -> None:
    error = explain(shadow, sql)
    assert isinstance(error, QueryRefused)
    assert error.code == code
    assert words in str(error)
    if at is not None:
        assert error.position is not None
        assert sql[error.position.offset :].startswith(at)


def test_candidates_are_the_shown_columns(shadow: Shadow) -> None:
    error = explain(shadow, "SELECT nam FROM orders")
    assert isinstance(error, QueryRefused)
    assert error.hint == "did you mean `name` or `tags`"


def test_hidden_columns_and_columns_that_do_not_exist_are_the_same(shadow: Shadow) -> None:
    hidden, missing = (explain(shadow, f"SELECT {name} FROM orders") for name in ("secret", "secreu"))
    assert str(hidden).replace("secret", "?") == str(missing).replace("secreu", "?")


def test_parameters_of_the_caller_take_part(shadow: Shadow) -> None:
    error = explain(shadow, "SELECT list_sort($x) FROM orders", parameters={"x": 5})
    assert isinstance(error, QueryRefused)
    assert "list_sort(INTEGER" in str(error)


def test_what_binds_here_is_not_explained_here(shadow: Shadow) -> None:
    error = explain(shadow, "SELECT id FROM orders")
    assert error is None


def test_it_gives_up_rather_than_guess(shadow: Shadow) -> None:
    splice = Splice(14, 20, GUARD)
    query = GuardedQuery(f"SELECT x FROM {GUARD}", {}, "SELECT x FROM orders", {}, (splice,))
    assert shadow.explain(query, {}, lambda _: None) is None
    filled = GuardedQuery("SELECT something else", {}, "SELECT x FROM orders", {}, (splice,))
    assert shadow.explain(filled, {}, lambda _: SHOWN) is None
