"""A `Report` → one HTML page that needs nothing else: no script, no network, charts as inline SVG.

Owns that nothing in a record can become markup: every text is escaped where it is put in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from rls.audit.charts import OUTCOME_ORDER, bars_over_time, heat_map
from rls.audit.report import Report

__all__ = ["report_html"]

_SUBJECTS, _RELATIONS, _SQL = 25, 16, 200

STYLE = (
    """
:root{--ink:#1c2430;--dim:#667085;--line:#e4e7ec;--paper:#fff;--back:#f6f7f9;--heat:21,94,239;
--allowed:#2e90fa;--denied:#98a2b3;--refused:#f79009;--rejected:#d92d20;--limited:#7a5af8;--failed:#667085}
@media(prefers-color-scheme:dark){:root{--ink:#e4e7ec;--dim:#98a2b3;--line:#344054;--paper:#161b26;--back:#0c111d;
--heat:83,177,253}}
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1040px;margin:0 auto;padding:32px 24px 64px}h1{font-size:26px;margin:0}h2{font-size:18px;margin:0 0 12px}
section{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:20px 24px;margin-top:20px;
overflow-x:auto}.dim{color:var(--dim)}.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(132px,1fr));gap:12px;margin-top:20px}
.tiles+.tiles{margin-top:12px}
.tile{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:10px 14px;flex:1 1 96px}
.tile b{display:block;font-size:21px;font-weight:600;font-variant-numeric:tabular-nums}
.tile i{display:inline-block;width:9px;height:9px;border-radius:2px;margin-right:6px}
table{border-collapse:collapse;width:100%;font-size:14px}th,td{text-align:left;padding:6px 14px 6px 0;
border-bottom:1px solid var(--line);vertical-align:top}thead th{color:var(--dim);font-weight:500;white-space:nowrap}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}td.t{white-space:nowrap;color:var(--dim)}td.s{white-space:nowrap}
code{font:13px/1.45 ui-monospace,monospace;overflow-wrap:anywhere}td code{display:block;min-width:15rem}
svg{width:100%;height:auto;display:block}
svg text{font:11px system-ui,sans-serif;fill:var(--dim)}svg .end{text-anchor:end}svg .grid{stroke:var(--line)}
svg .hit{fill:transparent}svg g:hover .hit{fill:var(--line)}
.heat{width:auto}.heat caption{text-align:left;color:var(--dim);padding-bottom:8px}.heat td{min-width:52px;
text-align:right;padding:6px 10px;border:2px solid var(--paper);border-radius:6px;font-variant-numeric:tabular-nums}
.heat thead th{padding:0 10px 6px;text-align:right}.heat tbody th{font-weight:400;white-space:nowrap;border:0}
.kind{display:inline-block;border-radius:99px;padding:1px 10px;font-size:12px;white-space:nowrap;
background:var(--refused);color:#1c2430}.good{color:var(--dim)}
"""
    + "".join(f".o-{o}{{fill:var(--{o});background:var(--{o})}}" for o in OUTCOME_ORDER)
    + "".join(f".l{n}{{background:rgba(var(--heat),{n * 0.16:.2f})}}" for n in range(1, 6))
)

KIND_WORDS = {
    "new_relation": "new relation",
    "refusals": "many refusals",
    "rejected_tokens": "rejected tokens",
    "enumeration": "values tried",
    "volume": "many rows",
}


def report_html(report: Report, *, title: str = "Audit report") -> str:
    """The page. Its style sheet follows the reader's light or dark setting, and it can be printed."""
    parts = [_tiles(report), _over_time(report), _unusual(report), _who_saw_what(report), _subjects(report)]
    parts += [_refused(report), _policies(report)]
    period = f"{_minute(report.since)} to {_minute(report.until)}, UTC" if report.since else "no records"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f'<h1>{escape(title)}</h1><p class="dim">{escape(period)}</p>{"".join(parts)}</main></body></html>\n'
    )


def _tiles(report: Report) -> str:
    totals = [("attempts", report.attempts), ("principals", report.principals), ("rows", report.rows)]
    outcomes = [(name, report.outcomes[name]) for name in OUTCOME_ORDER if name in report.outcomes]
    first = "".join(f'<div class="tile">{escape(label)}<b>{number:,}</b></div>' for label, number in totals)
    second = "".join(f'<div class="tile"><i class="o-{n}"></i>{n}<b>{number:,}</b></div>' for n, number in outcomes)
    return f'<div class="tiles">{first}</div><div class="tiles">{second}</div>'


def _over_time(report: Report) -> str:
    buckets = [(_minute(bucket.start), bucket.outcomes) for bucket in report.buckets]
    chart = bars_over_time(buckets, title="attempts over time")
    return _section(f"Attempts, every {_step(report.step)}", chart) if chart else ""


def _unusual(report: Report) -> str:
    rows = [
        (
            f'<span class="kind">{escape(KIND_WORDS[unusual.kind])}</span>',
            escape(unusual.subject or "—"),
            escape(unusual.message),
            escape(unusual.audit_ids[0][:8]),
            _minute(unusual.time),
        )
        for unusual in report.unusual
    ]
    if not rows:
        return _section("Unusual", '<p class="good">Nothing unusual.</p>')
    return _section("Unusual", _table(("", "principal", "what", "record", "when"), rows, times=(3, 4), whole=(0, 1)))


def _who_saw_what(report: Report) -> str:
    relations = list(report.relations)[:_RELATIONS]
    subjects = [s for s in report.subjects if s in report.access][:_SUBJECTS]
    if not relations:
        return ""
    rows = {s or "(no token)": {r: seen.attempts for r, seen in report.access[s].items()} for s in subjects}
    return _section("Who read what", heat_map(rows, relations, title="attempts by principal and relation"))


def _subjects(report: Report) -> str:
    rows = [
        (
            escape(name or "(no token)"),
            f"{s.attempts:,}",
            f"{s.rows:,}",
            f"{s.refused:,}",
            _minute(s.first),
            _minute(s.last),
        )
        for name, s in list(report.subjects.items())[:_SUBJECTS]
    ]
    head = ("principal", "attempts", "rows", "refused", "first", "last")
    body = _table(head, rows, numbers=(1, 2, 3), times=(4, 5))
    if report.agents:
        agents = [(escape(n), f"{s.attempts:,}", f"{s.rows:,}", f"{s.refused:,}") for n, s in report.agents.items()]
        body += _table(("agent", "attempts", "rows", "refused"), agents, numbers=(1, 2, 3))
    return _section("Principals", body)


def _refused(report: Report) -> str:
    if not report.refused:
        return _section("Refused", '<p class="good">Nothing was refused.</p>')
    codes = _table(("code", "attempts"), [(escape(c), f"{n:,}") for c, n in report.codes.items()], numbers=(1,))
    rows = [
        (
            _minute(r["time"]),
            escape(r["subject"] or "—"),
            escape(f"{r['outcome']} {r['code']}"),
            f"<code>{escape(_cut(r['sql']))}</code>",
        )
        for r in report.refused
    ]
    latest = _table(("when", "principal", "outcome", "query"), rows, times=(0,), whole=(1, 2))
    return _section("Refused", f'{codes}<p class="dim">The latest:</p>{latest}')


def _policies(report: Report) -> str:
    rows = [(escape(r), escape(p), f"{n:,}") for (r, p), n in list(report.policies.items())[:50]]
    body = _table(("relation", "policy", "decided"), rows, numbers=(2,)) if rows else ""
    if report.unused:
        unused = [(escape(relation), escape(policy)) for relation, policy in report.unused]
        body += '<p class="dim">Declared, and never decided anything:</p>' + _table(("relation", "policy"), unused)
    return _section("Policies", body) if body else ""


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Sequence[int] = (),
    times: Sequence[int] = (),
    whole: Sequence[int] = (),
) -> str:
    """A table of cells that are markup already; the columns in `whole` do not break."""
    kinds = {i: f' class="{name}"' for name, places in (("n", numbers), ("t", times), ("s", whole)) for i in places}
    top = "".join(f"<th{kinds.get(i, '')}>{escape(name)}</th>" for i, name in enumerate(head))
    body = "".join(
        "<tr>" + "".join(f"<td{kinds.get(i, '')}>{cell}</td>" for i, cell in enumerate(row)) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _minute(time: str) -> str:
    return escape(time[:16].replace("T", " "))


def _cut(sql: str) -> str:
    return sql if len(sql) <= _SQL else f"{sql[: _SQL - 1]}…"


def _step(seconds: int) -> str:
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds // size
            return name if count == 1 else f"{count} {name}s"
    return f"{seconds} s"
