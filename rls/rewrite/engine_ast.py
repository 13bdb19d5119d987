"""DuckDB's own parse of a text, as plain dicts and lists: the second parser. Parses only; nothing is bound or run.

One empty, locked connection per thread; `serialize` is all that touches it. Source positions in the tree count bytes
of the UTF-8 text and are dropped by `bare`.
"""

from __future__ import annotations

import atexit
import threading
from typing import Any

from rls.catalog import literal
from rls.forks import before_fork, never_closed_in_child

__all__ = ["EngineParseError", "bare", "describe_expression", "list_functions", "serialize"]

_SETS = frozenset(("exclude_list", "qualified_exclude_list", "replace_list", "rename_list"))
_POSITIONS = ("query_location", "query_location_length")
_local = threading.local()
Tree = dict[str, Any]


class EngineParseError(Exception):
    """DuckDB does not parse the text, or does not serialise this kind of statement: `kind` is DuckDB's error type."""

    def __init__(self, kind: str, message: str, position: int | None) -> None:
        super().__init__(message)
        self.kind, self.position = kind, position


class _Parser:
    """One empty instance and two statements that are prepared once: a parameter bound from here would have DuckDB plan
    them again for each text. Nothing is optimized, since nothing is run."""

    def __init__(self) -> None:
        import duckdb

        config: dict[str, Any] = {
            "threads": 1,
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
            "enable_external_access": "false",
        }
        self.connection = never_closed_in_child(duckdb.connect(":memory:", config=config))
        self.connection.execute("PRAGMA disable_optimizer")
        self.connection.execute("SET lock_configuration = true")
        self.connection.execute("PREPARE to_tree AS SELECT json_serialize_sql($1::VARCHAR)")
        self.connection.execute("PREPARE to_text AS SELECT json_deserialize_sql(json_serialize_sql($1::VARCHAR))")


def _parser() -> _Parser:
    found: _Parser | None = getattr(_local, "parser", None)
    if found is None:
        found = _local.parser = _Parser()
    return found


def serialize(text: str) -> list[Tree]:
    """The statements of a text as DuckDB's `json_serialize_sql` gives them (a list of `node` trees).

    Raises `EngineParseError` for a text that does not parse or is not made of SELECT statements.
    """
    import duckdb
    import orjson

    try:
        row = _parser().connection.execute(f"EXECUTE to_tree({literal(text)})").fetchone()
    except duckdb.Error as error:
        raise EngineParseError(type(error).__name__, str(error), None) from None
    try:
        result = orjson.loads(row[0] if row else "")
    except ValueError:
        raise EngineParseError("nesting", "the statement is nested too deeply", None) from None
    if result["error"]:
        position = result.get("position")
        raise EngineParseError(
            str(result.get("error_type")),
            str(result.get("error_message")),
            int(position) if position is not None and str(position).isdigit() else None,
        )
    return [statement["node"] for statement in result["statements"]]


def bare(tree: Any) -> Any:
    """The tree itself, from which all source positions are taken, for comparing two trees.

    What a star leaves out and replaces is a set to DuckDB, whose order changes where it copies the tree.
    """
    stack = [tree]
    while stack:
        part = stack.pop()
        if type(part) is dict:
            for position in _POSITIONS:
                part.pop(position, None)
            if not _SETS.isdisjoint(part):
                for key in _SETS.intersection(part):
                    part[key] = sorted((bare(one) for one in part[key]), key=repr)
            part = part.values()
        elif type(part) is not list:
            continue
        stack += [value for value in part if value and (type(value) is dict or type(value) is list)]
    return tree


def describe_expression(expression: str, *, windows: str = "") -> str:
    """The column name DuckDB gives to an unnamed select item: its own rendering of the expression.

    `windows` is the WINDOW clause the item may refer to; DuckDB writes a named window out in full.

    >>> describe_expression("1+ MAX( id )")
    '(1 + max(id))'
    """
    import duckdb

    text = f"SELECT {expression} FROM rls {windows}"
    try:
        row = _parser().connection.execute(f"EXECUTE to_text({literal(text)})").fetchone()
    except duckdb.Error as error:
        raise EngineParseError(type(error).__name__, str(error), None) from None
    return str(row[0] if row else "")[len("SELECT ") : -len(" FROM rls")]


def list_functions() -> list[tuple[str, str | None, str | None]]:
    """Every function of the running DuckDB, per variant: name, stability (None where it has none), a macro's text."""
    found = _parser().connection.execute("SELECT function_name, stability, macro_definition FROM duckdb_functions()")
    return list(found.fetchall())


@before_fork
@atexit.register
def _close() -> None:
    # An open connection at the interpreter's end makes DuckDB's bindings print what they think is leaked.
    parser = getattr(_local, "parser", None)
    if parser is not None:
        parser.connection.close()
        del _local.parser
