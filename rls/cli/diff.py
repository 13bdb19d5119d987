"""`rls diff`: two sets of policies → who sees more, less or other than before; fails on what nobody answers for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rls.cli.options import database_file_option, json_option, write_text

if TYPE_CHECKING:
    from rich.console import Console

    from rls.identity.principal import Principal
    from rls.lab.diff.compare import Change, Diff

__all__ = ["WIDENED", "diff"]

WIDENED = 7


@click.command()
@click.argument("old")
@click.argument("new")
@database_file_option
@click.option(
    "--allow", multiple=True, metavar="RELATION[:PERSONA]", help="Acknowledge a widening; may be given again."
)
@click.option("--persona", "only", multiple=True, metavar="NAME", help="Only this persona; may be given again.")
@click.option("--markdown", type=click.Path(path_type=Path), metavar="FILE", help="Write Markdown too; `-`: instead.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write one HTML page.")
@json_option
def diff(
    *,
    old: str,
    new: str,
    database: Path,
    allow: tuple[str, ...],
    only: tuple[str, ...],
    markdown: Path | None,
    html: Path | None,
    as_json: bool,
) -> int:
    """Who sees more or less under two sets of policies.

    OLD and NEW are directories, or REVISION:DIR of the git repository around the working directory. The personas are
    NEW's. A widening (rows gained, columns shown) must be acknowledged by --allow or by an entry in NEW's
    widenings.yaml; otherwise the exit code is 7.
    """
    from datetime import UTC, datetime

    from rls.cli import render
    from rls.cli.failures import pointing_into_file
    from rls.lab.diff.compare import compute_diff
    from rls.lab.diff.page import html_diff
    from rls.lab.diff.report import markdown_diff
    from rls.lab.diff.revisions import open_revision
    from rls.lab.diff.widenings import allowed_from_options, read_widenings, stray, unacknowledged
    from rls.lab.world.world import open_live

    today = datetime.now(UTC).date()
    with pointing_into_file():
        before, after = open_revision(old), open_revision(new)
        allowed = allowed_from_options(allow)
        if after.widenings is not None:
            allowed += read_widenings(after.widenings, file=f"{new}/widenings.yaml")
        personas = _chosen(after.personas, only, new)
        out = render.console(stderr=as_json)
        with open_live(database, after.policies, personas) as world, render.progress(out, "comparing") as on_step:
            found = compute_diff(world, before.policies, after.policies, on_step=on_step)
    missing = unacknowledged(found.changes, allowed, today=today)
    # What speaks of nothing acknowledges nothing: most likely a name was misspelt. With --persona, others are not here.
    strays = list(stray(allowed, found, today=today)) if not only else []
    if html is not None:
        write_text(html, html_diff(found, missing, old=old, new=new))
    if markdown is not None:
        text = markdown_diff(found, missing, old=old, new=new)
        if str(markdown) == "-":
            click.echo(text)
        else:
            write_text(markdown, text)
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json({**found.to_dict(), "not_acknowledged": [f"{c.relation}:{c.persona}" for c in missing],
                              "notes": strays}))  # fmt: skip
    elif markdown is None or str(markdown) != "-":
        show(out, found, missing)
        for note in strays:
            out.print(render.styled(("note", "warning"), f" {note}"))
    return WIDENED if missing else 0


def _chosen(personas: Mapping[str, Principal], only: tuple[str, ...], new: str) -> dict[str, Principal]:
    """The personas to compare; a usage error where one is not there."""
    from rls.yaml_model import suggest

    if not personas:
        raise click.UsageError(f"there is no `{new}/personas.yaml`: it names who to compare")
    for name in only:
        if name not in personas:
            hint = suggest(name, personas) or f"there are {', '.join(personas)}"
            raise click.UsageError(f"there is no persona `{name}` in `{new}/personas.yaml`; {hint}")
    return {name: who for name, who in personas.items() if not only or name in only}


def show(out: Console, found: Diff, missing: list[Change] | None) -> None:
    """The diff on the terminal; `missing` are the widenings nobody acknowledged, None where nobody was asked."""
    from rls.cli import render
    from rls.lab.diff.report import count_text, key_text, summary_text

    if found.policies:
        for change in found.policies:
            style = {"added": "good", "removed": "error", "changed": "warning"}[change.kind]
            out.print(render.styled((f"{change.kind:<8}", style), (change.target, "name"), f"  {change.what}"))
            if change.before:
                out.print(render.indented(render.styled((f"- {change.before}", "error")), 8))
            if change.after:
                out.print(render.indented(render.styled((f"+ {change.after}", "good")), 8))
        out.print()
    if not found.changes:
        out.print(render.styled((summary_text(found), "good")))
        return
    rows = []
    for row in found.changes:
        wider = row in (found.widenings if missing is None else missing)
        what = [*([row.error] if row.error else []), *([key_text(row)] if key_text(row) else [])]
        what += [f"{c.column}: {c.before} → {c.after}" for c in row.columns]
        rows.append(
            (
                render.styled((row.relation, "name")),
                render.styled((row.persona, "error" if wider else "")),
                render.styled((count_text(row.gained, "+"), "error" if wider else "warning")),
                count_text(row.lost, "-"),
                count_text(row.unchanged),
                render.bar(_parts(row), 10),
                "\n".join(what),
            )
        )
    columns = ("relation", "persona", ("gained", "right"), ("lost", "right"), ("kept", "right"), "", "for example")
    out.print(render.table(*columns, rows=rows))
    out.print()
    out.print(render.styled(summary_text(found)))
    widenings = len(found.widenings)
    if missing is None:
        out.print(render.styled((f"widenings: {widenings}", "error" if widenings else "good")))
    elif missing:
        names = ", ".join(dict.fromkeys(f"{c.relation}:{c.persona}" for c in missing))
        out.print(render.styled((f"{len(missing)} of {widenings} widenings not acknowledged", "error"), f": {names}"))
        out.print(render.styled(("acknowledge with --allow RELATION[:PERSONA], or in widenings.yaml", "note")))
    else:
        told = f"{widenings} widenings, all acknowledged" if widenings else "nobody sees more than before"
        out.print(render.styled((told, "good")))


def _parts(change: Change) -> list[tuple[int, str, str]]:
    """Kept, gained and lost rows, for a bar."""
    return [
        (change.unchanged or 0, "█", "bar.kept"),
        (change.gained or 0, "▓", "bar.gained"),
        (change.lost or 0, "░", "bar.lost"),
    ]
