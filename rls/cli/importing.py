"""`rls import`: row rules of another system → a policy file, and what could not be carried over."""

from __future__ import annotations

from pathlib import Path

import click

from rls.cli.options import json_option, read_text, write_text

__all__ = ["import_command"]

FOUND = 1


@click.command("import")
@click.argument("format", metavar="FORMAT", type=click.Choice(["postgres", "superset", "cube", "toucan"]))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the policies here, not to stdout.")
@json_option
def import_command(*, format: str, file: Path, out: Path | None, as_json: bool) -> int:
    """Turn another system's row rules into a policy file.

    \b
      postgres  CREATE POLICY statements of a script or dump
      superset  rules as its REST API gives them (JSON)
      cube      a data model with access policies (YAML)
      toucan    operator rules: tables: [{table, match, rules:
                [{column, operator, attribute or value}]}]

    FILE is `-` for standard input. What cannot be said faithfully is left out, or hides everything if it restricted;
    each such loss is a comment in the file and a remark here, and the exit code is then 1.
    """
    from rls.cli import render
    from rls.cli.cells import counted
    from rls.cli.failures import pointing_into_file
    from rls.lab.importing import import_rules
    from rls.lab.importing.write import write_policies

    text = read_text(file, format)
    with pointing_into_file():
        found = import_rules(text, format=format, file=str(file))
    written = write_policies(found, source=f"{format}: {file}")
    if out is not None:
        if out.exists():
            raise click.UsageError(f"`{out}` is there already")
        write_text(out, written)
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json({**found.to_dict(), "yaml": written}))
        return FOUND if found.lost else 0
    if out is None:
        click.echo(written, nl=False)
    note = render.console(stderr=True)
    for remark in found.remarks:
        style = "error" if remark.severity == "lost" else "warning"
        note.print(render.styled((remark.severity, style), " ", (remark.where, "name"), f": {remark.message}"))
    policies = sum(len(p) for p in found.policies.values())
    told = f"{counted(policies, 'policy', 'policies')} for {counted(len(found.policies), 'relation')}, "
    note.print(render.styled(told, _lost(len(found.lost))))
    return FOUND if found.lost else 0


def _lost(number: int) -> tuple[str, str]:
    return (f"{number} not carried over", "error") if number else ("nothing lost", "good")
