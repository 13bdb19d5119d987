"""Judges one query in one world: do two databases that look the same answer the same, and as the oracle does?

It takes a `Pair` and SQL and returns a `Verdict`. Kinds in `FAULTS` are faults of the product. `open` are differences
that SQL leaves open (ties, order of summing, which of two visible errors comes first) and that the oracle shows as well
when its rows are stored the other way round or its optimizer is off; they are counted, so that they stay few.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import duckdb

from tests.fuzz.parameters import bound
from tests.judging.compare import Difference, differs
from tests.judging.driver import Refusal
from tests.judging.oracle import Answer, answer, ordering

__all__ = ["FAULTS", "Oracles", "Verdict", "judge"]

FAULTS = (
    "leak: error", "leak: error text", "leak: refusal", "leak: rows", "leak: order", "leak: names", "leak: types",
    "oracle: error", "oracle: rows", "oracle: order", "oracle: names", "oracle: types", "fault",
    "crash",
)  # fmt: skip

_By = Sequence[int] | None

_SKIPPED = ("run.timeout", "run.memory", "run.rows", "run.columns", "run.busy", "run.interrupted")
_BROKEN = ("run.fault", "run.internal", "run.restarted", "escaped", "run.failed", "run.io", "run.policy")
# Text that is no UTF-8 (a sort key), a year that Python's dates do not have: errors of reading an answer, not of the query.
_UNREADABLE = ("UnicodeDecodeError", "ValueError", "OverflowError")
# DuckDB quotes the value that it could not use.
_VALUE = re.compile(r"'(.*?)'|\"(.*?)\"", re.DOTALL)
_SOURCE = re.compile(r"\b(?:FROM|JOIN|PIVOT|UNPIVOT|SUMMARIZE)\b", re.IGNORECASE)
_SORTING = re.compile(r"\b(?:OVER|QUALIFY|GROUP|DISTINCT|PIVOT)\b", re.IGNORECASE)
# Sums of floating point numbers, and approximations: they follow how rows fall into chunks and threads.
_SUMMED = re.compile(
    r"\bSUMMARIZE\b|\b(?:approx_\w+|reservoir_quantile|stddev\w*|var_\w+|variance|f?avg|mean|f?sum|kahan_sum|sumkahan|product"
    r"|geo\w*mean|kurtosis\w*|skewness|entropy|sem|mad|corr|covar_\w+|regr_\w+)\b",
    re.IGNORECASE,
)
_SAMPLE = re.compile(r"\bSAMPLE\b", re.IGNORECASE)
# Drawn anew each time, and of few rows mostly none: asked so often, a draw of one row in a hundred has differed.
_DRAWN = re.compile(r"\b(?:TABLE)?SAMPLE\b", re.IGNORECASE)
_DRAWS = 1000
_ASOF = re.compile(r"\bASOF\b", re.IGNORECASE)


class Oracles(Protocol):
    """What `judge` asks: two engines, the oracle, the oracle in disguise (rows stored in other orders, no optimizer), and
    engines over databases whose hidden rows are NULL and as many as those of the two (`blanks`)."""

    oracle: duckdb.DuckDBPyConnection

    def disguised(self) -> Iterator[duckdb.DuckDBPyConnection]: ...
    def ask(self, sql: str, *, which: int) -> Answer | Refusal: ...
    def blanks(self, sql: str) -> list[Answer | Refusal]: ...
    def detail(self, which: int) -> str: ...
    def is_visible(self, value: str) -> bool: ...


@dataclass(frozen=True)
class Verdict:
    """`ok`, `fails` (everybody fails the same), `answered` (only the oracle fails), `plan error` (only the oracle does
    not fail, although a visible row may), `engine bug` (DuckDB fails inside, without a guard too), `refused`, `invalid`, `open`, `skipped`, or one of `FAULTS`."""

    kind: str
    detail: str = ""

    @property
    def fault(self) -> bool:
        """Whether the product is at fault."""
        return self.kind in FAULTS


def judge(pair: Oracles, sql: str, *, oracle: bool = True) -> Verdict:
    """Ask everybody and compare; without `oracle`, only the two databases with each other."""
    first, second = pair.ask(sql, which=0), pair.ask(sql, which=1)
    for which, found in enumerate((first, second)):
        error = found.error if isinstance(found, Answer) else None
        if error and error.startswith(("run.internal", "run.fault")):
            own = _answer(pair.oracle, sql).error or ""
            if "INTERNAL" in own or own.startswith(_UNREADABLE):
                # The caller's own text does it, without a guard; the engine is opened again.
                return Verdict("engine bug", error[:100] + pair.detail(which)[:200])
        if error and error.startswith(_BROKEN):
            return Verdict("fault", f"{'ab'[which]}: {error[:300]} {pair.detail(which)[:600]}")
        if error and error.startswith(_SKIPPED):
            return Verdict("skipped", error[:60])
    if isinstance(first, Refusal) or isinstance(second, Refusal):
        return _refusals(pair, sql, first, second)
    by = ordering(pair.oracle, sql, first.names)
    verdict = _interference(pair, sql, first, second, by)
    if verdict is not None:
        return verdict
    if not oracle or _SAMPLE.search(sql):
        # A sample of a filtered table is another one than a sample of a small table; both hold.
        return Verdict("ok" if first.error is None else "fails")
    return _against_oracle(pair, sql, first, by)


def _refusals(pair: Oracles, sql: str, first: Answer | Refusal, second: Answer | Refusal) -> Verdict:
    if isinstance(first, Refusal) and isinstance(second, Refusal):
        if first != second:
            return Verdict("leak: refusal", f"a: {first.text[:300]} | b: {second.text[:300]}")
        if first.code != "query.invalid":
            return Verdict("refused", first.code)
        expected = _answer(pair.oracle, sql)
        if expected.error is None:
            # `Not implemented` may be said of a value (an interval of months and days), and then only some plans say it.
            kind = "plan error" if _fails_without_hidden_rows(pair, sql) else "oracle: error"
            return Verdict(kind, f"{first.text[:300]} {pair.detail(0)[:400]}")
        return Verdict("invalid")
    return Verdict("leak: refusal", f"a: {_short(first)} | b: {_short(second)}")


def _interference(pair: Oracles, sql: str, first: Answer, second: Answer, by: _By) -> Verdict | None:
    """What differs between the two databases, or None."""
    if first.error is not None or second.error is not None:
        if first.error == second.error:
            return None
        kind = "leak: error" if first.error is None or second.error is None else "leak: error text"
        details = [pair.detail(which) for which in (0, 1)]
        detail = f"a: {_short(first)} | b: {_short(second)} | {details[0][:200]} | {details[1][:200]}"
        # Visible rows alone may fail as well, depending on the plan: then which plan was chosen is all that shows.
        return Verdict("open" if _may_fail(pair, sql, *details) else kind, detail)
    found = differs(first, second, by=by)
    if found is None:
        return None
    if found.kind in ("rows", "order") and (
        _unstable(pair, sql, first, by) or _is_open(pair, sql, by, found, stored=not _one_scan(sql))
    ):
        return Verdict("open", f"a, b: {found.kind}: {found.detail[:300]}")
    return Verdict(f"leak: {found.kind}", found.detail[:600])


def _against_oracle(pair: Oracles, sql: str, found: Answer, by: _By) -> Verdict:
    expected = _answer(pair.oracle, sql)
    if expected.error is not None and expected.error.startswith(("InterruptException", "OutOfMemory")):
        return Verdict("skipped", "the oracle needs too long")
    if found.error is not None:
        if expected.error is not None:
            return Verdict("fails")
        detail = pair.detail(0)
        kind = "plan error" if _may_fail(pair, sql, detail) else "oracle: error"
        return Verdict(kind, f"{found.error[:300]} {detail[:400]}")
    if expected.error is not None:
        # On visible rows, where some plans evaluate less than others.
        return Verdict("answered", f"the oracle fails: {expected.error[:300]}")
    difference = differs(expected, found, by=by)
    if difference is None:
        return Verdict("ok")
    # Among equals, an ASOF join takes any one row, and what is joined to that one may be many or none: more ways than the
    # oracle in disguise shows.
    if difference.kind in ("rows", "order") and (
        _ASOF.search(sql) or _is_drawn(pair, sql, expected, by) or _is_open(pair, sql, by, difference)
    ):
        return Verdict("open", f"oracle: {difference.kind}: {difference.detail[:300]}")
    return Verdict(f"oracle: {difference.kind}", difference.detail[:600])


def _may_fail(pair: Oracles, sql: str, *details: str) -> bool:
    """Whether some plan fails on visible rows alone; `details` are the errors in question."""
    for detail in details:
        if "Unimplemented type for cast" in detail:
            # Any row fails, a visible one as well as a hidden one: a fault of the types, shown or not by the plan.
            return True
        named = [value for match in _VALUE.finditer(detail) for value in match.groups() if value is not None]
        if any(pair.is_visible(value) for value in named):
            return True
    return _fails_without_hidden_rows(pair, sql)


def _fails_without_hidden_rows(pair: Oracles, sql: str) -> bool:
    if any(_answer(each, sql).error is not None for each in (pair.oracle, *pair.disguised())):
        return True
    return any(isinstance(found, Refusal) or found.error is not None for found in pair.blanks(sql))


def _is_open(pair: Oracles, sql: str, by: _By, difference: Difference, *, stored: bool = True) -> bool:
    """Whether the answer differs as well where nothing hidden can be the cause: planned in another way, or `stored`."""
    expected = _answer(pair.oracle, sql)
    others = (
        [] if not stored or _SAMPLE.search(sql) else [_answer(other, sql) for other in (pair.oracle, *pair.disguised())]
    )
    found = [found for found in pair.blanks(sql) if isinstance(found, Answer)]
    pairs = [(expected, other) for other in others] + [(found[0], other) for other in found[1:]]
    for one, other in pairs:
        again = differs(one, other, by=by)
        if again is not None and not (difference.kind == "rows" and again.kind == "order"):
            return True
    return False


def _is_drawn(pair: Oracles, sql: str, expected: Answer, by: _By) -> bool:
    """Whether the oracle draws other rows when asked again."""
    again = (_answer(pair.oracle, sql) for _ in range(_DRAWS if _DRAWN.search(sql) else 0))
    return any(differs(expected, other, by=by) is not None for other in again)


def _one_scan(sql: str) -> bool:
    """Whether a query reads one relation only, and neither sorts, groups nor sums: then the order of its rows is that of
    storage, and hidden rows between them are no excuse for another one."""
    if _SORTING.search(sql) or _SUMMED.search(sql):
        return False
    return len(_SOURCE.findall(sql)) == 1 and "," not in sql.partition("FROM")[2]


def _unstable(pair: Oracles, sql: str, first: Answer, by: _By) -> bool:
    """Whether the same database answers differently when asked again."""
    for _ in range(_DRAWS if _DRAWN.search(sql) else 1):
        again = pair.ask(sql, which=0)
        if isinstance(again, Refusal) or differs(first, again, by=by) is not None:
            return True
    return False


def _answer(connection: duckdb.DuckDBPyConnection, sql: str) -> Answer:
    return answer(connection, sql, parameters=bound(sql) or None)


def _short(found: Answer | Refusal) -> str:
    if isinstance(found, Refusal):
        return f"refused {found.text[:200]}"
    return found.error[:200] if found.error else f"{len(found.rows)} rows"
