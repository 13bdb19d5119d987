"""What makes much of stored texts is refused where a guard shows them with their dictionary, whatever the guard says."""

from __future__ import annotations

from collections import Counter
from unittest import mock

import pytest

from rls.catalog import Catalog, Relation
from rls.errors import QueryRefused
from rls.identity.principal import Principal
from rls.policy.grant import Grant
from rls.rewrite.barrier import lower
from rls.rewrite.guard import draft
from rls.rewrite.guarded import FENCED, Barrier
from tests.rewrite import small

GROWING = [
    "hex(hex(hex(hex(hex(name)))))",
    "url_encode(hex(name).hex().hex())",
    "lpad(name, 10, 'x')",
    "name.bin()",
    "replace(name, 'a', email)",
    "replace(name, '', email)",
    "replace(replace(name, 'a', 'bbbbb'), 'b', 'aaaaa')",
    "regexp_extract(name, 'a', ['b', 'c'])",
    "regexp_replace(name, 'a', 'b')",
    "concat_ws(name, 'a', 'b')",
    "name || $mine",
    f"name || '{'x' * 1001}'",
    " || ".join(["name"] * 62),
    f"name || '{'x' * 501}' || '{'y' * 501}'",
    "[name]::VARCHAR",
    "(name, 1)::TEXT",
    "{'a': name}::VARCHAR",
    "string_split(name, '')::VARCHAR",
    "TRY_CAST(TRY_CAST(name AS BLOB) AS BIT)::VARCHAR",
    "[x || x FOR x IN [name]]",
    "upper(COLUMNS('name'))",
    "name ->> '$.a'",
]
SMALL = [
    "hex(md5(name))",
    "replace(replace(name, 'Ltd', 'Limited'), ' ', '')",
    "* REPLACE (lower(name) AS name)",
    "regexp_extract(name, '([a-z]+)@', 1)",
    "upper(name) || ', ' || lower(email)",
    "concat_ws(', ', name, email)",
    "CAST(name AS INTEGER)",
    "string_split(name, ',')[1]",
    "[name]",
    "name::BLOB",
    "string_agg(hash(name)::VARCHAR, ',') OVER ()",
    "CASE WHEN name LIKE '%a' THEN 'x' ELSE date_part('year', DATE '2026-01-01') + INTERVAL 3 MONTH END",
]


def text_of_caller(item: str) -> str:
    return f"SELECT {item}{'' if item.startswith('*') else ' AS made'} FROM people"


def text_of(item: str, *, barrier: Barrier = FENCED, flat: bool = False) -> str:
    found = draft(text_of_caller(item), small.PRINCIPAL, small.Policies(), small.CATALOG)
    return found._finish(barrier, flat=flat).sql


@pytest.mark.parametrize("item", GROWING)
def test_objects_where_a_guard_is_not_flat(item: str) -> None:
    with pytest.raises(QueryRefused, match="much of texts"):
        text_of(item)
    assert 'TRY("name")' in text_of(item, flat=True)


@pytest.mark.parametrize("item", SMALL)
def test_what_stays_small_keeps_its_dictionary(item: str) -> None:
    text = text_of(item)
    assert "TRY(" not in text
    query = draft(text_of_caller(item), small.PRINCIPAL, small.Policies(), small.CATALOG)
    assert query.finish(FENCED).sql == text


@pytest.mark.parametrize("item", ["concat_ws(name, 'a', 'b')", "name || $mine"])
def test_nothing_that_grows_runs_without_a_fence(item: str) -> None:
    with pytest.raises(QueryRefused, match="much of texts"):
        text_of(item, barrier=Barrier(fenced=False, hide_statistics=True))
    query = draft(f"SELECT id FROM people WHERE {item} = 'x'", small.PRINCIPAL, small.Policies(), small.CATALOG)
    assert lower(query, {"mine": "VARCHAR"}).fence_reason


@pytest.mark.parametrize("item", GROWING)
def test_what_the_first_look_misses_is_flat_as_well(item: str) -> None:
    query = draft(f"SELECT {item} AS made FROM people", small.PRINCIPAL, small.Policies(), small.CATALOG)
    with mock.patch("rls.rewrite.guard.grows", return_value=False):
        assert 'TRY("name")' in query.finish(FENCED).sql


def test_another_engine_has_no_dictionaries() -> None:
    query = draft("SELECT bin(name) AS made FROM people", small.PRINCIPAL, small.Policies(), small.CATALOG)
    assert "TRY(" not in query.finish(FENCED, for_duckdb=False).sql


def test_an_engine_that_is_not_known_is_not_taken_for_another() -> None:
    from rls.rewrite.verify import verify

    with pytest.raises(ValueError, match="sqlite"):
        verify("SELECT 1", catalog=small.CATALOG, guards=[], bound=Counter(), runs_on="sqlite")  # type: ignore[arg-type]


def test_a_mask_hides_too() -> None:
    class Policies(small.Policies):
        def grant(self, relation: Relation, principal: Principal, catalog: Catalog) -> Grant | None:
            return Grant("people", "always", masks={"email": 'left("email", 1)'})

    query = draft("SELECT bin(email) FROM people", small.PRINCIPAL, Policies(), small.CATALOG)
    with pytest.raises(QueryRefused, match="much of texts"):
        query._finish(FENCED, flat=False)
    assert 'list_extract([left("email", 1)], 1)' in query.finish(FENCED).sql
