"""Extreme values of every DuckDB type, as SQL expressions: what a hidden cell could hold to provoke an error.

`EXTREMES` maps a type's SQL name to literals of it; `tables()` yields the statements that make one table per type, named
`x0`, `x1`, … with a column `v`, each holding the extremes and a NULL. Anything that claims to be total has to survive them.
"""

from __future__ import annotations

from collections.abc import Iterator

INTEGERS = ("0", "1", "-1", "2", "7", "100")
TEXTS = (
    "''", "' '", "'a'", "'B'", "'äöü€𝄞'", "'-1'", "'1e999'", "'NaN'", "'2024-02-30'", "'infinity'", "'%'", "'\\'", "'('", "'[a'",
    "'%Y-%q'", "'{}'", "'{'", "'{:d}'", "'[1,2'", "'{\"a\":[1,{\"b\":null}]}'", "'$.a[*]'", "'/a/-'", "'month'", "'UTC'",
    "'a,b,,c'", "chr(0)", "chr(127)", "chr(1114111)", "repeat('ab', 3000)", "'0b1'", "'%41%zz'", "'sum'",
)  # fmt: skip
DATES = (
    "'0001-01-01'", "'1970-01-01'", "'2024-02-29'", "'9999-12-31'", "'5877642-06-25 (BC)'", "'5881580-07-10'", "'infinity'",
    "'-infinity'",
)  # fmt: skip
TIMESTAMPS = (
    "'1970-01-01'", "'2024-02-29 23:59:59.999999'", "'0001-01-01'", "'290309-12-22 (BC) 00:00:00'",
    "'294247-01-10 04:00:54.775806'", "'infinity'", "'-infinity'", "'0044-03-15 (BC)'",
)  # fmt: skip
TIMES = ("'00:00:00'", "'12:34:56.789'", "'23:59:59.999999'", "'24:00:00'")
DECIMALS = ("0", "1", "-1", "9.5", "-9.5")


def _bounds(low: int, high: int) -> tuple[str, ...]:
    # a bound is written as text: `-9223372036854775808` would be read as a minus before a number that is too large
    return (*(value for value in INTEGERS if low <= int(value)), f"'{low}'", f"'{high}'", f"'{high - 1}'")


def _signed(bits: int) -> tuple[str, ...]:
    return _bounds(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _unsigned(bits: int) -> tuple[str, ...]:
    return _bounds(0, 2**bits - 1)


REALS = ("0", "'-0.0'", "1", "-1", "0.5", "-1.5", "1e-300", "'nan'", "'inf'", "'-inf'", "100", "171", "1e18", "-1e19")

EXTREMES: dict[str, tuple[str, ...]] = {
    "BOOLEAN": ("true", "false"),
    "TINYINT": _signed(8),
    "SMALLINT": _signed(16),
    "INTEGER": _signed(32),
    "BIGINT": _signed(64),
    "HUGEINT": _signed(128),
    "UTINYINT": _unsigned(8),
    "USMALLINT": _unsigned(16),
    "UINTEGER": _unsigned(32),
    "UBIGINT": _unsigned(64),
    "UHUGEINT": _unsigned(128),
    "BIGNUM": ("0", "1", "-1", f"'{10**60}'", f"'-{10**60}'"),
    "FLOAT": (*(v for v in REALS if v != "1e-300"), "3.4e38", "-3.4e38", "1e-44"),
    "DOUBLE": (*REALS, "1.7e308", "-1.7e308", "5e-324"),
    "DECIMAL(4,1)": (*DECIMALS, "999.9", "-999.9"),
    "DECIMAL(18,3)": (*DECIMALS, "'999999999999999.999'", "'-999999999999999.999'"),
    "DECIMAL(38,0)": ("0", "1", "-1", "'" + "9" * 38 + "'", "'-" + "9" * 38 + "'"),
    "DECIMAL(38,37)": ("0", "1", "-1", "'9." + "9" * 37 + "'", "'-9." + "9" * 37 + "'"),
    "VARCHAR": TEXTS,
    "BLOB": ("''", "'a'", "'\\x00'", "'\\xFF\\xFE'", "'\\xC3'", "repeat('\\xAB', 1000)"),
    "BIT": ("'0'", "'1'", "'10101'", "repeat('1', 65)", "repeat('10', 500)"),
    "DATE": DATES,
    "TIME": TIMES,
    "TIME_NS": TIMES,
    "TIMETZ": ("'00:00:00+15:59:59'", "'24:00:00-15:59:59'", "'12:00:00+00'"),
    "TIMESTAMP": TIMESTAMPS,
    "TIMESTAMP_S": ("'1970-01-01'", "'2024-02-29 23:59:59'", "'290309-12-22 (BC)'", "'294247-01-10'", "'infinity'"),
    "TIMESTAMP_MS": ("'1970-01-01'", "'2024-02-29 23:59:59'", "'290309-12-22 (BC)'", "'294247-01-10'", "'-infinity'"),
    "TIMESTAMP_NS": ("'1970-01-01'", "'2024-02-29 23:59:59'", "'1677-09-22'", "'2262-04-11 23:47:16.854775806'", "'infinity'"),
    "TIMESTAMPTZ": TIMESTAMPS,
    "TIMESTAMPTZ_NS": ("'1970-01-01'", "'2024-02-29'", "'1677-09-22'", "'2262-04-11'", "'infinity'"),
    "INTERVAL": (
        "'0 days'", "'1 month -31 days 1 microsecond'", "'2147483647 months'", "'-2147483648 months'", "'2147483647 days'",
        "'-2147483648 days'", "to_microseconds(9223372036854775807)", "to_microseconds(-9223372036854775808)",
    ),
    "UUID": ("'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
             "'0190163d-8694-739b-aea5-966c26f8ad91'"),
    "JSON": ("'null'", "'1'", "'-1e308'", "'\"a\"'", "'[]'", "'[1,[2,{}]]'", "'{}'", "'{\"a\":{\"a\":[null,true]}}'",
             "'123456789012345678901234567890'", "repeat('[', 400) || repeat(']', 400)"),
    "ENUM('a','','%(')": ("'a'", "''", "'%('"),
    "VARIANT": ("1", "'a'", "[1, NULL]", "{'a': [1]}", "DATE 'infinity'", "'nan'::DOUBLE"),
    "GEOMETRY": ("'POINT(1 2)'", "'POINT EMPTY'", "'GEOMETRYCOLLECTION(POINT(0 0), LINESTRING(0 0, 1e308 -1e308))'"),
    "INTEGER[]": ("[]", "[NULL]", "[1]", "[2147483647, -2147483648, NULL, 0]", "range(300)"),
    "DOUBLE[]": ("[]", "[NULL]", "['nan', 'inf', '-inf']", "[1.7e308, 1.7e308]", "[0, 1]", "[0, 0]"),
    "VARCHAR[]": ("[]", "[NULL]", "['a']", "['', 'B', NULL, '(']", "['month', 'year']"),
    "BOOLEAN[]": ("[]", "[NULL]", "[true, false]", "[true, NULL, false, true]"),
    "INTEGER[][]": ("[]", "[NULL]", "[[]]", "[[1, NULL], NULL, []]"),
    "DOUBLE[3]": ("[1, 2, 3]", "[NULL, 1, 2]", "[0, 0, 0]", "['nan', 'inf', 1.7e308]"),
    "INTEGER[2]": ("[1, NULL]", "[NULL, NULL]", "[2147483647, -2147483648]"),
    "STRUCT(a INTEGER, b VARCHAR)": ("{'a': 1, 'b': 'x'}", "{'a': NULL, 'b': NULL}", "{'a': -2147483648, 'b': ''}"),
    "STRUCT(k VARCHAR, v INTEGER)[]": ("[]", "[NULL]", "[{'k': 'a', 'v': 1}, {'k': 'a', 'v': 2}]", "[{'k': NULL, 'v': 1}]"),
    "MAP(VARCHAR, INTEGER)": ("MAP {}", "MAP {'a': 1}", "MAP {'': NULL, 'b': -2147483648}"),
    "UNION(n INTEGER, s VARCHAR)": ("union_value(n := 1)", "union_value(s := 'a')", "union_value(n := NULL::INTEGER)"),
    "TUPLE(INTEGER, VARCHAR)": ("(1, 'a')", "(NULL, NULL)", "(-2147483648, '')"),
}  # fmt: skip


TYPE_NUMBER = {type_name: number for number, type_name in enumerate(EXTREMES)}


def tables() -> Iterator[tuple[str, str, str]]:
    """(type, table, statement) for each type; the table's column `v` holds its extremes and NULL."""
    for number, (type_name, values) in enumerate(EXTREMES.items()):
        rows = " UNION ALL ".join(f"SELECT CAST({value} AS {type_name}) AS v" for value in values)
        yield type_name, f"x{number}", f"CREATE TEMP TABLE x{number} AS {rows} UNION ALL SELECT NULL"


def stored_tables() -> Iterator[str]:
    """Statements for a database file: per type a table `x0`, … with 6,000 rows (`id` says which extreme `v` is), which
    DuckDB compresses, and per extreme a table `x0_0`, … with that row alone."""
    for number, (type_name, values) in enumerate(EXTREMES.items()):
        for row, value in enumerate(values):
            yield f"CREATE TABLE x{number}_{row} AS SELECT {row} AS id, CAST({value} AS {type_name}) AS v"
        union = " UNION ALL ".join(f"FROM x{number}_{row}" for row in range(len(values)))
        copies = 6000 // len(values)
        yield f"CREATE TABLE x{number} AS SELECT id, v FROM ({union}), range({copies}) AS r(i) ORDER BY i"
