"""Frames between an engine and its worker processes: requests, answers, errors.

Takes and returns Python values; owns that nothing a worker sends can run code here. A worker executes hostile queries
in C++; should one take it over, its answers are still only data: JSON, Arrow, and plain values (`columns`).
"""

from __future__ import annotations

import io
import json
import pickle
import socket
import struct
from dataclasses import dataclass
from typing import Any, Final

from rls.engines.base import Fetched, Job
from rls.engines.columns import NotRows, pack_rows, unpack_rows
from rls.engines.limits import Limits
from rls.errors import EngineInvalid, Position, QueryFailed, QueryRefused, RlsError
from rls.rewrite.guarded import Copy, GuardedQuery, Splice

__all__ = [
    "Request", "WorkerGone", "receive_answer", "receive_frame", "receive_request", "send_answer", "send_frame",
    "send_request",
]  # fmt: skip

_LENGTH: Final = struct.Struct("!Q")
_HEADER_BYTES: Final = 64 << 20
_MOVING_SECONDS: Final = 30.0


class WorkerGone(Exception):
    """The other side has closed the connection or sent what is not a frame."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a worker needs of a guarded query: the final text and its values, and the places of the caller's text."""

    sql: str
    original: str
    splices: tuple[Splice, ...]
    values: dict[str, object]
    parameters: dict[str, object]
    form: str
    limits: Limits
    hide_statistics: bool
    catalog_version: str
    copies: tuple[Copy, ...]

    @classmethod
    def of(cls, job: Job) -> Request:
        """The request for a job."""
        guarded = job.guarded
        return cls(
            guarded.sql,
            guarded.original,
            guarded.splices,
            dict(guarded.parameters),
            dict(job.parameters),
            job.form,
            job.limits,
            guarded.hide_statistics,
            guarded.catalog_version,
            tuple(job.copies),
        )

    def guarded(self) -> GuardedQuery:
        """The query, without its reasons."""
        return GuardedQuery(
            self.sql,
            self.values,
            self.original,
            {},
            self.splices,
            catalog_version=self.catalog_version,
            hide_statistics=self.hide_statistics,
        )


def send_request(connection: socket.socket, request: Request) -> None:
    """Engine → worker."""
    send_frame(connection, pickle.dumps(request))


def receive_request(connection: socket.socket) -> Request:
    """Worker: the next request. Raises `WorkerGone` when the engine has closed the connection."""
    found = pickle.loads(receive_frame(connection, 1 << 62))  # noqa: S301 (the engine is the trusted side)
    if not isinstance(found, Request):
        raise WorkerGone
    return found


def send_answer(connection: socket.socket, answer: Fetched | RlsError) -> None:
    """Worker → engine: a header, then a frame with the rows, or with Arrow."""
    if isinstance(answer, RlsError):
        send_frame(connection, json.dumps({"error": _error_fields(answer)}).encode())
        return
    header = {"columns": answer.columns, "types": answer.types, "rows": answer.row_count}
    if answer.table is not None:
        send_frame(connection, json.dumps({**header, "form": "arrow"}).encode())
        _send_arrow(connection, answer.table)
        return
    send_frame(connection, json.dumps({**header, "form": "rows"}).encode())
    send_frame(connection, pack_rows(answer.rows or []))


def receive_answer(connection: socket.socket, *, size: int) -> Fetched | RlsError:
    """Engine: the answer, of at most `size` bytes. Raises `WorkerGone` when the worker has died or does not answer as
    a worker does, `TimeoutError` when nothing has come within the connection's timeout."""
    try:
        header = json.loads(receive_frame(connection, _HEADER_BYTES))
        # It has run; what is left is moving the rows.
        connection.settimeout(_MOVING_SECONDS)
        if "error" in header:
            return _error(header["error"])
        columns, types, rows = tuple(header["columns"]), tuple(header["types"]), header["rows"]
        if header["form"] == "arrow":
            table = _receive_arrow(connection, size)
            if table.num_rows != rows:
                raise WorkerGone
            return Fetched(columns, types, rows, table=table)
        found = unpack_rows(receive_frame(connection, size))
        if len(found) != rows:
            raise WorkerGone
        return Fetched(columns, types, rows, rows=found)
    except (ValueError, KeyError, TypeError, NotRows) as error:
        raise WorkerGone from error


class _Sending(io.RawIOBase):
    """A socket as a file to write to; pyarrow hands over each buffer where it lies."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection

    def writable(self) -> bool:
        return True

    def write(self, part: Any, /) -> int:
        self._connection.sendall(part)
        return len(part)


def _send_arrow(connection: socket.socket, table: Any) -> None:
    """A frame with the table as an Arrow stream. The socket copies it twice, in small pieces, which costs less than new
    pages of shared memory."""
    import pyarrow

    measured = pyarrow.MockOutputStream()
    for sink in (measured, _Sending(connection)):
        if sink is not measured:
            connection.sendall(_LENGTH.pack(measured.size()))
        with pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)


def _receive_arrow(connection: socket.socket, limit: int) -> Any:
    """The table. It was not written by somebody to be trusted, so no offset in it may point outside."""
    import pyarrow

    buffer = pyarrow.allocate_buffer(_frame_size(connection, limit))
    _receive_into(connection, memoryview(buffer))
    with pyarrow.ipc.open_stream(buffer) as stream:
        table = stream.read_all()
    table.validate(full=True)
    return table


def _error_fields(error: RlsError) -> dict[str, Any]:
    position = getattr(error, "position", None)
    place = None if position is None else [position.offset, position.line, position.column, position.length]
    fields = {"code": error.code, "message": error.message, "hint": error.hint, "detail": error.detail}
    return {**fields, "kind": type(error).__name__, "position": place}


def _error(fields: dict[str, Any]) -> RlsError:
    code, message = str(fields["code"]), str(fields["message"])
    hint, detail = fields["hint"], fields["detail"]
    match fields["kind"]:
        case "QueryRefused":
            place = fields["position"]
            position = None if place is None else Position(*place)
            return QueryRefused(code, message, position=position, hint=hint, detail=detail)
        case "EngineInvalid":
            return EngineInvalid(code, message, hint=hint, detail=detail)
        case _:
            return QueryFailed(code, message, hint=hint, detail=detail)


def send_frame(connection: socket.socket, payload: bytes) -> None:
    connection.sendall(_LENGTH.pack(len(payload)))
    connection.sendall(payload)


def receive_frame(connection: socket.socket, limit: int) -> bytearray:
    found = bytearray(_frame_size(connection, limit))
    _receive_into(connection, memoryview(found))
    return found


def _frame_size(connection: socket.socket, limit: int) -> int:
    length = bytearray(_LENGTH.size)
    _receive_into(connection, memoryview(length))
    (size,) = _LENGTH.unpack(length)
    if size > limit:
        raise WorkerGone
    return int(size)


def _receive_into(connection: socket.socket, view: memoryview) -> None:
    at = 0
    while at < len(view):
        got = connection.recv_into(view[at:])
        if got == 0:
            raise WorkerGone
        at += got
