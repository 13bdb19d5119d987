"""`generate_series` and `range` between literals → their rows, which every engine can be given.

Takes the call as sqlglot reads it; returns rows as texts, and their kind. Owns that they are DuckDB's, which adds the
step again and again, or the call is refused.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from sqlglot import exp

from rls.errors import QueryRefused
from rls.rewrite.port.dialect import Dialect
from rls.rewrite.port.kinds import is_time, not_portable
from rls.rewrite.port.nodes import only, whole_number

__all__ = ["series"]

MOST: Final = 2_000  # rows
_SAFE_DAY: Final = 28  # every month has it
_STEPS: Final = {"SECOND": 1, "MINUTE": 60, "HOUR": 3_600, "DAY": 86_400, "WEEK": 7 * 86_400}
_MONTHS: Final = {"MONTH": 1, "YEAR": 12}


def series(node: exp.GenerateSeries, sql: Dialect) -> tuple[list[str], str]:
    """The values and their kind. Raises `QueryRefused` (`query.not_portable`)."""
    only(node, "start", "end", "step", "is_end_exclusive")
    start, end, step = (node.args.get(key) for key in ("start", "end", "step"))
    open_end = bool(node.args.get("is_end_exclusive"))
    if isinstance(start, exp.Cast):
        moments = _moments(_moment(start), _moment(end), step, open_end=open_end)
        return [f"CAST('{one.isoformat(sep=' ')}' AS {sql.type_of('TIMESTAMP')})" for one in moments], "TIMESTAMP"
    first, last = _number(start), _number(end)
    by = 1 if step is None else _number(step)
    if by == 0:
        raise not_portable("a series whose step is zero")
    numbers = range(first, last + (0 if open_end else (1 if by > 0 else -1)), by)
    if len(numbers) > MOST:
        raise _too_many()
    return [f"CAST({one} AS {sql.type_of('BIGINT')})" for one in numbers], "BIGINT"


def _moments(first: datetime, last: datetime, step: Any, *, open_end: bool) -> list[datetime]:
    word = step.args["unit"].name.upper().removesuffix("S") if isinstance(step, exp.Interval) and step.unit else ""
    count = step.this if word else None
    if not isinstance(count, exp.Literal) or not str(count.this).isdigit() or not int(count.this):
        raise not_portable("a series like this", hint="give INTERVAL 1 DAY, or another whole number of one unit")
    found: list[datetime] = []
    here = first
    while here < last or (here == last and not open_end):
        if len(found) == MOST:
            raise _too_many()
        found.append(here)
        if word in _STEPS:
            here += timedelta(seconds=_STEPS[word] * int(count.this))
        elif word in _MONTHS and first.day <= _SAFE_DAY:
            months = here.year * 12 + here.month - 1 + _MONTHS[word] * int(count.this)
            here = here.replace(year=months // 12, month=months % 12 + 1)
        else:
            raise not_portable("a series by this step", hint="start at one of the first 28 days of a month")
    return found


def _moment(node: Any) -> datetime:
    text = node.this if isinstance(node, exp.Cast) else None
    known = isinstance(node, exp.Cast) and node.args["to"].this in (exp.DType.DATE, exp.DType.TIMESTAMP)
    if not known or not isinstance(text, exp.Literal) or not text.is_string or not is_time(text.this):
        raise not_portable("a series between what is no literal", hint="write DATE '2024-01-01'")
    moment = datetime.fromisoformat(text.this)
    if moment.microsecond or (node.args["to"].this == exp.DType.DATE and len(text.this) > len("2024-01-01")):
        raise not_portable("a series between what is no literal", hint="write DATE '2024-01-01'")
    return moment


def _number(node: Any) -> int:
    minus = isinstance(node, exp.Neg)
    return (-1 if minus else 1) * whole_number(node.this if minus else node, "a series between what is no literal")


def _too_many() -> QueryRefused:
    return not_portable(f"a series of more than {MOST} rows", hint="store it as a table")
