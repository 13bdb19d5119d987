"""`python -m benchmarks`: a table of ratios, or JSON; exit code 1 when an answer is wrong."""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import geometric_mean

import click
import duckdb
import sqlglot
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.guarding import measure_guarding
from benchmarks.imports import measure_imports
from benchmarks.measure import Measurement
from benchmarks.running import WrongAnswer, measure_running
from benchmarks.warehouse import load_queries, set_up

GROUPS = {
    "start": "Starting, in a fresh process",
    "rewrite": "Rewriting a query text not seen before",
    "run": "From token to rows",
}


@click.command()
@click.option(
    "--group", "groups", multiple=True, type=click.Choice(list(GROUPS)), help="Default: all; may be repeated."
)
@click.option("--query", "wanted", multiple=True, help="Only queries whose name holds this; may be repeated.")
@click.option("--rounds", default=15, show_default=True, type=click.IntRange(min=1), help="The fastest round counts.")
@click.option("--scale", default=0.01, show_default=True, help="Of the warehouse; 1.0 is 10 million events.")
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), help="Keeps the databases; default: a temporary one."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def main(
    *,
    groups: tuple[str, ...],
    wanted: tuple[str, ...],
    rounds: int,
    scale: float,
    directory: Path | None,
    as_json: bool,
) -> None:
    """Measure what rls costs, beside floors, with answers checked."""
    with tempfile.TemporaryDirectory() as scratch:
        place = directory or Path(scratch)
        place.mkdir(parents=True, exist_ok=True)
        try:
            found = list(measure(groups or tuple(GROUPS), wanted, rounds=rounds, scale=scale, directory=place))
        except WrongAnswer as error:
            raise click.ClickException(f"wrong answer: {error}") from None
    if as_json:
        versions = {"python": platform.python_version(), "duckdb": duckdb.__version__, "sqlglot": sqlglot.__version__}
        click.echo(json.dumps({**versions, "scale": scale, "measurements": [m.to_dict() for m in found]}, indent=2))
        return
    console = Console()
    for group, title in GROUPS.items():
        lines = [m for m in found if m.group == group]
        if lines:
            console.print(table(title, lines))


def measure(
    groups: tuple[str, ...], wanted: tuple[str, ...], *, rounds: int, scale: float, directory: Path
) -> Iterator[Measurement]:
    """All measurements of the groups."""
    if "start" in groups:
        yield from measure_imports(rounds=rounds)
    if set(groups) & {"rewrite", "run"}:
        queries = [q for q in load_queries() if not wanted or any(w in q.name for w in wanted)]
        setting = set_up(directory, scale=scale)
        if "rewrite" in groups:
            yield from measure_guarding(setting, queries, rounds=rounds)
        if "run" in groups:
            yield from measure_running(setting, queries, rounds=rounds)


def table(title: str, lines: list[Measurement]) -> Table:
    """One group for the terminal; ratios are to the first column, the floor."""
    floor = lines[0].floor
    made = Table(
        title=f"{title} (milliseconds of CPU)",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    kinds = list(dict.fromkeys(m.what for m in lines))
    checked = any(m.checked for m in lines)
    made.add_column("case")
    made.add_column(floor, justify="right")
    for kind in kinds:
        made.add_column(kind, justify="right")
        made.add_column("ratio", justify="right", style="bold")
    if checked:
        made.add_column("checked", style="green")
    for case in dict.fromkeys(m.case for m in lines):
        row = {m.what: m for m in lines if m.case == case}
        cells = [f"{next(iter(row.values())).floor_cpu:.2f}"]
        for kind in kinds:
            cells += [f"{row[kind].cpu:.2f}", f"{row[kind].ratio:.1f}"]
        made.add_row(case, *cells, *([next(iter(row.values())).checked] if checked else []))
    means = [geometric_mean(m.ratio for m in lines if m.what == kind) for kind in kinds]
    made.add_section()
    made.add_row("geometric mean", "", *(cell for mean in means for cell in ("", f"{mean:.1f}")), style="bold")
    return made


if __name__ == "__main__":
    sys.exit(main(prog_name="python -m benchmarks"))
