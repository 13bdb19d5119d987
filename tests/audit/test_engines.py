"""A record for every attempt, on every engine: DuckDB in this process, in worker processes, and PostgreSQL."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rls.audit.read import read_records
from rls.audit.replay import replay_record
from rls.audit.select import Selection, select_records
from rls.audit.snapshots import snapshots_beside
from rls.audit.verify import verify_log
from rls.engine import Engine
from rls.engines.limits import Limits
from rls.errors import RlsError
from rls.identity import mint_token
from rls.rewrite.guarded import NO_TIME, TOO_SLOW
from tests.engine.kit import WAREHOUSE, build, write_policies
from tests.engines.postgres.kit import READER, load_database, start

# Rows of `orders` that `acme` may see: 20. Nine times over itself takes longer than any machine has time.
OVER = range(9)
LONG = (
    f"SELECT count(*) FROM {', '.join(f'orders o{n}' for n in OVER)} WHERE {' + '.join(f'o{n}.id' for n in OVER)} = -1"
)
LIMITS = Limits(seconds=1.5, rows=15, columns=4, parameters=2, threads=1, processes=1)


@pytest.fixture(scope="module", params=["thread", "process", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp(request.param)
    database: Path | str = build(folder / "w.duckdb", WAREHOUSE)
    isolation = "thread" if request.param == "thread" else "process"
    policies = write_policies(folder / "policies")
    if request.param != "postgres":
        with Engine.open(database, policies=policies, audit=folder / "log", limits=LIMITS, isolation=isolation) as made:
            yield made
        return
    cluster = start()
    try:
        load_database(cluster, Path(database), database="w")
        url = cluster.url("w", user=READER)
        with Engine.open(url, policies=policies, audit=folder / "log", limits=LIMITS) as made:
            yield made
    finally:
        cluster.stop()


def records(engine: Engine) -> list[dict[str, Any]]:
    log = engine._trail._log
    assert log is not None
    return list(select_records(read_records(log.path), Selection()))


def token(engine: Engine, **changes: Any) -> str:
    given = {"subject": "u-1", "roles": ["maker"], "attributes": {"tenant": "acme"}, "agent": "bot", **changes}
    return mint_token(engine.policies.identity, **given)


OF_QUERIES: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "answered": ("SELECT id FROM orders WHERE id < 10", {}, "allowed", ""),
    "answered with a parameter": ("SELECT id FROM orders WHERE id < $most", {"most": 5}, "allowed", ""),
    "denied": ("SELECT count(*) FROM finance.ledger", {}, "denied", ""),
    "no such relation": ("SELECT * FROM nothing", {}, "refused", "query.unknown_relation"),
    "undecided": ("SELECT * FROM undecided", {}, "refused", "query.unknown_relation"),
    "no query": ("DROP TABLE orders", {}, "refused", "query.statement_kind"),
    "a forbidden function": ("SELECT * FROM read_csv('/etc/passwd')", {}, "refused", "query.function"),
    "a reserved parameter": ("SELECT $rls_tenant", {"rls_tenant": "globex"}, "refused", "query.parameter"),
    "too many parameters": ("SELECT 1", {"a": 1, "b": 2, "c": 3}, "refused", "query.parameters"),
    "a parameter too many": ("SELECT 1 AS x", {"a": 1}, "refused", "query.parameter_unknown"),
    "too many rows": ("SELECT id FROM orders", {}, "limited", "run.rows"),
    "too many columns": ("SELECT id, id, id, id, id FROM orders WHERE id < 5", {}, "limited", "run.columns"),
    "too long": (LONG, {}, "limited", "run.timeout"),
    "a visible row in the way": ("SELECT id * 2147483647 FROM orders WHERE id = 4", {}, "failed", "run."),
}


@pytest.mark.parametrize("name", OF_QUERIES)
def test_every_query_leaves_one_record_however_it_ends(engine: Engine, name: str) -> None:
    sql, parameters, outcome, code = OF_QUERIES[name]
    before, failure = records(engine), ""
    try:
        audit_id = engine.query(token(engine), sql, parameters).audit_id
    except RlsError as error:
        failure, audit_id = error.code, ""
    (record,) = records(engine)[len(before) :]
    assert (record["action"], record["outcome"], record["code"]) == ("query", outcome, failure)
    assert failure.startswith(code)
    assert bool(failure) is bool(code)
    assert audit_id in (record["audit_id"], "")
    assert (record["subject"], record["roles"], record["agent"]) == ("u-1", ["maker"], "bot")
    assert record["token_id"]
    assert record["sql"] == sql
    assert record["engine_version"].startswith(("duckdb 2.", "postgresql "))
    assert set(record["parameters"]) <= set(parameters)
    assert (record["row_count"] is None) is bool(code)
    assert bool(record["relations"]) is (outcome in ("allowed", "denied", "limited", "failed"))
    text = json.dumps({k: v for k, v in record.items() if k not in ("sql", "detail")})
    assert "acme" not in text
    assert "globex" not in text
    assert "note-" not in json.dumps(record)


def test_every_other_attempt_leaves_one_record(engine: Engine) -> None:
    """Guards without execution, explanations, sessions, readings of the audit; with good tokens and with bad ones."""
    good, sql = token(engine), "SELECT id FROM orders WHERE id < 10"
    ways = {
        "query": lambda text: engine.query(text, sql),
        "guard": lambda text: engine.guard(text, sql),
        "explain": lambda text: engine.explain(text, sql),
        "session": engine.session,
        "audit": engine.audit_records,
    }
    session = engine.session(good)
    inside = {"query": session.query, "guard": session.guard, "explain": session.explain}
    for action, way in ways.items():
        for text, outcome, code in (
            (good, "allowed", ""),
            (good[:-4] + "AAAA", "rejected", "bad_signature"),
            ("", "rejected", "malformed"),
            (None, "rejected", "malformed"),
        ):
            before = records(engine)
            try:
                way(text)  # type: ignore[arg-type]
            except RlsError as error:
                assert error.code == "token.rejected"
            (record,) = records(engine)[len(before) :]
            assert (record["action"], record["outcome"], record["code"]) == (action, outcome, code)
            assert bool(record["token_hash"]) is (outcome == "rejected" and text is not None)
            assert record["subject"] == ("u-1" if outcome == "allowed" else "")
    for action, ask in inside.items():
        before = records(engine)
        ask(sql)  # type: ignore[operator]
        with pytest.raises(RlsError):
            ask("SELECT * FROM nothing")  # type: ignore[operator]
        found = [(r["action"], r["outcome"], r["code"]) for r in records(engine)[len(before) :]]
        assert found == [(action, "allowed", ""), (action, "refused", "query.unknown_relation")]
    # Revoked in the middle of a session: that attempt, too.
    engine.policies.identity.revocations.revoke_subject("u-9", before=9e9)
    before = records(engine)
    with pytest.raises(RlsError):
        engine.session(token(engine, subject="u-9"))
    assert [(r["outcome"], r["code"]) for r in records(engine)[len(before) :]] == [("rejected", "revoked")]
    log = engine._trail._log
    assert log is not None
    assert verify_log([log.path]).ok


def test_every_record_can_be_replayed(engine: Engine) -> None:
    """Whatever it is of: the same decision, or what no record holds is said; and one that was changed differs."""
    log, tokens = engine._trail._log, dict[str, str]()
    assert log is not None
    good = token(engine, token_id="t-replay")
    before = len(records(engine))
    calls: list[Callable[[], object]] = [
        lambda: engine.session(good),
        lambda: engine.audit_records(good),
        lambda: engine.query(good[:-4] + "AAAA", "SELECT 1"),
        lambda: engine.explain(good, "SELECT id FROM orders WHERE id < 10"),
        lambda: engine.guard(good, "SELECT id FROM orders WHERE id < $most", {"most": 5}),
        lambda: engine.query(good, "SELECT id FROM orders", fetch="csv"),  # type: ignore[arg-type]
        lambda: engine.query(good, 'SELECT Id AS "N" FROM Orders', dialect=engine._executor.dialect),
        *[lambda sql=sql, given=given: engine.query(good, sql, given) for sql, given, *_ in OF_QUERIES.values()],
    ]
    for call in calls:
        with contextlib.suppress(RlsError):
            call()
    found = records(engine)[before:]
    assert len(found) == len(calls)
    tokens["rejected"] = good[:-4] + "AAAA"
    compared = 0
    for record in found:
        outcome = replay_record(
            record,
            snapshots=snapshots_beside(log.path),
            attributes={"tenant": "acme"},
            keyed=engine._trail._recording.keyed,
            token=tokens.get(record["outcome"], good),
            keys_from=Path(engine.policies.directory),
        )
        assert outcome.same, (record["action"], record["code"], outcome.differences)
        assert outcome.attributes == "proven"
        compared += not outcome.not_compared
    # On a machine without time some barriers could not be judged, and are not compared.
    slow = sum(record["fence_reason"] in (NO_TIME, TOO_SLOW) for record in found)
    assert compared + slow >= len(found) - 6
