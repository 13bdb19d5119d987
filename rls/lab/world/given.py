"""Rows that a suite gives → a DuckDB file with the relations of a catalog, which hold those rows and nothing else.

Takes the given rows and the live catalog, if there is one; writes a new database. Owns that a row which does not fit
is an error at its place in the suite: a test over data that was silently changed proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from rls.catalog import Catalog, Column, Relation, fold, quote
from rls.errors import PolicyInvalid
from rls.lab.suites.suite import Given
from rls.yaml_model import suggest

__all__ = ["build_given"]


def build_given(path: Path, data: Sequence[Given], catalog: Catalog | None) -> None:
    """Write a database to `path`: every relation of `catalog`, typed by it, empty but for the given rows; relations
    that only the suite knows, with the columns it declares.

    Raises PolicyInvalid: `policy.suite_relation`, `policy.suite_column`, `policy.suite_row`, `policy.suite_type`.
    """
    relations = {} if catalog is None else dict(catalog.relations)
    given: list[tuple[Relation, Given]] = []
    for each in data:
        relation = _relation(each, catalog)
        if catalog is not None and relation.kind == "view":
            message = f"`{each.label}` is a view: give rows of the tables it reads"
            raise _at_name(each, "policy.suite_relation", message)
        relations[relation.key] = relation
        given.append((relation, each))
    with duckdb.connect(str(path)) as connection:
        _create(connection, list(relations.values()), {relation.key: each for relation, each in given})
        for relation, each in given:
            _fill(connection, relation, each)


def _relation(given: Given, catalog: Catalog | None) -> Relation:
    known = None if catalog is None else catalog.find(given.path)
    if given.columns:
        columns = tuple(Column(name, kind) for name, kind in given.columns.items())
        schema, name = (known.schema, known.name) if known else (given.path[:-1] or ("main",), given.path[-1])
        return Relation(schema, name, columns)
    if known is None:
        if catalog is None:
            hint = "declare `columns: {id: INTEGER, …}` with the rows, or give --database"
            raise _at_name(given, "policy.suite_relation", f"the columns of `{given.label}` are not known", hint)
        hint = suggest(given.label, [r.label for r in catalog.relations.values()]) or "declare `columns` with the rows"
        raise _at_name(given, "policy.suite_relation", f"the database has no relation `{given.label}`", hint)
    return known


def _create(
    connection: duckdb.DuckDBPyConnection, relations: list[Relation], given: Mapping[tuple[str, ...], Given]
) -> None:
    for schema in sorted({r.schema[:n] for r in relations for n in range(1, len(r.schema) + 1)}, key=len):
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_name(*schema)}")
    views = []
    for relation in relations:
        if relation.kind == "view":
            views.append(relation)
            continue
        columns = ", ".join(f"{quote(c.name)} {c.type}" for c in relation.columns)
        try:
            connection.execute(f"CREATE TABLE {_name(*relation.schema, relation.name)} ({columns})")
        except duckdb.Error as error:
            if relation.key not in given:
                continue  # a type of an extension that is not there, in a table that nobody gives rows for
            hint = "types are written as in DuckDB: VARCHAR, INTEGER, DECIMAL(9,2), DATE"
            message = f"the columns of `{relation.label}` cannot be made: {_first_line(error)}"
            raise _at_name(given[relation.key], "policy.suite_type", message, hint) from None
    _create_views(connection, views)


def _create_views(connection: duckdb.DuckDBPyConnection, views: list[Relation]) -> None:
    """Views may read each other; one that cannot be made reads something that is not there, and stays away."""
    while views:
        left = []
        for view in views:
            names = ", ".join(quote(c.name) for c in view.columns)
            try:
                connection.execute(f"USE {_name(*view.schema)}")
                connection.execute(f"CREATE VIEW {_name(*view.schema, view.name)} ({names}) AS {view.sql}")
            except duckdb.Error:
                left.append(view)
        connection.execute("USE main")
        if len(left) == len(views):
            return
        views = left


def _fill(connection: duckdb.DuckDBPyConnection, relation: Relation, given: Given) -> None:
    rows = [_values(row, number, relation, given) for number, row in enumerate(given.rows)]
    if not rows:
        return
    marks = ", ".join("?" for _ in relation.columns)
    statement = f"INSERT INTO {_name(*relation.schema, relation.name)} VALUES ({marks})"
    try:
        connection.execute("BEGIN")
        connection.executemany(statement, rows)
        connection.execute("COMMIT")
    except (duckdb.Error, TypeError, ValueError):
        connection.execute("ROLLBACK")
        _blame(connection, statement, rows, relation, given)


def _blame(
    connection: duckdb.DuckDBPyConnection, statement: str, rows: list[list[Any]], relation: Relation, given: Given
) -> None:
    """Insert one by one, to say which row it is."""
    for number, row in enumerate(rows):
        try:
            connection.execute(statement, row)
        except (duckdb.Error, TypeError, ValueError) as error:
            types = ", ".join(f"{c.name} {c.type}" for c in relation.columns)
            document, at = given.place.document, (*given.place.path, number)
            message = f"this row does not fit `{relation.label}`: {_first_line(error)}"
            raise document.invalid("policy.suite_row", message, path=at, hint=f"its columns are {types}") from None


def _values(row: Any, number: int, relation: Relation, given: Given) -> list[Any]:
    document, at = given.place.document, (*given.place.path, number)
    if isinstance(row, list):
        if len(row) != len(relation.columns):
            names = ", ".join(c.name for c in relation.columns)
            message = f"this row has {len(row)} values, `{relation.label}` has {len(relation.columns)} columns"
            raise document.invalid("policy.suite_row", message, path=at, hint=f"they are {names}")
        return list(row)
    known = {fold(c.name): index for index, c in enumerate(relation.columns)}
    values: list[Any] = [None] * len(relation.columns)
    for name, value in row.items():
        if fold(name) not in known:
            hint = suggest(name, [c.name for c in relation.columns])
            message = f"`{relation.label}` has no column `{name}`"
            raise document.invalid("policy.suite_column", message, path=(*at, name), key=True, hint=hint)
        values[known[fold(name)]] = value
    return values


def _at_name(given: Given, code: str, message: str, hint: str | None = None) -> PolicyInvalid:
    return given.place.document.invalid(code, message, path=given.place.path[:2], key=True, hint=hint)


def _name(*path: str) -> str:
    return ".".join(map(quote, path))


def _first_line(error: Exception) -> str:
    text = str(error).split("\n", 1)[0].partition(": ")[2] or "not a value of this type"
    return text[:1].lower() + text[1:].rstrip(".!")
