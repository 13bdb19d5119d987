"""Which queries ask for something the engine refuses on purpose, so that their refusal is not a fault of the rewrite.

It takes a query and an open copy of its database and returns the reason or None. It asks DuckDB's own parser, never
the rewrite under test: a query that this module calls legal and that is refused counts against the engine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb

__all__ = ["withheld"]

# Functions that read the catalog, settings, files, text as SQL, statistics or the session: never for a caller.
_FUNCTIONS = re.compile(
    r"duckdb_|pragma_|pg_|has_|read_|write_|parquet_|sniff_|scan_|.*_scan$|glob$|query$|query_table$|"
    r"json_execute_|json_serialize_|json_deserialize_|current_|in_search_path$|getvariable$|getenv$|"
    r"nextval$|currval$|setval$|txid_|stats$|vector_type$|enum_|version$|test_|icu_|sleep_|"
    r"which_secret$|add_parquet_key$|finalize$|combine$|(?:col|obj|shobj)_description$|session_user$|user$"
)
# In these only their own time or clock is read.
_PLAIN = {"current_date", "current_timestamp", "current_localtime", "current_localtimestamp", "current_time"}
_CATALOG_SCHEMAS = {"information_schema", "pg_catalog"}
_CATALOG_TABLES = re.compile(r"sqlite_(?:temp_)?(?:master|schema)$|duckdb_|pragma_|pg_|.*[./*]")
_TABLE_FUNCTIONS = {"range", "generate_series", "unnest", "repeat", "json_each", "json_tree"}


def withheld(connection: duckdb.DuckDBPyConnection, sql: str) -> str | None:
    """Why the engine is right to refuse `sql`, or None."""
    row = connection.execute("SELECT json_serialize_sql($1)", [sql]).fetchone()
    tree = json.loads(row[0]) if row else {}
    if tree.get("error", True):
        return None
    macros = {
        name.lower()
        for (name,) in connection.execute("SELECT function_name FROM duckdb_functions() WHERE NOT internal").fetchall()
    }
    for node in _nodes(tree):
        if (reason := _reason(node, macros)) is not None:
            return reason
    return None


def _reason(node: dict[str, Any], macros: set[str]) -> str | None:
    name = str(node.get("function_name", "")).lower()
    if name in macros:
        return "macro of the database"
    if name not in _PLAIN and _FUNCTIONS.match(name):
        return "function about the system"
    match node.get("type"):
        case "TABLE_FUNCTION" if (name := str(node.get("function", {}).get("function_name", "")).lower()) not in (
            _TABLE_FUNCTIONS
        ):
            return "macro of the database" if name in macros else "table function"
        case "BASE_TABLE":
            path = [str(part) for part in node.get("qualified_name", {}).get("path", [])] or [
                str(node.get("schema_name", "")),
                str(node.get("table_name", "")),
            ]
            if _CATALOG_SCHEMAS & {part.lower() for part in path[:-1]} or _CATALOG_TABLES.match(path[-1].lower()):
                return "catalog or file"
        case "SHOW_REF" if "SHOW" in str(node.get("show_type")) or not node.get("query"):
            return "catalog or file"
        case "VALUE_PARAMETER":
            return "parameter"
        case "COLUMN_REF" if str(node.get("column_names", [""])[-1]).lower() == "rowid":
            return "physical row number"
        case "JOIN" if "rowid" in {str(column).lower() for column in node.get("using_columns", [])}:
            return "physical row number"
    return None


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)
