"""`rls audit query`: the records that fit, or SQL over all of them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import click

from rls.cli.audit_options import log_option, optional_policies, selected, selection_options
from rls.cli.options import json_option, read_sql

__all__ = ["query"]


@click.command()
@log_option
@selection_options
@optional_policies
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=1), help="The latest so many.")
@click.option("--sql", metavar="SQL", help="SQLite's SQL over a table `records` of what was chosen; `-` reads it.")
@json_option
def query(
    *,
    logs: tuple[Path, ...],
    given: dict[str, Any],
    policies: Path | None,
    limit: int,
    sql: str | None,
    as_json: bool,
) -> None:
    """Look for records: who asked what, when, and how it ended.

    One record that is found by its id is shown with everything in it.
    """
    from rls.audit.read import read_records
    from rls.audit.select import select_records

    records = select_records(read_records(logs), selected(given, policies))
    if sql is not None:
        _answer(records, read_sql(sql), as_json=as_json)
        return
    found = list(records)
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json({"count": len(found), "records": found[-limit:]}))
        return
    from rls.cli import render
    from rls.cli.audit_show import counted, record_facts, record_lines

    out = render.console()
    if given["audit_id"] and len(found) == 1:
        record_facts(out, found[0])
        return
    record_lines(out, found[-limit:])
    shown = "" if len(found) <= limit else f", the latest {limit} shown"
    out.print(render.styled((f"{counted(len(found), 'record')}{shown}", "note")))


def _answer(records: Any, sql: str, *, as_json: bool) -> None:
    from rls.audit.select import query_records

    try:
        columns, rows = query_records(records, sql)
    except sqlite3.Error as error:
        # The text is the operator's own, and the table holds nothing that is not theirs to read.
        raise click.UsageError(f"the SQL cannot be run: {error}") from None
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json({"columns": columns, "rows": rows}))
        return
    from rls.cli import render

    out = render.console()
    cells = [tuple("NULL" if value is None else str(value) for value in row) for row in rows]
    numbers = [all(isinstance(row[i], int | float) for row in rows) for i in range(len(columns))]
    table, shown = render.wide_table(out, list(zip(columns, numbers, strict=True)), cells, nulls="NULL")
    out.print(table)
    if shown < len(columns):
        out.print(render.styled((f"{shown} of {len(columns)} columns fit, --json has all", "note")))
