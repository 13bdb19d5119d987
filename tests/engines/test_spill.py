"""Temporary files: in a private directory, bounded, and gone afterwards, whatever ended the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rls.engines.duckdb import DuckDBExecutor
from rls.engines.limits import Limits
from rls.engines.spill import SpillDirectory, size_of
from rls.engines.workers import WorkersExecutor
from rls.errors import EngineInvalid, QueryFailed, RlsError
from tests.engine.kit import WAREHOUSE, build, ready

posix = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="worker processes need Linux")

# Sorts some 100 MB.
LARGE = "SELECT max(n) FROM (SELECT row_number() OVER (ORDER BY h) n FROM (SELECT hash(i)::VARCHAR || repeat('x', 60) h FROM range(900000) t(i)))"
# Writes them for some seconds.
SPILLS_AND_WAITS = LARGE.replace("900000", "3000000")
LIMITS = Limits(threads=1, memory=90_000_000, processes=1, seconds=60)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("spill") / "warehouse.duckdb", WAREHOUSE)


def test_a_query_that_needs_more_than_memory_uses_disk(database: Path, tmp_path: Path) -> None:
    executor = DuckDBExecutor.open(database, limits=LIMITS, temporary=tmp_path)
    (private,) = tmp_path.iterdir()
    assert private.stat().st_mode & 0o777 == 0o700
    most, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.01):
            most[0] = max(most[0], *(size_of(part) for part in private.iterdir() if part.is_dir()))

    thread = threading.Thread(target=watch)
    thread.start()
    assert executor.execute(ready(LARGE), {}, fetch="rows").rows == [(900_000,)]
    ended.set()
    thread.join()
    assert most[0] > 1_000_000
    # Nothing of it is left for the next query.
    assert sum(size_of(part) for part in private.iterdir() if part.is_dir()) <= 4096
    executor.close()
    assert list(tmp_path.iterdir()) == []


def test_disk_is_bounded_and_may_be_none(database: Path, tmp_path: Path) -> None:
    for disk in (4_000_000, 0):
        limits = Limits(threads=1, memory=90_000_000, temporary_disk=disk)
        executor = DuckDBExecutor.open(database, limits=limits, temporary=tmp_path)
        with pytest.raises(QueryFailed) as caught:
            executor.execute(ready(LARGE), {}, fetch="rows")
        assert caught.value.code == "run.memory"
        assert bool(list(tmp_path.iterdir())) is (disk > 0)
        executor.close()


def test_nothing_but_its_own_directory_is_in_reach(database: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a\n1\n")
    executor = DuckDBExecutor.open(database, limits=LIMITS, temporary=tmp_path / ".")
    for text in (
        f"SELECT * FROM read_csv('{tmp_path}/other.csv')",
        f"SELECT * FROM glob('{tmp_path}/*')",
        f"SELECT * FROM read_text('{tmp_path}/*/*')",
        "SELECT * FROM read_blob('/etc/hostname')",
    ):
        with pytest.raises(RlsError):
            executor.execute(ready(text), {}, fetch="rows")
    executor.close()


def test_a_place_that_cannot_be_written_is_said_at_once(database: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineInvalid) as caught:
        DuckDBExecutor.open(database, limits=LIMITS, temporary=tmp_path / "file")
    assert caught.value.code == "engine.temporary"
    assert DuckDBExecutor.open(database, limits=Limits(temporary_disk=0), temporary=tmp_path / "file").close() is None


@posix
def test_roles_may_use_less_disk(database: Path, tmp_path: Path) -> None:
    executor = WorkersExecutor.open(database, limits=LIMITS, temporary=tmp_path)
    own = executor.limits.narrowed({"temporary_disk": 2_000_000})
    with pytest.raises(QueryFailed) as caught:
        executor.execute(ready(LARGE), {}, fetch="rows", limits=own)
    assert caught.value.code == "run.temporary_disk"
    assert executor.execute(ready(LARGE), {}, fetch="rows").rows == [(900_000,)]
    executor.close()
    assert list(tmp_path.iterdir()) == []


@posix
def test_what_a_killed_worker_left_vanishes_with_it(database: Path, tmp_path: Path) -> None:
    executor = WorkersExecutor.open(database, limits=LIMITS, temporary=tmp_path)
    worker = next(iter(executor._workers))
    failed: list[str] = []

    def ask() -> None:
        try:
            executor.execute(ready(SPILLS_AND_WAITS), {}, fetch="rows")
        except QueryFailed as error:
            failed.append(error.code)

    thread = threading.Thread(target=ask)
    thread.start()
    assert worker._temporary is not None
    while size_of_all(worker._temporary) < 1_000_000:
        time.sleep(0.005)
    os.kill(worker.pid, signal.SIGKILL)
    thread.join()
    assert failed == ["run.crashed"]
    assert not worker._temporary.exists()
    assert executor.execute(ready("SELECT 1"), {}, fetch="rows").rows == [(1,)]
    executor.close()
    assert list(tmp_path.iterdir()) == []


def size_of_all(directory: Path) -> int:
    return sum(size_of(Path(found)) for found, _, _ in os.walk(directory))


@posix
def test_what_a_killed_engine_left_is_removed_by_the_next(tmp_path: Path) -> None:
    text = "import sys, time; from rls.engines.spill import SpillDirectory; d = SpillDirectory(sys.argv[1]); (d.part() / 'rows').write_text('secret'); print('ready', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", text, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    mine = SpillDirectory(tmp_path)
    # The other one lives: both stay.
    assert len(list(tmp_path.iterdir())) == 2
    process.kill()
    process.wait()
    process.stdout.close()
    (tmp_path / "rls-temporary-not-ours").mkdir()
    (tmp_path / "else").mkdir()
    other = SpillDirectory(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {mine.path.name, other.path.name, "rls-temporary-not-ours", "else"}
    mine.close()
    other.close()
