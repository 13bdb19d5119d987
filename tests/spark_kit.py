"""A Spark Connect server of our own for tests: Sail on loopback, in a process of its own, gone afterwards.

`start` skips with a reason where Sail cannot be installed; `write_parquet` copies a DuckDB database into a directory that
`spark://…?parquet=` reads, type by type.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from tests.oracle import quoted

# Types that a Parquet file of DuckDB's has, and that Spark reads as the same.
_TYPES = (
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "VARCHAR", "DATE", "TIMESTAMP",
    "TIMESTAMP WITH TIME ZONE", "BLOB", "JSON",
)  # fmt: skip


@dataclass
class Server:
    """A running server at a port of loopback."""

    port: int
    process: subprocess.Popen[bytes]

    def url(self, directory: Path) -> str:
        """The Parquet files of a directory, for `rls.Engine.open`."""
        return f"spark://127.0.0.1:{self.port}/?parquet={directory}"

    def stop(self) -> None:
        """End it, with what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        """The same port, another server."""
        self.stop()
        again = start(self.port)
        self.process = again.process


def start(port: int | None = None) -> Server:
    """A new Sail server. Skips the test where there is none."""
    pytest.importorskip("pyspark.sql.connect.session", reason="no Spark Connect client: pip install 'rls[spark]'")
    pytest.importorskip("pysail", reason="no Sail server: pip install pysail")
    port = port or free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "pysail", "spark", "server", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "RUST_LOG": "off"},
        start_new_session=True,
    )
    wait_for(port, process)
    return Server(port, process)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    """Until somebody listens there."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    process.kill()
    raise RuntimeError("the server did not start")


def write_parquet(source: Path | duckdb.DuckDBPyConnection, directory: Path) -> Path:
    """The tables of a DuckDB database as Parquet files; ENUM and JSON columns as texts, columns of other types left out."""
    directory.mkdir(parents=True)
    with contextlib.ExitStack() as closing:
        warehouse = source
        if isinstance(warehouse, Path):
            warehouse = closing.enter_context(duckdb.connect(str(warehouse), read_only=True))
        for (schema, table), columns in _tables(warehouse).items():
            shown = [f"{_shown(name, type_)} AS {quoted(name)}" for name, type_ in columns if _known(type_)]
            if not shown:
                continue
            folder = directory if schema == "main" else directory / schema
            folder.mkdir(exist_ok=True)
            file = folder / f"{table}.parquet"
            warehouse.execute(
                f"COPY (SELECT {', '.join(shown)} FROM {quoted(schema, table)}) TO '{file}' (FORMAT parquet)"
            )
    return directory


def _tables(warehouse: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], list[tuple[str, str]]]:
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for schema, table, column, type_ in warehouse.execute(
        "SELECT c.schema_name, c.table_name, c.column_name, c.data_type FROM duckdb_columns() c JOIN duckdb_tables() t "
        "USING (table_oid) JOIN duckdb_schemas() s ON s.oid = t.schema_oid AND s.parent_schema_oid IS NULL "
        "WHERE c.database_name = current_database() AND NOT c.internal ORDER BY table_oid, column_index"
    ).fetchall():
        found.setdefault((schema, table), []).append((column, type_))
    return found


def _known(type_: str) -> bool:
    return type_ in _TYPES or type_.startswith("DECIMAL(") or (type_.startswith("ENUM(") and not type_.endswith("]"))


def _shown(name: str, type_: str) -> str:
    return f"CAST({quoted(name)} AS VARCHAR)" if type_.startswith(("ENUM(", "JSON")) else quoted(name)
