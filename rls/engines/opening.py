"""A path or a URL → the executor for it, or only its catalog: the one place that reads which engine is meant."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rls.catalog import Catalog
from rls.engines.base import Executor
from rls.engines.limits import Limits
from rls.errors import EngineInvalid

if TYPE_CHECKING:
    from rls.engines.server import ServerExecutor

__all__ = ["is_server", "open_executor", "open_idle", "open_server", "read_catalog_of", "read_keys_of"]

_POSTGRES = ("postgresql://", "postgres://")
_SPARK = "spark://"


def is_server(database: str | os.PathLike[str]) -> bool:
    """Whether a database is named by a URL, and not by a file's path."""
    return os.fspath(database).startswith((*_POSTGRES, _SPARK))


def open_executor(path: str, isolation: str, **options: Any) -> Executor:
    """Open a database; `options` are those of `rls.Engine.open`. Raises `EngineInvalid`."""
    match isolation:
        case "thread" | "process" if path.startswith(_SPARK):
            from rls.engines.spark.executor import SparkExecutor

            return SparkExecutor.open(path, name=options["name"], limits=options["limits"], isolation=isolation)
        case "thread" | "process" if is_server(path):
            from rls.engines.postgres.executor import PostgresExecutor

            return PostgresExecutor.open(path, name=options["name"], limits=options["limits"], isolation=isolation)
        case "thread":
            from rls.engines.duckdb import DuckDBExecutor

            return DuckDBExecutor.open(path, **options)
        case "process":
            from rls.engines.workers import WorkersExecutor

            return WorkersExecutor.open(path, **options)
        case _:
            raise EngineInvalid("engine.isolation", "isolation is `thread` or `process`", hint="give one of them")


def open_server(url: str, *, limits: Limits) -> ServerExecutor:
    """The server at a URL, for who trusts the texts that it is asked: they are bound in this process. Raises as
    `open_executor` does."""
    from rls.engines.server import ServerExecutor

    found = open_executor(url, "thread", name=None, limits=limits)
    if not isinstance(found, ServerExecutor):
        raise EngineInvalid("engine.url", "this is no server's URL", hint="write postgresql://… or spark://…")
    return found


def open_idle(database: str | os.PathLike[str]) -> Executor:
    """An executor for who only looks at the catalog and at what texts become. Raises as `open_executor` does."""
    # Nothing is run, so nothing is written either.
    return open_executor(
        os.fspath(database),
        "thread",
        name=None,
        limits=Limits(temporary_disk=0),
        temporary=None,
        slices=False,
    )


def read_catalog_of(database: str | os.PathLike[str]) -> Catalog:
    """The catalog of a database, under the name its users call it; opened as the engine opens it, then closed."""
    with contextlib.closing(open_idle(database)) as executor:
        # The name for people: nothing is run, so the engine's unguessable one is not needed.
        return executor.catalog.attached_as(executor.catalog.name)


def read_keys_of(url: str) -> Mapping[tuple[str, ...], tuple[str, ...]]:
    """The columns of the primary keys that a server enforces, by the table's key. No row is read."""
    with contextlib.closing(open_server(url, limits=Limits())) as executor:
        return executor.primary_keys()
