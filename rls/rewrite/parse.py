"""SQL text → one parsed statement with its tokens, or a refusal that points into the text.

Takes the caller's text, returns a `Parsed`; owns the first half of invariant (closed): size, characters, nesting and
statement kinds are allowed by name before anything looks at meaning.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Token, TokenType

from rls.errors import Position, QueryRefused
from rls.rewrite.nesting import check_nesting, levels
from rls.rewrite.wrap import wrap

__all__ = [
    "MAX_TEXT",
    "STATEMENTS",
    "Parsed",
    "parse",
    "quietly",
    "refuse_statement",
    "tokenize",
]

MAX_TEXT = 1_000_000  # characters
_SHORT = 10_000  # characters of a text whose tokens may stay in memory until the next text comes

_DIALECT = sqlglot.Dialect.get_or_raise("duckdb")

# Characters one parser reads as white space and the other as part of a name (or as the text's end). DuckDB skips the
# zero-width ones, sqlglot makes them identifiers: `FROM <U+200B>orders` read `orders` unguarded in every peer.
_ODD = re.compile(
    "[\x01-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\xa0\xad\u0600-\u0605\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f"
    "\u3000\ufeff\ufff0-\uffff\U000e0000-\U000e0fff]"
)
# Roots of a statement. A root that is not here is refused, whatever it is.
_ROOTS = (exp.Select, exp.SetOperation, exp.Subquery, exp.Values, exp.Pivot, exp.Summarize, exp.Describe)
_FIRST_WORDS = {
    "SELECT", "FROM", "WITH", "VALUES", "TABLE", "SUMMARIZE", "DESCRIBE", "DESC",
    "PIVOT", "PIVOT_WIDER", "PIVOT_LONGER", "UNPIVOT",
}  # fmt: skip
# Statements that hide inside others (`WITH x AS (DELETE …) SELECT …` runs on DuckDB 2.0). The engine's own parser
# checks the same on the final text from an allow-list; this list only gives the better message and position.
STATEMENTS = (exp.DML, exp.DDL, exp.Command, exp.Into, exp.Lock, exp.Set, exp.Use, exp.Copy, exp.Block)


@dataclass
class Parsed:
    """A statement: the text as given, its tokens (sqlglot's, `end` inclusive), the kind of each, its tree."""

    text: str
    tokens: list[Token]
    kinds: list[TokenType]
    tree: exp.Expr

    @cached_property
    def nesting(self) -> int:
        """How many levels it is nested."""
        return levels(self.kinds)

    @cached_property
    def token_at(self) -> dict[int, int]:
        """Start offset of each token → its index."""
        return {t.start: i for i, t in enumerate(self.tokens)}

    def position(self, start: int, end: int | None = None) -> Position:
        """Position of `start` up to and without `end`."""
        return Position.at(self.text, start, max(1, (end or start + 1) - start))


def parse(text: Any) -> Parsed:
    """Parse one statement; raises `QueryRefused` (`query.empty`, `.too_long`, `.character`, `.syntax`, `.statements`,
    `.too_nested`, `.statement_kind`)."""
    if not isinstance(text, str):
        raise QueryRefused("query.not_text", "the query is not text", hint="pass one SQL statement as a string")
    if len(text) > MAX_TEXT:
        raise QueryRefused(
            "query.too_long", f"the query has {len(text)} characters, {MAX_TEXT} are allowed", hint="shorten it"
        )
    _check_characters(text)
    try:
        tokens = _tokens_of(text)
    except (SqlglotError, RecursionError) as error:
        raise _syntax(text, error) from None
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        tokens.pop()
    if not tokens:
        raise QueryRefused("query.empty", "the query is empty", hint="pass one SELECT statement")
    _check_odd_characters(text, tokens)
    kinds = [token.token_type for token in tokens]
    check_nesting(text, tokens, kinds)
    distinct = frozenset(kinds)
    _check_parameters(text, tokens, distinct)
    if TokenType.SEMICOLON in distinct:
        raise QueryRefused(
            "query.statements",
            "the query holds more than one statement",
            position=Position.at(text, tokens[kinds.index(TokenType.SEMICOLON)].start),
            hint="send one statement at a time",
        )
    first = next((t for t in tokens if t.token_type != TokenType.L_PAREN), tokens[0])
    if first.text.upper() not in _FIRST_WORDS:
        raise refuse_statement(text, first.start, first.text)
    try:
        with quietly():
            trees = _DIALECT.parser(error_level=sqlglot.ErrorLevel.IMMEDIATE).parse(wrap(tokens, distinct, text), text)
    except (SqlglotError, RecursionError, ValueError, AttributeError, TypeError, KeyError, IndexError) as error:
        # The parser's own slips on hostile text (a missing attribute, a failed index) are syntax errors to the caller.
        raise _syntax(text, error) from None
    tree = trees[0] if len(trees) == 1 else None
    if tree is None:
        raise QueryRefused("query.statements", "the query holds more than one statement", hint="send one at a time")
    if not isinstance(tree, _ROOTS):
        raise refuse_statement(text, tokens[0].start, tokens[0].text)
    return Parsed(text, tokens, kinds, tree)


def tokenize(text: str) -> list[Token] | None:
    """The tokens of a text that `parse` would not refuse for its characters; None where it might."""
    if len(text) > MAX_TEXT:
        return None
    try:
        _check_characters(text)
        tokens = _tokens_of(text)
        _check_odd_characters(text, tokens)
    except (SqlglotError, RecursionError, QueryRefused):
        return None
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        tokens.pop()
    return tokens


def refuse_statement(text: str, start: int, word: str) -> QueryRefused:
    """The refusal of a statement kind, named by its first word."""
    return QueryRefused(
        "query.statement_kind",
        f"`{word[:30].upper()}` is not a query",
        position=Position.at(text, start, len(word)),
        hint="only SELECT, FROM, WITH, VALUES, PIVOT, UNPIVOT, SUMMARIZE and DESCRIBE run here",
    )


class _Quiet(threading.local, logging.Filter):
    """sqlglot logs the whole text of a statement it does not know; a caller's text is not for the host's log."""

    now = False

    def __init__(self) -> None:
        logging.Filter.__init__(self)

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        return not self.now


_quiet = _Quiet()
logging.getLogger("sqlglot").addFilter(_quiet)


@contextmanager
def quietly() -> Iterator[None]:
    """Keep sqlglot from logging in this thread."""
    _quiet.now = True
    try:
        yield
    finally:
        _quiet.now = False


class _Tokenizer(threading.local):
    """One for each thread: to make one takes a quarter of the time that a short text's tokens take."""

    def __init__(self) -> None:
        self.of_thread = _DIALECT.tokenizer()


_tokenizer = _Tokenizer()


def _tokens_of(text: str) -> list[Token]:
    tokenizer = _tokenizer.of_thread if len(text) <= _SHORT else _DIALECT.tokenizer()
    found: list[Token] = tokenizer.tokenize(text)
    return found


def _check_characters(text: str) -> None:
    nul = text.find("\0")
    if nul >= 0:
        raise QueryRefused("query.character", "the query holds a NUL character", position=Position.at(text, nul))
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise QueryRefused(
            "query.character", "the query holds half of a surrogate pair", position=Position.at(text, error.start)
        ) from None


def _check_odd_characters(text: str, tokens: list[Token]) -> None:
    """Invisible and control characters may stand inside string literals only."""
    odd = _ODD.search(text)
    if odd is None:
        return
    spans = [(t.start, t.end) for t in tokens if t.token_type == TokenType.STRING and text[t.start] == "'"]
    i = 0
    while odd is not None:
        while i < len(spans) and spans[i][1] < odd.start():
            i += 1
        if i == len(spans) or not spans[i][0] < odd.start() < spans[i][1]:
            raise QueryRefused(
                "query.character",
                f"the query holds the invisible character U+{ord(odd.group()):04X} outside a string",
                position=Position.at(text, odd.start()),
                hint="remove it",
            )
        odd = _ODD.search(text, odd.end())


def _check_parameters(text: str, tokens: list[Token], kinds: Collection[TokenType]) -> None:
    """DuckDB cannot mix positional parameters with named ones, and the guards' parameters are named."""
    if TokenType.PLACEHOLDER not in kinds and TokenType.PARAMETER not in kinds:
        return
    before = None
    for token in tokens:
        kind = token.token_type
        if kind == TokenType.PLACEHOLDER or (kind == TokenType.NUMBER and before == TokenType.PARAMETER):
            raise QueryRefused(
                "query.positional_parameter",
                "parameters must be named",
                position=Position.at(text, token.start),
                hint="write `$name` and pass a mapping",
            )
        before = kind


def _syntax(text: str, error: Exception) -> QueryRefused:
    place = None
    details = getattr(error, "errors", None)
    if details and details[0].get("line"):
        line, column = details[0]["line"], details[0]["col"] or 1
        highlight = details[0].get("highlight") or ""
        start = sum(len(part) + 1 for part in text.split("\n")[: line - 1]) + max(0, column - len(highlight))
        place = Position.at(text, start, max(1, len(highlight)))
    return QueryRefused(
        "query.syntax",
        "the query does not parse",
        position=place,
        hint="check the syntax near there" if place else "check brackets, quotes and commas",
        detail=str(error),
    )
