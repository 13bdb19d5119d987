"""A database file that becomes another one: noticed by the next query, never half seen, never stale copies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from rls.engine import Engine
from rls.engines import database
from rls.engines.limits import Limits
from rls.errors import EngineInvalid, RlsError
from rls.identity import mint_token
from tests.engine.kit import POLICIES, WAREHOUSE, build, write_policies

STRICT = POLICIES.replace("relation: orders\n", "relation: orders\nstrict: true\n")
MODES = ("thread", "process") if sys.platform.startswith("linux") else ("thread",)
COUNT = "SELECT count(*), sum(amount) FROM orders"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_policies(tmp_path / "policies", STRICT)
    build(tmp_path / "w.duckdb", WAREHOUSE)
    return tmp_path


Open = Callable[[str], tuple[Engine, str]]


@pytest.fixture
def opened(folder: Path) -> Iterator[Open]:
    engines = []

    def open_(mode: Literal["thread", "process"]) -> tuple[Engine, str]:
        options: dict[str, Any] = {"policies": folder / "policies", "audit": lambda record: None, "isolation": mode}
        engine = Engine.open(folder / "w.duckdb", limits=Limits(threads=1, processes=1, seconds=20), **options)
        engines.append(engine)
        token = mint_token(engine.policies.identity, subject="u", roles=["maker"], attributes={"tenant": "acme"})
        return engine, token

    yield open_  # type: ignore[misc]
    for engine in engines:
        engine.close()


def replace_file(folder: Path, script: str) -> None:
    """As writers do: another file, moved over the old one."""
    build(folder / "new.duckdb", script)
    (folder / "new.duckdb").replace(folder / "w.duckdb")


@pytest.mark.parametrize("mode", MODES)
def test_the_next_query_reads_the_new_file(folder: Path, opened: Open, mode: str) -> None:
    engine, token = opened(mode)
    assert engine.query(token, COUNT).rows == [(20, 4200)]
    before = engine.catalog.version
    replace_file(folder, WAREHOUSE.replace("range(1, 41)", "range(1, 21)"))
    assert engine.query(token, COUNT).rows == [(10, 1100)]
    assert engine.catalog.version == before
    assert engine.query(token, "SELECT count(*) FROM products").rows == [(2,)]
    # Another catalog: guards are made for what is there now.
    replace_file(folder, WAREHOUSE.replace("note VARCHAR, margin INTEGER", "margin INTEGER, note VARCHAR, extra INTEGER")
                 .replace("'note-' || i, i, 'k'", "i, 'note-' || i, 7, 'k'"))  # fmt: skip
    assert engine.query(token, "SELECT extra, count(*) FROM orders GROUP BY extra").rows == [(7, 20)]
    assert engine.catalog.version != before


def test_a_new_column_is_not_seen_through_an_old_guard(folder: Path, opened: Open) -> None:
    engine, _ = opened("thread")
    maker = mint_token(engine.policies.identity, subject="e", roles=["explorer"], attributes={"tenant": "acme"})
    assert "margin" not in engine.query(maker, "SELECT * FROM orders").columns
    replace_file(folder, WAREHOUSE.replace("margin INTEGER", '"Margin" INTEGER').replace("i, 'k'", "i, 'k'"))
    assert "margin" not in [name.lower() for name in engine.query(maker, "SELECT * FROM orders").columns]


def test_a_file_that_cannot_be_opened_stops_queries_until_it_can(folder: Path, opened: Open) -> None:
    engine, token = opened("thread")
    (folder / "new.duckdb").write_bytes(b"half written")
    (folder / "new.duckdb").replace(folder / "w.duckdb")
    for _ in range(2):
        with pytest.raises(EngineInvalid) as caught:
            engine.query(token, COUNT)
        assert caught.value.code == "engine.database_invalid"
    (folder / "w.duckdb").unlink()
    with pytest.raises(EngineInvalid) as caught:
        engine.query(token, COUNT)
    assert caught.value.code == "engine.database_missing"
    replace_file(folder, WAREHOUSE)
    assert engine.query(token, COUNT).rows == [(20, 4200)]


def test_a_link_that_is_pointed_elsewhere_is_another_file(folder: Path, opened: Open) -> None:
    (folder / "w.duckdb").replace(folder / "first.duckdb")
    build(folder / "second.duckdb", WAREHOUSE.replace("range(1, 41)", "range(1, 11)"))
    (folder / "w.duckdb").symlink_to(folder / "first.duckdb")
    engine, token = opened("thread")
    assert engine.query(token, COUNT).rows == [(20, 4200)]
    (folder / "next").symlink_to(folder / "second.duckdb")
    (folder / "next").replace(folder / "w.duckdb")
    assert engine.query(token, COUNT).rows == [(5, 300)]


@pytest.mark.skipif("process" not in MODES, reason="worker processes need Linux")
def test_a_writer_elsewhere_is_kept_out_while_the_file_is_open(folder: Path, opened: Open) -> None:
    """DuckDB's own lock, held by the worker processes; an engine that is closed gives it back."""
    engine, token = opened("process")
    write = f"import duckdb; duckdb.connect({str(folder / 'w.duckdb')!r}).execute('DELETE FROM orders')"

    def try_to_write() -> str:
        return subprocess.run([sys.executable, "-c", write], capture_output=True, text=True, check=False).stderr

    assert "Conflicting lock" in try_to_write()
    assert engine.query(token, COUNT).rows == [(20, 4200)]
    engine.close()
    assert try_to_write() == ""


def test_a_writer_in_place_is_noticed(folder: Path, opened: Open) -> None:
    """POSIX gives the lock away when the process closes another handle of the file; then only its state tells."""
    engine, token = opened("thread")
    assert engine.query(token, COUNT).rows == [(20, 4200)]
    (folder / "w.duckdb").open("rb").close()
    write = (
        f"import duckdb; c = duckdb.connect({str(folder / 'w.duckdb')!r}); c.execute('DELETE FROM orders WHERE id > 4')"
    )
    subprocess.run([sys.executable, "-c", write], check=True)
    assert engine.query(token, COUNT).rows == [(2, 60)]


def test_what_a_writer_leaves_in_its_log_is_noticed(folder: Path, opened: Open) -> None:
    """The file itself is as it was: DuckDB reads the log beside it as well."""
    engine, token = opened("thread")
    assert engine.query(token, COUNT).rows == [(20, 4200)]
    before = (folder / "w.duckdb").read_bytes()
    write = (
        f"import duckdb; c = duckdb.connect({str(folder / 'w.duckdb')!r}); "
        "c.execute('PRAGMA disable_checkpoint_on_shutdown'); c.execute('DELETE FROM orders WHERE id > 4')"
    )
    subprocess.run([sys.executable, "-c", write], check=True)
    assert (folder / "w.duckdb.wal").exists()
    assert (folder / "w.duckdb").read_bytes() == before
    assert engine.query(token, COUNT).rows == [(2, 60)]


def test_another_file_of_the_same_size_and_time_is_another_file(folder: Path, opened: Open) -> None:
    engine, token = opened("thread")
    assert engine.query(token, COUNT).rows == [(20, 4200)]
    old = (folder / "w.duckdb").stat()
    build(folder / "new.duckdb", WAREHOUSE.replace("range(1, 41)", "range(3, 43)"))
    os.utime(folder / "new.duckdb", ns=(old.st_atime_ns, old.st_mtime_ns))
    new = (folder / "new.duckdb").stat()
    assert (new.st_size, new.st_mtime_ns) == (old.st_size, old.st_mtime_ns)
    (folder / "new.duckdb").replace(folder / "w.duckdb")
    assert engine.query(token, COUNT).rows != [(20, 4200)]


@pytest.mark.parametrize("mode", MODES)
def test_refresh_opens_the_file_again(opened: Open, mode: str) -> None:
    engine, token = opened(mode)
    assert engine.query(token, COUNT).rows == [(20, 4200)]
    attached = engine._executor.catalog.attached
    engine.refresh()
    assert engine._executor.catalog.attached != attached
    assert engine.query(token, COUNT).rows == [(20, 4200)]


@pytest.mark.parametrize("mode", MODES)
def test_no_query_fails_while_the_file_is_replaced(folder: Path, opened: Open, mode: str) -> None:
    """Every answer is that of one of the files, whole; and what comes after a change is of the new one."""
    engine, token = opened(mode)
    counts = (40, 20, 30)
    scripts = [WAREHOUSE.replace("range(1, 41)", f"range(1, {count + 1})") for count in counts]
    known = {(count // 2, sum(i * 10 for i in range(1, count + 1) if i % 2 == 0)) for count in counts}
    seen: list[object] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            try:
                seen.append(engine.query(token, COUNT).rows[0])
            except RlsError as error:
                seen.append((error.code, error.detail))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for script in scripts[1:]:
        replace_file(folder, script)
        size = len(seen)
        while len(seen) < size + 4:
            ended.wait(0.005)
    ended.set()
    for thread in threads:
        thread.join()
    assert set(map(str, seen)) <= set(map(str, known))
    assert engine.query(token, COUNT).rows == [(15, 2400)]


@pytest.mark.parametrize("mode", MODES)
def test_a_closed_engine_opens_nothing_again(folder: Path, opened: Open, mode: str) -> None:
    engine, token = opened(mode)
    engine.close()
    replace_file(folder, WAREHOUSE)
    for ask in (engine.refresh, lambda: engine.query(token, COUNT)):
        with pytest.raises(EngineInvalid) as caught:
            ask()
        assert caught.value.code == "engine.closed"


def test_an_engine_that_is_closed_while_the_file_is_read_leaves_nothing_open(
    folder: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, _ = opened("thread")
    found, read = [], database.Database._open

    def read_and_close(this: Any, attached: str | None) -> Any:
        found.append(read(this, attached))
        engine.close()
        return found[0]

    monkeypatch.setattr(database.Database, "_open", read_and_close)
    with pytest.raises(EngineInvalid) as caught:
        engine.refresh()
    assert caught.value.code == "engine.closed"
    (instance,) = found[0].instances.values()
    assert instance.closed
    assert not instance.temporary.parent.exists()


def test_a_query_whose_instance_is_replaced_before_it_begins_has_the_next(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, token = opened("thread")
    choose, chosen = database.Database.instance, []

    def choose_and_refresh(this: Any, **which: Any) -> Any:
        chosen.append(choose(this, **which))
        if len(chosen) == 1:
            engine.refresh()
        return chosen[-1]

    monkeypatch.setattr(database.Database, "instance", choose_and_refresh)
    assert engine.query(token, COUNT).rows == [(20, 4200)]
    assert len(chosen) == 2


def test_a_temporary_directory_that_was_tidied_up_is_made_again(opened: Open) -> None:
    engine, token = opened("thread")
    (instance,) = engine._executor._database._opened.instances.values()  # type: ignore[attr-defined]
    shutil.rmtree(instance.temporary.parent)
    engine.refresh()
    assert engine.query(token, COUNT).rows == [(20, 4200)]


@pytest.mark.parametrize("mode", MODES)
def test_a_process_that_goes_elsewhere_reads_the_same_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch, mode: Literal["thread", "process"]
) -> None:
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder)
    limits = Limits(threads=1, processes=1, seconds=20)
    with Engine.open("w.duckdb", policies="policies", audit="log.jsonl", isolation=mode, limits=limits) as engine:
        token = mint_token(engine.policies.identity, subject="u", roles=["maker"], attributes={"tenant": "acme"})
        monkeypatch.chdir(folder / "elsewhere")
        engine.reload()
        assert engine.query(token, COUNT).rows == [(20, 4200)]
        replace_file(folder, WAREHOUSE.replace("range(1, 41)", "range(1, 31)"))
        assert engine.query(token, COUNT).rows == [(15, 2400)]
    assert list((folder / "elsewhere").iterdir()) == []
