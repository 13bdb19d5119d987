"""Paths → what commands work on: the catalog of a database, or an engine that explains and cannot run anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rls.errors import AuditFailed

if TYPE_CHECKING:
    from rls.audit.record import AuditRecord
    from rls.catalog import Catalog
    from rls.engine import Engine
    from rls.policy.policy_set import PolicySet

__all__ = ["explaining_engine", "open_catalog"]


def open_catalog(database: Path) -> Catalog:
    """The catalog of a database file, under the name its users call it; opened as the engine opens it, then closed."""
    from rls.engines.duckdb import DuckDBExecutor
    from rls.engines.limits import Limits

    # Nothing is run, so nothing is written either.
    executor = DuckDBExecutor.open(database, limits=Limits(temporary_disk=0))
    try:
        # The name for people: nothing is run, so the engine's unguessable one is not needed.
        return executor.catalog.attached_as(executor.catalog.name)
    finally:
        executor.close()


@contextmanager
def explaining_engine(database: Path, policies: PolicySet) -> Iterator[Engine]:
    """An engine for `explain`, which leaves no record. It has no place for records, so by invariant (recorded) every
    result of a query would be withheld."""
    from rls.audit.sinks import CallableSink
    from rls.engine import Engine
    from rls.engines.duckdb import DuckDBExecutor
    from rls.engines.limits import Limits

    # Nothing is run, so nothing is written either.
    executor = DuckDBExecutor.open(database, limits=Limits(temporary_disk=0))
    try:
        yield Engine(executor, policies, CallableSink(_no_record))
    finally:
        executor.close()


def _no_record(_: AuditRecord) -> None:
    raise AuditFailed("audit.sink", "this engine only explains", hint="open one with a place for records")
