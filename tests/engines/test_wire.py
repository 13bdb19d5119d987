"""What goes between an engine and its workers, and that an answer is only ever data."""

from __future__ import annotations

import datetime
import json
import os
import pickle
import socket
import struct
from collections.abc import Iterator
from decimal import Decimal
from uuid import UUID

import pytest

from rls.engines.base import Fetched, Job
from rls.engines.limits import Limits
from rls.engines.wire import Request, WorkerGone, receive_answer, receive_request, send_answer, send_request
from rls.errors import EngineInvalid, Position, QueryFailed, QueryRefused, RlsError
from rls.rewrite.guarded import Copy, GuardedQuery, Splice

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    engine, worker = socket.socketpair()
    engine.settimeout(10)
    worker.settimeout(10)
    yield engine, worker
    engine.close()
    worker.close()


def frame(payload: bytes) -> bytes:
    return struct.pack("!Q", len(payload)) + payload


def header(**fields: object) -> bytes:
    return frame(json.dumps({"columns": ["a"], "types": ["INTEGER"], "rows": 1, "form": "rows", **fields}).encode())


def test_a_request_arrives_as_it_was_sent(pair: Pair) -> None:
    engine, worker = pair
    copy = Copy("k", "t", ("(SELECT 1)",), "(SELECT 1)", {"rls_t": 1}, strict=True, once=False, version="v")
    splices, values = (Splice(7, 8, "$rls_t"),), {"rls_t": ["a"]}
    asked = GuardedQuery("SELECT $rls_t", values, "SELECT t", {}, splices, catalog_version="c")
    request = Request.of(Job(asked, {"x": None}, "arrow", Limits(rows=5), [copy]))
    send_request(engine, request)
    assert receive_request(worker) == request
    guarded = request.guarded()
    assert (guarded.sql, guarded.original, guarded.parameters) == ("SELECT $rls_t", "SELECT t", {"rls_t": ["a"]})
    assert (guarded.splices, guarded.catalog_version) == (splices, "c")
    assert request.limits.rows == 5
    assert request.copies == (copy,)


def test_rows_arrive_with_their_values(pair: Pair) -> None:
    engine, worker = pair
    pytz = pytest.importorskip("pytz")
    when = datetime.datetime(2024, 1, 1, tzinfo=pytz.timezone("Europe/Paris"))
    values = (
        1,
        "é",
        None,
        Decimal("1.50"),
        b"\0",
        True,
        2.5,
        when,
        datetime.timedelta(days=1),
        UUID(int=5),
        [{"a": (1,)}],
    )
    sent = Fetched(("a",) * len(values), ("X",) * len(values), 2, rows=[values, values])
    send_answer(worker, sent)
    assert receive_answer(engine, size=1 << 20) == sent


def test_arrow_arrives_whole(pair: Pair) -> None:
    engine, worker = pair
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"a": [1, None, 3], "b": pyarrow.array(["x", "y", "x"]).dictionary_encode()})
    send_answer(worker, Fetched(("a", "b"), ("INTEGER", "VARCHAR"), 3, table=table))
    found = receive_answer(engine, size=1 << 20)
    assert isinstance(found, Fetched)
    assert found.table.equals(table)
    empty = table.slice(0, 0)
    send_answer(worker, Fetched(("a", "b"), ("INTEGER", "VARCHAR"), 0, table=empty))
    found = receive_answer(engine, size=1 << 20)
    assert isinstance(found, Fetched)
    assert found.table.schema == table.schema


@pytest.mark.parametrize(
    "error",
    [
        QueryRefused("query.x", "no", position=Position(3, 1, 4, 2), hint="do", detail="why"),
        QueryRefused("query.x", "no"),
        QueryFailed("run.x", "no", hint="do"),
        EngineInvalid("engine.x", "no"),
    ],
)
def test_errors_arrive_as_what_they_were(pair: Pair, error: RlsError) -> None:
    engine, worker = pair
    send_answer(worker, error)
    found = receive_answer(engine, size=1000)
    assert type(found) is type(error)
    assert isinstance(found, RlsError)
    assert found.to_dict() == error.to_dict()
    assert found.detail == error.detail


class _Attack:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("true",)


@pytest.mark.parametrize(
    "sent",
    [
        header() + frame(pickle.dumps(_Attack())),
        header() + frame(pickle.dumps([os.getcwd])),
        header() + frame(pickle.dumps({"not": "rows"})),
        header() + frame(pickle.dumps([("", (1, 2))])),
        header() + frame(b"garbage"),
        header() + frame(pickle.dumps([("Decimal", ["x"])])),
        header() + frame(pickle.dumps([("date", ["2024-13-01"])])),
        header() + frame(pickle.dumps([("date", [20240101])])),
        header() + frame(pickle.dumps([("system", ["true"])])),
        header() + frame(pickle.dumps([([], [1])])),
        header() + frame(pickle.dumps([("", [1]), ("", [1, 2])])),
        header() + frame(pickle.dumps([1])),
        header() + struct.pack("!Q", 1 << 40),
        struct.pack("!Q", 1 << 60),
        frame(b"{}"),
        frame(b"\xff"),
        frame(b"[1]"),
        header(form="arrow") + b"\0",
        header(form="arrow") + frame(b"garbage"),
        header(form="arrow") + frame(b""),
        b"\0\0",
        b"",
    ],
)
def test_a_worker_that_does_not_answer_as_one_is_gone(pair: Pair, sent: bytes) -> None:
    engine, worker = pair
    worker.sendall(sent)
    worker.shutdown(socket.SHUT_WR)
    with pytest.raises(WorkerGone):
        receive_answer(engine, size=1 << 20)


def test_an_arrow_table_may_not_be_larger_than_asked_for(pair: Pair) -> None:
    engine, worker = pair
    pyarrow = pytest.importorskip("pyarrow")
    send_answer(worker, Fetched(("a",), ("INTEGER",), 1000, table=pyarrow.table({"a": list(range(1000))})))
    with pytest.raises(WorkerGone):
        receive_answer(engine, size=1000)


def test_an_arrow_table_does_not_reach_into_the_engines_memory(pair: Pair) -> None:
    engine, worker = pair
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"a": ["x", "yy", "zzz"]})
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content = sink.getvalue().to_pybytes()
    offsets = struct.pack("<4i", 0, 1, 3, 6)
    assert content.count(offsets) == 1
    worker.sendall(header(form="arrow", rows=3) + frame(content))
    found = receive_answer(engine, size=1 << 20)
    assert isinstance(found, Fetched)
    assert found.table.equals(table)
    for wrong in ((0, 1, 3, 1 << 20), (0, 1 << 20, 3, 6), (-4, 1, 3, 6)):
        worker.sendall(header(form="arrow", rows=3) + frame(content.replace(offsets, struct.pack("<4i", *wrong))))
        with pytest.raises(WorkerGone):
            receive_answer(engine, size=1 << 20)


def test_an_engine_that_has_ended_ends_the_worker(pair: Pair) -> None:
    engine, worker = pair
    engine.close()
    with pytest.raises(WorkerGone):
        receive_request(worker)
