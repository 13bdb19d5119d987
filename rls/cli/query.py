"""`rls query`: SQL and a token → the rows its holder may see. One call of the engine, like every other interface."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from rls.cli.options import (
    audit_option,
    database_option,
    dialect_option,
    json_option,
    policies_option,
    read_sql,
    read_token,
)

if TYPE_CHECKING:
    from rich.console import Console

    from rls.result import Result

__all__ = ["query"]

NULL = "NULL"
_HINTS = (", --rows shows more", ", --json has all")


@click.command()
@click.option("--token", envvar="RLS_TOKEN", show_envvar=True, help="The token; others can see command lines.")
@click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE", help="A file with the token, or `-`.")
@click.option(
    "--as",
    "persona",
    metavar="PERSONA",
    help="Without token and record, for who writes the policies: somebody of DIR/personas.yaml.",
)
@policies_option
@database_option
@audit_option
@click.option(
    "--isolation",
    default="thread",
    show_default=True,
    type=click.Choice(["thread", "process"]),
    help="`process`: in a worker that the operating system limits (Linux).",
)
@dialect_option
@click.option("--rows", default=50, show_default=True, type=click.IntRange(min=1), help="Rows shown on a terminal.")
@json_option
@click.argument("sql")
def query(
    *,
    token: str | None,
    token_file: Path | None,
    persona: str | None,
    policies: Path,
    database: Path | str,
    audit: Path | None,
    isolation: Literal["thread", "process"],
    dialect: Literal["duckdb", "postgres", "spark"],
    rows: int,
    as_json: bool,
    sql: str,
) -> None:
    """Run a query as the holder of a token.

    SQL is the query's text, or `-` to read it from standard input.
    """
    if persona is not None:
        if token_file is not None or (token is not None and not _from_environment()):
            raise click.UsageError("give a token or --as, not both")
        _ask_as(persona, policies, database, read_sql(sql), rows=rows, as_json=as_json)
        return
    # A file named on the command line is meant, whatever the environment holds.
    given = read_token(None if token_file is not None and _from_environment() else token, token_file)
    if audit is None:
        raise click.UsageError("missing option --audit FILE (or RLS_AUDIT): no result without a record")
    text = read_sql(sql)
    from rls.cli.failures import pointing_into
    from rls.engine import Engine

    with (
        pointing_into(text),
        Engine.open(database, policies=policies, audit=audit, isolation=isolation) as engine,
    ):
        started = time.perf_counter()
        result = engine.query(given, text, dialect=dialect)
        seconds = time.perf_counter() - started
    _print(result, f"audit record {result.audit_id}", rows=rows, seconds=seconds, as_json=as_json)


def _ask_as(persona: str, policies: Path, database: Path | str, text: str, *, rows: int, as_json: bool) -> None:
    """Ask as notebooks do: with a token that the laboratory signs for itself, of which nothing is recorded."""
    from rls.cli.failures import pointing_into, pointing_into_file
    from rls.errors import RlsError
    from rls.lab.world.world import open_directory
    from rls.yaml_model import suggest

    with pointing_into_file(), pointing_into(text), open_directory(policies, database) as world:
        if persona not in world.personas:
            hint = suggest(persona, world.personas) or f"there are {', '.join(world.personas)}"
            raise click.UsageError(f"there is no persona `{persona}`; {hint}")
        started = time.perf_counter()
        try:
            result = world.session(persona).query(text)
        except RlsError as error:
            # Of an attempt that nobody records, no number of a record is shown.
            error.__notes__ = [n for n in getattr(error, "__notes__", ()) if not n.startswith("audit record")]
            raise
        seconds = time.perf_counter() - started
    _print(result, f"as {persona}, not recorded", rows=rows, seconds=seconds, as_json=as_json)


def _print(result: Result, remark: str, *, rows: int, seconds: float, as_json: bool) -> None:
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json(as_dict(result)))
        return
    show(result, remark, limit=rows, seconds=seconds)


def as_dict(result: Result) -> dict[str, Any]:
    """The result as plain data; rows are lists, because names may be given twice."""
    return {
        "columns": [{"name": n, "type": t} for n, t in zip(result.columns, result.types, strict=True)],
        "rows": result.rows,
        "row_count": result.row_count,
        "audit_id": result.audit_id,
    }


def show(result: Result, remark: str, *, limit: int, seconds: float) -> None:
    """The result on the terminal: what fits; in a pipe all of it. `remark` ends the line below it."""
    from rls.cli import render

    out = render.console()
    notes = show_table(out, result, limit=limit if out.is_terminal else result.row_count, hints=_HINTS)
    notes += [f"{seconds * 1000:,.0f} ms", remark]
    out.print(render.styled((" · ".join(notes), "note")))


def show_table(out: Console, result: Result, *, limit: int, hints: tuple[str, str] = ("", "")) -> list[str]:
    """The first rows; returns what there is to say below them: how many there are, and what does not fit, each with
    a hint on where the rest is."""
    from rls.cli import render
    from rls.cli.cells import counted, is_number

    shown = result.first(limit)
    columns = [(n, is_number(t)) for n, t in zip(result.columns, result.types, strict=True)]
    cells = [tuple(NULL if value is None else _cell(value) for value in row) for row in shown]
    table, fitting = render.wide_table(out, columns, cells, nulls=NULL)
    out.print(table)
    out.print()
    notes = [counted(result.row_count, "row")]
    if len(shown) < result.row_count:
        notes.append(f"{len(shown)} shown{hints[0]}")
    if fitting < len(columns):
        notes.append(f"{fitting} of {len(columns)} columns fit{hints[1]}")
    return notes


def _from_environment() -> bool:
    source = click.get_current_context().get_parameter_source("token")
    return source is click.core.ParameterSource.ENVIRONMENT


def _cell(value: object) -> str:
    from rls.cli.as_json import plain

    match value:
        case str():
            return value
        case bool():
            return str(value).lower()
        case list() | dict() | tuple():
            return str(plain(value))
        case _:
            return str(value)
