"""Records in order of time → what a person should look at: habits left, much refused, values tried one by one.

Takes plain records; returns findings with the ids that show them. Each rule compares a principal with itself; all of
its numbers are in `Thresholds`. It looks at shapes of SQL, so with `sql: none` it sees less.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from rls.audit.literals import without_literals

__all__ = ["Thresholds", "Unusual", "find_unusual"]

Record = Mapping[str, Any]
Kind = Literal["new_relation", "refusals", "rejected_tokens", "enumeration", "volume"]

_BAD = frozenset(("refused", "limited", "failed"))
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """When something is unusual.

    history      attempts that a principal must have made before its habits count
    window       seconds that belong together
    refusals     refused, limited or failed attempts of a principal within the window
    rejections   rejected tokens within the window
    variants     texts of one shape and principal that differ in literals or parameters only, within the window
    volume       rows of one answer, as a multiple of the largest before; of at least `volume_rows`
    """

    history: int = 20
    window: float = 600.0
    refusals: int = 10
    rejections: int = 20
    variants: int = 25
    volume: float = 10.0
    volume_rows: int = 1_000


@dataclass(frozen=True, slots=True)
class Unusual:
    """Something to look at: who, what, since when, how often, and the first few records that show it."""

    kind: Kind
    subject: str
    message: str
    time: str
    count: int
    audit_ids: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def find_unusual(records: Sequence[Record], *, thresholds: Thresholds | None = None) -> list[Unusual]:
    """Everything unusual, in order of time. `records` are in that order, too."""
    limits = thresholds or Thresholds()
    found = [*_new_relations(records, limits), *_bursts(records, limits), *_enumerations(records, limits)]
    found += _volumes(records, limits)
    return sorted(found, key=lambda unusual: (unusual.time, unusual.kind, unusual.subject))


def _new_relations(records: Sequence[Record], limits: Thresholds) -> Iterator[Unusual]:
    """A principal with habits that reads what it never read."""
    attempts: Counter[str] = Counter()
    known: dict[str, set[str]] = defaultdict(set)
    for record in records:
        subject = record["subject"]
        if not subject or record["action"] not in ("query", "guard"):
            continue
        read = set(record["relations"])
        new = sorted(read - known[subject])
        if new and attempts[subject] >= limits.history:
            message = f"reads {', '.join(new)} for the first time after {attempts[subject]} attempts"
            yield Unusual("new_relation", subject, message, record["time"], len(new), (record["audit_id"],))
        known[subject] |= read
        attempts[subject] += 1


class _Window:
    """What happened within a span of time, oldest first."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.items: deque[tuple[float, Record]] = deque()
        self.reported = False

    def add(self, record: Record) -> None:
        at = datetime.fromisoformat(record["time"]).timestamp()
        while self.items and self.items[0][0] < at - self._seconds:
            self.items.popleft()
        if not self.items:
            self.reported = False
        self.items.append((at, record))

    @property
    def records(self) -> list[Record]:
        return [record for _, record in self.items]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(record["audit_id"] for _, record in list(self.items)[:_SHOWN])


def _bursts(records: Sequence[Record], limits: Thresholds) -> Iterator[Unusual]:
    """Many attempts of a principal that were refused, cut off or failed; many tokens that were rejected."""
    windows: dict[str, _Window] = defaultdict(lambda: _Window(limits.window))
    for record in records:
        rejected = record["outcome"] == "rejected"
        if not rejected and record["outcome"] not in _BAD:
            continue
        window = windows["" if rejected else record["subject"]]
        window.add(record)
        needed = limits.rejections if rejected else limits.refusals
        if len(window.items) >= needed and not window.reported:
            window.reported = True
            codes = Counter(item["code"] for item in window.records).most_common(3)
            listed = ", ".join(f"{code or 'no code'} ({count})" for code, count in codes)
            what = "tokens rejected" if rejected else "attempts refused, cut off or failed"
            kind: Kind = "rejected_tokens" if rejected else "refusals"
            message = f"{len(window.items)} {what} within {limits.window / 60:.0f} minutes: {listed}"
            yield Unusual(kind, record["subject"], message, record["time"], len(window.items), window.ids)


def _enumerations(records: Sequence[Record], limits: Thresholds) -> Iterator[Unusual]:
    """One shape of query, again and again with other values: somebody tries them one by one."""
    windows: dict[tuple[str, str], _Window] = defaultdict(lambda: _Window(limits.window))
    shapes: dict[str, str] = {}
    for record in records:
        if not record["sql"] or not record["subject"]:
            continue
        sql = record["sql"]
        if sql not in shapes:
            shapes[sql] = " ".join(without_literals(sql).split()) if record["sql_kept"] == "full" else sql
        shape = shapes[sql]
        window = windows[record["subject"], shape]
        window.add(record)
        if window.reported or len(window.items) < limits.variants:
            continue
        variants = {(r["sql_sha256"], tuple(sorted(r["parameters"].items()))) for r in window.records}
        if len(variants) >= limits.variants:
            window.reported = True
            short = shape if len(shape) <= 120 else f"{shape[:119]}…"
            message = f"{len(variants)} queries within {limits.window / 60:.0f} minutes that differ in values: {short}"
            yield Unusual("enumeration", record["subject"], message, record["time"], len(variants), window.ids)


def _volumes(records: Sequence[Record], limits: Thresholds) -> Iterator[Unusual]:
    """A principal with habits that gets far more rows than ever."""
    attempts: Counter[str] = Counter()
    most: Counter[str] = Counter()
    for record in records:
        subject, rows = record["subject"], record["row_count"]
        if not subject or rows is None:
            continue
        usual = max(most[subject], 1)
        if attempts[subject] >= limits.history and rows >= max(limits.volume_rows, limits.volume * usual):
            message = f"{rows:,} rows in one answer; never more than {most[subject]:,} before"
            yield Unusual("volume", subject, message, record["time"], rows, (record["audit_id"],))
        attempts[subject] += 1
        most[subject] = max(most[subject], rows)
