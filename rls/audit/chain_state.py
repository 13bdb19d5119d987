"""One writer's lines, one after the other → what is wrong with each, and what the chain amounts to.

Owns that one wrong line is reported once, and that no signature counts for lines that do not hang together up to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rls.audit.chain import FIRST, Link, signed_text
from rls.audit.signing import Verifier

__all__ = ["ChainState"]


class ChainState:
    """What is known of a chain so far. `vouched`: records up to the last good signature."""

    def __init__(self, writer: str, verifiers: Mapping[str, Verifier]) -> None:
        self.writer = writer
        self.lines = self.records = self.vouched = 0
        self.last = -1
        self.head = ""
        self.closed = False
        self.opening: Mapping[str, Any] = {}
        self._verifiers = verifiers
        self._hashes: dict[int, bytes] = {}
        self._changed: set[int] = set()
        self._signed_to = -1
        # The last signature vouches for everything before it, so the others need no look while the chain holds.
        self._pending: tuple[Link, int] | None = None

    def take(self, link: Link) -> list[tuple[str, str]]:
        """The next line as it stands in the log → codes and messages of what is wrong with it."""
        number = link.sequence
        known = self.hash_at(number)
        if known is not None:
            same = known == link.line_hash
            return [("repeated", f"line {number} is there again" if same else f"there is another line {number}")]
        found = []
        if link.own_hash != link.hash:
            found.append(("changed", "the line was changed"))
            if number != self.last + 1:
                # Its number may be what was changed.
                return found
            self._changed.add(number)
        if number < self.last:
            found.append(("moved", f"line {number} stands after line {self.last}"))
        elif self.closed:
            found.append(("added", "a line after the end of its chain"))
        before = FIRST if number == 0 else self.hash_at(number - 1)
        if before not in (None, link.previous) and number - 1 not in self._changed:
            found.append(("broken", f"the line before is not the one that line {number} was written after"))
        if found or before is None:
            found += self.check_signature()
        self._hashes[number] = bytes.fromhex(link.line_hash)
        self.lines += 1
        if number > self.last:
            self.last, self.head = number, link.line_hash
        if link.signature and number not in self._changed:
            self._pending = (link, self.records)
        return found

    def note(self, event: Mapping[str, Any]) -> None:
        """An event of the chain."""
        match event["event"]:
            case "open" if not self.opening:
                self.opening = event
            case "close":
                self.closed = True

    def hash_at(self, number: int) -> str | None:
        """The hash of a line, or None where it is missing."""
        found = self._hashes.get(number)
        return None if found is None else found.hex()

    def check_signature(self) -> list[tuple[str, str]]:
        """Look at the last signature so far; whether it is good decides on all lines since the one before."""
        if self._pending is None:
            return []
        (link, records), self._pending = self._pending, None
        if self._verifiers and not any(
            verifier.fits(signed_text(link.hash), link.signature) for verifier in self._verifiers.values()
        ):
            return [("signature", f"the signature of line {link.sequence} is not one of the given keys'")]
        self._signed_to = max(self._signed_to, link.sequence)
        # The signed line itself is a record too, unless it is an event.
        own = 0 if b'"event":' in link.body[:10] else 1
        self.vouched = max(self.vouched, records + own - len(self._changed))
        return []

    def gaps(self) -> Iterator[tuple[int, int]]:
        """First and last number of lines that are missing before the last one that is there."""
        wanted = 0
        for number in sorted(self._hashes):
            if number > wanted:
                yield wanted, number - 1
            wanted = number + 1

    def unsigned(self, *, required: bool) -> Iterator[tuple[str, str]]:
        """What is wrong with a chain's signatures, once all of it was read."""
        signing = bool(self.opening.get("signing")) or self._signed_to >= 0
        if required and not signing:
            yield "unsigned", "the chain is not signed"
        elif signing and self._signed_to < self.last:
            first = self._signed_to + 1
            which = f"line {first}" if first == self.last else f"lines {first} to {self.last}"
            yield "unsigned_end", f"no signature vouches for {which} at the end: added, changed, or never acknowledged"
