"""Where lines are kept: directories that others tidy up, files that are moved, cut or locked, processes that move."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rls.audit import places, snapshots
from rls.audit import verify as verification
from rls.audit.log import AuditLog
from rls.audit.read import FollowedLogs, Line, read_records
from rls.catalog import Catalog
from rls.errors import AuditFailed
from tests.audit.test_verify import record, verify, write

KINDS = pytest.mark.parametrize("name", ["audit.jsonl", "audit", "audit.sqlite"])


def ids(path: Path) -> list[int]:
    return [int(found["audit_id"], 16) for found in read_records(path) if isinstance(found, dict)]


@KINDS
def test_a_process_that_goes_elsewhere_writes_to_the_same_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    log = write(Path(name), range(2), close=False, rotate_bytes=1, anchor="anchors", heads=(1, 0))
    monkeypatch.chdir(tmp_path / "elsewhere")
    log.write(record(2))
    log.close()
    log.write(record(3))
    log.close()
    assert list(Path().iterdir()) == []
    assert ids(tmp_path / name) == [0, 1, 2, 3]


@KINDS
def test_a_log_that_is_moved_away_keeps_what_was_acknowledged(tmp_path: Path, name: str) -> None:
    log = write(tmp_path / name, range(3), close=False)
    old = tmp_path / f"old-{name}"
    (tmp_path / name).rename(old)
    kept = []
    for number in (3, 4):
        # The one that finds it out may fail, and then hands nothing out.
        try:
            log.write(record(number))
            kept.append(number)
        except AuditFailed as error:
            assert error.code == "audit.write"
    log.close()
    assert kept[-1] == 4
    found = ids(old) + (ids(tmp_path / name) if (tmp_path / name).exists() else [])
    assert found == [0, 1, 2, *kept]


@pytest.mark.parametrize("name", ["audit.jsonl", "audit"])
def test_what_goes_into_a_deleted_file_is_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    log = write(tmp_path / name, range(1), close=False)
    files = [tmp_path / name] if (tmp_path / name).is_file() else list((tmp_path / name).glob("*.jsonl"))
    write_at_first = places._write

    def write_and_delete(fd: int, data: bytes) -> None:
        for file in files:
            file.unlink()
        write_at_first(fd, data)

    monkeypatch.setattr(places, "_write", write_and_delete)
    with pytest.raises(AuditFailed):
        log.write(record(1))
    monkeypatch.undo()
    log.write(record(2))
    log.close()
    assert ids(tmp_path / name) == [2]


def test_a_full_disk_is_not_filled_with_empty_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = write(tmp_path / "audit", range(2), close=False)

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        for number in range(5):
            with pytest.raises(AuditFailed):
                log.write(record(10 + number))
    log.write(record(2))
    log.close()
    assert len(list((tmp_path / "audit").iterdir())) == 2
    assert ids(tmp_path / "audit") == [0, 1, 2]


def test_what_others_leave_or_tidy_up_in_a_directory_refuses_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "audit"
    directory.mkdir()
    (directory / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    (directory / "folder.jsonl").mkdir()
    os.mkfifo(directory / "pipe.jsonl")
    write(directory, range(2), heads=(1, 0))


def test_a_lock_that_another_process_keeps_is_waited_for_and_then_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = write(tmp_path / "audit.jsonl", range(1), close=False)
    monkeypatch.setattr(places, "_WAIT", 0.05)
    with (tmp_path / "audit.jsonl").open("rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_EX)
        with pytest.raises(AuditFailed) as caught:
            log.write(record(1))
        assert caught.value.detail == "another process keeps the file locked"
        monkeypatch.undo()
        threading.Timer(0.05, fcntl.flock, (reader, fcntl.LOCK_UN)).start()
        log.write(record(2))
    log.close()
    assert ids(tmp_path / "audit.jsonl") == [0, 2]
    assert [f.code for f in verify(tmp_path / "audit.jsonl").findings] == ["open_end"]


def test_a_log_is_followed_over_its_rotation(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = write(path, range(2), close=False)
    followed = FollowedLogs([path])

    def new() -> list[int]:
        return [int(found["audit_id"], 16) for found in followed.more()]

    log.write(record(2))
    assert new() == [2]
    log.write(record(3))
    path.rename(tmp_path / "old.jsonl")
    assert new() == []
    log.write(record(4))
    assert new() == [3, 4]
    os.truncate(path, 0)
    assert new() == []
    log.write(record(5))
    assert new() == [5]
    log.close()


def test_snapshots_of_one_version_by_many_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "orders.yaml").write_text("x: 1\n")
    count = 6
    # All stand before their drafts are moved into place.
    together, fill = threading.Barrier(count), snapshots._fill
    failures: list[BaseException] = []

    def fill_together(file: object, content: bytes) -> None:
        fill(file, content)  # type: ignore[arg-type]
        together.wait(20)

    def keep(number: int) -> None:
        log = AuditLog(tmp_path / "audit", durability="process")
        try:
            snapshots.keep_snapshots(log, policies, "v", Catalog.of("w", []), texts={})
        except BaseException as error:  # noqa: BLE001
            failures.append(error)
        log.close()

    monkeypatch.setattr(snapshots, "_fill", fill_together)
    threads = [threading.Thread(target=keep, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert verify(tmp_path / "audit", key=None).findings == ()
    assert [left for left in (tmp_path / "audit" / "snapshots").iterdir() if left.name.startswith(".")] == []


def test_a_snapshot_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "orders.yaml").write_text("x: 1\n")
    synced: list[int] = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_ino), sync(fd))[1])
    log = AuditLog(tmp_path / "audit", durability="process")
    snapshots.keep_snapshots(log, policies, "v", Catalog.of("w", []), texts={})
    log.close()
    kept = tmp_path / "audit" / "snapshots"
    assert {path.stat().st_ino for path in (kept, *kept.rglob("*"))} <= set(synced)


def test_one_line_that_is_no_text_hides_no_other(tmp_path: Path) -> None:
    write(tmp_path / "audit.sqlite", range(2))
    database = sqlite3.connect(tmp_path / "audit.sqlite")
    for number, value in enumerate(("CAST(x'ff80' AS TEXT)", "x'00ff'", "5", "0.5")):
        database.execute(f"INSERT INTO lines (writer, sequence, line) VALUES ('x', {number}, {value})")
    database.commit()
    database.close()
    assert [isinstance(found, dict) for found in read_records(tmp_path / "audit.sqlite")] == [True] * 2 + [False] * 4
    assert "torn" in {f.code for f in verify(tmp_path / "audit.sqlite").findings}


@KINDS
def test_interrupts_leave_no_trace_that_looks_like_tampering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    log = write(tmp_path / name, range(2), close=False)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # Once while the line is on its way, and again while that is tidied up.
        patch.setattr(log._place, "append", interrupt)
        patch.setattr(log._place, "close", interrupt)
        with pytest.raises(KeyboardInterrupt):
            log.write(record(2))
    log.write(record(3))
    log.close()
    assert ids(tmp_path / name) == [0, 1, 3]
    assert {f.severity for f in verify(tmp_path / name).findings} <= {"warning"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_before_the_first_record_makes_two_writers(tmp_path: Path) -> None:
    log = write(tmp_path / "audit.jsonl", range(0), close=False)
    child = os.fork()
    if child == 0:
        log.write(record(1))
        log.close()
        os._exit(0)
    os.waitpid(child, 0)
    log.write(record(0))
    log.close()
    assert verify(tmp_path / "audit.jsonl").findings == ()


def test_a_log_that_is_written_while_it_is_verified_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(tmp_path / "audit", range(2), close=False)
    second = write(tmp_path / "audit", range(10, 12), close=False, heads=(1, 0))
    read_all, seen = verification.read_lines, []

    def read_and_write(source: Path, *, after: int = 0) -> Iterator[Line]:
        yield from read_all(source, after=after)
        seen.append(source)
        if len(seen) == 1:
            # The file that was just read grows, and the one that is read next refers to that.
            first.write(record(2))
            second.write(record(12))

    with monkeypatch.context() as patch:
        patch.setattr(verification, "read_lines", read_and_write)
        found = verify(tmp_path / "audit")
    assert {f.code for f in found.findings} == {"open_end"}
    assert [chain.records for chain in found.chains] == [3, 3]
    first.close()
    second.close()


def test_a_directory_that_another_process_makes_meanwhile_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Path.stat

    def look_and_make(path: Path, **how: bool) -> os.stat_result:
        try:
            return look(path, **how)
        finally:
            (tmp_path / "audit").mkdir(exist_ok=True)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", look_and_make)
        kind = places.place_kind(tmp_path / "audit")
    assert kind == "directory"
