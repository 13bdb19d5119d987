"""`rls coverage`: which parts of the policies the suites have put to the test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rls.cli.options import json_option, live_option, write_text
from rls.cli.test import policies_of

if TYPE_CHECKING:
    from rich.console import Console

    from rls.lab.coverage.measure import Coverage, Point

__all__ = ["coverage"]

TOO_LITTLE = 1
_STATES = {"TRUE": "T", "FALSE": "F", "NULL": "N"}


@click.command()
@click.argument("path", metavar="[DIR | SUITE]", type=click.Path(path_type=Path), envvar="RLS_POLICIES")
@live_option
@click.option("--min", "least", type=click.FloatRange(0, 100), metavar="PERCENT", help="Exit code 1 below this.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write one HTML page.")
@json_option
def coverage(*, path: Path, database: Path | str | None, least: float | None, html: Path | None, as_json: bool) -> int:
    """Measure which parts of the policies the suites met.

    Every condition inside a policy should have been TRUE, FALSE and NULL, every role and attribute seen with and
    without, every mask applied and spared.
    """
    from rls.cli import render
    from rls.cli.failures import pointing_into_file
    from rls.lab.coverage.measure import measure_coverage
    from rls.lab.coverage.report import html_coverage
    from rls.lab.suites.reader import no_suites, read_suites
    from rls.policy.load import load_policies

    directory, only = policies_of(path)
    out = render.console(stderr=as_json)
    with pointing_into_file(), render.progress(out, "looking") as on_step:
        policies = load_policies(directory, keys="none")
        suites = read_suites(directory, policies.identity)
        if only is not None:
            suites = [s for s in suites if s.file.resolve() == only[0].resolve()]
        if not suites:
            raise no_suites(directory)
        found = measure_coverage(policies, suites, database=database, on_step=on_step)
    if html is not None:
        write_text(html, html_coverage(found))
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json(found.to_dict()))
    else:
        show(out, found)
    return TOO_LITTLE if least is not None and found.percent < least else 0


def show(out: Console, found: Coverage) -> None:
    """A line per policy with what was met of it, then what is missing and what would meet it."""
    from rls.cli import render
    from rls.lab.coverage.report import advice

    rows: list[tuple[Any, ...]] = []
    file = ""
    for policy in found.policies:
        if policy.place.file != file:
            file = policy.place.file
            rows.append((render.styled((file, "place")), *[render.styled("")] * 3))
        mine = [p for p in found.points if p.place is policy.place and p.kind in ("branch", "item", "role")]
        met = sum(p.covered for p in mine)
        style = "good" if met == len(mine) else "warning" if met else "error"
        roles = [(f" {p.state[3:]}", "good" if p.covered else "error") for p in mine if p.kind == "role"]
        name = render.styled("  ", (policy.name, "name"))
        rows.append((name, render.styled((f"{met}/{len(mine)}", style)), _marks(mine), render.styled(*roles)))
    out.print(render.grid(("policy", "left"), ("met", "right"), ("conditions", "left"), (" roles", "left"), rows=rows))
    legend = "T, F and N: a condition was met as TRUE, FALSE, NULL; small letters: never"
    out.print(render.styled((legend, "note")))
    if found.open:
        out.print()
        lines = [
            (f"{p.place.file}:{p.place.line}", render.styled((p.subject, "name"), ": ", advice(p, most=50)))
            for p in found.open
        ]
        out.print(render.styled(("what is missing", "title")))
        out.print(render.facts(lines))
    for skipped in found.skipped:
        out.print(render.styled(("not looked at: ", "warning"), skipped))
    out.print()
    style = "good" if not found.open else "warning"
    bar = render.bar([(found.covered, "█", "good"), (len(found.open), "░", "error")], 20)
    told = render.styled((f"{found.percent:.0f}% covered", style), f", {found.covered} of {len(found.points)} points")
    out.print(bar, told)


def _marks(points: list[Point]) -> Any:
    """`TFN` per condition: green where it was met, red where it was not."""
    from rls.cli import render

    parts: list[tuple[str, str] | str] = []
    before = None
    for point in points:
        if point.kind != "branch":
            continue
        if before is not None and before != (point.start, point.end, point.part):
            parts.append(" ")
        before = (point.start, point.end, point.part)
        letter = _STATES[point.state]
        parts.append((letter, "good") if point.covered else (letter.lower(), "error"))
    return render.styled(*parts)
