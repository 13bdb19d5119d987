"""A query's text → texts like it: new ones that no cache has seen, near misses that differ in literals and spaces."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import count, pairwise

import sqlglot
from sqlglot.tokens import TokenType

__all__ = ["NearMisses", "copies", "new_spelling", "new_text"]

_COMPARISONS = {TokenType.EQ, TokenType.NEQ, TokenType.LT, TokenType.LTE, TokenType.GT, TokenType.GTE}
_numbers = count(1)


def new_text(sql: str) -> str:
    """The query under a name that was not used before: another shape for every kind of cache."""
    return f"SELECT * FROM (\n{sql}\n) AS cold_{next(_numbers)}"


def new_spelling(sql: str) -> str:
    """The query with a definition in front that nobody uses: another shape for every kind of cache, and yet nothing
    around the query that could have it judged otherwise, as a LIMIT is that is no longer the statement's own.

    >>> new_spelling("SELECT 1") == new_spelling("SELECT 1"), new_spelling("with a AS (SELECT 1) FROM a")[-24:]
    (False, ', a AS (SELECT 1) FROM a')
    """
    definition = f"WITH cold_{next(_numbers)} AS (SELECT 1)"
    return f"{definition},{sql[len('WITH') :]}" if sql[:5].upper() == "WITH " else f"{definition}\n{sql}"


def copies(text: str, number: int) -> list[str]:
    """Texts that are equal and new, as each request brings its own: Python keeps the hash of one that was seen."""
    encoded = text.encode()
    return [encoded.decode() for _ in range(number)]


class NearMisses:
    """Each call gives the text with other literals on the right of its comparisons, and other white space. What is a
    day stays one.

    >>> near = NearMisses("SELECT a FROM t WHERE b = 7 AND c <> 'x' AND d < '2024-01-31' LIMIT 3")
    >>> near()
    "SELECT a FROM t WHERE b = 8 AND c <> 'x1' AND d < '2024-02-01' LIMIT 3\\t"
    """

    def __init__(self, sql: str) -> None:
        self._parts: list[str] = []
        self._literals: list[str] = []
        self._number = 0
        end = 0
        tokens = sqlglot.tokenize(sql, dialect="duckdb")
        for before, token in pairwise(tokens):
            whole = token.token_type is TokenType.NUMBER and token.text.isdecimal()
            if before.token_type in _COMPARISONS and (whole or token.token_type is TokenType.STRING):
                self._parts.append(sql[end : token.start])
                self._literals.append(sql[token.start : token.end + 1])
                end = token.end + 1
        self._parts.append(sql[end:])

    @property
    def has_literals(self) -> bool:
        """Whether they differ in more than white space."""
        return bool(self._literals)

    def __call__(self) -> str:
        self._number += 1
        texts = [self._parts[0]]
        for literal, part in zip(self._literals, self._parts[1:], strict=True):
            texts += (self._other(literal), part)
        # The number again, in two kinds of white space: a text without literals is another one each time, too.
        return "".join(texts) + "".join(" \t"[int(digit)] for digit in f"{self._number:b}")

    def _other(self, literal: str) -> str:
        if not literal.endswith("'"):
            return str(int(literal) + self._number)
        try:
            day = date.fromisoformat(literal[1:-1])
        except ValueError:
            return f"{literal[:-1]}{self._number}'"
        return f"'{day + timedelta(self._number)}'"
