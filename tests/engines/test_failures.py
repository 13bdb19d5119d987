"""DuckDB's error texts, taken apart, placed in the caller's text, and kept from the caller."""

from __future__ import annotations

import duckdb
import pytest

from rls.engines.failures import explain_failure, place, read_report, redact
from rls.errors import QueryFailed, QueryRefused
from rls.rewrite.guarded import GuardedQuery, Splice
from tests.engine.kit import ready


def guarded(original: str, *splices: Splice) -> GuardedQuery:
    from rls.rewrite.splice import apply_splices

    return GuardedQuery(apply_splices(original, splices), {}, original, {}, splices)


def test_json_and_plain_reports_are_read_alike() -> None:
    plain = read_report("Conversion Error: Could not convert string 'x' to INT32")
    assert (plain.kind, plain.offset) == ("Conversion", None)
    full = read_report(
        'Binder Error: {"exception_type":"Binder","exception_message":"no","position":"12",'
        '"error_subtype":"COLUMN_NOT_FOUND","name":"nam"}'
    )
    assert (full.kind, full.subtype, full.offset, full.fields["name"]) == ("Binder", "COLUMN_NOT_FOUND", 12, "nam")
    for odd in ("", "nonsense", "X Error: {not json", 'IO Error: {"exception_type":', "{}"):
        assert isinstance(read_report(odd).message, str)


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("Conversion Error: Could not convert string 'x'", QueryFailed, "run.cast"),
        ("Out of Range Error: Overflow", QueryFailed, "run.out_of_range"),
        ("Invalid Input Error: boo", QueryFailed, "run.invalid_input"),
        ("Invalid Input Error: Division by zero in expression (1 // 0)", QueryFailed, "run.division_by_zero"),
        ("Out of Memory Error: failed to allocate", QueryFailed, "run.memory"),
        ("IO Error: cannot read", QueryFailed, "run.io"),
        ("INTERNAL Error: Expected vector", QueryFailed, "run.internal"),
        ("FATAL Error: Failed", QueryFailed, "run.internal"),
        ("Something New Error: boo", QueryFailed, "run.failed"),
        ("Permission Error: Modifying it is disabled", QueryFailed, "run.failed"),
        ("Binder Error: boo", QueryRefused, "query.invalid"),
        ("Catalog Error: Did you mean hidden?", QueryRefused, "query.invalid"),
        ("Parser Error: syntax error", QueryRefused, "query.invalid"),
        ("Binder Error: Max expression depth limit of 1000 exceeded", QueryRefused, "query.too_nested"),
    ],
)
def test_every_kind_has_a_code_and_no_text_of_duckdb_is_public(text: str, kind: type, code: str) -> None:
    error = explain_failure(read_report(text), ready("SELECT 1"))
    assert type(error) is kind
    assert error.code == code
    words = text.partition("Error: ")[2]
    assert words not in f"{error} {error.to_dict()}"
    assert error.detail is not None
    assert words in error.detail


def test_places_outside_guards_are_the_callers_and_inside_are_nobodys() -> None:
    original = "SELECT é, nam FROM orders WHERE zap"
    start = original.index("orders")
    query = guarded(original, Splice(start, start + 6, '(SELECT * FROM "x"."orders" WHERE t = $rls_t) AS "orders"'))

    def offset(word: str) -> int:
        return len(query.sql[: query.sql.index(word)].encode())

    before, inside, after = (place(query, offset(word)) for word in ("nam", "$rls_t", "zap"))
    assert before is not None
    assert original[before.offset :].startswith("nam")
    assert inside is None
    assert after is not None
    assert original[after.offset :].startswith("zap")
    assert place(query, None) is None


def test_redacted_details_hold_no_values() -> None:
    for text in (
        "Conversion: Could not convert string 'it's 5' to INT32",
        'Invalid Input: "Zebra"42 failed on 31337',
        "Out of Range: Overflow in addition of INT64 (9223372036854775807 + 1)!",
    ):
        found = redact(text)
        assert not any(c.isdigit() for c in found)
        assert "Zebra" not in found
        assert "it's" not in found
        assert found.partition(":")[0] == text.partition(":")[0]


@pytest.mark.parametrize(
    "expression",
    [
        "CAST(v AS INTEGER)", "CAST(v AS DATE)", "CAST(v AS STRUCT(a INTEGER))", "CAST(v AS JSON)", "CAST(n AS TINYINT)",
        "CAST(v AS TIMESTAMPTZ)", "CAST(v AS DECIMAL(9, 2))", "CAST(v AS UUID)", "v::INTEGER[]",
        "regexp_matches('a', '[' || v)", "regexp_replace('a', '[' || v, 'x')", "string_split_regex('a', '(' || v)",
        "json_extract('{' || v, '$')", "strptime(v, '%Y')", "format('{' || v || '}', 1)", "error(v)", "error(v || ': ' || n)",
        "date_part(v, DATE '2020-01-01')", "timezone(v, TIMESTAMP '2020-01-01')", "n * 9223372036854775807",
        "date_diff(v, DATE '2020-01-01', DATE '2021-01-01')", "make_date(n, n, n)", "(SELECT v FROM t UNION ALL SELECT '')",
    ],
)  # fmt: skip
def test_no_value_of_a_row_is_left_in_a_redacted_detail(expression: str) -> None:
    with duckdb.connect(config={"errors_as_json": "true"}) as connection:
        connection.execute("CREATE TABLE t AS SELECT 'Zebra ''quoted'' [Yak' AS v, 4711 AS n")
        with pytest.raises(duckdb.Error) as caught:
            connection.execute(f"SELECT {expression} FROM t").fetchall()
    detail = explain_failure(read_report(str(caught.value)), guarded("SELECT 1")).detail
    assert detail
    for word in ("Zebra", "quoted", "Yak", "4711"):
        assert word not in redact(detail)
    assert redact(detail).partition(":")[0] == detail.partition(":")[0]
