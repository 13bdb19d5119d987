"""What a terminal shows. The only module that imports rich; commands hand it values, it hands back nothing.

Owns three promises: colours only where a terminal can show them (NO_COLOR and pipes give plain text), 80 columns are
enough to read, and a text that came from outside cannot steer the terminal (control characters are shown, not sent).
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any, Literal, cast

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from rls.cli.sql_view import Row, Span, wrap
from rls.policy.grant import Grant

__all__ = [
    "KIND_WORDS",
    "bar",
    "console",
    "counts",
    "facts",
    "grant_table",
    "grid",
    "heading",
    "heat",
    "indented",
    "labelled",
    "parameter_lines",
    "print_error",
    "print_note",
    "progress",
    "share",
    "sql_table",
    "sql_text",
    "styled",
    "table",
    "visible",
    "wide_table",
]

THEME = Theme(
    {
        "error": "bold red",
        "warning": "bold yellow",
        "good": "bold green",
        "code": "red",
        "place": "cyan",
        "note": "dim",
        "title": "bold",
        "name": "bold cyan",
        "sql.keyword": "bold blue",
        "sql.string": "yellow",
        "sql.number": "yellow",
        "sql.comment": "dim",
        "sql.parameter": "bold magenta",
        "sql.replaced": "bold black on yellow",
        "sql.guard": "green",
        "sql.guard_keyword": "bold green",
        "bar.kept": "dim",
        "bar.gained": "#f0883e",
        "bar.lost": "cyan",
        "kind.always": "bold green",
        "kind.conditional": "bold yellow",
        "kind.never": "bold red",
        # Both colours are said, so that they read on dark and on light terminals.
        "heat.0": "dim",
        "heat.1": "#d9772b",
        "heat.2": "black on #f3cda2",
        "heat.3": "black on #f0aa66",
        "heat.4": "black on #e5802f",
        "heat.5": "bold white on #b8430c",
    }
)

KIND_WORDS = {"always": "all rows", "conditional": "some rows", "never": "no rows"}

WIDEST_COLUMN = 40
_GAP = 3  # what rich puts between two columns


def console(*, stderr: bool = False, plain: bool = False) -> Console:
    """A console for the process's output; it finds out itself what the terminal can do, unless it is to be `plain`."""
    terminal = False if plain else None
    # With NO_COLOR rich would still write bold and faint.
    colours: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"
    made = _Console(theme=THEME, stderr=stderr, highlight=False, emoji=False, markup=False, force_jupyter=False,
                    force_terminal=terminal, color_system=colours)  # fmt: skip
    if not made.is_terminal:
        made.file = cast(IO[str], _Stripped(made.file))
    return made


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # rich would end the program with exit code 1, which here means findings; `run` knows what to do.
        raise BrokenPipeError


class _Stripped:
    """A pipe without the spaces that fill up a terminal's lines."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(_TRAILING.sub("", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


_TRAILING = re.compile(r" +(?=\n)")


def print_error(code: str, message: str, *, place: str = "") -> None:
    """`error code: message` on standard error, as one line (a terminal wraps it)."""
    parts = [(f"{place}: ", "place")] if place else []
    text = Text.assemble(*parts, ("error ", "error"), (code, "code"), f": {visible(message)}")
    console(stderr=True).print(text, soft_wrap=True)


def print_note(note: str) -> None:
    """A remark under an error, on standard error: one line, or a line of the user's text and carets under it."""
    line, excerpt, carets = note.partition("\n")
    out = console(stderr=True)
    out.print(Text(f"  {visible(line)}", "" if excerpt else "note"), soft_wrap=True)
    if excerpt:
        out.print(Text(f"  {carets}", "error"), soft_wrap=True)


def heading(out: Console, title: str, text: str = "", *, number: int | None = None) -> None:
    """A rule with a title, and an explanation below."""
    shown = title if number is None else f"{number}  {title}"
    out.print()
    out.print(Rule(Text(shown, "title"), align="left", style="note"))
    if text:
        out.print(Text(text, "note"))
        out.print()


def styled(*parts: str | tuple[str, str]) -> Text:
    """A text of plain parts and (part, style) pairs; control characters are made visible."""
    return Text.assemble(*(visible(p) if isinstance(p, str) else (visible(p[0]), p[1]) for p in parts))


def visible(text: str) -> str:
    """The text with control characters (escape sequences, bells, right-to-left marks) as `\\xNN`; new lines stay.

    >>> visible("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        ascii(c)[1:-1] if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in text
    )


def table(
    *columns: str | tuple[str, str],
    rows: Iterable[Sequence[str | Text]],
    title: str = "",
    one_line: Sequence[str] = (),
) -> Table:
    """A table; a column given as (name, "right") is aligned right; those in `one_line` are cut where others wrap."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="title")
    made.title, made.title_justify = title or None, "left"
    for column in columns:
        name, justify = (column, "left") if isinstance(column, str) else column
        side: Literal["left", "right"] = "right" if justify == "right" else "left"
        cut = name in one_line
        made.add_column(Text(visible(name)), justify=side, overflow="ellipsis" if cut else "fold", no_wrap=cut)
    for row in rows:
        made.add_row(*(Text(visible(c)) if isinstance(c, str) else c for c in row))
    return made


def facts(rows: Iterable[tuple[str, Text]]) -> Table:
    """Lines of a name and what there is to say; long ones continue beneath their beginning."""
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style="note", no_wrap=True)
    made.add_column(overflow="fold")
    for name, text in rows:
        made.add_row(visible(name), text)
    return made


def counts(rows: Iterable[tuple[Text, Text]]) -> Table:
    """Numbers, and what they count, which continues beneath its beginning."""
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(justify="right", no_wrap=True)
    made.add_column(overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def wide_table(
    out: Console, columns: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]], *, nulls: str
) -> tuple[Table, int]:
    """A result's table, and how many of its `columns` (name, is it a number) are shown.

    On a terminal, columns that do not fit are left out and long cells end in `…`; in a pipe everything is there.
    """
    widths = [
        max([Text(visible(name)).cell_len, *(Text(visible(row[i])).cell_len for row in rows)])
        for i, (name, _) in enumerate(columns)
    ]
    shown = len(columns)
    if out.is_terminal:
        widths = [min(w, WIDEST_COLUMN) for w in widths]
        left, shown = out.width, 0
        for width in widths:
            left -= width + _GAP
            if left < 0 and shown:
                break
            shown += 1
    else:
        out.width = max(out.width, sum(widths) + _GAP * len(widths))
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="title")
    for (name, number), width in zip(columns[:shown], widths, strict=False):
        justify = "right" if number else "left"
        made.add_column(Text(visible(name)), justify=justify, no_wrap=True, overflow="ellipsis", max_width=width)  # type: ignore[arg-type]
    for row in rows:
        made.add_row(*(Text(nulls, "note") if c == nulls else Text(visible(c).replace("\n", "⏎")) for c in row[:shown]))
    return made, shown


def sql_table(out: Console, rows: Sequence[Row], *, titles: tuple[str, str] = ("before", "after")) -> RenderableType:
    """Two texts beside each other, row by row; what was replaced and what replaced it are marked."""
    numbers = len(str(rows[-1].line)) if rows else 1
    room = out.width - numbers - 4
    # The guards are long: the right column gets more than half of the room.
    longest = max((sum(len(s.text) for s in row.before) for row in rows), default=0)
    left = max(min(longest, room * 2 // 5), len(titles[0]))
    made = Table(box=None, pad_edge=False, header_style="title", padding=(0, 2, 0, 0))
    made.add_column("", justify="right", style="note", width=numbers)
    made.add_column(titles[0], width=left, overflow="fold")
    made.add_column(titles[1], width=room - left, overflow="fold")
    for row in rows:
        before, after = wrap(row.before, left), wrap(row.after, room - left)
        made.add_row(str(row.line), *(Text("\n").join(map(_text, lines)) for lines in (before, after)))
    return Group(made)


def grant_table(grants: Mapping[str, Grant]) -> RenderableType:
    """What a principal may see of each relation: rows, the policies that decided, columns; reasons below."""
    rows: list[tuple[Text | str, ...]] = []
    for label, grant in sorted(grants.items()):
        columns = Text()
        for name in sorted(grant.masks):
            columns.append(f"{visible(name)} masked\n", "warning")
        for name in sorted(grant.denied):
            columns.append(f"{visible(name)} denied\n", "error")
        columns.rstrip()
        kind = Text(KIND_WORDS[grant.kind], f"kind.{grant.kind}")
        policies = ", ".join(grant.policies) or ("public" if grant.kind == "always" else "none")
        rows.append((Text(visible(label), "name"), kind, policies, columns or Text("all as they are", "note")))
    reasons = [
        Text.assemble((f"{visible(label)}: ", "name"), (visible(reason), "note"))
        for label, grant in sorted(grants.items())
        for reason in grant.reasons
    ]
    return Group(table("relation", "sees", "deciding policies", "columns", rows=rows), *reasons)


def heat(share: float) -> str:
    """The style of a share of rows, from none to all; finer where shares are small, as most are.

    >>> heat(0.0), heat(0.001), heat(0.2), heat(0.6), heat(1.0)
    ('heat.0', 'heat.1', 'heat.2', 'heat.4', 'heat.5')
    """
    return f"heat.{sum(share > limit for limit in (0, 0.05, 0.25, 0.5)) if share < 1 else 5}"


def bar(parts: Sequence[tuple[int, str, str]], width: int) -> Text:
    """Counts with the letter and style to draw them with, as one bar; a part that is there is at least one letter.

    >>> bar([(900, "█", "good"), (1, "░", "note"), (0, "x", "error")], 8).plain
    '███████░'
    """
    there = [part for part in parts if part[0]]
    whole = sum(count for count, _, _ in there)
    widths = [max(1, round(width * count / whole)) for count, _, _ in there]
    while sum(widths) > width:
        widths[widths.index(max(widths))] -= 1
    return Text.assemble(*((mark * size, style) for (_, mark, style), size in zip(there, widths, strict=True)))


def grid(*columns: str | tuple[str, str], rows: Iterable[Sequence[Text]]) -> Table:
    """Cells close together, for pictures made of text; columns are centred unless given with "left" or "right"."""
    titled = any(column if isinstance(column, str) else column[0] for column in columns)
    made = Table(box=None, pad_edge=False, header_style="title", padding=(0, 1, 0, 0), collapse_padding=True)
    made.show_header = titled
    for column in columns:
        name, justify = (column, "center") if isinstance(column, str) else column
        made.add_column(Text(visible(name)), justify=cast(Any, justify), no_wrap=True)
    for row in rows:
        made.add_row(*row)
    return made


def share(part: int, whole: int) -> Text:
    """A count with its share of the whole, coloured from none (red) to all (green).

    >>> share(25, 100).plain
    '25  25 %'
    """
    percent = 100 * part / whole if whole else 100.0
    if not part:
        style, words = "kind.never", "—"
    elif part >= whole:
        style, words = "kind.always", "all"
    else:
        style, words = ("green" if percent >= 10 else "yellow"), (f"{percent:.0f} %" if percent >= 1 else "<1 %")
    return Text.assemble((f"{part:,} ", style), (f"{words:>5}", "note"))


@contextmanager
def progress(out: Console, title: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar that is gone when it is done, on a terminal; yields what takes (step, done, of how many)."""
    bar = Progress(
        BarColumn(24),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=out,
        transient=True,
        disable=not out.is_terminal,
    )
    with bar:
        task = bar.add_task(title, total=None)

        def show(step: str, done: int, total: int) -> None:
            bar.update(task, description=f"{done:,}/{total:,}  {title}: {visible(step)}", completed=done, total=total)

        yield show


def indented(what: RenderableType, by: int = 2) -> RenderableType:
    """Something moved to the right."""
    return Padding(what, (0, 0, 0, by))


def labelled(label: tuple[str, str], what: RenderableType, width: int) -> RenderableType:
    """Something beside a short word and its style, which stands in a column of this width."""
    made = Table.grid()
    made.add_column(width=width, no_wrap=True)
    made.add_column(overflow="fold")
    made.add_row(styled(label), what)
    return made


def parameter_lines(parameters: Mapping[str, object]) -> Text:
    """`$name = value` per line, for people who may know the values."""
    shown = Text()
    for name, value in sorted(parameters.items()):
        shown.append(f"${name}", "sql.parameter")
        shown.append(f" = {visible(_sql_value(value))}\n")
    shown.rstrip()
    return shown


def _sql_value(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case list() | tuple():
            return "[" + ", ".join(map(_sql_value, value)) + "]"
        case bool() | int() | float():
            return str(value).lower()
        case _:
            return "'" + str(value).replace("'", "''") + "'"


def sql_text(spans: Iterable[Span]) -> Text:
    """SQL in colours."""
    return _text(spans)


def _text(spans: Iterable[Span]) -> Text:
    return Text.assemble(*((visible(s.text), "" if s.mark == "text" else f"sql.{s.mark}") for s in spans))
