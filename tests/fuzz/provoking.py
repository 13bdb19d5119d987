"""Expressions over columns of certain names, by type: `{c}` is the reference.

`PROVOKING` succeed on every ordinary value of the column and fail on some that `vary` puts into hidden rows. `PARTS`
take a nested value apart.
"""

from __future__ import annotations

__all__ = ["PARTS", "PROVOKING"]

PROVOKING: dict[str, tuple[tuple[str, str], ...]] = {
    "INTEGER": (
        ("note", "CAST({c} AS INTEGER)"), ("age", "{c}::INTEGER"), ("memo", "CAST({c} AS INT)"), ("grade", "{c}::INTEGER"),
        ("quantity", "10 // {c}"), ("quantity", "7 % {c}"), ("quantity", "{c} * 1000"), ("customer_id", "{c} + 1"),
        ("id", "CAST({c} AS INTEGER)"), ("quantity", "factorial({c})::INTEGER"), ("name", "CASE WHEN {c} LIKE 'SECRET%' THEN 'x'::INTEGER END"),
        ("nums", "list_sum({c})::INTEGER"), ("customer_id", "-{c}"), ("id", "abs({c})::INTEGER"), ("code", "({c}::TINYINT)::INTEGER"),
        ("place", "{c}.code::INTEGER"), ("place", "{c}['n'].v::INTEGER"), ("place", "struct_extract({c}, 'code')::INTEGER"), ("codes", "{c}[1]::INTEGER"),
        ("codes", "list_sum(CAST({c} AS INTEGER[]))::INTEGER"), ("kv", "{c}['k']::INTEGER"), ("lines", "{c}[1].num::INTEGER"), ("codes", "[x::INTEGER FOR x IN {c}][1]"),
        ("place", "struct_values({c})[1]::INTEGER"), ("kv", "map_values({c})[1]::INTEGER"), ("codes", "list_aggregate({c}, 'max')::INTEGER"),
    ),
    "BIGINT": (
        ("cents", "{c} * 1000"), ("cents", "-{c}"), ("part", "date_part({c}, TIMESTAMP '2024-05-06 07:08:09')"), ("id", "{c} + 1"),
        ("num", "CAST(CAST({c} AS DOUBLE) AS BIGINT)"), ("note", "TRY_CAST({c} AS BIGINT)"), ("bits", "bitstring_bit_count({c})"),
        ("quantity", "1 << {c}"), ("note", "CAST({c} AS BIGINT)"), ("doc", "json_array_length({c})"), ("doc", "({c}->'$.a')::BIGINT"),
    ),
    "SMALLINT": (("code", "{c} + 1::SMALLINT"), ("code", "CAST({c} AS SMALLINT)"), ("age", "{c}::SMALLINT")),
    "HUGEINT": (("big", "{c} + 1"), ("big", "{c} * 10"), ("cents", "CAST({c} AS HUGEINT)")),
    "DOUBLE": (
        ("value", "sqrt({c} + 4)"), ("score", "ln({c} + 3)"), ("num", "CAST({c} AS DOUBLE)"), ("note", "{c}::DOUBLE"),
        ("score", "pow({c}, 2)"), ("ratio", "acos({c} / 2)"), ("vec", "list_sum({c})"), ("value", "log10({c} + 5)"),
    ),
    "DECIMAL(12,2)": (
        ("amount", "CAST({c} * 10 AS DECIMAL(12,2))"), ("num", "CAST({c} AS DECIMAL(12,2))"), ("price", "CAST({c} AS DECIMAL(12,2))"),
        ("credit", "CAST({c} AS DECIMAL(12,2))"), ("salary", "CAST({c} + 1 AS DECIMAL(12,2))"),
    ),
    "VARCHAR": (
        ("doc", "json_extract_string({c}, '$.a')"), ("doc", "{c}->>'$.b[0]'"), ("doc", "json_type({c})"), ("raw", "decode({c})"),
        ("label", "CASE WHEN {c} LIKE 'SECRET%' THEN error({c}) ELSE {c} END"), ("quantity", "chr({c} + 64)"),
        ("note", "CASE WHEN {c} = 'SECRET' THEN 'x'::INTEGER::VARCHAR ELSE {c} END"), ("rx", "regexp_extract('abc1', {c})"),
        ("label", "printf('%s', {c})"), ("rx", "regexp_replace('abc1', {c}, '-')"), ("stamp", "strftime({c}::DATE, '%Y')"),
        ("name", "CASE WHEN length({c}) > 7 THEN error('long') ELSE {c} END"), ("name", "format('{{}}', {c})"),
    ),
    "BOOLEAN": (
        ("note", "{c} = 5"), ("note", "{c} IN (5, 17)"), ("note", "{c} > 3"), ("age", "{c} BETWEEN 1 AND 40"), ("rx", "regexp_matches('abc', {c})"),
        ("rx", "'abc1' ~ {c}"), ("stamp", "{c} >= DATE '2024-01-01'"), ("grade", "{c} <> 2"), ("memo", "8 = {c}"), ("num", "{c} < 2.5"),
        ("opted", "{c} = 'true'"), ("doc", "json_exists({c}, '$.a')"), ("rx", "'x' SIMILAR TO {c}"), ("quantity", "100 // {c} > 20"),
        ("label", "CASE WHEN {c} LIKE 'S%' THEN error('s') ELSE true END"), ("age", "{c} = ANY([42, 7])"), ("due", "{c} + 1 > DATE '2024-02-02'"),
        ("doc", "{c}->'$.a' = '1'"), ("note", "({c})::INT < 6"), ("stamp", "{c}::TIMESTAMP < '2024-03-01'"),
        ("place", "{c}.code = 5"), ("place", "{c}.n.v > 3"), ("codes", "5 = ANY({c})"), ("codes", "list_contains({c}, '5')"), ("kv", "{c}['k'] < 6"),
        ("kinds", "{c}[1] = 'open'"), ("kinds", "list_contains({c}, 'paid')"), ("lines", "{c}[1].num IN (1, 2)"), ("place", "{c} = {{'code': '5', 'n': {{'v': '6'}}}}"),
        ("codes", "list_filter({c}, lambda x: x::INT > 3) = ['5']"), ("place", "({c}.code::DATE) > '2024-01-01'"),
    ),
    "DATE": (
        ("stamp", "CAST({c} AS DATE)"), ("stamp", "strptime({c}, '%Y-%m-%d')::DATE"), ("due", "{c} + 1"), ("day", "{c} - 30"),
        ("due", "last_day({c})"), ("seen_at", "{c}::DATE"), ("until", "({c} + INTERVAL 1 MONTH)::DATE"),
    ),
    "TIMESTAMP": (
        ("stamp", "CAST({c} AS TIMESTAMP)"), ("part", "date_trunc({c}, TIMESTAMP '2024-05-06 07:08:09')"), ("seen_at", "{c} + INTERVAL 1 YEAR"),
        ("placed_at", "{c} - INTERVAL '3 days'"), ("zone", "TIMESTAMPTZ '2024-05-06 07:08:09+00' AT TIME ZONE {c}"),
        ("due", "{c}::TIMESTAMP"), ("ns", "{c}::TIMESTAMP"), ("stamp", "strptime({c}, '%Y-%m-%d')"),
    ),
    "TIMESTAMP WITH TIME ZONE": (("joined", "{c} + INTERVAL 1 DAY"), ("zone", "timezone({c}, TIMESTAMP '2024-05-06 07:08:09')")),
    "INTERVAL": (("wait", "{c} * 2"), ("wait", "{c} + INTERVAL 1 MONTH"), ("joined", "age({c}, TIMESTAMPTZ '2020-01-01 00:00:00+00')")),
    "JSON": (("doc", "{c}::JSON"), ("doc", "json({c})"), ("doc", "{c}->'$.a'"), ("payload", "json_extract({c}, '$.k')")),
    "INTEGER[]": (("nums", "list_transform({c}, lambda x: x + 1)"), ("doc", "NULL"), ("fixed", "CAST({c} AS INTEGER[])"), ("note", "[{c}::INTEGER]")),
    "VARCHAR[]": (("rx", "regexp_extract_all('abc1', {c})"), ("label", "string_split({c}, 'a')"), ("codes", "list_transform({c}, lambda x: (x::INTEGER)::VARCHAR)"), ("kinds", "{c}::VARCHAR[]"), ("tags", "list_transform({c}, lambda x: x || '!')")),
}  # fmt: skip

PARTS: dict[str, tuple[tuple[str, str], ...]] = {
    "INTEGER": (("detail", "{c}.a"), ("prefs", "{c}['a']"), ("fixed", "{c}[2]"), ("attrs", "{c}[1].v"), ("choice", "{c}.n")),
    "VARCHAR": (
        ("detail", "{c}['b']"), ("tags", "{c}[1]"), ("attrs", "{c}[1].k"), ("choice", "{c}.s"), ("payload", "{c}->>'k'"),
    ),
    "VARCHAR[]": (("tags", "{c}[1:2]"), ("prefs", "map_keys({c})"), ("tags", "[x FOR x IN {c} IF x <> 'a']")),
    "INTEGER[]": (("nums", "{c}[2:]"), ("prefs", "map_values({c})"), ("nums", "list_filter({c}, lambda x: x > 1)")),
}  # fmt: skip
