"""DuckDB's own parser for policy text: text → tree, tree → text, and where comments stand. Nothing is bound or run.

Policies are read by the parser that later runs them, and by no other: what an author wrote, what the reviewed table
of functions is asked about and what the guard says are then one tree. (sqlglot reads 19 of 472 DuckDB expressions
differently: `js->'a' = '1'`, `(1,)`, `x->'a.b'`.) Source positions in a tree count bytes of the UTF-8 text.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

from rls.forks import before_fork, never_closed_in_child

__all__ = [
    "ExpressionInvalid", "Tree", "bare", "character_offset", "read_select", "read_selects", "unwanted_token",
    "write_expression", "write_expressions",
]  # fmt: skip

Tree = dict[str, Any]
_Found = TypeVar("_Found")

PREFIX: Final = "SELECT "
MAX_TEXT: Final = 20_000
MAX_NESTING: Final = 200
# White space to DuckDB and parts of a name to most readers (and other parsers): a text must not look like another.
INVISIBLE: Final = frozenset("\u200b\u2060\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ODD: Final = re.compile(f"[{''.join(sorted(INVISIBLE))}\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
_HOW_WRITTEN: Final = frozenset(("query_location", "query_location_length", "is_operator"))
# A call costs what reading ten short texts does, so many are read at once; a tree takes some 50 times its text.
BATCH_CHARACTERS: Final = 200_000

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
    return _only(read_selects([text]))


def read_selects(texts: Sequence[str]) -> list[Tree | ExpressionInvalid]:
    """Like `read_select` for many texts, in their order; what it would raise stands in the place of the tree."""
    refused = [_refused(text) for text in texts]
    trees = _run_all("json_serialize_sql(x)", [PREFIX + t for t, r in zip(texts, refused, strict=True) if r is None])
    return [_select_of(next(trees), text) if r is None else r for text, r in zip(texts, refused, strict=True)]


def write_expression(tree: Tree) -> str:
    """DuckDB's text of an expression tree; comments and the author's spacing are gone, the meaning is not.

    Raises ExpressionInvalid `policy.unstable` where DuckDB would read its own text differently.
    """
    return _only(write_expressions([tree]))


def write_expressions(trees: Sequence[Tree]) -> list[str | ExpressionInvalid]:
    """Like `write_expression` for many trees, in their order; what it would raise stands in the place of the text."""
    before, after = _around_expression()
    statements = [before + json.dumps(tree) + after for tree in trees]
    texts = [text and text.removeprefix(PREFIX) for text in _run_all("json_deserialize_sql(x::JSON)", statements)]
    again = iter(read_selects([text for text in texts if text is not None]))
    found: list[str | ExpressionInvalid] = []
    for tree, text in zip(trees, texts, strict=True):
        if text is None:
            found.append(_not_sql())
            continue
        select = next(again)
        if isinstance(select, ExpressionInvalid):
            found.append(select)
        elif len(select["select_list"]) != 1 or not _mean_the_same(select["select_list"][0], tree):
            found.append(_unstable())
        else:
            found.append(text)
    return found


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
    if odd := _ODD.search(text):
        raise ExpressionInvalid(
            "policy.character",
            f"invisible character U+{ord(odd[0]):04X}",
            offset=odd.start(),
            hint="remove it; in a string write `chr(…)`",
        )


def _mean_the_same(one: Any, other: Any) -> bool:
    """Whether two trees differ in positions only, and in `is_operator`, which says how a function was spelled."""
    if one.__class__ is not other.__class__:
        return False
    if one.__class__ is dict:
        return all(
            key in _HOW_WRITTEN or (key in one and key in other and _mean_the_same(one[key], other[key]))
            for key in one.keys() | other.keys()
        )
    if one.__class__ is list:
        return len(one) == len(other) and all(map(_mean_the_same, one, other))
    return bool(one == other)


def _select_of(serialized: str | None, text: str) -> Tree | ExpressionInvalid:
    """What DuckDB said of `SELECT <text>`."""
    if serialized is None:
        return _not_sql()
    try:
        result = json.loads(serialized)
    except (RecursionError, ValueError):
        return ExpressionInvalid("policy.expression", "expression is nested too deep", hint="split it")
    if result["error"]:
        position = str(result.get("position", ""))
        offset = character_offset(text, int(position)) if position.isdigit() else 0
        message = " ".join(str(result.get("error_message", "")).split()).replace('"', "`") or "not SQL"
        if result.get("error_type") != "parser":
            message = "not a SELECT expression"
        return ExpressionInvalid("policy.expression", _lower_first(message)[:300], offset=offset)
    nodes = [statement["node"] for statement in result["statements"]]
    if len(nodes) != 1:
        return ExpressionInvalid("policy.one_expression", "one SQL expression is wanted, not statements")
    return dict(nodes[0])


def _refused(text: str) -> ExpressionInvalid | None:
    try:
        refuse_odd_characters(text)
    except ExpressionInvalid as error:
        return error
    if len(text) > MAX_TEXT or _too_deep(text):
        return ExpressionInvalid("policy.expression", "expression is too long or nested too deep", hint="split it")
    return None


def _not_sql() -> ExpressionInvalid:
    return ExpressionInvalid("policy.expression", "not SQL that DuckDB can read")


def _unstable() -> ExpressionInvalid:
    return ExpressionInvalid(
        "policy.unstable",
        "this expression cannot be written into a guard unchanged",
        offset=0,
        hint="write it with functions: `list_filter(…)` for a list comprehension",
    )


def _only(found: list[_Found | ExpressionInvalid]) -> _Found:
    if isinstance(found[0], ExpressionInvalid):
        raise found[0]
    return found[0]


def _around_expression() -> tuple[str, str]:
    """What stands before and after an expression in the JSON of `SELECT <expression>`, as DuckDB writes it."""
    around = getattr(_local, "around", None)
    if around is None:
        select = read_select("1")
        statement = {"node": {**select, "select_list": ["<expression>"]}, "named_param_map": []}
        whole = json.dumps({"error": False, "statements": [statement]})
        before, _, after = whole.partition(json.dumps("<expression>"))
        around = _local.around = before, after
    return around


def _too_deep(text: str) -> bool:
    """Whether too many brackets are open at once, strings included: only a bound for the parsers' recursion."""
    if sum(map(text.count, "([{")) <= MAX_NESTING:
        return False
    depth = deepest = 0
    for character in text:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth = max(0, depth - 1)
    return deepest > MAX_NESTING


def _lower_first(message: str) -> str:
    return message[:1].lower() + message[1:]


def _run_all(call: str, arguments: Sequence[str]) -> Iterator[str | None]:
    """One scalar function of DuckDB on many texts `x`; None for a text on which it fails."""
    start = size = 0
    for end, argument in enumerate(arguments, start=1):
        size += len(argument)
        if size >= BATCH_CHARACTERS or end == len(arguments):
            yield from _run(call, list(arguments[start:end]))
            start, size = end, 0


def _run(call: str, arguments: list[str]) -> list[str | None]:
    """On an empty, locked connection of this thread."""
    import duckdb

    connection = getattr(_local, "connection", None)
    if connection is None:
        config: dict[str, Any] = {"threads": 1, "enable_external_access": "false", "lock_configuration": "true"}
        connection = _local.connection = never_closed_in_child(duckdb.connect(":memory:", config=config))
    rows = "SELECT unnest($1::VARCHAR[]) AS x, generate_subscripts($1::VARCHAR[], 1) AS i"
    try:
        found = connection.execute(f"SELECT {call} FROM ({rows}) ORDER BY i", [arguments]).fetchall()
    except duckdb.Error:
        # One text that it cannot take fails the call.
        return [None] if len(arguments) == 1 else [one for text in arguments for one in _run(call, [text])]
    return [None if value is None else str(value) for (value,) in found]


@before_fork
def _close() -> None:
    connection = getattr(_local, "connection", None)
    if connection is not None:
        connection.close()
        del _local.connection
