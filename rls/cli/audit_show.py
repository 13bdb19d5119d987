"""Records on a terminal: a line and its query, or everything that one record holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rls.cli import render

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["OUTCOME_STYLES", "counted", "record_facts", "record_lines", "when"]

OUTCOME_STYLES = {
    "allowed": "good",
    "denied": "note",
    "refused": "warning",
    "rejected": "error",
    "limited": "warning",
    "failed": "error",
}


def when(time: str, *, seconds: bool = True) -> str:
    """A record's time, for people.

    >>> when("2026-01-31T12:00:59.123+00:00")
    '2026-01-31 12:00:59'
    """
    return time[: 19 if seconds else 16].replace("T", " ")


def counted(number: int, what: str) -> str:
    """A number of things.

    >>> counted(1, "record"), counted(1234, "record")
    ('1 record', '1,234 records')
    """
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def record_lines(out: Console, records: Iterable[Mapping[str, Any]]) -> None:
    """Two lines per record: what happened, and the caller's text as far as it fits."""
    for record in records:
        what = record["code"] or ", ".join(record["relations"]) or record["action"]
        rows = "" if record["row_count"] is None else f" · {counted(record['row_count'], 'row')}"
        who = record["subject"] or "no valid token"
        if record["agent"]:
            who += f" by {record['agent']}"
        line = render.styled(
            (when(record["time"]), "note"),
            " ",
            (f"{record['outcome']:<8}", OUTCOME_STYLES.get(record["outcome"], "")),
            " ",
            (who, "name"),
            f"  {what}",
            (f"{rows} · {record['duration'] * 1000:,.0f} ms", "note"),
        )
        out.print(_fitted(out, line), soft_wrap=True)
        text = " ".join(record["sql"].split())
        if text:
            out.print(_fitted(out, render.styled((f"  {record['audit_id'][:8]} ", "place"), text)), soft_wrap=True)


def _fitted(out: Console, line: Text) -> Text:
    """On a terminal a line is one line; in a pipe it is whole."""
    if out.is_terminal:
        line.truncate(out.width, overflow="ellipsis")
    return line


def record_facts(out: Console, record: Mapping[str, Any]) -> None:
    """Everything in one record."""
    out.print(
        render.styled(
            (record["outcome"], OUTCOME_STYLES.get(record["outcome"], "")),
            f"  {record['code']}",
            (f"  {record['audit_id']}", "note"),
        )
    )
    rows = [("when", record["time"]), ("who", _who(record)), ("action", record["action"])]
    rows += [(name, str(record[name])) for name in ("issuer", "token_id", "trace_id", "detail") if record[name]]
    rows += [("warnings", "; ".join(record["warnings"]))] if record["warnings"] else []
    rows += [(f"user.{name}", f"hash {hash_}") for name, hash_ in record["attributes"].items()]
    rows += [(f"${name}", f"hash {hash_}") for name, hash_ in record["parameters"].items()]
    if record["row_count"] is not None:
        rows.append(
            ("handed out", f"{counted(record['row_count'], 'row')}, about {counted(record['byte_count'] or 0, 'byte')}")
        )
    timings = ", ".join(f"{name} {seconds * 1000:,.1f}" for name, seconds in record["timings"].items())
    rows.append(("took", f"{record['duration'] * 1000:,.1f} ms ({timings})"))
    rows.append(("barrier", _barrier(record)))
    rows += [(f"{n} version", record[f"{n}_version"]) for n in ("policy", "catalog", "engine")]
    out.print(render.facts((name, render.styled(text)) for name, text in rows))
    if record["relations"]:
        out.print()
        out.print(render.table("relation", "sees", "deciding policies", "columns", rows=_relations(record)))
    if record["sql"]:
        from rls.cli.sql_view import mark_sql

        out.print()
        out.print(render.sql_text(mark_sql(record["sql"])))


def _who(record: Mapping[str, Any]) -> str:
    roles = ", ".join(record["roles"]) or "no role"
    agent = f", by {record['agent']}" if record["agent"] else ""
    return f"{record['subject']} ({roles}){agent}" if record["subject"] else "no valid token"


def _barrier(record: Mapping[str, Any]) -> str:
    statistics = "statistics hidden" if record["statistics_hidden"] else "statistics used"
    return f"{record['fence_reason']}; {statistics}" if record["fence_reason"] else statistics


def _relations(record: Mapping[str, Any]) -> Iterable[tuple[str, str, str, str]]:
    for label, how in record["relations"].items():
        columns = [f"{name} masked" for name in how.get("masked", ())]
        columns += [f"{name} denied" for name in how.get("denied", ())]
        kind = f"{render.KIND_WORDS.get(how['kind'], how['kind'])} ({how.get('barrier', '')})"
        yield label, kind, ", ".join(how["policies"]) or "none", "\n".join(columns)
