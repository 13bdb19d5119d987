"""Records and where they are kept: every field, no values, one line each, and no answer without one."""

from __future__ import annotations

import json
import os
import stat
import threading
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from rls.audit import keyed
from rls.audit.attempt import Attempt, Decides, Recording
from rls.audit.keyed import KeyedHash
from rls.audit.literals import without_literals
from rls.audit.log import AuditLog
from rls.audit.read import TornLine, read_records
from rls.audit.record import AuditRecord, KeptSql
from rls.audit.settings import load_settings
from rls.audit.sinks import AuditSink, CallableSink, keep
from rls.audit.trace import current_trace_id, traced
from rls.audit.trail import open_sink
from rls.catalog import Catalog, Relation
from rls.errors import AuditFailed, EngineInvalid, QueryFailed, QueryRefused, RlsError, TokenRejected
from rls.identity.principal import Principal
from rls.policy.grant import Grant
from rls.rewrite.guarded import Guard, GuardedQuery

ALICE = Principal("u-1", frozenset({"maker", "explorer"}), {"tenant": "acme-value"}, "https://app.example", "jti-1")
OWN_ORDERS = Grant("orders", "conditional", "tenant_id = $rls_tenant", policies=("own_tenant",))
GUARDED = GuardedQuery(
    sql="SELECT guarded",
    parameters={"rls_tenant": "acme-value"},
    original="SELECT 1",
    grants={
        "orders": OWN_ORDERS,
        "finance.ledger": Grant("finance.ledger", "never"),
    },
    attributes_read=("tenant",),
    hide_statistics=True,
    fence_reason="it may raise",
    guards=(Guard(Relation(("main",), "orders", ()), OWN_ORDERS, fenced=True),),
)


KEYED = KeyedHash(b"a key of this test")
SETTINGS = load_settings(Path("/nowhere"), environment={})


def record(**changes: Any) -> AuditRecord:
    return AuditRecord(
        **{"time": "2024-01-01T00:00:00.000+00:00", "audit_id": "1", "action": "query", "outcome": "allowed", **changes}
    )


DECIDES = Decides("p1", Catalog.of("shop", []).version, "duckdb 2.0.0", "rls_1234", "shop")


def attempted(
    failure: RlsError | None = None,
    *,
    sql: str = "SELECT 1",
    who: Principal | None = ALICE,
    limit: int = 100,
    kept_sql: KeptSql = "full",
) -> dict[str, Any]:
    kept: list[AuditRecord] = []
    recording = Recording(CallableSink(kept.append), KEYED, kept_sql)
    attempt = Attempt("query", sql, recording=recording, decides=DECIDES, text_limit=limit, now=1_700_000_000.25)
    if who is not None:
        attempt.principal = who
        attempt.bind({"x": "secret-value"})
        attempt.guarded, attempt.row_count, attempt.byte_count = GUARDED, 3, 24
    attempt.keep(failure)
    assert kept[0].audit_id == attempt.audit_id
    found: dict[str, Any] = json.loads(kept[0].to_json())
    return found


def test_a_record_says_who_asked_what_and_why_it_was_answered() -> None:
    found = attempted()
    assert len(found.pop("audit_id")) == 32
    assert found.pop("duration") >= 0
    timings = found.pop("timings")
    assert sorted(timings) == ["guard", "rest", "verify"]
    assert all(seconds >= 0 for seconds in timings.values())
    grants = [relation.pop("grant") for relation in found["relations"].values()]
    assert len({len(grant) for grant in grants} | {32}) == 1
    assert grants[0] != grants[1]
    assert found == {
        "time": "2023-11-14T22:13:20.250+00:00",
        "action": "query",
        "outcome": "allowed",
        "code": "",
        "detail": "",
        "subject": "u-1",
        "roles": ["explorer", "maker"],
        "agent": "",
        "actors": [],
        "issuer": "https://app.example",
        "token_id": "jti-1",
        "assurance": "token",
        "attributes": {"tenant": KEYED.value("tenant", "acme-value")},
        "hash_key": KEYED.name,
        "token_hash": "",
        "sql": "SELECT 1",
        "sql_kept": "full",
        "sql_length": 8,
        "dialect": "",
        "sql_sha256": "e004ebd5b5532a4b85984a62f8ad48a81aa3460c1ca07701f386135d72cdecf5",
        "final_sha256": "5e0fe25f3af5f9e582040cb2577ac7d1fe27eaeaa7e5ce4aa73075d9c367b815",
        "template_sha256": "",
        "relations": {
            "orders": {
                "kind": "conditional",
                "policies": ["own_tenant"],
                "barrier": "fence",
                "masked": [],
                "denied": [],
            },
            "finance.ledger": {"kind": "never", "policies": [], "barrier": "inline", "masked": [], "denied": []},
        },
        "fence_reason": "it may raise",
        "statistics_hidden": True,
        "parameters": KEYED.parameters({"x": "secret-value"}, subject=ALICE.subject),
        "parameter_types": {"x": "VARCHAR"},
        "attributes_read": ["tenant"],
        "warnings": [],
        "row_count": 3,
        "byte_count": 24,
        "policy_version": "p1",
        "catalog_version": Catalog.of("shop", []).version,
        "engine_version": "duckdb 2.0.0",
        "trace_id": "",
    }
    assert "acme-value" not in json.dumps(found)
    assert "secret-value" not in json.dumps(found)


def test_the_final_text_is_hashed_under_the_name_that_callers_know() -> None:
    def hashed(attached: str) -> str:
        kept: list[AuditRecord] = []
        recording, decides = Recording(CallableSink(kept.append), KEYED), DECIDES._replace(attached=attached)
        attempt = Attempt("query", "", recording=recording, decides=decides, text_limit=9, now=0)
        attempt.guarded = GuardedQuery(f'FROM "{attached}"."main"."t"', {}, "", {})
        # PIVOT: the same query with values of rows filled in.
        attempt.guarded = GuardedQuery("FROM t PIVOT ('secret')", {}, "", {})
        attempt.keep(None)
        return kept[0].final_sha256

    assert hashed("rls_1") == hashed("rls_2") == hashed("shop")


def test_what_was_made_for_another_version_is_not_recorded_under_this_one() -> None:
    kept: list[AuditRecord] = []
    recording = Recording(CallableSink(kept.append), KEYED)
    attempt = Attempt("query", "", recording=recording, decides=DECIDES, text_limit=9, now=0)
    attempt.guarded = GUARDED
    attempt.decide_anew(DECIDES._replace(policy="p2", catalog="c2"))
    attempt.keep(None)
    found = kept[0]
    assert (found.policy_version, found.catalog_version, found.engine_version) == ("p2", "c2", DECIDES.engine)
    assert (found.final_sha256, found.relations) == ("", {})


def test_literals_are_kept_as_the_policy_directory_says() -> None:
    sql = "SELECT 'secret' FROM t1 WHERE id = 42"
    full, shape, none = (attempted(sql=sql, kept_sql=kept) for kept in ("full", "shape", "none"))
    assert (full["sql"], shape["sql"], none["sql"]) == (sql, "SELECT ? FROM t1 WHERE id = ?", "")
    # Whoever can guess a literal could tell a plain hash of the text.
    assert shape["sql_sha256"] == none["sql_sha256"] == KEYED.text(sql) != full["sql_sha256"]
    assert shape["final_sha256"] == KEYED.text("SELECT guarded")


@pytest.mark.parametrize(
    ("sql", "shape"),
    [
        ("SELECT 'it''s', \"a 'b' 1\"", "SELECT ?, \"a 'b' 1\""),
        ("SELECT E'a\\'secret' || e'\\\\', 'x'", "SELECT ? || ?, ?"),
        ("SELECT $$secret$$, $t$ $$ secret $t$, $name, $1", "SELECT ?, ?, $name, $1"),
        ("SELECT 1.5e-3, 0xFF, 1_000, .5, x[1:2], t1.c2", "SELECT ?, ?, ?, ?, x[?:?], t1.c2"),
        ("SELECT 1 -- secret\n, /* a /* secret */ b */ 2", "SELECT ?  \n,   ?"),
        ("SELECT 'secret", "SELECT ?"),
        ('SELECT "secret', "SELECT ?"),
        ("SELECT /* /* */ secret", "SELECT  "),
        ("SELECT $$secret", "SELECT ?"),
        ("SELECT DATE '2024-01-01', x'00ff'", "SELECT DATE ?, ?"),
    ],
)
def test_shapes(sql: str, shape: str) -> None:
    assert without_literals(sql) == shape


def test_keyed_hashes_tell_equal_values_and_nothing_more() -> None:
    assert KEYED.value("a", Decimal("1.0")) == KEYED.value("a", Decimal("1.00"))
    values: list[object] = [
        None,
        0,
        False,
        "",
        "0",
        0.0,
        Decimal(0),
        (),
        ("",),
        ("a", "b"),
        ("a,b",),
        b"",
        {},
        {"a": 1},
    ]
    values += [date(2024, 1, 1), "2024-01-01", ("a", ("b",)), (("a",), "b")]
    assert len({KEYED.value("a", value) for value in values}) == len(values)
    assert KEYED.value("a", "x") != KEYED.value("b", "x") != KeyedHash(b"another key of this").value("b", "x")
    assert KEYED.value("a", ["x"]) == KEYED.value("a", ("x",))
    first, second = KeyedHash.ephemeral(), KeyedHash.ephemeral()
    assert first.is_ephemeral
    assert first.value("a", "x") == first.value("a", "x") != second.value("a", "x")
    with pytest.raises(TypeError):
        KEYED.value("a", object())


def test_a_record_knows_the_trace_it_belongs_to() -> None:
    header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with traced(header):
        assert attempted()["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
        for bad in ("", "x" * 32, "0" * 32, header + "\n", "'; DROP TABLE"):
            with traced(bad):
                assert current_trace_id() == ""
    assert attempted()["trace_id"] == ""


@pytest.mark.parametrize(
    ("failure", "outcome", "code"),
    [
        (None, "allowed", ""),
        (TokenRejected("expired"), "rejected", "expired"),
        (QueryRefused("query.function", "no"), "refused", "query.function"),
        (QueryFailed("run.timeout", "no"), "limited", "run.timeout"),
        (QueryFailed("run.cast", "no"), "failed", "run.cast"),
        (EngineInvalid("engine.closed", "no"), "failed", "engine.closed"),
    ],
)
def test_outcomes(failure: RlsError | None, outcome: str, code: str) -> None:
    found = attempted(failure)
    assert (found["outcome"], found["code"]) == (outcome, code)
    assert found["row_count"] == (3 if failure is None else None)


def test_denied_is_when_no_relation_that_is_read_shows_a_row() -> None:
    kept: list[AuditRecord] = []
    for kinds in (("never", "never"), ("never", "always"), ()):
        recording = Recording(CallableSink(kept.append), KEYED)
        attempt = Attempt("query", "", recording=recording, decides=DECIDES, text_limit=10, now=0)
        grants = {f"r{i}": Grant(f"r{i}", kind) for i, kind in enumerate(kinds)}  # type: ignore[arg-type]
        attempt.guarded = GuardedQuery("", {}, "", grants)
        attempt.keep(None)
    assert [r.outcome for r in kept] == ["denied", "allowed", "allowed"]


def test_an_engines_words_are_kept_without_their_values() -> None:
    found = attempted(QueryFailed("run.cast", "no", detail="Conversion: Could not convert string 'Zebra 42' to INT32"))
    assert found["detail"] == "Conversion: Could not convert string '…' to INT#"


def test_long_texts_are_cut_and_told_apart_by_hash() -> None:
    first, second = attempted(sql="x" * 5000 + "1"), attempted(sql="x" * 5000 + "2")
    assert first["sql"] == second["sql"] == "x" * 100
    assert first["sql_length"] == 5001
    assert first["sql_sha256"] != second["sql_sha256"]
    stranger = attempted(TokenRejected("malformed"), sql="x" * 5000, who=None, limit=1_000_000)
    assert len(stranger["sql"]) == 1000
    assert stranger["subject"] == ""
    assert attempted(sql="\ud800 'half a pair\u2028")["sql"] == "\ud800 'half a pair\u2028"


def test_one_line_per_record_whatever_the_text(tmp_path: Path) -> None:
    sink = AuditLog(tmp_path / "audit.jsonl")
    texts = ["a\nb", 'x"}\n{"outcome":"allowed"', "\u2028\x00\x1b[31m", "é"]
    for text in texts:
        sink.write(record(sql=text))
    lines = (tmp_path / "audit.jsonl").read_bytes().split(b"\n")
    assert len(lines) == len(texts) + 2  # what opens the chain, and the end
    assert all(32 <= byte < 127 for line in lines for byte in line)
    found = list(read_records(tmp_path / "audit.jsonl"))
    assert [r["sql"] for r in found if isinstance(r, dict)] == texts
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600
    sink.close()


def test_records_are_appended_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for audit_id in ("1", "2"):
        sink = AuditLog(path)
        sink.write(record(audit_id=audit_id))
        sink.close()
    assert [r["audit_id"] for r in read_records(path) if isinstance(r, dict)] == ["1", "2"]


def test_a_torn_last_line_is_reported_and_harms_no_later_record(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    whole = record(audit_id="1").to_json()
    path.write_text(whole + "\n" + whole[:40])
    assert isinstance(list(read_records(path))[1], TornLine)
    sink = AuditLog(path)
    sink.write(record(audit_id="2"))
    sink.close()
    first, torn, last = read_records(path)
    assert torn == TornLine(whole[:40])
    assert isinstance(first, dict)
    assert isinstance(last, dict)
    assert last["audit_id"] == "2"


def test_a_record_that_was_written_in_part_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = AuditLog(tmp_path / "audit.jsonl")
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
    with pytest.raises(AuditFailed) as caught:
        sink.write(record(audit_id="1"))
    assert caught.value.code == "audit.write"
    monkeypatch.undo()
    sink.write(record(audit_id="2"))
    torn, whole = read_records(tmp_path / "audit.jsonl")
    assert isinstance(torn, TornLine)
    assert isinstance(whole, dict)
    sink.close()


def test_a_full_disk_is_a_failure() -> None:
    sink = AuditLog("/dev/full")
    with pytest.raises(AuditFailed) as caught:
        sink.write(record())
    assert caught.value.code == "audit.write"
    sink.close()


def test_a_deleted_file_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    sink = AuditLog(path)
    sink.write(record(audit_id="1"))
    path.unlink()
    sink.write(record(audit_id="2"))
    assert [r["audit_id"] for r in read_records(path) if isinstance(r, dict)] == ["2"]
    sink.close()
    sink.write(record(audit_id="3"))
    assert len(list(read_records(path))) == 2
    sink.close()


def test_threads_do_not_mix_lines(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    sinks = [AuditLog(path), AuditLog(path)]

    def write(number: int) -> None:
        for i in range(50):
            sinks[number % 2].write(record(audit_id=f"{number}-{i}", sql="x" * 5000))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {r["audit_id"] for r in read_records(path) if isinstance(r, dict)}
    assert found == {f"{n}-{i}" for n in range(4) for i in range(50)}


def test_a_sink_is_a_path_a_callable_or_an_object(tmp_path: Path) -> None:
    class Memory:
        def __init__(self) -> None:
            self.kept: list[AuditRecord] = []

        def write(self, one: AuditRecord) -> None:
            self.kept.append(one)

    kept: list[AuditRecord] = []
    memory = Memory()
    for given in (tmp_path / "a.jsonl", str(tmp_path / "b.jsonl"), kept.append, memory):
        sink = open_sink(given, SETTINGS)
        assert isinstance(sink, AuditSink)
        keep(sink, record())
    assert kept == memory.kept == [record()]
    assert len(list(read_records(tmp_path / "a.jsonl"))) == len(list(read_records(tmp_path / "b.jsonl"))) == 1
    for bad in (None, 5, b"path", []):
        with pytest.raises(AuditFailed) as caught:
            open_sink(bad, SETTINGS)  # type: ignore[arg-type]
        assert caught.value.code == "audit.sink"
    with pytest.raises(AuditFailed) as caught:
        open_sink(tmp_path / "no" / "such" / "folder.jsonl", SETTINGS)
    assert caught.value.code == "audit.open"


def test_whatever_a_sink_raises_is_an_audit_failure_that_quotes_nothing() -> None:
    def broken(_: AuditRecord) -> None:
        raise ConnectionError("password=hunter2")

    with pytest.raises(AuditFailed) as caught:
        keep(open_sink(broken, SETTINGS), record())
    assert caught.value.code == "audit.write"
    assert "hunter2" not in str(caught.value)
    assert "hunter2" in (caught.value.detail or "")
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "items", [[], ["a", "", "é"], [1, -20, 300], [True, 1], ["a", 1], [1.5], [None, "a"], ["1:a", "2"], [["a"], ["b"]]]
)
def test_a_list_of_one_kind_is_hashed_as_its_items_are(items: list[object]) -> None:
    assert keyed._counted_all(items) == "".join(map(keyed._counted, items))
    assert keyed._counted_all([*items, "1:x"]) != keyed._counted_all([*items, "1", "x"])
