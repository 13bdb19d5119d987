"""The guards of a final text, found by reading parentheses and words.

It takes a text whose data is attached as `ATTACHED` and returns a `Site` per guard, outermost ones only. It owns that no
code that makes guards, or judges them, is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["ATTACHED", "Site", "Span", "Token", "closing", "own", "sites", "tokens_of"]

# The name under which guards reach the data: no golden query has it in its own text.
ATTACHED = "data_behind_guards"

_TOKEN = re.compile(
    r"(?P<space>\s+|--[^\n]*|/\*.*?\*/)|(?P<text>[eE]'(?:\\.|''|[^'\\])*'|[xXbB]?'(?:''|[^'])*'|\$(\w*)\$.*?\$\3\$)"
    r'|(?P<name>"(?:""|[^"])*")|(?P<word>\$?\w+)|(?P<sign>.)',
    re.DOTALL,
)
Span = tuple[int, int]


@dataclass(frozen=True)
class Token:
    """A word, name, literal or sign of a text, and its place."""

    kind: str
    text: str
    start: int
    end: int

    def says(self, *words: str) -> bool:
        """Whether it is one of these keywords or signs."""
        return self.kind in ("word", "sign") and self.text.upper() in words


@dataclass(frozen=True)
class Site:
    """Where one guard stands, parentheses included: what it shows, what it reads, its row filter and its fence."""

    start: int
    end: int
    shown: Span
    source: Span
    alias: Span
    where: Span | None
    fence: Span | None

    def contains(self, other: Site) -> bool:
        """Whether another guard's text lies in this one: a mapping table in its row filter."""
        return self.start < other.start and other.end <= self.end


def tokens_of(text: str, start: int = 0, end: int | None = None) -> list[Token]:
    """The tokens of a part of a text, comments and spaces left out."""
    found = []
    for match in _TOKEN.finditer(text, start, len(text) if end is None else end):
        kind = str(match.lastgroup)
        if kind != "space":
            found.append(Token(kind, match[0], match.start(), match.end()))
    return found


def closing(tokens: list[Token], opening: int) -> int | None:
    """The index of the sign that closes a parenthesis, bracket or brace."""
    depth = 0
    for index in range(opening, len(tokens)):
        depth += tokens[index].says("(", "[", "{") - tokens[index].says(")", "]", "}")
        if depth == 0:
            return index
    return None


def own(tokens: list[Token], first: int, last: int) -> Iterator[int]:
    """Indexes between `first` and `last` that lie in no inner parentheses."""
    index = first
    while index < last:
        yield index
        if tokens[index].says("(", "[", "{"):
            index = closing(tokens, index) or last
        index += 1


def sites(text: str) -> list[Site]:
    """The guards of a text: parenthesised SELECTs over a relation of the data, outermost ones."""
    tokens = tokens_of(text)
    found: list[Site] = []
    for index, token in enumerate(tokens[:-1]):
        if not token.says("(") or not tokens[index + 1].says("SELECT"):
            continue
        close = closing(tokens, index)
        site = None if close is None else _site(tokens, index, close)
        if site is not None and not any(other.contains(site) for other in found):
            found.append(site)
    return found


def _site(tokens: list[Token], opening: int, close: int) -> Site | None:
    inside = list(own(tokens, opening + 1, close))
    at = {word: next((i for i in inside if tokens[i].says(word)), None) for word in ("FROM", "WHERE", "OFFSET")}
    source = at["FROM"]
    if source is None or tokens[source + 1].text != f'"{ATTACHED}"':
        return None
    alias = next((i for i in inside if i > source and tokens[i].says("AS", "WHERE")), None)
    if alias is None or not tokens[alias].says("AS"):
        # A mapping table in somebody's row filter, or in a view's.
        return None
    end = tokens[close].start
    tail = tokens[at["OFFSET"]].start if at["OFFSET"] is not None else end
    return Site(
        tokens[opening].start,
        tokens[close].end,
        (tokens[opening + 2].start, tokens[source - 1].end),
        (tokens[source + 1].start, tokens[alias - 1].end),
        (tokens[alias].start, tokens[alias + 1].end),
        None if at["WHERE"] is None else (tokens[at["WHERE"]].start, tail),
        None if at["OFFSET"] is None else (tail, end),
    )
