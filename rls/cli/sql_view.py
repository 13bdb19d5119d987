"""A query and its splices → rows of marked-up text, before and after beside each other. It knows of no terminal:
`render` gives the marks their colours.

Owns that what is shown is what runs: the caller's text as it is, each guard's text with line breaks added where its
clauses begin (outside quotes), and nothing else changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rls.cli.cells import cells
from rls.rewrite.guarded import Splice

__all__ = ["Mark", "Row", "Span", "lay_out_guard", "mark_sql", "side_by_side", "wrap"]

Mark = Literal["text", "keyword", "string", "number", "comment", "replaced", "guard", "guard_keyword", "parameter"]


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text and what it is."""

    text: str
    mark: Mark = "text"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the caller's text (`line` from 1; several where a replacement spans them) and what became of it."""

    line: int
    before: tuple[Span, ...]
    after: tuple[Span, ...]


_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)
      | (?P<string>'(?:[^']|'')*'|\$\$.*?\$\$)
      | (?P<quoted>"(?:[^"]|"")*")
      | (?P<parameter>\$[A-Za-z_]\w*)
      | (?P<word>[^\W\d]\w*)
      | (?P<number>\d[\w.]*)
      | (?P<other>\s+|.)""",
    re.VERBOSE | re.DOTALL,
)

# For colour only: a word that is missing here is shown like a name.
_KEYWORD_TEXT = """
    ALL AND ANTI ANY AS ASC ASOF BETWEEN BY CASE CAST CROSS CUBE DESC DESCRIBE DISTINCT ELSE END EXCEPT EXCLUDE EXISTS
    FALSE FILTER FROM FULL GROUP GROUPING HAVING ILIKE IN INNER INTERSECT INTERVAL IS JOIN LATERAL LEFT LIKE LIMIT
    MATERIALIZED NATURAL NOT NULL NULLS OFFSET ON OR ORDER OUTER OVER PARTITION PIVOT POSITIONAL QUALIFY RECURSIVE
    RENAME REPLACE RIGHT ROLLUP ROWS SAMPLE SELECT SEMI SETS SUMMARIZE TABLE THEN TRUE UNION UNPIVOT USING VALUES WHEN
    WHERE WINDOW WITH"""
_KEYWORDS = frozenset(_KEYWORD_TEXT.split())

# Words of a guard that begin a line.
_CLAUSES = frozenset(("EXCLUDE", "REPLACE", "FROM", "WHERE", "OFFSET", "AND", "OR", "UNION"))


def mark_sql(text: str) -> tuple[Span, ...]:
    """SQL text in spans that make it up, for colouring.

    >>> [(s.text, s.mark) for s in mark_sql("SELECT 'a'")]
    [('SELECT', 'keyword'), (' ', 'text'), ("'a'", 'string')]
    """
    spans: list[Span] = []
    for found in _TOKEN.finditer(text):
        word = found[0]
        match found.lastgroup:
            case "comment" | "string" | "number" | "parameter" as kind:
                spans.append(Span(word, kind))
            case "word" if word.upper() in _KEYWORDS:
                spans.append(Span(word, "keyword"))
            case _ if spans and spans[-1].mark == "text":
                spans[-1] = Span(spans[-1].text + word)
            case _:
                spans.append(Span(word))
    return tuple(spans)


def lay_out_guard(text: str) -> tuple[Span, ...]:
    """A guard's text with a line break before each of its clauses, indented by how deep it stands in parentheses.

    >>> print("".join(s.text for s in lay_out_guard('(SELECT * FROM "t" WHERE ("a" = 1) AND (b) OFFSET 0) AS "t"')))
    (SELECT *
     FROM "t"
     WHERE ("a" = 1)
       AND (b)
     OFFSET 0) AS "t"
    """
    spans: list[Span] = []
    depth = 0
    for found in _TOKEN.finditer(text):
        word, kind = found[0], found.lastgroup
        depth += {"(": 1, ")": -1}.get(word, 0) if kind == "other" else 0
        if kind == "word" and word in _CLAUSES and spans and not spans[-1].text.endswith("("):
            extra = 2 if word in ("AND", "OR", "EXCLUDE", "REPLACE") else 0
            spans[-1] = Span(spans[-1].text.rstrip(), spans[-1].mark)
            spans.append(Span("\n" + " " * (2 * depth - 1 + extra), "guard"))
        match kind:
            case "parameter" | "string":
                spans.append(Span(word, kind))
            case "word" if word in _KEYWORDS:
                spans.append(Span(word, "guard_keyword"))
            case _:
                spans.append(Span(word, "guard"))
    return tuple(s for s in spans if s.text)


def side_by_side(text: str, splices: Iterable[Splice]) -> tuple[Row, ...]:
    """The caller's text and the final text, row by row; a row ends at a line's end that no replacement spans."""
    rows: list[Row] = []
    before: list[Span] = []
    after: list[Span] = []
    line = first = 1
    at = 0

    def close() -> None:
        nonlocal first
        rows.append(Row(first, tuple(before), tuple(after)))
        before.clear()
        after.clear()
        first = line

    def copy(piece: str) -> None:
        nonlocal line
        for number, part in enumerate(piece.split("\n")):
            if number:
                line += 1
                close()
            before.extend(mark_sql(part))
            after.extend(mark_sql(part))

    for splice in splices:
        copy(text[at : splice.start])
        replaced = text[splice.start : splice.end]
        line += replaced.count("\n")
        if replaced:
            before.append(Span(replaced, "replaced"))
        after.extend(lay_out_guard(splice.text))
        at = splice.end
    copy(text[at:])
    line += 1
    close()
    return tuple(rows)


def wrap(spans: Sequence[Span], width: int) -> list[tuple[Span, ...]]:
    """The text in lines of at most `width` cells where it has places to break; carried-over parts are indented.

    >>> ["".join(s.text for s in line) for line in wrap(mark_sql("  SELECT first, second FROM t"), 16)]
    ['  SELECT first, ', '    second FROM ', '    t']
    """
    wrapped: list[tuple[Span, ...]] = []
    for line in _lines(spans):
        text = "".join(s.text for s in line)
        indent = min(len(text) - len(text.lstrip(" ")), width // 2) + 2
        start = used = 0
        for piece in _pieces(text, width - indent):
            if used + cells(piece.group().rstrip()) > width and piece.start() > start:
                wrapped.append(_cut(line, start, piece.start(), indent if start else 0))
                start, used = piece.start(), indent
            used += cells(piece.group())
        wrapped.append(_cut(line, start, len(text), indent if start else 0))
    return wrapped


def _lines(spans: Sequence[Span]) -> Iterator[list[Span]]:
    line: list[Span] = []
    for span in spans:
        for number, part in enumerate(span.text.split("\n")):
            if number:
                yield line
                line = []
            if part:
                line.append(Span(part, span.mark))
    yield line


def _pieces(text: str, room: int) -> Iterator[re.Match[str]]:
    """What stays together on a line: leading spaces with the first word, then words with the spaces after them. A word
    that no line has room for may break before a dot and after an opening parenthesis."""
    word = re.compile(r"\s*\S+\s*")
    part = re.compile(r"\s*(?:[.(]?[^\s.(]+|[.(])\(*\s*")
    for found in word.finditer(text):
        if cells(found.group().strip()) <= room:
            yield found
        else:
            yield from part.finditer(text, found.start(), found.end())


def _cut(line: Sequence[Span], start: int, end: int, indent: int) -> tuple[Span, ...]:
    """Characters `start:end` of a line, indented."""
    cut = [Span(" " * indent)] if indent else []
    at = 0
    for span in line:
        text = span.text[max(0, start - at) : max(0, end - at)]
        if text:
            cut.append(Span(text, span.mark))
        at += len(span.text)
    return tuple(cut)
