"""The oracle: a copy of a database that physically holds only what one person may see, and answers from it.

It takes a DuckDB file and a `Rule` per relation (plain SQL with literals), writes the reduced copy beside it and runs
the caller's query there, untouched. It owns invariant (faithful)'s other half and shares no code with `rls`: what a
guard must give is said here by `CREATE TABLE … AS SELECT`, by nothing cleverer.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

__all__ = [
    "ORDERS",
    "Answer",
    "Rule",
    "answer",
    "build",
    "open_naively",
    "open_quietly",
    "ordering",
    "quoted",
    "reduce_database",
    "tables_of",
    "without_limit",
]

# How the rows of a reduced copy are stored.
ORDERS = {"kept": "", "backwards": " ORDER BY rowid DESC", "shuffled": " ORDER BY hash(rowid)"}

# The text of an ENUM type with its labels, alone or inside STRUCT(…), MAP(…) and lists.
_ENUM = re.compile(r"ENUM\('(?:[^']|'')*'(?:, '(?:[^']|'')*')*\)")


@dataclass(frozen=True)
class Rule:
    """What is left of one relation: rows where `predicate` is true, without `denied`, with `masks` instead of values.

    `predicate` and `masks` are SQL over the relation's true columns. ENUM columns become VARCHAR unless they are
    named in `labels`.
    """

    predicate: str = "true"
    denied: frozenset[str] = frozenset()
    masks: Mapping[str, str] = field(default_factory=dict)
    labels: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Answer:
    """What a database said: columns and rows, or `error` (`Class: text`), never both."""

    names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    rows: Sequence[tuple[Any, ...]] = ()
    error: str | None = None


def quoted(*path: str) -> str:
    """A dotted SQL name with every part quoted."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in path)


def open_quietly(
    path: Path, *, read_only: bool = False, config: Mapping[str, str | int] = types.MappingProxyType({})
) -> duckdb.DuckDBPyConnection:
    """A connection to a database file that draws no progress bars between a report's lines."""
    connection = duckdb.connect(str(path), read_only=read_only, config=dict(config))
    connection.execute("SET enable_progress_bar = false")
    return connection


def open_naively(
    path: Path, *, read_only: bool = False, config: Mapping[str, str | int] = types.MappingProxyType({})
) -> duckdb.DuckDBPyConnection:
    """The same, without the optimizer: by stored extremes it takes some filters for others (facts `misled_*`)."""
    connection = open_quietly(path, read_only=read_only, config=config)
    connection.execute("PRAGMA disable_optimizer")
    return connection


def build(path: Path, statements: Iterable[str]) -> Path:
    """Write a new database file by running `statements`, in order."""
    with open_quietly(path) as connection:
        for statement in statements:
            connection.execute(statement)
    return path


def tables_of(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, ...], list[tuple[str, str]]]:
    """Every table of a database and its (column, type) pairs, by the table's path."""
    found: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    listing = connection.execute(
        "WITH RECURSIVE place(oid, path) AS ("
        "SELECT oid, [schema_name] FROM duckdb_schemas() "
        "WHERE parent_schema_oid IS NULL AND database_name = current_database() "
        "UNION ALL SELECT s.oid, place.path || [s.schema_name] FROM duckdb_schemas() s "
        "JOIN place ON s.parent_schema_oid = place.oid AND s.database_name = current_database()) "
        "SELECT place.path, c.table_name, c.column_name, c.data_type FROM duckdb_columns() c "
        "JOIN duckdb_tables() t USING (database_name, table_oid) JOIN place ON place.oid = t.schema_oid "
        "WHERE NOT c.internal AND NOT t.temporary AND c.database_name = current_database() "
        "ORDER BY place.path, c.table_name, c.column_index"
    ).fetchall()
    for schema, table, column, type_ in listing:
        found.setdefault((*schema, table), []).append((column, type_))
    return found


def reduce_database(
    source: Path,
    rules: Mapping[tuple[str, ...], Rule],
    *,
    target: Path,
    order: str = "kept",
    views: Mapping[tuple[str, ...], Rule] = types.MappingProxyType({}),
) -> Path:
    """Copy `source` to `target` and reduce every table there; a table without a rule is dropped.

    `views` with rules of their own show the rows that those permit of what the reduced tables give. The copy keeps the order of the rows, or stores them in another of `ORDERS`: a query whose answer changes then never
    had a defined one. Views stay, over the reduced tables.
    """
    shutil.copyfile(source, target)
    with open_naively(target) as connection:
        tables = tables_of(connection)
        for path in rules.keys() - tables.keys():
            tables[path] = _columns(connection, path)
        # All copies are made before the first original goes: a rule may read other tables.
        kept = []
        for number, (path, columns) in enumerate(sorted(tables.items())):
            if (rule := rules.get(path)) is None:
                continue
            copy = (*path[:-1], f"__reduced_{number}")
            connection.execute(
                f"CREATE TABLE {quoted(*copy)} AS SELECT {_shown(columns, rule)} FROM {quoted(*path)} "
                f"WHERE ({rule.predicate}){ORDERS[order]}"
            )
            kept.append((copy, path[-1]))
        _drop_all(connection, set(tables))
        for copy, name in kept:
            connection.execute(f"ALTER TABLE {quoted(*copy)} RENAME TO {quoted(name)}")
        for path, rule in views.items():
            if not _binds(connection, path):
                # It lost a column, and with it all that it shows.
                continue
            whole = (*path[:-1], f"__whole_{path[-1]}")
            connection.execute(f"ALTER VIEW {quoted(*path)} RENAME TO {quoted(whole[-1])}")
            connection.execute(
                f"CREATE VIEW {quoted(*path)} AS SELECT * FROM {quoted(*whole)} AS {quoted(path[-1])} WHERE {rule.predicate}"
            )
        connection.execute("CHECKPOINT")
    return target


def _binds(connection: duckdb.DuckDBPyConnection, path: tuple[str, ...]) -> bool:
    try:
        connection.execute(f"DESCRIBE SELECT * FROM {quoted(*path)}")
    except duckdb.Error:
        return False
    return True


def _columns(connection: duckdb.DuckDBPyConnection, path: tuple[str, ...]) -> list[tuple[str, str]]:
    described = connection.execute(f"SELECT * FROM {quoted(*path)} LIMIT 0").description or []
    return [(column[0], str(column[1])) for column in described]


def _shown(columns: list[tuple[str, str]], rule: Rule) -> str:
    known = {name for name, _ in columns}
    if unknown := (rule.denied | rule.masks.keys() | rule.labels) - known:
        raise ValueError(f"rule names columns that are not there: {sorted(unknown)}")
    shown = []
    for name, type_ in columns:
        if name in rule.denied:
            continue
        expression = rule.masks.get(name) or quoted(name)
        if "ENUM(" in type_ and name not in rule.labels:
            expression = f"CAST({expression} AS {_ENUM.sub('VARCHAR', type_)})"
        shown.append(f"{expression} AS {quoted(name)}")
    return ", ".join(shown)


def _drop_all(connection: duckdb.DuckDBPyConnection, paths: set[tuple[str, ...]]) -> None:
    """Drop tables, those that others point to by a foreign key after the others."""
    waiting = set(paths)
    while waiting:
        dropped = set()
        for path in sorted(waiting):
            try:
                connection.execute(f"DROP TABLE {quoted(*path)}")
            except duckdb.Error as error:
                last = error
            else:
                dropped.add(path)
        if not dropped:
            raise last
        waiting -= dropped


def answer(
    connection: duckdb.DuckDBPyConnection, sql: str, *, parameters: object = None, seconds: float = 10.0
) -> Answer:
    """Run `sql` as it is; an error, or more than `seconds`, is an answer too."""
    timer = threading.Timer(seconds, connection.interrupt)
    timer.start()
    try:
        cursor = connection.execute(sql, parameters) if parameters is not None else connection.execute(sql)
        rows = cursor.fetchall()
        described = cursor.description or []
    except Exception as error:  # noqa: BLE001 - Python's own conversion of a value (year 294247, …) may fail as well
        return Answer(error=f"{type(error).__name__}: {error}")
    finally:
        timer.cancel()
    return Answer(tuple(column[0] for column in described), tuple(str(column[1]) for column in described), rows)


def ordering(connection: duckdb.DuckDBPyConnection, sql: str, names: Sequence[str]) -> list[int] | None:
    """By which columns of its result a query orders the whole of it: their places, none (`[]`) or not to be said (None).

    DuckDB's own parser says it; a PIVOT statement is taken as not ordered, an expression that is no column as unsaid.
    """
    row = connection.execute("SELECT json_serialize_sql($1)", [sql]).fetchone()
    tree = json.loads(row[0]) if row else {}
    if tree.get("error", True) or len(tree["statements"]) != 1:
        return []
    modifiers = tree["statements"][0]["node"].get("modifiers", [])
    keys = [order["expression"] for m in modifiers if m["type"] == "ORDER_MODIFIER" for order in m["orders"]]
    folded = [name.lower() for name in names]
    places: list[int] = []
    for key in keys:
        match key:
            case {"class": "CONSTANT", "literal": {"kind": "INTEGER", "text": text}} if 0 < int(text) <= len(names):
                places.append(int(text) - 1)
            case {"class": "COLUMN_REF", "column_names": [*_, last]} if folded.count(last.lower()) == 1:
                places.append(folded.index(last.lower()))
            case {"class": "STAR", "relation_name": "", "exclude_list": [], "replace_list": [], "expr": None}:
                places.extend(range(len(names)))
            case _:
                return None
    return places


def without_limit(connection: duckdb.DuckDBPyConnection, sql: str) -> str | None:
    """The query without its own LIMIT and OFFSET; None where it has none."""
    row = connection.execute("SELECT json_serialize_sql($1)", [sql]).fetchone()
    tree = json.loads(row[0]) if row else {}
    if tree.get("error", True) or len(tree["statements"]) != 1:
        return None
    node = tree["statements"][0]["node"]
    kept = [one for one in node.get("modifiers", []) if one["type"] not in ("LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER")]
    if len(kept) == len(node.get("modifiers", [])):
        return None
    node["modifiers"] = kept
    found = connection.execute("SELECT json_deserialize_sql($1::JSON)", [json.dumps(tree)]).fetchone()
    return str(found[0]) if found else None
