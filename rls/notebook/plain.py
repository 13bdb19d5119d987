"""A result or a report → the text that the command line prints, for shells without HTML and for notebooks kept as text.

Takes values that have `_repr_html_`; returns plain text. Owns the list of them.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rls.notebook.views import ROWS

if TYPE_CHECKING:
    from rls.lab.diff.compare import Diff
    from rls.result import Result

__all__ = ["install", "plain_text"]

# Module and name of the class → what prints it, by the module and name of a function (console, value).
_SHOWN = {
    ("rls.result", "Result"): "rls.notebook.plain:_show_result",
    ("rls.explanation", "Explanation"): "rls.cli.explain:show_parts",
    ("rls.lab.matrix.compute", "Matrix"): "rls.cli.matrix:show",
    ("rls.lab.diff.compare", "Diff"): "rls.notebook.plain:_show_diff",
    ("rls.lab.why.row", "RowWhy"): "rls.cli.why:show_row",
    ("rls.lab.why.query", "QueryWhy"): "rls.cli.why:show_query",
    ("rls.lab.coverage.measure", "Coverage"): "rls.cli.coverage:show",
    ("rls.lab.suites.run", "Run"): "rls.cli.test_show:show",
}


def install(ipython: Any) -> None:
    """Have an IPython shell print these values so."""
    formatter = ipython.display_formatter.formatters["text/plain"]
    for module, name in _SHOWN:
        formatter.for_type_by_name(module, name, lambda value, printer, _cycle: printer.text(plain_text(value)))


def plain_text(value: object) -> str:
    """What `rls` would print of it, without colours."""
    from importlib import import_module

    from rls.cli import render

    module, _, name = _SHOWN[(type(value).__module__, type(value).__name__)].partition(":")
    show: Callable[[Any, Any], None] = getattr(import_module(module), name)
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        show(render.console(plain=True), value)
    return text.getvalue().strip("\n")


def _show_result(out: Any, result: Result) -> None:
    from rls.cli import query

    out.print(" · ".join(query.show_table(out, result, limit=ROWS)))


def _show_diff(out: Any, found: Diff) -> None:
    from rls.cli import diff

    diff.show(out, found, None)
