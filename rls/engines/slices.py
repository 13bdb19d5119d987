"""Copies of permitted rows: made for a query that asks for them, kept for the next of the same key, within bounds.

Takes `Copy`s (what fills one, and which guards it replaces); lends tables of an in-memory database beside the data.
Owns that a table holds the rows of exactly its key, that only a query with that key is told its name (which nobody can
guess), and that what is kept stays below a number of bytes: the least recently used go first.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb

from rls.catalog import quote
from rls.errors import QueryFailed
from rls.rewrite.guarded import Copy, GuardedQuery

__all__ = ["Slices", "read_from_copies"]

_POLL_SECONDS = 0.02
_REMEMBERED_KEYS = 1_000
# Copies without rows take no memory that is counted.
_MOST_TABLES = 1_000
_USED = "SELECT sum(memory_usage_bytes + temporary_storage_bytes) FROM duckdb_memory() WHERE tag = 'IN_MEMORY_TABLE'"


@dataclass(eq=False, slots=True)
class _Table:
    """A copy that is kept; `users` are the queries that read it now."""

    name: str
    version: str
    ready: bool = False
    users: int = 0


class Slices:
    """The copies of one DuckDB instance. Thread-safe.

    `cursor` gives a new cursor of the instance, `database` is the name of its in-memory database for copies, `limit`
    the bytes that all copies may take together.
    """

    def __init__(self, cursor: Callable[[], duckdb.DuckDBPyConnection], *, database: str, limit: int) -> None:
        self._cursor, self._database, self._limit = cursor, database, limit
        self._changed = threading.Condition()
        self._tables: OrderedDict[str, _Table] = OrderedDict()
        self._version = ""
        # Keys of copies that need not be: how often they were asked for; those that were too large stay at minus one.
        self._asked: OrderedDict[str, int] = OrderedDict()

    @contextlib.contextmanager
    def lend(
        self, copies: Sequence[Copy], cursor: duckdb.DuckDBPyConnection, *, expired: Callable[[], bool]
    ) -> Iterator[dict[str, str]]:
        """Key → table (as SQL) of each copy, while the block lasts: all that are strict, and others if they are there.

        What is missing is made on `cursor`, outside of a transaction, at the expense of the query that runs there.
        Raises DuckDB's errors, and `QueryFailed` (`run.copies`, `run.timeout`).
        """
        held: list[tuple[str, _Table]] = []
        try:
            for copy in copies:
                table = self._take(copy, cursor, expired)
                if table is not None:
                    held.append((copy.key, table))
            yield {key: f"{quote(self._database)}.main.{quote(table.name)}" for key, table in held}
        finally:
            with self._changed:
                for _, table in held:
                    table.users -= 1
            for copy in copies:
                if copy.once:
                    self._drop(copy.key)

    def keys(self) -> tuple[str, ...]:
        """Keys of what is kept, the least recently used first."""
        with self._changed:
            return tuple(key for key, table in self._tables.items() if table.ready)

    def used(self) -> int:
        """Bytes of all copies, those in temporary files among them."""
        with self._cursor() as cursor:
            row = cursor.execute(_USED).fetchone()
        return int(row[0] or 0) if row else 0

    def _take(self, copy: Copy, cursor: duckdb.DuckDBPyConnection, expired: Callable[[], bool]) -> _Table | None:
        self._forget_other_versions(copy.version)
        with self._changed:
            while (table := self._tables.get(copy.key)) is not None:
                if table.ready:
                    self._tables.move_to_end(copy.key)
                    table.users += 1
                    return table
                # Somebody makes it just now.
                if not copy.strict:
                    return None
                self._changed.wait(_POLL_SECONDS)
                if expired():
                    raise QueryFailed("run.timeout", "the query ran longer than it may", hint="read or join less")
            if not copy.strict and not self._is_worth_it(copy.key):
                return None
            table = self._tables[copy.key] = _Table(copy.key, copy.version)
        return self._make(copy, table, cursor)

    def _make(self, copy: Copy, table: _Table, cursor: duckdb.DuckDBPyConnection) -> _Table | None:
        made = False
        try:
            name = f"{quote(self._database)}.main.{quote(table.name)}"
            statement = cursor.extract_statements(f"CREATE TABLE {name} AS FROM {copy.rows}")[0]
            named = statement.named_parameters
            cursor.execute(statement, {name: value for name, value in copy.values.items() if name in named})
            made = True
        except duckdb.OutOfMemoryException:
            if copy.strict:
                raise
            self._asked[copy.key] = -1
        finally:
            with self._changed:
                if made:
                    table.ready, table.users = True, 1
                else:
                    self._tables.pop(copy.key, None)
                self._changed.notify_all()
        if made and self._fits():
            return table
        if made:
            with self._changed:
                table.users = 0
            self._drop(copy.key)
        if copy.strict:
            raise QueryFailed(
                "run.copies",
                "the rows that this query may read are more than can be copied",
                hint="ask the operator to raise the limit `copies`, or send it again later",
            )
        self._asked[copy.key] = -1
        return None

    def _is_worth_it(self, key: str) -> bool:
        """Whether a copy that need not be is made: at the second time it is asked for, unless it was too large."""
        times = self._asked.pop(key, 0)
        self._asked[key] = times = times if times < 0 else times + 1
        if len(self._asked) > _REMEMBERED_KEYS:
            self._asked.popitem(last=False)
        return times >= 2

    def _fits(self) -> bool:
        """Drop what was used least recently until the rest fits; False where what is in use does not."""
        while len(self._tables) > _MOST_TABLES or self.used() > self._limit:
            with self._changed:
                idle = next((key for key, table in self._tables.items() if table.ready and not table.users), None)
            if idle is None:
                return False
            self._drop(idle)
        return True

    def _forget_other_versions(self, version: str) -> None:
        """Policies were read again: what older ones showed is of no use to anybody."""
        with self._changed:
            if version == self._version:
                return
            self._version = version
            old = [key for key, table in self._tables.items() if table.version != version]
        for key in old:
            self._drop(key)

    def _drop(self, key: str) -> None:
        """Drop a copy that nobody reads."""
        with self._changed:
            table = self._tables.get(key)
            if table is None or not table.ready or table.users:
                return
            del self._tables[key]
            with self._cursor() as cursor:
                cursor.execute(f"DROP TABLE {quote(self._database)}.main.{quote(table.name)}")


def read_from_copies(guarded: GuardedQuery, copies: Sequence[Copy], tables: Mapping[str, str]) -> GuardedQuery:
    """The query with tables in the place of guards. A guard's text names the data by a name that no caller can know,
    so wherever it stands, it is the guard."""
    sql, splices = guarded.sql, guarded.splices
    for copy in copies:
        if copy.key not in tables:
            continue
        for guard in copy.guards:
            shown = f"(SELECT * FROM {tables[copy.key]} AS {quote(copy.name)})"
            sql = sql.replace(guard, shown)
            splices = tuple(replace(splice, text=splice.text.replace(guard, shown)) for splice in splices)
    return guarded if sql is guarded.sql else replace(guarded, sql=sql, splices=splices)
