"""A query that DuckDB would not bind → an error that helps its author and says nothing of what is hidden from him.

The guarded text is bound once more on an empty instance, with every guard replaced by an empty table of the columns and
types that this principal sees. Whatever DuckDB says there, suggestions of names included, is made of the caller's own
text and of what the caller may know: invariant (private) holds by construction, not by picking messages apart.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import duckdb

from rls.catalog import Column, quote
from rls.engines.failures import EngineReport, place, read_report
from rls.engines.lockdown import open_locked
from rls.errors import Position, QueryRefused, RlsError
from rls.rewrite.guarded import GuardedQuery, Splice
from rls.rewrite.splice import apply_splices

__all__ = ["Shadow"]

# Columns of a relation expression, or None where it does not bind.
Describe = Callable[[str], Sequence[Column] | None]

_MESSAGE_CHARACTERS = 200
_GUARD = re.compile(r"(?:FROM )?\(SELECT ")
_MEMORY = 256 << 20


class Shadow:
    """The empty instance, opened with the first query that needs it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None

    def explain(self, guarded: GuardedQuery, parameters: dict[str, object], describe: Describe) -> RlsError | None:
        """The error for the caller; None where this cannot tell more than the general one."""
        shadowed = self._shadowed_query(guarded, describe)
        if shadowed is None:
            return None
        report = self._bind(shadowed.sql, {**guarded.parameters, **parameters})
        if report is None:
            return None  # it binds there: what went wrong needs rows, or is the operator's
        return describe_report(report, place(shadowed, report.offset))

    def binds(self, guarded: GuardedQuery, parameters: dict[str, object], describe: Describe) -> bool:
        """Whether a query is known to fit names and types: what went wrong then went wrong with some row."""
        shadowed = self._shadowed_query(guarded, describe)
        return shadowed is not None and self._bind(shadowed.sql, {**guarded.parameters, **parameters}) is None

    def _shadowed_query(self, guarded: GuardedQuery, describe: Describe) -> GuardedQuery | None:
        if apply_splices(guarded.original, guarded.splices) != guarded.sql:
            # A filled-in PIVOT: places in the text are no longer those of the splices.
            return None
        splices = []
        for splice in guarded.splices:
            shadowed = _shadowed(splice, describe)
            if shadowed is None:
                return None
            splices.append(shadowed)
        text = apply_splices(guarded.original, splices)
        return replace(guarded, sql=text, splices=tuple(splices))

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _bind(self, text: str, values: dict[str, object]) -> EngineReport | None:
        """DuckDB's complaint about a text; EXPLAIN plans it and runs nothing."""
        with self._lock:
            if self._connection is None:
                self._connection = open_locked(threads=1, memory=_MEMORY, hide_statistics=False)
            cursor = self._connection.cursor()
        try:
            statement = cursor.extract_statements(f"EXPLAIN {text}")[0]
            named = statement.named_parameters
            cursor.execute(statement, {k: v for k, v in values.items() if k in named})
        except duckdb.Error as error:
            report = read_report(str(error))
            if report.invalidates:
                self.close()
            # The word in front has moved every place in the text.
            offset = None if report.offset is None else max(0, report.offset - len("EXPLAIN "))
            return replace(report, offset=offset)
        finally:
            with contextlib.suppress(duckdb.Error):
                cursor.close()
        return None


def describe_report(report: EngineReport, where: Position | None) -> QueryRefused | None:
    """A bind error on the shadow in this library's words; None where the error is of another kind."""
    if report.kind not in ("Binder", "Catalog"):
        return None
    message, fields = report.message, report.fields
    if report.subtype == "COLUMN_NOT_FOUND" and "name" in fields:
        hint = _candidates(fields.get("candidates", ""))
        return QueryRefused(
            "query.unknown_column", f"there is no column {_tick(fields['name'])}", position=where, hint=hint
        )
    if found := re.match(r'(?:Table|Values list) "(.*)" does not have a column named "(.*)"', message):
        hint = _candidates(message.partition(": : ")[2])
        text = f"{_tick(found[1])} has no column {_tick(found[2])}"
        return QueryRefused("query.unknown_column", text, position=where, hint=hint)
    if found := re.match(r'Ambiguous reference to column name "(.*)" \(use: (.*)\)', message):
        uses = found[2].replace("'", "`")
        text = f"the column {_tick(found[1])} is in more than one relation"
        return QueryRefused("query.ambiguous_column", text, position=where, hint=f"write {uses}"[:_MESSAGE_CHARACTERS])
    if found := re.match(r'column "(.*)" must appear in the GROUP BY', message):
        text = f"the column {_tick(found[1])} is neither grouped by nor inside an aggregate"
        return QueryRefused("query.grouping", text, position=where, hint="add it to GROUP BY, or use any_value")
    if report.subtype == "NO_MATCHING_FUNCTION" and "call" in fields:
        return _no_function(fields["call"], where)
    if found := re.match(r'Could not choose a best candidate function for the function call "(.*)"\. ', message):
        return _no_function(found[1], where)
    text = re.sub(r'"((?:[^"]|"")*)"', r"`\1`", message.split("\n", 1)[0]).strip().rstrip(".!")[:_MESSAGE_CHARACTERS]
    text = text if text[1:2].isupper() else text[:1].lower() + text[1:]
    return QueryRefused("query.invalid", text, position=where)


def _no_function(call: str, where: Position | None) -> QueryRefused:
    return QueryRefused("query.arguments", f"no function fits {_tick(call)}", position=where, hint="cast the arguments")


def _shadowed(splice: Splice, describe: Describe) -> Splice | None:
    """A splice with its guard's columns and types instead of its guard; other splices as they are."""
    found = _GUARD.match(splice.text)
    if found is None:
        return splice
    opening = splice.text.index("(")
    end = _closing(splice.text, opening)
    columns = describe(splice.text[opening:end])
    if columns is None:
        return None
    shown = ", ".join(f"CAST(NULL AS {c.type}) AS {quote(c.name)}" for c in columns)
    return replace(splice, text=f"{splice.text[:opening]}(SELECT {shown} WHERE false){splice.text[end:]}")


def _closing(text: str, opening: int) -> int:
    """The index after the parenthesis that closes the one at `opening`; names and literals may hold any character."""
    depth, quoted = 0, ""
    for index in range(opening, len(text)):
        character = text[index]
        if quoted:
            quoted = "" if character == quoted else quoted
        elif character in "'\"":
            quoted = character
        elif character in "()":
            depth += 1 if character == "(" else -1
            if depth == 0:
                return index + 1
    return len(text)


def _candidates(listed: str) -> str | None:
    names = [n.strip().strip('"') for n in listed.split(",") if n.strip()]
    return f"did you mean {' or '.join(_tick(n) for n in names[:3])}" if names else None


def _tick(text: str) -> str:
    return f"`{' '.join(text.split())[:80]}`"
