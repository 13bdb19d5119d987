"""`rls export`: policies → PostgreSQL's row policies, or a document of who sees what."""

from __future__ import annotations

from pathlib import Path

import click

from rls.cli.options import database_option, json_option, write_text

__all__ = ["export"]

FOUND = 1


@click.command("export")
@click.argument("format", metavar="FORMAT", type=click.Choice(["postgres", "markdown", "html"]))
@click.argument("policies", metavar="DIR", type=click.Path(path_type=Path), envvar="RLS_POLICIES")
@database_option
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Write here, not to stdout.")
@json_option
def export(*, format: str, policies: Path, database: Path | str, out: Path | None, as_json: bool) -> int:
    """Policies for PostgreSQL; documents of who sees what.

    \b
      postgres  CREATE POLICY statements; who asks is said by settings of the
                session: rls.subject, rls.roles, rls.<attribute>
      markdown  who sees which rows and columns of every table, in words
      html      the same as one page

    The database gives the catalog; no row of it is read. What PostgreSQL would answer differently is a comment in the
    script and a remark here, never widens, and makes the exit code 1.
    """
    from rls.cli import render
    from rls.cli.failures import pointing_into_file
    from rls.cli.opening import open_catalog
    from rls.policy.load import load_policies

    lost: list[tuple[str, str]] = []
    with pointing_into_file():
        rules = load_policies(policies, keys="none")
        catalog = open_catalog(database)
        match format:
            case "postgres":
                from rls.lab.exporting.postgres import export_postgres

                made = export_postgres(rules, catalog)
                text, lost = made.sql, made.lost
            case _:
                from rls.lab.exporting.document import describe_policies, html_document, markdown_document

                described = describe_policies(rules, catalog)
                text = markdown_document(described) if format == "markdown" else html_document(described)
    if out is not None:
        write_text(out, text)
    if as_json:
        from rls.cli.as_json import dump_json

        told = {"format": format, "text": text, "lost": [{"where": where, "why": why} for where, why in lost]}
        click.echo(dump_json(told))
        return FOUND if lost else 0
    if out is None:
        click.echo(text, nl=False)
    note = render.console(stderr=True)
    for where, why in lost:
        note.print(render.styled(("lost", "error"), " ", (where, "name"), f": {why}"))
    if format == "postgres":
        tables = sum(relation.kind == "table" for relation in catalog.relations.values())
        verdict = (f"{len(lost)} not carried over", "error") if lost else ("nothing lost", "good")
        note.print(render.styled(f"{tables} tables, ", verdict))
    return FOUND if lost else 0
