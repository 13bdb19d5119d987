"""Runs hostile statements in a process that may die of them: crashes and hangs are outcomes like any other.

`Worker.ask` takes one SELECT and returns (outcome, message): `ok`, `bind` (the binder refused it), `raises` (an error while
rows were read), `fatal` (the instance is invalid), `crash`, `hang`. The worker holds the tables of `tests.functions.extremes` in
memory (`x0`, …) and, attached as `d`, in a file (compressed, dictionaries and all, as in a customer's database).
"""

from __future__ import annotations

import json
import resource
import select
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb

from tests.functions.extremes import stored_tables, tables

SECONDS = 5
MEMORY = 6 << 30


# Statistics choose between checked and unchecked arithmetic: without them every check is made.
CHECKED = "SET disabled_optimizers = 'statistics_propagation'"


class Worker:
    """A process with a DuckDB instance, started when first asked and again after each death."""

    def __init__(self, *, settings: str = "", stored: Sequence[str] = (), seconds: float = SECONDS) -> None:
        self.seconds = seconds  # after which a statement counts as hanging
        self.process: subprocess.Popen[str] | None = None
        self.settings = settings
        self.stored = (*stored_tables(), *stored)
        self.folder = tempfile.TemporaryDirectory()
        self.file = Path(self.folder.name) / "extremes.duckdb"

    def ask(self, sql: str) -> tuple[str, str]:
        """(outcome, message) of one SELECT."""
        process = self.process or self._start()
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(sql) + "\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], self.seconds)
        line = process.stdout.readline() if ready else ""
        if not line:
            code = self._stop()
            return ("crash", f"process ended by signal {-code}") if ready else ("hang", f"over {self.seconds} s")
        outcome, message = json.loads(line)
        if outcome == "fatal":
            self._stop()
        return outcome, message

    def close(self) -> None:
        if self.process:
            self._stop()
        self.folder.cleanup()

    def _start(self) -> subprocess.Popen[str]:
        if not self.file.exists():
            with duckdb.connect(self.file) as connection:
                for statement in self.stored:
                    connection.execute(statement)
        command = [sys.executable, "-m", "tests.functions.worker", str(self.file), self.settings]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        return self.process

    def _stop(self) -> int:
        assert self.process
        if self.process.poll() is None:
            try:
                self.process.wait(0.2)
            except subprocess.TimeoutExpired:
                self.process.kill()
        code = self.process.wait()
        self.process = None
        return code


def serve(file: str, settings: str) -> None:
    """The worker's loop: a JSON string with a SELECT per line in, [outcome, message] out."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection = duckdb.connect(config={"threads": 1, "memory_limit": "2GB", "temp_directory": ""})
    connection.execute(f"ATTACH '{file}' AS d (READ_ONLY)")
    for _, _, statement in tables():
        connection.execute(statement)
    connection.execute(settings)
    for line in sys.stdin:
        print(json.dumps(run(connection, json.loads(line))), flush=True)


def run(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[str, str]:
    """Executes `sql` and tells an error of the binder from one of the rows."""
    try:
        connection.execute(sql)
    except duckdb.Error as error:
        message = str(error).split("\n")[0]
        if "INTERNAL Error" in message or "FATAL Error" in message or "invalidated" in message:
            return "fatal", message
        sql = sql.rpartition("; ")[2]  # settings apart
        # A view is bound, not run; the classes do not tell: rows can raise a "Binder Error", the binder a "Conversion Error".
        try:
            connection.execute(f"CREATE OR REPLACE TEMP VIEW bound AS {sql}")
        except duckdb.Error:
            return "bind", message
        return "raises", message
    except Exception as error:  # noqa: BLE001 - the client's own limits, not the engine's
        return "raises", f"{type(error).__name__}: {error}"
    return "ok", ""


if __name__ == "__main__":
    serve(*sys.argv[1:])
