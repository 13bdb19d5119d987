"""A `Diff` → Markdown for a pull request: what changes for whom, and what somebody has to answer for.

Owns that a table stays one: what comes from files and rows is escaped, and long texts are cut.
"""

from __future__ import annotations

from collections.abc import Sequence

from rls.lab.diff.compare import Change, Diff
from rls.lab.world.values import show

__all__ = ["count_text", "key_text", "markdown_diff", "summary_text"]

_LONGEST = 120
_ROWS = 200


def markdown_diff(found: Diff, missing: Sequence[Change], *, old: str, new: str) -> str:
    """The diff as Markdown; `missing` are the widenings nobody acknowledged."""
    lines = [f"### Row security: `{old}` → `{new}`", ""]
    if not found.changes and not found.policies:
        return "\n".join([*lines, "Nothing changes for anybody.", ""])
    verdict = (
        f"**{len(missing)} widening{'s' if len(missing) != 1 else ''} that nobody acknowledged.**"
        if missing
        else f"{len(found.widenings)} widenings, all acknowledged."
        if found.widenings
        else "Nobody sees more than before."
    )
    scope = f"{len(found.personas)} personas, {len(found.relations)} tables"
    lines += [f"{verdict} Compared: {scope}, on the rows of the database.", ""]
    if found.changes:
        lines += [
            "| relation | persona | gained | lost | unchanged | for example | columns | |",
            "|---|---|--:|--:|--:|---|---|---|",
        ]
        for change in found.changes[:_ROWS]:
            mark = "⚠️ not acknowledged" if change in missing else "wider" if change.widens else ""
            cells = [
                change.relation,
                change.persona,
                count_text(change.gained, "+"),
                count_text(change.lost, "-"),
                count_text(change.unchanged),
                change.error or key_text(change),
                "; ".join(f"{c.column}: {c.before} → {c.after}" for c in change.columns),
                mark,
            ]
            lines.append("| " + " | ".join(map(_cell, cells)) + " |")
        if len(found.changes) > _ROWS:
            lines.append(f"\n… and {len(found.changes) - _ROWS} more.")
        lines.append("")
    if found.policies:
        lines += [
            "<details><summary>Policies and columns</summary>",
            "",
            "| of | what | before | after |",
            "|---|---|---|---|",
        ]
        for policy in found.policies:
            cells = [policy.target, policy.what, policy.before or "—", policy.after or "—"]
            lines.append("| " + " | ".join(map(_cell, cells)) + " |")
        lines += ["", "</details>", ""]
    return "\n".join(lines)


def count_text(number: int | None, sign: str = "") -> str:
    """A count for people; "" for none."""
    if number is None:
        return "?"
    return f"{sign}{number:,}" if number else ""


def key_text(change: Change) -> str:
    """Samples of keys: `id 3, 7`, and what of them where some are gained and some lost."""
    parts = []
    both = change.gained_keys and change.lost_keys
    for keys, what in ((change.gained_keys, "gained"), (change.lost_keys, "lost")):
        if keys:
            shown = ", ".join(show(k[0]) if len(k) == 1 else "(" + ", ".join(map(show, k)) + ")" for k in keys)
            parts.append(f"{shown} {what}" if both else shown)
    return f"{', '.join(change.key)} {'; '.join(parts)}" if parts else ""


def summary_text(found: Diff) -> str:
    """How much changes for how many, in one line."""
    if not found.changes:
        return f"nobody sees more or less  ({len(found.personas)} personas, {len(found.relations)} tables)"
    who = len({change.persona for change in found.changes})
    what = len({change.relation for change in found.changes})
    gained, lost = (sum(getattr(c, name) or 0 for c in found.changes) for name in ("gained", "lost"))
    return (
        f"{who} of {len(found.personas)} personas, {what} of {len(found.relations)} tables: "
        f"{gained:,} rows gained, {lost:,} lost"
    )


def _cell(text: str) -> str:
    plain = " ".join(text.split())
    plain = plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…"
    for mark in "\\|<>`*_[]":
        plain = plain.replace(mark, "\\" + mark)
    return plain
