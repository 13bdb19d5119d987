"""Paths → what commands work on: the catalog of a database, or an engine that explains and cannot run anything."""

from __future__ import annotations

import contextlib
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


def open_catalog(database: Path | str) -> Catalog:
    """The catalog of a database, a file or a server's, under the name its users call it."""
    from rls.engines.opening import read_catalog_of

    return read_catalog_of(database)


@contextmanager
def explaining_engine(database: Path | str, policies: PolicySet) -> Iterator[Engine]:
    """An engine for `explain`, which leaves no record. It has no place for records, so by invariant (recorded) every
    result of a query would be withheld."""
    from rls.audit.sinks import CallableSink
    from rls.engine import Engine
    from rls.engines.opening import open_idle

    with contextlib.closing(open_idle(database)) as executor:
        yield Engine(executor, policies, CallableSink(_no_record))


def _no_record(_: AuditRecord) -> None:
    raise AuditFailed("audit.sink", "this engine only explains", hint="open one with a place for records")
