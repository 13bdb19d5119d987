"""Bytes and bits as literals: both parsers read one token, or the query is refused."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from rls.errors import QueryRefused
from rls.rewrite.guard import guard
from rls.rewrite.templates import Templates
from tests.rewrite import small
from tests.rewrite.test_port import ported


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as made:
        made.execute(small.SETUP)
        yield made


@pytest.mark.parametrize(
    "item",
    [
        "x'61'",
        "X'6162' AS it",
        "x''",
        "b'0101'",
        "x'61'||X'62'",
        "x'61'::VARCHAR",
        "B'01'::INTEGER + id",
        "{'x':x'61'}",
        "[x'61', x'62'][1]",
        "CASE WHEN tenant::BLOB=x'61'THEN 1 END",
    ],
)
def test_bytes_are_read_as_duckdb_reads_them(item: str, connection: duckdb.DuckDBPyConnection) -> None:
    sql = f"SELECT {item} FROM orders WHERE id = 1"
    guarded = guard(sql, small.PRINCIPAL, small.Policies(), small.CATALOG)
    answers = []
    for text, values in ((sql, {}), (guarded.sql, dict(guarded.parameters))):
        found = connection.execute(text, values)
        answers.append((found.description, found.fetchall()))
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "item",
    [
        "x'6'",
        "x'zz'",
        "b''",
        "1x'61'",
        "ax'61'",
        "o.x'61'",
        "x'61''62'",
        "x'61' '62'",
        "x'61'\n'62'",
        "'a'x'61'",
        "x '61'",
        "\"x\"'61'",
    ],
)
def test_what_one_of_them_might_read_otherwise_is_refused(item: str) -> None:
    with pytest.raises(QueryRefused) as found:
        guard(f"SELECT {item} FROM orders o", small.PRINCIPAL, small.Policies(), small.CATALOG)
    assert found.value.code == "query.syntax"


def test_texts_with_other_bytes_are_other_texts() -> None:
    templates = Templates(small.Policies(), small.CATALOG, for_engine=True)
    texts = [f"SELECT id FROM orders WHERE tenant::BLOB = x'{byte}' AND id = 1" for byte in ("61", "62")]
    guarded = [templates.guard_alike(text, small.PRINCIPAL) for text in texts]
    assert ["x'61'" in one.sql for one in guarded] == [True, False]


def test_another_engine_refuses_them_by_name() -> None:
    with pytest.raises(QueryRefused) as found:
        ported("SELECT x'61' AS it FROM places")
    assert found.value.code == "query.not_portable"
