"""Rows as bytes: equal values of the same types on the other side, whatever DuckDB gives."""

from __future__ import annotations

import pickletools
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rls.engines.columns import NotRows, pack_rows, unpack_rows

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.decimals(allow_nan=False),
    st.dates(),
    st.datetimes(),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.lists(st.one_of(st.integers(), st.dates(), st.decimals(allow_nan=False)), max_size=3),
)
COLUMNS = st.one_of(
    *(st.tuples(kind, st.booleans()) for kind in (st.just(st.decimals(allow_nan=False)), st.just(st.dates()))),
    st.tuples(st.just(st.datetimes()), st.booleans()),
    st.tuples(st.just(VALUES), st.booleans()),
)


def exactly(rows: list[tuple[Any, ...]]) -> list[list[tuple[type, str]]]:
    """Types too, and what `==` does not tell: `1.0` and `1.00`, `0` and `-0`."""
    return [[(type(value), repr(value)) for value in row] for row in rows]


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(0, 5), st.lists(COLUMNS, min_size=1, max_size=4))
def test_any_rows_arrive_as_they_were(data: st.DataObject, count: int, columns: list[Any]) -> None:
    kinds = [st.one_of(st.none(), kind) if nullable else kind for kind, nullable in columns]
    rows = [tuple(data.draw(kind) for kind in kinds) for _ in range(count)]
    assert exactly(unpack_rows(pack_rows(rows))) == exactly(rows)


def test_many_rows_of_every_type_of_duckdb() -> None:
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT test_all_types.* EXCLUDE (time_ns, time_tz, timestamp_tz) FROM test_all_types(), range(1500)"
        ).fetchall()
    assert len(rows) > 4_096
    assert exactly(unpack_rows(pack_rows(rows))) == exactly(rows)


def test_a_zone_stays_with_its_times() -> None:
    pytz = pytest.importorskip("pytz")
    rows = [(datetime(2024, 1, 1, tzinfo=pytz.UTC),), (None,), (datetime(2024, 7, 1, tzinfo=UTC),)]
    assert exactly(unpack_rows(pack_rows(rows))) == exactly(rows)


def test_what_pickle_would_write_as_calls_is_text() -> None:
    packed = pack_rows([(Decimal("1.50"), date(2024, 1, 1), datetime(2024, 1, 1, 12), None)] * 3)
    assert "REDUCE" not in {operation.name for operation, _, _ in pickletools.genops(packed)}


@pytest.mark.parametrize("packed", [b"\x80", b"garbage", b"\x80\x04K\x01."])
def test_other_bytes_are_refused(packed: bytes) -> None:
    with pytest.raises(NotRows):
        unpack_rows(packed)


def test_no_rows() -> None:
    assert unpack_rows(pack_rows([])) == []
    assert unpack_rows(pack_rows([(UUID(int=1), timedelta(1))])) == [(UUID(int=1), timedelta(1))]
