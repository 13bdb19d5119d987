"""A text's tokens → what all texts have in common that differ from it in literals, white space and comments only.

Takes token lists; returns a shape to compare texts by, and one spelling for all texts of a shape. Owns that two texts
of one shape are the same tokens to DuckDB, too, where the two tokenizers see white space differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlglot.tokens import Token, TokenType

__all__ = ["LITERALS", "literal_positions", "plain_text", "shape_of_tokens"]

LITERALS: Final = frozenset((TokenType.NUMBER, TokenType.STRING))
# DuckDB makes one token of several of these, as far as it can.
_OPERATORS: Final = frozenset("-+*/<>=~!@#%^&|`?")
# What ends a token wherever it stands: between other characters, white space makes a difference.
_SEPARATES: Final = frozenset(c for c in map(chr, range(128)) if not c.isalnum() and c not in "_$'\".")


def shape_of_tokens(text: str, tokens: Sequence[Token], literals: Sequence[int]) -> object:
    """What is left of a text when its literals (`literal_positions`) and its white space are taken away."""
    kinds = [token.token_type for token in tokens]
    words = [token.text for token in tokens]
    for index in literals:
        words[index] = ""
    return tuple(kinds), "\0".join(words), tuple(_joined(text, tokens)), tuple(_gaps(text, tokens, literals).values())


def plain_text(text: str, tokens: Sequence[Token]) -> str:
    """The text in the one spelling that it shares with all texts of its shape: one blank between tokens,
    no comments; the literals are its own.

    >>> from rls.rewrite.parse import tokenize
    >>> text = "SELECT  count(*) -- all\\nFROM t WHERE a=7"
    >>> plain_text(text, tokenize(text))
    'SELECT count ( * ) FROM t WHERE a = 7'
    """
    joined = set(_joined(text, tokens))
    gaps = _gaps(text, tokens, literal_positions(tokens))
    parts = []
    for index, token in enumerate(tokens):
        gap = gaps.get(index, False)
        # Between two strings that are not one, there is nothing but what keeps them apart.
        between = gap if isinstance(gap, str) else "\n" if gap else " "
        spelled = text[token.start : token.end + 1]
        # `ORDER   BY` is one token.
        word = token.text if " ".join(spelled.upper().split()) == token.text else spelled
        parts += ["" if index - 1 in joined or not index else between, word]
    return "".join(parts)


def _joined(text: str, tokens: Sequence[Token]) -> list[int]:
    """Indexes of tokens that stand close to the next one where that makes a difference."""
    starts, ends = [token.start for token in tokens], [token.end for token in tokens]
    # `x'41'`, `0x1F` and `%-` are tokens of their own to DuckDB, `x '41'` and `% -` are not.
    return [
        index
        for index, (start, end) in enumerate(zip(starts[1:], ends, strict=False))
        if start == end + 1
        and (
            (text[start] not in _SEPARATES and text[end] not in _SEPARATES)
            or (text[start] in _OPERATORS and text[end] in _OPERATORS)
        )
    ]


def _gaps(text: str, tokens: Sequence[Token], literals: Sequence[int]) -> dict[int, str | bool]:
    """Index of a string that follows another one → what stands between them, or whether a line ends there if it is
    white space: two strings are one, if a line ends between them (not in a comment); the first may be `E'…'`."""
    return {
        index: gap if (gap := text[tokens[index - 1].end + 1 : tokens[index].start]).strip(" \t\n") else "\n" in gap
        for index in literals
        if index and tokens[index].token_type is TokenType.STRING and text[tokens[index - 1].end] == "'"
    }


def literal_positions(tokens: Sequence[Token]) -> list[int]:
    """Indexes of the tokens that `shape_of_tokens` takes away."""
    return [i for i, token in enumerate(tokens) if token.token_type in LITERALS]
