"""Options that several commands share, and reading SQL and tokens from where the user put them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = [
    "DatabaseType", "audit_option", "database_file_option", "database_option", "dialect_option", "json_option",
    "live_file_option", "live_option", "persona_of", "policies_option", "read_sql", "read_text", "read_token",
    "write_text",
]  # fmt: skip

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

json_option: Decorator = click.option("--json", "as_json", is_flag=True, help="Print one JSON document, errors too.")

dialect_option: Decorator = click.option(
    "--dialect",
    default="duckdb",
    show_default=True,
    type=click.Choice(["duckdb", "postgres", "spark"]),
    help="What SQL is written in: DuckDB's, or the database's own.",
)

policies_option: Decorator = click.option(
    "--policies",
    type=click.Path(path_type=Path),
    required=True,
    envvar="RLS_POLICIES",
    show_envvar=True,
    metavar="DIR",
    help="Directory of policy files with identity.yaml.",
)


class DatabaseType(click.ParamType[Path | str]):
    """A file's path, or a server's URL where the command takes one. A URL is never shown again: it may be wrong by
    holding a password."""

    name = "database"

    def __init__(self, *, servers: bool) -> None:
        self.servers = servers

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | str:
        from rls.engines.opening import is_server

        if not is_server(value):
            return Path(value)
        if not self.servers:
            self.fail("this command works on a DuckDB file, not on a server", param, ctx)
        return str(value)


def _database(*, servers: bool) -> Decorator:
    also = ", or postgresql://user@host/name of a role that can only read, or spark://host:port" if servers else ""
    return click.option(
        "--database",
        type=DatabaseType(servers=servers),
        required=True,
        envvar="RLS_DATABASE",
        show_envvar=True,
        metavar="FILE|URL" if servers else "FILE",
        help=f"DuckDB database file, opened read-only{also}.",
    )


def _live(*, servers: bool) -> Decorator:
    what = "Types for given rows, rows for suites without: of a DuckDB file"
    also = ", or of a server: postgresql://user@host/name, spark://host:port" if servers else ""
    return click.option(
        "--database",
        type=DatabaseType(servers=servers),
        envvar="RLS_DATABASE",
        show_envvar=True,
        metavar="FILE|URL" if servers else "FILE",
        help=f"{what}{also}.",
    )


database_option = _database(servers=True)
database_file_option = _database(servers=False)
live_option = _live(servers=True)
live_file_option = _live(servers=False)

audit_option: Decorator = click.option(
    "--audit",
    type=click.Path(path_type=Path),
    envvar="RLS_AUDIT",
    show_envvar=True,
    metavar="FILE",
    help="Log that gets a record of every query: a file, a directory or an .sqlite database. No record, no result.",
)


def read_sql(argument: str) -> str:
    """The SQL of an argument; `-` reads it from standard input."""
    if argument != "-":
        return argument
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError:
        raise click.UsageError("the SQL on standard input is not UTF-8") from None


def read_token(argument: str | None, file: Path | None) -> str:
    """The token of `--token` (or RLS_TOKEN) or `--token-file`; exactly one of them."""
    if (argument is None) == (file is None):
        raise click.UsageError("give one of `--token-file`, `--token` or the environment variable RLS_TOKEN")
    if argument is not None:
        return argument.strip()
    assert file is not None  # noqa: S101 - looked at above
    return read_text(file, "token").strip()


def write_text(file: Path, text: str) -> None:
    """Write a file the user named, and the directories it is in; raises a usage error where that cannot be done."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"cannot write `{file}`: {(error.strerror or 'error').lower()}") from None


def read_text(file: Path, what: str) -> str:
    """The text of a file the user named, `-` for standard input; raises a usage error that says what it should be."""
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"cannot read the {what} file `{file}`: {(error.strerror or 'error').lower()}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"the {what} file `{file}` is not text") from None


def persona_of(name: str, policies: Path, identity: Any) -> Any:
    """The principal called `name` in the directory's personas.yaml; a usage error that lists the names if none is."""
    from rls.identity import load_personas
    from rls.yaml_model import suggest

    file = policies / "personas.yaml"
    if not file.is_file():
        raise click.UsageError(f"there is no `{file}` to find persona `{name}` in")
    personas = load_personas(file, identity)
    if name not in personas:
        hint = suggest(name, personas) or f"there are {', '.join(sorted(personas)) or 'none'}"
        raise click.UsageError(f"there is no persona `{name}` in `{file}`; {hint}")
    return personas[name]
