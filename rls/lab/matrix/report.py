"""A matrix → an HTML page: a picture of who sees how much, zeros with their reasons, masked and absent columns."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rls.lab.html import Html, page, table, tag
from rls.lab.matrix.compute import Cell, Matrix, MatrixRow

__all__ = ["compact", "html_matrix", "matrix_parts", "percent", "same_columns", "zero_reasons"]


_MANY = 16  # personas from which on cells are small: a picture is looked at as a whole


def percent(part: float) -> str:
    """A share in few characters; nothing but all is 100, nothing but none is 0.

    >>> percent(0.25), percent(0.9999), percent(0.00001), percent(1.0), percent(0.0)
    ('25%', '99%', '<1%', '100%', '0%')
    """
    if 0 < part < 0.01:
        return "<1%"
    return f"{min(int(part * 100 + 0.5), 99 if part < 1 else 100)}%"


def compact(count: int) -> str:
    """A count in at most five characters.

    >>> compact(999), compact(12_345), compact(1_250_000), compact(10_000_000)
    ('999', '12k', '1.2M', '10M')
    """
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.1f}{letter}" if count < 10 * size else f"{count // size}{letter}"
    return str(count)


def zero_reasons(matrix: Matrix) -> Iterator[tuple[list[str], list[str], str]]:
    """Tables, the personas who see none of their rows, and the reason they have in common."""
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for row in matrix.rows:
        reasons: dict[str, list[str]] = {}
        for persona, cell in row.cells.items():
            if not cell.visible and cell.reason:
                reasons.setdefault(cell.reason, []).append(persona)
        for reason, personas in reasons.items():
            groups.setdefault((reason, tuple(personas)), []).append(row.label)
    for (reason, who), labels in groups.items():
        yield labels, list(who), reason


def same_columns(matrix: Matrix) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...], list[str]]]:
    """Table, masked and absent columns, and the personas they are so for; those who see no row left out."""
    for row in matrix.rows:
        groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = {}
        for persona, cell in row.cells.items():
            if cell.visible and (cell.masked or cell.absent):
                groups.setdefault((cell.masked, cell.absent), []).append(persona)
        for (masked, absent), personas in groups.items():
            yield row.label, masked, absent, personas


def html_matrix(matrix: Matrix) -> str:
    """The page."""
    about = f"visible rows of each table, by persona; policies {matrix.policy_version}"
    return page(
        "Who sees how much", tag("h1", "Who sees how much"), tag("p", about, _class="soft"), *matrix_parts(matrix)
    )


def matrix_parts(matrix: Matrix) -> list[Html]:
    """The picture, the reasons and the columns."""
    told = ("", "rows", "nobody sees") if any(row.unseen for row in matrix.rows) else ("", "rows")
    head = tag("tr", *(tag("th", name) for name in told), *(tag("th", name, _class="name") for name in matrix.personas))
    grid = "grid dense" if len(matrix.personas) > _MANY else "grid"
    rows = [_row(matrix, row) for row in matrix.rows]
    open_ = [row.label for row in matrix.rows if row.open_to_all]
    unseen = [row for row in matrix.rows if row.unseen]
    cards = [
        _card("personas", len(matrix.personas)),
        _card("tables", len(matrix.rows)),
        _card("tables everyone sees", len(open_), warn=bool(open_)),
        _card("rows nobody sees", f"{sum(r.unseen or 0 for r in unseen):,}", warn=bool(unseen)),
    ]
    content = [
        tag("div", *cards, _class="cards"),
        tag("div", tag("table", head, *rows, _class=grid), _class="scroll"),
        _legend(),
    ]
    if open_:
        content += [tag("h2", "Tables that everyone sees in full"), tag("p", ", ".join(open_))]
    zeros = [(", ".join(labels), ", ".join(personas), reason) for labels, personas, reason in zero_reasons(matrix)]
    if zeros:
        content += [tag("h2", "Why nothing is seen"), table(("tables", "personas", "reason"), zeros)]
    columns = [
        (label, ", ".join(personas), ", ".join(masked), ", ".join(absent))
        for label, masked, absent, personas in same_columns(matrix)
    ]
    if columns:
        content += [tag("h2", "Columns"), table(("table", "personas who see rows", "masked", "absent"), columns)]
    return content


def _row(matrix: Matrix, row: MatrixRow) -> Html:
    name = tag("th", row.label, _class="row open" if row.open_to_all else "row")
    cells = [_cell(row, persona, row.cells[persona]) for persona in matrix.personas]
    counts = [tag("td", f"{row.total:,}", _class="plain")]
    if any(each.unseen for each in matrix.rows):
        counts.append(tag("td", f"{row.unseen:,}" if row.unseen else "", _class="plain warn"))
    return tag("tr", name, *counts, *cells)


def _cell(row: MatrixRow, persona: str, cell: Cell) -> Html:
    share = row.share(persona)
    told = [f"{persona}, {row.label}: {'?' if cell.visible is None else f'{cell.visible:,}'} of {row.total:,} rows"]
    told += [
        f"{word} {', '.join(names)}" for word, names in (("masked:", cell.masked), ("absent:", cell.absent)) if names
    ]
    told += [f"by {', '.join(cell.policies)}"] if cell.policies else []
    told += [cell.reason] if cell.reason else []
    title = "\n".join(told)
    if cell.visible is None or cell.kind == "broken":
        return tag("td", "!", _class="error", title=title)
    if not cell.visible:
        return tag("td", "·" if cell.kind != "undecided" else "⊘", _class="blank", title=title)
    heat = _heat(share or 0.0)
    hidden = len(cell.masked) + len(cell.absent)
    count = tag("small", Html("<br>"), compact(cell.visible), f" · {hidden} col" if hidden else "")
    shown = percent(share or 0.0)
    return tag("td", tag("b", shown), count, _class="heat", style=f"--heat:{heat:.2f}", title=title)


def _heat(share: float) -> float:
    """How strong a colour is: the root, since most shares are small; a single row must not look like none."""
    return max(0.12, math.sqrt(share))


def _legend() -> Html:
    steps = [
        tag("td", label, _class="heat", style=f"--heat:{_heat(share):.2f}")
        for label, share in (("<1%", 0.001), ("5%", 0.05), ("25%", 0.25), ("50%", 0.5), ("75%", 0.75), ("100%", 1.0))
    ]
    steps = [tag("table", tag("tr", *steps), _class="grid legend")]
    words = (
        "· sees no row; ⊘ nobody decided, refused; “2 col” are masked or absent columns; "
        "the pointer on a cell shows the policies"
    )
    return tag("div", *steps, tag("p", words, _class="soft legend"))


def _card(label: str, value: object, *, warn: bool = False) -> Html:
    return tag("div", tag("b", value, _class="warn" if warn else None), tag("span", label), _class="card")
