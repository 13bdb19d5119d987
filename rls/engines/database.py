"""A DuckDB file as it is now: its catalog, and locked instances over it, opened anew when the file becomes another.

Takes a path; gives the instance that a query is to run on. Owns that what was opened for one file is never used for
another: the data gets another name each time, so that no guard made for one reads the other.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rls.catalog import Catalog
from rls.engines.database_file import DatabaseFile, FileState
from rls.engines.failures import closed, database_changed
from rls.engines.instance import Instance
from rls.engines.limits import Limits
from rls.engines.read_catalog import read_catalog
from rls.engines.spill import SpillDirectory
from rls.errors import EngineInvalid

__all__ = ["Database"]


@dataclass(eq=False)
class _Opened:
    """`instances` by whether statistics are hidden; the second is opened by the first query that needs it."""

    file: FileState
    attached: str
    catalog: Catalog
    instances: dict[bool, Instance] = field(default_factory=dict)

    def close(self) -> None:
        for instance in self.instances.values():
            instance.close()


class Database:
    """An open file. Thread-safe. `attached` is for workers, which must agree on the name that guards use; `temporary`
    is where temporary files may be (default: where the system keeps them)."""

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        limits: Limits,
        attached: str | None = None,
        temporary: str | os.PathLike[str] | None = None,
        prepare: Sequence[str] = (),
    ) -> None:
        """Raises `EngineInvalid`: `engine.database_missing`, `.database_invalid`, `.database_locked`, `.temporary`."""
        # Not resolved: a link that is pointed at another file is a change of the database, too.
        self._path = Path(os.path.abspath(path))  # noqa: PTH100
        self._file = DatabaseFile(self._path)
        self._name, self._limits, self._prepare = name, limits, prepare
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()
        self.closed = False
        self._spill = SpillDirectory(temporary) if limits.temporary_disk else None
        opened = None
        try:
            opened = self._open(attached)
        finally:
            if opened is None and self._spill:
                self._spill.close()
        self._opened = opened

    @property
    def catalog(self) -> Catalog:
        """What the file holds, as it was opened last."""
        return self._opened.catalog

    def instance(self, *, catalog_version: str, hide_statistics: bool) -> Instance:
        """The instance for a query whose guards were made for a catalog; one that was lost is opened again.

        Raises `QueryFailed` (`run.database_changed`), `EngineInvalid`.
        """
        with self._lock:
            if self.closed:
                raise closed()
            opened = self._opened
            # What it reads is not there under that name; this only says so in better words than DuckDB.
            if catalog_version not in ("", opened.catalog.version):
                raise database_changed()
            instance = opened.instances.get(hide_statistics)
            if instance is None or instance.lost:
                if self._file.state() != opened.file:
                    raise database_changed()
                instance = self._connect(opened.attached, hide_statistics=hide_statistics)
                opened.instances[hide_statistics] = instance
            return instance

    def refresh(self, *, force: bool = False) -> Catalog:
        """Open the file anew if it has changed, or with `force`; what it holds. Raises `EngineInvalid`."""
        if self.closed:
            raise closed()
        opened = self._opened
        if not force and self._file.state() == opened.file:
            return opened.catalog
        with self._refreshing:
            opened = self._opened
            if not force and self._file.state() == opened.file:
                return opened.catalog
            opened = self._open(None)
            with self._lock:
                # Closed meanwhile: then what was opened is nobody's.
                over = self.closed
                old = opened if over else self._opened
                self._opened = self._opened if over else opened
            # Queries that run have cursors, and end on what they began with.
            old.close()
            if over:
                self._end()
                raise closed()
        return opened.catalog

    def close(self) -> None:
        with self._lock:
            self.closed = True
        self._end()

    def _end(self) -> None:
        self._opened.close()
        if self._spill:
            self._spill.close()

    def _open(self, attached: str | None) -> _Opened:
        # Before it is read: a change meanwhile is seen by the next query.
        state = self._file.state()
        if state[0] is None:
            raise EngineInvalid(
                "engine.database_missing", f"there is no database file `{self._path}`", hint="check the path"
            )
        # 128 bits: a caller who has to guess it would need longer than the file lives.
        title = attached or f"rls_{secrets.token_hex(16)}"
        instance = self._connect(title, hide_statistics=False)
        return _Opened(state, title, read_catalog(instance.connection, title, name=self._name), {False: instance})

    def _connect(self, attached: str, *, hide_statistics: bool) -> Instance:
        temporary = self._spill.part() if self._spill else None
        return Instance(
            self._path,
            attached=attached,
            limits=self._limits,
            hide_statistics=hide_statistics,
            temporary=temporary,
            prepare=self._prepare,
        )
