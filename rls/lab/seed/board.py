"""A catalog → an in-memory database with its tables, where rows can be put, taken away and put back.

Owns that a try which did not help leaves nothing behind. Rows are known by their number, in the order they were put.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb

from rls.catalog import Catalog, Relation, fold, quote
from rls.engines.zone import reckon_in_utc
from rls.lab.world.clock import clock_macros

__all__ = ["Board", "BoardFailed"]

NAME = "lab"
# Rows that make a policy recurse without end are no rows to keep: the try fails here, not the machine.
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1, "enable_external_access": "false", "memory_limit": "1GB", "temp_directory": "",
}  # fmt: skip
Row = Mapping[str, object]


class BoardFailed(Exception):
    """DuckDB could not run a text."""


class Board:
    """The tables of `relations` (by key), empty. Close it after use. `now` is Unix time in seconds."""

    def __init__(self, catalog: Catalog, relations: Iterable[Relation], *, now: float) -> None:
        self.catalog = catalog.attached_as(NAME).from_schema(("main",))
        self._connection = duckdb.connect(":memory:", config=_SETTINGS)
        reckon_in_utc(self._connection)
        # Some hundred rows are read sooner than a plan for them is made better.
        self._connection.execute("PRAGMA disable_optimizer")
        self._connection.execute(f"ATTACH ':memory:' AS {quote(NAME)}")
        for macro in clock_macros(now):
            self._connection.execute(macro)
        for relation in relations:
            for n in range(1, len(relation.schema) + 1):
                path = ".".join(map(quote, (NAME, *relation.schema[:n])))
                self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {path}")
            columns = ", ".join(f"{quote(c.name)} {c.type}" for c in relation.columns)
            try:
                self._connection.execute(f"CREATE TABLE {self.catalog.source(relation)} ({columns})")
            except duckdb.Error:
                continue  # a type of an extension that is not there: what asks for it fails by itself
        # Names as policies write them are found, and the clock comes before DuckDB's own functions.
        self._connection.execute(f"SET search_path = '{NAME}.main,memory.main'")

    def put(self, relation: Relation, rows: Sequence[Row]) -> None:
        """Add rows; columns that a row does not name are NULL. Raises BoardFailed."""
        columns = [c for c in relation.columns if any(c.name in row for row in rows)] or [relation.columns[0]]
        # A column at a time: DuckDB plans one statement, not one for each row.
        marks = ", ".join(f"unnest(CAST(? AS {c.type}[]))" for c in columns)
        names = ", ".join(quote(c.name) for c in columns)
        into = f"INSERT INTO {self.catalog.source(relation)} ({names}) SELECT {marks}"
        try:
            self._connection.execute(into, [[row.get(c.name) for row in rows] for c in columns])
        except (duckdb.Error, TypeError, ValueError) as error:
            raise BoardFailed(str(error).partition("\n")[0]) from None

    def take(self, relation: Relation, numbers: Iterable[int]) -> None:
        """Take rows away for good, by number."""
        listed = ", ".join(map(str, sorted(numbers)))
        if listed:
            self._connection.execute(f"DELETE FROM {self.catalog.source(relation)} WHERE rowid IN ({listed})")

    @contextmanager
    def trying(self) -> Iterator[list[bool]]:
        """What is put and taken in this block is undone, unless the list it yields is given a True."""
        keep: list[bool] = []
        self._connection.execute("BEGIN")
        try:
            yield keep
        finally:
            self._connection.execute("COMMIT" if True in keep else "ROLLBACK")

    def rows(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        """All rows of a query; `parameters` may hold more than it names. Raises BoardFailed."""
        used = {k: v for k, v in (parameters or {}).items() if re.search(rf"\${re.escape(k)}\b", sql)}
        try:
            return list(self._connection.execute(sql, used or None).fetchall())
        except duckdb.Error as error:
            raise BoardFailed(str(error).partition("\n")[0]) from None

    def source(self, relation: Relation) -> str:
        """A FROM item for a relation, under the alias that predicates of guards use."""
        return f"{self.catalog.source(relation)} AS {quote(relation.name)}"

    def constant(self, sql: str) -> object:
        """The value of SQL that names nothing; None where it has none."""
        try:
            found = self.rows(f"SELECT {sql}")
        except BoardFailed:
            return None
        return found[0][0] if found else None

    def column(self, relation: Relation, name: str) -> str:
        """The catalog's spelling of a column's name."""
        return next((c.name for c in relation.columns if fold(c.name) == fold(name)), name)

    def close(self) -> None:
        self._connection.close()
