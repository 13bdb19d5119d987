"""`rls leaks`: hidden rows are changed in copies of a database; whatever a persona then sees change is a leak."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rls.cli.options import database_file_option, json_option

if TYPE_CHECKING:
    from rich.console import Console

    from rls.lab.leaks.check import Findings, Leak

__all__ = ["leaks"]

FOUND = 1


@click.command()
@click.argument("policies", metavar="DIR", type=click.Path(path_type=Path), envvar="RLS_POLICIES")
@database_file_option
@click.option(
    "--as", "names", multiple=True, metavar="PERSONA", help="Who asks; may be given again. Default: everyone."
)
@click.option("--queries", type=click.Path(path_type=Path), metavar="FILE", help="SQL to ask, `;` between; `-`: stdin.")
@click.option(
    "--rounds", default=2, show_default=True, type=click.IntRange(1), help="Pairs of copies for each persona."
)
@click.option("--rows", default=2000, show_default=True, type=click.IntRange(1), help="Rows of a table to copy.")
@click.option("--seed", default=1, show_default=True, help="Another number, other hidden rows.")
@json_option
def leaks(
    *,
    policies: Path,
    database: Path,
    names: tuple[str, ...],
    queries: Path | None,
    rounds: int,
    rows: int,
    seed: int,
    as_json: bool,
) -> int:
    """Change hidden rows only: does anything visible change?

    Makes pairs of copies of the database that differ in rows hidden from the persona (extremes, unparsable text,
    NULLs, many, none) and asks both the same queries: yours, or some hundred made from the catalog. The database itself
    is only read. Exit code 1 if a query's answers differ.
    """
    from rls.cli import render
    from rls.cli.failures import pointing_into_file
    from rls.cli.options import read_text
    from rls.lab.diff.revisions import open_revision
    from rls.lab.leaks.check import find_leaks
    from rls.lab.leaks.questions import split_queries
    from rls.yaml_model import suggest

    with pointing_into_file():
        revision = open_revision(str(policies))
    chosen = dict(revision.personas)
    if names:
        unknown = next((name for name in names if name not in chosen), None)
        if unknown is not None:
            hint = suggest(unknown, chosen) or f"there are {', '.join(chosen) or 'none'}"
            raise click.UsageError(f"there is no persona `{unknown}`; {hint}")
        chosen = {name: chosen[name] for name in names}
    if not chosen:
        raise click.UsageError(f"there is no `{policies / 'personas.yaml'}`: it names who asks")
    texts = None if queries is None else split_queries(read_text(queries, "query"))
    out = render.console(stderr=as_json)
    found = {}
    with render.progress(out, "asking") as on_step:
        for name, principal in chosen.items():
            found[name] = find_leaks(
                database,
                revision.policies,
                (name, principal),
                queries=texts,
                rounds=rounds,
                rows=rows,
                seed=seed,
                on_step=on_step,
            )
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json({name: _to_dict(each) for name, each in found.items()}))
    else:
        show(out, found)
    return FOUND if any(each.leaks for each in found.values()) else 0


def show(out: Console, found: dict[str, Findings]) -> None:
    """What was found on the terminal: leaks that come down to one query, once."""
    from rls.cli import render
    from rls.cli.cells import counted

    for name, each in found.items():
        by_smallest: dict[str, list[Leak]] = {}
        for leak in each.leaks:
            by_smallest.setdefault(leak.smallest, []).append(leak)
        for smallest, (leak, *others) in by_smallest.items():
            out.print(render.styled(("leak ", "error"), (name, "name")))
            out.print(render.indented(render.styled(smallest)))
            facts = [(f"copy {side}", render.styled(answer)) for side, answer in zip("ab", leak.answers, strict=True)]
            if others or smallest != leak.query:
                more = f" and {counted(len(others), 'more query', 'more queries')}" if others else ""
                facts.append(("found in", render.styled((f"{leak.query}{more}", "note"))))
            out.print(render.indented(render.facts(facts)))
    rows = [
        (
            name,
            f"{each.asked:,}",
            f"{each.refused:,}",
            f"{len(each.open):,}",
            render.styled((f"{len(each.leaks):,}", "error" if each.leaks else "good")),
            ", ".join(each.unchanged) or "none",
        )
        for name, each in found.items()
    ]
    columns = ("persona", ("asked", "right"), ("refused", "right"), ("open", "right"), ("leaks", "right"), "left as is")
    out.print(render.table(*columns, rows=rows))
    out.print()
    leaks, asked = (sum(counts) for counts in zip(*((len(e.leaks), e.asked) for e in found.values()), strict=True))
    verdict = f"{leaks:,} of {asked:,} answers differ" if leaks else f"none of {asked:,} answers differs"
    out.print(render.styled((verdict, "error" if leaks else "good")))
    for name, each in found.items():
        if not each.hidden_tables:
            told = ": no row of any table is hidden, so nothing could be changed"
            out.print(render.styled(("note ", "warning"), (name, "name"), told))
    told = "open: SQL leaves the answer open, over visible rows alone too"
    if any(each.unchanged for each in found.values()):
        told += "; left as is: hidden rows that policies read, whose change would change what is visible"
    out.print(render.styled((told, "note")))


def _to_dict(each: Findings) -> dict[str, object]:
    return {
        "leaks": [leak.to_dict() for leak in each.leaks],
        "asked": each.asked,
        "refused": each.refused,
        "open": list(each.open),
        "left_as_is": list(each.unchanged),
        "tables_with_hidden_rows": list(each.hidden_tables),
    }
