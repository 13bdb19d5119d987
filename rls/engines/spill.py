"""A private directory for the temporary files of queries that need more than memory, gone when it is no longer used.

Makes a directory of a random name, readable by its owner only; `close` removes it with all that is in it. What a
process left that was killed is found by the next engine, by a lock that no living process holds, and removed then.
Owns that nothing else is ever removed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from pathlib import Path

from rls.engines.failures import closed
from rls.errors import EngineInvalid

__all__ = ["SpillDirectory", "size_of"]

_PREFIX = "rls-temporary-"
_LOCK = "in-use"


class SpillDirectory:
    """A directory for temporary files, and `part`s of it for each that writes some."""

    def __init__(self, parent: str | os.PathLike[str] | None = None) -> None:
        """In `parent`; default: where the system keeps temporary files. Raises `EngineInvalid` (`engine.temporary`)."""
        self._lock = -1
        base = Path(tempfile.gettempdir() if parent is None else parent).absolute()
        # DuckDB lets a query reach its own temporary directory: nobody can guess its name (nor call a function there).
        self.path = base / f"{_PREFIX}{secrets.token_hex(16)}"
        failure = None
        try:
            _remove_abandoned(base)
            self.path.mkdir(mode=0o700)
            # Locked before it has the name under which others look for it.
            self._lock = os.open(self.path / "new", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            _try_lock(self._lock)
            (self.path / "new").rename(self.path / _LOCK)
        except OSError as error:
            failure = _unusable(base, error)
        if failure:
            self.close()
            raise failure

    def part(self) -> Path:
        """A new directory inside, of a random name. Raises `EngineInvalid`: `engine.temporary`, `engine.closed`."""
        if self._lock < 0:
            raise closed()
        found = self.path / secrets.token_hex(16)
        failure = None
        try:
            # Systems tidy up their temporary directories, and what nobody has touched for days is gone.
            self.path.mkdir(mode=0o700, exist_ok=True)
            found.mkdir(mode=0o700)
        except OSError as error:
            failure = _unusable(self.path.parent, error)
        if failure:
            raise failure
        return found

    def close(self) -> None:
        """Remove it; it may be called again."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _unusable(base: Path, error: OSError) -> EngineInvalid:
    return EngineInvalid(
        "engine.temporary",
        f"temporary files cannot be kept in `{base}`",
        hint="give another directory with temporary=, or none with Limits(temporary_disk=0)",
        detail=str(error),
    )


def size_of(directory: Path) -> int:
    """Bytes on disk of the files in a directory."""
    total = 0
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def _remove_abandoned(base: Path) -> None:
    """Remove directories of this kind, and of this user, whose lock nobody holds."""
    if not hasattr(os, "getuid"):
        return
    for found in base.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if found.is_symlink() or found.stat().st_uid != os.getuid():
                continue
            lock = os.open(found / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if _try_lock(lock):
                    shutil.rmtree(found, ignore_errors=True)
            finally:
                os.close(lock)


def _try_lock(file: int) -> bool:
    """Whether this process now holds the lock; it goes with the process, however that ends."""
    try:
        import fcntl
    except ImportError:  # where there are no such locks, nothing is known to be abandoned
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
