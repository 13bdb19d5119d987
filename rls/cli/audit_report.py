"""`rls audit report`: who saw what and when, what was refused, what is unusual, which policies never decide."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rls.cli.audit_options import log_option, optional_policies, time_of
from rls.cli.options import json_option, write_text

if TYPE_CHECKING:
    from rls.audit.report import Report

__all__ = ["report"]

_ROWS = 10


@click.command()
@log_option
@click.option(
    "--since", metavar="TIME", help="ISO 8601 in UTC, or an age: 12h, 7d. What is older still says what is usual."
)
@click.option("--until", metavar="TIME", help="Likewise.")
@optional_policies
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write a page with charts.")
@json_option
def report(
    *,
    logs: tuple[Path, ...],
    since: str | None,
    until: str | None,
    policies: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Add the log up: who saw what, what was refused, what is unusual, which policies never decide (--policies)."""
    from rls.audit.read import read_records
    from rls.audit.report import make_report
    from rls.audit.select import Selection, select_records

    made = make_report(
        select_records(read_records(logs), Selection()),
        since=time_of(since),
        until=time_of(until),
        declared=() if policies is None else _declared(policies),
    )
    if html is not None:
        from rls.audit.report_html import report_html

        write_text(html, report_html(made))
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json(made.to_dict()))
        return
    show(made)
    if html is not None:
        from rls.cli import render

        render.console().print(render.styled("\n", ("page written: ", "note"), (str(html), "place")), soft_wrap=True)


def _declared(directory: Path) -> list[tuple[str, str]]:
    """The policies of a directory: relation (as written; of a pattern: "") and name."""
    from rls.policy.load import load_policies

    rules = load_policies(directory, keys="none").rules
    named = [
        (rule.target if isinstance(rule.target, tuple) else (), policy.name)
        for rule in rules
        for policy in rule.policies
    ]
    return [(".".join(path[1:] if path[:1] == ("main",) else path), name) for path, name in named]


def show(made: Report) -> None:
    """The report on the terminal."""
    from rls.cli import render
    from rls.cli.audit_show import OUTCOME_STYLES, counted, when

    out = render.console()
    if not made.attempts:
        out.print(render.styled(("no records", "note")))
        return
    period = f"{when(made.since, seconds=False)} to {when(made.until, seconds=False)} UTC"
    out.print(
        render.styled(
            (counted(made.attempts, "attempt"), "title"),
            f", {counted(made.rows, 'row')}, {counted(made.principals, 'principal')}",
        )
    )
    out.print(render.styled((period, "note")))
    out.print(
        render.styled(*_spread((f"{n:,} {name}", OUTCOME_STYLES.get(name, "")) for name, n in made.outcomes.items()))
    )
    render.heading(out, "unusual")
    for unusual in made.unusual:
        out.print(
            render.styled(
                (unusual.kind.replace("_", " "), "warning"), " ", (unusual.subject or "no valid token", "name")
            )
        )
        out.print(render.indented(render.styled(unusual.message)))
        out.print(render.indented(render.styled((f"{when(unusual.time)} · record {unusual.audit_ids[0][:8]}", "note"))))
    if not made.unusual:
        out.print(render.styled(("nothing", "note")))
    render.heading(out, "who read what")
    head = ("principal", "relation", ("attempts", "right"), ("rows", "right"), "last")
    out.print(render.table(*head, rows=_access(made)))
    render.heading(out, "refused")
    if made.codes:
        out.print(
            render.table(
                "code", ("attempts", "right"), rows=[(c, f"{n:,}") for c, n in list(made.codes.items())[:_ROWS]]
            )
        )
    else:
        out.print(render.styled(("nothing", "note")))
    if made.policies:
        render.heading(out, "policies")
        rows = [(r, p, f"{n:,}") for (r, p), n in list(made.policies.items())[:_ROWS]]
        out.print(render.table("relation", "policy", ("decided", "right"), rows=rows))
    if made.unused:
        out.print()
        listed = ", ".join(f"{relation or 'pattern'}: {policy}" for relation, policy in made.unused)
        out.print(render.styled(("never decided: ", "warning"), listed))


def _access(made: Report) -> Iterable[tuple[str, ...]]:
    from rls.cli.audit_show import when

    subjects = [subject for subject in made.subjects if subject in made.access]
    for subject in subjects[:_ROWS]:
        for number, (relation, seen) in enumerate(made.access[subject].items()):
            name = (subject or "no token") if number == 0 else ""
            yield name, relation, f"{seen.attempts:,}", f"{seen.rows:,}", when(seen.last, seconds=False)
    if len(subjects) > _ROWS:
        yield f"… {len(subjects) - _ROWS} more", "", "", "", ""


def _spread(parts: Iterable[tuple[str, str]]) -> Iterable[Any]:
    for number, part in enumerate(parts):
        if number:
            yield " · "
        yield part
