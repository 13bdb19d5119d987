"""`rls bench`: what guarding costs a query of yours, step by step, beside the query as it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rls.cli.options import database_file_option, json_option, persona_of, policies_option, read_text

if TYPE_CHECKING:
    from rls.lab.bench import QueryCosts

__all__ = ["bench"]


@click.command()
@click.option(
    "--sql",
    "file",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file with the query, or `-`.",
)
@click.option("--as", "persona", required=True, metavar="PERSONA", help="A name from personas.yaml in the directory.")
@policies_option
@database_file_option
@click.option("--rounds", default=20, show_default=True, type=click.IntRange(min=1), help="The fastest one counts.")
@json_option
def bench(*, file: Path, persona: str, policies: Path, database: Path, rounds: int, as_json: bool) -> None:
    """Measure what guarding costs a query of yours.

    Verifies a token, guards the query (unseen, and seen before), runs it guarded and as it is, in turn. Shows times
    and no row. The unguarded query reads every row: run this where you may.
    """
    from rls.cli import render
    from rls.cli.failures import pointing_into
    from rls.lab.bench import measure_query
    from rls.policy.load import load_policies

    sql = read_text(file, "SQL").strip()
    rules = load_policies(policies, keys="none")
    principal = persona_of(persona, policies, rules.identity)
    out = render.console(stderr=as_json)
    with pointing_into(sql), render.progress(out, "measuring") as show_progress:
        done = iter(range(1, rounds + 1))
        found = measure_query(
            sql,
            policies=rules,
            database=database,
            principal=principal,
            rounds=rounds,
            on_round=lambda: show_progress("round", next(done, rounds), rounds),
        )
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json({"persona": persona, **found.to_dict()}))
        return
    show(found)


def show(found: QueryCosts) -> None:
    """The steps on the terminal."""
    from rls.cli import render
    from rls.lab.bench import STEPS

    out = render.console()
    rows = [(name, *map(_ms, (one.least, one.at(0.5), one.at(0.95))), STEPS[name]) for name, one in found.steps.items()]
    right = [(title, "right") for title in ("best", "median", "p95")]
    out.print(render.table("ms of CPU", *right, "what it is", rows=rows))
    out.print()
    rows_seen = f"{found.rows:,} row{'' if found.rows == 1 else 's'}"
    if found.overhead is None:
        out.print(
            render.styled((f"{rows_seen}; the query does not run without policies: {found.bare_failure}", "note"))
        )
    else:
        text = f"{rows_seen} guarded, {found.bare_rows:,} unguarded; {found.overhead:.2f} times the unguarded query"
        out.print(render.styled((text, "title")))
    if found.fence_reason:
        out.print(render.styled((f"fenced: {found.fence_reason}", "note")))


def _ms(value: float) -> str:
    """Three digits that matter.

    >>> _ms(0.0123456), _ms(1234.5)
    ('0.0123', '1,234')
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
