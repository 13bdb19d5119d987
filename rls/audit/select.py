"""Records → those that were asked for, or an SQLite table of them to ask more of."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rls.audit.record import AuditRecord

__all__ = ["COLUMNS", "Selection", "parse_time", "query_records", "select_records"]

Record = Mapping[str, Any]

COLUMNS: Final = tuple(AuditRecord.__dataclass_fields__)
# What a record of an earlier version lacks.
_EMPTY: Final = AuditRecord(time="", audit_id="", action="query", outcome="failed").to_dict()
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What to keep; a part that is empty keeps everything.

    `since` (inclusive) and `until` (exclusive) are ISO 8601 in UTC. `subject`, `agent`, `issuer`, `role`, `relation`,
    `policy`, `code`, `trace_id` are compared as they are, `audit_id` by its beginning; `text` is looked for in the
    caller's SQL, whatever its case; `attribute` is a name and the keyed hash of its value.
    """

    since: str = ""
    until: str = ""
    audit_id: str = ""
    subject: str = ""
    agent: str = ""
    issuer: str = ""
    role: str = ""
    outcomes: frozenset[str] = frozenset()
    action: str = ""
    code: str = ""
    relation: str = ""
    policy: str = ""
    trace_id: str = ""
    text: str = ""
    attribute: tuple[str, str] | None = None

    def keeps(self, record: Record) -> bool:
        """Whether a record is among them."""
        relations = record.get("relations") or {}
        time = str(record.get("time", ""))
        same = (("subject", self.subject), ("agent", self.agent), ("issuer", self.issuer), ("action", self.action))
        return (
            self.since <= time
            and (not self.until or time < self.until)
            and str(record.get("audit_id", "")).startswith(self.audit_id)
            and all(not wanted or record.get(name) == wanted for name, wanted in same)
            and (not self.code or record.get("code") == self.code)
            and (not self.trace_id or record.get("trace_id") == self.trace_id)
            and (not self.role or self.role in record.get("roles", ()))
            and (not self.outcomes or record.get("outcome") in self.outcomes)
            and (not self.relation or self.relation in relations)
            and (not self.policy or any(self.policy in r.get("policies", ()) for r in relations.values()))
            and (not self.text or self.text.lower() in str(record.get("sql", "")).lower())
            and (self.attribute is None or (record.get("attributes") or {}).get(self.attribute[0]) == self.attribute[1])
        )


def select_records(records: Iterable[Any], selection: Selection) -> Iterator[dict[str, Any]]:
    """The records that are selected, with all fields; torn lines are no records."""
    return ({**_EMPTY, **record} for record in records if isinstance(record, dict) and selection.keeps(record))


def parse_time(text: str, *, now: datetime) -> str:
    """A time as records write it, from ISO 8601 (without a zone: UTC) or an age such as `30m`, `12h`, `7d`, `2w`.

    Raises ValueError.

    >>> parse_time("2h", now=datetime(2026, 1, 1, 12, tzinfo=UTC))
    '2026-01-01T10:00:00.000+00:00'
    >>> parse_time("2026-01-01", now=datetime.now(UTC))
    '2026-01-01T00:00:00.000+00:00'
    """
    if text[-1:] in _UNITS and text[:-1].isdecimal():
        try:
            at = now - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
        except OverflowError:
            raise ValueError("too long ago") from None
    else:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def query_records(records: Iterable[Any], sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """SQLite's answer to a query over a table `records` with a column per field (lists and mappings as JSON).

    Column names and rows. Raises `sqlite3.Error` for what is wrong with the query. The table is in memory.
    """
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(f"CREATE TABLE records ({', '.join(COLUMNS)})")
        rows = ([_cell(record.get(name)) for name in COLUMNS] for record in records if isinstance(record, dict))
        connection.executemany(f"INSERT INTO records VALUES ({', '.join('?' * len(COLUMNS))})", rows)
        cursor = connection.execute(sql)
        return [column[0] for column in cursor.description or ()], cursor.fetchall()
    finally:
        connection.close()


def _cell(value: object) -> object:
    match value:
        case dict() | list() | tuple():
            return json.dumps(value)
        case bool():
            return int(value)
        case int() if abs(value) >= 1 << 63:
            return str(value)
        case None | str() | int() | float():
            return value
        case _:
            return str(value)
