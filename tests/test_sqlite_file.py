"""What a transaction kept stays kept, whichever processes open, close and fork meanwhile."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rls.sqlite_file import SharedDatabase

SCHEMA = "CREATE TABLE IF NOT EXISTS lines (line TEXT); CREATE TABLE IF NOT EXISTS more (line TEXT);"
# Each waits for the file `go`, so that all begin at the same moment, round after round.
OPENER = """
import os, sys
from pathlib import Path
from rls.sqlite_file import SharedDatabase
place, rounds = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
for number in range(rounds):
    while not (place / f"go{number}").exists():
        pass
    database = SharedDatabase(place / f"{number}.sqlite", wait=30, durable=False, schema=sys.argv[3])
    with database.transaction() as connection:
        connection.execute("INSERT INTO lines VALUES (?)", (str(os.getpid()),))
    database.close()
    print(number, flush=True)
"""
# Opens, adds a line and closes, as a command beside a running service does.
PASSER_BY = """
import sys
from pathlib import Path
from rls.sqlite_file import SharedDatabase
database = SharedDatabase(Path(sys.argv[1]), wait=30, durable=False, schema=sys.argv[2])
with database.transaction() as connection:
    connection.execute("INSERT INTO lines VALUES (?)", (sys.argv[3],))
print(sorted(line for line, in database.fetch("SELECT line FROM lines")))
database.close()
"""
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def opened(file: Path | None, wait: float = 30) -> SharedDatabase:
    return SharedDatabase(file, wait=wait, durable=False, schema=SCHEMA)


def add(database: SharedDatabase, line: str) -> None:
    with database.transaction() as connection:
        connection.execute("INSERT INTO lines VALUES (?)", (line,))


def pass_by(file: Path, line: str) -> str:
    """Adds a line in a process of its own; what that one saw then."""
    command = [sys.executable, "-c", PASSER_BY, str(file), SCHEMA, line]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


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
            assert opened(tmp_path / f"{number}.sqlite").fetch("SELECT count(DISTINCT line) FROM lines") == [(count,)]
    finally:
        for opener in openers:
            opener.kill()
            opener.communicate()


def test_a_second_connection_of_the_process_does_not_drop_the_first_ones_locks(tmp_path: Path) -> None:
    file = tmp_path / "two.sqlite"
    first = opened(file)
    add(first, "a")
    second = opened(file)
    assert pass_by(file, "b") == "['a', 'b']"
    add(first, "c")
    add(second, "d")
    assert pass_by(file, "e") == "['a', 'b', 'c', 'd', 'e']"


@forks
def test_a_child_has_locks_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "forked.sqlite"
    # Whoever opened the database forks and ends, as a service does that goes into the background.
    script = """
import os, sys
from tests.test_sqlite_file import *
file = Path(sys.argv[1])
database = opened(file)
add(database, "parent")
parent = os.getpid()
if os.fork():
    os._exit(0)
os.setsid()
add(database, "child")
while os.getppid() == parent:
    pass
seen = [pass_by(file, "command")]
add(database, "child again")
print(*seen, pass_by(file, "another command"), sep="; ")
"""
    done = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    first, second = done.stdout.strip().split("; ")
    assert first == "['child', 'command', 'parent']"
    assert second == "['another command', 'child', 'child again', 'command', 'parent']"


@forks
@pytest.mark.parametrize("kind", ["file", "memory"])
def test_a_fork_waits_for_a_transaction_and_leaves_no_lock(tmp_path: Path, kind: str) -> None:
    database = opened(tmp_path / "busy.sqlite" if kind == "file" else None)
    inside, go_on = threading.Event(), threading.Event()

    def write() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO lines VALUES ('thread')")
            inside.set()
            go_on.wait()

    thread = threading.Thread(target=write)
    thread.start()
    inside.wait()
    threading.Timer(0.05, go_on.set).start()
    child = os.fork()
    if child == 0:
        found = []
        try:
            add(database, "child")
            found = database.fetch("SELECT line FROM lines")
        finally:
            os._exit(0 if len(found) == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
    thread.join()
    add(database, "parent")
    assert len(database.fetch("SELECT line FROM lines")) == (3 if kind == "file" else 2)


def test_what_raises_in_a_transaction_leaves_nothing(tmp_path: Path) -> None:
    database = opened(tmp_path / "undone.sqlite")
    with pytest.raises(ZeroDivisionError), database.transaction() as connection:
        connection.execute("INSERT INTO lines VALUES ('lost')")
        raise ZeroDivisionError
    assert database.fetch("SELECT line FROM lines") == []


def test_a_file_is_made_for_its_owner(tmp_path: Path) -> None:
    add(opened(tmp_path / "own.sqlite"), "a")
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_a_lock_that_stays_is_waited_for_and_then_said(tmp_path: Path) -> None:
    file = tmp_path / "locked.sqlite"
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        opened(file, 0.05)
    holder.execute("ROLLBACK")
    add(opened(file, 0.05), "a")
    holder.close()


def test_what_is_no_database_is_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "text.sqlite"
    file.write_text("no database " * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        opened(file, 600)


def test_nothing_is_kept_in_a_file_without_a_name(tmp_path: Path) -> None:
    file = tmp_path / "moved.sqlite"
    database = opened(file)
    add(database, "a")
    file.rename(tmp_path / "old.sqlite")
    with pytest.raises(FileNotFoundError):
        add(database, "lost")
    assert not file.exists()
    assert opened(tmp_path / "old.sqlite").fetch("SELECT line FROM lines") == [("a",)]
    add(opened(file), "b")
    assert database.fetch("SELECT line FROM lines") == [("b",)]


def test_a_file_that_goes_during_a_transaction_keeps_nothing(tmp_path: Path) -> None:
    file = tmp_path / "going.sqlite"
    database = opened(file)
    with pytest.raises(FileNotFoundError), database.transaction() as connection:
        connection.execute("INSERT INTO lines VALUES ('lost')")
        file.unlink()


def test_who_still_has_the_old_file_does_not_harm_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "replaced.sqlite"
    old = opened(file)
    add(old, "old")
    for left in tmp_path.iterdir():
        left.rename(tmp_path / f"away-{left.name}")
    script = """
import os, sys
from tests.test_sqlite_file import *
database = opened(Path(sys.argv[1]))
add(database, "new")
print("acknowledged", flush=True)
sys.stdin.readline()
os._exit(1)
"""
    command = [sys.executable, "-c", script, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "acknowledged\n"
        old.close()
        other.communicate("\n")
    assert opened(file).fetch("SELECT line FROM lines") == [("new",)]
