"""One locked-down DuckDB instance over the data file, with the copies that it keeps and its temporary files.

Made by an executor, which opens another one when DuckDB has invalidated this. Owns that what belongs to an instance
ends with it.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import duckdb

from rls.engines.failures import read_report
from rls.engines.limits import Limits
from rls.engines.lockdown import open_locked
from rls.engines.slices import Slices
from rls.errors import EngineInvalid

__all__ = ["Instance"]


class Instance:
    """`lost` once DuckDB has invalidated it, `closed` once it is to be used no more; `attached` is the data's name,
    `temporary` its directory if it has one."""

    def __init__(
        self,
        path: Path,
        *,
        attached: str,
        limits: Limits,
        hide_statistics: bool,
        temporary: Path | None,
        prepare: Sequence[str] = (),
    ) -> None:
        """`prepare` are statements that are run on it before any query.

        Raises `EngineInvalid`: `engine.database_locked`, `engine.database_invalid`.
        """
        self.lost = self.closed = False
        self.attached, self.temporary = attached, temporary
        self._lock = threading.Lock()
        failure = None
        try:
            self.connection = open_locked(
                threads=limits.threads,
                memory=limits.memory,
                hide_statistics=hide_statistics,
                attach=(path, attached),
                # Whatever names the data names this, too: a column's name that DuckDB makes of the text is found by it.
                copies=f"{attached}_copies",
                # There are two instances, one with statistics and one without.
                spill=None if temporary is None else (temporary, limits.temporary_disk // 2),
            )
        except duckdb.Error as error:
            failure = _unreadable(path, str(error))
        if failure:
            raise failure
        for statement in prepare:
            self.connection.execute(statement)
        self.slices = Slices(self.cursor, database=f"{attached}_copies", limit=limits.copies)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own for one query."""
        # DuckDB refuses a connection that another thread is calling instead of waiting for it.
        with self._lock:
            return self.connection.cursor()

    def close(self) -> None:
        """Free it. A cursor that is still busy (it ignores interrupts) keeps the instance; it goes with that cursor."""
        with self._lock, contextlib.suppress(duckdb.Error):
            self.closed = True
            self.connection.close()
        if self.temporary is not None:
            shutil.rmtree(self.temporary, ignore_errors=True)


def _unreadable(path: Path, text: str) -> EngineInvalid:
    report = read_report(text)
    if "lock on file" in report.message or report.kind == "Resource In Use":
        return EngineInvalid(
            "engine.database_locked",
            f"the database file `{path}` is open for writing elsewhere",
            hint="close it there, or work on a copy",
            detail=report.message,
        )
    return EngineInvalid(
        "engine.database_invalid",
        f"the database file `{path}` cannot be read as a DuckDB database",
        hint="check that it was written completely, by a version of DuckDB that is not newer",
        detail=report.message,
    )
