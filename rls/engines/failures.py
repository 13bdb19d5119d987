"""What DuckDB says → what the caller may know: an error of this library with a stable code.

Takes a DuckDB exception whose text is JSON (`errors_as_json`) and the guarded query; returns `QueryRefused` for what is
wrong with the caller's text, `QueryFailed` for what happened while it ran. Owns invariant (private) for engine errors:
no message is DuckDB's. Its texts quote rows (`Could not convert string 'x'`), policies (`LINE 1: …`) and hidden names
(`Did you mean …`), so they go to `detail` only.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from rls.engines.limits import Limits
from rls.errors import EngineInvalid, Position, QueryFailed, QueryRefused, RlsError
from rls.rewrite.guarded import GuardedQuery

__all__ = [
    "EngineReport", "busy", "closed", "database_changed", "explain_failure", "interrupted", "place", "read_report",
    "redact", "timed_out", "too_many_rows",
]  # fmt: skip

_DETAIL_CHARACTERS = 2_000
_KIND_CHARACTERS = 40
_CANDIDATES = "\n\tCandidate functions:"


@dataclass(frozen=True, slots=True)
class EngineReport:
    """DuckDB's error, taken apart: `kind` is its exception type (`Binder`, `Conversion`), `offset` counts bytes."""

    kind: str
    subtype: str
    message: str
    offset: int | None
    fields: dict[str, str]

    @property
    def invalidates(self) -> bool:
        """Whether DuckDB refuses every further query on the instance after this error."""
        return self.kind in ("INTERNAL", "FATAL")


# DuckDB's exception type → code, message, hint. What is not here is `run.failed`.
_RUN: Final[dict[str, tuple[str, str, str | None]]] = {
    "Conversion": ("run.cast", "a value cannot be converted to the wanted type", "TRY_CAST gives NULL instead"),
    "Out of Range": ("run.out_of_range", "a value is out of the range of its type", "cast to a wider type first"),
    "Mismatch Type": ("run.cast", "a value does not have the wanted type", "TRY_CAST gives NULL instead"),
    "Invalid Input": ("run.invalid_input", "a function got a value that it does not accept", None),
    "Sequence": ("run.invalid_input", "a function got a value that it does not accept", None),
    "Out of Memory": ("run.memory", "the query needs more memory than it may use", "aggregate or filter earlier"),
    "Object Size": ("run.memory", "a value is larger than it may be", "aggregate or filter earlier"),
    "IO": ("run.io", "the database could not be read", "tell the operator"),
    "Serialization": ("run.io", "the database could not be read", "tell the operator"),
}
# Said in so many words by DuckDB, always about the query and never about a value.
_SPECIAL: Final[tuple[tuple[str, str, str, str | None], ...]] = (
    (
        "More than one row returned by a subquery",
        "run.subquery_rows",
        "a sub-query used as a value returned more than one row",
        "use IN, or an aggregate",
    ),
    ("Division by zero", "run.division_by_zero", "division by zero", "use NULLIF(divisor, 0)"),
)
_BIND: Final[frozenset[str]] = frozenset(
    ("Binder", "Catalog", "Parser", "Syntax", "Not implemented", "Invalid type", "Expression", "Parameter Not Resolved")
)

# What DuckDB's messages on values are made of, types among them.
_VOCABULARY: Final = """
    a access addition allocate an and argument arguments as at attempted be because bigint bit blob block bool
    boolean by byte can cannot cast casting column conversion convert could data date decimal destination
    different division double element elements end enough error execution expected expecting expression extract
    failed field file find float for format formatting found from function gib got greater has have in index
    infinity input int integer interval into invalid is it json key keys kib length less limit list lists
    malformed map memory merge mib missing more multiplication must negation negative no not null number of
    offload one only operation or out overflow parameter parse parsing pattern position positive precision query
    range recognized regex regular returned row rows scale size source specifier string struct subquery
    subtraction t than that the this time timestamp timestamptz to too type types uint unexpected unknown
    unsupported used uuid value values varchar vector was when while with within zero"""
_WORDS: Final = frozenset(_VOCABULARY.split())


def read_report(text: str) -> EngineReport:
    """DuckDB's error text, with or without its JSON.

    >>> read_report('Conversion Error: {"exception_type":"Conversion","exception_message":"no","position":"7"}').offset
    7
    """
    start = text.find("{")
    try:
        found = json.loads(text[start:], strict=False) if start >= 0 else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or "exception_type" not in found:
        kind, _, message = text.partition(" Error: ")
        return EngineReport(kind, "", message or text, None, {})
    fields = {str(k): str(v) for k, v in found.items()}
    position = fields.get("position", "")
    return EngineReport(
        fields["exception_type"],
        fields.get("error_subtype", ""),
        fields.get("exception_message", ""),
        int(position) if position.isdigit() else None,
        fields,
    )


def explain_failure(report: EngineReport, guarded: GuardedQuery) -> RlsError:
    """The public error for a report; the caller's place is given where the fault is in the caller's own text."""
    detail = f"{report.kind}: {report.message.partition(_CANDIDATES)[0]}"[:_DETAIL_CHARACTERS]
    where = place(guarded, report.offset)
    if report.kind in _BIND and report.message.startswith("Max expression depth"):
        return QueryRefused(
            "query.too_nested", "the query is nested too deeply", hint="join or nest fewer parts", detail=detail
        )
    if report.kind in _BIND:
        return QueryRefused(
            "query.invalid",
            "the query does not fit the columns and types of what it reads",
            position=where,
            hint="check the names and types there" if where else "check names and types",
            detail=detail,
        )
    if report.invalidates:
        return QueryFailed("run.internal", "the engine failed on this query", hint="rewrite it", detail=detail)
    code, message, hint = _RUN.get(report.kind, ("run.failed", "the query could not be run", None))
    for words, *special in _SPECIAL:
        if report.message.startswith(words):
            code, message, hint = special[0] or code, special[1] or message, special[2]
    # Which of several failing expressions runs first is the plan's choice, and sizes of relations decide on the plan.
    if where is not None and sum("(SELECT " in splice.text for splice in guarded.splices) <= 1:
        hint = "; ".join(h for h in (f"see line {where.line}, column {where.column}", hint) if h)
    return QueryFailed(code, message, hint=hint, detail=detail)


def database_changed() -> QueryFailed:
    """The error for a query whose guards were made for another state of the database file."""
    return QueryFailed(
        "run.database_changed", "the database changed while the query was prepared", hint="send it again"
    )


def busy() -> QueryFailed:
    """The error for a query that got no turn."""
    return QueryFailed("run.busy", "too many queries run at once", hint="send the query again later")


def closed() -> EngineInvalid:
    """The error for what an engine is asked after its end."""
    return EngineInvalid("engine.closed", "the engine is closed", hint="open it again")


def interrupted() -> QueryFailed:
    """The error for a query that somebody ended."""
    return QueryFailed("run.interrupted", "the query was interrupted")


def too_many_rows(limits: Limits) -> QueryFailed:
    """The error for a result that is larger than it may be."""
    return QueryFailed(
        "run.rows", f"the result has more than {limits.rows} rows", hint="aggregate, filter, or add a LIMIT"
    )


def timed_out(limits: Limits) -> QueryFailed:
    """The error for a query that took too long."""
    return QueryFailed("run.timeout", f"the query ran longer than {limits.seconds:g} s", hint="read or join less")


def place(guarded: GuardedQuery, offset: int | None) -> Position | None:
    """The place in the caller's text for a byte offset in the final text; None inside a guard, whose text is not the
    caller's."""
    if offset is None:
        return None
    at = len(guarded.sql.encode()[:offset].decode(errors="ignore"))
    shift = 0  # characters that the final text is longer than the caller's, up to here
    for splice in guarded.splices:
        start = splice.start + shift
        if at < start:
            break
        if at < start + len(splice.text):
            return None
        shift += len(splice.text) - (splice.end - splice.start)
    return Position.at(guarded.original, at - shift)


def redact(detail: str) -> str:
    """A detail as the audit record may hold it: what DuckDB said, without what may be a value of a row.

    The caller is told nothing of it, and not even an operator's record gets the whole: such records go to places that
    rows do not go to, and (private) is promised of them, too. Values mostly stand in quotes, but not always (`missing
    ]: [what the row held`), so of a run-time error only words that DuckDB's own messages are made of are left.
    Who must see the value runs the query again: the record has all that it takes.

    >>> redact("Conversion: Could not convert string 'it's 5' to INT32")
    "Conversion: Could not convert string '…' to INT#"
    >>> redact("Invalid Input: missing ]: [secret")
    'Invalid Input: missing ]: […'
    """
    kind = detail.partition(":")[0]
    for quote in "'\"":
        first, last = detail.find(quote), detail.rfind(quote)
        if 0 <= first < last:
            detail = f"{detail[:first]}{quote}…{quote}{detail[last + 1 :]}"
    detail = re.sub(r"\d+", "#", detail)
    # About the texts of queries and policies, and not about rows.
    if kind in _BIND or kind.endswith((".yaml", ".yml")):
        return detail
    rest = re.sub(r"[^\W_]+", lambda word: word[0] if word[0].lower() in _WORDS else "…", detail[len(kind) :])
    return kind[:_KIND_CHARACTERS] + re.sub(r"…[\s…]*…", "…", rest)
