"""Replays an SQL logic test file: its writes build a database, its queries become cases on the states in between.

It takes the file's steps and yields a `Stage` per run of consecutive queries: a snapshot of the database file and the
queries asked of it. It owns the writer connection; what a step needs beyond the file (settings, temporary tables,
open transactions) is not in the snapshot, by intention.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from tests.judging.oracle import answer

__all__ = ["CATALOG", "Query", "Stage", "replay"]

# The corpus was written for an in-memory database, whose catalog has this name.
CATALOG = "memory"
_CONFIG = {"threads": 2, "memory_limit": "3GB", "autoinstall_known_extensions": False}


@dataclass(frozen=True)
class Query:
    """One case: `id` names the file and line it came from."""

    id: str
    sql: str


@dataclass(frozen=True)
class Stage:
    """A database file and the queries asked of it; `skipped` counts why others were left out since the last stage."""

    database: Path
    queries: list[Query]
    skipped: Counter[str] = field(default_factory=Counter)


def replay(path: str, steps: Iterable[dict[str, Any]], *, directory: Path, seconds: float = 10.0) -> Iterator[Stage]:
    """Yield the stages of one file. The snapshot of a stage is gone once the next one is asked for."""
    writer_file = directory / "writer" / f"{CATALOG}.duckdb"
    snapshot = directory / "snapshot" / f"{CATALOG}.duckdb"
    for file in (writer_file, snapshot):
        shutil.rmtree(file.parent, ignore_errors=True)
        file.parent.mkdir(parents=True)
    writer = duckdb.connect(str(writer_file), config=_CONFIG)
    waiting: list[Query] = []
    skipped: Counter[str] = Counter()
    try:
        for step in steps:
            sql = step["sql"].replace("__TEST_DIR__", str(directory))
            reason = _not_a_case(writer, sql) if step["kind"] == "query" else "statement"
            if reason is None:
                waiting.append(Query(f"{path}:{step['line']}", sql))
                continue
            if waiting:
                yield from _stage(writer, writer_file, snapshot, waiting, skipped)
                waiting, skipped = [], Counter()
            if step["kind"] == "query":
                skipped[reason] += 1
            done = answer(writer, sql, seconds=seconds)
            if done.error and done.error.startswith("InterruptException"):
                skipped["set-up too slow"] += 1
                break
        yield from _stage(writer, writer_file, snapshot, waiting, skipped)
    finally:
        writer.close()


def _stage(
    writer: duckdb.DuckDBPyConnection, source: Path, snapshot: Path, queries: list[Query], skipped: Counter[str]
) -> Iterator[Stage]:
    try:
        writer.execute("CHECKPOINT")
    except duckdb.Error:
        skipped["inside a transaction"] += len(queries)
        queries = []
    shutil.copyfile(source, snapshot)
    yield Stage(snapshot, queries, skipped)


def _not_a_case(writer: duckdb.DuckDBPyConnection, sql: str) -> str | None:
    """Why a query step is run on the writer instead of being compared, or None: it only reads."""
    if sql.lstrip().upper().startswith(("PIVOT", "UNPIVOT")):
        return None
    try:
        statements = writer.extract_statements(sql)
    except duckdb.Error:
        return None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        return "not a SELECT"
    tree = writer.execute("SELECT json_serialize_sql($1)", [sql]).fetchone()
    text = str(tree[0]) if tree else ""
    return "a write inside" if "_QUERY_NODE" in text or '"nextval"' in text else None
