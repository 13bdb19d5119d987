"""Queries in an engine's own SQL: answered as the server itself answers them where all rows may be seen, under the same
guards as any other where not, and recorded with their dialect."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

import rls
from rls.audit.record import AuditRecord
from rls.cli import run
from rls.errors import QueryFailed, QueryRefused
from tests.engine.kit import write_policies
from tests.engines.native_queries import ATTACKS, COLUMNS, QUERIES, ROWS

POLICIES = """
relation: facts
policies:
  - {name: own_tenant, using: tenant = user.tenant}
---
relation: hidden
policies:
  - {name: nobody, using: "false"}
"""
HIDDEN = "(7, 'globex', 2147483647, 1, 1, 'CANARY', NULL, NULL, true)"


class Site:
    """An engine over two tables, `facts` with one tenant's rows and `hidden` with one that nobody sees, and a way to
    ask the server itself for rows."""

    def __init__(self, url: str, native: Callable[[str], list[tuple[Any, ...]]], directory: Path) -> None:
        self.url, self.native = url, native
        self.policies = write_policies(directory / "policies", POLICIES)
        self.records: list[AuditRecord] = []
        self.engine = rls.Engine.open(url, policies=self.policies, audit=self.records.append, isolation="thread")
        identity = rls.load_identity(self.policies)
        self.tokens = {
            tenant: rls.mint_token(identity, subject="eve", roles=["maker"], attributes={"tenant": tenant})
            for tenant in ("acme", "globex")
        }
        self.files = directory / "parquet"


@pytest.fixture(scope="module")
def postgres_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from _postgres(tmp_path_factory.mktemp("postgres"))


@pytest.fixture(scope="module")
def spark_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    yield from _sail(tmp_path_factory.mktemp("spark"))


@pytest.fixture
def site(request: pytest.FixtureRequest, dialect: str) -> Site:
    found: Site = request.getfixturevalue(f"{dialect}_site")
    return found


def _postgres(directory: Path) -> Iterator[Site]:
    from tests.engines.postgres.kit import READER, start

    cluster = start()
    import psycopg

    try:
        with psycopg.connect(cluster.url(), autocommit=True) as connection:
            for name in ("facts", "hidden"):
                connection.execute(f"CREATE TABLE {name} ({COLUMNS})")
                connection.execute(f"INSERT INTO {name} VALUES {ROWS if name == 'facts' else HIDDEN}")
            connection.execute(f"CREATE ROLE {READER} LOGIN")
            connection.execute(f"GRANT SELECT ON facts, hidden TO {READER}")
        with psycopg.connect(cluster.url(), autocommit=True) as connection:
            cursor = psycopg.RawCursor(connection)
            made = Site(cluster.url(user=READER), lambda sql: cursor.execute(sql).fetchall(), directory)
            yield made
            made.engine.close()
    finally:
        cluster.stop()


def _sail(directory: Path) -> Iterator[Site]:
    from tests.engines.spark.kit import start, write_parquet

    server = start()
    from pyspark.sql.connect.session import SparkSession

    try:
        with duckdb.connect() as connection:
            for name in ("facts", "hidden"):
                connection.execute(f"CREATE TABLE {name} ({COLUMNS})")
                connection.execute(f"INSERT INTO {name} VALUES {ROWS if name == 'facts' else HIDDEN}")
            files = write_parquet(connection, directory / "parquet")
        session = SparkSession.builder.remote(f"sc://127.0.0.1:{server.port}").create()
        session.conf.set("spark.sql.session.timeZone", "UTC")
        session.conf.set("spark.sql.ansi.enabled", "true")
        session.read.parquet(str(files / "facts.parquet")).createOrReplaceTempView("facts")

        def native(sql: str) -> list[tuple[Any, ...]]:
            return [tuple(row.values()) for row in session.sql(sql).toArrow().to_pylist()]

        made = Site(server.url(files), native, directory)
        yield made
        made.engine.close()
        session.client.close()
    finally:
        server.stop()


def pairs_of(queries: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(dialect, sql) for dialect, some in queries.items() for sql in some]


@pytest.mark.parametrize(("dialect", "query"), pairs_of(QUERIES))
def test_the_meaning_is_the_servers_own(site: Site, dialect: Any, query: str) -> None:
    found = site.engine.query(site.tokens["acme"], query, dialect=dialect)
    assert [list(map(_plain, row)) for row in found.rows] == [list(map(_plain, row)) for row in site.native(query)]
    assert "CANARY" not in str(found.rows)


@pytest.mark.parametrize(("dialect", "query"), pairs_of(QUERIES))
def test_who_sees_no_row_sees_none(site: Site, dialect: Any, query: str) -> None:
    found = site.engine.query(site.tokens["globex"], query, dialect=dialect)
    shown = str(found.rows)
    assert not any(secret in shown for secret in ("Alpha", "Zürich", "acme", "CANARY", "3.99"))


@pytest.mark.parametrize(("dialect", "attack"), pairs_of(ATTACKS))
def test_attacks_in_the_engines_own_words(site: Site, dialect: Any, attack: str) -> None:
    asked = attack.replace("{files}", str(site.files)).replace("{{", "{").replace("}}", "}")
    try:
        found = site.engine.query(site.tokens["acme"], asked, dialect=dialect)
    except QueryRefused as refused:
        assert "CANARY" not in str(refused)
    except QueryFailed as failed:
        pytest.fail(f"it ran: {failed}")
    else:
        assert found.rows == []


@pytest.mark.parametrize("dialect", list(QUERIES))
def test_the_record_says_whose_words_they_are(site: Site, dialect: Any) -> None:
    text = "SELECT max(n) AS m FROM facts WHERE note <> 'secret' OR id = :id"
    found = site.engine.query(site.tokens["acme"], text, {"id": 1}, dialect=dialect)
    assert found.rows == [(10,)]
    assert (site.records[-1].sql, site.records[-1].dialect) == (text, dialect)
    site.engine.query(site.tokens["acme"], "SELECT 1 AS a")
    assert site.records[-1].dialect == ""


@pytest.mark.parametrize("dialect", list(QUERIES))
def test_an_error_points_into_no_text_that_its_caller_did_not_write(site: Site, dialect: Any) -> None:
    for who in ("token", "session", "explain"):
        with pytest.raises(QueryRefused) as refused:
            match who:
                case "token":
                    site.engine.query(site.tokens["acme"], "SELECT   nothing FROM  nowhere", dialect=dialect)
                case "session":
                    site.engine.session(site.tokens["acme"]).query("SELECT   nothing FROM  nowhere", dialect=dialect)
                case _:
                    site.engine.explain(site.tokens["acme"], "SELECT   nothing FROM  nowhere", dialect=dialect)
        assert (refused.value.code, refused.value.position) == ("query.unknown_relation", None)
        assert site.records[-1].outcome == "refused"


@pytest.mark.parametrize("dialect", list(QUERIES))
def test_an_engine_has_its_own_dialect_and_duckdbs(site: Site, dialect: Any) -> None:
    for other in {"postgres", "spark", "tsql"} - {dialect}:
        with pytest.raises(QueryRefused, match="does not have that dialect") as refused:
            site.engine.query(site.tokens["acme"], "SELECT 1", dialect=other)
        assert refused.value.code == "query.dialect"


@pytest.mark.parametrize("dialect", list(QUERIES))
def test_the_command_line(site: Site, dialect: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = {"postgres": "SELECT count(*) AS N FROM Facts WHERE n::text = $$10$$",
             "spark": 'SELECT count(*) AS n FROM `facts` WHERE string(n) = "10"'}  # fmt: skip
    shared = ["--policies", str(site.policies), "--database", site.url, "--audit", str(tmp_path / "log.jsonl")]
    given = ["query", *shared, "--token", site.tokens["acme"], "--dialect", dialect, "--json", asked[dialect]]
    assert run(given) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["columns"][0]["name"], answer["rows"]) == ("n", [[2]])


def _plain(value: Any) -> Any:
    """A value as both ways give it: numbers by their size, whatever their type."""
    match value:
        case bool() | None | str():
            return value
        case int() | float() | Decimal():
            return round(float(value), 9)
        case _:
            return str(value).removesuffix(" 00:00:00").removesuffix("+00:00").removesuffix(" 00:00:00")
