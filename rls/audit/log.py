"""Records and events → lines of a hash chain in a place, many threads' at once, acknowledged when they are kept.

`AuditLog` is the sink for files, directories and SQLite databases. Owns group commit: `write` returns once its record
and everything before it is on the disk (or out of this process's hands, as `durability` says) and signed, or raises.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import weakref
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rls.audit.anchors import append_anchors
from rls.audit.chain import Chain, Link, Signer
from rls.audit.places import Durability, Place, open_place
from rls.audit.record import AuditRecord
from rls.errors import AuditFailed
from rls.forks import after_fork

__all__ = ["FORMAT", "ROTATE_BYTES", "AuditLog"]

FORMAT = 1
ROTATE_BYTES = 64 << 20
HEADS_RECORDS = 1_000
HEADS_SECONDS = 60.0


class _Batch:
    """Bodies that are written together; `failure` says why they were not."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.done = False
        self.failure: str | None = None


class AuditLog:
    """Appends records to a log that shows tampering. Safe to share between threads; processes open one each.

    path        a directory (a file per writer, a new one every `rotate_bytes`), a `.sqlite` database, or any other
                name for one file of JSON lines that all processes share
    signer      of `rls.audit.signing.read_signer`; None: the chain shows accidents, and changes by those who do not
                hash again, but anybody who may write the files can rewrite them
    durability  `disk`: acknowledged records survive a loss of power; `process`: only the end of this process
    heads       every so many records or seconds a line names the last lines of all writers in sight, so that the end
                of a chain cannot be cut off without cutting all
    anchor      a file elsewhere (another machine's, append-only) that gets this writer's last line as often

    Raises `AuditFailed` (`audit.open`).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        signer: Signer | None = None,
        durability: Durability = "disk",
        rotate_bytes: int = ROTATE_BYTES,
        heads: tuple[int, float] = (HEADS_RECORDS, HEADS_SECONDS),
        anchor: str | os.PathLike[str] | None = None,
    ) -> None:
        # Wherever the process goes: who runs in the background leaves the directory it was started in.
        self.path = Path(path).absolute()
        self._signer, self._durability, self._rotate_bytes = signer, durability, rotate_bytes
        self._heads_due, self._anchor = heads, None if anchor is None else Path(anchor).absolute()
        self._chain = Chain()
        self._place: Place | None = None
        self._after: dict[str, Any] | None = None
        # Whether the place may end otherwise than the chain says: while lines are on their way, and if that went wrong.
        self._unsure = False
        self._since_heads, self._heads_at = 0, time.monotonic()
        self._referred: dict[str, int] = {}
        self._filling, self._turn, self._batch = threading.Lock(), threading.Lock(), _Batch()
        failure = None
        try:
            self._place = self._open()
        except OSError as error:
            what = f"the audit log `{os.fspath(path)}` cannot be opened"
            failure = AuditFailed("audit.open", what, detail=str(error))
        if failure:
            raise failure
        _OPEN.add(self)

    def write(self, record: AuditRecord) -> None:
        """Keep a record. Raises `AuditFailed` (`audit.write`): it is not known whether it was kept."""
        self._put(record.to_json())

    def note(self, event: str, **what: Any) -> None:
        """Keep an event that is no attempt: which policies are in force, say. Raises like `write`."""
        self._put(_event(event, what))

    def close(self) -> None:
        """Say that the chain ends here, and close the place; a later `write` begins a new chain."""
        with self._turn:
            if self._place is None:
                return
            if self._chain.sequence and not self._unsure:
                self._unsure = True
                with contextlib.suppress(OSError):
                    self._place.append(self._chain.seal([_event("close", {})], self._signer))
                    self._publish()
            self._abandon()
            self._after = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _put(self, body: str) -> None:
        """Join the batch that is being filled; whoever's turn it is writes it for all who joined."""
        with self._filling:
            batch = self._batch
            batch.bodies.append(body)
        with self._turn:
            if not batch.done:
                with self._filling:
                    self._batch = _Batch()
                self._commit(batch)
        if batch.failure is not None:
            raise AuditFailed(
                "audit.write",
                "the audit record could not be written, so nothing is handed out",
                detail=batch.failure,
            )

    def _commit(self, batch: _Batch) -> None:
        batch.failure = "interrupted"
        try:
            if self._unsure:
                self._abandon()
            if self._place is None:
                self._place = self._open()
            self._unsure = True
            bodies = batch.bodies if self._chain.sequence else [self._opening(self._place), *batch.bodies]
            heads = self._heads(self._place, len(batch.bodies))
            self._place.append(self._chain.seal(bodies + heads, self._signer))
            if heads or len(bodies) > len(batch.bodies):
                self._publish()
            batch.failure, self._unsure = None, False
        except OSError as error:
            batch.failure = str(error)
        finally:
            # Whatever came in between, an interrupt too: nobody waits for this batch any more.
            batch.done = True
            if batch.failure is not None:
                self._abandon()

    def _open(self) -> Place:
        return open_place(
            self.path, writer=self._chain.writer, durability=self._durability, rotate_bytes=self._rotate_bytes
        )

    def _opening(self, place: Place) -> str:
        """The first line of a chain: who writes, how it is signed, and the ends of all other chains in sight."""
        return _event(
            "open",
            {
                "format": FORMAT,
                "host": socket.gethostname(),
                "process": os.getpid(),
                "signing": self._signer.name if self._signer else "",
                "after": self._after,
                "heads": _references(place.heads()),
            },
        )

    def _heads(self, place: Place, count: int) -> list[str]:
        self._since_heads += count
        records, seconds = self._heads_due
        now = time.monotonic()
        if self._since_heads < records and now - self._heads_at < seconds:
            return []
        self._since_heads, self._heads_at = 0, now
        others = {
            writer: link
            for writer, link in place.heads().items()
            if writer != self._chain.writer and link.sequence > self._referred.get(writer, -1)
        }
        self._referred.update({writer: link.sequence for writer, link in others.items()})
        return [_event("heads", {"heads": _references(others)})] if others or self._anchor else []

    def _publish(self) -> None:
        if self._anchor is not None:
            append_anchors(self._anchor, {self._chain.writer: (self._chain.sequence - 1, self._chain.head)})

    def _abandon(self) -> None:
        """Leave a place whose end is not known any more; what comes next is a chain of its own."""
        # In an order that an interrupt may break off anywhere: then it is done again.
        place, self._place = self._place, None
        if self._chain.sequence:
            self._after = {"writer": self._chain.writer}
        self._chain = Chain()
        self._unsure = False
        if place is not None:
            with contextlib.suppress(OSError):
                place.close()

    def _begin_in_child(self) -> None:
        """After a fork this is another process: with a chain of its own, and without the threads that held locks."""
        self._filling, self._turn, self._batch = threading.Lock(), threading.Lock(), _Batch()
        self._abandon()


def _event(name: str, what: dict[str, Any]) -> str:
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"event": name, "time": stamp, **what}, separators=(",", ":"))


def _references(heads: dict[str, Link]) -> dict[str, list[Any]]:
    return {writer: [link.sequence, link.line_hash] for writer, link in heads.items()}


_OPEN: weakref.WeakSet[AuditLog] = weakref.WeakSet()


@after_fork
def _after_fork() -> None:
    for log in list(_OPEN):
        log._begin_in_child()
