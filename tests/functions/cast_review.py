"""Reviews casts and comparisons with the running DuckDB: `python -m tests.functions.cast_review [TYPE …] [--write]`.

Every pair of built-in types is cast, by CAST and by TRY_CAST, over all extremes of the source: as a column in memory, in a
compressed file and behind a filter, then value by value, to find a witness: one value on which the cast raises. Prints
what differs from `rls/rewrite/casts.tsv`; `--write` writes the file anew, its reasons apart.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from rls.rewrite.casts import COMPARISON, CastReview, cast_reviews
from tests.functions.extremes import EXTREMES, TYPE_NUMBER
from tests.functions.worker import CHECKED, Worker

# Kind of type, as the table names it → the types of `EXTREMES` that stand for it.
KINDS: dict[str, tuple[str, ...]] = {}
for _name in EXTREMES:
    _kind = "LIST" if _name.endswith("[]") else "ARRAY" if _name.endswith("]") else _name.partition("(")[0]
    KINDS[_kind] = (*KINDS.get(_kind, ()), _name)
TARGETS = {**KINDS, "DECIMAL": ("DECIMAL(4,1)", "DECIMAL(18,3)", "DECIMAL(38,0)", "DECIMAL(38,37)")}
ZONES = ("UTC", "Pacific/Kiritimati", "America/Los_Angeles")
# What decides: magnitudes (see `rls.rewrite.magnitude`), or the casts of the parts.
EXACT = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT",
         "DECIMAL")  # fmt: skip
NESTED = ("LIST", "ARRAY", "STRUCT", "MAP", "UNION", "TUPLE")
BY_PARTS = {("LIST", "LIST"), ("ARRAY", "LIST"), ("STRUCT", "STRUCT"),
            *((kind, target) for kind in NESTED for target in ("VARCHAR", "JSON", COMPARISON))}  # fmt: skip
# The one type that stands for these kinds does not stand for all: a UNION takes what one of its members is.
TOO_MANY = {"UNION", "STRUCT", "TUPLE", "ENUM"}


@dataclass(frozen=True)
class Measured:
    """What the engine does with one pair: verdict, and a value of the source on which it raises."""

    verdict: str
    witness: str = ""


def measure(worker: Worker, source: str, target: str) -> Measured:
    """One pair of kinds, over all of their types; the worst counts."""
    found = [_measure(worker, a, b) for a in KINDS[source] for b in ((a,) if target == COMPARISON else TARGETS[target])]
    castable = [one for one in found if one.verdict != "refused"]
    worst = max(
        castable, key=lambda one: ("total", "raises", "forbidden").index(one.verdict), default=Measured("refused")
    )
    if worst.verdict != "forbidden" and ({source, target} <= set(EXACT) or (source, target) == ("BOOLEAN", "DECIMAL")):
        return Measured("magnitude")
    if worst.verdict != "forbidden" and (source, target) in BY_PARTS:
        return Measured("parts")
    if worst.verdict == "total" and target in TOO_MANY:
        return Measured("raises")
    return worst


def _measure(worker: Worker, source: str, target: str) -> Measured:
    texts = list(statements(source, target))
    if "TZ" in source + target:
        # Times of day move with the session's zone, and out of range with it.
        texts = [f"SET TimeZone = '{zone}'; {text}" for zone in ZONES for text in texts]
    outcomes = [worker.ask(text)[0] for text in texts]
    if outcomes[0] == "bind":
        return Measured("refused")
    if set(outcomes) == {"ok"}:
        return Measured("total")
    if "fatal" in outcomes or "crash" in outcomes:
        return Measured("forbidden", _witness(worker, source, target))
    return Measured("raises", _witness(worker, source, target))


def statements(source: str, target: str) -> Iterator[str]:
    """A pair tried in all forms; a comparison is tried in every operator, sorted and grouped."""
    table = f"x{TYPE_NUMBER[source]}"
    forms = (table, f"d.{table}", f"(SELECT * FROM d.{table} WHERE id % 3 = 1)", f"(SELECT * FROM {table} OFFSET 2)")
    if target in (source, COMPARISON):
        pairs = f"{table} AS a, {table} AS b"
        for operator in ("=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"):
            yield f"SELECT bit_xor(hash(a.v {operator} b.v)) FROM {pairs}"
            yield f"SELECT count(*) FROM {pairs} WHERE a.v {operator} b.v"
        yield f"SELECT bit_xor(hash(a.v IN (b.v, NULL))), bit_xor(hash(a.v BETWEEN b.v AND b.v)) FROM {pairs}"
        yield f"SELECT count(*) FROM {pairs} WHERE a.v NOT IN (SELECT v FROM d.{table})"
        yield f"SELECT count(*) FROM (SELECT DISTINCT v FROM d.{table} ORDER BY v)"
        yield f"SELECT bit_xor(hash(v)) FROM (SELECT v FROM d.{table} ORDER BY v DESC LIMIT 3)"
        yield f"SELECT bit_xor(hash(r)) FROM (SELECT rank() OVER (PARTITION BY v ORDER BY v) AS r FROM d.{table})"
        return
    for form in forms:
        yield f"SELECT bit_xor(hash(CAST(v AS {target}))) FROM {form}"
        yield f"SELECT count(*) FROM {form} WHERE CAST(v AS {target}) IS NOT NULL"


def try_statements(source: str, target: str) -> Iterator[str]:
    """The same with TRY_CAST."""
    for text in statements(source, target):
        yield text.replace("CAST(", "TRY_CAST(")


def _witness(worker: Worker, source: str, target: str) -> str:
    if target == COMPARISON:
        return ""
    for value in EXTREMES[source]:
        made = f"(SELECT CAST({value} AS {source}) AS v OFFSET 0)"
        if worker.ask(f"SELECT CAST(v AS {target}) FROM {made}")[0] not in ("ok", "bind"):
            return value
    return ""


def table(worker: Worker, kinds: list[str]) -> Iterator[tuple[str, str, Measured]]:
    """Every pair with one of these sources."""
    for source in kinds:
        for target in (*TARGETS, COMPARISON):
            if source == target and source not in ("DECIMAL", "LIST", "STRUCT"):
                continue
            found = measure(worker, source, target)
            if found.verdict in ("raises", "total") and target != COMPARISON:
                tried = {worker.ask(t)[0] for a in KINDS[source] for b in TARGETS[target] for t in try_statements(a, b)}
                if tried - {"ok", "bind"}:
                    found = Measured("forbidden", found.witness)
            yield source, target, found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("types", nargs="*", help="kinds of type to review as sources; default: all")
    parser.add_argument("--print", action="store_true", help="print rows for the table")
    options = parser.parse_args()
    worker = Worker(settings=CHECKED)
    known = {(row.source, target): row for row in cast_reviews() for target in row.targets}
    differs = 0
    for source in options.types or list(KINDS):
        rows: dict[tuple[str, str], list[str]] = {}
        for _, target, found in table(worker, [source]):
            rows.setdefault((found.verdict, found.witness), []).append(target)
            row: CastReview | None = known.get((source, target))
            if row is None or row.verdict != found.verdict:
                differs += 1
                if not options.print:
                    print(f"{source} to {target}: {found}, the table says {row and row.verdict}", flush=True)
        if options.print:
            for (verdict, witness), targets in rows.items():
                print("\t".join((source, verdict, "/".join(targets), witness, "")), flush=True)
    worker.close()
    return 1 if differs and not options.print else 0


if __name__ == "__main__":
    sys.exit(main())
