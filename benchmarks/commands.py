"""The suite's command line: `run` (when nothing else is said), `compare`, `check`, `report`, `peers`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.answers import WrongAnswer
from benchmarks.compare import compare_runs
from benchmarks.options import Options
from benchmarks.peers import install_peer, known_peers
from benchmarks.show import show_comparison, show_run, show_verdicts
from benchmarks.suite import GROUPS, Run, measure_all, read_run
from benchmarks.thresholds import FILE, check_thresholds, load_thresholds

__all__ = ["main"]

DIRECTORY = Path(".benchmarks")
LAST = "run.json"
QUICK = {"rounds": 2, "seconds": 2.0, "scale": 0.002, "tpch_scale": 0.01, "largest": 10_000, "principals": 1_000}

directory_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=DIRECTORY,
    show_default=True,
    help="Keeps databases, peers and the last run.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


class _RunByDefault(click.Group):
    """`python -m benchmarks --group start` is `python -m benchmarks run --group start`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("--help", "-h")):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_RunByDefault, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure what rls costs, beside floors and peers, with answers checked."""


@main.command()
@click.option("--group", "groups", multiple=True, type=click.Choice(list(GROUPS)), help="Default: all; repeatable.")
@click.option("--query", "wanted", multiple=True, help="Only cases whose name holds this; repeatable.")
@click.option("--rounds", type=click.IntRange(min=1), help="Samples per alternative; the fastest counts.  [15]")
@click.option("--scale", type=float, help="Of the warehouse; 1 is 10 million events.  [0.01]")
@click.option("--tpch-scale", type=float, help="Of TPC-H; 1 is 6 million lines.  [1]")
@click.option("--principals", type=int, help="That ask, at most; a million take some ten minutes.  [100000]")
@click.option("--quick", is_flag=True, help="Small data and few rounds: to see that it works, not how fast.")
@click.option("--every-case", is_flag=True, help="Show each case instead of means.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="The run as JSON.  [DIR/run.json]")
@directory_option
@json_option
def run(
    *,
    groups: tuple[str, ...],
    wanted: tuple[str, ...],
    quick: bool,
    every_case: bool,
    output: Path | None,
    directory: Path,
    as_json: bool,
    **sizes: Any,
) -> None:
    """Measure, and keep the run. Everything in one run is measured in turn, so that ratios hold on a busy machine."""
    directory.mkdir(parents=True, exist_ok=True)
    given = {name: value for name, value in sizes.items() if value is not None}
    options = Options(directory.resolve(), wanted=wanted, **{**(QUICK if quick else {}), **given})
    file = output or directory / LAST
    try:
        found = _measured(groups or tuple(GROUPS), options, keep=lambda one: file.write_text(one.to_json() + "\n"))
    except WrongAnswer as error:
        raise click.ClickException(f"wrong answer: {error}") from None
    if as_json:
        click.echo(found.to_json())
    else:
        show_run(_console(), found, every_case=every_case)


@main.command()
@click.argument("before", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("after", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--worse", type=float, help="Exit with 1 if a kind's mean ratio grew by more than this factor.")
@json_option
def compare(*, before: Path, after: Path, worse: float | None, as_json: bool) -> None:
    """How the ratios of two runs differ."""
    found = compare_runs(_read(before), _read(after))
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=1))
    else:
        show_comparison(_console(), found)
    if worse is not None and any(factor > worse for factor in found.means().values()):
        click.get_current_context().exit(1)


@main.command()
@click.argument("run_file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--thresholds", type=click.Path(path_type=Path, exists=True, dir_okay=False), default=FILE)
@directory_option
@json_option
def check(*, run_file: Path | None, thresholds: Path, directory: Path, as_json: bool) -> None:
    """Whether a run (default: the last one) keeps the thresholds; exit code 1 if not."""
    verdicts = check_thresholds(_last(run_file, directory).measurements, load_thresholds(thresholds))
    if as_json:
        click.echo(json.dumps([one.to_dict() for one in verdicts], indent=1))
    else:
        show_verdicts(_console(), verdicts)
    if any(one.state == "missed" for one in verdicts):
        click.get_current_context().exit(1)


@main.command()
@click.argument("run_file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="[DIR/report.html]")
@directory_option
def report(*, run_file: Path | None, output: Path | None, directory: Path) -> None:
    """One HTML file with the run's tables, thresholds and plots; it loads nothing from elsewhere."""
    try:
        from benchmarks.report import write_report
    except ModuleNotFoundError as missing:
        raise click.ClickException(f"{missing.name} draws the plots: pip install 'rls[bench]'") from None
    target = output or directory / "report.html"
    found = _last(run_file, directory)
    target.write_text(write_report(found, check_thresholds(found.measurements, load_thresholds())), encoding="utf-8")
    click.echo(target)


@main.command()
@click.argument("names", nargs=-1)
@directory_option
def peers(*, names: tuple[str, ...], directory: Path) -> None:
    """Install peers to measure beside, each in its own environment; without a name, list them."""
    known = known_peers()
    for name in names:
        if name not in known:
            raise click.UsageError(f"there is no peer `{name}`; there are {', '.join(known)}")
        click.echo(f"installing {known[name]['requirement']} …")
        try:
            install_peer(name, directory.resolve())
        except subprocess.CalledProcessError as error:
            raise click.ClickException(f"pip could not install it (exit code {error.returncode})") from None
    if not names:
        for name, entry in known.items():
            click.echo(f"{name:10} {entry['what']}: {entry['requirement']}")


def _measured(groups: tuple[str, ...], options: Options, *, keep: Callable[[Run], object]) -> Run:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=len(groups))

        def step(group: str, case: str) -> None:
            progress.update(task, completed=groups.index(group), description=f"{group:10} {case[:40]:40}")

        return measure_all(groups, options, on_step=step, keep=keep)


def _last(file: Path | None, directory: Path) -> Run:
    chosen = file or directory / LAST
    if not chosen.is_file():
        raise click.UsageError(f"there is no run `{chosen}`; make one: python -m benchmarks")
    return _read(chosen)


def _read(file: Path) -> Run:
    try:
        return read_run(file)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False)
