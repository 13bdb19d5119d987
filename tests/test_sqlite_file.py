"""Processes that open one new database at once all get it: SQLite itself turns some of them away."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from rls.sqlite_file import open_shared

SCHEMA = "CREATE TABLE IF NOT EXISTS lines (line TEXT); CREATE TABLE IF NOT EXISTS more (line TEXT);"
# Each waits for the file `go`, so that all begin at the same moment, round after round.
OPENER = """
import os, sys, time
from pathlib import Path
from rls.sqlite_file import open_shared
place, rounds = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
for number in range(rounds):
    while not (place / f"go{number}").exists():
        pass
    connection = open_shared(place / f"{number}.sqlite", wait=30, durable=False, schema=sys.argv[3])
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO lines VALUES (?)", (str(os.getpid()),))
    connection.execute("COMMIT")
    connection.close()
    print(number, flush=True)
"""


def test_processes_open_a_new_file_at_once(tmp_path: Path) -> None:
    rounds, count = 60, 3
    command = [sys.executable, "-c", OPENER, str(tmp_path), str(rounds), SCHEMA]
    openers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    try:
        said = [opener.stdout for opener in openers if opener.stdout is not None]
        assert [stream.readline() for stream in said] == ["ready\n"] * count
        for number in range(rounds):
            (tmp_path / f"go{number}").touch()
            assert [stream.readline() for stream in said] == [f"{number}\n"] * count
            with sqlite3.connect(tmp_path / f"{number}.sqlite") as connection:
                assert connection.execute("SELECT count(DISTINCT line) FROM lines").fetchone() == (count,)
    finally:
        for opener in openers:
            opener.kill()
            opener.communicate()


def test_a_lock_that_stays_is_waited_for_and_then_said(tmp_path: Path) -> None:
    file = tmp_path / "locked.sqlite"
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        open_shared(file, wait=0.05, durable=True, schema=SCHEMA)
    holder.execute("ROLLBACK")
    open_shared(file, wait=0.05, durable=True, schema=SCHEMA).close()
    holder.close()


def test_what_is_no_database_is_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "text.sqlite"
    file.write_text("no database " * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        open_shared(file, wait=600, durable=True, schema=SCHEMA)
