"""Rows, values and names, expected and found → failures. What a query and a relation have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rls.catalog import fold
from rls.lab.suites.suite import Failure, ShownRow
from rls.lab.world.values import canonical, canonical_row, differences, show
from rls.result import Result

__all__ = ["compare_names", "compare_rows", "compare_set"]

_SAMPLES = 5


def compare_names(
    kind: str, expected: Sequence[str], found: Iterable[str], what: str, *, ordered: bool = False
) -> Iterator[Failure]:
    """Names of columns or policies; without `ordered` their order and case do not matter."""
    actual = list(found)
    wanted, got = [fold(n) for n in expected], [fold(n) for n in actual]
    if wanted == got or (not ordered and sorted(wanted) == sorted(got)):
        return
    extra = [n for n in actual if fold(n) not in wanted]
    missing = [n for n in expected if fold(n) not in got]
    parts = [f"{what} are {', '.join(actual) or 'none'}"]
    if extra:
        parts.append(f"not expected: {', '.join(extra)}")
    if missing:
        parts.append(f"missing: {', '.join(missing)}")
    if not extra and not missing:
        parts.append(f"expected in the order {', '.join(expected)}")
    yield Failure(kind, "; ".join(parts))


def compare_set(what: str, expected: Sequence[Any], found: Sequence[Any]) -> Iterator[Failure]:
    """Distinct values."""
    like = next((v for v in found if v is not None), None)
    wanted = {canonical(v, like): v for v in expected}
    got = {canonical(v): v for v in found}
    extra = [show(v) for k, v in got.items() if k not in wanted]
    missing = [show(v) for k, v in wanted.items() if k not in got]
    if not extra and not missing:
        return
    parts = []
    if extra:
        parts.append(f"not expected: {_some(extra)}")
    if missing:
        parts.append(f"missing: {_some(missing)}")
    yield Failure("values", f"{what}: {'; '.join(parts)}")


def compare_rows(result: Result, expected: Sequence[Any], *, ordered: bool) -> Iterator[Failure]:
    """Whole rows. Expected ones are lists, or mappings that name the columns to compare."""
    names = list(result.columns)
    chosen = _chosen(expected, names)
    if isinstance(chosen, Failure):
        yield chosen
        return
    actual = [tuple(row[i] for i in chosen) for row in result.rows]
    labels = [names[i] for i in chosen]
    like = [next((row[i] for row in actual if row[i] is not None), None) for i in range(len(chosen))]
    wanted = [_expected_row(row, labels) for row in expected]
    left, right = [canonical_row(row, like) for row in wanted], [canonical_row(row) for row in actual]
    missing, extra = differences(left, right)
    for kind, places, rows, word in (
        ("extra_rows", extra, actual, "should not be there"),
        ("missing_rows", missing, wanted, "missing"),
    ):
        if places:
            shown = tuple(ShownRow(dict(zip(labels, rows[i], strict=True))) for i in places[:_SAMPLES])
            noun = "row" if len(places) == 1 else "rows"
            yield Failure(kind, f"{len(places):,} {noun} {word}", shown, len(places), word)
    if ordered and not missing and not extra and left != right:
        first = next(i for i, (a, b) in enumerate(zip(left, right, strict=True)) if a != b)
        message = f"the rows are there in another order: row {first + 1} is {show(actual[first])}"
        yield Failure("order", f"{message}, {show(wanted[first])} expected")


def _chosen(expected: Sequence[Any], names: list[str]) -> list[int] | Failure:
    """The columns to compare, by place."""
    mappings = [row for row in expected if isinstance(row, dict)]
    if mappings and len(mappings) == len(expected):
        wanted = list(dict.fromkeys(name for row in mappings for name in row))
        places = []
        for name in wanted:
            at = next((i for i, n in enumerate(names) if fold(n) == fold(name)), None)
            if at is None:
                return Failure("columns", f"the answer has no column `{name}`, it has {', '.join(names)}")
            places.append(at)
        return places
    if mappings or any(not isinstance(row, list) for row in expected):
        return Failure("rows", "expected rows are all lists, or all mappings of columns")
    wrong = next((row for row in expected if len(row) != len(names)), None)
    if wrong is not None:
        return Failure("columns", f"{len(wrong)} values per row expected, the answer has {', '.join(names)}")
    return list(range(len(names)))


def _expected_row(row: Any, labels: list[str]) -> tuple[Any, ...]:
    if isinstance(row, dict):
        folded = {fold(name): value for name, value in row.items()}
        return tuple(folded.get(fold(label)) for label in labels)
    return tuple(row)


def _some(texts: list[str], most: int = 8) -> str:
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
