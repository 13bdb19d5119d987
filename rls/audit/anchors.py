"""Ends of chains, kept where the log's host cannot change them: what shows that a log's own end was cut off.

An anchor is a line of JSON: writer, sequence and hash of a line that was there at a time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rls.errors import AuditFailed

__all__ = ["Anchor", "anchor_lines", "append_anchors", "read_anchors"]


@dataclass(frozen=True, slots=True)
class Anchor:
    """A line that must be in the log; `source` says who says so."""

    writer: str
    sequence: int
    hash: str
    source: str


def anchor_lines(heads: Mapping[str, tuple[int, str]]) -> str:
    """Heads (writer → sequence and hash of its last line) as lines for a file of anchors."""
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
    return "".join(
        json.dumps({"time": stamp, "writer": writer, "sequence": sequence, "hash": hash_}) + "\n"
        for writer, (sequence, hash_) in sorted(heads.items())
    )


def append_anchors(path: Path, heads: Mapping[str, tuple[int, str]]) -> None:
    """Add anchors to a file. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        data = anchor_lines(heads).encode("ascii")
        if os.write(fd, data) != len(data):
            raise OSError("the anchor was written in part")
        os.fdatasync(fd)
    finally:
        os.close(fd)


def read_anchors(path: Path) -> list[Anchor]:
    """The anchors of a file. Raises `AuditFailed` (`audit.anchor`)."""
    found = []
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        raise AuditFailed("audit.anchor", f"the anchors `{path}` cannot be read") from None
    for number, line in enumerate(text.splitlines(), 1):
        try:
            entry = json.loads(line)
            found.append(Anchor(entry["writer"], int(entry["sequence"]), entry["hash"], f"{path}:{number}"))
        except (ValueError, KeyError, TypeError):
            raise AuditFailed("audit.anchor", f"line {number} of `{path}` is no anchor") from None
    return found
