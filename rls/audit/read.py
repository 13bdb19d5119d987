"""A log on the disk → its lines and records, in order, whatever was done to it.

Takes a file, a directory, an SQLite database or several of them; yields. Owns that nothing in a log, however damaged,
stops the reading of the rest.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from rls.audit.places import place_kind
from rls.audit.shape import is_record
from rls.errors import AuditFailed

__all__ = ["FollowedLogs", "Line", "TornLine", "read_lines", "read_records", "sources"]

_CHAIN = ("chain", "hash", "signature")
_MOST = 64 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """A line (without its end) and where it stands; `whole` unless the source ends in the middle of it. `end` is where
    to read on from."""

    text: bytes
    source: str
    number: int
    whole: bool = True
    end: int = 0


class TornLine(str):
    """A line of an audit log that is not a whole record: what a crash, or a hand, left of one."""

    __slots__ = ()


def sources(paths: Iterable[Path]) -> list[Path]:
    """The files that hold the lines of some paths, in the order of their names (which begin with a time).

    Raises `AuditFailed` (`audit.unreadable`) for a path that is not there.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise AuditFailed("audit.unreadable", f"there is no audit log `{path}`")
        found += sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    return found


def read_lines(source: Path, *, after: int = 0) -> Iterator[Line]:
    """The lines of one file or database, empty ones left out, from where a line ended.

    Raises `AuditFailed` (`audit.unreadable`).
    """
    with _readable(source):
        if place_kind(source) == "sqlite":
            yield from _rows(source, after)
        else:
            with source.open("rb") as file:
                yield from _lines_of(file, source, after)


def read_records(path: str | os.PathLike[str] | Iterable[Path]) -> Iterator[dict[str, Any] | TornLine]:
    """The records of a log, each a dict as `AuditRecord.to_dict` gives it, or the `TornLine`.

    In the order of the log; those of several files by time. What holds the chain together is left out: `verify_log`
    looks at that. Raises `AuditFailed` (`audit.unreadable`).
    """
    paths = [Path(path)] if isinstance(path, str | os.PathLike) else list(path)
    files = sources(paths)
    if len(files) == 1:
        yield from (record for _, record in _timed(files[0]))
        return
    for _, record in heapq.merge(*(_timed(file) for file in files), key=lambda entry: entry[0]):
        yield record


class FollowedLogs:
    """What is written to some logs from now on, also after one was moved away, replaced or emptied.

    Raises `AuditFailed` (`audit.unreadable`) for a path that is not there at first.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = list(paths)
        self._read: dict[Path, int] = {}
        # Held open, so that what was written before a file was moved away is read to its end.
        self._files: dict[Path, BinaryIO] = {}
        sources(self._paths)
        for _ in self._lines():
            pass

    def more(self) -> list[dict[str, Any]]:
        """The records since the last time; of a line that is being written, nothing yet."""
        return [record for _, record in _parsed(self._lines()) if isinstance(record, dict)]

    def _lines(self) -> Iterator[Line]:
        for source in sources(path for path in self._paths if path.exists()):
            # The files of a directory have names of their own for ever.
            if source not in self._paths or place_kind(source) == "sqlite":
                yield from self._whole(source, read_lines(source, after=self._read.get(source, 0)))
                continue
            with _readable(source):
                file = self._files.get(source) or self._begin(source)
                if os.fstat(file.fileno()).st_size < self._read.get(source, 0):
                    self._read[source] = 0
                yield from self._whole(source, _lines_of(file, source, self._read.get(source, 0)))
                if not os.path.samestat(os.fstat(file.fileno()), source.stat()):
                    file.close()
                    yield from self._whole(source, _lines_of(self._begin(source), source, 0))

    def _begin(self, source: Path) -> BinaryIO:
        self._read[source] = 0
        file = self._files[source] = source.open("rb")
        return file

    def _whole(self, source: Path, lines: Iterator[Line]) -> Iterator[Line]:
        for line in lines:
            if line.whole:
                self._read[source] = line.end
                yield line


def _timed(source: Path) -> Iterator[tuple[str, dict[str, Any] | TornLine]]:
    return _parsed(read_lines(source))


def _parsed(lines: Iterable[Line]) -> Iterator[tuple[str, dict[str, Any] | TornLine]]:
    """Records with their time; a torn line has that of the record before it."""
    at = ""
    for line in lines:
        found = None
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(line.text) if line.whole else None
        if isinstance(found, dict) and "event" in found:
            continue
        if not isinstance(found, dict) or not is_record(found):
            yield at, TornLine(line.text.decode("utf-8", errors="replace"))
        else:
            # Never smaller than the one before: a clock that was set back must not disorder the merge.
            at = max(at, found["time"])
            yield at, {key: value for key, value in found.items() if key not in _CHAIN}


@contextlib.contextmanager
def _readable(source: Path) -> Iterator[None]:
    failure: str | None = None
    try:
        yield
    except OSError as error:
        failure = error.strerror or "error"
    except sqlite3.Error as error:
        failure = str(error)
    if failure:
        raise AuditFailed("audit.unreadable", f"the audit log `{source}` cannot be read", detail=failure)


def _lines_of(file: BinaryIO, source: Path, after: int) -> Iterator[Line]:
    file.seek(after)
    number = 0
    while text := file.readline(_MOST):
        number += 1
        after += len(text)
        if text != b"\n":
            yield Line(text.rstrip(b"\n"), str(source), number, whole=text.endswith(b"\n"), end=after)


def _rows(source: Path, after: int) -> Iterator[Line]:
    # Opened for reading alone, but not as immutable: another process may be writing.
    connection = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)
    # A text that is no UTF-8 is a torn line like any other, and no reason to read nothing.
    connection.text_factory = bytes
    try:
        for number, text in connection.execute("SELECT id, line FROM lines WHERE id > ? ORDER BY id", [after]):
            raw = text if isinstance(text, bytes) else str(text).encode()
            yield Line(raw, str(source), number, end=number)
    finally:
        connection.close()
