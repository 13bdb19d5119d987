"""A `Result` or an `Explanation` → HTML for a notebook: self-contained, every text escaped.

Owns that showing a result costs no more than what is shown: at most so many rows, columns and characters of a value,
with the counts of all beside them.
"""

from __future__ import annotations

from typing import Any

from rls.cli.cells import counted, is_number
from rls.cli.sql_view import Span, side_by_side
from rls.errors import EngineInvalid
from rls.explanation import Explanation, describe_barrier
from rls.lab.html import Html, fragment, table, tag
from rls.lab.world.values import show
from rls.result import Result

__all__ = ["ROWS", "explanation_html", "result_html"]

ROWS = 50
_COLUMNS = 60
_CHARACTERS = 300
_KINDS = {"always": ("all rows", "good"), "conditional": ("some rows", "warn"), "never": ("no rows", "bad")}


def result_html(result: Result) -> str:
    """The first rows as a table, and how many there are."""
    names, types = result.columns[:_COLUMNS], result.types[:_COLUMNS]
    counts = [counted(result.row_count, "row")]
    try:
        rows = result.first(ROWS)
    except EngineInvalid as error:
        rows = []
        counts.append(f"not shown: {error}")
    if len(rows) < result.row_count and rows:
        counts[0] = f"the first {len(rows)} of {counts[0]}"
    if len(names) < len(result.columns):
        counts.append(f"the first {len(names)} of {len(result.columns)} columns")
    right = [is_number(t) for t in types]
    head = [
        tag("th", name, Html("<br>"), tag("small", _cut(kind, 40), _class="soft"), _class="number" if number else None)
        for name, kind, number in zip(names, types, right, strict=True)
    ]
    body = [
        tag("tr", *(_cell(value, number) for value, number in zip(row[:_COLUMNS], right, strict=True))) for row in rows
    ]
    shown = tag("div", tag("table", tag("tr", *head), *body), _class="scroll")
    return fragment(shown, tag("p", " · ".join(counts), _class="soft"))


def explanation_html(found: Explanation) -> str:
    """Before and after, what is seen of each relation and why, the barrier, the values that are bound."""
    content: list[Html] = []
    if found.sql:
        rows = [
            (tag("pre", *map(_span, row.before)), tag("pre", *map(_span, row.after)))
            for row in side_by_side(found.original, found.splices)
        ]
        content.append(tag("div", table(("before", "after"), rows), _class="sql"))
    grants = []
    for label, grant in sorted(found.grants.items()):
        words, style = _KINDS[grant.kind]
        columns = [tag("div", f"{name} masked", _class="warn") for name in found.masked[label]]
        columns += [tag("div", f"{name} denied", _class="bad") for name in found.denied[label]]
        policies = ", ".join(grant.policies) or ("public" if grant.kind == "always" else "none")
        why = "; ".join(grant.reasons)
        sees = tag("span", words, _class=style)
        grants.append((label, sees, policies, Html("".join(columns)) if columns else "all as they are", why))
    if not grants:
        return fragment(*content, tag("p", "the query reads no relation", _class="soft"))
    content.append(table(("relation", "sees", "deciding policies", "columns", ""), grants))
    if found.sql:
        content += [tag("p", tag("b", "barrier "), "; ".join(describe_barrier(found)))]
    for name, value in sorted(found.parameters.items()):
        content.append(tag("p", tag("code", f"${name} = {_cut(show(value))}"), _class="soft"))
    return fragment(*content)


def _cell(value: Any, number: bool) -> Html:
    if value is None:
        return tag("td", "NULL", _class="number soft" if number else "soft")
    return tag("td", _cut(show(value)), _class="number" if number else None)


def _cut(text: str, most: int = _CHARACTERS) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _span(span: Span) -> Html:
    return tag("span", span.text, _class=None if span.mark == "text" else f"sql-{span.mark}")
