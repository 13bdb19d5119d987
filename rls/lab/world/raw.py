"""A database → its rows as they are, whoever may see them: for the author of policies, who compares and explains.

`Rows` is what the laboratory asks, `Raw` answers it over a read-only attachment of a DuckDB file, with a clock that may
stand still; `rls.lab.world.server` does over a server. Owns that these are the only places of the laboratory where data
is read past the policies; nothing here is reachable from a query of a suite.
"""

from __future__ import annotations

import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import duckdb

from rls.catalog import Catalog, Relation, quote
from rls.engines.lockdown import IGNORE_EXTREMES
from rls.engines.zone import reckon_in_utc
from rls.lab.world.clock import clock_macros

__all__ = ["NAME", "Raw", "RawFailed", "Rows", "ask_duckdb", "open_bare", "used_in"]

NAME = "lab"


class RawFailed(Exception):
    """The database could not run a text; the message is one line that says of which engine it is. `refused`: whatever
    the rows are, that engine cannot be asked this."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class Rows(ABC):
    """All rows of a database. Thread-safe; close it after use. `catalog` writes names as `rows` knows them."""

    catalog: Catalog
    scans: ClassVar[bool]
    """Whether one text may count for many conditions at once, by whatever DuckDB's SQL has."""

    @abstractmethod
    def rows(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[tuple[Any, ...]]:
        """All rows of a query in DuckDB's SQL; `parameters` may hold more than it names. Raises RawFailed."""

    @abstractmethod
    def counts(
        self, relation: Relation, conditions: Sequence[str], parameters: Mapping[str, object] | None = None
    ) -> list[int]:
        """For how many rows of a relation each condition is true. Raises RawFailed."""

    @abstractmethod
    def equal(self, column: str, type_: str, name: str, value: Any) -> tuple[str, Any]:
        """A condition that a column holds the value which is bound as `$name`, read as the column's type; and what to
        bind."""

    @abstractmethod
    def primary_keys(self) -> Mapping[tuple[str, ...], tuple[str, ...]]:
        """The columns of all primary keys that the database vouches for, by the table's key."""

    @abstractmethod
    def close(self) -> None:
        """Free what was opened for it."""

    def source(self, relation: Relation) -> str:
        """A FROM item for a relation, under the alias that predicates of grants use."""
        return f"{self.catalog.source(relation)} AS {quote(relation.name)}"

    def count(self, relation: Relation) -> int:
        """Rows of a relation."""
        return int(self.rows(f"SELECT count(*) FROM {self.source(relation)}")[0][0])

    def primary_key(self, relation: Relation) -> tuple[str, ...]:
        """The columns of a table's primary key; empty without one."""
        return self.primary_keys().get(relation.key, ())


class Raw(Rows):
    """All rows of a DuckDB file."""

    scans: ClassVar[bool] = True

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
        """See `Rows.rows`."""
        used = used_in(sql, parameters)
        with self._lock:
            cursor = self._connection.cursor()
        try:
            # Names as suites write them are found, and the clock's macros still come before DuckDB's own functions.
            cursor.execute(f"SET search_path = '{NAME}.main,memory.main'")
            return list(cursor.execute(sql, used or None).fetchall())
        except duckdb.Error as error:
            raise _failed(error) from None
        finally:
            cursor.close()

    def counts(
        self, relation: Relation, conditions: Sequence[str], parameters: Mapping[str, object] | None = None
    ) -> list[int]:
        """See `Rows.counts`; in one scan."""
        picked = ", ".join(f"count_if({condition})" for condition in conditions)
        row = self.rows(f"SELECT {picked} FROM {self.source(relation)}", parameters)[0]
        return [int(value or 0) for value in row]  # of no rows, DuckDB counts NULL

    def equal(self, column: str, type_: str, name: str, value: Any) -> tuple[str, Any]:
        """See `Rows.equal`."""
        return f"{column} IS NOT DISTINCT FROM TRY_CAST(${name} AS {type_})", value

    def primary_keys(self) -> Mapping[tuple[str, ...], tuple[str, ...]]:
        """See `Rows.primary_keys`."""
        if self._keys is None:
            found = self.rows(
                "SELECT schema_name, table_name, constraint_column_names FROM duckdb_constraints()"
                f" WHERE database_name = '{NAME}' AND constraint_type = 'PRIMARY KEY'"
            )
            self._keys = {(schema.lower(), table.lower()): tuple(columns) for schema, table, columns in found}
        return self._keys

    def close(self) -> None:
        """See `Rows.close`."""
        with self._lock:
            self._connection.close()


def used_in(sql: str, parameters: Mapping[str, object] | None) -> dict[str, object]:
    """The parameters that a text names."""
    return {k: v for k, v in (parameters or {}).items() if re.search(rf"\${re.escape(k)}\b", sql)}


def ask_duckdb(sql: str, parameters: Mapping[str, object]) -> Any:
    """The one value of a text that reads no relation. Raises RawFailed."""
    with duckdb.connect(":memory:", config={"threads": 1, "enable_external_access": "false"}) as connection:
        reckon_in_utc(connection)
        try:
            return connection.execute(sql, dict(parameters)).fetchall()[0][0]
        except duckdb.Error as error:
            raise _failed(error) from None


@contextmanager
def open_bare(path: Path) -> Iterator[Callable[[str], list[tuple[Any, ...]]]]:
    """What runs texts as their callers wrote them, on the file itself, read-only; raises RawFailed."""
    connection = duckdb.connect(str(path), read_only=True, config={"python_enable_replacements": "false"})
    reckon_in_utc(connection)

    def run(sql: str) -> list[tuple[Any, ...]]:
        try:
            return connection.execute(sql).fetchall()
        except duckdb.Error as error:
            raise _failed(error) from None

    try:
        yield run
    finally:
        connection.close()


def _failed(error: duckdb.Error) -> RawFailed:
    return RawFailed(f"DuckDB: {str(error).split(chr(10), 1)[0]}")
