"""`rls init`: from a database to a commented policy directory that is closed where nobody has decided yet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rls.cli.options import database_option, json_option

if TYPE_CHECKING:
    from rls.lab.start.look import TablePlan
    from rls.lab.start.make import Start

__all__ = ["init"]

_WORDS = {
    "wall": ("rows of one's tenant", "good"),
    "own_row": ("one's own row", "good"),
    "through": ("through {parent}", "good"),
    "undecided": ("nobody, TO DECIDE", "warning"),
}


@click.command()
@click.argument("directory", metavar="[DIR]", default="policies", type=click.Path(path_type=Path))
@database_option
@click.option("--tenant-column", metavar="NAME", help="The column that keeps tenants apart, if the guess is wrong.")
@click.option("--no-rows", is_flag=True, help="Read no row: personas get made-up tenants.")
@json_option
def init(*, directory: Path, database: Path | str, tenant_column: str | None, no_rows: bool, as_json: bool) -> None:
    """Write a first policy directory for a database.

    Looks at the catalog: tables with a tenant column get a wall between tenants, tables that lead to such a one get a
    policy through it, columns that look personal or secret get masks, and about the rest nobody sees anything until
    you decide. Two values of the tenant column are read for the personas.
    """
    from rls.cli.opening import open_catalog
    from rls.lab.start.make import make_start

    catalog = open_catalog(database)
    # Of a server no row is read: its role may be an application's, and personas can do without.
    file = None if no_rows or isinstance(database, str) else database
    start = make_start(directory, catalog, tenant=tenant_column, rows_of=file)
    if as_json:
        from rls.cli.as_json import dump_json

        tables = [
            {
                "relation": t.relation.label,
                "decision": t.decision,
                "columns": {c.column.name: c.treatment for c in t.columns},
            }
            for t in start.plan.tables
        ]
        told = {"directory": str(start.directory), "files": start.files, "tenant_column": start.plan.tenant or None}
        click.echo(dump_json({**told, "candidates": [name for name, _ in start.candidates], "tables": tables}))
        return
    show(start, database)


def show(start: Start, database: Path | str) -> None:
    """What was found, what was written, and what to do next."""
    from rls.cli import render

    out = render.console()
    plan = start.plan
    if plan.tenant:
        tenants = ", ".join(map(str, start.tenants))
        out.print(
            render.styled("tenants are kept apart by ", (plan.tenant, "name"), (f"; personas of {tenants}", "note"))
        )
    else:
        told = "no column that keeps tenants apart was found; name it with --tenant-column, or write policies by role"
        out.print(render.styled((told, "warning")))
        for name, count in start.candidates:
            note = f"  (in {count} tables)"
            again = f"rls init {start.directory} --database {database} --tenant-column {name}"
            out.print(render.styled("  perhaps ", again, (note, "note")), soft_wrap=True)
        if start.candidates:
            out.print(render.styled((f"  to start again, remove {start.directory} first", "note")))
    out.print()
    rows = [(render.styled((t.relation.label, "name")), _decision(t), _columns(t)) for t in plan.tables]
    out.print(render.table("table", "who sees rows", "columns that look sensitive", rows=rows))
    if plan.views:
        out.print()
        out.print(render.styled((f"views show what the tables they read show: {', '.join(plan.views)}", "note")))
    out.print()
    out.print(
        render.styled(
            f"{len(start.files)} files in ", (str(start.directory), "name"), ", each with comments on what to decide"
        )
    )
    out.print()
    where = f"{start.directory} --database {database}"
    commands = [("what is still to decide", f"rls check {where}")]
    if isinstance(database, Path):
        commands.append(("who sees how much", f"rls matrix {where}"))
        commands.append(("rows and personas that meet every part of the policies", f"rls seed {where}"))
        commands.append(("the suites, and what must hold of all rows", f"rls test {where}"))
    for what, command in commands:
        out.print(render.styled((f"# {what}", "note")))
        out.print(render.styled(command), soft_wrap=True)


def _decision(table: TablePlan) -> Any:
    from rls.cli import render

    words, style = _WORDS[table.decision]
    parent = table.parent.label if table.parent is not None else ""
    return render.styled((words.format(parent=parent), style))


def _columns(table: TablePlan) -> str:
    from rls.lab.start.write import is_denied

    return ", ".join(f"{c.column.name} {'denied' if is_denied(c) else 'masked'}" for c in table.columns)
