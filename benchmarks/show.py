"""Runs, verdicts and comparisons → tables for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.compare import Comparison
from benchmarks.measure import Measurement
from benchmarks.suite import GROUPS, Run
from benchmarks.summary import Line, summarise
from benchmarks.thresholds import Verdict

__all__ = ["show_comparison", "show_run", "show_verdicts"]

STATES = {"holds": "green", "missed": "bold red", "not measured": "dim"}


def show_run(console: Console, run: Run, *, every_case: bool = False) -> None:
    """A table per group: one line per kind of measurement, or every case."""
    for group, (title, _) in GROUPS.items():
        found = [m for m in run.measurements if m.group == group]
        if not found:
            continue
        console.print(Text(f"\n{title}", "bold"))
        if every_case:
            console.print(_cases(found))
        else:
            console.print(_lines(summarise(found), threads=group == "throughput"))
            if group == "throughput":
                console.print(_throughput(found))
    for reason in run.skipped:
        console.print(Text(f"skipped: {reason}", "yellow"))


def show_verdicts(console: Console, verdicts: Iterable[Verdict]) -> None:
    """What holds, what is missed, by how much."""
    table = _table("threshold", "at most", "found", "", "worst")
    for one in verdicts:
        found = "" if one.found is None else number(one.found)
        worst = one.worst_case if one.state == "missed" else ""
        table.add_row(
            one.threshold.name, number(one.threshold.at_most), found, Text(one.state, STATES[one.state]), worst
        )
    console.print(table)


def show_comparison(console: Console, found: Comparison, *, most: int = 10) -> None:
    """Mean changes by kind, and the single ones that changed most; 2.00 is twice as slow as before."""
    table = _table("group", "what", "beside", "now / before")
    for (group, what, floor), factor in found.means().items():
        table.add_row(group, what, floor, _factor(factor))
    console.print(table)
    changed = sorted(found.changes, key=lambda c: max(c.factor, 1 / c.factor), reverse=True)[:most]
    console.print(Text("\nChanged most", "bold"))
    single = _table("case", "what", "before", "now", "now / before")
    for one in changed:
        single.add_row(f"{one.group}: {one.case}", one.what, number(one.before), number(one.after), _factor(one.factor))
    console.print(single)
    if found.only_before or found.only_after:
        console.print(Text(f"\nonly before: {found.only_before}, only now: {found.only_after}", "dim"))


def number(value: float) -> str:
    """Three digits that matter.

    >>> number(0.00512), number(1.0349), number(1234.5)
    ('0.00512', '1.03', '1,234')
    """
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _lines(lines: list[Line], *, threads: bool) -> Table:
    table = _table("", "what", "beside", "ms", "ratio", "worst")
    for one in lines:
        worst = f"{number(one.worst)}" if one.cases == 1 or threads else f"{number(one.worst)} {one.worst_case}"
        if one.exponent is not None:
            worst = f"grows with exponent {one.exponent:.2f}"
        table.add_row(one.suite, one.what, one.floor, number(one.median), Text(number(one.mean), "bold"), worst)
    return table


def _throughput(found: list[Measurement]) -> Table:
    table = _table("threads", "what", "queries/s", "p50 ms", "p95 ms", "p99 ms")
    for one in found:
        cells = (one.what, one.checked.partition(" ")[0], *map(number, (one.median, one.p95, one.p99)))
        table.add_row(f"{one.size:g}", *cells)
    return table


def _cases(found: list[Measurement]) -> Table:
    table = _table("case", "what", "beside", "ms", "p99", "ratio", "checked")
    for one in found:
        case = one.case if one.size is None else f"{one.case} {one.size:,.0f}"
        cells = (number(one.median), number(one.p99), Text(number(one.ratio), "bold"))
        table.add_row(case, one.what, one.floor, *cells, Text(one.checked, "green"))
    return table


def _table(*columns: str) -> Table:
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    numbers = {"ms", "ratio", "p99", "at most", "found", "now / before", "before", "now", "queries/s"}
    for name in columns:
        made.add_column(name, justify="right" if name in numbers or name.endswith(" ms") else "left", overflow="fold")
    return made


def _factor(value: float) -> Text:
    style = "red" if value > 1.1 else "green" if value < 0.9 else ""
    return Text(f"{value:.2f}", style)
