"""A Spark Connect server of our own for tests: Sail on loopback, in a process of its own, gone afterwards.

`start` skips with a reason where Sail cannot be installed; `write_parquet` copies a DuckDB database into a directory that
`spark://…?parquet=` reads, type by type.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from tests.engines.postgres.kit import LISTED, calm
from tests.judging.judge import NotHeld
from tests.judging.oracle import quoted, tables_of

# Types that a Parquet file of DuckDB's has, and that Spark reads as the same.
_TYPES = (
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "VARCHAR", "DATE", "TIMESTAMP",
    "TIMESTAMP WITH TIME ZONE", "BLOB", "JSON", "UUID",
)  # fmt: skip
# First letters of types that Spark knows as another.
_STORED = {"ENUM": "VARCHAR", "JSON": "VARCHAR", "UUID": "VARCHAR", "TINY": "SMALLINT"}


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
    """The tables of a DuckDB database as Parquet files; ENUM and JSON columns as texts, columns of types that Spark lacks
    left out, and tables that no file can be called after."""
    directory.mkdir(parents=True)
    with contextlib.ExitStack() as closing:
        warehouse = source
        if isinstance(warehouse, Path):
            warehouse = closing.enter_context(duckdb.connect(str(warehouse), read_only=True))
        for path, columns in tables_of(warehouse).items():
            shown = [f"{_shown(name, type_)} AS {quoted(name)}" for name, type_ in columns if _is_known(type_)]
            if not shown or not _is_name(path):
                continue
            folder = directory if path[0] == "main" else directory / path[0]
            folder.mkdir(exist_ok=True)
            file = str(folder / f"{path[1]}.parquet").replace("'", "''")
            warehouse.execute(f"COPY (SELECT {', '.join(shown)} FROM {quoted(*path)}) TO '{file}' (FORMAT parquet)")
    return directory


class SailServer:
    """Sail as the judges see it (`tests.judging.judge.Server`): the last `keep` databases."""

    def __init__(self, *, keep: int = 1) -> None:
        self._server: Server = self.begin()
        self._keep, self._count = keep, 0
        self._made = Path(tempfile.mkdtemp(prefix="rls-parquet-"))

    def begin(self) -> Server:
        """The server to be asked."""
        return start()

    def strip(self, database: Path) -> None:
        """Drop from a DuckDB file what Spark has no type for, and views; types that come back as another become it."""
        with duckdb.connect(str(database)) as connection:
            for schema, view in connection.execute(
                "SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal"
            ).fetchall():
                connection.execute(f"DROP VIEW IF EXISTS {quoted(schema, view)} CASCADE")
            for path, columns in tables_of(connection).items():
                lost = [name for name, type_ in columns if not _is_known(type_)]
                if len(lost) == len(columns) or not _is_name(path):
                    connection.execute(f"DROP TABLE {quoted(*path)} CASCADE")
                    continue
                changes = [f"DROP COLUMN {quoted(name)} CASCADE" for name in lost]
                changes += [f"ALTER {quoted(n)} TYPE {_STORED[t[:4]]}" for n, t in columns if t[:4] in _STORED]
                try:
                    for change in changes:
                        connection.execute(f"ALTER TABLE {quoted(*path)} {change}")
                except duckdb.Error:
                    # An index or a constraint holds on to it.
                    connection.execute(f"DROP TABLE {quoted(*path)} CASCADE")

    def hold(self, database: Path) -> None:
        """Drop and replace in a DuckDB file what cannot be held here; the same for two that look alike."""
        self.strip(database)
        calm(database)

    def load(self, database: Path) -> str:
        """See `tests.judging.judge.Server`."""
        shutil.rmtree(self._made / str(self._count + 1 - self._keep), ignore_errors=True)
        self._count += 1
        directory = self._made / str(self._count)
        try:
            return self._server.url(write_parquet(database, directory))
        except (duckdb.Error, OSError) as error:
            raise NotHeld(f"Parquet cannot hold the data: {type(error).__name__}") from None

    def close(self) -> None:
        self._server.stop()
        shutil.rmtree(self._made, ignore_errors=True)


def _is_known(type_: str) -> bool:
    labels = type_.startswith("ENUM(") and not type_.endswith("]")
    if type_.endswith("[]"):
        return type_[:-2] in LISTED
    return labels or type_ in _TYPES or re.fullmatch(r"DECIMAL\(\d+,\d+\)", type_) is not None


def _is_name(path: tuple[str, ...]) -> bool:
    """Whether files can be called so, and Spark reads no pattern into them."""
    return len(path) == 2 and not any(set(part) & set("/*?[]{}\\,\0") or len(part.encode()) > 200 for part in path)


def _shown(name: str, type_: str) -> str:
    stored = _STORED.get(type_[:4])
    return f"CAST({quoted(name)} AS {stored})" if stored else quoted(name)
