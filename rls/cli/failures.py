"""Errors → what a terminal shows: one line with the code, for SQL the text with a caret under the position, or JSON.

Takes an error and how to show it; returns the exit code. Owns that nothing but an error's public part is printed:
`detail` is for the audit record, never for the terminal.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from rls.cli.cells import cells
from rls.errors import PolicyInvalid, Position, QueryRefused, RlsError

__all__ = [
    "caret_lines",
    "file_excerpt",
    "pointing_into",
    "pointing_into_file",
    "report",
    "report_defect",
    "report_usage",
]

USAGE = 2
EXCERPT_WIDTH = 76


@contextmanager
def pointing_into(sql: str) -> Iterator[None]:
    """Refusals of `sql` that pass through get a note that shows where in the text it is."""
    try:
        yield
    except QueryRefused as error:
        if error.position is not None:
            error.add_note("\n".join(caret_lines(sql, error.position)))
        raise


@contextmanager
def pointing_into_file() -> Iterator[None]:
    """Errors of policy files that pass through get a note that shows the line; for commands of the files' author."""
    try:
        yield
    except PolicyInvalid as error:
        excerpt = file_excerpt(error.file, error.line, error.column)
        if excerpt:
            error.add_note("\n".join(excerpt))
        raise


def file_excerpt(file: str, line: int, column: int) -> tuple[str, str] | None:
    """A line of a file and a caret under its column; None where there is no such line to be read."""
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    lines = text.split("\n")
    if line > len(lines) or not lines[line - 1].strip():
        return None
    return caret_lines(lines[line - 1], Position(column - 1, 1, column))


def report(error: RlsError, *, as_json: bool) -> int:
    """Print an error of the library; returns its exit code."""
    if as_json:
        _print_json(error.to_dict(), error.exit_code)
        return error.exit_code
    from rls.cli import render

    message = str(error)
    if isinstance(error, PolicyInvalid):
        # The place comes first, as compilers print it, so that editors and terminals make a link of it.
        place, message = f"{error.file}:{error.line}:{error.column}", RlsError.__str__(error)
        render.print_error(error.code, message, place=place)
    else:
        render.print_error(error.code, message)
    # The excerpt belongs to the message; the rest (the audit record's id) follows.
    for note in sorted(getattr(error, "__notes__", ()), key=lambda n: "\n" not in n):
        render.print_note(note)
    return error.exit_code


def report_usage(error: click.ClickException, *, as_json: bool) -> int:
    """Print what is wrong with the command line; returns 2."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and not as_json:
        click.echo(error.format_message(), err=True)
        return USAGE
    message = " ".join(error.format_message().split())
    message = (message[:1].lower() + message[1:]).rstrip(".")
    hint = None
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f"see `{error.ctx.command_path} --help`"
    if as_json:
        _print_json({"code": "cli.usage", "message": message, "hint": hint}, USAGE)
        return USAGE
    from rls.cli import render

    render.print_error("cli.usage", f"{message}; {hint}" if hint else message)
    return USAGE


def report_defect(*, as_json: bool) -> None:
    """Print that the program itself is wrong. Its exception may hold values of rows, so it is not shown."""
    message, hint = "this is a defect of rls, not of your input", "set RLS_TRACEBACK=1 to see where it happens"
    if as_json:
        _print_json({"code": "cli.defect", "message": message, "hint": hint}, 6)
        return
    from rls.cli import render

    render.print_error("cli.defect", f"{message}; {hint}")


def caret_lines(text: str, position: Position, *, width: int = EXCERPT_WIDTH) -> tuple[str, str]:
    """The line a position is in, cut to `width` cells, and a line of carets under it.

    >>> print(*caret_lines("SELECT *\\nFROM ordres", Position.at("SELECT *\\nFROM ordres", 14, 6)), sep="\\n")
    FROM ordres
         ^^^^^^
    """
    lines = text.split("\n")
    line = lines[position.line - 1] if position.line <= len(lines) else ""
    line = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") else c for c in line)
    start = min(position.column - 1, len(line))
    end = max(start + 1, min(start + position.length, len(line)))
    # Keep the place in sight: some of what stands before it, and as much as fits after it.
    left = 0 if cells(line) <= width else max(0, start - width // 2)
    shown, before = line[left : left + width], "… " if left else ""
    if left + width < len(line):
        shown += "…"
    while cells(before + shown) > width:
        shown = shown[:-2] + "…"
    carets = cells(line[start : min(end, left + len(shown))])
    return before + shown, " " * cells(before + line[left:start]) + "^" * max(1, carets)


def _print_json(error: dict[str, Any], exit_code: int) -> None:
    click.echo(json.dumps({"error": {**error, "exit_code": exit_code}}, ensure_ascii=False, indent=2))
