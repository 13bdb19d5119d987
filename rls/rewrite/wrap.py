"""Tokens → tokens of the same text that sqlglot's parser knows: PIVOT statements, VALUES in FROM, `x'61'`.

Only the token list changes, not the text: real tokens keep their offsets and the added ones name nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from sqlglot.tokens import Token, TokenType

from rls.rewrite.nesting import CLOSING, OPENING

__all__ = ["clause_end", "spell_out", "starts_statement", "wrap"]

_BYTES: Final = {
    "x": (TokenType.HEX_STRING, re.compile("([0-9a-fA-F]{2})*")),
    "b": (TokenType.BIT_STRING, re.compile("[01]+")),
}
_MAYBE_BYTES: Final = re.compile("[xXbB]'")
_NAMES: Final = frozenset((TokenType.NUMBER, TokenType.VAR, TokenType.IDENTIFIER, TokenType.STRING, TokenType.DOT))
_PIVOTS: Final = frozenset((TokenType.PIVOT, TokenType.UNPIVOT))
_AFTER_PIVOT: Final = frozenset((TokenType.ORDER_BY, TokenType.LIMIT, TokenType.OFFSET))


def wrap(tokens: list[Token], kinds: Collection[TokenType], text: str) -> list[Token]:
    """`kinds` are the types of token that there are in `text`."""
    if _MAYBE_BYTES.search(text):
        tokens = _join_bytes(tokens)
    if TokenType.VALUES in kinds:
        tokens = _wrap_values(tokens)
    return tokens if _PIVOTS.isdisjoint(kinds) else _wrap_pivots(tokens)


def _join_bytes(tokens: list[Token]) -> list[Token]:
    """`x'61'` and `b'01'`, which to DuckDB are one literal each, as one token; what stands close to another name,
    number or string stays apart, and is a syntax error."""
    out: list[Token] = []
    for i, token in enumerate(tokens):
        before = out[-1] if out else None
        if (
            before is not None
            and token.token_type == TokenType.STRING
            and before.token_type == TokenType.VAR
            and before.end + 1 == token.start
            and token.end - token.start == len(token.text) + 1  # no `$$`, and no quote in it
            and (found := _BYTES.get(before.text.lower())) is not None
            and found[1].fullmatch(token.text)
            and not (len(out) > 1 and out[-2].end + 1 == before.start and out[-2].token_type in _NAMES)
            and not (i + 1 < len(tokens) and tokens[i + 1].token_type == TokenType.STRING)
        ):
            out[-1] = Token(found[0], token.text, token.line, token.col, before.start, token.end)
        else:
            out.append(token)
    return out


def starts_statement(tokens: list[Token], i: int) -> bool:
    """Whether the PIVOT or UNPIVOT at `i` starts a statement, rather than following a relation in FROM."""
    if tokens[i].token_type not in _PIVOTS:
        return False
    if i == 0 or tokens[i - 1].token_type == TokenType.L_PAREN:
        return True
    # `WITH x AS (…) PIVOT …`: the parenthesis closes a definition whose opening follows AS.
    return tokens[i - 1].token_type == TokenType.R_PAREN and _closes_definition(tokens, i - 1)


def spell_out(text: str, tokens: list[Token]) -> str:
    """The text with every PIVOT or UNPIVOT statement as a select from it: then DuckDB binds it wherever it stands, and
    sqlglot knows what follows it."""
    edits = []
    for start in (i for i in range(len(tokens)) if starts_statement(tokens, i)):
        end = clause_end(tokens, start, _AFTER_PIVOT)
        edits += [(tokens[start].start, 1, "SELECT * FROM ("), (tokens[end - 1].end + 1, 0, ")")]
    for offset, _, added in sorted(edits, reverse=True):
        text = text[:offset] + added + text[offset:]
    return text


def clause_end(tokens: list[Token], i: int, ends: Collection[TokenType]) -> int:
    """Index of the first token from `i` on, at the depth of `i`, that is one of `ends` or closes that depth."""
    depth = 0
    while i < len(tokens):
        kind = tokens[i].token_type
        if depth == 0 and (kind in ends or kind in CLOSING):
            return i
        depth += (kind in OPENING) - (kind in CLOSING)
        i += 1
    return i


def _closes_definition(tokens: list[Token], i: int) -> bool:
    depth = 0
    for j in range(i, -1, -1):
        depth += (tokens[j].token_type in CLOSING) - (tokens[j].token_type in OPENING)
        if depth == 0:
            return j > 0 and (
                tokens[j - 1].token_type == TokenType.ALIAS or tokens[j - 1].text.upper() == "MATERIALIZED"
            )
    return False


def _wrap_pivots(tokens: list[Token]) -> list[Token]:
    """`PIVOT … ORDER BY … LIMIT …`, which sqlglot does not know, as a select from the bare PIVOT."""
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
            out += _opening()
        out.append(token)
    return out


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
            out += _opening()
    return out


def _opening() -> list[Token]:
    return [
        Token(TokenType.SELECT, "SELECT"),
        Token(TokenType.STAR, "*"),
        Token(TokenType.FROM, "FROM"),
        Token(TokenType.L_PAREN, "("),
    ]
