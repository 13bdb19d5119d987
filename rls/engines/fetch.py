"""A text on a DuckDB cursor → `Fetched`, as rows or as Arrow, within the limits of a result.

A result that is larger than it may be is refused, never cut: part of an answer looks like the answer.
"""

from __future__ import annotations

from typing import Any

import duckdb

from rls.engines.base import Fetched
from rls.engines.failures import too_many_rows
from rls.engines.limits import Limits
from rls.engines.sizes import check_batch, check_rows, check_types
from rls.errors import EngineInvalid, QueryFailed

__all__ = ["fetch_arrow", "fetch_rows"]

_CHUNK_ROWS = 2_048
_BATCH_ROWS = 122_880


def fetch_rows(
    cursor: duckdb.DuckDBPyConnection, statement: duckdb.Statement, values: dict[str, object], limits: Limits
) -> Fetched:
    """Run a statement and fetch tuples."""
    cursor.execute(statement, values)
    description = cursor.description or []
    columns, types = tuple(d[0] for d in description), tuple(str(d[1]) for d in description)
    nested = check_types(types, limits)
    rows: list[tuple[Any, ...]] = []
    while chunk := cursor.fetchmany(_CHUNK_ROWS):
        rows += chunk
        if len(rows) > limits.rows:
            raise too_many_rows(limits)
        check_rows(chunk, nested, limits)
    return Fetched(columns, types, len(rows), rows=rows)


def fetch_arrow(
    cursor: duckdb.DuckDBPyConnection, statement: duckdb.Statement, values: dict[str, object], limits: Limits
) -> Fetched:
    """Run a statement and fetch a pyarrow Table. Raises `EngineInvalid` (`engine.arrow_missing`)."""
    pyarrow = _pyarrow()
    # The relation streams; the cursor's own Arrow output first copies a result of any size into memory.
    relation = cursor.sql(statement, params=values)
    columns, types = tuple(relation.columns), tuple(map(str, relation.types))
    nested = check_types(types, limits)
    rows = size = 0
    batches = []
    with relation.to_arrow_reader(_BATCH_ROWS) as reader:
        for batch in reader:
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows > limits.rows:
                raise too_many_rows(limits)
            if size > limits.memory:
                raise QueryFailed("run.memory", "the result is larger than it may be", hint="aggregate or filter")
            check_batch(batch, nested, limits)
            batches.append(batch)
        table = pyarrow.Table.from_batches(batches, schema=reader.schema)
    return Fetched(columns, types, rows, table=table)


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise EngineInvalid(
            "engine.arrow_missing", "pyarrow is not installed", hint="pip install 'rls[arrow]', or fetch rows"
        ) from None
    return pyarrow
