"""Rows and Arrow hold the same answer, whichever was fetched; what one cannot hold exactly is refused."""

from __future__ import annotations

import duckdb
import pytest

from rls.engines.base import Fetched
from rls.engines.convert import arrow_of, rows_of
from rls.engines.zone import reckon_in_utc
from rls.errors import EngineInvalid

EXACT = [
    "1::TINYINT", "5::UBIGINT", "170141183460469231731687303715884105727::HUGEINT", "1.50::DECIMAL(38,2)", "2.5::DOUBLE",
    "true", "'é'", "'\\xAA'::BLOB", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID", "DATE '2020-01-01'",
    "TIME '10:00:01'", "TIMESTAMP '2020-01-01 10:00:00.5'", "TIMESTAMPTZ '2020-01-01 10:00:00+00'",
    "'a'::ENUM('b', 'a')", "{'a': 1, 'b c': [1, NULL]}", "[[1], NULL]", "MAP {'a': 1}", "'{\"a\": 1}'::JSON",
    "[1, 2]::INTEGER[2]", "NULL",
]  # fmt: skip


def fetched(sql: str, *, form: str) -> Fetched:
    with duckdb.connect() as connection:
        reckon_in_utc(connection)
        relation = connection.sql(sql)
        columns, types = tuple(relation.columns), tuple(map(str, relation.types))
        if form == "rows":
            rows = relation.fetchall()
            return Fetched(columns, types, len(rows), rows=rows)
        table = relation.to_arrow_table()
        return Fetched(columns, types, table.num_rows, table=table)


@pytest.mark.parametrize("expression", EXACT)
def test_each_form_gives_the_other_exactly(expression: str) -> None:
    pytest.importorskip("pyarrow")
    sql = f"SELECT {expression} AS a, 7 AS a UNION ALL SELECT NULL, NULL"
    rows, arrow = fetched(sql, form="rows"), fetched(sql, form="arrow")
    assert rows_of(arrow) == rows_of(rows)
    assert arrow_of(rows).schema == arrow_of(arrow).schema
    assert arrow_of(rows).to_pylist() == arrow_of(arrow).to_pylist()


def test_no_rows_keep_names_and_types() -> None:
    pytest.importorskip("pyarrow")
    sql = "SELECT 1 AS a, 'x' AS \"B b\", DATE '2020-01-01' AS d WHERE false"
    rows, arrow = fetched(sql, form="rows"), fetched(sql, form="arrow")
    assert rows_of(arrow) == []
    assert arrow_of(rows).schema == arrow_of(arrow).schema


@pytest.mark.parametrize("expression", ["INTERVAL 1 MONTH", "TIMESTAMP_NS '2020-01-01'", "[row(1, 2)]"])
def test_what_python_values_lose_is_refused_with_the_way_out(expression: str) -> None:
    with pytest.raises(EngineInvalid) as caught:
        arrow_of(fetched(f"SELECT {expression}", form="rows"))
    assert caught.value.code == "engine.conversion"
    assert 'fetch="arrow"' in str(caught.value)


@pytest.mark.parametrize("expression", ["'0101'::BIT", "[TIMETZ '10:00:00+02']", "1::UHUGEINT"])
def test_what_arrow_loses_is_refused_with_the_way_out(expression: str) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(EngineInvalid) as caught:
        rows_of(fetched(f"SELECT {expression}", form="arrow"))
    assert caught.value.code == "engine.conversion"
    assert 'fetch="rows"' in str(caught.value)


def test_names_of_fields_and_labels_are_not_taken_for_types() -> None:
    pytest.importorskip("pyarrow")
    found = fetched("SELECT {'INTERVAL x': 'BIT'::ENUM('BIT')} AS \"TUPLE\"", form="rows")
    assert arrow_of(found).to_pylist() == [{"TUPLE": {"INTERVAL x": "BIT"}}]
