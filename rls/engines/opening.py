"""A path or a URL → the executor for it, which is the only choice that an operator makes to change the engine."""

from __future__ import annotations

from typing import Any

from rls.engines.base import Executor
from rls.errors import EngineInvalid

__all__ = ["open_executor"]


def open_executor(path: str, isolation: str, **options: Any) -> Executor:
    """Open a database; `options` are those of `rls.Engine.open`. Raises `EngineInvalid`."""
    server = path.startswith(("postgresql://", "postgres://"))
    match isolation:
        case "thread" | "process" if server:
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
