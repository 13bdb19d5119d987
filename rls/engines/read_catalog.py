"""A connection and the name of an attached DuckDB database → `Catalog`.

Reads DuckDB's own catalog functions once; nested schemas, views with their text, columns with DuckDB's type texts.
Owns that everything a guard must know of the data is in the catalog, so that the rewrite never asks the database.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rls.catalog import Catalog, Column, Relation

__all__ = ["read_catalog", "view_select"]

_SCHEMAS = "SELECT oid, schema_name, parent_schema_oid FROM duckdb_schemas() WHERE database_name = $name"
_COLUMNS = """
SELECT table_oid, column_name, data_type, is_nullable FROM duckdb_columns()
WHERE database_name = $name AND NOT internal ORDER BY table_oid, column_index"""
_RELATIONS = """
SELECT table_oid, schema_oid, table_name, 'table', NULL FROM duckdb_tables()
WHERE database_name = $name AND NOT internal
UNION ALL
SELECT view_oid, schema_oid, view_name, 'view', sql FROM duckdb_views()
WHERE database_name = $name AND NOT internal"""

_NAME = r'(?:"(?:[^"]|"")*"|[^\s".,()]+)'
_VIEW = re.compile(
    rf"CREATE (?:SECURE )?VIEW {_NAME}(?:\.{_NAME})* (?:\({_NAME}(?:, {_NAME})*\) )?AS (?P<select>.*);\s*", re.DOTALL
)


def read_catalog(connection: Any, attached: str, *, name: str) -> Catalog:
    """The catalog of the database attached as `attached`, which callers call `name`."""
    bound = {"name": attached}
    schemas = {oid: (title, parent) for oid, title, parent in connection.execute(_SCHEMAS, bound).fetchall()}
    columns: dict[int, list[Column]] = {}
    for oid, title, kind, nullable in connection.execute(_COLUMNS, bound).fetchall():
        columns.setdefault(oid, []).append(Column(title, kind, nullable))
    relations = []
    for oid, schema, title, kind, sql in connection.execute(_RELATIONS, bound).fetchall():
        text = view_select(sql) if sql else None
        relations.append(Relation(_path(schema, schemas), title, tuple(columns.get(oid, ())), kind, text))
    return Catalog.of(name, relations, attached=attached)


def view_select(statement: str) -> str | None:
    """The SELECT of a view's CREATE statement as DuckDB writes it; None where it is written in a way not known here,
    so that the view is refused rather than misread.

    >>> view_select('CREATE VIEW finance."a AS b" (x, "y,") AS SELECT 1, 2;')
    'SELECT 1, 2'
    """
    found = _VIEW.fullmatch(statement)
    return found["select"] if found else None


def _path(schema: int, schemas: Mapping[int, tuple[str, int | None]]) -> tuple[str, ...]:
    """A schema's path from its outermost schema."""
    path: list[str] = []
    at: int | None = schema
    while at is not None and at in schemas:
        title, at = schemas[at]
        path.insert(0, title)
    return tuple(path)
