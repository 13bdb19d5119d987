"""Kinds of columns for worlds in which conditions meet, and what may be made of a column of each.

`KINDS` maps a type to ordinary values, which lie close together, and to others that only hidden rows have. `MADE` are
expressions over a column (`{c}`, `{d}` another of its type, `{k}` a literal of it, `{o}` a condition) with their type;
`ASKED` are conditions on such a value (`{v}`). `NULLED` may be NULL where
their column is not, and of `PRUNED` conditions the optimizer finds out by stored extremes that they are true or NULL.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ANY", "ASKED", "KINDS", "MADE", "NULLED", "PRUNED", "Kind"]


@dataclass(frozen=True)
class Kind:
    """SQL literals of one type; every second column of it also holds NULLs."""

    near: tuple[str, ...]
    far: tuple[str, ...]


PLACE = "STRUCT(a VARCHAR, n INTEGER, d DATE, b BOOLEAN)"

KINDS: dict[str, Kind] = {
    "VARCHAR": Kind(("'x'", "'x0'", "'x1'", "'xy'"), ("'y'", "''", "'X'", "'a'", "'zzzz'", "'x' || repeat('0', 20)", "'9'")),
    "INTEGER": Kind(("1", "2", "3"), ("0", "-5", "4", "9", "2147483647", "-2147483648")),
    "BIGINT": Kind(("1", "2", "2020"), ("0", "-1", "2021", "9223372036854775807")),
    "DECIMAL(9,2)": Kind(("1.50", "2.00", "2.50"), ("0", "-9999999.99", "9999999.99", "2.51")),
    "DOUBLE": Kind(("1.5", "2.5", "2.0"), ("'nan'", "'inf'", "'-inf'", "-0.0", "1e300")),
    "DATE": Kind(("'2020-01-30'", "'2020-01-31'", "'2020-02-29'"), ("'infinity'", "'-infinity'", "'1970-01-01'", "'5000-01-01'", "'2020-03-31'")),
    "TIMESTAMP": Kind(("'2020-01-30 13:00'", "'2020-01-31 12:00'", "'2020-02-29 12:30'"), ("'infinity'", "'-infinity'", "'1999-12-31 23:59:59'", "'2020-01-31 13:00'")),
    "TIMESTAMP WITH TIME ZONE": Kind(("'2020-01-30 13:00+00'", "'2020-01-31 12:00+00'"), ("'infinity'", "'1970-01-01 00:00:00+00'")),
    "TIME": Kind(("'10:00:00'", "'12:30:00'"), ("'00:00:00'", "'24:00:00'")),
    "INTERVAL": Kind(("'1 month'", "'29 days'", "'30 days'"), ("'31 days'", "'0 days'", "'-1 year'", "'720 hours'", "'745 hours'")),
    "BLOB": Kind(("'\\x41'", "'\\x41\\x42'"), ("''", "'\\x00'", "'\\xFF'")),
    "BOOLEAN": Kind(("true", "true", "true", "false"), ("false",)),
    "order_status": Kind(("'open'", "'paid'"), ("'returned'",)),
    PLACE: Kind(
        ("{'a': 'x', 'n': 1, 'd': '2020-01-30', 'b': true}", "{'a': 'x0', 'n': 2, 'd': '2020-01-31', 'b': true}", "{'a': NULL, 'n': NULL, 'd': NULL, 'b': NULL}"),
        ("{'a': 'q', 'n': 9, 'd': 'infinity', 'b': false}", "{'a': '', 'n': -1, 'd': NULL, 'b': true}"),
    ),
    "VARCHAR[]": Kind(("['x']", "['x0', 'x']", "[NULL]"), ("[]", "['y']")),
    "INTEGER[]": Kind(("[1]", "[1, 2]", "[NULL]"), ("[]", "[9]")),
}  # fmt: skip

_TIMES = (
    ("date_trunc('month', {c})", "{t}"), ("date_trunc('year', {c})", "{t}"), ("date_trunc('day', {c})", "{t}"), ("year({c})", "BIGINT"), ("month({c})", "BIGINT"),
    ("CAST({c} AS DATE)", "DATE"), ("CAST({c} AS TIMESTAMP)", "TIMESTAMP"), ("last_day({c})", "DATE"), ("date_part('day', {c})", "BIGINT"), ("{c} + INTERVAL 1 DAY", "TIMESTAMP"),
    ("date_diff('month', {c}, {k})", "BIGINT"), ("epoch_ms({c})", "BIGINT"), ("strftime({c}, '%Y-%m')", "VARCHAR"), ("date_sub('month', {c}, {k})", "BIGINT"), ("dayofweek({c})", "BIGINT"), ("quarter({c})", "BIGINT"),
)  # fmt: skip
_NUMBERS = (
    ("{c} + 1", "{t}"), ("-{c}", "{t}"), ("{c} * 2", "{t}"), ("abs({c})", "{t}"), ("{c} % 2", "{t}"), ("sign({c})", "INTEGER"), ("CAST({c} AS DOUBLE)", "DOUBLE"), ("CAST({c} AS BIGINT)", "BIGINT"),
    ("TRY_CAST({c} AS TINYINT)", "INTEGER"), ("{c} - {d}", "{t}"), ("{c} / 2", "DOUBLE"), ("round({c})", "DOUBLE"), ("CAST({c} AS VARCHAR)", "VARCHAR"), ("floor({c})", "DOUBLE"), ("TRY_CAST({c} AS DECIMAL(3,1))", "DOUBLE"),
)  # fmt: skip
# For every type: most of them are NULL where the column is not.
ANY = (
    ("{c}", "{t}"), ("{c}", "{t}"), ("{c}", "{t}"), ("nullif({c}, {k})", "{t}"), ("CASE WHEN {c} = {k} THEN NULL ELSE {c} END", "{t}"), ("CASE WHEN {o} THEN {c} END", "{t}"), ("if({o}, {c}, NULL)", "{t}"),
    ("coalesce({c}, {k})", "{t}"), ("coalesce(nullif({c}, {k}), {d})", "{t}"), ("CASE {c} WHEN {k} THEN {d} ELSE {c} END", "{t}"), ("CASE WHEN {o} THEN {c} ELSE {k} END", "{t}"), ("greatest({c}, {d})", "{t}"), ("least({c}, {k})", "{t}"),
)  # fmt: skip

NULLED: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        ("nullif({c}, {k})", "{t}"), ("CASE WHEN {c} = {k} THEN NULL ELSE {c} END", "{t}"), ("if({c} <> {k}, {c}, NULL)", "{t}"), ("CASE {c} WHEN {k} THEN NULL ELSE {c} END", "{t}"),
        ("CASE WHEN {c} > {k} THEN {c} END", "{t}"), ("coalesce(nullif({c}, {k}), nullif({c}, {k}))", "{t}"), ("{c}", "{t}"),
    ),
    PLACE: (("{c}.a", "VARCHAR"), ("{c}.n", "INTEGER"), ("{c}.b", "BOOLEAN"), ("{c}['a']", "VARCHAR"), ("struct_extract({c}, 'n')", "INTEGER"), ("coalesce({c}.b, {c}.b)", "BOOLEAN")),
}  # fmt: skip
PRUNED: dict[str, tuple[str, ...]] = {
    "VARCHAR": ("{v} LIKE 'x%'", "starts_with({v}, 'x')", "{v} ^@ 'x'", "contains({v}, 'x')", "regexp_matches({v}, '^x')", "left({v}, 1) = 'x'", "substring({v}, 1, 1) = 'x'", "instr({v}, 'x') = 1", "{v} IN ('x', 'x0')"),
    "INTEGER": ("{v} IN (1, 2, 3)", "{v} IN (3, 2, 1, 0)", "{v} BETWEEN 1 AND 3", "{v} >= 1"),
    "BOOLEAN": ("{v}", "{v} IN (true, false)", "NOT NOT {v}"),
    "INTERVAL": ("date_trunc('month', {v}) >= INTERVAL '1 month'", "date_trunc('month', {v}) = INTERVAL '1 month'", "{v} >= INTERVAL '30 days'", "date_trunc('month', {v}) < INTERVAL '1 day'"),
    "DATE": ("{v} <= DATE '2020-12-31'", "year({v}) = 2020", "date_trunc('year', {v}) = DATE '2020-01-01'"),
}  # fmt: skip

MADE: dict[str, tuple[tuple[str, str], ...]] = {
    "VARCHAR": (
        ("lower({c})", "VARCHAR"), ("upper({c})", "VARCHAR"), ("left({c}, 1)", "VARCHAR"), ("substring({c}, 1, 2)", "VARCHAR"), ("{c} || 'z'", "VARCHAR"), ("trim({c})", "VARCHAR"), ("reverse({c})", "VARCHAR"),
        ("split_part({c}, '0', 1)", "VARCHAR"), ("replace({c}, 'x', 'w')", "VARCHAR"), ("regexp_extract({c}, '^(x)(.)', 1)", "VARCHAR"), ("regexp_replace({c}, '[0-9]', '')", "VARCHAR"), ("concat({c}, NULL)", "VARCHAR"), ("{c}[1]", "VARCHAR"),
        ("length({c})", "BIGINT"), ("ascii({c})", "INTEGER"), ("strpos({c}, '0')", "BIGINT"), ("TRY_CAST({c} AS INTEGER)", "INTEGER"), ("string_split({c}, '0')", "VARCHAR[]"), ("right({c}, 1)", "VARCHAR"), ("ltrim({c}, 'x')", "VARCHAR"),
    ),
    "INTEGER": _NUMBERS, "BIGINT": _NUMBERS, "DECIMAL(9,2)": _NUMBERS,
    "DOUBLE": (*_NUMBERS, ("isnan({c})", "BOOLEAN"), ("isfinite({c})", "BOOLEAN"), ("CAST({c} AS FLOAT)", "DOUBLE")),
    "DATE": _TIMES, "TIMESTAMP": _TIMES, "TIMESTAMP WITH TIME ZONE": _TIMES,
    "TIME": (("hour({c})", "BIGINT"), ("minute({c})", "BIGINT")),
    "INTERVAL": (("date_trunc('month', {c})", "INTERVAL"), ("date_trunc('month', {c})", "INTERVAL"), ("date_trunc('day', {c})", "INTERVAL"), ("-{c}", "INTERVAL"), ("{c} + INTERVAL 1 DAY", "INTERVAL"), ("date_part('month', {c})", "BIGINT"), ("epoch({c})", "DOUBLE")),
    "BLOB": (("octet_length({c})", "BIGINT"), ("{c} || '\\x41'::BLOB", "BLOB"), ("hex({c})", "VARCHAR")),
    "BOOLEAN": (("NOT {c}", "BOOLEAN"), ("({c} IS TRUE)", "BOOLEAN"), ("CAST({c} AS INTEGER)", "INTEGER")),
    "order_status": (("CAST({c} AS VARCHAR)", "VARCHAR"),),
    PLACE: (
        ("{c}.a", "VARCHAR"), ("{c}.a", "VARCHAR"), ("{c}.n", "INTEGER"), ("{c}.d", "DATE"), ("{c}.b", "BOOLEAN"), ("{c}['a']", "VARCHAR"), ("struct_extract({c}, 'n')", "INTEGER"), ("struct_extract({c}, 'b')", "BOOLEAN"),
        ("upper({c}.a)", "VARCHAR"), ("coalesce({c}.a, 'x')", "VARCHAR"), ("nullif({c}.n, {c}.n - 1)", "INTEGER"), ("year({c}.d)", "BIGINT"), ("struct_pack(v := {c}.a).v", "VARCHAR"), ("CAST({c}.n AS BIGINT)", "BIGINT"),
    ),
    "VARCHAR[]": (("{c}[1]", "VARCHAR"), ("len({c})", "BIGINT"), ("list_extract({c}, 2)", "VARCHAR"), ("list_aggregate({c}, 'max')", "VARCHAR"), ("{c}[-1]", "VARCHAR"), ("array_to_string({c}, '')", "VARCHAR")),
    "INTEGER[]": (("{c}[1]", "INTEGER"), ("len({c})", "BIGINT"), ("list_max({c})", "INTEGER"), ("list_position({c}, 1)", "INTEGER")),
}  # fmt: skip

_TEXT = (
    "{v} LIKE 'x%'", "{v} LIKE 'x%'", "{v} LIKE 'x_'", "{v} LIKE '%0'", "{v} NOT LIKE 'x%'", "{v} ILIKE 'X%'", "starts_with({v}, 'x')", "prefix({v}, 'x')", "{v} ^@ 'x'", "contains({v}, 'x')", "regexp_matches({v}, '^x')",
    "regexp_full_match({v}, 'x.*')", "regexp_full_match({v}, '[a-x].*')", "{v} SIMILAR TO 'x.*'", "ends_with({v}, '0')", "suffix({v}, 'x')", "instr({v}, 'x') = 1", "substring({v}, 1, 1) = 'x'", "left({v}, 1) = 'x'", "{v} GLOB 'x*'", "{v} COLLATE NOCASE = 'X'",
)  # fmt: skip
ASKED: dict[str, tuple[str, ...]] = {
    "": (
        "{v} = {k}", "{v} <> {k}", "{v} < {k}", "{v} <= {k}", "{v} > {k}", "{v} >= {k}", "{v} IN ({k}, {j})", "{v} IN ({k}, {j}, {l})", "{v} IN ({k}, NULL)", "{v} NOT IN ({k}, {j})", "{v} BETWEEN {k} AND {j}", "{v} NOT BETWEEN {k} AND {j}",
        "{v} IS NULL", "{v} IS NOT NULL", "{v} IS DISTINCT FROM {k}", "{v} IS NOT DISTINCT FROM {k}", "{v} = {w}", "{v} < {w}", "{v} <= {w}", "{v} IS NOT DISTINCT FROM {w}", "{v} IS DISTINCT FROM {w}", "({v}, 1) = ({k}, 1)", "{v} = ANY([{k}, {j}])",
        "list_contains([{k}, {j}], {v})", "NOT ({v} = {k})", "({v} = {k}) IS NOT FALSE", "({v} >= {k}) IS UNKNOWN", "({v}, {w}) >= ({k}, {j})", "{v} BETWEEN {w} AND {j}", "coalesce({v} = {k}, false)", "{v} >= {k} AND {v} <= {j}", "{v} = {k} OR {v} = {j} OR {v} = {l}",
    ),
    "VARCHAR": _TEXT,
    "BOOLEAN": ("{v}", "{v}", "NOT {v}", "{v} IS TRUE", "{v} IS NOT TRUE", "{v} IS NOT FALSE", "{v} IS UNKNOWN"),
    "VARCHAR[]": ("list_contains({v}, 'x')", "len({v}) > 0", "'x' = ANY({v})", "list_has_any({v}, ['x', 'q'])"),
    "INTEGER[]": ("list_contains({v}, 1)", "len({v}) > 0", "1 = ANY({v})"),
    "BLOB": ("contains({v}, '\\x41'::BLOB)",),
}  # fmt: skip
