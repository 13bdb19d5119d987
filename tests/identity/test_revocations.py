"""Revoked and used-up tokens, in memory and in a file that processes share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rls.identity import revocations
from rls.identity.revocations import GRACE, Revocations, RevocationsDown, shared_revocations

NOW = 1_800_000_000.0
ROOT = str(Path(__file__).parents[2])


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Revocations:
    return Revocations(None if request.param == "memory" else tmp_path / "revocations.sqlite")


def revoked(store: Revocations, token_id: str | None = "t", subject: str = "u", issuer: str = "i", issued_at: float = NOW) -> bool:  # fmt: skip
    return store.is_revoked(issuer=issuer, token_id=token_id, subject=subject, issued_at=issued_at)


def test_a_token_of_one_issuer(store: Revocations) -> None:
    assert not revoked(store)
    before = store.stamp()
    store.revoke_token("t", issuer="i", until=NOW + 60, now=NOW)
    assert store.stamp() != before
    assert revoked(store)
    assert not revoked(store, issuer="j")
    assert not revoked(store, token_id="T")
    assert not revoked(store, token_id=None)


def test_all_tokens_of_a_subject_before_a_moment(store: Revocations) -> None:
    store.revoke_subject("u", before=NOW, now=NOW)
    assert revoked(store, issued_at=NOW - 1, issuer="i")
    assert revoked(store, issued_at=NOW - 1, issuer="j", token_id=None)
    assert not revoked(store, issued_at=NOW)
    assert not revoked(store, issued_at=NOW - 1, subject="v")
    store.revoke_subject("u", before=NOW - 100, now=NOW)
    assert revoked(store, issued_at=NOW - 1), "an earlier moment opens nothing again"
    store.revoke_subject("v", before=NOW, issuer="i", now=NOW)
    assert revoked(store, subject="v", issued_at=NOW - 1, issuer="i")
    assert not revoked(store, subject="v", issued_at=NOW - 1, issuer="j")


def test_a_single_use(store: Revocations) -> None:
    before = store.stamp()
    granted = [store.use_once(issuer="i", token_id="t", until=NOW + 60, now=NOW) for _ in range(3)]
    assert granted == [True, False, False]
    assert store.use_once(issuer="j", token_id="t", until=NOW + 60, now=NOW)
    assert store.is_used(issuer="i", token_id="t")
    assert not store.is_used(issuer="i", token_id="other")
    # Uses are never cached, so they need not void what is.
    assert store.stamp() == before


def test_what_has_expired_is_forgotten(store: Revocations) -> None:
    store.revoke_token("t", issuer="i", until=NOW + 60, now=NOW)
    store.use_once(issuer="i", token_id="s", until=NOW + 60, now=NOW)
    store.revoke_subject("u", now=NOW)
    store.revoke_token("other", issuer="i", now=NOW + 61)
    assert revoked(store, subject="x"), "the clock may have been ahead"
    assert store.is_used(issuer="i", token_id="s")
    store.revoke_token("other", issuer="i", now=NOW + 61 + GRACE)
    assert not revoked(store, subject="x")
    assert not store.is_used(issuer="i", token_id="s")
    assert revoked(store, issued_at=NOW - 1), "no expiry is known, so it stays as long as any token may live"


def test_one_of_many_threads(store: Revocations) -> None:
    granted: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda: granted.append(store.use_once(issuer="i", token_id="t", until=NOW + 60, now=NOW))
        )
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(granted) == [False] * 15 + [True]


WORK = """
import sys
from rls.identity.revocations import Revocations
store = Revocations(sys.argv[1])
print(sum(store.use_once(issuer="i", token_id=str(n), until=9e9, now=1.0) for n in range(40)))
store.revoke_token("gone", issuer="i", now=1.0)
"""


def test_processes_share_a_file(tmp_path: Path) -> None:
    file = tmp_path / "shared.sqlite"
    store = Revocations(file)
    before = store.stamp()
    command = [sys.executable, "-c", WORK, str(file)]
    workers = [subprocess.Popen(command, env={"PYTHONPATH": ROOT}, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    granted = [int(worker.communicate(timeout=60)[0]) for worker in workers]
    assert sum(granted) == 40
    assert store.stamp() != before
    assert revoked(store, "gone")
    assert store.is_used(issuer="i", token_id="39")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_tells_its_parent(tmp_path: Path) -> None:
    store = Revocations(tmp_path / "forked.sqlite")
    before = store.stamp()
    child = os.fork()
    if child == 0:
        try:
            store.revoke_token("t", issuer="i")
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.stamp() != before
    assert revoked(store)


def test_private_to_its_owner(tmp_path: Path) -> None:
    Revocations(tmp_path / "own.sqlite")
    for file in tmp_path.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(RevocationsDown):
        Revocations(tmp_path / "nowhere" / "r.sqlite")
    (tmp_path / "text.sqlite").write_text("this is no database, " * 100)
    with pytest.raises(RevocationsDown):
        Revocations(tmp_path / "text.sqlite")


def test_a_file_that_breaks_later_refuses(tmp_path: Path) -> None:
    store = Revocations(tmp_path / "r.sqlite")
    store.close()
    (tmp_path / "r.sqlite").write_text("this is no database, " * 100)
    for left in ("r.sqlite-wal", "r.sqlite-shm"):
        (tmp_path / left).unlink(missing_ok=True)
    with pytest.raises(RevocationsDown):
        revoked(store)
    with pytest.raises(RevocationsDown):
        store.use_once(issuer="i", token_id="t", until=NOW, now=NOW)


@pytest.mark.parametrize("left", [b"", b"1234"])
def test_a_stamp_that_is_cut_short_ends_no_process_and_hides_no_change(tmp_path: Path, left: bytes) -> None:
    # In a process of its own: a file that is mapped into memory and cut short ends it.
    script = f"""
import sys
from pathlib import Path
from rls.identity.revocations import Revocations
file, stamp = Path(sys.argv[1]), Path(sys.argv[1] + "-stamp")
reader, writer = Revocations(file), Revocations(file)
stamp.write_bytes({left!r})
assert reader.stamp() != reader.stamp()
writer.revoke_token("t", issuer="i")
before = reader.stamp()
assert before == reader.stamp()
stamp.unlink()
assert reader.stamp() != reader.stamp()
writer.revoke_token("u", issuer="i")
assert before != reader.stamp() == reader.stamp()
"""
    command = [sys.executable, "-c", script, str(tmp_path / "r.sqlite")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def test_a_database_that_is_gone_lets_nobody_in_until_there_is_one(tmp_path: Path) -> None:
    file, aside = tmp_path / "r.sqlite", tmp_path / "aside.sqlite"
    store = Revocations(file)
    store.revoke_token("t", issuer="i", until=NOW, now=NOW)
    file.rename(aside)
    for _ in range(2):
        with pytest.raises(RevocationsDown, match="deleted or moved away"):
            revoked(store)
    with pytest.raises(RevocationsDown):
        store.use_once(issuer="i", token_id="t", until=NOW, now=NOW)
    assert not file.exists()
    aside.rename(file)
    assert revoked(store)


def test_a_database_that_is_replaced_is_followed(tmp_path: Path) -> None:
    file = tmp_path / "r.sqlite"
    store = Revocations(file)
    assert not revoked(store)
    other = Revocations(tmp_path / "other.sqlite")
    other.revoke_token("t", issuer="i", until=NOW, now=NOW)
    other.close()
    (tmp_path / "other.sqlite").rename(file)
    assert revoked(store)


def test_a_process_that_goes_elsewhere_asks_the_same_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = Revocations("r.sqlite")
    store.revoke_token("t", issuer="i", until=NOW, now=NOW)
    store.close()  # as a fork does
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert revoked(store)
    assert list(Path().iterdir()) == []


def test_a_change_that_cannot_be_told_to_others_fails(tmp_path: Path) -> None:
    store = Revocations(tmp_path / "r.sqlite")
    (tmp_path / "r.sqlite-stamp").unlink()
    (tmp_path / "r.sqlite-stamp").mkdir()
    with pytest.raises(RevocationsDown):
        store.revoke_token("t", issuer="i")
    assert revoked(store)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_a_store_is_being_opened_leaves_no_lock(tmp_path: Path) -> None:
    with revocations._SHARING:
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            found = shared_revocations(tmp_path / "r.sqlite", identity=tmp_path)
            os._exit(0 if found.shared else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_memory_outlives_a_reload(tmp_path: Path) -> None:
    identity = tmp_path / "identity.yaml"
    one = shared_revocations(None, identity=identity)
    one.revoke_token("t", issuer="i")
    assert revoked(shared_revocations(None, identity=identity))
    assert not revoked(shared_revocations(None, identity=tmp_path / "other.yaml"))
