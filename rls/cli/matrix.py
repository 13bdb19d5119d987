"""`rls matrix`: who sees how much of every table."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rls.cli.options import json_option, live_option, write_text
from rls.cli.test import policies_of

if TYPE_CHECKING:
    from rich.console import Console

    from rls.lab.matrix.compute import Matrix, MatrixRow
    from rls.lab.world.world import World

__all__ = ["matrix"]

_UNSEEN = "unseen"


@click.command()
@click.argument("path", metavar="[DIR | SUITE]", type=click.Path(path_type=Path), envvar="RLS_POLICIES")
@live_option
@click.option("--persona", default="*", metavar="NAME", help="Only this persona; `*` stands for anything.")
@click.option("--relation", default="*", metavar="NAME", help="Only this relation; `*` stands for anything.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write one HTML page.")
@json_option
def matrix(
    *, path: Path, database: Path | str | None, persona: str, relation: str, html: Path | None, as_json: bool
) -> None:
    """Rows of every table that each persona sees; why none.

    Counts the rows of --database, or the rows that a SUITE gives. No row is shown.
    """
    from fnmatch import fnmatchcase

    from rls.cli import render
    from rls.cli.failures import pointing_into_file
    from rls.lab.matrix.compute import compute_matrix
    from rls.lab.matrix.report import html_matrix
    from rls.yaml_model import suggest

    out = render.console(stderr=as_json)
    with ExitStack() as stack, pointing_into_file():
        world = open_world(stack, path, database)
        personas = [name for name in world.personas if fnmatchcase(name, persona)]
        relations = [r for r in world.tables() if fnmatchcase(r.label, relation)]
        for what, picked, given, known in (
            ("persona", personas, persona, list(world.personas)),
            ("table", relations, relation, [r.label for r in world.tables()]),
        ):
            if not picked:
                hint = suggest(given, known) or f"there are {', '.join(known) or 'none'}"
                raise click.UsageError(f"there is no {what} `{given}`; {hint}")
        with render.progress(out, "counting") as on_step:
            found = compute_matrix(world, personas=personas, relations=relations, on_step=on_step)
    if html is not None:
        write_text(html, html_matrix(found))
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json(found.to_dict()))
    else:
        show(out, found)


def open_world(stack: ExitStack, path: Path, database: Path | str | None) -> World:
    """The rows of a suite, if `path` is one that gives rows, else those of the database."""
    from rls.lab.suites.reader import directory_personas, read_suite
    from rls.lab.suites.run import Worlds
    from rls.lab.world.world import open_directory
    from rls.policy.load import load_policies

    directory, only = policies_of(path)
    if only is not None:
        policies = load_policies(directory, keys="none")
        personas = directory_personas(directory, policies.identity)
        suite = read_suite(only[0], policies.identity, personas)
        return stack.enter_context(Worlds(policies, database)).open(suite)
    if database is None:
        raise click.UsageError("give --database FILE or URL (or RLS_DATABASE), or a suite that gives rows")
    return stack.enter_context(open_directory(directory, database))


def show(out: Console, found: Matrix) -> None:
    """The matrix on the terminal, in blocks of as many personas as fit."""
    from rls.cli import render
    from rls.cli.cells import counted
    from rls.lab.matrix.report import same_columns, zero_reasons

    for block in _blocks(out, found):
        out.print()
        out.print(_block(found, block))
    out.print()
    rows = sum(row.total for row in found.rows)
    sizes = (counted(len(found.personas), "persona"), counted(len(found.rows), "table"), counted(rows, "row"))
    legend = "· sees no row" + ("; ! a policy fails or does not fit" if any(map(_broken, found.rows)) else "")
    legend += "; - nobody decided, refused" if any(map(_undecided, found.rows)) else ""
    out.print(render.styled((f"{', '.join(sizes)}; {legend}", "note")))
    open_ = [row.label for row in found.rows if row.open_to_all]
    if open_:
        out.print(render.styled(("everyone sees all of ", "warning"), ", ".join(open_)))
    unseen = [f"{row.label} {row.unseen:,}" for row in found.rows if row.unseen]
    if unseen:
        out.print(render.styled(("rows that none of them sees: ", "warning"), ", ".join(unseen)))
    zeros = [(", ".join(labels), ", ".join(who), reason) for labels, who, reason in zero_reasons(found)]
    if zeros:
        out.print()
        out.print(render.table("no rows of", "for", "because", rows=zeros))
    columns = []
    for label, masked, absent, who in same_columns(found):
        changed = [f"{name} masked" for name in masked] + [f"{name} absent" for name in absent]
        columns.append((label, ", ".join(who), "\n".join(changed)))
    if columns:
        out.print()
        out.print(render.table("columns of", "for", "", rows=columns))


def _broken(row: MatrixRow) -> bool:
    return any(cell.visible is None or cell.kind == "broken" for cell in row.cells.values())


def _undecided(row: MatrixRow) -> bool:
    return any(cell.kind == "undecided" for cell in row.cells.values())


def _blocks(out: Console, found: Matrix) -> list[list[str]]:
    """Personas in groups that fit the width beside the table's names and counts."""
    from rls.cli.cells import cells

    room = out.width - max(cells(row.label) for row in found.rows) - 8 - len(_UNSEEN) - 4
    blocks: list[list[str]] = [[]]
    left = room
    for name in found.personas:
        width = _width(name) + 1
        if blocks[-1] and width > left:
            blocks.append([])
            left = room
        blocks[-1].append(name)
        left -= width
    return blocks


def _block(found: Matrix, personas: list[str]) -> Any:
    from rls.cli import render
    from rls.lab.matrix.report import compact

    rows = []
    for row in found.rows:
        name = render.styled((row.label, "warning" if row.open_to_all else "name"))
        total = render.styled((compact(row.total), "note"))
        unseen = render.styled((f"{row.unseen:,}" if row.unseen else "", "warning"))
        rows.append((name, *(_cell(row, persona) for persona in personas), total, unseen))
    # Cells are as wide as their column, so that colours touch; no alignment may strip them.
    titles = [(f"{persona:^{_width(persona)}}", "left") for persona in personas]
    return render.grid(("", "left"), *titles, (" rows", "right"), (f" {_UNSEEN}", "right"), rows=rows)


def _width(persona: str) -> int:
    from rls.cli.cells import cells

    return max(cells(persona), 4)


def _cell(row: MatrixRow, persona: str) -> Any:
    from rls.cli import render
    from rls.lab.matrix.report import percent

    cell, share = row.cells[persona], row.share(persona)
    if cell.visible is None or cell.kind == "broken":
        return render.styled((f"{'!':^{_width(persona)}}", "error"))
    if not cell.visible:
        # Refused is not the same as seeing nothing.
        return render.styled((f"{'-' if cell.kind == 'undecided' else '·':^{_width(persona)}}", "heat.0"))
    return render.styled((f"{percent(share or 0.0):^{_width(persona)}}", render.heat(share or 0.0)))
