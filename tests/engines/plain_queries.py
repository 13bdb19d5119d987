"""Random queries in words that every engine has: arithmetic that may overflow, casts that may not fit, joins, groups.

Takes a seed and the tables that a principal sees; gives DuckDB's SQL that binds. What `tests.fuzz.queries` draws is
mostly refused elsewhere, for functions and types that only DuckDB has; here the half that may raise on a hidden row is
written so that an engine which evaluates it too early tells of that row.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.fuzz.calls import Binder
from tests.judging.oracle import quoted

__all__ = ["NAMED", "draw_plain", "made_of"]

_KINDS = {
    "SMALLINT": "whole", "INTEGER": "whole", "BIGINT": "whole", "HUGEINT": "whole", "DOUBLE": "float",
    "VARCHAR": "text", "DATE": "day", "TIMESTAMP": "time", "BOOLEAN": "truth",
}  # fmt: skip
# `{a}` and `{b}` are expressions of the kind, `{w}` of a whole number, `{c}` a condition.
_MADE: Mapping[str, tuple[str, ...]] = {
    "whole": (
        "({a} * 1000)", "({a} + {b})", "({a} - {b})", "(- {a})", "abs({a})", "({a} // {b})", "({a} % {b})",
        "CAST({a} AS SMALLINT)", "CAST({a} AS INTEGER)", "coalesce({a}, {b})", "nullif({a}, {b})", "greatest({a}, {b})",
        "CASE WHEN {c} THEN {a} ELSE {b} END", "length({t})", "year({d})", "month({d})", "({a} * {a} * {a})",
        "date_diff('day', {d}, DATE '2024-03-01')", "date_diff('hour', {m}, TIMESTAMP '2024-03-01')", "strpos({t}, 'a')",
    ),
    "float": (
        "({a} / {b})", "sqrt({a})", "({a} * 1e308)", "power({a}, 3)", "CAST({w} AS DOUBLE)", "round({a}, 1)",
        "coalesce({a}, {b})", "CASE WHEN {c} THEN {a} ELSE {b} END", "({a} + {b})", "abs({a})", "ceil({a})",
    ),
    "exact": (
        "({a} * {b})", "({a} + {b})", "CAST({a} AS DECIMAL(4,2))", "coalesce({a}, {b})", "round({a}, 1)", "(- {a})",
        "CAST({w} AS DECIMAL(9,2))", "CASE WHEN {c} THEN {a} END",
    ),
    "text": (
        "upper({a})", "lower({a})", "({a} || {b})", "substring({a}, 2, 3)", "replace({a}, 'a', {b})", "left({a}, 2)",
        "split_part({a}, 'a', 1)", "coalesce({a}, {b})", "CAST({w} AS VARCHAR)", "CAST({d} AS VARCHAR)", "md5({a})",
        "CASE WHEN {c} THEN {a} ELSE 'none' END", "concat({a}, '-', {b})", "trim({a}, 'a')",
    ),
    "day": (
        "({a} + 30)", "({a} - 30)", "({a} + CAST({w} AS INTEGER))", "CAST({m} AS DATE)", "coalesce({a}, {b})",
        "CASE WHEN {c} THEN {a} END",
    ),
    "time": (
        "({a} + INTERVAL 1 YEAR)", "({a} - INTERVAL 3 DAY)", "date_trunc('month', {a})", "({d} + INTERVAL 1 MONTH)",
        "CAST({d} AS TIMESTAMP)", "coalesce({a}, {b})", "date_trunc('hour', {a})",
    ),
    "truth": (
        "({t} NOT IN ('a', 'acme'))", "({w} NOT BETWEEN {n} AND 2)", "({t} NOT LIKE 'a%')", "(NOT starts_with({t}, {t}))",
        "({w} > {n})", "({w} = {n})", "({f} < 2.5)", "({e} >= 10)", "({t} LIKE '%a%')", "({t} < 'b')", "({t} = 'acme')",
        "({d} >= DATE '2024-02-01')", "({m} < TIMESTAMP '2024-06-01')", "({w} IS NULL)", "({t} IN ('a', 'Ada', '5'))",
        "({w} BETWEEN {n} AND 12)", "({c} AND {c})", "({c} OR {c})", "(NOT {c})", "starts_with({t}, 'S')", "({t} ILIKE 's%')",
        "({w} IS DISTINCT FROM {n})",
    ),
}  # fmt: skip
_LETTERS = {"w": "whole", "f": "float", "e": "exact", "t": "text", "d": "day", "m": "time"}
NAMED = _LETTERS
"""What the other letters of an expression are of."""

_PLAIN = {
    "whole": "7", "float": "1.5e0", "exact": "2.25", "text": "'abc'", "day": "DATE '2024-02-29'",
    "time": "TIMESTAMP '2024-05-06 07:08:09'", "truth": "true",
}  # fmt: skip
_FOLDS = {
    "whole": ("sum({a})", "min({a})", "max({a})", "avg({a})", "count(DISTINCT {a})", "arg_max({a}, {a})", "median({a})",
              "stddev_pop({a})", "count_if({a} > 3)"),
    "float": ("sum({a})", "max({a})", "avg({a})", "median({a})", "var_samp({a})"),
    "exact": ("sum({a})", "min({a})", "avg({a})"),
    "text": ("min({a})", "max({a})", "count({a})", "string_agg({a}, ',' ORDER BY {a})", "list({a} ORDER BY {a})"),
    "day": ("min({a})", "max({a})"), "time": ("min({a})", "max({a})"), "truth": ("bool_and({a})", "bool_or({a})"),
}  # fmt: skip
_ATTEMPTS = 12


def made_of(kind: str) -> tuple[str, ...]:
    """Expressions of a kind, with letters for what they are made of."""
    return _MADE[kind]


def draw_plain(seed: str, *, binder: Binder, tables: Mapping[tuple[str, ...], list[tuple[str, str]]]) -> str:
    """The query of a seed."""
    source = random.Random(seed)
    text = ""
    for _ in range(_ATTEMPTS):
        text = _Plain(source, tables).statement()
        if binder.describe(text) is not None:
            break
    return text


@dataclass
class _Plain:
    random: random.Random
    tables: Mapping[tuple[str, ...], list[tuple[str, str]]]
    aliases: int = 0
    columns: dict[str, list[str]] = field(default_factory=dict)

    def statement(self) -> str:
        """A whole statement."""
        source = self._from(self.random.choice((0, 0, 1, 1, 2)))
        where = f" WHERE {self._of('truth', 2)}" if self._chance(0.75) else ""
        kinds = [self.random.choice(list(_FOLDS)) for _ in range(self.random.choice((1, 2, 2, 3)))]
        items = ", ".join(f"{self._of(kind, 2)} AS c{n}" for n, kind in enumerate(kinds))
        folds = ", ".join(f"{self._fold(kind)} AS c{n}" for n, kind in enumerate(kinds))
        match self.random.randrange(12):
            case 0 | 1:
                return f"SELECT {folds} FROM {source}{where}"
            case 2 | 3:
                key = self._of(self.random.choice(("text", "whole", "day")), 1)
                having = f" HAVING {self._fold('whole')} > 3" if self._chance(0.2) else ""
                return f"SELECT {key} AS k, {folds} FROM {source}{where} GROUP BY {key}{having} ORDER BY ALL"
            case 4:
                return f"SELECT DISTINCT {items} FROM {source}{where} ORDER BY ALL LIMIT 5"
            case 5:
                return f"SELECT count(*) AS n FROM (SELECT {items} FROM {source}{where}) AS q WHERE q.c0 IS NOT NULL"
            case 6:
                return (
                    f"WITH w AS (SELECT {items} FROM {source}{where}) SELECT * FROM w WHERE c0 IS NOT NULL ORDER BY ALL"
                )
            case 7:
                over = f"OVER (ORDER BY {self._of('whole', 0)}, {self._of('text', 0)})"
                name = self.random.choice(("rank()", f"sum({self._of('whole', 1)})", f"max({self._of('day', 1)})"))
                return f"SELECT {items}, {name} {over} AS r FROM {source}{where}"
            case 8:
                word = self.random.choice(("UNION", "UNION ALL", "EXCEPT", "INTERSECT"))
                other = ", ".join(self._of(kind, 1) for kind in kinds)
                return f"SELECT {items} FROM {source}{where} {word} SELECT {other} FROM {source}"
            case 9:
                return f"SELECT {items} FROM {source}{where} QUALIFY row_number() OVER (ORDER BY {self._of('whole', 1)}) < 9"
            case _:
                return f"SELECT {items} FROM {source}{where}"

    def _from(self, joins: int) -> str:
        text = self._table()
        for _ in range(joins):
            before = {kind: list(names) for kind, names in self.columns.items()}
            right = self._table()
            kind = self.random.choice(("whole", "text"))
            new = [name for name in self.columns.get(kind, []) if name not in before.get(kind, [])]
            if not new or not before.get(kind):
                self.columns = before
                continue
            on = f"{self.random.choice(before[kind])} = {self.random.choice(new)}"
            if self._chance(0.3):
                on = f"{on} AND {self._of('truth', 1)}"
            word = self.random.choice(
                ("JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "SEMI JOIN", "ANTI JOIN")
            )
            text = f"{text} {word} {right} ON {on}"
            if word.split()[0] in ("SEMI", "ANTI"):
                self.columns = before
        return text

    def _table(self) -> str:
        self.aliases += 1
        alias = f"t{self.aliases}"
        path, columns = self.random.choice(sorted(self.tables.items()))
        for name, type_ in columns:
            kind = "exact" if type_.startswith("DECIMAL") and not type_.endswith("]") else _KINDS.get(type_)
            if kind:
                self.columns.setdefault(kind, []).append(f"{alias}.{quoted(name)}")
        source = quoted(*path)
        if self._chance(0.15):
            source = f"(SELECT * FROM {source})"
        return f"{source} AS {alias}"

    def _of(self, kind: str, depth: int) -> str:
        """An expression of a kind."""
        known = self.columns.get(kind, [])
        if depth <= 0 or self._chance(0.25):
            return self.random.choice(known) if known and self._chance(0.9) else _PLAIN[kind]
        if depth > 1 and self._chance(0.08) and kind != "truth":
            return self._scalar(kind)
        if depth > 1 and self._chance(0.12) and kind == "truth":
            return self._exists()
        made = self.random.choice(_MADE[kind])
        parts = {letter: self._of(other, depth - 1) for letter, other in _LETTERS.items() if f"{{{letter}}}" in made}
        if "{c}" in made:
            parts["c"] = self._of("truth", depth - 1)
        return made.format(
            a=self._of(kind, depth - 1), b=self._of(kind, depth - 1), n=self.random.choice("0158"), **parts
        )

    def _fold(self, kind: str) -> str:
        call = self.random.choice(_FOLDS[kind]).format(a=self._of(kind, 1))
        return f"{call} FILTER (WHERE {self._of('truth', 1)})" if self._chance(0.15) and "arg_" not in call else call

    def _inside(self) -> tuple[str, dict[str, list[str]]]:
        around, self.columns = self.columns, {}
        return self._table(), around

    def _scalar(self, kind: str) -> str:
        source, around = self._inside()
        text = f"(SELECT max({self._of(kind, 1)}) FROM {source} WHERE {self._of('truth', 1)})"
        self.columns = around
        return text

    def _exists(self) -> str:
        source, around = self._inside()
        kind = self.random.choice(("whole", "text"))
        ours, outside = self._of(kind, 1), self.random.choice(around.get(kind) or [_PLAIN[kind]])
        text = self.random.choice(
            (
                f"EXISTS (SELECT 1 FROM {source} WHERE {ours} = {outside})",
                f"({outside} IN (SELECT {ours} FROM {source}))",
            )
        )
        self.columns = around
        return text

    def _chance(self, probability: float) -> bool:
        return self.random.random() < probability
