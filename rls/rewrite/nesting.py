"""Tokens of a text → how many levels it is nested, or a refusal of what the parsers could not bear.

Both parsers recurse on brackets, CASE and unary operators inside each other, and sqlglot takes quadratic time over long
runs of subscripts (3,000 of `x[1][1]…` took 26 s) and of dots (`a.a.a…`). Owns the bound on all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlglot.tokens import Token, TokenType

from rls.errors import Position, QueryRefused

__all__ = ["CLOSING", "MAX_NESTING", "OPENING", "check_nesting", "levels"]

MAX_NESTING: Final = 150

OPENING: Final = frozenset((TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE))
CLOSING: Final = frozenset((TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE))
_UNARY: Final = frozenset((TokenType.NOT, TokenType.DASH, TokenType.PLUS, TokenType.TILDE, TokenType.INTERVAL))
# Each adds one level at most.
_DEEPER: Final = OPENING | _UNARY | {TokenType.CASE, TokenType.DOT}
_COUNTED: Final = _DEEPER | CLOSING | {TokenType.END}


def check_nesting(text: str, tokens: Sequence[Token], kinds: Sequence[TokenType]) -> None:
    """Raise `QueryRefused` (`query.too_nested`) where the text is nested too deeply; `kinds` are the tokens' types."""
    # Most texts are too short for that.
    if sum(map(_DEEPER.__contains__, kinds)) <= MAX_NESTING:
        return
    _, place = _deepest(kinds)
    if place is not None:
        raise QueryRefused(
            "query.too_nested",
            f"the query is nested deeper than {MAX_NESTING} levels",
            position=Position.at(text, tokens[place].start),
            hint="use WITH to name inner parts",
        )


def levels(kinds: Sequence[TokenType]) -> int:
    """The levels of nesting of a text that `check_nesting` let pass."""
    return _deepest(kinds)[0]


def _deepest(kinds: Sequence[TokenType]) -> tuple[int, int | None]:
    """The levels, and the index of the first token beyond those that are allowed."""
    deepest = depth = run = cases = subscripts = dots = 0
    last_unary = last_bracket = last_dot = -2
    for index, kind in enumerate(kinds):
        if kind not in _COUNTED:
            continue
        if kind in _UNARY:
            run = run + 1 if last_unary == index - 1 else 1
            last_unary = index
        else:
            run = 0
            if kind in OPENING:
                depth += 1
                subscripts += kind == TokenType.L_BRACKET and last_bracket == index - 1
            elif kind in CLOSING:
                depth -= 1
                if kind == TokenType.R_BRACKET:
                    last_bracket = index
            elif kind == TokenType.DOT:
                # A name or nothing stands between two dots of one chain.
                dots = dots + 1 if last_dot >= index - 2 else 1
                last_dot = index
            elif kind == TokenType.CASE:
                cases += 1
            else:
                cases = max(0, cases - 1)
        deepest = max(deepest, depth + cases + run, subscripts, dots)
        if deepest > MAX_NESTING:
            return deepest, index
    return deepest, None
