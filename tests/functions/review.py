"""Attacks the reviewed table with the running DuckDB: `python -m tests.functions.review {compare,fuzz,leaks} [NAME …]`.

compare  names that DuckDB has and the table lacks, or the other way round: the list of work after an upgrade.
fuzz     calls functions on every combination of argument types that binds, over all extremes of these types, as columns
         and with each argument in turn as a constant; prints what raised. A leakproof function must not.
leaks    asks which functions that raise do so on rows below an `OFFSET 0` fence (run over a whole dictionary, or not
         marked as fallible): these have to be forbidden or made safe by a condition.

Calls run in a worker process, because some end it: a crash or a hang is a finding like any other.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import duckdb

from rls.rewrite.functions import reviews
from tests.functions.extremes import EXTREMES, TYPE_NUMBER
from tests.functions.leaks import leaks
from tests.functions.worker import CHECKED, Worker

TYPES = tuple(EXTREMES)
# Stand for `ANY` where the product of all types would be too large.
FEW = ("INTEGER", "DOUBLE", "VARCHAR", "DATE", "TIMESTAMP", "INTERVAL", "INTEGER[]", "STRUCT(a INTEGER, b VARCHAR)")
LAMBDAS = ("lambda x: x", "lambda x: x IS NULL", "lambda x, y: y", "lambda x, y: x")
# A function that ended the process so often is not tried further: each time costs a restart or the time limit.
ENOUGH = 4
TEMPLATES = {"ANY", "T", "K", "V", "T[]", "K[]", "V[]", "ANY[]", "STRUCT", "UNION", "TUPLE", "MAP(K, V)", "DECIMAL", ""}
EXPRESSIONS = ("scalar", "aggregate", "window", "macro")


@dataclass
class Finding:
    """What the fuzz saw of one function."""

    calls: int = 0
    bound: list[tuple[str, ...]] = field(default_factory=list)
    raised: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    fatal: list[tuple[tuple[str, ...], str]] = field(default_factory=list)

    def refutes_leakproof(self) -> list[tuple[tuple[str, ...], str]]:
        """The calls that a leakproof function must not have: all errors but those of a VARIANT being cast."""
        return [found for found in self.raised if not any("VARIANT" in argument for argument in found[0])] + self.fatal


def compare(connection: duckdb.DuckDBPyConnection) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """(name, kind) pairs that DuckDB has and the table lacks, and the other way round; both empty when reviewed."""
    engine = set(connection.execute("SELECT lower(function_name), function_type FROM duckdb_functions()").fetchall())
    types = "SELECT lower(type_name), 'type' FROM duckdb_types() WHERE database_name = 'system'"
    engine |= set(connection.execute(types).fetchall())
    engine |= set(connection.execute("SELECT collname, 'collation' FROM pragma_collations()").fetchall())
    # Known to the binder, absent from the listings: UNNEST and `->` in expressions, PostgreSQL's names of binary order.
    engine |= {("unnest", "syntax"), ("->", "syntax"), ("c", "collation"), ("posix", "collation")}
    table = {(row.name, row.kinds[0]) for row in reviews()}
    return engine - table, table - engine


@cache
def overloads() -> dict[tuple[str, str], list[tuple[list[str], str | None, int]]]:
    """(name, kind) → declared parameter types, type of further arguments, number of parameters, of each overload."""
    query = (
        "SELECT DISTINCT lower(function_name), function_type, parameter_types, varargs, len(parameters) "
        "FROM duckdb_functions() ORDER BY ALL"
    )
    found: dict[tuple[str, str], list[tuple[list[str], str | None, int]]] = {}
    with duckdb.connect() as connection:
        for name, kind, declared, varargs, count in connection.execute(query).fetchall():
            found.setdefault((name, kind), []).append((declared, varargs, count))
    return found


def signatures(name: str, kind: str) -> Iterator[list[tuple[str, ...]]]:
    """Per overload and number of arguments (at most 4): for each argument the types to try."""
    for declared, varargs, count in overloads().get((name, kind), []):
        shapes = [list(declared) + [""] * (count - len(declared))]
        if varargs:
            shapes += [shapes[0] + [varargs], shapes[0] + [varargs] * 2]
        for shape in shapes:
            if len(shape) <= 4:
                yield [candidates(parameter or "", few=len(shape) > 2) for parameter in shape]


@cache
def candidates(declared: str, *, few: bool) -> tuple[str, ...]:
    """Types that the binder may accept for a declared parameter: itself and what casts to it by itself."""
    if declared == "LAMBDA":
        return LAMBDAS
    if declared.startswith("DECIMAL"):
        return tuple(t for t in TYPES if t.startswith(("DECIMAL", "INTEGER", "HUGEINT")) and t != "INTEGER[]")
    if declared in TEMPLATES or "[ANY]" in declared:
        return FEW if few else TYPES
    query = ", ".join(f"can_cast_implicitly(NULL::{t}, NULL::{declared})" for t in TYPES)
    try:
        with duckdb.connect() as connection:
            castable = connection.execute(f"SELECT {query}").fetchone() or ()
    except duckdb.Error:
        return FEW if few else TYPES
    found = [t for t, able in zip(TYPES, castable, strict=True) if able or t == declared]
    return tuple(found[:6] if few and len(found) > 6 else found) or (FEW if few else TYPES)


def call(name: str, kind: str, arguments: Sequence[str]) -> str:
    """A SELECT that evaluates the call on all rows and returns one hash; `arguments` are types, lambdas or constants."""
    values, sources = [], []
    for position, argument in enumerate(arguments):
        if argument in TYPE_NUMBER:
            sources.append(f"x{TYPE_NUMBER[argument]} AS t{position}")
            values.append(f"t{position}.v")
        else:
            values.append(argument)
    text = f'"{name}"({", ".join(values)})'
    if kind == "window":
        text += f" OVER (ORDER BY {values[0]})" if values else " OVER ()"
    rows = f"SELECT {text} AS r" + (f" FROM {', '.join(sources)}" if sources else "")
    # The hash reads every value; OFFSET keeps it from being computed out of statistics.
    return f"SELECT bit_xor(hash(r)) FROM ({rows} OFFSET 0)"


def combinations(name: str, kind: str, *, limit: int = 0) -> list[tuple[str, ...]]:
    """Argument types to try, sorted or sampled by name: the same every time."""
    todo = sorted({tuple(c) for shape in signatures(name, kind) for c in itertools.product(*shape)})
    return random.Random(name).sample(todo, limit) if limit and len(todo) > limit else todo


def leak(worker: Worker, name: str, kind: str, *, limit: int = 0) -> Finding:
    """Tries whether the function raises on rows below a fence: see `function_leaks`."""
    finding = Finding()
    for types in combinations(name, kind, limit=limit):
        template = f'"{name}"({", ".join(["{}"] * len(types))})'
        finding.calls += 1
        finding.raised += [((query,), message) for query, message in leaks(worker, template, types)]
        if len(finding.raised) > ENOUGH:
            break
    return finding


def fuzz(worker: Worker, name: str, kind: str, *, limit: int = 0) -> Finding:
    """Tries one function; `limit` > 0 takes a sample of so many argument types, the same every time."""
    finding = Finding()
    todo = combinations(name, kind, limit=limit)
    for types in todo:
        if len(finding.fatal) > ENOUGH:
            break
        outcome, message = attempt(worker, finding, name, kind, types)
        if outcome == "ok":
            finding.bound.append(types)
        elif outcome != "raises" and "constant" not in message:
            continue
        if len(todo) > 300 and not all(t in FEW or t in LAMBDAS for t in types):
            continue
        for position, type_name in enumerate(types):
            if type_name not in EXTREMES or len(types) == 1:
                continue
            values = EXTREMES[type_name] if len(types) == 2 else EXTREMES[type_name][:4]
            for value in ("NULL", *values):
                constant = f"CAST({value} AS {type_name})"
                arguments = (*types[:position], constant, *types[position + 1 :])
                if attempt(worker, finding, name, kind, arguments)[0] == "ok" and outcome == "bind":
                    finding.bound.append(arguments)
    return finding


def attempt(worker: Worker, finding: Finding, name: str, kind: str, arguments: tuple[str, ...]) -> tuple[str, str]:
    outcome, message = worker.ask(call(name, kind, arguments))
    finding.calls += 1
    if outcome == "raises":
        finding.raised.append((arguments, message))
    elif outcome in ("fatal", "crash", "hang"):
        finding.fatal.append((arguments, f"{outcome}: {message}"))
    return outcome, message


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.functions.review", description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=("compare", "fuzz", "leaks"))
    parser.add_argument("names", nargs="*", help="functions to try; default: every expression that is not forbidden")
    parser.add_argument("--verdict", help="only functions with this verdict")
    parser.add_argument("--kind", choices=EXPRESSIONS, help="only functions of this kind")
    parser.add_argument("--limit", type=int, default=0, help="argument types to try per function; 0 = all")
    parser.add_argument("--out", type=Path, help="write findings as JSON lines")
    options = parser.parse_intermixed_args()
    connection = duckdb.connect()
    missing, extra = compare(connection)
    for name, kind in sorted(missing):
        print(f"not reviewed: {kind} `{name}`")
    for name, kind in sorted(extra):
        print(f"gone from DuckDB: {kind} `{name}`")
    if options.command == "compare":
        sys.exit(1 if missing or extra else 0)
    # Errors that statistics hide are errors; leaks that statistics make are leaks.
    worker = Worker(settings=CHECKED if options.command == "fuzz" else "")
    attack = fuzz if options.command == "fuzz" else leak
    broken = False
    for row in reviews():
        kind = row.kinds[0]
        wanted = row.name in options.names if options.names else row.verdict != "forbidden"
        if kind not in EXPRESSIONS or not wanted or options.verdict not in (None, row.verdict):
            continue
        if options.kind not in (None, kind):
            continue
        finding = attack(worker, row.name, kind, limit=options.limit)
        if options.command == "fuzz":
            wrong = bool(finding.fatal or (row.verdict == "leakproof" and finding.refutes_leakproof()))
        else:
            wrong = bool(finding.raised and row.verdict != "forbidden" and not row.condition)
        broken |= wrong
        first = (finding.fatal or finding.raised or [((), "")])[0]
        print(f"{'WRONG ' if wrong else ''}{row.verdict} {kind} {row.name}: {finding.calls} calls, {len(finding.bound)} bound, "
              f"{len(finding.raised)} raised, {len(finding.fatal)} fatal {first[1][:100]!r}", flush=True)  # fmt: skip
        if options.out:
            with options.out.open("a") as file:
                file.write(json.dumps({"name": row.name, "kind": kind, **vars(finding)}) + "\n")
    worker.close()
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
