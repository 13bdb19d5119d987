"""Files → a pause until one of them has changed. Takes paths; owns nothing but what it remembers of their times."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["changes"]

_PAUSE = 0.3


def changes(paths: Sequence[Path], *, pause: float = _PAUSE) -> Iterator[list[Path]]:
    """Yields the files that changed, appeared or went, each time some did; directories stand for the YAML in them.

    Waits in steps of `pause` seconds; the consumer ends it.
    """
    before = _times(paths)
    while True:
        time.sleep(pause)
        now = _times(paths)
        different = [path for path in before.keys() | now.keys() if before.get(path) != now.get(path)]
        if different:
            before = now
            yield sorted(different)


def _times(paths: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    found: dict[Path, tuple[int, int]] = {}
    for path in paths:
        files = [f for f in path.rglob("*") if f.suffix in (".yaml", ".yml")] if path.is_dir() else [path]
        for file in files:
            try:
                status = file.stat()
            except OSError:
                continue  # it went between the two looks
            found[file] = (status.st_mtime_ns, status.st_size)
    return found
