"""A run and its verdicts → one HTML file, which loads nothing from elsewhere: thresholds, tables, drawings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

from benchmarks.cases import read_case_file
from benchmarks.measure import Measurement
from benchmarks.plots import draw_ratios, draw_series
from benchmarks.show import number
from benchmarks.suite import GROUPS, Run
from benchmarks.summary import SERIES, summarise
from benchmarks.thresholds import Verdict

__all__ = ["write_report"]

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .2rem .8rem .2rem 0; text-align: left; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } tr + tr td { border-top: 1px solid #eee; }
.holds { color: #2b7a3d; } .missed { color: #b3261e; font-weight: bold; } .not { color: #777; }
figure { display: inline-block; margin: .5rem 1rem .5rem 0; } svg { max-width: 100%; height: auto; }
details { margin: .5rem 0; } summary { cursor: pointer; color: #1b6ca8; }

"""
STATES = {"holds": "hold", "missed": "are missed", "not measured": "were not measured"}
UNITS = {"policies": "policies", "attribute length": "values", "rows": "rows"}
UNITS |= {"principals": "principals who asked before", "list in a token": "values"}


def write_report(run: Run, verdicts: Sequence[Verdict]) -> str:
    """The file's text."""
    about = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in run.about.items())
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>rls: benchmarks</title>",
        '<meta name=viewport content="width=device-width, initial-scale=1">',
        f"<style>{STYLE}</style><h1>rls: benchmarks</h1><p>{escape(about)}</p>",
        "<p>Ratios are of CPU time, the fastest sample of each, measured in turn in the same run.</p>",
        f"<h2>Thresholds</h2><p>{_counted(verdicts)}</p>",
        _table(("threshold", "at most", "found", "", "worst"), map(_verdict, verdicts)),
    ]
    for group, (title, _) in GROUPS.items():
        found = [m for m in run.measurements if m.group == group]
        if found:
            parts += [f"<h2>{escape(title)}</h2>", *_drawings(group, found), _summary(found), _details(found)]
    if run.skipped:
        parts += ["<h2>Skipped</h2><ul>", *(f"<li>{escape(reason)}</li>" for reason in run.skipped), "</ul>"]
    return "\n".join(parts) + "\n"


def _drawings(group: str, found: Sequence[Measurement]) -> Iterable[str]:
    if group == "throughput":
        for values, title in (("median", "median latency"), ("p99", "tail latency (p99)")):
            yield f"<figure>{draw_series(title, found, unit='threads', values=values)}</figure>"
    elif group in SERIES:
        units = UNITS | {one["name"]: one["unit"] for one in read_case_file("growth")["series"]}
        for case in dict.fromkeys(m.case for m in found):
            series = [m for m in found if m.case == case]
            yield f"<figure>{draw_series(case, series, unit=units.get(case, ''))}</figure>"
    else:
        for floor in dict.fromkeys(m.floor for m in found):
            beside = [m for m in found if m.floor == floor]
            if len({m.case for m in beside}) > 3:
                yield f"<figure>{draw_ratios(f'beside {floor}', beside, floor=floor)}</figure>"


def _summary(found: Sequence[Measurement]) -> str:
    rows = (
        (
            line.suite,
            line.what,
            line.floor,
            str(line.cases),
            number(line.median),
            number(line.p99),
            number(line.mean),
            number(line.worst),
            line.worst_case,
            "" if line.exponent is None else f"{line.exponent:.2f}",
        )
        for line in summarise(found)
    )
    heads = ("", "what", "beside", "cases", "median ms", "p99 ms", "mean ratio", "worst", "in", "exponent")
    return _table(heads, rows)


def _details(found: Sequence[Measurement]) -> str:
    rows = (
        (
            m.case if m.size is None else f"{m.case} {m.size:,.0f}",
            m.what,
            m.floor,
            *map(number, (m.floor_cpu, m.cpu, m.median, m.p95, m.p99, m.wall, m.ratio)),
            m.checked,
        )
        for m in found
    )
    heads = ("case", "what", "beside", "its ms", "ms", "median", "p95", "p99", "wall", "ratio", "checked")
    return f"<details><summary>{len(found)} measurements</summary>{_table(heads, rows)}</details>"


def _counted(verdicts: Sequence[Verdict]) -> str:
    states = Counter(one.state for one in verdicts)
    return ", ".join(f"{states[state]} {word}" for state, word in STATES.items() if states[state]) + "."


def _verdict(one: Verdict) -> tuple[str, ...]:
    found = "" if one.found is None else number(one.found)
    return one.threshold.name, number(one.threshold.at_most), found, one.state, one.worst_case


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    filled: list[Sequence[str]] = list(rows)
    # What is empty throughout says nothing.
    shown = [i for i, head in enumerate(heads) if not head or not filled or any(row[i] for row in filled)]
    heads, filled = [heads[i] for i in shown], [[row[i] for i in shown] for row in filled]
    # A column whose every cell is a number, or empty, is aligned right.
    numeric = [all(_is_number(row[i]) for row in filled) for i in range(len(heads))]

    def cell(tag: str, text: str, *, right: bool) -> str:
        states = {"holds": "holds", "missed": "missed", "not measured": "not"}
        kind = "n" if right else states.get(text, "")
        return f"<{tag}{f' class={kind}' if kind else ''}>{escape(text)}</{tag}>"

    lines = [[cell("th", head, right=right) for head, right in zip(heads, numeric, strict=True)]]
    lines += [[cell("td", text, right=right) for text, right in zip(row, numeric, strict=True)] for row in filled]
    return "<table>" + "".join(f"<tr>{''.join(line)}</tr>" for line in lines) + "</table>"


def _is_number(text: str) -> bool:
    plain = text.removeprefix("-").replace(",", "").replace(".", "", 1).replace("e-", "", 1)
    return not text or plain.isdecimal()
