"""Where something in the final text stands in the caller's: splices only shift what follows them.

Takes both texts and the splices between them; returns positions for messages. What lies in a splice is told as the
place that it replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rls.errors import Position
from rls.rewrite.guarded import Splice

__all__ = ["Places"]


class Places:
    """Byte offsets in the final text → positions in the caller's text."""

    def __init__(self, text: str, original: str, splices: Sequence[Splice]) -> None:
        self.text, self.original, self.splices = text, original, splices

    def of(self, tree: Any) -> Position | None:
        location = tree.get("query_location")
        return self.at(location) if isinstance(location, int) else None

    def at(self, byte_offset: int | None) -> Position | None:
        if byte_offset is None or not self.original or byte_offset > 4 * len(self.text):
            return None
        offset = len(self.text.encode()[:byte_offset].decode(errors="ignore"))
        shift = 0  # final minus original
        for splice in self.splices:
            start = splice.start + shift
            if offset < start:
                break
            if offset < start + len(splice.text):
                return Position.at(self.original, splice.start, max(1, splice.end - splice.start))
            shift += len(splice.text) - (splice.end - splice.start)
        return Position.at(self.original, offset - shift)
