"""DuckDB's own parser for policy text: text → tree, tree → text, and where comments stand. Nothing is bound or run.

Policies are read by the parser that later runs them, and by no other: what an author wrote, what the reviewed table
of functions is asked about and what the guard says are then one tree. (sqlglot reads 19 of 472 DuckDB expressions
differently: `js->'a' = '1'`, `(1,)`, `x->'a.b'`.) Source positions in a tree count bytes of the UTF-8 text.
"""

from __future__ import annotations

import json
import threading
from typing import Any, Final

__all__ = ["ExpressionInvalid", "Tree", "bare", "character_offset", "read_select", "unwanted_token", "write_expression"]

Tree = dict[str, Any]

PREFIX: Final = "SELECT "
MAX_TEXT: Final = 20_000
MAX_NESTING: Final = 200
# White space to DuckDB and parts of a name to most readers (and other parsers): a text must not look like another.
INVISIBLE: Final = frozenset("\u200b\u2060\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_local = threading.local()


class ExpressionInvalid(Exception):
    """What is wrong with an expression and where in its text: `offset` and `length` in characters."""

    def __init__(self, code: str, message: str, *, offset: int = 0, length: int = 1, hint: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.offset, self.length, self.hint = code, message, offset, length, hint


def read_select(text: str) -> Tree:
    """DuckDB's tree of `SELECT <text>`: one SELECT node, whatever stands in the text.

    Raises ExpressionInvalid: `policy.expression` (not SQL, too long, too deep), `policy.one_expression`.
    """
    refuse_odd_characters(text)
    if len(text) > MAX_TEXT or _nesting(text) > MAX_NESTING:
        raise ExpressionInvalid("policy.expression", "expression is too long or nested too deep", hint="split it")
    try:
        result = json.loads(_run("json_serialize_sql($1::VARCHAR)", PREFIX + text))
    except (RecursionError, ValueError):
        raise ExpressionInvalid("policy.expression", "expression is nested too deep", hint="split it") from None
    if result["error"]:
        position = str(result.get("position", ""))
        offset = character_offset(text, int(position)) if position.isdigit() else 0
        message = " ".join(str(result.get("error_message", "")).split()).replace('"', "`") or "not SQL"
        if result.get("error_type") != "parser":
            message = "not a SELECT expression"
        raise ExpressionInvalid("policy.expression", _lower_first(message)[:300], offset=offset)
    nodes = [statement["node"] for statement in result["statements"]]
    if len(nodes) != 1:
        raise ExpressionInvalid("policy.one_expression", "one SQL expression is wanted, not statements")
    return dict(nodes[0])


def write_expression(tree: Tree) -> str:
    """DuckDB's text of an expression tree; comments and the author's spacing are gone, the meaning is not.

    Raises ExpressionInvalid `policy.unstable` where DuckDB would read its own text differently.
    """
    statement = {"node": {**_bare_select(), "select_list": [tree]}, "named_param_map": []}
    text = _run("json_deserialize_sql($1::JSON)", json.dumps({"error": False, "statements": [statement]}))
    text = text.removeprefix(PREFIX)
    again = read_select(text)["select_list"]
    if len(again) != 1 or _comparable(again[0]) != _comparable(tree):
        raise ExpressionInvalid(
            "policy.unstable",
            "this expression cannot be written into a guard unchanged",
            offset=0,
            hint="write it with functions: `list_filter(…)` for a list comprehension",
        )
    return text


def unwanted_token(text: str) -> tuple[int, str] | None:
    """Offset and kind (`comment`, `semicolon`) of the first token that no expression needs, or None.

    A comment is refused because YAML folds lines: in a `>` block `a -- why` swallows the condition on the next line.
    """
    import duckdb

    raw = text.encode()
    tokens = duckdb.tokenize(text)
    for offset, kind in tokens:
        if kind == duckdb.token_type.comment:
            return character_offset(text, offset, lead=0), "comment"
        if kind == duckdb.token_type.operator and raw[offset : offset + 1] == b";":
            return character_offset(text, offset, lead=0), "semicolon"
    return None


def character_offset(text: str, position: int, *, lead: int = len(PREFIX)) -> int:
    """Characters before byte `position` of `SELECT <text>`, counted in `text`."""
    return len(text.encode()[: max(0, position - lead)].decode(errors="ignore"))


def bare(tree: Any) -> Any:
    """A copy of a tree without source positions."""
    if isinstance(tree, dict):
        return {k: bare(v) for k, v in tree.items() if not k.startswith("query_location")}
    if isinstance(tree, list):
        return [bare(v) for v in tree]
    return tree


def refuse_odd_characters(text: str) -> None:
    for offset, character in enumerate(text):
        if (
            character in INVISIBLE
            or (character < " " and character not in "\t\n\r")
            or "\ud800" <= character <= "\udfff"
        ):
            raise ExpressionInvalid(
                "policy.character",
                f"invisible character U+{ord(character):04X}",
                offset=offset,
                hint="remove it; in a string write `chr(…)`",
            )


def _comparable(tree: Any) -> Any:
    """Without positions, and without `is_operator`, which only says how a function was spelled."""
    if isinstance(tree, dict):
        return {k: _comparable(v) for k, v in tree.items() if not k.startswith("query_location") and k != "is_operator"}
    if isinstance(tree, list):
        return [_comparable(v) for v in tree]
    return tree


def _bare_select() -> Tree:
    select = getattr(_local, "select", None)
    if select is None:
        select = _local.select = json.loads(_run("json_serialize_sql($1::VARCHAR)", "SELECT 1"))["statements"][0][
            "node"
        ]
    return dict(select)


def _nesting(text: str) -> int:
    """Brackets open at once, strings included: only a bound for the parsers' recursion."""
    depth = deepest = 0
    for character in text:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth = max(0, depth - 1)
    return deepest


def _lower_first(message: str) -> str:
    return message[:1].lower() + message[1:]


def _run(call: str, argument: str) -> str:
    """One scalar function of DuckDB on one text, on an empty, locked connection of this thread."""
    import duckdb

    connection = getattr(_local, "connection", None)
    if connection is None:
        connection = _local.connection = duckdb.connect(
            ":memory:",
            config={"threads": 1, "enable_external_access": "false", "lock_configuration": "true"},
        )
    try:
        row = connection.execute(f"SELECT {call}", [argument]).fetchone()
    except duckdb.Error:
        raise ExpressionInvalid("policy.expression", "not SQL that DuckDB can read") from None
    return str(row[0]) if row else ""
