"""Stand-ins: the short text has the tree of the whole one, and nobody who writes SQL gets more past `verify` by them."""

from __future__ import annotations

import zlib
from collections import Counter
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rls.rewrite.verify as verification
from rls.errors import QueryRefused
from rls.rewrite.engine_ast import bare, serialize
from rls.rewrite.guard import guard
from rls.rewrite.guarded import Guard
from rls.rewrite.stand_ins import NAME, Short, shorten
from tests.rewrite import small
from tests.rewrite.mutate_guards import Setting, open_setting, records, shown_to_verify

STATEMENT = (
    'SELECT * REPLACE (CAST("mood" AS VARCHAR) AS "mood", CASE WHEN "place" IS NOT NULL THEN "place" END AS "place")'
    ' FROM "memory"."main"."orders" AS "orders" WHERE tenant = CAST($rls_tenant AS VARCHAR) OFFSET 0'
)
GUARD, PATH = f"({STATEMENT})", ("memory", "main", "orders")
GRANT = small.Policies().grant(small.ORDERS, small.PRINCIPAL, small.CATALOG)
assert GRANT is not None
USED = [Guard(small.ORDERS, GRANT)]


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return open_setting(tmp_path_factory.mktemp("stand_ins"))


def statements_at(text: str, short: Short, statements: list[str]) -> dict[int, str]:
    """What each stand-in stands for, by its place: found by reading both texts side by side."""
    found: dict[int, str] = {}
    at = read = 0
    for place in sorted(short.guards):
        start, stop = short.text.rindex("(", 0, place), short.text.index(")", place) + 1
        assert text[at : at + start - read] == short.text[read:start]
        at += start - read
        found[place] = max((one for one in statements if text.startswith(f"({one})", at)), key=len)
        at, read = at + len(found[place]) + 2, stop
    assert text[at:] == short.text[read:]
    return found


def put_back(tree: Any, statements: dict[int, str]) -> Any:
    """The tree of a short text, with the tree of each guard where its stand-in is."""
    match tree:
        case {"type": "SELECT_NODE", "from_table": {"qualified_name": {"path": [name]}, "query_location": place}} if (
            name == NAME
        ):
            return serialize(statements[place])[0]
        case dict():
            return {key: put_back(part, statements) for key, part in tree.items()}
        case list():
            return [put_back(part, statements) for part in tree]
        case _:
            return tree


@pytest.mark.parametrize("record", records(), ids=lambda record: record["id"])
def test_the_short_text_of_a_golden_has_the_tree_of_the_whole(record: dict[str, str], setting: Setting) -> None:
    names = sorted(setting.principals)
    persona = setting.principals[names[zlib.crc32(record["id"].encode()) % len(names)]]
    made: list[tuple[str, Short, list[str]]] = []

    def shortened(text: str, statements: Any) -> Short | None:
        short = shorten(text, statements)
        if short is not None:
            made.append((text, short, [statement for statement, _ in statements]))
        return short

    with mock.patch.object(verification, "shorten", shortened):
        shown_to_verify(record["sql"], persona, setting)
    for text, short, statements in made:
        (whole,), (tree,) = serialize(text), serialize(short.text)
        assert bare(put_back(tree, statements_at(text, short, statements))) == bare(whole)


def accepts(text: str) -> bool:
    try:
        verification.verify(text, catalog=small.CATALOG, guards=USED, bound=Counter())
    except QueryRefused:
        return False
    return True


def accepts_whole(text: str) -> bool:
    with mock.patch.object(verification, "shorten", lambda *_: None):
        return accepts(text)


def test_what_the_rewrite_makes_is_shortened() -> None:
    text = guard("SELECT id + 0 AS id FROM orders o", small.PRINCIPAL, small.Policies(), small.CATALOG).sql
    assert text == f"SELECT id + 0 AS id FROM {GUARD} o"
    short = shorten(text, [(STATEMENT, PATH)])
    assert short is not None
    assert short.text == f'SELECT id + 0 AS id FROM (SELECT * FROM "{NAME}" OFFSET 0) o'
    assert list(short.guards.values()) == [(PATH, True)]
    assert accepts(text)
    with mock.patch.object(verification, "serialize", lambda text: serialize(text) if NAME in text else pytest.fail()):
        assert accepts(text)


PRETENDED = {
    "in a string": f"SELECT '{GUARD}' AS x",
    "in dollar quotes": f"SELECT $${GUARD}$$ AS x",
    "in dollar quotes with a name": f"SELECT $rls_tenant${GUARD}$rls_tenant$ AS x",
    "in a comment": f"SELECT 1 /* {GUARD} */",
    "in a nested comment": f"SELECT 1 /* /* */ {GUARD} */",
    "in a line comment": f"SELECT 1 -- {GUARD}",
    "in a name": 'SELECT 1 AS "' + GUARD.replace('"', '""') + '"',
    "after an open comment": f"SELECT 1 FROM /* {GUARD}",
    "beside a relation": f'SELECT 1 FROM {GUARD} o, "memory"."main"."secret"',
    "with a clause": f"{GUARD} LIMIT 3",
    "with a fence of its own": f"SELECT * FROM ({GUARD} OFFSET 1) o",
    "with a stand-in": f'SELECT 1 FROM {GUARD} o, (SELECT * FROM "{NAME}" OFFSET 0) s',
    "with a stand-in in other letters": f'SELECT 1 FROM {GUARD} o, (SELECT * FROM "{NAME.upper()}" OFFSET 0) s',
    "with a stand-in in a string": f"SELECT 1 FROM {GUARD} o, (SELECT * FROM E'\\x72ls stand-in' OFFSET 0) s",
    "a stand-in defined": f'WITH "{NAME}" AS (SELECT 1) SELECT * FROM (SELECT * FROM "{NAME}" OFFSET 0) s',
    "in an unused window": f"SELECT 1 WINDOW w AS (ORDER BY (SELECT 1 FROM {GUARD} o))",
}


@pytest.mark.parametrize("what", PRETENDED)
def test_a_guard_that_is_none_is_not_taken_for_one(what: str) -> None:
    text = PRETENDED[what]
    assert not accepts(text)
    assert not accepts_whole(text)


BESIDE_A_GUARD = {
    "in a string": f"SELECT '{GUARD}' AS x FROM {GUARD} o",
    "in an escaped string": f"SELECT E'\\'{GUARD}' AS x FROM {GUARD} o",
    "in a comment": f"SELECT 1 FROM {GUARD} o /* {GUARD} */",
    "in a name": f'SELECT 1 AS "(SELECT * FROM x)" FROM {GUARD} o -- {GUARD}',
}


@pytest.mark.parametrize("what", BESIDE_A_GUARD)
def test_beside_a_guard_the_whole_text_is_read(what: str) -> None:
    text, read = BESIDE_A_GUARD[what], []

    def seen(text: str) -> Any:
        read.append(text)
        return serialize(text)

    with mock.patch.object(verification, "serialize", seen):
        assert accepts(text)
    assert read[-1] == text


@pytest.mark.parametrize("where", [f'"{NAME}" AS x', f"'{NAME}' AS x", f"1 /* {NAME} */"])
def test_a_text_that_names_stand_ins_is_not_shortened(where: str) -> None:
    assert shorten(f"SELECT {where} FROM {GUARD} o", [(STATEMENT, PATH)]) is None


def test_statements_that_leave_something_open_do_not_stand_alone() -> None:
    for statement in (
        "SELECT * FROM t -- ",
        "SELECT * FROM t WHERE (true",
        "SELECT * FROM t) x WHERE (true",
        "SELECT * FROM t WHERE a = 'ä'",
        "SELECT * FROM t; SELECT * FROM t",
        "SELECT * FROM t UNION SELECT * FROM t",
        "VALUES (1)",
    ):
        assert shorten(f"SELECT 1 FROM ({statement}) t", [(statement, PATH)]) is None, statement


PIECES = [
    GUARD, GUARD, GUARD, " o", " AS x", ", ", " FROM ", "SELECT ", "1", "x", "'", "''", '"', "$$", "$a$", "$rls_tenant",
    "--", "/*", "*/", "\n", "\u00a0", "\\", "E'", ";", "(", ")", " UNION ALL ", " WHERE ", " IN ", " = ", " EXISTS ",
    " JOIN ", " USING (id)", " LIMIT 1", " OFFSET 0", "CASE ", " WHEN ", " THEN ", " END", f'"{NAME}"', " PIVOT ",
    'WITH a AS ', " LATERAL ", "ARRAY", "max", "::", "[", "]", "{", "}", ":", "VALUES ", " EXCEPT ", " ORDER BY ",
]  # fmt: skip
FRAMES = [
    f"SELECT id FROM {GUARD} o{{}}", f"SELECT {{}} FROM {GUARD} o", f"SELECT id, {{}} AS x FROM {GUARD}{{}}",
    f"FROM {GUARD} a WHERE {{}}", f"WITH a AS {GUARD} SELECT 1{{}}", f"SELECT {{}} {GUARD}{{}}", f"{{}}{GUARD}{{}}",
]  # fmt: skip


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.sampled_from(FRAMES), st.lists(st.sampled_from(PIECES), max_size=8), st.lists(st.sampled_from(PIECES)))
def test_a_text_is_judged_as_a_whole_whatever_is_in_it(frame: str, first: list[str], second: list[str]) -> None:
    text = frame.replace("{}", "".join(first), 1).replace("{}", "".join(second))
    assert accepts(text) is accepts_whole(text)
