"""Numbers → inline SVG: bars over time, a heat map. Plain text out; every label is escaped here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["OUTCOME_ORDER", "bars_over_time", "heat_map"]

OUTCOME_ORDER = ("allowed", "denied", "refused", "rejected", "limited", "failed")
_HEIGHT, _WIDTH, _LEFT, _BELOW = 180, 900, 44, 34


def bars_over_time(buckets: Sequence[tuple[str, Mapping[str, int]]], *, title: str) -> str:
    """Stacked bars: a label and counts per outcome each. Classes `o-allowed`, … are for the style sheet to colour."""
    most = max((sum(counts.values()) for _, counts in buckets), default=0)
    if not most:
        return ""
    width = (_WIDTH - _LEFT) / len(buckets)
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + _BELOW}" role="img" aria-label="{escape(title)}">',
        *(_line(most, share) for share in (0.0, 0.5, 1.0)),
    ]
    for index, (label, counts) in enumerate(buckets):
        bottom = float(_HEIGHT)
        left = _LEFT + index * width
        listed = ", ".join(f"{counts[name]:,} {name}" for name in OUTCOME_ORDER if counts.get(name))
        parts.append(f"<g><title>{escape(label)}: {escape(listed or 'nothing')}</title>")
        parts.append(f'<rect x="{left:.1f}" y="0" width="{width:.1f}" height="{_HEIGHT}" class="hit"/>')
        for name in OUTCOME_ORDER:
            height = counts.get(name, 0) / most * (_HEIGHT - 14)
            bottom -= height
            if height:
                size = f'width="{max(1.0, width - 2):.1f}" height="{max(height, 1.5):.1f}"'
                parts.append(f'<rect x="{left + 1:.1f}" y="{bottom:.1f}" {size} class="o-{name}"/>')
        parts.append("</g>")
    every = max(1, len(buckets) // 6)
    for index in range(0, len(buckets), every):
        at = _LEFT + index * width
        if at < _WIDTH - 100:  # what a label takes
            parts.append(f'<text x="{at:.1f}" y="{_HEIGHT + 18}">{escape(buckets[index][0])}</text>')
    return "".join([*parts, "</svg>"])


def _line(most: int, share: float) -> str:
    y = _HEIGHT - share * (_HEIGHT - 14)
    return (
        f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH}" y2="{y:.1f}" class="grid"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" class="end">{round(most * share):,}</text>'
    )


def heat_map(rows: Mapping[str, Mapping[str, int]], columns: Sequence[str], *, title: str) -> str:
    """A table whose cells are the darker the larger their number; the empty ones say nothing."""
    most = max((count for row in rows.values() for count in row.values()), default=0)
    head = "".join(f'<th scope="col"><span>{escape(column)}</span></th>' for column in columns)
    body = []
    for name, row in rows.items():
        cells = "".join(_cell(row.get(column, 0), most) for column in columns)
        body.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    return (
        f'<table class="heat"><caption>{escape(title)}</caption><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table>"
    )


def _cell(count: int, most: int) -> str:
    if not count:
        return "<td></td>"
    # By its root, so that the few are still seen beside the many.
    level = min(5, 1 + int(4.999 * (count / most) ** 0.5))
    return f'<td class="l{level}">{count:,}</td>'
