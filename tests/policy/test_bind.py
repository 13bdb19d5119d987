"""Names in policies: found in the catalog, in full, or the policy is refused; never found in the caller's query."""

from __future__ import annotations

import duckdb
import pytest

from rls.catalog import Catalog, Column, Relation
from rls.policy.attributes import Attribute, attributes_by_name
from rls.policy.bind import bind, has_fields
from rls.policy.expressions import read_expression
from rls.policy.parser import ExpressionInvalid
from tests.policy.cases import CATALOG, ORDERS

ATTRIBUTES = attributes_by_name({}) | {"tenant": Attribute("tenant", "string")}


def bound(text: str, relation: Relation = ORDERS, catalog: Catalog = CATALOG) -> str:
    expression = read_expression(text, ATTRIBUTES, branches=False)
    return expression.root.text(bind(expression, relation, catalog, ATTRIBUTES))


def refused(text: str, relation: Relation = ORDERS, catalog: Catalog = CATALOG) -> tuple[str, str, str | None]:
    expression = read_expression(text, ATTRIBUTES, branches=False)
    with pytest.raises(ExpressionInvalid) as caught:
        bind(expression, relation, catalog, ATTRIBUTES)
    error = caught.value
    return error.code, text[error.offset : error.offset + error.length], error.hint


FOUND = {
    "customer_id IN (SELECT customer_id FROM account_managers WHERE employee = user.subject)": '("orders"."customer_id" '
    '= ANY(SELECT "customer_id" FROM "hidden"."main"."account_managers" WHERE ("employee" = CAST($rls_subject AS '
    "VARCHAR))))",
    # A name of the sub-query comes before one of the relation; the relation's own name reaches out.
    "EXISTS (FROM employees WHERE tenant_id = orders.tenant_id)": 'EXISTS(SELECT * FROM "hidden"."main"."employees" '
    'WHERE ("tenant_id" = "orders"."tenant_id"))',
    "EXISTS (FROM account_managers m WHERE m.employee = region)": "EXISTS(SELECT * FROM "
    '"hidden"."main"."account_managers" AS m WHERE ("m"."employee" = "orders"."region"))',
    "EXISTS (FROM finance.ledger WHERE finance.ledger.id = main.orders.id)": "EXISTS(SELECT * FROM "
    '"hidden"."finance"."ledger" WHERE ("finance"."ledger"."id" = "orders"."id"))',
    # CTEs: their names and columns are the policy's own.
    "id IN (WITH employees AS (SELECT 1 AS n) SELECT n FROM employees)": '("orders"."id" = ANY(WITH employees AS '
    '(SELECT 1 AS n) SELECT "n" FROM employees))',
    "id IN (WITH x(k) AS (SELECT id FROM employees) SELECT x.k FROM x)": '("orders"."id" = ANY(WITH x (k) AS (SELECT '
    '"id" FROM "hidden"."main"."employees") SELECT "x"."k" FROM x))',
    "id IN (SELECT q.id FROM (SELECT * FROM employees) AS q)": '("orders"."id" = ANY(SELECT "q"."id" FROM (SELECT * '
    'FROM "hidden"."main"."employees") AS q))',
    "id IN (SELECT total FROM (SELECT sum(id) AS total FROM employees GROUP BY email) t ORDER BY total LIMIT 3)": (
        '("orders"."id" = ANY(SELECT "total" FROM (SELECT sum("id") AS total FROM "hidden"."main"."employees" GROUP '
        'BY "email") AS t ORDER BY "total" LIMIT 3))'
    ),
}


@pytest.mark.parametrize("text", FOUND)
def test_names_of_sub_queries(text: str) -> None:
    assert " ".join(bound(text).split()) == FOUND[text]


NOT_FOUND = {
    "tenant = user.tenant": ("policy.unknown_column", "tenant"),
    "other.id = 1": ("policy.unknown_column", "other.id"),
    "place.street = 'x'": ("policy.unknown_column", "place.street"),
    "region.x = 'x'": ("policy.unknown_column", "region.x"),
    "rowid = 1": ("policy.unknown_column", "rowid"),
    "orders IS NULL": ("policy.unknown_column", "orders"),
    "current_user = 'x'": ("policy.unknown_column", "current_user"),
    "id IN (SELECT id FROM managers)": ("policy.unknown_relation", "managers"),
    "id IN (SELECT id FROM nowhere.employees)": ("policy.unknown_relation", "nowhere.employees"),
    "id IN (SELECT nothing FROM employees)": ("policy.unknown_column", "nothing"),
    "id IN (SELECT e.nothing FROM employees e)": ("policy.unknown_column", "e.nothing"),
    "id IN (SELECT employees.id FROM employees e)": ("policy.unknown_column", "employees.id"),
    # Columns that the sub-query does not hand out, aliases where DuckDB does not know them yet.
    "id IN (SELECT q.email FROM (SELECT id FROM employees) AS q)": ("policy.unknown_column", "q.email"),
    "id IN (SELECT id FROM (SELECT id + 1 FROM employees) AS q WHERE q.id = 1)": ("policy.unknown_column", "q.id"),
    "id IN (SELECT id AS total FROM employees WHERE total > 1)": ("policy.unknown_column", "total"),
    "id IN (SELECT id AS total FROM employees ORDER BY total + 1)": ("policy.unknown_column", "total"),
    "id IN (SELECT a.id FROM employees a JOIN employees b ON a.id = c.id JOIN employees c ON true)": (
        "policy.unknown_column",
        "c.id",
    ),
    "id IN (SELECT k FROM employees AS x(k) WHERE x.id = 1)": ("policy.unknown_column", "x.id"),
    "len(list_filter(tags, lambda t: t.x = 'y')) = 0": ("policy.unknown_column", "t.x"),
    "EXISTS (FROM account_managers orders WHERE orders.region = 'x')": ("policy.shadowed", "orders.region"),
    "EXISTS (FROM employees orders WHERE region = 'x')": ("policy.shadowed", "region"),
}


@pytest.mark.parametrize("text", NOT_FOUND)
def test_what_is_not_found_is_refused_where_it_stands(text: str) -> None:
    assert refused(text)[:2] == NOT_FOUND[text]


def test_a_near_name_is_suggested() -> None:
    assert refused("tenantid = user.tenant")[2] == "did you mean `tenant_id`?"
    assert refused("id IN (SELECT id FROM employes)")[2] == "did you mean `employees`?"


def test_a_column_that_went_away_is_not_looked_for_in_the_callers_query() -> None:
    """DuckDB finds `tenant_id` of the query around a guard when the guard's relation has none."""
    con = duckdb.connect()
    con.execute("CREATE TABLE orders (id INTEGER); INSERT INTO orders VALUES (1), (2)")
    guard = "(SELECT * FROM orders WHERE tenant_id = 'mine')"
    assert len(con.execute(f"SELECT * FROM (SELECT 'mine' AS tenant_id) x, {guard}").fetchall()) == 2
    stale = Relation(("main",), "orders", (Column("id", "INTEGER"),))
    assert refused("tenant_id = user.tenant", stale, Catalog.of("shop", [stale]))[0] == "policy.unknown_column"


def test_date_trunc_is_not_for_intervals() -> None:
    """DuckDB shows rows that such a condition hides, and hides others, by the extremes of their block."""
    con = duckdb.connect()
    con.execute(
        "CREATE TABLE terms AS FROM (VALUES (INTERVAL 29 DAYS), (INTERVAL 1 MONTH), (INTERVAL 31 DAYS)) t(term)"
    )
    found = con.execute("SELECT count(*) FROM terms WHERE date_trunc('month', term) = INTERVAL 0 DAYS").fetchone()
    assert found == (3,)  # two of them are; once it is so, the rule may go
    columns = (Column("id", "INTEGER"), Column("term", "INTERVAL"), Column("since", "TIMESTAMP"))
    terms = Relation(("main",), "terms", columns)
    catalog = Catalog.of("shop", [terms, ORDERS])
    for text, place in {
        "date_trunc('month', term) = INTERVAL 0 DAYS": "term",
        "id > 3 OR DateTrunc('day', \"TERM\" * 2) > INTERVAL 1 DAY": '"TERM"',
        "id IN (SELECT a FROM terms q(a, b) WHERE date_trunc('day', b) = INTERVAL 0 DAYS)": "terms q(a, b)",
    }.items():
        assert refused(text, terms, catalog)[:2] == ("policy.forbidden_function", place)
    assert bound("date_trunc('month', since) = DATE '2024-01-01' OR id = 3", terms, catalog)
    assert bound("term > INTERVAL 3 DAYS", terms, catalog)


def test_a_bare_name_of_a_function_is_called() -> None:
    """`current_date` as a name would be looked for among the caller's columns first."""
    assert bound("ordered < current_date") == '("orders"."ordered" < current_date())'
    con = duckdb.connect()
    assert con.execute("SELECT current_date() = current_date").fetchone() == (True,)


def test_a_relation_called_user_and_one_with_a_dot() -> None:
    strange = Relation(('a."b',), "user", (Column("tenant", "VARCHAR"), Column("user", "VARCHAR")))
    catalog = Catalog.of("shop", [strange], attached="x.y")
    assert bound("tenant = user.tenant", strange, catalog) == '("user"."tenant" = CAST($rls_tenant AS VARCHAR))'
    text = 'tenant IN (SELECT u."user" FROM "a.""b"."user" AS u)'
    assert bound(text, strange, catalog) == (
        '("user"."tenant" = ANY(SELECT "u"."user" FROM "x.y"."a.""b"."user" AS u))'
    )


def test_hidden_labels_are_read_as_text_in_masks() -> None:
    expression = read_expression("upper(status) || place.city", ATTRIBUTES, branches=False)
    holes = bind(expression, ORDERS, CATALOG, ATTRIBUTES, labels_hidden=["status"])
    assert expression.root.text(holes) == ('(upper(CAST("orders"."status" AS VARCHAR)) || "orders"."place"."city")')


def test_fields_of_types() -> None:
    type_ = "STRUCT(a INTEGER, \"b \"\"c, d\" STRUCT(x DECIMAL(9,2), y ENUM('(', 'a, b')), z MAP(VARCHAR, INTEGER))"
    assert has_fields(type_, ('b "C, d', "y"))
    assert has_fields(type_, ("z",))
    assert not has_fields(type_, ("x",))
    assert not has_fields(type_, ("a", "x"))
    assert has_fields("INTEGER", ())
    assert not has_fields("STRUCT(a INTEGER)[]", ("a",))
