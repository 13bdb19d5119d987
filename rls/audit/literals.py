"""SQL text → the same text without its literals and comments, for records that must not hold what callers typed.

Takes any text, valid or not; returns one in which strings and numbers are `?`. Owns that nothing between quotes
survives: what is not closed is dropped to the end, and where DuckDB's rules leave room the longer reading is taken.
"""

from __future__ import annotations

import re

__all__ = ["without_literals"]

_TOKEN = re.compile(
    r"""(?P<line>--[^\n]*)
      | (?P<block>/\*)
      | (?P<escape>[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z))
      | (?P<string>(?:\b[bBxX])?'(?:[^']|'')*(?:'|\Z))
      | (?P<dollar>\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z))
      | (?P<quoted>"(?:[^"]|"")*"|"(?:[^"]|"")*\Z)
      | (?P<parameter>\$\w+)
      | (?P<word>[^\W\d][\w$]*)
      | (?P<number>(?:\d|\.\d)[\w.]*(?:(?<=[eE])[+-]\d[\w]*)?)
      | (?P<other>\s+|.)""",
    re.VERBOSE | re.DOTALL,
)
_BLOCK = re.compile(r"/\*|\*/")


def without_literals(sql: str) -> str:
    """The text with `?` for literals and a space for comments; names, parameters and layout stay.

    >>> without_literals("SELECT 'it''s', 1.5e-3, $$x$$ /* 7 */ FROM t1 WHERE \\"a 1\\" = $p")
    'SELECT ?, ?, ?   FROM t1 WHERE "a 1" = $p'
    """
    parts: list[str] = []
    at = 0
    while at < len(sql):
        found = _TOKEN.match(sql, at)
        assert found is not None  # noqa: S101 - the last alternative takes anything
        at = found.end()
        match found.lastgroup:
            case "line":
                parts.append(" ")
            case "block":
                parts.append(" ")
                at = _comment_end(sql, at)
            case "escape" | "string" | "dollar" | "tag" | "number":
                parts.append("?")
            case "quoted":
                # A name that is not closed may be a string that its author closed wrongly.
                parts.append(found[0] if len(found[0]) > 1 and found[0].endswith('"') else "?")
            case _:
                parts.append(found[0])
    return "".join(parts)


def _comment_end(sql: str, at: int) -> int:
    """Comments nest in DuckDB; one that is not closed goes to the end."""
    depth = 1
    for found in _BLOCK.finditer(sql, at):
        depth += 1 if found[0] == "/*" else -1
        if not depth:
            return found.end()
    return len(sql)
