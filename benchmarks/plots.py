"""Measurements → SVG drawings: a line per alternative over a series, or every case's ratio as a point.

Drawn with matplotlib, text as paths, so that they look the same everywhere and load nothing.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.measure import Measurement

__all__ = ["draw_ratios", "draw_series"]

mpl.use("svg")
mpl.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "rls"})
COLOURS = ("#1b6ca8", "#d1495b", "#3a7d44", "#8d6a9f", "#e09f3e", "#444444", "#2a9d8f", "#b5651d")


def draw_series(title: str, found: Sequence[Measurement], *, unit: str, values: str = "cpu") -> str:
    """Times over sizes, both logarithmic, the floors dashed. `values` names the field that is drawn."""
    figure = Figure(figsize=(5.6, 3.4), layout="constrained")
    axes = figure.subplots()
    for number, what in enumerate(dict.fromkeys(m.what for m in found)):
        points = sorted((m.size or 0, getattr(m, values)) for m in found if m.what == what)
        axes.plot(*zip(*points, strict=True), marker="o", label=what, color=COLOURS[number % len(COLOURS)])
    if values == "cpu":
        for floor in dict.fromkeys(m.floor for m in found):
            points = sorted({m.size or 0: m.floor_cpu for m in found if m.floor == floor}.items())
            axes.plot(*zip(*points, strict=True), linestyle="--", color="#888888", label=floor)
    axes.set(xscale="log", yscale="log", title=title, xlabel=unit, ylabel="milliseconds")
    _plain_numbers(axes.xaxis, axes.yaxis)
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(frameon=False)
    return _svg(figure)


def draw_ratios(title: str, found: Sequence[Measurement], *, floor: str) -> str:
    """Each case's ratio to the floor, a row of points per alternative; 1 is the floor."""
    kinds = list(dict.fromkeys((m.case.partition(": ")[0] if ": " in m.case else "", m.what) for m in found))
    colours = {what: COLOURS[number % len(COLOURS)] for number, what in enumerate(dict.fromkeys(m.what for m in found))}
    figure = Figure(figsize=(7.4, 0.9 + 0.34 * len(kinds)), layout="constrained")
    axes = figure.subplots()
    for number, kind in enumerate(kinds):
        ratios = [m.ratio for m in found if (m.case.partition(": ")[0] if ": " in m.case else "", m.what) == kind]
        axes.plot(ratios, [-number] * len(ratios), "o", alpha=0.45, color=colours[kind[1]], markeredgewidth=0)
    axes.axvline(1, color="#888888", linestyle="--", linewidth=1)
    axes.set_yticks([-number for number in range(len(kinds))], [", ".join(filter(None, kind)) for kind in kinds])
    axes.set(xscale="log", title=title, xlabel=f"times “{floor}”")
    _plain_numbers(axes.xaxis)
    axes.grid(visible=True, axis="x", which="major", alpha=0.3)
    return _svg(figure)


def _plain_numbers(*axes: Axis) -> None:
    """1,000 and not a power of ten; between them 2 and 5, where there is room."""
    for axis in axes:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}" if value < 1e6 else f"{value / 1e6:g} M"))
        axis.set_minor_formatter(NullFormatter())


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :]
