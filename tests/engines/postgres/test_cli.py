"""The command line and replays over a PostgreSQL server: the same commands with a URL in place of a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rls
from rls.audit.read import read_records
from rls.audit.replay import replay_record
from rls.audit.snapshots import snapshots_beside
from rls.cli import run
from rls.errors import AuditFailed
from tests.engine.kit import write_policies
from tests.engines.postgres.kit import READER, Cluster
from tests.engines.postgres.shop import POLICIES, start_shop

PERSONAS = "personas:\n  eve: {subject: eve, roles: [maker], attributes: {tenant: acme}}\n"
PASSWORD = "sesame-4711"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = start_shop()
    yield made
    made.stop()


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    made = write_policies(tmp_path / "policies", POLICIES)
    (made / "personas.yaml").write_text(PERSONAS)
    return made


@pytest.fixture
def url(cluster: Cluster) -> str:
    return cluster.url("shop", user=READER)


def asked(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict[str, Any]:
    """What a command prints as JSON."""
    assert run([str(argument) for argument in arguments]) == code, capsys.readouterr().err
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def token_of(policies: Path) -> str:
    identity = rls.load_identity(policies)
    return rls.mint_token(identity, subject="eve", roles=["maker"], attributes={"tenant": "acme"})


def test_query_and_replay(url: str, policies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "audit.jsonl"
    places = ("--policies", policies, "--database", url, "--audit", log)
    sql = "SELECT count(*) AS n FROM orders WHERE amount > 10 AND note LIKE 'Z%'"
    answer = asked(capsys, "query", *places, "--token", token_of(policies), "--json", sql)
    assert answer["rows"] == [[15]]
    replayed = asked(
        capsys, "audit", "replay", "--audit", log, "--policies", policies, "--as", "eve", "--json", answer["audit_id"]
    )
    assert (replayed["same"], replayed["not_compared"]) == (True, [])
    # Other policies than those of its time would have shown something else.
    record = list(read_records(log))[-1]
    snapshots = snapshots_beside(log)
    changed = next(snapshots.glob("policies-*")) / "policies.yaml"
    changed.write_text(changed.read_text().replace("tenant_id = user.tenant", "tenant_id <> user.tenant"))
    other = replay_record(record, snapshots=snapshots, attributes={"tenant": "acme"}, keyed=None)
    assert "orders: grant" in {one.what for one in other.differences}


def test_texts_that_share_a_template_are_replayed(url: str, policies: Path, tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    token = token_of(policies)
    with rls.Engine.open(url, policies=policies, audit=log, isolation="thread") as engine:
        for number in (4, 6, 8):
            sql = f"SELECT note FROM orders WHERE id = {number} AND n * 2 > 0 AND amount < 100.5"
            assert engine.query(token, sql).rows == [(f"Zebra {number}",)]
            assert engine.guard(token, sql).near == (number > 4)
    records = list(read_records(log))
    assert len(records) == 6
    for record in records:
        first = "SELECT note FROM orders WHERE id = 4 AND n * 2 > 0 AND amount < 100.5"
        template = first if record.get("template_sha256") else None
        found = replay_record(
            record, snapshots=snapshots_beside(log), attributes={"tenant": "acme"}, keyed=None, template=template
        )
        assert (found.differences, found.not_compared) == ((), ())


def test_a_record_of_an_unknown_engine_is_not_replayed(url: str, policies: Path, tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    with rls.Engine.open(url, policies=policies, audit=log, isolation="thread") as engine:
        engine.query(token_of(policies), "SELECT count(*) FROM orders")
    record = list(read_records(log))[-1]
    for engine_version in ("duckdb 2.0.0", "oracle 26"):
        with pytest.raises(AuditFailed, match="engine that is not known"):
            replay_record(
                {**record, "engine_version": engine_version},
                snapshots=snapshots_beside(log),
                attributes={"tenant": "acme"},
                keyed=None,
            )


def test_explain_check_and_export(url: str, policies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = ("--policies", policies, "--database", url)
    explained = asked(capsys, "explain", "--as", "eve", *places, "--json", "SELECT id FROM orders")
    assert explained["relations"]["orders"]["policies"] == ["all_rows", "own_tenant"]
    # What is run has no part in common with what was asked.
    assert explained["splices"] == [{"start": 0, "end": len("SELECT id FROM orders"), "text": explained["sql"]}]
    assert explained["sql"].startswith('SELECT "orders"."id" AS "id" FROM (SELECT')
    assert not explained["barrier"]["fenced"]
    raising = asked(capsys, "explain", "--as", "eve", *places, "--json", "SELECT id FROM orders WHERE id * 2 > 4")
    assert raising["barrier"]["reason"] == "`*` of INTEGER may raise on a row there"
    # A table that nobody decided on is an error, and its name is the catalog's.
    checked = asked(capsys, "check", policies, "--database", url, "--json", code=1)
    assert "undecided" in repr(checked["findings"])
    # What the server has and queries cannot reach is named with the reason.
    left_out = [one["message"] for one in checked["findings"] if one["code"] == "policy.left_out"]
    assert "`everything` does not exist for queries and policies: it is a view of the server's own" in left_out
    assert (
        "column `address` of `parcels` does not exist for queries and policies: nothing corresponds to its type `inet`"
        in left_out
    )
    assert run(["export", "markdown", str(policies), "--database", url]) == 0
    assert "own_tenant" in capsys.readouterr().out


def test_init_reads_the_catalog_and_no_row(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = asked(capsys, "init", tmp_path / "new", "--database", url, "--json")
    assert made["tables"]
    written = "".join(file.read_text(encoding="utf-8") for file in (tmp_path / "new").glob("*.yaml"))
    assert "CANARY" not in written
    assert "globex" not in written
    assert asked(capsys, "check", tmp_path / "new", "--database", url, "--json")["errors"] == 0


@pytest.mark.parametrize("command", ["mutate", "diff other", "leaks", "bench"])
def test_commands_that_work_on_a_file_say_so(
    command: str, url: str, policies: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLS_DATABASE", url)
    if command == "bench":
        monkeypatch.setenv("RLS_POLICIES", str(policies))
        command = "bench --sql x.sql --as eve"
    name, *more = command.split()
    assert run([name, *more] if more[1:] else [name, str(policies), *more]) == 2
    assert "works on a DuckDB file" in capsys.readouterr().err


def test_secrets_come_from_the_environment_and_are_said_nowhere(
    cluster: Cluster,
    policies: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    url = cluster.url("shop", user=READER)
    log = tmp_path / "audit.jsonl"
    rest = ("--policies", str(policies), "--audit", str(log), "--token", token_of(policies))
    assert run(["query", "--database", url, *rest, "SELECT count(*) FROM orders"]) == 0
    # In the URL it is refused, and no error repeats it.
    for wrong in (
        f"postgresql://{READER}:{PASSWORD}@/shop?host={cluster.directory}",
        f"postgresql://{READER}@/shop?host={cluster.directory}&password={PASSWORD}",
        f"postgresql://{READER}@/{PASSWORD}?host={cluster.directory}",
        f"postgresql://{PASSWORD}@/shop?host={cluster.directory}",
        f"postgres://{READER}@[{PASSWORD}/shop",
    ):
        for command in (
            ["query", *rest],
            ["explain", "--as", "eve", "--policies", str(policies)],
            ["check", str(policies)],
        ):
            sql = [] if command[0] == "check" else ["SELECT 1"]
            assert run([*command, "--database", wrong, *sql]) == 6
            shown = capsys.readouterr()
            assert PASSWORD not in shown.out + shown.err
    assert PASSWORD not in "".join(
        file.read_text(encoding="utf-8") for file in tmp_path.rglob("*") if file.is_file() and file.name != "secret"
    )
