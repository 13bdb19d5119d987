"""Policies against an independent oracle: the author's expression with literals in place of `user.<attribute>`, run by
DuckDB on rows full of NULLs, and sets in Python for the combination. Same rows kept, for hundreds of expressions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import product
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rls.catalog import Catalog, Column, Relation, quote
from rls.policy.attributes import Attribute, attributes_by_name
from rls.policy.bind import bind
from rls.policy.compile import compile_grant
from rls.policy.expressions import read_expression
from rls.policy.rules import Bound, BoundPolicy, Place, Policy
from rls.yaml_source import parse_documents
from tests.policy.cases import person

COLUMNS = {"i": "INTEGER", "t": "VARCHAR", "x": "DECIMAL(9,2)", "d": "DATE", "b": "BOOLEAN", "Odd Name": "VARCHAR"}
ATTRIBUTES = attributes_by_name({}) | {
    a.name: a
    for a in (
        Attribute("s", "string"),
        Attribute("n", "integer"),
        Attribute("m", "decimal", precision=18, scale=6),
        Attribute("day", "date"),
        Attribute("flag", "boolean"),
        Attribute("words", "string", many=True),
        Attribute("numbers", "integer", many=True),
        Attribute("days", "date", many=True),
    )
}
TABLE = Relation(("main",), "t 1", (Column("k", "INTEGER"), *(Column(n, t) for n, t in COLUMNS.items())))
KEYS = Relation(("main",), "keys", (Column("k", "INTEGER"), Column("word", "VARCHAR")))
CATALOG = Catalog.of("shop", [TABLE, KEYS], attached="hid den")
PLACE = Place(parse_documents("a: b", file="x.yaml")[0], ())

TEXTS = ["", "a", "b", "o'brien", "*", "%", 'say "x"', "søn 東", "a' OR '1'='1", "$rls_s", "{}", "\\"]
NUMBERS = [-1, 0, 1, 2, 2**31, 2**63 - 1, -(2**63)]
DECIMALS = [Decimal("0.5"), Decimal("1"), Decimal("-0.000001"), Decimal("123456.789")]
DAYS = [date(2024, 2, 29), date(2025, 1, 1), date(1, 1, 1)]


def literal(value: Any) -> str:
    match value:
        case bool():
            return str(value).upper()
        case str():
            return "'" + value.replace("'", "''") + "'"
        case date():
            return f"DATE '{value.isoformat()}'"
        case _:
            return f"({value})"


@dataclass(frozen=True)
class Both:
    """A condition as the author writes it, and the same with literals."""

    written: str
    meant: str

    def joined(self, word: str, other: Both) -> Both:
        return Both(f"{self.written} {word} {other.written}", f"{self.meant} {word} {other.meant}")


@pytest.fixture(scope="module")
def connection() -> Iterator[Any]:
    con = duckdb.connect()
    con.execute("ATTACH ':memory:' AS \"hid den\"")
    columns = ", ".join(f"{quote(n)} {t}" for n, t in COLUMNS.items())
    con.execute(f'CREATE TABLE "hid den".main."t 1" (k INTEGER, {columns})')
    con.execute("CREATE TABLE \"hid den\".main.keys AS SELECT 1 AS k, 'a' AS word UNION ALL SELECT 2, 'o''brien'")
    values = [
        [None, 0, 1, 2],
        [None, "a", "o'brien", "*"],
        [None, Decimal("0.50"), Decimal("123456.79")],
        [None, date(2024, 2, 29), date(2025, 6, 1)],
        [None, True, False],
        [None, "søn 東"],
    ]
    rows = [(k, *row) for k, row in enumerate(product(*values))]
    con.executemany(f'INSERT INTO "hid den".main."t 1" VALUES ({",".join("?" * 7)})', rows)
    yield con
    con.close()


attribute_values = st.fixed_dictionaries(
    {
        "s": st.sampled_from(TEXTS),
        "n": st.sampled_from(NUMBERS),
        "m": st.sampled_from(DECIMALS),
        "day": st.sampled_from(DAYS),
        "flag": st.booleans(),
        "words": st.lists(st.sampled_from(TEXTS), max_size=4).map(tuple),
        "numbers": st.lists(st.sampled_from(NUMBERS), max_size=4).map(tuple),
        "days": st.lists(st.sampled_from(DAYS), max_size=2).map(tuple),
    }
)
OPERATORS = ["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"]
PAIRS = [("i", "n"), ("t", "s"), ('"odd name"', "s"), ("x", "m"), ("d", "day"), ("b", "flag"), ("I", "m")]
LISTS = [("i", "numbers"), ("t", "words"), ('"Odd Name"', "words"), ("d", "days")]


def among(column: str, values: tuple[Any, ...]) -> str:
    # SQL has no empty list: FALSE, and NULL for a NULL column as in `NULL IN (1)`.
    if not values:
        return f"(CASE WHEN {column} IS NULL THEN NULL ELSE FALSE END)"
    return f"{column} IN ({', '.join(map(literal, values))})"


@st.composite
def atoms(draw: st.DrawFn, values: dict[str, Any], *, rows_only: bool = False) -> Both:
    kinds = ["compare", "in", "not in", "between", "any", "row", "mapping", "exists"]
    kind = draw(st.sampled_from(kinds if rows_only else [*kinds, "known", "known in", "present"]))
    column, name = draw(st.sampled_from(PAIRS))
    sign = draw(st.sampled_from(OPERATORS))
    if name == "flag":
        sign = draw(st.sampled_from(["=", "<>"]))
    value = literal(values[name])
    listed, many = draw(st.sampled_from(LISTS))
    match kind:
        case "compare":
            return Both(f"{column} {sign} user.{name}", f"{column} {sign} {value}")
        case "in":
            return Both(f"{listed} IN user.{many}", among(listed, values[many]))
        case "not in":
            return Both(f"{listed} NOT IN User.{many.upper()}", f"NOT ({among(listed, values[many])})")
        case "between":
            return Both("i BETWEEN 0 AND user.n", f"i BETWEEN 0 AND {literal(values['n'])}")
        case "any":
            meant = " OR ".join(f"i = {literal(v)}" for v in values["numbers"]) or "FALSE"
            return Both("coalesce(i = ANY(user.numbers), false)", f"coalesce({meant}, false)")
        case "row":
            text = draw(
                st.sampled_from(["i > 0", "t IS NULL", "b", "t LIKE 'o%'", "i IN (1, 2)", "NOT b", "(i)+1 = 2"])
            )
            return Both(text, text)
        case "mapping":
            written = "i IN (SELECT k FROM keys WHERE word = user.s)"
            return Both(written, f'i IN (SELECT k FROM "hid den".main.keys WHERE word = {literal(values["s"])})')
        case "exists":
            written = 'EXISTS (FROM keys m WHERE m.k = "t 1".i AND word IN user.words)'
            inner = among("word", values["words"])
            return Both(written, f'EXISTS (FROM "hid den".main.keys m WHERE m.k = "t 1".i AND {inner})')
        case "known":
            name, other = draw(st.sampled_from([("s", "'a'"), ("n", "1"), ("m", "0.5"), ("day", "DATE '2025-01-01'")]))
            sign = draw(st.sampled_from(OPERATORS[:6]))
            return Both(f"user.{name} {sign} {other}", f"{literal(values[name])} {sign} {other}")
        case "known in":
            meant = "'a' IN (" + ", ".join(map(literal, values["words"])) + ")" if values["words"] else "FALSE"
            return Both("'a' IN user.words", meant)
        case _:
            return draw(st.sampled_from([Both("user.s IS NULL", "FALSE"), Both("user.s IS NOT NULL", "TRUE")]))


@st.composite
def conditions(draw: st.DrawFn, values: dict[str, Any], *, depth: int = 3, rows_only: bool = False) -> Both:
    shape = draw(st.sampled_from(["atom", "and", "or", "not", "group"])) if depth else "atom"
    if shape == "atom":
        return draw(atoms(values, rows_only=rows_only))
    one = draw(conditions(values, depth=depth - 1, rows_only=rows_only))
    match shape:
        case "not":
            return Both(f"NOT ({one.written})", f"NOT ({one.meant})")
        case "group":
            return Both(f"({one.written})", f"({one.meant})")
        case _:
            # Without parentheses: precedence is DuckDB's in both texts.
            return one.joined(shape.upper(), draw(conditions(values, depth=depth - 1, rows_only=rows_only)))


def kept(connection: Any, meant: str) -> set[int]:
    rows = connection.execute(f'SELECT k FROM "hid den".main."t 1" WHERE {meant}').fetchall()
    return {k for (k,) in rows}


def granted(connection: Any, policies: list[tuple[str, str]], principal: Any) -> tuple[set[int], Any]:
    bound = []
    for number, (kind, text) in enumerate(policies):
        expression = read_expression(text, ATTRIBUTES, branches=True)
        policy = Policy(f"p{number}", kind, None, expression, PLACE)  # type: ignore[arg-type]
        bound.append(BoundPolicy(policy, bind(expression, TABLE, CATALOG, ATTRIBUTES)))
    grant = compile_grant(Bound(TABLE, False, tuple(bound), (), frozenset()), principal, ATTRIBUTES)
    where = {"always": "TRUE", "never": "FALSE"}.get(grant.kind, grant.predicate)
    rows = connection.execute(f'SELECT k FROM "hid den".main."t 1" AS "t 1" WHERE {where}', grant.parameters).fetchall()
    return {k for (k,) in rows}, grant


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_one_policy_keeps_the_rows_that_the_expression_with_literals_keeps(
    connection: Any, data: st.DataObject
) -> None:
    values = data.draw(attribute_values)
    both = data.draw(conditions(values))
    seen, grant = granted(connection, [("permissive", both.written)], person(**values))
    assert seen == kept(connection, both.meant), grant


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_policies_combine_like_sets(connection: Any, data: st.DataObject) -> None:
    values = data.draw(attribute_values)
    kinds = data.draw(st.lists(st.sampled_from(["permissive", "restrictive"]), min_size=1, max_size=4))
    made = [(kind, data.draw(conditions(values, depth=2))) for kind in kinds]
    seen, grant = granted(connection, [(k, b.written) for k, b in made], person(**values))
    expected: set[int] = set()
    for kind, both in made:
        if kind == "permissive":
            expected |= kept(connection, both.meant)
    for kind, both in made:
        if kind == "restrictive":
            expected &= kept(connection, both.meant)
    assert seen == expected, grant


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_policy_without_its_attribute_is_false(connection: Any, data: st.DataObject) -> None:
    values = data.draw(attribute_values)
    both = data.draw(conditions(values, rows_only=True))
    expression = read_expression(both.written, ATTRIBUTES, branches=True)
    gone = set(data.draw(st.lists(st.sampled_from(sorted(values)), min_size=1)))
    principal = person(**{name: value for name, value in values.items() if name not in gone})
    seen, grant = granted(connection, [("permissive", both.written)], principal)
    if gone & expression.attributes:
        assert grant.kind == "never"
        assert any(name in reason for reason in grant.reasons for name in gone)
    else:
        assert seen == kept(connection, both.meant)


def test_ten_thousand_values_are_one_parameter(connection: Any) -> None:
    values = (*(f"v{n}" for n in range(10_000)), "o'brien")
    seen, grant = granted(connection, [("permissive", "t IN user.words")], person(words=values))
    assert seen == kept(connection, "t = 'o''brien'")
    assert len(grant.predicate) < 100
    assert len(grant.parameters["rls_words"]) == 10_001


def test_the_same_value_twice_is_the_same_as_once(connection: Any) -> None:
    once, _ = granted(connection, [("permissive", "t IN user.words")], person(words=("a",)))
    twice, _ = granted(connection, [("permissive", "t IN user.words")], person(words=("a", "a")))
    assert once == twice != set()


def test_an_empty_list_matches_nothing_and_its_negation_every_row_with_a_value(connection: Any) -> None:
    seen, grant = granted(connection, [("permissive", "t IN user.words")], person(words=()))
    assert (seen, grant.kind) == (set(), "never")
    assert grant.reasons == ("`p0`: attribute `words` is an empty list",)
    seen, grant = granted(connection, [("permissive", "t NOT IN user.words")], person(words=()))
    assert seen == kept(connection, "t IS NOT NULL")


def test_or_in_one_policy_does_not_reach_past_another(connection: Any) -> None:
    policies = [("restrictive", "i = user.n"), ("permissive", "t = 'a' OR b"), ("restrictive", "d IS NULL OR b")]
    seen, _ = granted(connection, policies, person(n=1))
    assert seen == kept(connection, "i = 1 AND (t = 'a' OR b) AND (d IS NULL OR b)")
    assert seen
