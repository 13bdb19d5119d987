"""A `Diff` → HTML: who sees more, less or other columns, the rows as a bar, and what the policies say differently."""

from __future__ import annotations

from collections.abc import Sequence

from rls.lab.diff.changes import PolicyChange
from rls.lab.diff.compare import Change, Diff
from rls.lab.diff.report import count_text, key_text
from rls.lab.html import Html, page, table, tag

__all__ = ["diff_parts", "html_diff"]


def html_diff(found: Diff, missing: Sequence[Change], *, old: str, new: str) -> str:
    """The page; `missing` are the widenings nobody acknowledged."""
    about = f"{old} → {new}, on the rows of the database"
    return page("Who sees more or less", tag("h1", "Who sees more or less"), tag("p", about, _class="soft"),
                *diff_parts(found, missing))  # fmt: skip


def diff_parts(found: Diff, missing: Sequence[Change] | None = None) -> list[Html]:
    """The counts, a line per change, the policies; without `missing`, nothing is said of what is acknowledged."""
    wider = len(found.widenings)
    cards = [
        _card("personas", len(found.personas)),
        _card("tables", len(found.relations)),
        _card("changes", len(found.changes)),
        _card("widenings", wider, "warn" if wider else "good"),
    ]
    if missing is not None:
        cards.append(_card("not acknowledged", len(missing), "bad" if missing else "good"))
    parts = [tag("div", *cards, _class="cards")]
    if found.changes:
        columns = ["relation", "persona", "gained", "lost", "kept", "", "for example", "columns", ""]
        rows = [_row(change, missing) for change in found.changes]
        parts.append(table(columns, rows, numbers=("gained", "lost", "kept")))
    else:
        parts.append(tag("p", "nobody sees more or less", _class="good"))
    if found.policies:
        parts.append(tag("h2", "Policies and columns"))
        parts.append(table(("", "of", "what", "says"), map(_policy, found.policies)))
    return parts


def _row(change: Change, missing: Sequence[Change] | None) -> tuple[object, ...]:
    columns = [tag("div", f"{c.column}: {c.before} → {c.after}") for c in change.columns]
    mark: object = ""
    if change.widens:
        unanswered = missing is None or change in missing
        mark = tag("b", "wider", _class="bad") if unanswered else tag("span", "acknowledged", _class="soft")
    example = tag("span", change.error or key_text(change), _class="bad" if change.error else "nowrap")
    return (
        change.relation,
        change.persona,
        tag("span", count_text(change.gained, "+"), _class="bad" if change.widens else None),
        count_text(change.lost, "-"),
        count_text(change.unchanged),
        _bar(change),
        example,
        Html("".join(columns)),
        mark,
    )


def _bar(change: Change) -> Html:
    """Kept, gained and lost rows as parts of one bar; the numbers stand beside it."""
    parts = [("kept", change.unchanged or 0), ("gained", change.gained or 0), ("lost", change.lost or 0)]
    whole = sum(count for _, count in parts)
    if not whole:
        return Html("")
    # A single row must not look like none.
    pieces = [tag("span", _class=name, style=f"flex:{max(count / whole, 0.02):.3f}") for name, count in parts if count]
    return tag("div", *pieces, _class="bar")


def _policy(change: PolicyChange) -> tuple[object, ...]:
    style = {"added": "good", "removed": "bad", "changed": "warn"}[change.kind]
    says = [tag("del", tag("code", change.before))] if change.before else []
    says += [tag("ins", tag("code", change.after))] if change.after else []
    return tag("span", change.kind, _class=style), change.target, change.what, Html("".join(says))


def _card(label: str, value: object, style: str | None = None) -> Html:
    return tag("div", tag("b", value, _class=style), tag("span", label), _class="card")
