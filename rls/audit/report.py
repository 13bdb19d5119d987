"""Records → who saw what and when, what was refused, what is unusual, which policies decide and which never do.

Takes records in any order; returns a `Report`, which `rls audit report` shows and `report_html` draws. Pure.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from rls.audit.unusual import Thresholds, Unusual, find_unusual

__all__ = ["Bucket", "Report", "Seen", "make_report"]

Record = Mapping[str, Any]

MAX_BUCKETS = 60
_STEPS = (60, 300, 900, 3_600, 6 * 3_600, 86_400, 7 * 86_400, 30 * 86_400)
REFUSED = frozenset(("refused", "rejected", "limited"))


@dataclass(slots=True)
class Seen:
    """A principal and a relation, or all of them: how often, how many rows were handed out, when last.

    Rows are of the answers that read the relation; a join's count for each of its relations.
    """

    attempts: int = 0
    rows: int = 0
    refused: int = 0
    first: str = ""
    last: str = ""

    def add(self, record: Record) -> None:
        self.attempts += 1
        self.rows += record["row_count"] or 0
        self.refused += record["outcome"] in REFUSED
        self.first = min(self.first or record["time"], record["time"])
        self.last = max(self.last, record["time"])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {name: getattr(self, name) for name in ("attempts", "rows", "refused", "first", "last")}


@dataclass(frozen=True, slots=True)
class Bucket:
    """Attempts by outcome in a step of time that begins at `start`."""

    start: str
    outcomes: Mapping[str, int]


@dataclass(frozen=True)
class Report:
    """What a log says, added up. `access`: subject → relation → `Seen`; `unused`: policies (relation, name) that are
    declared and decided nothing; `step` of the buckets in seconds."""

    since: str
    until: str
    attempts: int
    rows: int
    outcomes: Mapping[str, int]
    codes: Mapping[str, int]
    subjects: Mapping[str, Seen]
    agents: Mapping[str, Seen]
    access: Mapping[str, Mapping[str, Seen]]
    policies: Mapping[tuple[str, str], int]
    unused: tuple[tuple[str, str], ...]
    refused: tuple[Record, ...]
    unusual: tuple[Unusual, ...]
    buckets: tuple[Bucket, ...]
    step: int
    slowest: tuple[Record, ...] = field(default=())

    @property
    def principals(self) -> int:
        """How many there are; who has no valid token is none."""
        return len(self.subjects.keys() - {""})

    @property
    def relations(self) -> dict[str, int]:
        """How often each relation was read, most often first."""
        found: Counter[str] = Counter()
        for seen in self.access.values():
            found.update({relation: each.attempts for relation, each in seen.items()})
        return dict(found.most_common())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "since": self.since,
            "until": self.until,
            "attempts": self.attempts,
            "rows": self.rows,
            "outcomes": self.outcomes,
            "codes": self.codes,
            "subjects": {name: seen.to_dict() for name, seen in self.subjects.items()},
            "agents": {name: seen.to_dict() for name, seen in self.agents.items()},
            "access": {s: {r: seen.to_dict() for r, seen in of.items()} for s, of in self.access.items()},
            "policies": [{"relation": r, "policy": p, "decided": n} for (r, p), n in self.policies.items()],
            "unused": [{"relation": relation, "policy": policy} for relation, policy in self.unused],
            "refused": list(self.refused),
            "unusual": [unusual.to_dict() for unusual in self.unusual],
            "step": self.step,
            "buckets": [{"start": b.start, "outcomes": b.outcomes} for b in self.buckets],
        }


def make_report(
    records: Iterable[Record],
    *,
    since: str = "",
    until: str = "",
    declared: Iterable[tuple[str, str]] = (),
    thresholds: Thresholds | None = None,
    latest: int = 20,
) -> Report:
    """A report of the records from `since` to before `until` (ISO 8601; "" for no bound).

    What is older than `since` still counts as history: it says what is usual. `declared` are the policies that there
    are, as (relation, name). `latest`: how many of the refused and of the slowest attempts are listed.
    """
    everything = sorted(records, key=lambda record: str(record["time"]))
    chosen = [r for r in everything if since <= r["time"] and (not until or r["time"] < until)]
    subjects: dict[str, Seen] = defaultdict(Seen)
    agents: dict[str, Seen] = defaultdict(Seen)
    access: dict[str, dict[str, Seen]] = defaultdict(lambda: defaultdict(Seen))
    policies: Counter[tuple[str, str]] = Counter()
    for record in chosen:
        subjects[record["subject"]].add(record)
        if record["agent"]:
            agents[record["agent"]].add(record)
        for relation, how in record["relations"].items():
            access[record["subject"]][relation].add(record)
            policies.update((relation, name) for name in how["policies"])
    buckets, step = _buckets(chosen)
    refused = [record for record in chosen if record["outcome"] in REFUSED]
    unusual = find_unusual([r for r in everything if not until or r["time"] < until], thresholds=thresholds)
    return Report(
        since=since or (chosen[0]["time"] if chosen else ""),
        until=until or (chosen[-1]["time"] if chosen else ""),
        attempts=len(chosen),
        rows=sum(record["row_count"] or 0 for record in chosen),
        outcomes=dict(Counter(record["outcome"] for record in chosen).most_common()),
        codes=dict(Counter(record["code"] for record in refused).most_common()),
        subjects=dict(sorted(subjects.items(), key=lambda s: (-s[1].attempts, s[0]))),
        agents=dict(sorted(agents.items(), key=lambda s: (-s[1].attempts, s[0]))),
        access={subject: dict(sorted(of.items())) for subject, of in sorted(access.items())},
        policies=dict(policies.most_common()),
        unused=tuple(sorted({(r, p) for r, p in declared if (r, p) not in policies})),
        refused=tuple(refused[: -latest - 1 : -1]),
        unusual=tuple(u for u in unusual if since <= u.time),
        buckets=buckets,
        step=step,
        slowest=tuple(sorted(chosen, key=lambda record: -record["duration"])[:latest]),
    )


def _buckets(records: list[Record]) -> tuple[tuple[Bucket, ...], int]:
    """Attempts over time, in steps of a usual length, at most `MAX_BUCKETS` of them."""
    if not records:
        return (), _STEPS[0]
    times = [datetime.fromisoformat(record["time"]).timestamp() for record in records]
    span = times[-1] - times[0]
    step = next((step for step in _STEPS if span / step < MAX_BUCKETS), None) or int(span // MAX_BUCKETS) + 1
    first = int(times[0] // step)
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for record, at in zip(records, times, strict=True):
        counts[int(at // step)][record["outcome"]] += 1
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return tuple(
        Bucket((epoch + timedelta(seconds=index * step)).isoformat(timespec="minutes"), dict(counts[index]))
        for index in range(first, int(times[-1] // step) + 1)
    ), step
