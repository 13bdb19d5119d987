"""Replacements applied to a text."""

from __future__ import annotations

from collections.abc import Iterable

from rls.rewrite.guarded import Splice

__all__ = ["apply_splices"]


def apply_splices(text: str, splices: Iterable[Splice], *, start: int = 0, end: int | None = None) -> str:
    """`text[start:end]` with the replacements that lie in it; `splices` are sorted and do not overlap.

    >>> apply_splices("FROM orders o", [Splice(5, 11, "(…)")])
    'FROM (…) o'
    """
    end = len(text) if end is None else end
    parts: list[str] = []
    at = start
    for splice in splices:
        if start <= splice.start and splice.end <= end:
            parts += (text[at : splice.start], splice.text)
            at = splice.end
    parts.append(text[at:end])
    return "".join(parts)
