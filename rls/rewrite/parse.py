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

__all__ = [
    "MAX_NESTING",
    "MAX_TEXT",
    "Parsed",
    "clause_end",
    "is_statement",
    "parse",
    "quietly",
    "refuse_statement",
    "starts_statement",
    "tokenize",
]

MAX_TEXT = 1_000_000  # characters
MAX_NESTING = 150  # brackets, CASE and unary operators inside each other; both parsers recurse on them

_DIALECT = sqlglot.Dialect.get_or_raise("duckdb")

# Characters one parser reads as white space and the other as part of a name (or as the text's end). DuckDB skips the
# zero-width ones, sqlglot makes them identifiers: `FROM <U+200B>orders` read `orders` unguarded in every peer.
_ODD = re.compile(
    "[\x01-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\xa0\xad\u0600-\u0605\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f"
    "\u3000\ufeff\ufff0-\uffff\U000e0000-\U000e0fff]"
)
_OPEN, _CLOSE = (
    {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE},
    {
        TokenType.R_PAREN,
        TokenType.R_BRACKET,
        TokenType.R_BRACE,
    },
)
_AFTER_PIVOT = {TokenType.ORDER_BY, TokenType.LIMIT, TokenType.OFFSET}
_UNARY = {TokenType.NOT, TokenType.DASH, TokenType.PLUS, TokenType.TILDE, TokenType.INTERVAL}

# Roots of a statement. A root that is not here is refused, whatever it is.
_ROOTS = (exp.Select, exp.SetOperation, exp.Subquery, exp.Values, exp.Pivot, exp.Summarize, exp.Describe)
_FIRST_WORDS = {
    "SELECT", "FROM", "WITH", "VALUES", "TABLE", "SUMMARIZE", "DESCRIBE", "DESC",
    "PIVOT", "PIVOT_WIDER", "PIVOT_LONGER", "UNPIVOT",
}  # fmt: skip
# Statements that hide inside others (`WITH x AS (DELETE …) SELECT …` runs on DuckDB 2.0). The engine's own parser
# checks the same on the final text from an allow-list; this list only gives the better message and position.
_STATEMENTS = (exp.DML, exp.DDL, exp.Command, exp.Into, exp.Lock, exp.Set, exp.Use, exp.Copy, exp.Block)


@dataclass
class Parsed:
    """A statement: the text as given, its tokens (sqlglot's, `end` inclusive), its tree, and how deep it is nested."""

    text: str
    tokens: list[Token]
    tree: exp.Expr
    nesting: int = 0

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
        tokens = _DIALECT.tokenize(text)
    except (SqlglotError, RecursionError) as error:
        raise _syntax(text, error) from None
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        tokens.pop()
    if not tokens:
        raise QueryRefused("query.empty", "the query is empty", hint="pass one SELECT statement")
    _check_odd_characters(text, tokens)
    nesting = _check_tokens(text, tokens)
    for token in tokens:
        if token.token_type == TokenType.SEMICOLON:
            raise QueryRefused(
                "query.statements",
                "the query holds more than one statement",
                position=Position.at(text, token.start),
                hint="send one statement at a time",
            )
    first = next((t for t in tokens if t.token_type != TokenType.L_PAREN), tokens[0])
    if first.text.upper() not in _FIRST_WORDS:
        raise refuse_statement(text, first.start, first.text)
    try:
        with quietly():
            trees = _DIALECT.parser(error_level=sqlglot.ErrorLevel.IMMEDIATE).parse(_wrap_pivots(tokens), text)
    except (SqlglotError, RecursionError, ValueError, AttributeError, TypeError, KeyError, IndexError) as error:
        # The parser's own slips on hostile text (a missing attribute, a failed index) are syntax errors to the caller.
        raise _syntax(text, error) from None
    tree = trees[0] if len(trees) == 1 else None
    if tree is None:
        raise QueryRefused("query.statements", "the query holds more than one statement", hint="send one at a time")
    if not isinstance(tree, _ROOTS):
        raise refuse_statement(text, tokens[0].start, tokens[0].text)
    return Parsed(text, tokens, tree, nesting)


def tokenize(text: str) -> list[Token] | None:
    """The tokens of a text that `parse` would not refuse for its characters; None where it might."""
    if len(text) > MAX_TEXT:
        return None
    try:
        _check_characters(text)
        tokens: list[Token] = _DIALECT.tokenize(text)
        _check_odd_characters(text, tokens)
    except (SqlglotError, RecursionError, QueryRefused):
        return None
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        tokens.pop()
    return tokens


def is_statement(node: exp.Expr) -> bool:
    """Whether a node is a statement that must not stand in a query."""
    return isinstance(node, _STATEMENTS)


def refuse_statement(text: str, start: int, word: str) -> QueryRefused:
    """The refusal of a statement kind, named by its first word."""
    return QueryRefused(
        "query.statement_kind",
        f"`{word[:30].upper()}` is not a query",
        position=Position.at(text, start, len(word)),
        hint="only SELECT, FROM, WITH, VALUES, PIVOT, UNPIVOT, SUMMARIZE and DESCRIBE run here",
    )


def starts_statement(tokens: list[Token], i: int) -> bool:
    """Whether the PIVOT or UNPIVOT at `i` starts a statement, rather than following a relation in FROM."""
    if tokens[i].token_type not in (TokenType.PIVOT, TokenType.UNPIVOT):
        return False
    if i == 0 or tokens[i - 1].token_type == TokenType.L_PAREN:
        return True
    # `WITH x AS (…) PIVOT …`: the parenthesis closes a definition whose opening follows AS.
    return tokens[i - 1].token_type == TokenType.R_PAREN and _closes_definition(tokens, i - 1)


def _closes_definition(tokens: list[Token], i: int) -> bool:
    depth = 0
    for j in range(i, -1, -1):
        depth += (tokens[j].token_type in _CLOSE) - (tokens[j].token_type in _OPEN)
        if depth == 0:
            return j > 0 and (
                tokens[j - 1].token_type == TokenType.ALIAS or tokens[j - 1].text.upper() == "MATERIALIZED"
            )
    return False


def clause_end(tokens: list[Token], i: int, ends: Collection[TokenType]) -> int:
    """Index of the first token from `i` on, at the depth of `i`, that is one of `ends` or closes that depth."""
    depth = 0
    while i < len(tokens):
        kind = tokens[i].token_type
        if depth == 0 and (kind in ends or kind in _CLOSE):
            return i
        depth += (kind in _OPEN) - (kind in _CLOSE)
        i += 1
    return i


def _wrap_pivots(tokens: list[Token]) -> list[Token]:
    """Let sqlglot parse `PIVOT … ORDER BY … LIMIT …`, which it does not know, as a select from the bare PIVOT.

    Only the token list changes, not the text: real tokens keep their offsets and the added ones name nothing.
    """
    tokens = _wrap_values(tokens)
    starts = [i for i in range(len(tokens)) if starts_statement(tokens, i)]
    if not starts:
        return tokens
    before: dict[int, int] = {}
    after: dict[int, int] = {}
    for start in starts:
        end = clause_end(tokens, start, _AFTER_PIVOT)
        if end < len(tokens) and tokens[end].token_type in _AFTER_PIVOT:
            before[start] = before.get(start, 0) + 1
            after[end] = after.get(end, 0) + 1
    out: list[Token] = []
    for i, token in enumerate(tokens):
        out += [Token(TokenType.R_PAREN, ")")] * after.get(i, 0)
        if i in before:
            out += [
                Token(TokenType.SELECT, "SELECT"),
                Token(TokenType.STAR, "*"),
                Token(TokenType.FROM, "FROM"),
                Token(TokenType.L_PAREN, "("),
            ]
        out.append(token)
    return out


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


def _wrap_values(tokens: list[Token]) -> list[Token]:
    """`FROM (VALUES …) v, orders SELECT …` as `FROM (SELECT * FROM (VALUES …)) v, …`, which sqlglot knows."""
    out: list[Token] = []
    closing: set[int] = set()
    for i, token in enumerate(tokens):
        if i in closing:
            out.append(Token(TokenType.R_PAREN, ")"))
        out.append(token)
        if (
            token.token_type == TokenType.L_PAREN
            and i
            and tokens[i - 1].token_type == TokenType.FROM
            and i + 1 < len(tokens)
            and tokens[i + 1].token_type == TokenType.VALUES
        ):
            closing.add(clause_end(tokens, i + 1, ()))
            out += [
                Token(TokenType.SELECT, "SELECT"),
                Token(TokenType.STAR, "*"),
                Token(TokenType.FROM, "FROM"),
                Token(TokenType.L_PAREN, "("),
            ]
    return out


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


def _check_tokens(text: str, tokens: list[Token]) -> int:
    """Refuse what the parsers could not bear; return the levels of nesting."""
    deepest = depth = run = cases = subscripts = dots = 0
    previous = None
    for token in tokens:
        kind = token.token_type
        # DuckDB cannot mix positional parameters with named ones, and the guards' parameters are named.
        if kind == TokenType.PLACEHOLDER or (kind == TokenType.NUMBER and previous == TokenType.PARAMETER):
            raise QueryRefused(
                "query.positional_parameter",
                "parameters must be named",
                position=Position.at(text, token.start),
                hint="write `$name` and pass a mapping",
            )
        # `x[1][1]…` costs sqlglot quadratic time: 3,000 of them took 26 s.
        if kind == TokenType.L_BRACKET and previous == TokenType.R_BRACKET:
            subscripts += 1
        # `a.a.a…` costs it quadratic time too.
        if kind == TokenType.DOT:
            dots += 1
        elif previous != TokenType.DOT:
            dots = 0
        previous = kind
        if kind in _UNARY:
            run += 1
        else:
            run = 0
            if kind in _OPEN:
                depth += 1
            elif kind in _CLOSE:
                depth -= 1
            elif kind == TokenType.CASE:
                cases += 1
            elif kind == TokenType.END:
                cases = max(0, cases - 1)
        deepest = max(deepest, depth + cases + run, subscripts, dots)
        if deepest > MAX_NESTING:
            raise QueryRefused(
                "query.too_nested",
                f"the query is nested deeper than {MAX_NESTING} levels",
                position=Position.at(text, token.start),
                hint="use WITH to name inner parts",
            )
    return deepest


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
