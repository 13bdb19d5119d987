"""Records added up, drawn, exported and told to other systems."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rls.audit.attempt import Attempt, Decides, Recording
from rls.audit.export import FORMATS, to_ecs, to_ocsf
from rls.audit.keyed import KeyedHash, plain_text
from rls.audit.log import AuditLog
from rls.audit.read import FollowedLogs, TornLine, read_records
from rls.audit.record import AuditRecord
from rls.audit.report import make_report
from rls.audit.report_html import report_html
from rls.audit.select import Selection, parse_time, query_records, select_records
from rls.audit.sinks import CallableSink
from rls.audit.telemetry import TelemetrySink
from rls.audit.unusual import Thresholds, find_unusual
from rls.errors import AuditFailed

START = datetime(2026, 1, 5, 8, tzinfo=UTC)


def record(seconds: float, subject: str = "acme-2", relation: str = "orders", **changes: Any) -> AuditRecord:
    sql = changes.get("sql", f"SELECT * FROM {relation}")
    relations = {relation: {"kind": "conditional", "policies": ["own_tenant"]}} if relation else {}
    given: dict[str, Any] = {
        "time": (START + timedelta(seconds=seconds)).isoformat(timespec="milliseconds"),
        "audit_id": f"{int(seconds * 1000):032x}",
        "action": "query",
        "outcome": "allowed",
        "subject": subject,
        "roles": ("explorer",),
        "relations": relations,
        "row_count": 10,
        "byte_count": 80,
        "sql": sql,
        "sql_sha256": plain_text(sql),
        "policy_version": "p1",
        "engine_version": "duckdb 2.0.0",
    }
    return AuditRecord(**{**given, **changes})


def plain(records: list[AuditRecord]) -> list[dict[str, Any]]:
    return [json.loads(one.to_json()) for one in records]


def refused(seconds: float, subject: str = "acme-2", code: str = "query.function") -> AuditRecord:
    return record(seconds, subject, "", outcome="refused", code=code, row_count=None)


def test_a_report_says_who_saw_what_and_what_was_refused() -> None:
    records = [record(i * 60, "acme-2", "orders") for i in range(5)]
    records += [record(400, "globex-1", "finance.ledger", agent="helper"), refused(500), refused(600, code="query.x")]
    records += [record(700, "", "", outcome="rejected", code="expired", row_count=None)]
    declared = [("orders", "own_tenant"), ("orders", "others"), ("", "pattern")]
    made = make_report(plain(records), declared=declared, latest=2)
    assert (made.attempts, made.rows, made.principals) == (9, 60, 2)
    assert made.outcomes == {"allowed": 6, "refused": 2, "rejected": 1}
    assert made.codes == {"query.function": 1, "query.x": 1, "expired": 1}
    assert made.access["acme-2"]["orders"].rows == 50
    assert made.relations == {"orders": 5, "finance.ledger": 1}
    assert list(made.agents) == ["helper"]
    assert made.unused == (("", "pattern"), ("orders", "others"))
    assert [r["code"] for r in made.refused] == ["expired", "query.x"]
    assert sum(sum(b.outcomes.values()) for b in made.buckets) == 9
    assert json.loads(json.dumps(made.to_dict()))["attempts"] == 9
    later = make_report(plain(records), since=records[5].time)
    assert later.attempts == 4
    assert make_report([]).attempts == 0


def test_buckets_cover_any_span_in_bounded_number() -> None:
    for days in (0, 0.01, 1, 30, 1000, 40_000):
        made = make_report(plain([record(0), record(days * 86_400)]))
        assert 1 <= len(made.buckets) <= 61
        assert sum(sum(b.outcomes.values()) for b in made.buckets) == 2


def kinds(records: list[AuditRecord], **thresholds: Any) -> list[tuple[str, str]]:
    found = find_unusual(plain(records), thresholds=Thresholds(**thresholds))
    return [(unusual.kind, unusual.subject) for unusual in found]


def test_usual_days_are_not_reported() -> None:
    records = [record(i * 300, f"u-{i % 3}", ("orders", "events")[i % 2]) for i in range(300)]
    records += [refused(i * 3600 + 1, "u-1") for i in range(24)]
    assert kinds(sorted(records, key=lambda r: r.time)) == []


def test_habits_that_are_left_are_reported_once() -> None:
    habit = [record(i * 60) for i in range(20)]
    assert kinds([*habit, record(2000, relation="salaries"), record(2100, relation="salaries")]) == [
        ("new_relation", "acme-2")
    ]
    assert kinds([*habit[:19], record(2000, relation="salaries")]) == []
    assert kinds([*habit, record(2000, row_count=50_000), record(2060, row_count=50_000)]) == [("volume", "acme-2")]
    assert kinds([*habit, record(2000, row_count=99)]) == []


def test_refusals_in_a_row_are_reported() -> None:
    assert kinds([refused(i) for i in range(10)]) == [("refusals", "acme-2")]
    assert kinds([refused(i, f"u-{i}") for i in range(10)]) == []
    assert kinds([refused(i * 601) for i in range(30)]) == []
    tokens = [record(i, "", "", outcome="rejected", code="signature", row_count=None) for i in range(20)]
    assert kinds(tokens) == [("rejected_tokens", "")]
    twice = [*[refused(i) for i in range(10)], *[refused(9000 + i) for i in range(10)]]
    assert kinds(twice) == [("refusals", "acme-2")] * 2


def test_values_that_are_tried_one_by_one_are_reported() -> None:
    def guess(i: int, **changes: Any) -> AuditRecord:
        return record(i, sql=f"SELECT 1 FROM orders WHERE email = 'u{i}@x.example' -- {i}", **changes)

    assert kinds([guess(i) for i in range(25)]) == [("enumeration", "acme-2")]
    assert kinds([guess(i * 60) for i in range(60)]) == []
    # A dashboard that refreshes asks the same, not something similar.
    assert kinds([record(i, sql="SELECT 1") for i in range(100)]) == []
    bound = [record(i, sql="SELECT 1 FROM orders WHERE id = $id", parameters={"id": f"{i:032x}"}) for i in range(25)]
    assert kinds(bound) == [("enumeration", "acme-2")]
    shapes = [guess(i, sql_kept="shape") for i in range(25)]
    shapes = [replace(one, sql="SELECT 1 FROM orders WHERE email = ?") for one in shapes]
    assert kinds(shapes) == [("enumeration", "acme-2")]


class Page(HTMLParser):
    """What a browser would take for elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.loads: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [f"{name}={value}" for name, value in attributes if name in ("src", "href", "onload", "onclick")]
        if tag not in ("meta", "rect", "line", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "line"):
            assert self.open.pop() == tag


def test_a_page_needs_nothing_else_and_shows_hostile_text_as_text() -> None:
    nasty = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
    records = [record(i * 60, nasty, nasty, sql=nasty) for i in range(30)]
    records += [record(2000 + i, nasty, "", outcome="refused", code=nasty, sql=nasty, agent=nasty) for i in range(15)]
    made = make_report(plain(records), declared=[(nasty, nasty)])
    page = report_html(made, title=nasty)
    parsed = Page(page)
    assert parsed.open == []
    assert not parsed.tags & {"script", "img", "link", "iframe"}
    assert parsed.loads == []
    assert "svg" in parsed.tags
    assert "<script" not in page
    assert report_html(make_report([])).endswith("</html>\n")


def test_a_selection_keeps_what_fits() -> None:
    records = [*plain([record(0, agent="helper"), refused(60), record(120, "globex-1", trace_id="a" * 32)])]
    torn = [TornLine("{"), *records]
    for selection, count in (
        (Selection(), 3),
        (Selection(agent="helper"), 1),
        (Selection(trace_id="a" * 32), 1),
        (Selection(action="guard"), 0),
        (Selection(issuer="x"), 0),
        (Selection(attribute=("tenant", "x")), 0),
        (Selection(since=records[1]["time"], until=records[2]["time"]), 1),
    ):
        assert len(list(select_records(torn, selection))) == count
    # A record of an earlier version lacks fields; here it has them.
    assert next(select_records([{"time": "", "audit_id": "1"}], Selection()))["relations"] == {}
    columns, rows = query_records(records, "SELECT outcome, roles, relations -> 'orders' ->> 'kind' FROM records")
    assert columns[:2] == ["outcome", "roles"]
    assert rows[0] == ("allowed", '["explorer"]', "conditional")


def test_times() -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert parse_time("90m", now=now) == "2026-03-01T10:30:00.000+00:00"
    assert parse_time("2w", now=now) == "2026-02-15T12:00:00.000+00:00"
    assert parse_time("2026-01-01T01:00+02:00", now=now) == "2025-12-31T23:00:00.000+00:00"
    for bad in ("", "h", "yesterday", "99999999999d", "-1h"):
        with pytest.raises(ValueError):
            parse_time(bad, now=now)


OUTCOMES = ("allowed", "denied", "refused", "rejected", "limited", "failed")


@pytest.mark.parametrize("outcome", OUTCOMES)
@pytest.mark.parametrize("action", ["query", "guard", "session"])
def test_ocsf_events_have_what_the_class_requires(outcome: str, action: str) -> None:
    one = record(0, outcome=outcome, action=action, code="x", agent="helper", token_id="jti", trace_id="a" * 32)
    event = to_ocsf(json.loads(one.to_json()))
    required = ("activity_id", "category_uid", "class_uid", "type_uid", "time", "severity_id", "metadata", "actor")
    assert all(name in event for name in (*required, "src_endpoint", "database"))
    assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
    assert event["time"] == int(START.timestamp() * 1000)
    assert event["status_id"] == (1 if outcome in ("allowed", "denied") else 2)
    assert event["metadata"]["profiles"] == ["security_control", "ai_operation"]
    assert event["ai_agent"]["uid"] == "helper"
    assert set(event["unmapped"]) & {"sql", "subject"} == set()


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_ecs_events_use_its_words(outcome: str) -> None:
    event = to_ecs(json.loads(record(0, outcome=outcome, code="x", duration=0.5).to_json()))
    assert set(event["event"]["category"]) <= {"database", "authentication"}
    assert set(event["event"]["type"]) <= {"access", "allowed", "denied", "start"}
    assert event["event"]["outcome"] in ("success", "failure")
    assert event["event"]["duration"] == 500_000_000
    assert event["rule"]["name"] == ["own_tenant"]


def test_a_stranger_can_be_exported(tmp_path: Path) -> None:
    kept: list[AuditRecord] = []
    recording = Recording(CallableSink(kept.append), KeyedHash.ephemeral())
    decides = Decides("p1", "c1", "duckdb", "shop", "shop")
    Attempt("query", None, recording=recording, decides=decides, text_limit=9, now=0).keep(AuditFailed("audit.x", "no"))
    for form in FORMATS.values():
        assert json.dumps(form(json.loads(kept[0].to_json())))


@pytest.fixture
def telemetry() -> Iterator[tuple[list[AuditRecord], TelemetrySink, InMemorySpanExporter, InMemoryMetricReader]]:
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    meters = MeterProvider(metric_readers=[reader])
    kept: list[AuditRecord] = []
    yield kept, TelemetrySink(CallableSink(kept.append), tracer_provider=tracing, meter_provider=meters), spans, reader
    meters.shutdown()


def test_telemetry_is_told_after_the_record_is_kept(telemetry: Any) -> None:
    kept, sink, spans, reader = telemetry
    sink.write(record(0, sql="SELECT 'secret'", duration=2.0, timings={"verify": 0.5, "guard": 1.0}))
    sink.write(record(5, outcome="limited", code="run.timeout", row_count=None))
    first, second = spans.get_finished_spans()
    assert first.name == "rls.query"
    assert first.end_time - first.start_time == 2_000_000_000
    assert [event.name for event in first.events] == ["verify", "guard"]
    assert first.attributes["db.system.name"] == "duckdb"
    assert second.status.description == "run.timeout"
    assert "secret" not in first.to_json()
    metrics = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    found = {m.name: m.data.data_points for m in metrics}
    assert sum(point.value for point in found["rls.attempts"]) == 2
    assert [point.value for point in found["rls.rows"]] == [10]
    assert {point.attributes["rls.outcome"] for point in found["rls.duration"]} == {"allowed", "limited"}
    assert len(kept) == 2

    def broken(_: AuditRecord) -> None:
        raise AuditFailed("audit.write", "no")

    sink.inner = CallableSink(broken)
    with pytest.raises(AuditFailed):
        sink.write(record(6))
    assert len(spans.get_finished_spans()) == 2


def test_telemetry_that_fails_loses_no_record(telemetry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, sink, _, _ = telemetry
    monkeypatch.setattr(sink, "_attempts", None)
    sink.write(record(0))
    assert len(kept) == 1


def test_following_sees_whole_records_once(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with AuditLog(folder, durability="process") as log:
        log.write(record(1))
        followed = FollowedLogs([folder])
        assert followed.more() == []
        log.write(record(2))
        with AuditLog(folder, durability="process") as other:
            other.write(record(3))
            assert [r["audit_id"] for r in followed.more()] == [record(2).audit_id, record(3).audit_id]
        file = next(folder.glob("*.jsonl"))
        whole = file.read_bytes()
        file.write_bytes(whole + b'{"time":"2026')
        assert followed.more() == []
    assert isinstance([*read_records(file)][-1], TornLine)


def test_threads_share_a_batch_and_nobody_is_told_too_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one batch is on its way to the disk, the next fills up; both are acknowledged when they are there."""
    log = AuditLog(tmp_path / "log.jsonl", durability="process")
    log.write(record(0))
    assert log._place is not None
    append, gate, calls = log._place.append, threading.Event(), []
    monkeypatch.setattr(log._place, "append", lambda lines: (gate.wait(10), calls.append(lines), append(lines)))
    done: list[int] = []
    threads = [threading.Thread(target=lambda i=i: (log.write(record(i)), done.append(i))) for i in range(1, 9)]
    for thread in threads:
        thread.start()
    while len(log._batch.bodies) < 7:
        pass
    assert done == []
    gate.set()
    for thread in threads:
        thread.join()
    assert [call.count(b"\n") for call in calls] == [1, 7]
    assert sorted(done) == list(range(1, 9))
    log.close()
