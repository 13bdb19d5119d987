"""What keeping a record costs; making one is in every other figure.

The floor is writing the same bytes to a file. `disk` waits until a loss of power would not lose the record, which is
the disk's speed and shows on the clock on the wall.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.answers import WrongAnswer
from benchmarks.cases import choose, load_cases
from benchmarks.measure import Measurement, time_in_turn
from benchmarks.options import Options
from benchmarks.settings import warehouse_setting
from rls.audit.log import AuditLog
from rls.audit.read import read_records
from rls.audit.record import AuditRecord
from rls.engine import Engine

__all__ = ["measure_audit"]

FLOOR, GUARD = "write", "guard, warm"
# What is measured → the name of its log, and what it outlives.
LOGS = {
    "log, process": ("log", "process"),
    "log, disk": ("synced", "disk"),
    "one file, process": ("log.jsonl", "process"),
    "sqlite, process": ("log.sqlite", "process"),
}


def measure_audit(options: Options) -> Iterator[Measurement]:
    """Records of real attempts, kept again. Raises `WrongAnswer` unless they can be read back."""
    setting = warehouse_setting(options.directory, scale=options.scale)
    records: list[AuditRecord] = []
    with (
        Engine.open(
            setting.database, policies=setting.policies_directory, audit=records.append, isolation="thread"
        ) as engine,
        tempfile.TemporaryDirectory(dir=options.directory) as scratch,
        ExitStack() as closed,
    ):
        logs = {
            what: closed.enter_context(AuditLog(Path(scratch) / name, durability=durability))
            for what, (name, durability) in LOGS.items()
        }
        plain = os.open(Path(scratch) / "plain", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        closed.callback(os.close, plain)
        for case in choose(load_cases("warehouse"), options.wanted)[:3]:
            engine.guard(setting.token, case.sql)
            record = records[-1]
            line = (record.to_json() + "\n").encode()
            calls: dict[str, Callable[[], object]] = {
                FLOOR: lambda line=line: os.write(plain, line),
                GUARD: lambda sql=case.sql: engine.guard(setting.token, sql),
                **{what: lambda log=log, record=record: log.write(record) for what, log in logs.items()},
            }
            timings = time_in_turn(calls, rounds=options.rounds, seconds=options.seconds)
            records.clear()
            checked = _check(logs["log, process"].path, record)
            for what in LOGS:
                yield Measurement.of("audit", case.name, timings, what=what, floor=FLOOR, checked=checked)
            yield Measurement.of("audit", case.name, timings, what="log, process", floor=GUARD, checked=checked)


def _check(log: Path, record: AuditRecord) -> str:
    kept = [one for one in read_records(log) if isinstance(one, dict) and one["audit_id"] == record.audit_id]
    if not kept or kept[0]["sql"] != record.sql:
        raise WrongAnswer("a record that was kept cannot be read back")
    return f"{len(kept):,} records"
