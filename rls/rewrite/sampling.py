"""Sampling by chunks → sampling by rows.

`TABLESAMPLE 10%` is SYSTEM sampling to DuckDB: it keeps or drops whole chunks of a scan, and how full a chunk is below
a fence tells how many hidden rows lie between the visible ones. Takes the parsed text; returns replacements that make
such clauses BERNOULLI, which draws each visible row for itself. What is left of SYSTEM, `verify` refuses.
"""

from __future__ import annotations

from sqlglot.tokens import Token, TokenType

from rls.rewrite.guarded import Splice
from rls.rewrite.parse import Parsed

__all__ = ["sample_splices"]


def sample_splices(parsed: Parsed) -> list[Splice]:
    """Replacements for every clause that samples by chunks."""
    if "SAMPLE" not in parsed.text.upper():
        return []
    tokens = parsed.tokens
    splices: list[Splice] = []
    for i, token in enumerate(tokens):
        word = token.text.upper()
        after_from = word == "TABLESAMPLE"
        if not after_from and not (word == "SAMPLE" and i and tokens[i - 1].text.upper() == "USING"):
            continue
        splices += _clause(tokens[i + 1 : i + 8], after_from=after_from)
    return splices


def _clause(tokens: list[Token], *, after_from: bool) -> list[Splice]:
    """`tokens` follow TABLESAMPLE (`after_from`) or USING SAMPLE."""
    words = [t.text.upper() for t in tokens]
    if words[:1] == ["SYSTEM"]:
        return [Splice(tokens[0].start, tokens[0].end + 1, "bernoulli")]
    if words[:1] == ["("] and after_from and _is_share(tokens[1:3]):
        return [Splice(tokens[0].start, tokens[0].start, "bernoulli")]
    if not _is_share(tokens[:2]):
        return []
    if words[2:4] == ["(", "SYSTEM"]:
        return [Splice(tokens[3].start, tokens[3].end + 1, "bernoulli")]
    if words[2:3] == ["("]:
        return []
    end = tokens[1].end + 1
    if after_from:
        return [Splice(tokens[0].start, tokens[0].start, "bernoulli("), Splice(end, end, ")")]
    return [Splice(end, end, " (bernoulli)")]


def _is_share(tokens: list[Token]) -> bool:
    return len(tokens) == 2 and tokens[0].token_type == TokenType.NUMBER and tokens[1].text.upper() in ("%", "PERCENT")
