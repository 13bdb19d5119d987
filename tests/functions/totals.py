"""Finds the exact argument types for which a function that raises on some types is total: the table's column `total`.

The binder makes every implicit cast a call of its own, so a bound function has the types of one of its overloads. Each
overload is called on all extremes of exactly these types; where it raises, whole numbers and texts are tried as literals
(`#BIGINT`: a whole number within ±2147483647, `#VARCHAR`: any text the binder takes, `'month'`: that text).
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence

from rls.rewrite.functions import ANY, SCALARS, SHORT, reviews
from tests.functions.cast_review import KINDS
from tests.functions.extremes import EXTREMES
from tests.functions.review import call, overloads
from tests.functions.worker import CHECKED, Worker

# As `typeof` prints them, where that is not the short name.
WHOLE = ("0", "1", "-1", "2", "3", "12", "100", "1000", "2147483647", "-2147483647", "NULL")
PARTS = ("year", "quarter", "month", "week", "day", "hour", "minute", "second")
FORMATS = tuple(f"'%{letter}'" for letter in "aAwudbBhmyYHIpMSgfnzZjUWcxXGV%")
COLUMN, LITERAL = "column", "literal"
# Any width and scale is a DECIMAL.
DECIMALS = tuple(name for name in EXTREMES if name.startswith("DECIMAL("))


def totals(worker: Worker, name: str, kind: str = "scalar") -> list[str]:
    """Patterns of argument types, such as `DATE/TIMESTAMP,#BIGINT`, for which no call raises."""
    found: list[tuple[str, ...]] = []
    for types in _overloads(name, kind):
        found += _patterns(worker, name, kind, types)
    return _merge(found)


def _overloads(name: str, kind: str) -> Iterator[tuple[str, ...]]:
    seen = set()
    for declared, varargs, _ in overloads().get((name, kind), []):
        shapes = [declared] + ([[*declared, varargs]] if varargs and len(declared) < 3 else [])
        for shape in shapes:
            if not 1 <= len(shape) <= 3:
                continue
            for scalar in (*SCALARS, "DECIMAL"):
                # A template or ANY: the same scalar type everywhere, as the binder unifies them.
                types = tuple(scalar if p in ("ANY", "T") else SHORT.get(p, p) for p in shape)
                if types not in seen and all(t in SCALARS or t == "DECIMAL" for t in types):
                    seen.add(types)
                    yield types


def _patterns(worker: Worker, name: str, kind: str, types: Sequence[str]) -> Iterator[tuple[str, ...]]:
    literals = [("VARCHAR",), *[("INTEGER", "BIGINT", "VARCHAR")] * 2]
    choices = [[COLUMN, LITERAL] if t in able else [COLUMN] for t, able in zip(types, literals, strict=False)]
    passed: list[tuple[str, ...]] = []
    for shape in sorted(itertools.product(*choices), key=lambda s: s.count(LITERAL)):
        covered = any(all(a in (b, COLUMN) for a, b in zip(old, shape, strict=True)) for old in passed)
        if covered or shape.count(COLUMN) == 0:
            continue
        parts: Sequence[str] = ("",)
        if name.startswith("date") and shape[0] == LITERAL:
            parts = ("", *PARTS)
        for part in parts:
            if part and any(old[0] == LITERAL for old in passed):
                break
            if _is_total(worker, (name, kind), types, shape, part):
                if not part:
                    passed.append(shape)
                first = [f"'{part}'"] if part else []
                rest = [t if s == COLUMN else f"#{t}" for t, s in zip(types, shape, strict=True)][len(first) :]
                yield (*first, *rest)


def _is_total(worker: Worker, function: tuple[str, str], types: Sequence[str], shape: Sequence[str], part: str) -> bool:
    pools: list[Sequence[str]] = []
    for position, (type_name, place) in enumerate(zip(types, shape, strict=True)):
        if place == COLUMN:
            pools.append(DECIMALS if type_name == "DECIMAL" else [type_name])
        elif position == 0 and part:
            pools.append([f"'{part}'"])
        else:
            values = (*EXTREMES[type_name], *FORMATS) if type_name == "VARCHAR" else WHOLE
            pools.append([f"CAST({value} AS {type_name})" for value in values])
    bound = False
    for arguments in itertools.product(*pools):
        for form in forms(*function, arguments):
            outcome, _ = worker.ask(form)
            if outcome not in ("ok", "bind"):
                return False
            bound |= outcome == "ok"
    return bound


def forms(name: str, kind: str, arguments: Sequence[str]) -> Iterator[str]:
    """The statements that a call is tried in: an aggregate also by group, distinct, filtered and as a window."""
    plain = call(name, kind, arguments)
    yield plain
    if kind == "aggregate":
        text, _, rest = plain.removeprefix("SELECT bit_xor(hash(r)) FROM (SELECT ").partition(" AS r FROM ")
        source = rest.removesuffix(" OFFSET 0)")
        for changed, end in (
            (f"{text[:-1].replace('(', '(DISTINCT ', 1)})", ""),
            (f"{text} FILTER (WHERE t0.v IS NOT NULL)", ""),
            (f"{text} OVER (ORDER BY t0.v ROWS BETWEEN 2 PRECEDING AND CURRENT ROW)", ""),
            (f"{text} OVER (PARTITION BY t0.v)", ""),
            (text, " GROUP BY t0.v"),
            # Enough rows for several vectors.
            (text, f", range({1 + 5000 // 12 ** max(1, source.count(' AS t'))})"),
        ):
            yield f"SELECT bit_xor(hash(r)) FROM (SELECT {changed} AS r FROM {source}{end} OFFSET 0)"


def _merge(found: list[tuple[str, ...]]) -> list[str]:
    """Folds patterns that differ in one argument only: (`DATE`, `X`), (`TIME`, `X`) → `DATE/TIME,X`."""
    patterns = list(dict.fromkeys((p[0], *("=" if t == p[0] else t for t in p[1:])) for p in found))
    for position in range(max(map(len, patterns), default=0)):
        groups: dict[tuple[str, ...], list[str]] = {}
        for pattern in patterns:
            if position < len(pattern):
                key = (*pattern[:position], "", *pattern[position + 1 :])
                groups.setdefault(key, []).append(pattern[position])
        short = [p for p in patterns if len(p) <= position]
        patterns = short + [(*k[:position], "/".join(v), *k[position + 1 :]) for k, v in groups.items()]
    return [",".join(_shortened(options) for options in pattern) for pattern in patterns]


def _shortened(options: str) -> str:
    types = options.split("/")
    if not set(SCALARS) <= set(types):
        return options
    return "/".join(("SCALAR", *(t for t in types if t not in SCALARS)))


def examples(total: str) -> Iterator[tuple[str, ...]]:
    """For each pattern of a total: arguments that it covers, a type for a column and one literal of each kind."""
    for pattern in filter(None, total.split("|")):
        parts = pattern.split(",")
        # Any number of arguments: two and three.
        repeated = [parts[-1][:-1]] * 2 if parts[-1].endswith("*") else parts[-1:]
        options = [list(_spread(option)) for option in (*parts[:-1], *repeated)]
        for first in options[0]:
            # The others take turns, not all combinations.
            for turn in range(max(map(len, options[1:]), default=1)):
                rest = [o[turn % len(o)] for o in options[1:]]
                yield tuple(_example(first if option == "=" else option) for option in (first, *rest))


def _spread(option: str) -> Iterator[str]:
    for one in option.split("/"):
        if one in ("SCALAR", "ANY"):
            yield from _spread("/".join(SCALARS if one == "SCALAR" else sorted(ANY)))
        else:
            yield from KINDS[one] if one not in EXTREMES and one in KINDS else [one]


def _example(option: str) -> str:
    match option:
        case "#VARCHAR":
            return "'%G'"
        case "#INTEGER+":
            return "CAST(38 AS INTEGER)"
        case "#BIGINT" | "#INTEGER":
            return f"CAST(-2147483647 AS {option[1:]})"
        case _:
            return option


if __name__ == "__main__":
    started = Worker(settings=CHECKED)
    for row in reviews():
        kind = row.kinds[0]
        wanted = {row.name, kind} & set(sys.argv[1:]) or len(sys.argv) == 1
        if kind in ("scalar", "aggregate") and row.verdict == "raises" and wanted:
            print(f"{row.name}\t{kind}\t{'|'.join(totals(started, row.name, kind))}", flush=True)
    started.close()
