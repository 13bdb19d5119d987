"""Audit as an engine's operator meets it: what is kept beside the log, decisions derived again, the commands."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from rls.audit import attempt
from rls.audit.kept import Kept
from rls.audit.keyed import KeyedHash
from rls.audit.log import AuditLog
from rls.audit.read import read_records
from rls.audit.record import AuditRecord
from rls.audit.replay import replay_record
from rls.audit.select import Selection, select_records
from rls.audit.settings import load_settings
from rls.audit.signing import read_verifier
from rls.audit.verify import verify_log
from rls.cli.app import run
from rls.engine import Engine
from rls.engines.limits import Limits
from rls.errors import AuditFailed, PolicyInvalid, QueryRefused, TokenRejected
from rls.identity import mint_token
from rls.identity.principal import Principal
from tests.engine.kit import WAREHOUSE, build, write_policies

HASH_KEY = b"a hash key for this test"
AUDIT = """
hash_key: {file: hash.key}
signing_key: {file: signing.key}
durability: process
"""
PERSONAS = """
personas:
  amir: {subject: u-acme, roles: [maker], attributes: {tenant: acme}}
  eve: {subject: u-acme, roles: [maker], attributes: {tenant: globex}}
"""
SQL = "SELECT count(*), min(note) FROM orders WHERE amount > 20"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("audit-engine") / "warehouse.duckdb", WAREHOUSE)


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    folder = write_policies(tmp_path / "policies")
    (folder / "audit.yaml").write_text(AUDIT)
    (folder / "hash.key").write_bytes(HASH_KEY + b"\n")
    (folder / "signing.key").write_bytes(b"0123456789abcdef0123456789abcdef\n")
    (folder / "personas.yaml").write_text(PERSONAS)
    return folder


@pytest.fixture
def engine(database: Path, policies: Path, tmp_path: Path) -> Iterator[Engine]:
    with Engine.open(
        database, policies=policies, audit=tmp_path / "log", limits=Limits(threads=1), isolation="thread"
    ) as opened:
        yield opened


def token(engine: Engine, tenant: str = "acme", **changes: Any) -> str:
    given = {"subject": f"u-{tenant}", "roles": ["maker"], "attributes": {"tenant": tenant}, "lifetime": 600}
    return mint_token(engine.policies.identity, **{**given, **changes})


def records(log: Path) -> list[dict[str, Any]]:
    return list(select_records(read_records(log), Selection()))


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    """Exit code and JSON document of a command."""
    code = run([*map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_every_attempt_is_recorded_signed_and_holds_no_value(engine: Engine, tmp_path: Path) -> None:
    engine.query(token(engine), SQL)
    engine.guard(token(engine), SQL)
    engine.query(token(engine), "SELECT id FROM orders WHERE note = $x", {"x": "zebra"}, fetch="arrow")
    session = engine.session(token(engine, "globex"))
    session.query("SELECT count(*) FROM finance.ledger")
    for refused in (lambda: engine.session("nonsense"), lambda: engine.query("nonsense", SQL)):
        with pytest.raises(TokenRejected):
            refused()
    with pytest.raises(QueryRefused):
        engine.query(token(engine), "SELECT * FROM nothing")
    engine.close()
    found = records(tmp_path / "log")
    assert [(r["action"], r["outcome"], r["code"]) for r in found] == [
        ("query", "allowed", ""),
        ("guard", "allowed", ""),
        ("query", "allowed", ""),
        ("session", "allowed", ""),
        ("query", "denied", ""),
        ("session", "rejected", "malformed"),
        ("query", "rejected", "malformed"),
        ("query", "refused", "query.unknown_relation"),
    ]
    first, guarded, bound = found[:3]
    assert first["final_sha256"] != guarded["final_sha256"]  # it binds its literals
    assert first["attributes"] == {"tenant": KeyedHash(HASH_KEY).value("tenant", "acme")}
    assert first["attributes"] != found[4]["attributes"]
    assert (first["row_count"], first["byte_count"]) == (1, 8 + len("note-10"))
    assert bound["parameters"] == KeyedHash(HASH_KEY).parameters({"x": "zebra"}, subject="u-acme")
    assert bound["byte_count"] == 0
    text = "".join(f.read_text() for f in (tmp_path / "log").glob("*.jsonl"))
    assert "acme" not in text.replace("u-acme", "")
    assert "zebra" not in text
    verified = verify_log([tmp_path / "log"], verifiers=[read_verifier(b"0123456789abcdef0123456789abcdef")])
    assert verified.findings == ()
    assert verified.records == len(found)


def replayed(
    log: Path, number: int = 0, *, tenant: str = "acme", keyed: KeyedHash | None = None, **options: Any
) -> Any:
    return replay_record(
        records(log)[number],
        snapshots=log / "snapshots",
        attributes={"tenant": tenant},
        keyed=keyed or KeyedHash(HASH_KEY),
        **options,
    )


def test_a_decision_is_derived_again_from_the_policies_of_its_time(
    engine: Engine, policies: Path, tmp_path: Path
) -> None:
    engine.query(token(engine), SQL)
    before = engine.policies.version
    file = policies / "policies.yaml"
    file.write_text(file.read_text().replace('using: "true"', "using: amount > 50"))
    engine.reload()
    engine.query(token(engine), SQL)
    with pytest.raises(QueryRefused):
        engine.query(token(engine), "SELECT * FROM undecided")
    engine.close()
    log = tmp_path / "log"
    for number in range(3):
        outcome = replayed(log, number)
        assert outcome.same
        assert outcome.attributes == "proven"
        assert outcome.not_compared == ()
    assert replayed(log, 2).code == "query.unknown_relation"
    assert records(log)[0]["policy_version"] == before != records(log)[1]["policy_version"]
    # Were it decided by today's policies, it would not be the same.
    today = {**records(log)[0], "policy_version": records(log)[1]["policy_version"]}
    other = replay_record(today, snapshots=log / "snapshots", attributes={"tenant": "acme"}, keyed=KeyedHash(HASH_KEY))
    assert {d.what for d in other.differences} == {"orders: grant", "guarded text"}


def test_a_decision_that_ran_in_the_words_of_an_earlier_text(
    engine: Engine, policies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The engine binds literals, so that texts which differ in them share a template; the record says which."""
    engine.query(token(engine, "globex"), SQL)
    result = engine.query(token(engine), SQL.replace("20", " 30"))
    engine.close()
    log = tmp_path / "log"
    first, second = records(log)
    assert second["template_sha256"] == first["sql_sha256"] != second["sql_sha256"]
    assert second["final_sha256"] == first["final_sha256"]
    assert replayed(log, 1, template=SQL).same
    assert replayed(log, 1, template=SQL).not_compared == ()
    assert replayed(log, 1).not_compared != ()
    arguments = ("audit", "replay", result.audit_id, "--audit", log, "--policies", policies, "--as", "amir")
    code, outcome = command(capsys, *arguments)
    assert (code, outcome["same"], outcome["not_compared"]) == (0, True, [])


def test_a_text_that_was_handed_out_in_a_plain_spelling(engine: Engine, tmp_path: Path) -> None:
    """It is made of the caller's own text, whoever sent one like it before: the record is enough."""
    engine.guard(token(engine, "globex"), SQL)
    for near in (SQL.replace("20", " 30"), SQL.replace("20", "40 /* mine */")):
        assert engine.guard(token(engine), near).near
    engine.close()
    log = tmp_path / "log"
    first, *others = records(log)
    assert first["template_sha256"] == ""
    for number, record in enumerate(others, 1):
        assert record["template_sha256"] == record["sql_sha256"]
        assert (replayed(log, number).differences, replayed(log, number).not_compared) == ((), ())
        forged = {**record, "template_sha256": ""}
        other = replay_record(
            forged, snapshots=log / "snapshots", attributes={"tenant": "acme"}, keyed=KeyedHash(HASH_KEY)
        )
        assert {d.what for d in other.differences} == {"guarded text"}


def test_what_is_asked_again_is_hashed_once(database: Path, policies: Path) -> None:
    """The work of a warm query does not grow with the principal's lists or with the text."""
    kept: list[AuditRecord] = []
    hashed: list[int] = []

    def counting(function: Any) -> Any:
        def counted(*arguments: Any, **named: Any) -> Any:
            hashed.append(1)
            return function(*arguments, **named)

        return counted

    with (
        Engine.open(database, policies=policies, audit=kept.append, isolation="thread") as engine,
        mock.patch.object(KeyedHash, "value", counting(KeyedHash.value)),
        mock.patch.object(KeyedHash, "text", counting(KeyedHash.text)),
        mock.patch.object(attempt, "plain_text", counting(attempt.plain_text)),
        mock.patch.object(attempt, "grant_hash", counting(attempt.grant_hash)),
    ):
        good = token(engine)
        for each in range(3):
            engine.guard(good, SQL)
            assert bool(hashed) is (each == 0)
            hashed.clear()
        # Another text of the same principal: its attributes are known.
        with mock.patch.object(KeyedHash, "values", side_effect=AssertionError("hashed again")):
            engine.guard(good, SQL + " -- other")
        # Whoever is given a record may change it: the next one is as it was.
        whole = [kept[0].to_dict(), kept[1].to_dict()]
        kept[2].attributes.clear()
        for how in kept[2].relations.values():
            how.clear()
        kept[2].relations.clear()
        engine.guard(good, SQL)
        whole.append(kept[-1].to_dict())
    for one in whole:
        for name in ("time", "audit_id", "duration", "timings"):
            del one[name]
    assert whole[0] == whole[1] == whole[2]
    assert whole[0]["attributes"] and whole[0]["relations"]["orders"]["policies"]


def test_nothing_is_kept_of_what_is_gone() -> None:
    made: list[str] = []
    kept: Kept[Principal, str, str] = Kept(lambda who, more: made.append(who.subject) or who.subject + more)
    one, other = Principal("a"), Principal("a")
    assert [kept.of(one, "1"), kept.of(one, "1"), kept.of(other, "1"), kept.of(one, "2")] == ["a1", "a1", "a1", "a2"]
    assert (len(made), len(kept)) == (3, 2)
    del one, other
    assert len(kept) == 0


def test_a_decision_on_a_token_is_derived_again(
    engine: Engine, policies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a session, of a reading of the audit, and of every token that was rejected: with the token, at that time."""
    good = token(engine, token_id="t-1", agent="bot")
    engine.session(good)
    engine.audit_records(good)
    bad = {
        "malformed": "nonsense",
        "expired": token(engine, now=time.time() - 4000),
        "bad_signature": good[:-4] + "AAAA",
        "unknown_issuer": _unsigned({"iss": "https://other"}),
        "missing_claim:exp": _signed(policies, {"iss": "https://app.example", "aud": "rls-warehouse", "iat": 5}),
    }
    for rejected in bad.values():
        with pytest.raises(TokenRejected):
            engine.query(rejected, SQL)
    engine.policies.identity.revocations.revoke_token("t-1", issuer="https://app.example")
    with pytest.raises(TokenRejected):
        engine.guard(good, SQL)
    engine.close()
    log = tmp_path / "log"
    found = records(log)
    assert [r["code"] for r in found] == ["", "", *bad, "revoked"]
    assert all(r["token_hash"] and not r["subject"] for r in found[2:])
    assert not any(r["token_hash"] for r in found[:2])
    given = {"snapshots": log / "snapshots", "attributes": {}, "keyed": KeyedHash(HASH_KEY), "keys_from": policies}
    for record, text in zip(found, [good, good, *bad.values(), good], strict=True):
        outcome = replay_record(record, token=text, **given)  # type: ignore[arg-type]
        assert outcome.same, outcome.differences
        assert outcome.attributes == "proven"
        assert outcome.code == ("" if record["code"] == "revoked" else record["code"])
        assert bool(outcome.not_compared) is (record["code"] == "revoked")
    # Another token is not the recorded one; a record that was forged shows.
    for record, text in ((found[0], token(engine, "globex")), (found[3], bad["malformed"])):
        with pytest.raises(AuditFailed, match="token is not the recorded one"):
            replay_record(record, token=text, **given)  # type: ignore[arg-type]
    for changes, what in (
        ({"code": "expired"}, "decision"),
        (
            {"outcome": "allowed", "code": "", "subject": "u-acme", "issuer": "https://app.example", "token_id": "t-1"},
            "roles",
        ),
    ):
        record = {**(found[2] if what == "decision" else found[0]), **changes}
        record |= {"roles": ["explorer"]} if what == "roles" else {}
        text = bad["malformed"] if what == "decision" else good
        forged = replay_record(record, token=text, **given)  # type: ignore[arg-type]
        assert [d.what for d in forged.differences] == [what]
    with pytest.raises(AuditFailed, match="no record holds it"):
        replay_record(found[0], **given)  # type: ignore[arg-type]
    # Where the issuers' keys are others by now, all but the signature is compared.
    (policies / "secret").write_bytes(bytes(range(100, 164)))
    for record, text in zip(found[2:], bad.values(), strict=False):
        outcome = replay_record(record, token=text, **given)  # type: ignore[arg-type]
        assert outcome.same
        assert outcome.not_compared == ("the signature: the issuers' keys are others than then",)
    (tmp_path / "token").write_text(bad["expired"])
    arguments = ("audit", "replay", found[3]["audit_id"], "--audit", log, "--policies", policies)
    code, outcome = command(capsys, *arguments, "--token-file", tmp_path / "token")
    assert (code, outcome["same"], outcome["code"]) == (0, True, "expired")
    code, outcome = command(capsys, *arguments)
    assert (outcome["error"]["code"], "--token-file" in outcome["error"]["hint"]) == ("audit.replay", True)


def _unsigned(claims: dict[str, Any]) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "kid": "k1"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + ".AAAA"


def _signed(policies: Path, claims: dict[str, Any]) -> str:
    signed = _unsigned(claims).rpartition(".")[0]
    signature = hmac.digest((policies / "secret").read_bytes(), signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_nobody_finds_out_what_others_bound_or_are_by_trying(engine: Engine, tmp_path: Path) -> None:
    """Who may read all records could bind values under any name and compare the hashes: they must tell nothing."""
    for tenant, value in (("acme", "acme"), ("globex", "acme"), ("acme", "zebra")):
        engine.query(token(engine, tenant), "SELECT $tenant", {"tenant": value})
    engine.close()
    mine, theirs, another = records(tmp_path / "log")
    hashes = {r["parameters"]["tenant"] for r in (mine, theirs, another)} | {mine["attributes"]["tenant"]}
    assert len(hashes) == 4


def test_a_replay_takes_no_attributes_and_no_text_but_the_recorded(engine: Engine, tmp_path: Path) -> None:
    engine.query(token(engine), SQL)
    with pytest.raises(TokenRejected):
        engine.query("nonsense", SQL)
    engine.close()
    log = tmp_path / "log"
    for wrong in ({"tenant": "globex"}, {"sql": "SELECT 1"}, {"number": 1}):
        with pytest.raises(AuditFailed) as caught:
            replayed(log, **wrong)  # type: ignore[arg-type]
        assert caught.value.code == "audit.replay"
        assert "globex" not in str(caught.value)
    unproven = replayed(log, keyed=KeyedHash(b"some other key, by mistake"))
    assert unproven.attributes == "unproven"
    with pytest.raises(AuditFailed) as caught:
        replay_record(records(log)[0], snapshots=log / "snapshots", attributes={}, keyed=None)
    assert "lack `tenant`" in caught.value.message
    with pytest.raises(AuditFailed) as caught:
        replay_record(records(log)[0], snapshots=tmp_path, attributes={"tenant": "acme"}, keyed=None)
    assert caught.value.code == "audit.snapshot"


def test_a_text_that_was_not_kept_is_given_and_must_be_the_same(database: Path, policies: Path, tmp_path: Path) -> None:
    (policies / "audit.yaml").write_text(AUDIT + "sql: shape\n")
    with Engine.open(database, policies=policies, audit=tmp_path / "log", isolation="thread") as engine:
        engine.query(token(engine), SQL)
    assert records(tmp_path / "log")[0]["sql"] == SQL.replace("20", "?")
    assert replayed(tmp_path / "log", sql=SQL).same
    for sql, words in ((None, "does not hold"), (SQL.replace("20", "21"), "not the recorded")):
        with pytest.raises(AuditFailed, match=words):
            replayed(tmp_path / "log", sql=sql)


def test_snapshots_hold_policies_and_nothing_secret(engine: Engine, policies: Path, tmp_path: Path) -> None:
    engine.close()
    kept = tmp_path / "log" / "snapshots"
    folders = [path for path in kept.iterdir() if path.is_dir()]
    assert [sorted(p.name for p in f.iterdir()) for f in folders] == [["identity.yaml", "policies.yaml"]]
    assert folders[0].name == f"policies-{engine.policies.version}"
    assert (kept / f"catalog-{engine.catalog.version}.json").is_file()
    (folders[0] / "policies.yaml").write_text("relation: orders\npublic: true\n")
    found = verify_log([tmp_path / "log"])
    assert [f.code for f in found.findings] == ["snapshot"]


def test_policies_that_change_while_they_are_read_decide_nothing(
    engine: Engine, policies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rls.policy.load

    load = rls.policy.load.load_policies

    def meddled(directory: str) -> Any:
        loaded = load(directory)
        (policies / "policies.yaml").write_text("relation: orders\npublic: true\n")
        return loaded

    monkeypatch.setattr(rls.policy.load, "load_policies", meddled)
    version = engine.policies.version
    (policies / "policies.yaml").write_text("relation: products\npublic: true\n")
    with pytest.raises(AuditFailed) as caught:
        engine.reload()
    assert caught.value.code == "audit.snapshot"
    assert engine.policies.version == version


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("sql: some", "policy.value", 1),
        ("sql: full\nsings: x", "policy.unknown_key", 2),
        ("hash_key: {env: RLS_NOT_SET}", "policy.audit_key", 1),
        ("hash_key: {file: nothing}", "policy.audit_key", 1),
        ("hash_key: {}", "policy.value", 1),
        ("durability: disk\nsigning_key: {file: short}", "policy.audit_key", 2),
        ("hash_key: {file: short}", "policy.audit_key", 1),
        ("rotate_bytes: 5", "policy.value", 1),
        ("heads: {records: true}", "policy.type", 1),
    ],
)
def test_settings_are_strict(tmp_path: Path, text: str, code: str, line: int) -> None:
    (tmp_path / "audit.yaml").write_text(text)
    (tmp_path / "short").write_bytes(b"short")
    with pytest.raises(PolicyInvalid) as caught:
        load_settings(tmp_path, environment={})
    assert (caught.value.code, caught.value.line) == (code, line)


def test_settings_come_from_the_environment_where_there_is_no_file(tmp_path: Path) -> None:
    plain = load_settings(tmp_path, environment={})
    assert plain.keyed.is_ephemeral
    assert plain.signer is None
    given = {"RLS_AUDIT_HASH_KEY": "x" * 16, "RLS_AUDIT_SIGNING_KEY": "y" * 32}
    keyed = load_settings(tmp_path, environment=given)
    assert not keyed.keyed.is_ephemeral
    assert keyed.signer is not None
    for name in given:
        with pytest.raises(AuditFailed) as caught:
            load_settings(tmp_path, environment={**given, name: "short"})
        assert caught.value.code == "audit.key"


def test_the_commands(
    engine: Engine, policies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLS_AUDIT", str(tmp_path / "log"))
    monkeypatch.setenv("RLS_POLICIES", str(policies))
    result = engine.query(token(engine), SQL)
    engine.query(token(engine, "globex"), "SELECT 'x' FROM products")
    with pytest.raises(QueryRefused):
        engine.query(token(engine), "SELECT * FROM nothing")
    engine.close()

    code, found = command(capsys, "audit", "tail", "-n", 2)
    assert (code, [r["outcome"] for r in found]) == (0, ["allowed", "refused"])
    for options, count in (
        (("--subject", "u-acme"), 2),
        (("--outcome", "refused", "--outcome", "failed"), 1),
        (("--relation", "orders", "--policy", "own_tenant"), 1),
        (("--relation", "orders", "--policy", "nobody"), 0),
        (("--text", "FROM PRODUCTS"), 1),
        (("--code", "query.unknown_relation"), 1),
        (("--attribute", "tenant=globex"), 1),
        (("--since", "1h"), 3),
        (("--until", "2020-01-01"), 0),
        (("--role", "maker", "--id", result.audit_id[:10]), 1),
    ):
        assert command(capsys, "audit", "query", *options)[1]["count"] == count, options
    sql = "SELECT subject, count(*) AS n FROM records GROUP BY subject ORDER BY subject"
    answer = {"columns": ["subject", "n"], "rows": [["u-acme", 2], ["u-globex", 1]]}
    assert command(capsys, "audit", "query", "--sql", sql)[1] == answer

    code, verified = command(capsys, "audit", "verify")
    assert (code, verified["ok"], verified["signatures"], verified["records"]) == (0, True, "checked", 3)
    assert command(capsys, "audit", "verify", "--key", policies / "hash.key")[1]["error"]["code"] == "cli.usage"
    assert run(["audit", "verify", "--heads"]) == 0
    heads = tmp_path / "heads"
    heads.write_text(capsys.readouterr().out)
    ids = tmp_path / "ids"
    ids.write_text(f"{result.audit_id}\n{'0' * 32}\n")
    code, missing = command(capsys, "audit", "verify", "--anchor", heads, "--expect", ids)
    assert (code, [f["code"] for f in missing["findings"]]) == (1, ["missing_record"])

    code, outcome = command(capsys, "audit", "replay", result.audit_id[:12], "--as", "amir")
    assert (code, outcome["same"], outcome["attributes"]) == (0, True, "proven")
    assert command(capsys, "audit", "replay", result.audit_id, "--as", "eve")[1]["error"]["code"] == "audit.replay"
    given = tmp_path / "attributes.json"
    given.write_text('{"tenant": "acme"}')
    assert command(capsys, "audit", "replay", result.audit_id, "--attributes", given)[0] == 0
    bearer = tmp_path / "token"
    bearer.write_text(token(engine))
    assert command(capsys, "audit", "replay", result.audit_id, "--token-file", bearer)[0] == 0

    page = tmp_path / "report.html"
    code, made = command(capsys, "audit", "report", "--html", page)
    assert (code, made["attempts"], made["outcomes"]) == (0, 3, {"allowed": 2, "refused": 1})
    assert {"relation": "orders", "policy": "small_ones"} in made["unused"]
    assert page.read_text().startswith("<!DOCTYPE html>")

    assert run(["audit", "export"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [e["type_uid"] for e in events] == [600504] * 3
    for view in ("tail", "query", "verify", "report"):
        assert run(["audit", view]) == 0
        assert max(len(line) for line in capsys.readouterr().out.splitlines()) < 160


def test_a_log_that_was_changed_is_told_with_exit_code_1(
    engine: Engine, policies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.query(token(engine), SQL)
    engine.close()
    file = next((tmp_path / "log").glob("*.jsonl"))
    file.write_bytes(file.read_bytes().replace(b'"row_count":1', b'"row_count":2'))
    code, found = command(capsys, "audit", "verify", "--audit", tmp_path / "log", "--policies", policies)
    assert (code, [f["code"] for f in found["findings"]]) == (1, ["changed"])
    assert run(["audit", "verify", "--audit", str(tmp_path / "nothing")]) == 6
    assert "there is no audit log" in capsys.readouterr().err


def test_a_log_given_as_an_object_is_its_owners_to_close(database: Path, policies: Path, tmp_path: Path) -> None:
    with AuditLog(tmp_path / "own.jsonl", durability="process") as log:
        with Engine.open(database, policies=policies, audit=log, isolation="thread") as engine:
            engine.query(token(engine), SQL)
        with Engine.open(database, policies=policies, audit=log, isolation="thread") as engine:
            engine.query(token(engine), SQL)
    assert (tmp_path / "own.jsonl.snapshots").is_dir()
    found = verify_log([tmp_path / "own.jsonl"])
    assert found.findings == ()
    assert [chain.records for chain in found.chains] == [2]


def test_what_decides_is_kept_once_whatever_becomes_of_the_files(
    engine: Engine, policies: Path, tmp_path: Path
) -> None:
    """The database is read again when it changes; the policies in force are those that were loaded."""
    (policies / "policies.yaml").write_text("half of a file that somebody is wri")
    engine._decide(engine.policies)
    engine.query(token(engine), SQL)
    kept = tmp_path / "log" / "snapshots" / f"policies-{engine.policies.version}" / "policies.yaml"
    assert "own_tenant" in kept.read_text()
    kept.write_text("relation: orders\npublic: true\n")
    with pytest.raises(AuditFailed) as caught:
        engine._decide(engine.policies)
    assert caught.value.code == "audit.snapshot"


ROLES = """roles:
  explorer: {}
  maker: {read_audit: all}
  reader: {read_policies: false}
"""


def test_who_may_read_which_records(database: Path, policies: Path, tmp_path: Path) -> None:
    identity = policies / "identity.yaml"
    identity.write_text(identity.read_text().replace("roles: [explorer, maker]\n", ROLES))
    with Engine.open(database, policies=policies, audit=tmp_path / "log", isolation="thread") as engine:
        everybody, own, blind = (
            token(engine, tenant, roles=[role])
            for tenant, role in (("acme", "maker"), ("globex", "explorer"), ("initech", "reader"))
        )
        for given in (everybody, own, blind):
            engine.query(given, "SELECT count(*) FROM orders")
        assert {r["subject"] for r in engine.audit_records(everybody)} == {"u-acme", "u-globex", "u-initech"}
        mine = engine.audit_records(own)
        assert [(r["subject"], r["action"]) for r in mine] == [("u-globex", "query")]
        assert mine[0]["relations"]["orders"]["policies"] == ["own_tenant", "small_ones"]
        # Whatever is asked for.
        assert engine.audit_records(own, Selection(subject="u-acme"))[0]["subject"] == "u-globex"
        assert engine.audit_records(blind)[0]["relations"] == {"orders": {"kind": "never"}}
        assert len(engine.audit_records(everybody, latest=2)) == 2
        with pytest.raises(TokenRejected):
            engine.audit_records("nonsense")
    actions = [r["action"] for r in records(tmp_path / "log")]
    assert actions.count("audit") == 6


def test_records_that_go_elsewhere_cannot_be_read(database: Path, policies: Path) -> None:
    with Engine.open(database, policies=policies, audit=[].append, isolation="thread") as engine:
        with pytest.raises(AuditFailed) as caught:
            engine.audit_records(token(engine))
        assert caught.value.code == "audit.unreadable"
