"""A DuckDB file → its rows as they are, without any guard: for the author of policies, who compares and explains.

Takes the file and, for a frozen clock, the time; answers SQL over a read-only attachment. Owns that this is the only
place of the laboratory where data is read past the engine; nothing here is reachable from a query of a suite.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from rls.catalog import Catalog, Relation, quote
from rls.engines.lockdown import IGNORE_EXTREMES
from rls.engines.zone import reckon_in_utc
from rls.lab.world.clock import clock_macros

__all__ = ["NAME", "Raw", "RawFailed", "open_bare", "primary_keys_of"]

NAME = "lab"


class RawFailed(Exception):
    """DuckDB could not run a text; the message is its first line."""


class Raw:
    """All rows of a database. Thread-safe; close it after use. `catalog` writes names as this connection knows them."""

    def __init__(self, path: Path, catalog: Catalog, *, now: float | None = None, threads: int | None = None) -> None:
        self.catalog = catalog.attached_as(NAME).from_schema(("main",))
        self._lock = threading.Lock()
        config: dict[str, Any] = {"python_enable_replacements": "false"}
        if threads is not None:
            config["threads"] = threads
        self._connection = duckdb.connect(":memory:", config=config)
        reckon_in_utc(self._connection)
        self._connection.execute(IGNORE_EXTREMES)
        location = str(path).replace("'", "''")
        self._connection.execute(f"ATTACH '{location}' AS {quote(NAME)} (READ_ONLY, TYPE duckdb)")
        for macro in () if now is None else clock_macros(now):
            self._connection.execute(macro)
        self._keys: dict[tuple[str, ...], tuple[str, ...]] | None = None

    def rows(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        """All rows of a query; `parameters` may hold more than it names. Raises RawFailed."""
        used = {k: v for k, v in (parameters or {}).items() if re.search(rf"\${re.escape(k)}\b", sql)}
        with self._lock:
            cursor = self._connection.cursor()
        try:
            # Names as suites write them are found, and the clock's macros still come before DuckDB's own functions.
            cursor.execute(f"SET search_path = '{NAME}.main,memory.main'")
            return list(cursor.execute(sql, used or None).fetchall())
        except duckdb.Error as error:
            raise RawFailed(str(error).split("\n", 1)[0]) from None
        finally:
            cursor.close()

    def source(self, relation: Relation) -> str:
        """A FROM item for a relation, under the alias that predicates of grants use."""
        return f"{self.catalog.source(relation)} AS {quote(relation.name)}"

    def count(self, relation: Relation) -> int:
        """Rows of a relation."""
        return int(self.rows(f"SELECT count(*) FROM {self.source(relation)}")[0][0])

    def primary_key(self, relation: Relation) -> tuple[str, ...]:
        """The columns of a table's primary key; empty without one."""
        return self.primary_keys().get(relation.key, ())

    def primary_keys(self) -> Mapping[tuple[str, ...], tuple[str, ...]]:
        """The columns of all primary keys, by the table's key."""
        if self._keys is None:
            found = self.rows(
                "SELECT schema_name, table_name, constraint_column_names FROM duckdb_constraints()"
                f" WHERE database_name = '{NAME}' AND constraint_type = 'PRIMARY KEY'"
            )
            self._keys = {(schema.lower(), table.lower()): tuple(columns) for schema, table, columns in found}
        return self._keys

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def primary_keys_of(path: Path, catalog: Catalog) -> Mapping[tuple[str, ...], tuple[str, ...]]:
    """The columns of a file's primary keys, by the table's key. No row is read."""
    raw = Raw(path.resolve(), catalog)
    try:
        return raw.primary_keys()
    finally:
        raw.close()


@contextmanager
def open_bare(path: Path) -> Iterator[Callable[[str], list[tuple[Any, ...]]]]:
    """What runs texts as their callers wrote them, on the file itself, read-only; raises RawFailed."""
    connection = duckdb.connect(str(path), read_only=True, config={"python_enable_replacements": "false"})
    reckon_in_utc(connection)

    def run(sql: str) -> list[tuple[Any, ...]]:
        try:
            return connection.execute(sql).fetchall()
        except duckdb.Error as error:
            raise RawFailed(str(error).split("\n", 1)[0]) from None

    try:
        yield run
    finally:
        connection.close()
