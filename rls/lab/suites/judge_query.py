"""A query's answer for a persona, and an expectation → failures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rls.catalog import fold
from rls.errors import RlsError
from rls.lab.suites.judge_rows import compare_names, compare_rows, compare_set
from rls.lab.suites.suite import Failure
from rls.lab.world.observe import QueryView
from rls.lab.world.values import canonical, show

if TYPE_CHECKING:
    from rls.lab.suites.model import Expect

__all__ = ["judge_query"]


def judge_query(view: QueryView, expect: Expect) -> Iterator[Failure]:
    """Every part of the expectation that is written. Raises RlsError as the view does."""
    result = view.result
    match expect.rows:
        case None:
            pass
        case "none" if result.row_count:
            yield Failure("row_count", f"the answer has {result.row_count:,} rows, none expected")
        case int() as wanted if result.row_count != wanted:
            yield Failure("row_count", f"the answer has {result.row_count:,} rows, {wanted:,} expected")
        case list() as wanted:
            yield from compare_rows(result, wanted, ordered=expect.ordered)
    if expect.columns is not None:
        yield from compare_names("columns", expect.columns, result.columns, "columns", ordered=True)
    yield from _values(view, expect)
    yield from _decided(view, expect)
    if expect.same_as is not None:
        yield from _same_as(view, expect)


def _values(view: QueryView, expect: Expect) -> Iterator[Failure]:
    names = [fold(name) for name in view.result.columns]
    for name, wanted in (expect.values or {}).items():
        if fold(name) not in names:
            yield Failure("values", f"the answer has no column `{name}`")
            continue
        at = names.index(fold(name))
        yield from compare_set(f"values of `{name}`", wanted, [row[at] for row in view.result.rows])
    for name, total in (expect.sums or {}).items():
        if fold(name) not in names:
            yield Failure("sums", f"the answer has no column `{name}`")
            continue
        at = names.index(fold(name))
        found = [row[at] for row in view.result.rows if row[at] is not None]
        added = sum(found) if found else None
        if canonical(total, added) != canonical(added):
            yield Failure("sums", f"sum of `{name}` is {show(added)}, {show(total)} expected")


def _decided(view: QueryView, expect: Expect) -> Iterator[Failure]:
    if expect.denied is None and expect.because is None and expect.masked is None and expect.absent is None:
        return
    grants = view.grants.values()
    if expect.denied and not all(g.kind == "never" for g in grants):
        open_ = ", ".join(sorted(label for label, g in view.grants.items() if g.kind != "never"))
        yield Failure("not_denied", f"not denied: policies let rows of {open_} through")
    for kind, wanted, found, what in (
        ("because", expect.because, {p for g in grants for p in g.policies}, "deciding policies"),
        ("masked", expect.masked, {c for g in grants for c in g.masks}, "masked columns"),
        ("absent", expect.absent, {c for g in grants for c in g.denied}, "absent columns"),
    ):
        if wanted is not None:
            yield from compare_names(kind, wanted, sorted(found), what)


def _same_as(view: QueryView, expect: Expect) -> Iterator[Failure]:
    assert expect.same_as is not None  # noqa: S101 - the caller has looked
    other = QueryView(view.world, expect.same_as, view.sql, view.parameters)
    error: RlsError | None = other.refusal()
    if error is not None:
        yield Failure("same_as", f"`{expect.same_as}` is refused with `{error.code}`")
        return
    if view.result.columns != other.result.columns:
        yield Failure("same_as", f"`{expect.same_as}` gets the columns {', '.join(other.result.columns)}")
        return
    yield from compare_rows(view.result, [list(row) for row in other.result.rows], ordered=expect.ordered)
