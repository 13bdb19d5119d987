"""What happened in the demo → the terminal, step by step, each with a sentence on what to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rls.cli import render
from rls.cli.as_json import plain
from rls.cli.demo_script import QUESTIONS
from rls.cli.sql_view import mark_sql, side_by_side
from rls.rewrite.guarded import Splice

if TYPE_CHECKING:
    from rich.console import Console

    from rls.cli.demo_stage import Stage

__all__ = ["show"]

SHOWN_RECORDS = 8


def show(stage: Stage, story: dict[str, Any], *, seconds: float) -> None:
    """The whole story."""
    out = render.console()
    show_warehouse(out, stage, seconds)
    show_people(out, story)
    show_matrix(out, story)
    show_answer(out, story)
    show_rewritten(out, story)
    show_attacks(out, story)
    show_audit(out, story)
    show_next(out, stage)


def show_warehouse(out: Console, stage: Stage, seconds: float) -> None:
    total, tenants = sum(stage.rows.values()), stage.rows.get("tenants", 0)
    made = f"built in {seconds:.1f} s" if stage.built else "from an earlier demo, with your edits of its policies"
    render.heading(
        out,
        "A warehouse that many tenants share",
        f"{tenants} tenants, {total:,} rows in {len(stage.rows)} tables, {made}. Policies lie beside it.",
        number=1,
    )
    out.print(render.table("file", "what", rows=_files(stage)))


def _files(stage: Stage) -> list[tuple[Any, str]]:
    return [
        (render.styled((str(stage.database), "name")), "orders, customers, employees, events, a ledger, …"),
        (render.styled((str(stage.policies), "name")), "who sees what: YAML files to read and to edit"),
        (render.styled((str(stage.audit), "name")), "the audit trail"),
    ]


def show_people(out: Console, story: dict[str, Any]) -> None:
    render.heading(
        out,
        "Three people, three signed tokens",
        "The application signs who its user is and a few typed attributes. They fill the policies as values, never as"
        " SQL text.",
        number=2,
    )
    rows = []
    for name, who in story["people"].items():
        shown = plain(who["attributes"])
        attributes = "\n".join(f"{k} {', '.join(v) if isinstance(v, list) else v}" for k, v in shown.items())
        named = render.styled((name, "name"), (f"\n{who['subject']}", "note"))
        rows.append((named, ", ".join(sorted(who["roles"])), who["what"], attributes))
    out.print(render.table("who", "role", "", "attributes", rows=rows))


def show_matrix(out: Console, story: dict[str, Any]) -> None:
    render.heading(
        out,
        "The same five queries, asked by each",
        "Rows that went into the answers. Nobody wrote a filter: the policies put it around every table.",
        number=3,
    )
    names = list(story["people"])
    rows = []
    zeros = []
    for question in story["questions"]:
        whole = question["unguarded"].get("rows_read") or 0
        cells = []
        for name in names:
            answer = question["answers"][name]
            cells.append(_seen(answer, whole))
            if not answer.get("rows_read") and answer.get("reasons"):
                zeros.append((name, answer["reasons"][0]))
        rows.append((question["title"], *cells, f"{whole:,}"))
    out.print(render.table("query", *((n, "right") for n in names), ("no guard", "right"), rows=rows))
    if zeros:
        out.print()
    out.print(render.facts([(f"0 for {name}", render.styled((reason, "note"))) for name, reason in zeros]))


def _seen(answer: dict[str, Any], whole: int) -> Any:
    if "error" in answer:
        return render.styled((answer["error"]["code"], "code"))
    return render.share(answer["rows_read"] or 0, whole)


def show_answer(out: Console, story: dict[str, Any]) -> None:
    question = story["questions"][0]
    out.print()
    out.print(render.styled((f"“{question['title']}” in full:", "note")))
    answers = {n: dict(r[:2] for r in a["rows"]) for n, a in question["answers"].items() if "rows" in a}
    regions = sorted({r for found in answers.values() for r in found}, key=lambda r: (r is None, r))
    rows = [
        (_shown(region), *(f"{found[region]:,}" if region in found else "·" for found in answers.values()))
        for region in regions
    ]
    out.print(render.table("region", *((n, "right") for n in answers), rows=rows))


def show_rewritten(out: Console, story: dict[str, Any]) -> None:
    told = story["rewritten"]
    render.heading(
        out,
        f"What {told['who']}'s query became",
        "Each table's name was replaced by a guard: a sub-query with her rows and columns only. The rest of the text is"
        " hers, byte for byte. $rls_… are bound values.",
        number=4,
    )
    splices = [Splice(s["start"], s["end"], s["text"]) for s in told["splices"]]
    out.print(render.sql_table(out, side_by_side(told["original"], splices)))
    out.print()
    for label, relation in told["relations"].items():
        out.print(render.styled((label, "name"), f" decided by {', '.join(relation['policies'])}"))


def show_attacks(out: Console, story: dict[str, Any]) -> None:
    render.heading(out, "Two attacks", "Each looks like one SELECT.", number=5)
    for number, attack in enumerate(story["attacks"]):
        if number:
            out.print()
        out.print(render.styled((attack["who"], "name"), " tries to ", (attack["title"], "title"), ":"))
        out.print(render.indented(render.sql_text(mark_sql(attack["sql"]))))
        got = attack["got"]
        for carets in got.get("excerpt", ())[1:]:
            out.print(render.indented(render.styled((carets, "error"))))
        lines = []
        if attack["unguarded"]:
            lines.append(("plain DuckDB", render.styled((attack["unguarded"]["error"], "error"))))
        if "error" in got:
            lines.append(("here", render.styled(("refused: ", "good"), got["error"]["text"])))
        else:
            counted = f"{got['rows'][0][0]} rows, all of them {attack['who']}'s to see; no error"
            lines.append(("here", render.styled((counted, "good"))))
        lines.append(("", render.styled((attack["lesson"], "note"))))
        out.print(render.indented(render.facts(lines)))


def show_audit(out: Console, story: dict[str, Any]) -> None:
    records = story["audit"]
    render.heading(
        out,
        "The audit trail",
        f"{len(records)} attempts, {len(records)} records, each written before its answer was handed out. The last"
        f" {min(SHOWN_RECORDS, len(records))}:",
        number=6,
    )
    rows = [_record_row(r) for r in records[-SHOWN_RECORDS:] if isinstance(r, dict)]
    columns = ("subject", "outcome", "relations: deciding policies", ("rows", "right"), ("ms", "right"))
    out.print(render.table(*columns, rows=rows))


def _record_row(record: dict[str, Any]) -> tuple[Any, ...]:
    good = record["outcome"] in ("allowed", "denied")
    outcome = render.styled((record["outcome"], "good" if good else "error"))
    what = "\n".join(f"{label}: {', '.join(r['policies'])}" for label, r in record["relations"].items())
    rows = "" if record["row_count"] is None else f"{record['row_count']:,}"
    return (record["subject"], outcome, what or record["code"], rows, f"{record['duration'] * 1000:,.0f}")


def show_next(out: Console, stage: Stage) -> None:
    render.heading(out, "Try next")
    where = f"--policies {stage.policies} --database {stage.database}"
    steps = (
        ("see what another persona would get, and why", f'rls explain --as lena {where} "{_one_line(0)}"'),
        (
            "ask something yourself, as alice",
            f"rls query --token-file {stage.token_file('alice')} {where} --audit {stage.audit}"
            ' "SELECT status, count(*) FROM orders GROUP BY ALL"',
        ),
        ("look into a token", f"rls token inspect --policies {stage.policies} --token-file {stage.token_file('gina')}"),
        ("change a policy, then check it", f"rls check {stage.policies} --database {stage.database}"),
        ("and see the numbers of step 3 follow", f"rls demo --dir {stage.directory}"),
    )
    for what, command in steps:
        out.print(render.styled((f"# {what}", "note")))
        out.print(render.styled(command), soft_wrap=True)


def _one_line(number: int) -> str:
    return " ".join(QUESTIONS[number].sql.split())


def _shown(value: object) -> str:
    return "(none)" if value is None else str(value)
