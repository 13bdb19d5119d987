"""A text → its bound plan on an empty copy of the catalog, as DuckDB writes it (`json_serialize_plan`).

The plan shows each function with the types it was bound for, and every cast that nobody wrote. No row is ever in such
a copy. Owns that: the instances hold definitions only, and are few.
"""

from __future__ import annotations

import atexit
import json
import re
import threading
from collections.abc import Iterator
from typing import Any, Final

from rls.catalog import Catalog, Relation, fold, quote

__all__ = ["bound_plan", "converts"]

_MAX_COPIES: Final = 4  # catalogs (by version) with an empty copy at a time
_MAX_RELATIONS: Final = 500  # in one copy, before it is made anew


def bound_plan(text: str, catalog: Catalog) -> Any:
    """The bound plan of a guarded text over `catalog`: a list of trees, or None where it does not bind."""
    return _copies.plan(text, catalog)


def converts(text: str, type_: str) -> bool:
    """Whether DuckDB converts this text to this type (a name of a built-in type)."""
    return _copies.converts(text, type_)


class _Copies:
    """Empty copies of catalogs, one DuckDB instance each; a lock, since a connection is one query at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, tuple[Any, set[tuple[str, ...]]]] = {}

    def plan(self, text: str, catalog: Catalog) -> Any:
        """The bound plan of a text, or None where it does not bind."""
        import duckdb

        with self._lock:
            connection, known = self._copy_of(catalog)
            try:
                for relation in _named_in(text, catalog):
                    if relation.key not in known:
                        _create(connection, catalog, relation)
                        known.add(relation.key)
                row = connection.execute("SELECT json_serialize_plan($1::VARCHAR)", [text]).fetchone()
                result = json.loads(row[0])
            except (duckdb.Error, ValueError, RecursionError):  # some constants make DuckDB write what is no JSON
                return None
        return None if result["error"] else result["plans"]

    def converts(self, text: str, type_: str) -> bool:
        import duckdb

        with self._lock:
            connection = next(iter(self._open.values()))[0]
            try:
                row = connection.execute(f"SELECT TRY_CAST($1::VARCHAR AS {type_}) IS NOT NULL", [text]).fetchone()
            except duckdb.Error:
                return False
        return bool(row[0])

    def _copy_of(self, catalog: Catalog) -> tuple[Any, set[tuple[str, ...]]]:
        found = self._open.pop(catalog.version, None)
        if found is not None and len(found[1]) > _MAX_RELATIONS:
            found[0].close()
            found = None
        if found is None:
            import duckdb

            connection = duckdb.connect(":memory:", config={"threads": 1, "python_enable_replacements": "false"})
            if fold(catalog.attached) != "memory":
                connection.execute(f"ATTACH ':memory:' AS {quote(catalog.attached)}")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            found = (connection, set())
            if len(self._open) >= _MAX_COPIES:
                self._open.pop(next(iter(self._open)))[0].close()
        self._open[catalog.version] = found  # the last used is the last to go
        return found

    def close(self) -> None:
        with self._lock:
            for connection, _ in self._open.values():
                connection.close()
            self._open.clear()


def _named_in(text: str, catalog: Catalog) -> Iterator[Relation]:
    """The relations a guarded text reads, mapping tables of policies included: by the full names in it."""
    for found in re.finditer(re.escape(quote(catalog.attached)) + r'((?:\."(?:[^"]|"")*")+)', text):
        path = tuple(fold(part[1:-1].replace('""', '"')) for part in re.findall(r'"(?:[^"]|"")*"', found[1]))
        if (relation := catalog.relations.get(path)) is not None:
            yield relation


def _create(connection: Any, catalog: Catalog, relation: Relation) -> None:
    for depth in range(1, len(relation.schema) + 1):
        path = ".".join(map(quote, (catalog.attached, *relation.schema[:depth])))
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {path}")
    columns = ", ".join(f"{quote(c.name)} {c.type}" for c in relation.columns)
    connection.execute(f"CREATE TABLE {catalog.source(relation)} ({columns})")


_copies = _Copies()
# An open connection at the interpreter's end makes DuckDB's bindings print what they think is leaked.
atexit.register(_copies.close)
