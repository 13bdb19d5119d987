"""How suites ended → the terminal: a line per suite, then each difference with its rows and the policies behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rls.cli import render
from rls.lab.suites.plan import MATRIX
from rls.lab.suites.prove_invariants import SUITE as INVARIANTS
from rls.lab.world.values import show as show_value

if TYPE_CHECKING:
    from rich.console import Console

    from rls.lab.suites.run import Run
    from rls.lab.suites.suite import Failure, Outcome
    from rls.policy.rules import Policy

__all__ = ["policy_lines", "rows_table", "show", "show_outcome"]

_MARKS = {"passed": ("✓", "good"), "failed": ("✗", "error"), "error": ("!", "error")}
_MOST_DETAILS = 25
_LONGEST = 28


def show(out: Console, run: Run, *, verbose: bool = False) -> None:
    """Everything; `verbose` lists the cases that passed as well."""
    for suite in run.suites:
        mine = [o for o in run.outcomes if o.case.place.file == suite.place.file]
        if mine:
            _suite(out, _short(suite.place.file), mine, verbose=verbose)
    proved = [o for o in run.outcomes if o.case.suite == INVARIANTS and not o.case.persona]
    if proved:
        _suite(out, _short(proved[0].case.place.file), proved, verbose=verbose)
    if run.unproved:
        told = "1 invariant was" if run.unproved == 1 else f"{run.unproved} invariants were"
        out.print(render.styled((f"{told} not proved: give --database", "warning")))
    out.print()
    alike = _alike(run.failed)
    for group in alike[:_MOST_DETAILS]:
        show_outcome(out, group[0], others=[o.case.persona for o in group[1:]])
    if len(alike) > _MOST_DETAILS:
        left = sum(map(len, alike[_MOST_DETAILS:]))
        more = f"… and {left:,} more; choose some with --persona, --relation or -k"
        out.print(render.styled((more, "note")))
        out.print()
    out.print(_summary(run))


def _alike(failed: Sequence[Outcome]) -> list[list[Outcome]]:
    """Cases that nobody listed and that fail by the same rows for several personas, together."""
    groups: dict[object, list[Outcome]] = {}
    for number, outcome in enumerate(failed):
        case = outcome.case
        told = [(f.message, [(dict(row.values), row.why) for row in f.rows]) for f in outcome.failures]
        key = number if case.listed else (case.suite, case.place.file, case.relation, repr(told))
        groups.setdefault(key, []).append(outcome)
    return list(groups.values())


def _suite(out: Console, name: str, outcomes: list[Outcome], *, verbose: bool) -> None:
    failed = sum(o.status != "passed" for o in outcomes)
    counts: list[Any] = [(f"{len(outcomes) - failed:,} passed", "good")]
    if failed:
        counts += [", ", (f"{failed:,} failed", "error")]
    seconds = (f"  {sum(o.seconds for o in outcomes):.2f} s", "note")
    out.print(render.styled((name, "name"), "  ", *counts, seconds))
    grid = _grid(out, [o for o in outcomes if o.case.test == MATRIX])
    if grid is not None and (failed or verbose):
        out.print(render.indented(grid))
    if verbose:
        for outcome in outcomes:
            if outcome.case.test != MATRIX or grid is None:
                mark, style = _MARKS[outcome.status]
                title = outcome.case.id.partition("::")[2]
                out.print(render.styled("  ", (mark, style), f" {title}"), soft_wrap=True)


def _grid(out: Console, outcomes: list[Outcome]) -> Any:
    """Personas and relations, the way around that fits the terminal; None where neither does."""
    from rls.cli.cells import cells

    found = {(o.case.persona, o.case.subject): _mark(o) for o in outcomes}
    personas = list(dict.fromkeys(o.case.persona for o in outcomes))
    relations = list(dict.fromkeys(o.case.subject for o in outcomes))
    for down, across, turned in ((personas, relations, False), (relations, personas, True)):
        width = max((cells(name) for name in down), default=0) + sum(cells(name) + 3 for name in across) + 2
        if across and width <= out.width:
            blank = render.styled("")
            rows = [
                (
                    render.styled((first, "name")),
                    *(found.get((second, first) if turned else (first, second), blank) for second in across),
                )
                for first in down
            ]
            return render.table("", *across, rows=rows)
    return None


def _mark(outcome: Outcome) -> Any:
    if outcome.status == "passed" and not outcome.case.listed:
        return render.styled(("·", "note"))
    return render.styled(_MARKS[outcome.status])


def show_outcome(out: Console, outcome: Outcome, *, others: Sequence[str] = ()) -> None:
    """One case that did not pass: each difference with its rows and the policies behind them. `others` are personas of
    whom the same is to be said."""
    case = outcome.case
    mark, style = _MARKS[outcome.status]
    who = ", ".join((case.persona, *others)) or (case.test if case.relation else case.suite)
    what = f" · {case.subject} · {case.test}" if case.persona else f" · {case.relation}" if case.relation else ""
    place = (f"{_short(case.place.file)}:{case.place.line}", "place")
    out.print(render.styled((mark, style), " ", (who, "name"), f"{what}  ", place), soft_wrap=True)
    if case.sql is not None:
        out.print(render.indented(render.styled((" ".join(case.sql.split()), "note")), 4))
    if not case.listed:
        out.print(render.indented(render.styled(("not listed, so expected to be invisible", "note"))))
        names = "their names" if others else f"`{case.persona}`"
        told = f"if it is right, list it in `sees` below {names}: `{case.subject}: all`, or which rows"
        out.print(render.indented(render.styled((told, "note"))))
    for failure in outcome.failures:
        out.print(render.indented(render.styled((failure.message, style))))
        if failure.rows:
            out.print(render.indented(rows_table(failure), 4))
        if failure.count > len(failure.rows) > 0:
            out.print(render.indented(render.styled((f"… and {failure.count - len(failure.rows):,} more", "note")), 4))
        if failure.policies:
            out.print(render.indented(policy_lines(failure.policies), 4))
    out.print()


def rows_table(failure: Failure) -> Any:
    """Sample rows and why each is visible or hidden."""
    names = list(failure.rows[0].values)
    shown = names[: 4 if any(row.why for row in failure.rows) else 6]
    rows = []
    for row in failure.rows:
        values: list[Any] = [_cut(show_value(row.values[name])) for name in shown]
        if any(r.why for r in failure.rows):
            values.append(render.styled(("\n".join(row.why), "warning")))
        rows.append(values)
    columns = [*shown, "why"] if any(row.why for row in failure.rows) else shown
    return render.table(*columns, rows=rows, one_line=shown)


def policy_lines(policies: tuple[Policy, ...]) -> Any:
    """Each policy with its place and its condition."""
    return render.facts(
        [
            (
                f"{_short(p.place.file)}:{p.place.line}",
                render.styled((p.name, "name"), " ", (_cut(" ".join(p.using.text.split()), 200), "sql.guard")),
            )
            for p in policies
        ]
    )


def _summary(run: Run) -> Any:
    failed, errors = run.count("failed"), run.count("error")
    parts: list[Any] = [(f"{run.count('passed'):,} passed", "good")]
    for count, word in ((failed, "failed"), (errors, "could not be asked")):
        if count:
            parts += [", ", (f"{count:,} {word}", "error")]
    if run.left_out:
        parts.append((f", {run.left_out:,} left out", "note"))
    suites = "1 suite" if len(run.suites) == 1 else f"{len(run.suites)} suites"
    if any(o.case.suite == INVARIANTS for o in run.outcomes):
        suites += " and invariants"
    return render.styled(*parts, (f"  ({suites}, {run.seconds:.2f} s)", "note"))


def _short(file: str) -> str:
    path = Path(file)
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_absolute() and path.is_relative_to(here) else file


def _cut(text: str, most: int = _LONGEST) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
