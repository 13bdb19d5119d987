"""Texts → DuckDB's parsed statements, the last ones kept: its parser takes a fifth of the time of a short query.

Owns that one SELECT is what is run, and that what is kept stays below a number of characters. DuckDB's PREPARE would
save its planner's work too, but EXECUTE takes no bound values (DuckDB 2.0), and values do not become text here.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

import duckdb

from rls.errors import QueryRefused

__all__ = ["Statements"]

# A statement takes some fifty times its text.
_MOST_CHARACTERS: Final = 1_000_000
_LONGEST: Final = 50_000


class Statements:
    """The statements of one executor. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, duckdb.Statement] = OrderedDict()
        self._characters = 0

    def parse(self, cursor: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
        """The statement of a text; it can be run any number of times. Raises `QueryRefused` (`query.statement_kind`)
        and what DuckDB's parser raises."""
        with self._lock:
            found = self._kept.get(sql)
            if found is not None:
                self._kept.move_to_end(sql)
                return found
        statements = cursor.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            # The rewrite refuses these; a second look costs nothing, since the parsed statement is what is run.
            raise QueryRefused("query.statement_kind", "this kind of statement does not run here", hint="use SELECT")
        if len(sql) <= _LONGEST:
            self._keep(sql, statements[0])
        return statements[0]

    def _keep(self, sql: str, statement: duckdb.Statement) -> None:
        with self._lock:
            if sql not in self._kept:
                self._characters += len(sql)
            self._kept[sql] = statement
            while self._characters > _MOST_CHARACTERS:
                dropped, _ = self._kept.popitem(last=False)
                self._characters -= len(dropped)
