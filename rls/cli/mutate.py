"""`rls mutate`: would the suites notice a mistake in the policies? Tries many small ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rls.cli.options import json_option, live_file_option
from rls.cli.test import policies_of

if TYPE_CHECKING:
    from rich.console import Console

    from rls.lab.mutate.score import Fate, Mutation

__all__ = ["mutate"]

TOO_LITTLE = 1
_MOST = 20


@click.command()
@click.argument("path", metavar="[DIR | SUITE]", type=click.Path(path_type=Path), envvar="RLS_POLICIES")
@live_file_option
@click.option("--min", "least", type=click.FloatRange(0, 100), metavar="PERCENT", help="Exit code 1 below this.")
@click.option("--all", "everything", is_flag=True, help="Show every survivor, not only the first 20.")
@json_option
def mutate(*, path: Path, database: Path | None, least: float | None, everything: bool, as_json: bool) -> int:
    """Change policies a little: do the suites notice?

    Each change is a mistake somebody could make: a condition dropped, AND for OR, a role or row too many, a mask
    forgotten. A change that no case notices is shown with a test that would.
    """
    from rls.cli import render
    from rls.cli.failures import pointing_into_file
    from rls.lab.mutate.score import SuitesFail
    from rls.lab.mutate.score import mutate as try_all
    from rls.lab.suites.reader import no_suites, read_suites
    from rls.policy.load import load_policies

    directory, only = policies_of(path)
    out = render.console(stderr=as_json)
    with pointing_into_file(), render.progress(out, "mutating") as on_step:
        policies = load_policies(directory, keys="none")
        suites = read_suites(directory, policies.identity)
        if only is not None:
            suites = [s for s in suites if s.file.resolve() == only[0].resolve()]
        if not suites:
            raise no_suites(directory)
        try:
            found = try_all(policies, suites, database=database, on_step=on_step)
        except SuitesFail as error:
            told = f"the suites must pass first: {len(error.cases)} do not, the first is {error.cases[0]}"
            raise click.UsageError(told) from None
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json(found.to_dict()))
    else:
        show(out, found, most=len(found.fates) if everything else _MOST)
    return TOO_LITTLE if least is not None and found.score < least else 0


def show(out: Console, found: Mutation, *, most: int) -> None:
    """Survivors as differences of the policy, each with a test; then the score."""
    from rls.cli import render

    # First those that change what somebody sees of the suites' own rows.
    for fate in sorted(found.survivors, key=lambda f: f.difference.startswith("no "))[:most]:
        _survivor(out, fate)
    if len(found.survivors) > most:
        out.print(render.styled((f"… and {len(found.survivors) - most:,} more; --all shows them", "note")))
        out.print()
    killed = len(found.fates) - len(found.survivors)
    style = "good" if not found.survivors else "warning"
    score: Any = (f"{found.score:.0f}% of the mistakes would be noticed", style)
    left = (f"; {found.equal:,} more are proved to change nothing", "note") if found.equal else ""
    bar = render.bar([(killed, "█", "good"), (len(found.survivors), "░", "error")], 20)
    out.print(bar, render.styled(score, f", {killed:,} of {len(found.fates):,}", left))


def _survivor(out: Console, fate: Fate) -> None:
    from rls.cli import render

    mutant = fate.mutant
    place = (f"{mutant.place.file}:{mutant.place.line}", "place")
    out.print(render.styled(("survived ", "error"), (mutant.subject, "name"), f": {mutant.change}  ", place))
    for line in mutant.before:
        out.print(render.indented(render.styled((f"- {line}", "error"))))
    for line in mutant.after:
        out.print(render.indented(render.styled((f"+ {line}", "good"))))
    if fate.difference:
        out.print(render.indented(render.styled((fate.difference, "warning"))))
    if fate.skeleton:
        # Whole lines, to be copied into a suite.
        told = "".join(f"    {line}\n" for line in fate.skeleton.splitlines())
        out.print(render.styled((told, "note")), soft_wrap=True, end="")
    out.print()
