"""The fuzzed warehouse: tables with a column of every kind of type, and ordinary values for each.

It takes sizes and a seed and returns SQL that builds the base database. Ordinary values never make a reasonable query
fail: `note` holds numbers as text, `doc` JSON as text, `rx` regular expressions, `part` parts of dates, `quantity` is
never 0. Hidden rows get other values later (`vary`), so that an error betrays one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.judging.oracle import quoted

__all__ = ["BIG_ROWS", "ENUMS", "TABLES", "VIEWS", "Column", "Path", "build_sql"]

Path = tuple[str, ...]

# Adaptive filters, dictionary vectors and zone maps behave differently from about 200,000 rows.
BIG_ROWS = 300_000

ENUMS = {
    "order_status": ("open", "paid", "returned", "Zurück"),
    "customer_level": ("gold", "silver", "none"),
}


# Text inside nested values, which an engine may take out and cast before it filters.
PLACE = "STRUCT(code VARCHAR, n STRUCT(v VARCHAR))"
LINES = "STRUCT(num VARCHAR, kind order_status)[]"


@dataclass(frozen=True)
class Column:
    """`values` are SQL expressions of the type to draw from; none means the row's number."""

    name: str
    type: str
    values: tuple[str, ...] = ()


def _texts(*values: str) -> tuple[str, ...]:
    return tuple("NULL" if value == "NULL" else "'" + value.replace("'", "''") + "'" for value in values)


_TENANTS = _texts("acme", "acme", "globex", "initech", "ACME")
_REGIONS = _texts("EMEA", "AMER", "APAC", "NULL", "EMEA")
_OWNERS = _texts("u-1", "u-2", "u-3", "NULL", "u-4")
_NUMBERS = tuple(str(n) for n in range(1, 13))

TABLES: Mapping[Path, tuple[Column, ...]] = {
    ("main", "orders"): (
        Column("id", "BIGINT"),
        Column("tenant_id", "VARCHAR", _TENANTS),
        Column("customer_id", "INTEGER", (*_NUMBERS, "NULL")),
        Column("region", "VARCHAR", _REGIONS),
        Column("owner", "VARCHAR", _OWNERS),
        Column("amount", "DECIMAL(12,2)", ("10.50", "7.00", "7.00", "250.25", "0.01", "NULL")),
        Column("quantity", "INTEGER", ("1", "2", "2", "3", "5", "8")),
        Column("status", "order_status", _texts(*ENUMS["order_status"], "NULL")),
        Column("placed_at", "TIMESTAMP", ("'2024-01-31 10:00:00'", "'2024-02-29 23:59:59.5'", "'2025-06-01'", "NULL")),
        Column("due", "DATE", ("'2024-02-01'", "'2024-03-01'", "'2025-07-01'", "NULL")),
        Column("note", "VARCHAR", _texts("5", "17", "5", "-3", "NULL")),
        Column("doc", "VARCHAR", _texts('{"a": 1, "b": ["x"]}', '{"a": 2}', "[1, 2]", "NULL")),
        Column("stamp", "VARCHAR", _texts("2024-05-01", "2023-12-31", "2024-05-01", "NULL")),
        Column("rx", "VARCHAR", _texts("^a", "[0-9]+", "x|y", "a.*")),
        Column("label", "VARCHAR", _texts("alpha", "beta", "Gamma", "", "NULL")),
        Column("tags", "VARCHAR[]", ("['a', 'b']", "[]", "['b', NULL]", "NULL")),
        Column("payload", "JSON", _texts('{"k": 1}', '{"k": null, "l": [1, 2]}', "[]", "NULL")),
        Column("detail", "STRUCT(a INTEGER, b VARCHAR)", ("{'a': 1, 'b': 'x'}", "{'a': 2, 'b': NULL}", "NULL")),
        Column("score", "DOUBLE", ("1.5", "-2.25", "0.1", "NULL")),
        Column("place", PLACE, ("{'code': '5', 'n': {'v': '6'}}", "{'code': '17', 'n': {'v': NULL}}", "NULL")),
        Column("codes", "VARCHAR[]", ("['5', '17']", "['3']", "[]", "NULL")),
        Column("kinds", "order_status[]", ("['open', 'paid']", "[]", "[NULL, 'returned']", "NULL")),
    ),
    ("main", "customers"): (
        Column("id", "INTEGER"),
        Column("tenant_id", "VARCHAR", _TENANTS),
        Column("region", "VARCHAR", _REGIONS),
        Column("name", "VARCHAR", _texts("Ada", "Bob", "Çelik", "O'Neil", "Ada")),
        Column("level", "customer_level", _texts(*ENUMS["customer_level"], "NULL")),
        Column("joined", "TIMESTAMP WITH TIME ZONE", ("'2023-03-26 01:30:00+00'", "'2024-10-27 00:00:00+00'", "NULL")),
        Column("opted", "BOOLEAN", ("true", "false", "NULL")),
        Column("credit", "DECIMAL(18,3)", ("100.125", "-5.000", "0", "NULL")),
        Column("prefs", "MAP(VARCHAR, INTEGER)", ("MAP {'a': 1, 'b': 2}", "MAP {}", "MAP {'b': NULL}", "NULL")),
        Column("raw", "BLOB", ("'\\x41\\x42'", "''", "'abc'", "NULL")),
        Column("zone", "VARCHAR", _texts("UTC", "Europe/Paris", "Asia/Tokyo")),
        Column("age", "VARCHAR", _texts("42", "7", "31")),
        Column("kv", "MAP(VARCHAR, VARCHAR)", ("MAP {'k': '5'}", "MAP {}", "MAP {'k': '17', 'l': NULL}", "NULL")),
    ),
    ("main", "events"): (
        Column("id", "BIGINT"),
        Column("tenant_id", "VARCHAR", _TENANTS),
        Column("customer_id", "INTEGER", (*_NUMBERS, "NULL")),
        Column("kind", "VARCHAR", _texts("view", "click", "buy", "view")),
        Column("seen_at", "TIMESTAMP", ("'2024-01-01 00:00:00'", "'2024-01-02 12:00:00'", "'2024-03-01 06:30:15.25'")),
        Column("clock", "TIME", ("'00:00:00'", "'12:34:56.789'", "NULL")),
        Column("value", "DOUBLE", ("0.5", "1", "1", "-3.75", "NULL")),
        Column(
            "attrs", "STRUCT(k VARCHAR, v INTEGER)[]", ("[{'k': 'a', 'v': 1}]", "[{'k': 'b', 'v': NULL}, NULL]", "NULL")
        ),
        Column("ip", "VARCHAR", _texts("10.0.0.1", "10.0.0.2", "NULL")),
        Column("code", "SMALLINT", ("1", "2", "200", "404")),
        Column("big", "HUGEINT", ("1", "100000000000000000000", "-7", "NULL")),
        Column("wait", "INTERVAL", ("'1 day'", "'2 months -3 days'", "'00:00:05'", "NULL")),
        Column("uid", "UUID", ("'0190163d-8694-739b-aea5-966c26f8ad91'", "'00000000-0000-0000-0000-000000000001'")),
        Column("part", "VARCHAR", _texts("month", "day", "hour")),
        Column("num", "VARCHAR", _texts("1", "20", "3.5")),
        Column("lines", LINES, ("[{'num': '1', 'kind': 'paid'}]", "[{'num': NULL, 'kind': NULL}, NULL]", "[]", "NULL")),
    ),
    ("finance", "ledger"): (
        Column("id", "INTEGER"),
        Column("tenant_id", "VARCHAR", _TENANTS),
        Column("owner", "VARCHAR", _OWNERS),
        Column("account", "VARCHAR", _texts("4000", "4400", "NULL")),
        Column("classification", "INTEGER", ("1", "2", "3", "NULL")),
        Column("cents", "BIGINT", ("100", "-250", "99999", "NULL")),
        Column("tiny", "UTINYINT", ("1", "7", "255")),
        Column("day", "DATE", ("'2024-01-01'", "'2024-12-31'", "NULL")),
        Column("ratio", "FLOAT", ("0.25", "-1.5", "NULL")),
        Column("bits", "BIT", ("'101'", "'0'", "NULL")),
        Column("fixed", "INTEGER[3]", ("[1, 2, 3]", "[4, NULL, 6]", "NULL")),
        Column("choice", "UNION(n INTEGER, s VARCHAR)", ("union_value(n := 1)", "union_value(s := '2')", "NULL")),
        Column("ns", "TIMESTAMP_NS", ("'2024-01-01 00:00:00.123456789'", "NULL")),
        Column("nums", "INTEGER[]", ("[1, 2, 3]", "[5]", "[NULL]", "NULL")),
        Column("vec", "DOUBLE[]", ("[1.0, 0.5]", "[2.0, 2.0]")),
        Column("memo", "VARCHAR", _texts("2", "8", "-1")),
    ),
    ("main", "staff"): (
        Column("id", "INTEGER"),
        Column("boss_id", "INTEGER", ("1", "2", "3", "4", "NULL")),
        Column("tenant_id", "VARCHAR", _TENANTS),
        Column("user_id", "VARCHAR", _OWNERS),
        Column("dept", "VARCHAR", _texts("sales", "finance", "NULL")),
        Column("salary", "DECIMAL(10,2)", ("1000.00", "2500.50", "NULL")),
        Column("grade", "VARCHAR", _texts("1", "2", "30")),
    ),
    ("main", "access"): (
        Column("who", "VARCHAR", _texts("u-1", "u-2", "u-2", "u-3")),
        Column("tenant_id", "VARCHAR", _TENANTS),
        Column("item", "INTEGER", _NUMBERS),
        Column("until", "DATE", ("'2030-01-01'", "NULL")),
    ),
    ("main", "products"): (
        Column("id", "INTEGER"),
        Column("name", "VARCHAR", _texts("pen", "ink", "desk")),
        Column("price", "DECIMAL(8,2)", ("1.25", "99.99", "10")),
        Column("sizes", "INTEGER[]", ("[1, 2]", "[]", "NULL")),
    ),
}

VIEWS = {
    ("main", "bulk_orders"): "SELECT id, customer_id, region, label, note, amount FROM main.orders WHERE quantity > 1",
    ("main", "named_orders"): "SELECT b.id, b.note, b.region, c.name, c.age FROM bulk_orders AS b "
    "LEFT JOIN customers AS c ON b.customer_id = c.id",
    ("finance", "accounts"): "SELECT account, count(id) AS entries, max(cents) AS most, min(memo) AS memo "
    "FROM finance.ledger GROUP BY account",
}


def build_sql(sizes: Mapping[Path, int], *, seed: str, compression: str) -> Iterator[str]:
    """The statements that build the base database; the same arguments give the same rows in the same order."""
    if compression != "auto":
        yield f"SET force_compression = '{compression}'"
    yield "CREATE SCHEMA finance"
    for name, labels in ENUMS.items():
        yield f"CREATE TYPE {name} AS ENUM ({', '.join(_texts(*labels))})"
    for path, columns in TABLES.items():
        shown = []
        for column in columns:
            drawn = f"hash(i, '{path[-1]}.{column.name}', '{seed}')"
            values = ", ".join(f"CAST({value} AS {column.type})" for value in column.values)
            value = (
                f"[{values}][1 + ({drawn} % {len(column.values)})::BIGINT]" if values else f"CAST(i AS {column.type})"
            )
            shown.append(f"{value} AS {quoted(column.name)}")
        yield f"CREATE TABLE {quoted(*path)} AS SELECT {', '.join(shown)} FROM range(1, {sizes[path] + 1}) AS r(i)"
    for path, text in VIEWS.items():
        yield f"CREATE VIEW {quoted(*path)} AS {text}"
    yield "CHECKPOINT"
