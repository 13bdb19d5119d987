"""`rls demo`: from nothing to guarded answers in a few seconds, each step explained.

Plays `demo_script` on the stage that `demo_stage` sets. Every query goes through the engine like anybody's; only the
column `no guard`, and what plain DuckDB says to an attack, come from a connection of its own.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rls.cli.demo_script import ATTACKS, CAST, QUESTIONS, REWRITTEN
from rls.cli.options import json_option

if TYPE_CHECKING:
    from rls.cli.demo_stage import Stage
    from rls.engine import Engine

__all__ = ["demo"]


@click.command()
@click.option(
    "--dir",
    "directory",
    default="demo",
    show_default=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the warehouse, policies, tokens and audit trail go.",
)
@click.option("--scale", default=0.01, show_default=True, help="Size of the warehouse; 1.0 is 10 million events.")
@click.option("--fresh", is_flag=True, help="Begin anew: edits in the directory are lost.")
@json_option
def demo(*, directory: Path, scale: float, fresh: bool, as_json: bool) -> None:
    """See it work: three people, five questions, two attacks.

    A second run in the same directory keeps your edits of its policies, and the numbers follow them.
    """
    from rls.cli import render
    from rls.cli.demo_stage import set_stage

    out = render.console(stderr=as_json)
    started = time.perf_counter()
    with render.progress(out, "building the warehouse") as on_step:
        stage = set_stage(directory, scale=scale, fresh=fresh, on_step=on_step)
    seconds = time.perf_counter() - started
    story = play(stage)
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json(story))
        return
    from rls.cli import demo_show

    demo_show.show(stage, story, seconds=seconds)


def play(stage: Stage) -> dict[str, Any]:
    """Run everything; what happened, as plain data."""
    from rls.cli.demo_stage import ask_unguarded
    from rls.engine import Engine

    texts = [q.sql for q in QUESTIONS] + [a.sql for a in ATTACKS if a.compare]
    unguarded = {sql: ask_unguarded(stage, sql) for sql in texts}
    before = count_records(stage)
    with Engine.open(stage.database, policies=stage.policies, audit=stage.audit) as engine:
        answers = {q.title: {name: ask(engine, stage, name, q.sql) for name in CAST} for q in QUESTIONS}
        question, who = REWRITTEN
        rewritten = engine.explain(stage.personas[who], question.sql)
        attacks = [ask(engine, stage, a.who, a.sql) for a in ATTACKS]
    from rls.audit.read import read_records

    return {
        "directory": str(stage.directory),
        "rows": stage.rows,
        "people": {name: describe(stage, name) for name in CAST},
        "questions": [
            {"title": q.title, "sql": q.sql, "unguarded": unguarded[q.sql], "answers": answers[q.title]}
            for q in QUESTIONS
        ],
        "rewritten": {
            "who": who,
            **rewritten.to_dict(),
            "splices": [{"start": s.start, "end": s.end, "text": s.text} for s in rewritten.splices],
        },
        "attacks": [
            {
                "title": a.title,
                "who": a.who,
                "sql": a.sql,
                "lesson": a.lesson,
                "unguarded": unguarded.get(a.sql),
                "got": g,
            }
            for a, g in zip(ATTACKS, attacks, strict=True)
        ],
        "audit": list(read_records(stage.audit))[before:],
    }


def ask(engine: Engine, stage: Stage, name: str, sql: str) -> dict[str, Any]:
    """One query through the engine: its rows, or the error as its caller sees it. The reasons are for the reader of the
    demo, not for who asked: those of a named principal, of whom there is no record."""
    from rls.cli.demo_stage import rows_read
    from rls.cli.failures import caret_lines
    from rls.errors import QueryRefused, RlsError

    try:
        result = engine.query(stage.tokens[name], sql)
    except RlsError as error:
        place = error.position if isinstance(error, QueryRefused) else None
        excerpt = caret_lines(sql, place) if place is not None else ()
        return {"error": {**error.to_dict(), "text": str(error)}, "excerpt": excerpt}
    reasons = engine.explain(stage.personas[name], sql).grants
    return {
        "columns": result.columns,
        "rows": result.rows,
        "rows_read": rows_read(result.columns, result.rows),
        "reasons": [f"{label}: {reason}" for label, grant in reasons.items() for reason in grant.reasons],
    }


def count_records(stage: Stage) -> int:
    """How many audit records earlier demos left."""
    from rls.audit.read import read_records

    return sum(1 for _ in read_records(stage.audit)) if stage.audit.is_file() else 0


def describe(stage: Stage, name: str) -> dict[str, Any]:
    """A persona as plain data."""
    who = stage.personas[name]
    return {
        "what": CAST[name],
        "subject": who.subject,
        "roles": who.roles,
        "attributes": who.attributes,
        "token_file": str(stage.token_file(name)),
    }
