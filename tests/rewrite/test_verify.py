"""Mutation of guarded texts: whatever part of a guard is dropped or changed, `verify` objects."""

from __future__ import annotations

import json
from collections import Counter

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rls.catalog import Catalog, Relation
from rls.errors import QueryRefused
from rls.identity.principal import Principal
from rls.policy.grant import Grant
from rls.rewrite.engine_ast import EngineParseError, serialize
from rls.rewrite.guard import guard
from rls.rewrite.guarded import Guard
from rls.rewrite.verify import verify
from tests.rewrite import small


def grant_of(relation: Relation) -> Grant:
    grant = small.Policies().grant(relation, small.PRINCIPAL, small.CATALOG)
    assert grant is not None
    return grant


PEOPLE, ORDERS = grant_of(small.PEOPLE), grant_of(small.ORDERS)
USED = [Guard(small.PEOPLE, PEOPLE), Guard(small.ORDERS, ORDERS)]
SQL = "SELECT p.name, o.id + 0 AS id FROM people p JOIN orders o USING (tenant)"
TEXT = guard(SQL, small.PRINCIPAL, small.Policies(), small.CATALOG).sql
PREDICATE = " WHERE tenant = CAST($rls_tenant AS VARCHAR)"

MUTATIONS = {
    "no guard": (TEXT[TEXT.index("(SELECT * REP") : TEXT.index(") o USING") + 1], '"memory"."main"."orders"'),
    "no guard, short name": (TEXT[TEXT.index("(SELECT * REP") : TEXT.index(") o USING") + 1], "orders"),
    "no predicate": (PREDICATE, ""),
    "no predicate on one": (PREDICATE + " OFFSET 0) o", " OFFSET 0) o"),
    "other predicate": (PREDICATE, " WHERE tenant = CAST($rls_tenant AS VARCHAR) OR true"),
    "literal for the parameter": ("$rls_tenant", "'b'"),
    "other parameter": ("$rls_tenant", "$rls_other"),
    "predicate on another column": ("WHERE tenant", "WHERE name"),
    "no fence": (" OFFSET 0", ""),
    "other fence": ("OFFSET 0", "OFFSET 1"),
    "limit instead of fence": ("OFFSET 0", "LIMIT 100"),
    "no mask": (" REPLACE ('***' AS \"email\")", ""),
    "other mask": ("'***'", "email"),
    "denied column shown": (' EXCLUDE ("salary")', ""),
    "another column denied": ('EXCLUDE ("salary")', 'EXCLUDE ("name")'),
    "enum labels shown": ('CAST("mood" AS VARCHAR) AS "mood"', '"mood" AS "mood"'),
    "struct fields movable": ('CASE WHEN "place" IS NOT NULL THEN "place" END', '"place"'),
    "extra column": ("SELECT * EXCLUDE", "SELECT salary AS name, * EXCLUDE"),
    "other relation": ('"main"."orders"', '"main"."secret"'),
    "other schema": ('"main"."orders"', '"archive"."orders"'),
    "other alias": ('AS "orders"', 'AS "other"'),
    "join in the guard": ('AS "orders"', 'AS "orders" CROSS JOIN "memory"."main"."secret"'),
    "union in the guard": (" OFFSET 0) o", ' UNION ALL FROM "memory"."main"."orders" OFFSET 0) o'),
    "sample in the guard": (" OFFSET 0) o", " USING SAMPLE 1 OFFSET 0) o"),
    "second statement": ("USING (tenant)", "USING (tenant); SELECT 1"),
    "relation beside the guards": ("USING (tenant)", 'USING (tenant), "memory".main.secret'),
    "parameter beside the guards": ("p.name", "$rls_tenant"),
    "guard in a string": (
        TEXT[TEXT.index("(SELECT * REP") : TEXT.index(") o USING") + 1],
        "(SELECT 'x' AS tenant, 1 AS id)",
    ),
}


def test_accepts_what_guard_makes() -> None:
    verify(TEXT, catalog=small.CATALOG, guards=USED, bound=Counter())


@pytest.mark.parametrize("name", MUTATIONS)
def test_objects_to_a_mutation(name: str) -> None:
    old, new = MUTATIONS[name]
    mutant = TEXT.replace(old, new)
    assert mutant != TEXT
    with pytest.raises(QueryRefused):
        verify(mutant, catalog=small.CATALOG, guards=USED, bound=Counter())


def test_objects_to_a_view_without_its_own_policy() -> None:
    predicate = 'total > 4 AND id IN (SELECT id FROM "memory"."main"."people" WHERE tenant = $rls_tenant)'
    own = small.Grant("big", "conditional", predicate, {"rls_tenant": "a"})

    class Policies(small.Policies):
        def grant(self, relation: Relation, principal: Principal, catalog: Catalog) -> Grant | None:
            return own if relation.kind == "view" else super().grant(relation, principal, catalog)

    guarded = guard("SELECT *, total + 0 AS t FROM big", small.PRINCIPAL, Policies(), small.CATALOG)
    text, used = guarded.sql, guarded.guards
    verify(text, catalog=small.CATALOG, guards=used, bound=Counter())
    for old, new in (("total > 4", "total > 3"), (f" WHERE {predicate} OFFSET 0", ""), (predicate, "true")):
        assert old in text
        with pytest.raises(QueryRefused):
            verify(text.replace(old, new), catalog=small.CATALOG, guards=used, bound=Counter())


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM query('SELECT 1')",
        "SELECT * FROM duckdb_tables()",
        "SELECT nextval('s')",
        "FROM 'x.parquet'",
        "SELECT 1 AT",
        "SHOW TABLES",
        "FROM (SHOW x)",
        "SELECT * FROM a EXACT NEAREST 3 BY DISTANCE b",
        "WITH x AS (INSERT INTO t VALUES (1) RETURNING *) FROM x",
        "SELECT CAST(1 AS t)",
        "SELECT 'a' COLLATE made_up",
        "SELECT x LIKE 'a' ESCAPE y FROM (VALUES ('a', 'b')) t(x, y)",
        "SELECT finalize(sum(1) EXPORT_STATE)",
        "SELECT count(*) FROM t AT (VERSION => 1)",
        "FROM information_schema.tables",
    ],
)
def test_refuses_what_is_not_on_the_lists(sql: str) -> None:
    with pytest.raises(QueryRefused):
        verify(sql, catalog=small.CATALOG, guards=[], bound=Counter())


PIECES = ["'", "''", '"', "$$", "$a$", "--", "/*", "*/", "\n", "\u00a0", "\\", "E'", "x", ";", "\0"]


@given(st.lists(st.sampled_from(PIECES)))
def test_a_text_reaches_the_second_parser_as_it_is(parts: list[str]) -> None:
    text = "SELECT " + "".join(parts)
    (row,) = duckdb.execute("SELECT json_serialize_sql($1::VARCHAR)", [text]).fetchall()
    direct = json.loads(row[0])
    try:
        found = serialize(text)
    except EngineParseError as error:
        assert str(error) == direct["error_message"]
    else:
        assert found == [statement["node"] for statement in direct["statements"]]
