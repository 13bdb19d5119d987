"""The list of channels: whatever hidden rows hold and whatever hidden relations there are, nothing says so.

Two databases look the same to one principal: they differ in hidden rows (how many, which values, which labels an ENUM
has) and in what nobody may see (relations, schemas, views, macros, sequences, indexes). Every way to ask must give the
same columns, types and rows, or the same refusal to the letter: code, message, position, hint. Timing is not promised.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rls.engine import Engine
from rls.errors import RlsError
from rls.identity.mint import mint_token
from tests.engine.kit import build, write_policies

NOTES = """
CREATE TYPE mood AS ENUM ({labels});
CREATE TABLE notes (
  id INTEGER, tenant VARCHAR, mood mood, moods mood[], place STRUCT(m mood, code VARCHAR), code VARCHAR, day DATE,
  amount INTEGER, email VARCHAR, salary INTEGER
);
INSERT INTO notes SELECT 1, 'acme', 'calm', ['calm'], {{'m': 'calm', 'code': '7'}}, '7', '2024-01-01', 10, 'ada@x', 5
{hidden};
CREATE TABLE people AS SELECT 1 AS id, 'acme' AS tenant, 'Ada' AS name;
CHECKPOINT;
"""
MANY = """
  UNION ALL SELECT i, 'globex', 'SECRET_LABEL', ['SECRET_LABEL'], {'m': 'SECRET_LABEL', 'code': 'nope'}, 'SECRET',
                   DATE '5877642-06-25 (BC)', 2147483647, 'SECRET', -1 FROM range(3, 5003) AS r(i)
"""
FEW = """
  UNION ALL SELECT 2, 'globex', 'low', [], {'m': 'low', 'code': '8'}, '8', DATE '2024-01-02', 11, 'bo@x', 6
"""
HIDDEN_RELATIONS = """
CREATE TABLE vault AS SELECT 1 AS id, 'SECRET' AS treasure;
CREATE SCHEMA hr;
CREATE TABLE hr.wages AS SELECT 1 AS id, 2 AS wage;
CREATE VIEW vault_view AS SELECT treasure FROM vault;
CREATE MACRO vault_macro(x) AS x + 1;
CREATE MACRO vault_rows() AS TABLE SELECT * FROM vault;
CREATE SEQUENCE tickets START 77;
CREATE INDEX vault_index ON vault(id);
CREATE TYPE vault_type AS ENUM ('SECRET');
COMMENT ON TABLE vault IS 'SECRET';
"""
POLICIES = """
relation: notes
policies:
  - {name: own_tenant, using: tenant = user.tenant}
columns:
  salary: {deny: true}
  email: {mask: "'***'"}
---
relation: people
policies:
  - {name: own_tenant, using: tenant = user.tenant}
"""
SPOKEN = ("SECRET", "vault", "treasure", "hr.wages", "tickets", "globex", "nope", "5003", "5001", "rls_", "own_tenant")


@dataclass(frozen=True)
class Sites:
    """Two engines, and a token for either."""

    engines: tuple[Engine, Engine]
    tokens: tuple[str, str]

    def ask(self, which: int, sql: str, fetch: Any = "rows") -> tuple[Any, ...]:
        """All that a caller gets to see."""
        try:
            result = self.engines[which].query(self.tokens[which], sql, fetch=fetch)
        except RlsError as error:
            assert error.__cause__ is None
            assert error.__context__ is None
            return type(error).__name__, error.code, str(error).partition("\n")[0], repr(error.to_dict())
        if fetch == "arrow":
            return ("arrow", str(result.to_arrow().schema), result.to_arrow().to_pylist())
        return result.columns, result.types, result.rows


@pytest.fixture(scope="module", params=["thread", "process"])
def sites(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    engines, tokens = [], []
    for name, script in (
        ("a", NOTES.format(labels="'calm', 'SECRET_LABEL', 'zzz'", hidden=MANY) + HIDDEN_RELATIONS),
        ("b", NOTES.format(labels="'low', 'calm'", hidden=FEW)),
    ):
        folder = tmp_path_factory.mktemp(name)
        policies = write_policies(folder / "policies", POLICIES)
        database = build(folder / "data.duckdb", script)
        engine = Engine.open(database, policies=policies, audit=lambda _: None, isolation=request.param)
        engines.append(engine)
        tokens.append(mint_token(engine.policies.identity, subject="u", attributes={"tenant": "acme"}))
    yield Sites((engines[0], engines[1]), (tokens[0], tokens[1]))
    for engine in engines:
        engine.close()


def table_functions(*prefixes: str) -> list[str]:
    """Calls of every table function of the running DuckDB whose name starts so, with and without a relation's name."""
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type IN ('table', 'pragma') ORDER BY 1"
        ).fetchall()
    names = [name for (name,) in rows if name.startswith(prefixes)]
    return [f"FROM {name}({argument})" for name in names for argument in ("", "'vault'")]


CHANNELS: dict[str, list[str]] = {
    "statistics": [
        "SELECT stats(id) FROM notes", "SELECT count(*), min(id), max(id), min(amount), max(amount), max(day) FROM notes",
        "SELECT id FROM notes WHERE amount > 1000 AND code::INTEGER = 7", "SELECT count(*) FROM notes WHERE id BETWEEN 2 AND ''",
        "SELECT count(*) FROM notes WHERE amount > 2147483646 OR code::INTEGER > 0", "SELECT amount + 2147483637 FROM notes",
        "SELECT epoch_ns(day) FROM notes", "SELECT approx_count_distinct(id), approx_quantile(id, 0.5) FROM notes",
        "SELECT amount * 1000 FROM notes WHERE id < 3", "SELECT sum(amount), avg(id), bit_or(amount) FROM notes", "FROM histogram('notes', 'id')",
        "SELECT code::INTEGER FROM notes JOIN people USING (id)", "SELECT equi_width_bins(min(id), max(id), 3, true) FROM notes",
    ],
    "explain": [
        f"EXPLAIN {options} SELECT * FROM notes" for options in ("", "ANALYZE", "(FORMAT json)", "(ANALYZE, FORMAT html)", "VERBOSE")
    ] + [
        "FROM (EXPLAIN SELECT * FROM notes)", "PRAGMA explain_output = 'all'", "PRAGMA enable_profiling", "SET enable_profiling = 'json'",
        "SELECT json_serialize_plan('SELECT * FROM notes')", "SELECT json_serialize_sql('SELECT * FROM notes')",
        "FROM json_execute_serialized_sql(json_serialize_sql('FROM vault'))", "PRAGMA last_profiling_output", "FROM duckdb_profiling_settings()",
    ],
    "describe and summarize": [
        "DESCRIBE notes", "DESCRIBE vault", "DESCRIBE SELECT * FROM notes", "SUMMARIZE notes", "SUMMARIZE vault", "FROM (DESCRIBE notes)",
        "FROM (SUMMARIZE notes)", "SUMMARIZE SELECT id, mood, code FROM notes", "SHOW TABLES", "SHOW ALL TABLES", "SHOW notes", "SHOW vault",
        "SHOW DATABASES", "FROM (SHOW TABLES)", "DESCRIBE", "DESCRIBE hr.wages", "SHOW TABLES FROM hr", "SHOW SCHEMAS", "DESC notes",
    ],
    "enum labels": [
        "SELECT typeof(mood), typeof(moods), typeof(place) FROM notes", "SELECT enum_range(mood) FROM notes", "SELECT enum_first(mood), enum_last(mood) FROM notes",
        "SELECT enum_code(mood) FROM notes", "SELECT 'SECRET_LABEL'::mood", "SELECT mood = 'unknown' FROM notes", "SELECT mood::mood FROM notes",
        "SELECT NULL::mood", "SELECT CAST(mood AS ENUM('x')) FROM notes", "SELECT mood < 'low' FROM notes", "SELECT moods[1], place.m FROM notes",
        "SELECT mood::INTEGER FROM notes", "SELECT enum_range(NULL::vault_type)", "SELECT mood FROM notes ORDER BY mood", "SELECT place.m::INTEGER FROM notes",
        "SELECT * FROM notes WHERE mood IN ('calm', 'SECRET_LABEL')", "SELECT mood FROM notes UNION SELECT 'x' ORDER BY ALL", "SELECT max(mood) FROM notes",
    ],
    "error texts": [
        "SELECT (code || 'x')::INTEGER FROM notes", "SELECT code::INTEGER / (id - 1) FROM notes", "SELECT 1 % (id - 1), error(code) FROM notes",
        "SELECT place.code::INTEGER FROM notes WHERE place.code::INTEGER < 9", "SELECT strptime(code, '%Y') FROM notes", "SELECT id FROM notes WHERE code = 7",
        "SELECT (SELECT id FROM notes UNION ALL SELECT 2) FROM notes", "SELECT (SELECT id FROM notes)", "SELECT regexp_matches('a', code || '(') FROM notes",
        "SELECT week(day), date_trunc('week', day) FROM notes", "SELECT code::DATE FROM notes", "SELECT amount::TINYINT FROM notes", "SELECT ('a' || email)::INTEGER FROM notes",
    ],
    "candidates": [
        "SELECT salry FROM notes", "SELECT n.salary FROM notes n", "SELECT treasur FROM notes", "SELECT wag FROM notes", "FROM vaul", "FROM vault_vie",
        "FROM hr.wage", "FROM h.wages", "FROM data.hr.wages", "SELECT vault_macr(1)", "SELECT vault_macro(1)", "FROM vault_rows()", "SELECT NULL::vault_typ",
        "SELECT nextva('tickets')", "SELECT tickets FROM notes", "SELECT id FROM noets", "SELECT notes.trasure FROM notes", "FROM vault_index",
        "SELECT COLUMNS('treasure|salary') FROM notes", "SELECT * EXCLUDE (salary) FROM notes", "SELECT * EXCLUDE (treasure) FROM notes", "SELECT * REPLACE (1 AS salary) FROM notes",
        "SELECT * FROM notes JOIN people USING (salary)", "SELECT id FROM notes ORDER BY salary", "SELECT id FROM notes GROUP BY salary", "UNPIVOT notes ON salary",
    ],
    "sampling": [
        "SELECT count(*) FROM notes TABLESAMPLE 100%", "SELECT id FROM notes USING SAMPLE 1 ROWS", "SELECT id FROM notes USING SAMPLE reservoir(1 ROWS)",
        "SELECT count(*) FROM notes TABLESAMPLE system(100%)", "SELECT id FROM notes TABLESAMPLE bernoulli(50%) REPEATABLE (3)",
        "SELECT id FROM notes USING SAMPLE reservoir(5 ROWS) REPEATABLE (7)", "SELECT count(*) FROM notes USING SAMPLE 100 PERCENT (system, 3)",
        "SELECT reservoir_quantile(id, 0.5) FROM notes", "SELECT count(*) FROM notes TABLESAMPLE reservoir(100%)",
    ],
    "sequences": [
        "SELECT nextval('tickets')", "SELECT currval('tickets')", "SELECT nextval('main.tickets')", "SELECT lastval()", "FROM duckdb_sequences()",
        "SELECT nextval('no_such')", 'SELECT "nextval"(\'tickets\')', "SELECT ('tickets').nextval()", "FROM tickets", "SELECT id, nextval('tickets') FROM notes",
    ],
    "rowid": [
        "SELECT rowid FROM notes", "SELECT notes.rowid FROM notes", "SELECT max(rowid) FROM notes", "SELECT id FROM notes ORDER BY rowid", "SELECT \"ROWID\" FROM notes",
        "SELECT * FROM notes JOIN people USING (rowid)", "SELECT COLUMNS('rowid') FROM notes", "SELECT id FROM notes WHERE rowid = 0", "SELECT n.rowid FROM notes AS n",
        "SELECT row_number() OVER () FROM notes", "SELECT file_row_number FROM notes", "SELECT n.\"rowid\" FROM (FROM notes) AS n", "SELECT hash(notes) = hash(notes) FROM notes",
    ],
    "storage and catalog": [
        *table_functions("duckdb_", "pragma_"), "FROM information_schema.tables", "FROM information_schema.columns", "FROM information_schema.schemata", "FROM pg_catalog.pg_class",
        "FROM pg_tables", "FROM pg_catalog.pg_attribute", "FROM sqlite_master", "FROM sqlite_schema", "SELECT current_schemas(true)", "SELECT current_database()", "SELECT current_schema()",
        "FROM query('FROM vault')", "FROM query_table('vault')", "SELECT has_table_privilege('vault', 'select')", "SELECT 'vault'::regclass", "PRAGMA table_info('vault')",
        "PRAGMA storage_info('notes')", "PRAGMA database_size", "CALL pragma_version()", "SELECT pg_get_viewdef(1)", "SELECT obj_description(1, 'pg_class')", "SELECT in_search_path('data', 'hr')",
        "FROM read_blob('data.duckdb')", "FROM glob('*')", "SELECT getenv('HOME')", "SELECT current_setting('temp_directory')", "FROM 'data.duckdb'", "SELECT txid_current()", "CHECKPOINT", "FROM sniff_csv('x')",
    ],
    "the query itself": [
        "SELECT current_query()", "SELECT current_query() FROM notes", "SELECT \"current_query\"()", "SELECT main.current_query()", "SELECT current_query", "SELECT current_query_id()",
        "SELECT current_transaction_id()", "SELECT pg_backend_pid()", "SELECT current_connection_id()", "FROM duckdb_logs", "FROM duckdb_connections()",
    ],
    "progress": ["SET enable_progress_bar = true", "PRAGMA enable_progress_bar", "PRAGMA enable_print_progress_bar", "SELECT current_setting('enable_progress_bar')", "SET progress_bar_time = 0"],
    "leftovers": [
        "CREATE TEMP TABLE kept AS SELECT 1", "SET VARIABLE kept = 1", "SELECT getvariable('kept')", "PREPARE kept AS SELECT 1", "EXECUTE kept", "CREATE MACRO kept() AS 1", "SELECT kept()",
        "FROM kept", "SET search_path = 'hr'", "USE hr", "BEGIN", "ATTACH ':memory:' AS kept", "PIVOT notes ON mood USING count(*)", "FROM (PIVOT notes ON code USING count(*))",
        "SELECT NULL::__pivot_enum_0", "RESET ALL", "LOAD json", "CREATE TEMP SEQUENCE s", "SET schema = 'hr'", "EXPLAIN EXECUTE kept", "DEALLOCATE kept", "CREATE TEMP VIEW kept AS FROM notes", "FROM kept",
    ],
    "does not exist, or is not yours": [
        "FROM vault", "FROM nothing", "FROM main.vault", "FROM data.main.vault", 'FROM "vault"', "FROM VAULT AS v", "SELECT * FROM notes JOIN vault USING (id)", "SELECT (SELECT max(id) FROM vault)",
        "FROM hr.wages", "FROM data.hr.wages", "FROM no_such.wages", "FROM vault_view", "TABLE vault", "SELECT EXISTS (FROM vault)", "WITH v AS (FROM vault) FROM v", "PIVOT vault ON id USING count(*)",
        "FROM data.vault", "SELECT vault FROM notes", "SELECT vault.id FROM notes", "SELECT notes.salary FROM notes", "SELECT notes.salarz FROM notes", "SELECT data.main.notes.salary FROM notes",
        "INSERT INTO vault VALUES (1)", "DROP TABLE vault", "COPY vault TO 'x'", "DELETE FROM vault", "ALTER TABLE vault ADD COLUMN x INT", "GRANT SELECT ON vault TO x", "FROM vault TABLESAMPLE 10%",
    ],
}  # fmt: skip


# Refused before anything runs, wherever it would.
REFUSED_FIRST = ("explain", "storage and catalog", "the query itself", "progress", "sequences")


@pytest.mark.parametrize("channel", CHANNELS)
def test_channel_tells_nothing(sites: Sites, channel: str) -> None:
    if channel in REFUSED_FIRST and not hasattr(sites.engines[0]._executor, "_instances"):
        pytest.skip("hardly a query of it reaches a worker")
    told = []
    for sql in CHANNELS[channel]:
        first, second = sites.ask(0, sql), sites.ask(1, sql)
        said = [word for word in SPOKEN if word.lower() in repr(first).lower() and word.lower() not in sql.lower()]
        if first != second or said:
            told.append((sql, said, first, second))
    assert told == []


@pytest.mark.parametrize(
    ("yours", "made_up"),
    [
        ("SELECT salary FROM notes", "SELECT salarz FROM notes"),
        ("SELECT n.salary FROM notes AS n WHERE id > 0", "SELECT n.salarz FROM notes AS n WHERE id > 0"),
        ("SELECT id FROM notes ORDER BY salary", "SELECT id FROM notes ORDER BY salarz"),
        ("SELECT * EXCLUDE (salary) FROM notes", "SELECT * EXCLUDE (salarz) FROM notes"),
        ("SELECT * FROM notes JOIN people USING (salary)", "SELECT * FROM notes JOIN people USING (salarz)"),
        ("FROM vault", "FROM vaulz"),
        ("SELECT x FROM notes, hr.wages", "SELECT x FROM notes, hr.wagez"),
        ("SELECT x FROM notes, hr.wages", "SELECT x FROM notes, hz.wages"),
        ("FROM vault_view", "FROM vault_viez"),
        ("SELECT vault_macro(1)", "SELECT vault_macrz(1)"),
        ("FROM vault_rows()", "FROM vault_rowz()"),
        ("SELECT NULL::vault_type", "SELECT NULL::vault_typz"),
        ("SELECT nextval('tickets')", "SELECT nextval('ticketz')"),
        ("DESCRIBE vault", "DESCRIBE vaulz"),
        ("SUMMARIZE hr.wages", "SUMMARIZE hr.wagez"),
    ],
)
def test_what_is_hidden_is_refused_like_what_is_not_there(sites: Sites, yours: str, made_up: str) -> None:
    # Only the name differs, and it is as long: code, position and hint must be the same.
    names = [(a, b) for a, b in zip(yours.split(), made_up.split(), strict=True) if a != b]

    def blank(outcome: tuple[Any, ...]) -> str:
        text = repr(outcome)
        for pair in names:
            for name in (
                *pair,
                *(word.strip("();") for word in pair),
                *(w.rpartition(".")[2].strip("()") for w in pair),
            ):
                text = text.replace(name, "…")
        for name in (
            "salary",
            "salarz",
            "vault_macro",
            "vault_macrz",
            "vault_rows",
            "vault_rowz",
            "vault_type",
            "vault_typz",
        ):
            text = text.replace(name, "…")
        return text.replace("tickets", "…").replace("ticketz", "…").replace("hz", "hr")

    first, second = sites.ask(0, yours), sites.ask(0, made_up)
    assert first[0] == "QueryRefused"
    assert blank(first) == blank(second)


@pytest.mark.parametrize(
    "sql", ["SELECT * FROM notes", "SELECT mood, moods, place, code FROM notes", "SELECT mood FROM notes GROUP BY ALL"]
)
def test_columnar_results_hold_no_dictionary_of_labels(sites: Sites, sql: str) -> None:
    first, second = sites.ask(0, sql, "arrow"), sites.ask(1, sql, "arrow")
    assert first == second
    assert "dictionary" not in first[1]
    frames = [site.query(token, sql).df() for site, token in zip(sites.engines, sites.tokens, strict=True)]
    one, two = (list(map(str, frame.dtypes)) for frame in frames)
    assert one == two
    assert "category" not in one


def test_the_guarded_text_is_not_the_callers_query(sites: Sites) -> None:
    outcome = sites.ask(0, "SELECT current_query() FROM notes")
    assert "OFFSET 0" not in repr(outcome)
    assert "tenant" not in repr(outcome)


def test_nothing_is_left_for_the_next_query(sites: Sites) -> None:
    asked = (
        "SELECT * FROM notes",
        "FROM kept",
        "SELECT getvariable('kept')",
        "SELECT NULL::__pivot_enum",
        "SHOW TABLES",
    )
    before = [sites.ask(0, sql) for sql in asked]
    for sql in CHANNELS["leftovers"]:
        sites.ask(0, sql)
    assert [sites.ask(0, sql) for sql in asked] == before


def test_pivots_leave_no_type_on_the_connection(sites: Sites) -> None:
    executor: Any = sites.engines[0]._executor
    if not hasattr(executor, "_instances"):
        pytest.skip("its connection is in another process")
    assert sites.ask(0, "PIVOT notes ON mood USING count(*) GROUP BY tenant")[2] == [("acme", 1)]
    for instance in list(executor._instances.values()):
        cursor = instance.cursor()
        left = cursor.execute("SELECT type_name FROM duckdb_types() WHERE type_name LIKE '%pivot%'").fetchall()
        left += cursor.execute("SELECT table_name FROM duckdb_tables() WHERE temporary").fetchall()
        left += cursor.execute("SELECT name FROM duckdb_prepared_statements()").fetchall()
        left += cursor.execute("SELECT name FROM duckdb_variables()").fetchall()
        assert left == []


def test_no_progress_is_printed(sites: Sites) -> None:
    executor: Any = sites.engines[0]._executor
    if not hasattr(executor, "_instances"):
        pytest.skip("its connection is in another process")
    for instance in list(executor._instances.values()):
        shown = instance.cursor().execute("SELECT current_setting('enable_progress_bar')").fetchone()
        assert shown == (False,)


def test_a_plain_connection_would_tell(tmp_path: Path) -> None:
    # The two databases do differ, in what DuckDB itself says.
    seen = []
    for name, script in (
        ("a", NOTES.format(labels="'calm', 'SECRET_LABEL', 'zzz'", hidden=MANY)),
        ("b", NOTES.format(labels="'low', 'calm'", hidden=FEW)),
    ):
        with duckdb.connect(os.fspath(build(tmp_path / f"{name}.duckdb", script))) as connection:
            guard = "(SELECT * FROM notes WHERE tenant = 'acme')"
            queries = (
                f"SELECT enum_range(mood) FROM {guard}",
                "SELECT max(rowid) FROM notes",
                f"SELECT stats(id) FROM {guard}",
            )
            seen.append([repr(connection.execute(sql).fetchall()) for sql in queries])
    assert all(first != second for first, second in zip(*seen, strict=True))
