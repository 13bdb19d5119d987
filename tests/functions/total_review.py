"""Attacks "it cannot raise" with random queries: `python -m tests.functions.total_review [--seconds N] [--seed S] [--show]`.

A query over one wide table (a column per type, every extreme in it) is generated, judged by its bound plan, and, where
judged total, run on every form of the data: in memory, compressed in a file, behind a filter (selected vectors), one row,
no row; with statistics and without. An error then is a fault of the judgement. What is judged "may raise" is run too, so
that `--show` tells which reasons were never seen to raise: the candidates for more precision.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from rls.catalog import Catalog, Column, Relation
from rls.rewrite.bound import bound_plan
from rls.rewrite.functions import Review, reviews
from rls.rewrite.leakproof import why_plan_may_raise
from tests.functions.extremes import EXTREMES
from tests.functions.review import signatures
from tests.functions.worker import CHECKED, Worker

TYPES = tuple(EXTREMES)
NUMBERS = tuple(t for t in TYPES if t.endswith("INT") or t in ("FLOAT", "DOUBLE", "INTEGER") or t.startswith("DECIMAL"))
TIMES = ("DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIME", "INTERVAL")
COMMON = (*NUMBERS, *NUMBERS, *TIMES, *TIMES, "VARCHAR", "VARCHAR", "BOOLEAN")
LITERALS = (
    "0", "1", "-1", "2", "3", "7", "100", "1000", "0.5", "1.2", "0.01", "100.0", "1e3", "NULL", "'a'", "''", "'1'", "true",
    "'2020-01-01'", "DATE '1998-12-01'", "TIMESTAMP '2001-02-03 04:05:06'", "INTERVAL 1 DAY", "INTERVAL 3 MONTH",
    "INTERVAL '1' YEAR", "INTERVAL 5 HOUR", "2147483647", "9223372036854775807", "[1, 2]", "{'a': 1}", "'%a%'", "'%Y-%m'",
)  # fmt: skip
CASTS = (*COMMON, *TYPES, "DECIMAL(12,2)", "DECIMAL(15,4)", "DECIMAL(20,2)", "DECIMAL(38,6)", "DECIMAL(3,0)")
OPERATORS = (
    "+",
    "+",
    "-",
    "-",
    "*",
    "*",
    "/",
    "%",
    "//",
    "||",
    "=",
    "<",
    ">=",
    "<>",
    "IS DISTINCT FROM",
    "LIKE",
    "AND",
)
PARTS = ("'year'", "'month'", "'day'", "'hour'", "'quarter'", "'week'", "'minute'", "'dow'")
SOURCES = ("wide", "d.wide", "(SELECT * FROM wide WHERE id % 7 = 3)", "(SELECT * FROM d.wide WHERE id % 977 = 5)",
           "(SELECT * FROM wide WHERE id = 0)", "(SELECT * FROM wide WHERE id < 0)")  # fmt: skip
ROWS = 5000


def column(type_name: str) -> str:
    """The wide table's column of a type."""
    return f"c{TYPES.index(type_name)}"


def wide(source: random.Random, *, table: str) -> Iterator[str]:
    """Statements that make the wide table: every extreme of every type in its column, NULLs, in random company."""
    values = ", ".join(
        f"CAST(([{', '.join(f'CAST({value} AS {type_name})' for value in values)}])"
        # One place past the end: NULL.
        f"[(1 + hash(id, {n}, {source.randrange(1000)}) % {len(values) + 1})::INTEGER] AS {type_name}) AS {column(type_name)}"
        for n, (type_name, values) in enumerate(EXTREMES.items())
    )
    yield f"CREATE TABLE {table} AS SELECT id::INTEGER AS id, {values} FROM range({ROWS}) r(id)"


class Generator:
    """Random queries over `wide`; most are refused by the binder, the rest is what analysts write and what nobody does."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)
        rows = [row for row in reviews() if row.verdict != "forbidden"]
        self.scalars = [row for row in rows if row.kinds[0] in ("scalar", "macro")]
        # Half of the calls are of functions that claim to be total for some types only.
        self.claimed = [row for row in self.scalars if row.total]
        self.aggregates = [row for row in rows if row.kinds[0] == "aggregate"]
        self.claimed_aggregates = [row for row in self.aggregates if row.total or row.name in ("count", "sum", "avg")]

    def query(self) -> str:
        """One SELECT with `SOURCE` for its FROM."""
        pick = self.random.choice
        match self.random.randrange(10):
            case 0 | 1 | 2:
                return f"SELECT bit_xor(hash(r)) FROM (SELECT {self.expression(3)} AS r FROM SOURCE)"
            case 3:
                return f"SELECT count(*) FROM SOURCE WHERE {self.expression(2)} {pick(('=', '<', '>'))} {self.expression(2)}"
            case 4:
                return f"SELECT bit_xor(hash(r)) FROM (SELECT {self.aggregate()} AS r FROM SOURCE)"
            case 5:
                group = self.leaf()
                return (
                    f"SELECT bit_xor(hash(r)) FROM (SELECT {self.aggregate()} {pick('+-*/')} {self.aggregate()} AS r "
                    f"FROM SOURCE GROUP BY {pick((group, f'ROLLUP ({group}, c0)'))})"
                )
            case 6:
                inner = f"SELECT {self.aggregate()} AS a, {self.aggregate()} AS b, count(*) AS n FROM SOURCE GROUP BY {self.leaf()}"
                outer = pick(
                    ("sum(a)", "avg(b)", "max(a - b)", "sum(a * n)", "min(CAST(n AS INTEGER))", "sum(n) + 1", "a + n")
                )
                return f"SELECT bit_xor(hash(r)) FROM (SELECT {outer} AS r FROM ({inner}))"
            case 7:
                return f"SELECT bit_xor(hash(r)) FROM (SELECT {self.window()} AS r FROM SOURCE)"
            case 8:
                return (
                    f"SELECT count(*) FROM (SELECT * FROM SOURCE LIMIT 60) AS o WHERE {self.leaf()} "
                    f"{pick(('=', '<', 'IN', '>'))} (SELECT {pick((self.aggregate(), self.expression(1) + ' AS x'))} "
                    f"FROM SOURCE {pick(('', 'LIMIT 1', 'WHERE id = o.id'))})"
                )
            case _:
                return (
                    f"SELECT sum(hash(r)) FROM (SELECT a.{self.leaf()} AS r FROM (SELECT * FROM SOURCE LIMIT 80) AS a "
                    f"{pick(('', 'LEFT ', 'SEMI '))}JOIN (SELECT * FROM SOURCE LIMIT 80) AS b "
                    f"ON a.{self.leaf()} {pick(('=', '<', '<>'))} b.{self.leaf()})"
                )

    def leaf(self) -> str:
        return column(self.random.choice(COMMON if self.random.random() < 0.8 else TYPES))

    def expression(self, depth: int) -> str:
        if depth == 0 or self.random.random() < 0.15:
            return self.leaf() if self.random.random() < 0.65 else self.random.choice(LITERALS)
        pick, inner = self.random.choice, lambda: self.expression(depth - 1)
        match self.random.randrange(16):
            case 0 | 1 | 2 | 3 | 4:
                return f"({inner()} {pick(OPERATORS)} {inner()})"
            case 5 | 6:
                return f"CAST({inner()} AS {pick(CASTS)})"
            case 7:
                return f"TRY_CAST({inner()} AS {pick(CASTS)})"
            case 8:
                return f"CASE WHEN {inner()} {pick(('<', '=', 'IS NULL OR true ='))} {inner()} THEN {inner()} ELSE {inner()} END"
            case 9:
                return f"{pick(('coalesce', 'nullif', 'greatest', 'least', 'concat'))}({inner()}, {inner()})"
            case 10:
                return f"({inner()} {pick(('BETWEEN', 'NOT BETWEEN'))} {inner()} AND {inner()})"
            case 11:
                return f"({inner()} IN ({pick(LITERALS)}, {inner()}))"
            case 12:
                return f"{pick(('date_trunc', 'date_part', 'date_diff'))}({pick(PARTS)}, {inner()}{pick(('', f', {inner()}'))})"
            case 13:
                return f"{pick(('-', 'abs', 'round', 'year', 'month', 'length', 'list_value', 'floor', 'sign'))}({inner()})"
            case _:
                return self.call(pick(pick((self.scalars, self.claimed))), depth)

    def call(self, row: Review, depth: int) -> str:
        """A call with arguments of the types that an overload declares."""
        shapes = list(signatures(row.name, row.kinds[0]))
        if not shapes:
            return self.leaf()
        arguments = []
        for types in self.random.choice(shapes):
            known = [t for t in types if t in EXTREMES]
            if not known:
                arguments.append(self.random.choice(types))
            elif self.random.random() < 0.6:
                arguments.append(column(self.random.choice(known)))
            else:
                arguments.append(
                    self.random.choice(LITERALS) if self.random.random() < 0.7 else self.expression(depth - 1)
                )
        return f'"{row.name}"({", ".join(arguments)})'

    def aggregate(self) -> str:
        row = self.random.choice(self.aggregates if self.random.random() < 0.3 else self.claimed_aggregates)
        call = self.call(row, 1)
        if self.random.random() < 0.5:
            call = f"{row.name}({self.expression(2)})"
        end = self.random.choice(("", "", "", " FILTER (WHERE c0)", " FILTER (WHERE c2 > 1)"))
        return call + end

    def window(self) -> str:
        pick = self.random.choice
        call = pick((
            self.aggregate(), f"lag({self.expression(1)})", f"lead({self.expression(1)}, {pick(LITERALS)})", "row_number()",
            f"first_value({self.expression(1)})", f"ntile({pick(LITERALS)})", f"nth_value({self.leaf()}, {pick(LITERALS)})",
            "rank()", "percent_rank()", f"lag({self.leaf()}, {self.expression(1)}, {self.expression(1)})", "cume_dist()",
            f"last_value({self.leaf()})", "dense_rank()",
        ))  # fmt: skip
        frame = pick(("", "", "", "ROWS BETWEEN 2 PRECEDING AND CURRENT ROW", "ROWS 1 PRECEDING",
                      f"ROWS {pick(LITERALS)} PRECEDING", f"RANGE BETWEEN {pick(LITERALS)} PRECEDING AND CURRENT ROW",
                      "GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING"))  # fmt: skip
        return f"{call} OVER ({pick(('', f'PARTITION BY {self.leaf()} '))}ORDER BY {self.leaf()} {frame})"


@dataclass
class Outcome:
    """What a run saw: queries bound, judged total, and of the others by reason how many raised."""

    bound: int = 0
    total: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)
    raised: Counter[str] = field(default_factory=Counter)
    quiet: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)


class Bench:
    """Two workers with the wide table, with and without statistics, and its catalog to bind on."""

    def __init__(self) -> None:
        source = random.Random("wide")
        made = ";".join((*wide(source, table="wide"), "SET memory_limit = '3GB'"))
        columns = (Column("id", "INTEGER"), *(Column(column(t), t) for t in TYPES))
        self.catalog = Catalog.of("memory", [Relation(("main",), "wide", columns)])
        self.workers = [Worker(settings=f"{made};{setting}", stored=tuple(wide(source, table="wide"))) for setting in
                        (CHECKED, "SET disabled_optimizers = ''")]  # fmt: skip

    def plan(self, sql: str) -> object | None:
        """The bound plan, or None where the binder refuses."""
        return bound_plan(sql.replace("SOURCE", '"memory"."main"."wide"'), self.catalog)

    def attack(self, sql: str, outcome: Outcome) -> None:
        """Judge a query and run it; one that was judged total runs in three forms, drawn by its text."""
        plan = self.plan(sql)
        if plan is None:
            return
        outcome.bound += 1
        reason = why_plan_may_raise(plan)
        outcome.total += reason is None
        drawn = random.Random(sql)
        tries = [(self.workers[0], "wide"), *((drawn.choice(self.workers), drawn.choice(SOURCES)) for _ in range(2))]
        raised = []
        for worker, form in tries if reason is None else tries[:1]:
            text = sql.replace("SOURCE", form)
            kind, message = worker.ask(text)
            if kind not in ("ok", "hang") and "Out of Memory" not in message:
                raised.append((text, message))
        if reason is None:
            outcome.faults += raised[:1]
        else:
            (outcome.raised if raised else outcome.quiet)[reason] += 1
            if not raised:
                outcome.examples.setdefault(reason, sql)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


def review(bench: Bench, *, seed: str, seconds: float = 0, queries: int = 0) -> Outcome:
    """Attack with generated queries until the time or the number is reached."""
    generator, outcome, started, done = Generator(seed), Outcome(), time.monotonic(), 0
    while done < queries or time.monotonic() < started + seconds:
        done += 1
        bench.attack(generator.query(), outcome)
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--show", action="store_true", help="reasons that were never seen to raise")
    options = parser.parse_args()
    bench = Bench()
    outcome = review(bench, seed=options.seed, seconds=options.seconds)
    bench.close()
    print(f"{outcome.bound} queries bound, {outcome.total} judged total, {len(outcome.faults)} faults")
    for text, message in outcome.faults:
        print(f"  {message}\n    {text}")
    if options.show:
        for reason, count in outcome.quiet.most_common():
            print(
                f"  {count:>5} quiet, {outcome.raised[reason]:>5} raised: {reason}\n      {outcome.examples[reason][:300]}"
            )
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
