"""Copies of permitted rows are never stale: a write to the relation or to a mapping table, while others ask."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rls.engine import Engine
from rls.engines.limits import Limits
from rls.identity import mint_token
from tests.engine.kit import POLICIES, build, write_policies

MODES = ("thread", "process") if sys.platform.startswith("linux") else ("thread",)
MAPPED = (
    POLICIES.replace("using: amount < 100", "using: id IN (SELECT order_id FROM shared WHERE who = user.subject)")
    + "---\nrelation: shared\npublic: true\n"
)
DATA = """
CREATE TABLE orders AS SELECT i AS id, 'acme' AS tenant_id, {version} AS amount, 'n' AS note, 1 AS margin, 'k' AS kind
FROM range(1, 2001) t(i);
CREATE TABLE shared AS SELECT 'u' AS who, i AS order_id FROM range(1, {shared} + 1) t(i);
CREATE TABLE products (id INTEGER, name VARCHAR);
CREATE SCHEMA finance;
CREATE TABLE finance.ledger (id INTEGER);
"""
# Rows, the version of the relation, and (read beside it) of the mapping table.
SQL = "SELECT count(*), min(amount), max(amount), (SELECT count(*) FROM shared) FROM orders"
Asking = Callable[[], tuple[Any, ...]]


class Shop:
    """A database that is replaced, version after version, and an engine that keeps copies."""

    def __init__(self, folder: Path, mode: Any) -> None:
        self.folder, self.policies = folder, write_policies(folder / "policies", MAPPED)
        self.write(version=1, shared=10)
        self.engine = Engine.open(
            folder / "w.duckdb", policies=self.policies, audit=lambda _: None, isolation=mode, slices=True,
            limits=Limits(threads=1, processes=1, seconds=20),
        )  # fmt: skip
        identity = self.engine.policies.identity
        self.token = mint_token(identity, subject="u", roles=["explorer"], attributes={"tenant": "acme"})

    def write(self, *, version: int, shared: int) -> None:
        build(self.folder / "new.duckdb", DATA.format(version=version, shared=shared))
        (self.folder / "new.duckdb").replace(self.folder / "w.duckdb")

    def ask(self) -> tuple[Any, ...]:
        return tuple(self.engine.query(self.token, SQL).rows[0])


@pytest.fixture(params=MODES)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path, request.param)
    yield made
    made.engine.close()


def test_the_next_query_sees_a_write_to_the_relation_and_one_to_the_mapping_table(shop: Shop) -> None:
    # Often enough for a copy to be made, and read.
    assert {shop.ask() for _ in range(4)} == {(10, 1, 1, 10)}
    shop.write(version=2, shared=10)
    assert {shop.ask() for _ in range(4)} == {(10, 2, 2, 10)}
    shop.write(version=2, shared=11)
    assert {shop.ask() for _ in range(4)} == {(11, 2, 2, 11)}


def test_the_next_query_sees_another_policy(shop: Shop) -> None:
    assert {shop.ask() for _ in range(4)} == {(10, 1, 1, 10)}
    write_policies(shop.folder / "policies", MAPPED.replace("WHERE who", "WHERE order_id > 4 AND who"))
    shop.engine.reload()
    assert {shop.ask() for _ in range(4)} == {(6, 1, 1, 10)}


def test_while_others_write_each_answer_is_of_one_version_and_none_older_than_the_last(shop: Shop) -> None:
    written, ended = [1], threading.Event()
    wrong: list[object] = []
    counts = [0, 0]

    def read(number: int) -> None:
        newest = 0
        while not ended.is_set():
            known = written[-1]
            rows, least, most, shared = shop.ask()
            # A version has as many shared orders as its number and nine: rows and mapping table are of the same.
            if not (least == most == shared - 9 == rows - 9 and least >= max(known, newest)):
                wrong.append((known, newest, (rows, least, most, shared)))
            newest = max(newest, least)
            counts[number] += 1

    readers = [threading.Thread(target=read, args=(number,)) for number in range(len(counts))]
    for reader in readers:
        reader.start()
    for version in range(2, 5):
        size = sum(counts)
        while sum(counts) < size + 8 and not wrong:
            ended.wait(0.01)
        shop.write(version=version, shared=version + 9)
        written.append(version)
    size = sum(counts)
    while sum(counts) < size + 6 and not wrong:
        ended.wait(0.01)
    ended.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert shop.ask() == (13, 4, 4, 13)


def test_copies_were_read_in_these_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rls.engines import slices

    read: list[int] = []
    original = slices.read_from_copies

    def spy(guarded: Any, copies: Any, tables: Any) -> Any:
        read.append(len(tables))
        return original(guarded, copies, tables)

    monkeypatch.setattr("rls.engines.duckdb.read_from_copies", spy)
    shop = Shop(tmp_path, "thread")
    for _ in range(4):
        shop.ask()
    shop.engine.close()
    assert read[0] == 0
    assert read[-1] > 0
