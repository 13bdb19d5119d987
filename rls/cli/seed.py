"""`rls seed`: a first suite, made of the policies: rows and personas that meet every branch, for a person to check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rls.cli.options import database_option, json_option

if TYPE_CHECKING:
    from rich.console import Console

    from rls.lab.seed.make import Seed

__all__ = ["seed"]

FOUND = 1


@click.command()
@click.argument("policies", metavar="DIR", type=click.Path(path_type=Path), envvar="RLS_POLICIES")
@database_option
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Default: DIR/seeded.test.yaml.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=300.0,
    show_default=True,
    help="How long to look; the rest is told.",
)
@click.option("--force", is_flag=True, help="Write over the file that is there.")
@json_option
def seed(
    *, policies: Path, database: Path | str, output: Path | None, seconds: float, force: bool, as_json: bool
) -> int:
    """Write a suite that meets every part of the policies.

    Rows and personas are made up so that each condition is TRUE, FALSE and NULL, each role, mask and attribute is
    seen with and without, and two tenants meet in every table. What everybody sees is worked out beside the engine
    and written down for you to check. The database gives types and keys; no row of it is read.

    Exit code 1 if a case of the suite fails at once: people of different tenants see the same rows.
    """
    from rls.cli import render
    from rls.cli.failures import pointing_into_file
    from rls.cli.opening import open_catalog
    from rls.lab.seed.make import make_seed

    out = render.console(stderr=as_json)
    with pointing_into_file(), render.progress(out, "seeding") as on_step:
        catalog = open_catalog(database)
        made = make_seed(policies, database, catalog, file=output, replace_file=force, seconds=seconds, on_step=on_step)
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json(made.to_dict()))
    else:
        show(out, made, policies=policies, database=database)
    return FOUND if made.run.failed else 0


def show(out: Console, made: Seed, *, policies: Path, database: Path | str) -> None:
    """What was written, what it does not meet, what fails at once, and what to do next."""
    from rls.cli import render, test_show

    cases = len(made.run.outcomes)
    style = "good" if not made.unreached else "warning"
    out.print(render.styled((str(made.file), "name"), f"  {made.personas} personas, {made.rows} rows, {cases} cases"))
    points = f", {made.coverage.covered} of {len(made.coverage.points)} points"
    out.print(render.styled((f"{made.coverage.percent:.0f}% covered", style), points))
    if made.wall is not None:
        tables = "1 table" if len(made.wall.columns) == 1 else f"{len(made.wall.columns)} tables"
        told = f"two tenants, by user.{made.wall.attribute}, meet in {tables}"
        left = f"; not asked: {', '.join(made.over)}, who see all tenants" if made.over else ""
        out.print(render.styled(told, (left, "note")))
    if made.unreached:
        out.print()
        out.print(render.styled(("not met", "title")))
        lines = [
            (
                f"{point.place.file}:{point.place.line}",
                render.styled((point.subject, "name"), f": {_part(point.part)}{point.state}: ", (why, "note")),
            )
            for point, why in made.unreached
        ]
        out.print(render.facts(lines))
    if made.cut_short:
        out.print(render.styled((f"the time was up: {'; '.join(made.cut_short)}; --seconds gives more", "warning")))
    for label, why in made.left_out:
        out.print(render.styled(("left out: ", "warning"), (label, "name"), f", {why}"))
    out.print()
    if made.run.failed:
        for outcome in made.run.failed[:10]:
            test_show.show_outcome(out, outcome)
        failed = len(made.run.failed)
        told = "1 case fails" if failed == 1 else f"{failed} cases fail"
        out.print(render.styled((f"{told}: see what the policies let through", "error")))
    where = f"{policies} --database {database}"
    for what, command in (
        ("now read it: is this what everybody should see?", f"rls test {made.file}"),
        ("would it notice a mistake in the policies?", f"rls mutate {where}"),
    ):
        out.print(render.styled((f"# {what}", "note")))
        out.print(render.styled(command), soft_wrap=True)


def _part(part: str, most: int = 50) -> str:
    if not part:
        return ""
    return f"`{part if len(part) <= most else part[: most - 1] + '…'}` "
