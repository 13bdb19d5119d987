"""Days and times: their parts, the distance between two, and the formats of `strftime`."""

from __future__ import annotations

import re
from typing import Any, Final

from sqlglot import exp

from rls.rewrite.port.dialect import Dialect
from rls.rewrite.port.kinds import Lowered, not_portable

__all__ = ["as_moment", "difference", "format_of", "part_of"]

_PART_NAMES: Final = {
    "dayofweek": "dow",
    "weekday": "dow",
    "dayofyear": "doy",
    "weekofyear": "week",
    "dayofmonth": "day",
}
_MOST_DIGITS: Final = 7  # of a part of a day or time: PostgreSQL's last year is 5874897


def as_moment(value: Lowered, construct: str) -> Lowered:
    """A day or a time. Raises `QueryRefused`."""
    if value.kind not in ("DATE", "TIMESTAMP"):
        raise not_portable(f"{construct} of {value.kind}", hint="cast it to DATE or TIMESTAMP")
    return value


def part_of(part: str, value: Lowered, sql: Dialect) -> Lowered:
    """A part of a day or a time, by DuckDB's name for it. Raises `QueryRefused`."""
    part = _PART_NAMES.get(part, part)
    return Lowered(sql.write(f"part {part}", value.kind, as_moment(value, part).text), "BIGINT", digits=_MOST_DIGITS)


def difference(unit: str, start: Lowered, end: Lowered, sql: Dialect) -> Lowered:
    """How many borders of a unit lie between two days or times. Raises `QueryRefused`."""
    first, last = (as_moment(one, "date_diff") for one in (start, end))
    if unit == "day":
        return Lowered(sql.write("days", "", last.text, first.text), "BIGINT")
    years = f"({part_of('year', last, sql).text} - {part_of('year', first, sql).text})"
    if unit == "year":
        return Lowered(years, "BIGINT")
    if unit == "month":
        months = f"({part_of('month', last, sql).text} - {part_of('month', first, sql).text})"
        return Lowered(f"({years} * 12 + {months})", "BIGINT")
    if unit == "quarter":
        quarters = f"({part_of('quarter', last, sql).text} - {part_of('quarter', first, sql).text})"
        return Lowered(f"({years} * 4 + {quarters})", "BIGINT")
    if unit in ("hour", "minute", "second"):
        cut = [sql.write(f"trunc {unit}", "", sql.convert(one, "TIMESTAMP").text) for one in (last, first)]
        return Lowered(sql.write(f"spans {unit}", "", *cut), "BIGINT")
    raise not_portable(f"date_diff by `{unit}`")


def format_of(node: Any, sql: Dialect) -> str:
    """The format of `strftime` in the engine's words."""
    if not isinstance(node, exp.Literal) or not node.is_string:
        raise not_portable("strftime with a format that is no literal", hint="give the format as a literal")
    found = ""
    for directive, text in re.findall(r"%(.)|([^%]+|%$)", str(node.this), re.DOTALL):
        written = sql.between(text) if text else sql.directives.get(directive)
        if written is None:
            raise not_portable(f"strftime with `{directive or text}`"[:40])
        found += written
    return found
