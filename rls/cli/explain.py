"""`rls explain`: what a query becomes for a persona, and why. Reads policies and the catalog, never a row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from rls.cli.options import database_option, dialect_option, json_option, persona_of, policies_option, read_sql

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from rls.explanation import Explanation
    from rls.identity.principal import Principal

__all__ = ["explain"]


@click.command()
@click.option("--as", "persona", required=True, metavar="PERSONA", help="A name from personas.yaml in the directory.")
@policies_option
@database_option
@dialect_option
@json_option
@click.argument("sql")
def explain(
    *,
    persona: str,
    policies: Path,
    database: Path | str,
    dialect: Literal["duckdb", "postgres", "spark"],
    as_json: bool,
    sql: str,
) -> None:
    """What a query becomes for a persona; reads no row.

    SQL is the query's text, or `-` to read it from standard input.
    """
    from rls.cli.failures import pointing_into
    from rls.cli.opening import explaining_engine
    from rls.policy.load import load_policies

    text = read_sql(sql)
    # Nothing is verified here, so the issuers' keys need not be where this runs.
    rules = load_policies(policies, keys="none")
    principal = persona_of(persona, policies, rules.identity)
    with pointing_into(text), explaining_engine(database, rules) as engine:
        explanation = engine.explain(principal, text, dialect=dialect)
    if as_json:
        from rls.cli.as_json import dump_json

        splices = [{"start": s.start, "end": s.end, "text": s.text} for s in explanation.splices]
        values = {"values": explanation.parameters}  # of a persona: its file is the author's own
        click.echo(dump_json({"persona": persona, **explanation.to_dict(), **values, "splices": splices}))
        return
    show(explanation, persona, principal)


def show(explanation: Explanation, persona: str, principal: Principal) -> None:
    """The explanation on the terminal."""
    from rls.cli import render

    out = render.console()
    roles = ", ".join(sorted(principal.roles)) or "no role"
    out.print(render.styled((persona, "name"), f", subject {principal.subject}, {roles}"))
    out.print()
    show_parts(out, explanation)


def show_parts(out: Console, explanation: Explanation) -> None:
    """Before and after, what is seen of each relation, the barrier, the values that are bound."""
    from rls.cli import render
    from rls.cli.sql_view import side_by_side

    out.print(render.sql_table(out, side_by_side(explanation.original, explanation.splices)))
    if not explanation.grants:
        out.print()
        out.print(render.styled(("the query reads no relation", "note")))
        return
    out.print()
    out.print(render.grant_table(explanation.grants))
    out.print()
    for line in barrier_lines(explanation):
        out.print(line)
    if explanation.parameters:
        out.print()
        out.print(render.parameter_lines(explanation.parameters))


def barrier_lines(explanation: Explanation) -> list[Text]:
    """How hidden rows are kept from being observed, a line each."""
    from rls.cli.render import styled
    from rls.explanation import describe_barrier

    first, *more = describe_barrier(explanation)
    return [styled(("barrier", "name"), f"    {first}"), *(styled(f"           {line}") for line in more)]
