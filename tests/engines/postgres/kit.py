"""A PostgreSQL cluster of our own for tests: made in a temporary directory, on a socket, gone afterwards.

`start` skips with a reason where no server binary is installed; `load_database` copies a DuckDB database into it, type by type,
and gives a role that can read and nothing else.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.judging.judge import NotHeld
from tests.judging.oracle import quoted, tables_of

READER = "reader"
_TYPES = {
    "BOOLEAN": "boolean", "TINYINT": "smallint", "SMALLINT": "smallint", "INTEGER": "integer", "BIGINT": "bigint",
    "FLOAT": "real", "DOUBLE": "double precision", "VARCHAR": "text", "DATE": "date", "TIME": "time", "UUID": "uuid",
    "TIMESTAMP": "timestamp", "TIMESTAMP WITH TIME ZONE": "timestamptz", "BLOB": "bytea", "JSON": "json",
}  # fmt: skip

# Types whose lists other engines store as well.
LISTED = ("BOOLEAN", "SMALLINT", "INTEGER", "BIGINT", "DOUBLE", "VARCHAR", "DATE", "TIMESTAMP")


@dataclass(frozen=True)
class Cluster:
    """A running server: `url` of a database for its owner, and for the role that only reads."""

    directory: Path
    binaries: Path
    as_user: tuple[str, ...] = ()

    def url(self, database: str = "postgres", *, user: str = "owner") -> str:
        return f"postgresql://{user}@/{database}?host={self.directory}"

    def stop(self) -> None:
        """End the server; its directory goes with it."""
        self.run("pg_ctl", "-D", str(self.directory / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self.directory)

    def restart(self) -> None:
        self.run("pg_ctl", "-D", str(self.directory / "data"), "-m", "fast", "-w", "restart")

    def halt(self) -> None:
        """End the server; `resume` starts it again."""
        self.run("pg_ctl", "-D", str(self.directory / "data"), "-m", "immediate", "stop")

    def resume(self) -> None:
        options = (
            f"-c listen_addresses='' -c unix_socket_directories='{self.directory}' -c fsync=off -c max_connections=40"
        )
        self.run("pg_ctl", "-D", str(self.directory / "data"), "-o", options, "-w", "start")

    def run(self, program: str, *arguments: str) -> None:
        command = [*self.as_user, str(self.binaries / program), *arguments]
        with (self.directory / "log").open("ab") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log, cwd=self.directory)


def server_binaries() -> Path | None:
    """Where PostgreSQL's server programs are, the newest; None where they are not."""
    on_path = shutil.which("initdb")
    places = [Path(on_path).resolve().parent] if on_path else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


def start() -> Cluster:
    """A new cluster. Skips the test where there is no server."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'rls[postgres]'")
    binaries = server_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server binaries: apt-get install postgresql")
    # Not pytest's directory: another user must reach it, and a socket's path is short.
    directory, as_user = Path(tempfile.mkdtemp(prefix="rls-pg-")), ()
    if os.geteuid() == 0:
        # The server refuses to run as root.
        name = "postgres" if _exists("postgres") else "nobody"
        as_user = ("setpriv", f"--reuid={name}", f"--regid={_group(name)}", "--clear-groups")
        shutil.chown(directory, name)
    cluster = Cluster(directory, binaries, as_user)
    data = str(directory / "data")
    # Another order of texts than bytes, where the system has one: C.UTF-8 would hide what is wrong about it.
    cluster.run(
        "initdb", "-D", data, "-U", "owner", "-A", "trust", "--encoding=UTF8", "--locale-provider=icu",
        "--icu-locale=en-US", "--locale=C.UTF-8", "--no-sync",
    )  # fmt: skip
    cluster.resume()
    return cluster


def _exists(user: str) -> bool:
    return subprocess.run(["id", user], capture_output=True, check=False).returncode == 0


def _group(user: str) -> str:
    return subprocess.run(["id", "-gn", user], capture_output=True, check=True, text=True).stdout.strip()


class Server:
    """A cluster as the judges see it (`tests.judging.judge.Server`): the last `keep` databases."""

    def __init__(self, *, keep: int = 1) -> None:
        self.cluster = start()
        self._keep, self._count = keep, 0

    def strip(self, database: Path) -> None:
        """See `strip`; and no TINYINT, which would come back as SMALLINT."""
        strip(database)
        with duckdb.connect(str(database)) as connection:
            for path, columns in tables_of(connection).items():
                for name in (name for name, type_ in columns if type_ == "TINYINT"):
                    try:
                        connection.execute(f"ALTER TABLE {quoted(*path)} ALTER {quoted(name)} TYPE SMALLINT")
                    except duckdb.Error:
                        connection.execute(f"DROP TABLE {quoted(*path)} CASCADE")
                        break

    def hold(self, database: Path) -> None:
        """Drop and replace in a DuckDB file what cannot be held here; the same for two that look alike."""
        self.strip(database)
        calm(database)

    def load(self, database: Path) -> str:
        """See `tests.judging.judge.Server`."""
        import psycopg

        with psycopg.connect(self.cluster.url(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS suite_{max(0, self._count + 1 - self._keep)} WITH (FORCE)")
        self._count += 1
        try:
            load_database(self.cluster, database, database=f"suite_{self._count}")
        except (psycopg.DataError, duckdb.Error, ValueError, OverflowError) as error:
            raise NotHeld(f"PostgreSQL cannot hold the data: {type(error).__name__}") from None
        return self.cluster.url(f"suite_{self._count}", user=READER)

    def close(self) -> None:
        self.cluster.stop()


def strip(database: Path) -> None:
    """Drop from a DuckDB file what PostgreSQL has no type for: columns, tables of no other columns, and views."""
    with duckdb.connect(str(database)) as connection:
        for schema, view in connection.execute(
            "SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal"
        ).fetchall():
            connection.execute(f"DROP VIEW IF EXISTS {quoted(schema, view)} CASCADE")
        for path, columns in tables_of(connection).items():
            lost = [name for name, type_ in columns if not _is_known(type_)]
            if len(lost) == len(columns) or len(path) > 2:
                connection.execute(f"DROP TABLE {quoted(*path)} CASCADE")
                continue
            for name in lost:
                try:
                    connection.execute(f"ALTER TABLE {quoted(*path)} DROP COLUMN {quoted(name)} CASCADE")
                except duckdb.Error:
                    # An index or a constraint holds on to it.
                    connection.execute(f"DROP TABLE {quoted(*path)} CASCADE")
                    break


def calm(database: Path) -> None:
    """Replace values that PostgreSQL cannot hold, each by what depends on nothing but the value: NUL characters,
    infinite days and those before the year 1 or after 9999."""
    with duckdb.connect(str(database)) as connection:
        for path, columns in tables_of(connection).items():
            for name, type_ in columns:
                table, column = quoted(*path), quoted(name)
                if type_ == "VARCHAR":
                    connection.execute(f"UPDATE {table} SET {column} = replace({column}, chr(0), '?')")
                if type_.startswith(("DATE", "TIMESTAMP")):
                    odd = f"NOT isfinite({column}) OR year({column}) NOT BETWEEN 1 AND 9999"
                    connection.execute(f"UPDATE {table} SET {column} = NULL WHERE {odd}")


def _is_known(type_: str) -> bool:
    labels = type_.startswith("ENUM(") and not type_.endswith("]")
    if type_.endswith("[]"):
        return type_[:-2] in LISTED
    return labels or type_ in _TYPES or re.fullmatch(r"DECIMAL\(\d+,\d+\)", type_) is not None


def load_database(cluster: Cluster, source: Path, *, database: str, types: dict[str, str] | None = None) -> None:
    """Copy the tables of a DuckDB file; columns of types that PostgreSQL lacks are left out. `types` says otherwise."""
    import psycopg

    with psycopg.connect(cluster.url(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{database}"')
    with (
        duckdb.connect(str(source), read_only=True) as warehouse,
        psycopg.connect(cluster.url(database)) as connection,
    ):
        enums: dict[str, str] = {}
        for path, columns in _tables(warehouse):
            schema = "public" if path[0] == "main" else path[0]
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
            kinds = {name: _type(type_, enums, connection, types or {}) for name, type_ in columns}
            kept = [name for name, kind in kinds.items() if kind]
            listed = ", ".join(f"{quoted(name)} {kinds[name]}" for name in kept)
            connection.execute(f"CREATE TABLE {quoted(schema, path[1])} ({listed})")
            shown = ", ".join(
                f"CAST({quoted(n)} AS VARCHAR)" if kinds[n] in enums.values() or kinds[n] == "jsonb" else quoted(n)
                for n in kept
            )
            rows = warehouse.execute(f"SELECT {shown} FROM {quoted(*path)}")
            with connection.cursor().copy(f"COPY {quoted(schema, path[1])} FROM STDIN") as copy:
                while chunk := rows.fetchmany(5_000):
                    for row in chunk:
                        copy.write_row(row)
        if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [READER]).fetchall():
            connection.execute(f"CREATE ROLE {READER} LOGIN")
        for (schema,) in connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|info)'"
        ).fetchall():
            connection.execute(f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {READER}")
            connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {quoted(schema)} TO {READER}")
        connection.commit()
        connection.autocommit = True
        connection.execute("ANALYZE")


def _tables(warehouse: duckdb.DuckDBPyConnection) -> list[tuple[tuple[str, str], list[tuple[str, str]]]]:
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for schema, table, column, type_ in warehouse.execute(
        "SELECT c.schema_name, c.table_name, c.column_name, c.data_type FROM duckdb_columns() c JOIN duckdb_tables() t "
        "USING (table_oid) JOIN duckdb_schemas() s ON s.oid = t.schema_oid AND s.parent_schema_oid IS NULL WHERE c.database_name = current_database() AND NOT c.internal ORDER BY table_oid, column_index"
    ).fetchall():
        found.setdefault((schema, table), []).append((column, type_))
    return list(found.items())


def _type(type_: str, enums: dict[str, str], connection: Any, types: dict[str, str]) -> str:
    """PostgreSQL's type for a DuckDB type; "" where it has none here."""
    if type_ in types:
        return types[type_]
    if type_.startswith("ENUM(") and not type_.endswith("]"):
        if type_ not in enums:
            enums[type_] = f"labels_{len(enums) + 1}"
            connection.execute(f"CREATE TYPE {enums[type_]} AS {type_}")
        return enums[type_]
    if type_.endswith("[]"):
        return f"{_TYPES[type_[:-2]]}[]" if type_[:-2] in LISTED else ""
    return type_.replace("DECIMAL", "numeric") if type_.startswith("DECIMAL(") else _TYPES.get(type_, "")
