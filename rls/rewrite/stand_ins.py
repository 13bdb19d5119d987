"""Final text → a shorter one, in which a few words stand for each guard that DuckDB's parser has read before.

Takes the text and the statements that guards must be, each read on its own; returns the text to read instead, and what
stands where. Owns that the short text means what the text means, which `verify` makes sure of as `Short` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from rls.rewrite.engine_ast import EngineParseError, bare, serialize

__all__ = ["NAME", "Short", "shorten", "stand_in_tree"]

NAME: Final = "rls stand-in"
"""The relation that stand-ins read. A text that has it anywhere is not shortened."""

_OPENING: Final = f'(SELECT * FROM "{NAME}"'
_AT: Final = _OPENING.index('"')
_FENCE: Final = " OFFSET 0"
_MOST: Final = 4096  # statements that are remembered


@dataclass(frozen=True, slots=True)
class Short:
    """A text with stand-ins, and what each stands for: `guards` has the path of a relation by the place of the
    stand-in's name, as DuckDB's tree tells places (bytes, which are characters here), and whether it is fenced.

    It stands for the whole text if DuckDB found a stand-in at each of these places, as the sub-query it was written as,
    and nowhere else. For then DuckDB's tokenizer came to each with nothing open (no string, name or comment), and left
    it so. A guard's statement was read on its own, so it leaves nothing open, either: the texts differ in tokens by
    these alone. And both are one SELECT in parentheses, to the last word: what fits around one fits around the other.
    """

    text: str
    guards: Mapping[int, tuple[tuple[str, ...], bool]]


def shorten(text: str, statements: Iterable[tuple[str, tuple[str, ...]]]) -> Short | None:
    """The text with stand-ins; None where there is nothing to shorten, or where it is not sure what that would mean.

    `statements`: each that a guard may be, with its relation's path. Outside ASCII, DuckDB replaces kinds of white
    space before it looks for tokens: such texts stay as they are.
    """
    if not text.isascii() or NAME in text:
        return None
    found: list[tuple[int, int, tuple[str, ...], bool]] = []
    for statement, path in statements:
        if not _stands_alone(statement):
            continue
        whole, fenced = f"({statement})", statement.endswith(_FENCE)
        start = text.find(whole)
        while start >= 0:
            found.append((start, start + len(whole), path, fenced))
            start = text.find(whole, start + len(whole))
    if not found:
        return None
    found.sort(key=lambda one: (one[0], -one[1]))
    parts: list[str] = []
    guards: dict[int, tuple[tuple[str, ...], bool]] = {}
    length = end = 0
    for start, stop, path, fenced in found:
        if start < end:
            continue  # inside of another
        between = text[end:start]
        guards[length + len(between) + _AT] = path, fenced
        parts += (between, _spelled(fenced=fenced))
        length += len(between) + len(parts[-1])
        end = stop
    parts.append(text[end:])
    return Short("".join(parts), guards)


def _spelled(*, fenced: bool) -> str:
    return f"{_OPENING}{_FENCE if fenced else ''})"


@lru_cache
def stand_in_tree(*, fenced: bool) -> Any:
    """DuckDB's tree of a stand-in, without positions."""
    return bare(serialize(_spelled(fenced=fenced))[0])


@lru_cache(maxsize=_MOST)
def _stands_alone(statement: str) -> bool:
    """Whether a statement is one SELECT, by itself as in parentheses, in characters that DuckDB reads as they are."""
    if not statement.isascii() or not statement.startswith("SELECT *"):
        return False
    try:
        alone, (around,) = serialize(statement), serialize(f"FROM ({statement})")
    except (EngineParseError, ValueError):
        return False
    source = around["from_table"]
    if len(alone) != 1 or alone[0]["type"] != "SELECT_NODE" or source["type"] != "SUBQUERY":
        return False
    return bool(bare(source["subquery"]["node"]) == bare(alone[0]))
