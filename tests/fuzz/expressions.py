"""Random expressions of a wanted type over the relations in scope.

It takes a seeded random source and a `Binder` and returns SQL text. Half of the work is in `provoking`: expressions
that succeed on every ordinary value and fail on what `vary` puts into hidden rows, without a word in them that says so.
"""

from __future__ import annotations

import random
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from tests.functions.extremes import EXTREMES
from tests.fuzz.calls import ORDER_BOUND, Binder, Overload, by_name, overloads_for, overloads_of, texts_for
from tests.fuzz.provoking import PARTS, PROVOKING
from tests.fuzz.schema import TABLES
from tests.judging.oracle import quoted

__all__ = ["NOWHERE", "NUMBERS", "TYPES", "Expressions", "Rel", "Scope", "reference"]

TYPES = (
    "INTEGER", "INTEGER", "BIGINT", "VARCHAR", "VARCHAR", "VARCHAR", "DOUBLE", "DECIMAL(12,2)", "BOOLEAN", "DATE", "TIMESTAMP",
    "VARCHAR[]", "INTEGER[]", "INTERVAL", "TIMESTAMP WITH TIME ZONE", "HUGEINT", "JSON", "TIME", "BLOB", "UBIGINT", "UUID",
)  # fmt: skip
NUMBERS = ("INTEGER", "BIGINT", "SMALLINT", "HUGEINT", "DOUBLE", "FLOAT", "DECIMAL(12,2)", "DECIMAL(18,3)", "UTINYINT")
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_RESERVED = {"case", "order", "group", "end", "all", "table", "left", "right", "default", "at", "value"}
_EXTREME_TEXT = re.compile(r"repeat|chr|range")


@dataclass(frozen=True)
class Rel:
    """A relation in scope under its alias."""

    alias: str
    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Scope:
    """What an expression may name: `relations` here, `outer` for correlation."""

    relations: tuple[Rel, ...] = ()
    outer: tuple[Rel, ...] = ()


NOWHERE = Scope()


def reference(rel: Rel, column: str) -> str:
    """A qualified column."""
    plain = _PLAIN.fullmatch(column) and column not in _RESERVED
    return f"{rel.alias}.{column if plain else quoted(column)}"


def _literals() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for columns in TABLES.values():
        for column in columns:
            typed = [v if v == "NULL" else f"CAST({v} AS {column.type})" for v in column.values]
            if column.type in ("INTEGER", "BIGINT", "VARCHAR", "DOUBLE", "SMALLINT", "DECIMAL(12,2)"):
                typed = list(column.values)
            found.setdefault(column.type, []).extend(typed)
    found["BIGINT"] = ["1", "2", "5", "100", "NULL"]
    found["INTEGER"] += ["0", "-1", "10"]
    found["UBIGINT"] = ["1::UBIGINT", "7::UBIGINT"]
    return {type_: sorted(set(values) - {"NULL"}) for type_, values in found.items()}


LITERALS = _literals()


@dataclass
class Expressions(ABC):
    """The generator of expressions; queries come from the class below it."""

    random: random.Random
    binder: Binder
    lambdas: list[str] = field(default_factory=list)

    @abstractmethod
    def scalar_query(self, type_: str, scope: Scope, depth: int) -> str | None:
        """A sub-query of one row and one column of the type."""

    @abstractmethod
    def column_query(self, type_: str, scope: Scope, depth: int) -> str:
        """A sub-query of one column of the type."""

    @abstractmethod
    def exists_query(self, scope: Scope, depth: int) -> str:
        """A sub-query for EXISTS."""

    # -- choices -------------------------------------------------------------------------------------------------

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def columns(self, scope: Scope, type_: str | None = None) -> list[tuple[str, str]]:
        """(reference, type) of every column in scope; now and then those of an outer query."""
        relations = scope.relations
        if scope.outer and (not relations or self.chance(0.3)):
            relations = (*relations, *scope.outer)
        return [(reference(rel, name), t) for rel in relations for name, t in rel.columns if type_ in (None, t)]

    def any(self, scope: Scope, depth: int) -> tuple[str, str]:
        """An expression of any type, and the type."""
        found = self.columns(scope)
        if found and self.chance(0.4):
            return self.random.choice(found)
        if depth > 0 and self.chance(0.35) and (made := self.call(None, scope, depth)) is not None:
            return made
        type_ = self.random.choice(TYPES)
        return self.of(type_, scope, depth), type_

    def of(self, type_: str, scope: Scope, depth: int) -> str:
        """An expression of `type_`."""
        if type_ == "BOOLEAN" and depth > 0 and self.chance(0.8):
            return self.boolean(scope, depth)
        found = self.columns(scope, type_)
        if depth <= 0:
            return self._leaf(type_, scope, found)
        roll = self.random.random()
        if roll < 0.22 and found:
            return self.random.choice(found)[0]
        if roll < 0.45 and (made := self.provoking(type_, scope)) is not None:
            return made
        if roll < 0.65 and (called := self.call(type_, scope, depth)) is not None:
            return called[0]
        if roll < 0.82:
            return self._composed(type_, scope, depth)
        if roll < 0.87 and depth > 1 and (query := self.scalar_query(type_, scope, depth - 1)) is not None:
            return query
        if roll < 0.93:
            source, _ = self.any(scope, depth - 1)
            word = self.random.choice(("TRY_CAST", "TRY_CAST", "CAST"))
            return f"{word}({source} AS {type_})"
        return self._leaf(type_, scope, found)

    def _leaf(self, type_: str, scope: Scope, found: list[tuple[str, str]]) -> str:
        if found and self.chance(0.85):
            return self.random.choice(found)[0]
        others = self.columns(scope)
        if others and not found and self.chance(0.4):
            return f"TRY_CAST({self.random.choice(others)[0]} AS {type_})"
        return self.literal(type_)

    def literal(self, type_: str) -> str:
        """A constant of the type: mostly an ordinary one."""
        extremes = [v for v in EXTREMES.get(type_, ()) if not _EXTREME_TEXT.search(v)]
        ordinary = LITERALS.get(type_)
        if ordinary and (not extremes or self.chance(0.93)):
            return self.random.choice(ordinary)
        return f"CAST({self.random.choice(extremes) if extremes else 'NULL'} AS {type_})"

    # -- truth values --------------------------------------------------------------------------------------------

    def boolean(self, scope: Scope, depth: int) -> str:
        """A condition."""
        roll = self.random.randrange(16) if depth > 0 else self.random.randrange(4)
        match roll:
            case 0 | 1 | 2:
                return self.compared(scope, depth)
            case 3:
                value, _ = self.any(scope, depth - 1)
                return f"{value} IS {self.random.choice(('', 'NOT '))}NULL"
            case 4 | 5 | 6:
                return self.provoking("BOOLEAN", scope) or self.compared(scope, depth)
            case 7 | 8:
                parts = [self.boolean(scope, depth - 1) for _ in range(self.random.choice((2, 2, 3)))]
                return "(" + self.random.choice((" AND ", " OR ")).join(parts) + ")"
            case 9:
                return f"NOT ({self.boolean(scope, depth - 1)})"
            case 10:
                value, type_ = self._typed(scope, depth)
                listed = ", ".join(self.literal(type_) for _ in range(self.random.choice((1, 3, 12))))
                return f"{value} {self.random.choice(('', 'NOT '))}IN ({listed})"
            case 11:
                value, type_ = self._typed(scope, depth)
                return f"{value} BETWEEN {self.literal(type_)} AND {self.of(type_, scope, depth - 1)}"
            case 12:
                text = self.of("VARCHAR", scope, depth - 1)
                escape = " ESCAPE '!'" if self.chance(0.2) else ""
                word = self.random.choice(("LIKE", "NOT LIKE", "ILIKE")) if escape or self.chance(0.7) else "GLOB"
                return f"{text} {word} {self.random.choice(PATTERNS)}{escape}"
            case 13 if depth > 1:
                return f"{self.random.choice(('', 'NOT '))}EXISTS {self.exists_query(scope, depth - 1)}"
            case 14 if depth > 1:
                value, type_ = self._typed(scope, depth)
                word = self.random.choice(("IN", "NOT IN", "= ANY", "> ALL", "<> ALL"))
                return f"{value} {word} {self.column_query(type_, scope, depth - 1)}"
            case _:
                called = self.call("BOOLEAN", scope, depth)
                return called[0] if called else self.compared(scope, depth)

    def compared(self, scope: Scope, depth: int) -> str:
        """A comparison; at times of two types, which casts one of them."""
        value, type_ = self._typed(scope, depth)
        other = self.literal(type_) if self.chance(0.5) else self.of(type_, scope, depth - 1)
        if self.chance(0.12):
            other, _ = self.any(scope, 0)
        operator = self.random.choice(
            ("=", "=", "=", "<", ">", "<=", ">=", "<>", "IS DISTINCT FROM", "IS NOT DISTINCT FROM")
        )
        return f"{value} {operator} {other}"

    def _typed(self, scope: Scope, depth: int) -> tuple[str, str]:
        found = self.columns(scope)
        if found and self.chance(0.7):
            return self.random.choice(found)
        type_ = self.random.choice(TYPES)
        return self.of(type_, scope, depth - 1), type_

    # -- the rest ------------------------------------------------------------------------------------------------

    def provoking(self, type_: str, scope: Scope) -> str | None:
        """An expression of the type that fails on hidden values only, if a fitting column is in scope."""
        return self._templated(PROVOKING.get(type_, ()), scope)

    def _composed(self, type_: str, scope: Scope, depth: int) -> str:
        one, two = self.of(type_, scope, depth - 1), self.of(type_, scope, depth - 1)
        if type_ in NUMBERS and self.chance(0.5):
            return f"({one} {self.random.choice(('+', '-', '*', '%', '//', '+'))} {two})"
        if type_ == "VARCHAR" and self.chance(0.3):
            return f"({one} || {two})"
        element = type_.removesuffix("[]")
        match self.random.randrange(7):
            case 0 | 1:
                return f"CASE WHEN {self.boolean(scope, depth - 1)} THEN {one} ELSE {two} END"
            case 2:
                subject, subject_type = self._typed(scope, depth - 1)
                return f"CASE {subject} WHEN {self.literal(subject_type)} THEN {one} ELSE {two} END"
            case 3:
                return f"coalesce({one}, {two})"
            case 4:
                return f"nullif({one}, {two})"
            case 5 if element != type_:
                return f"[{self.of(element, scope, depth - 1)}, {self.of(element, scope, 0)}]"
            case 5:
                listed = (
                    self.of(f"{type_}[]", scope, depth - 1)
                    if f"{type_}[]" in ("VARCHAR[]", "INTEGER[]")
                    else f"[{one}, {two}]"
                )
                return f"({listed})[{self.random.choice((1, 1, 2, -1))}]"
            case _:
                return self._accessed(type_, scope) or f"if({self.boolean(scope, depth - 1)}, {one}, {two})"

    def _accessed(self, type_: str, scope: Scope) -> str | None:
        """A part of a nested value."""
        return self._templated(PARTS.get(type_, ()), scope)

    def _templated(self, templates: tuple[tuple[str, str], ...], scope: Scope) -> str | None:
        """One of (column, template) whose column is in scope."""
        columns = {name: (reference(rel, name), type_) for rel in scope.relations for name, type_ in rel.columns}
        # A mask may have another type, and not every text that casts is compared with a number.
        fitting = [
            template.format(c=columns[name][0])
            for name, template in templates
            if name in columns
            and self.binder.type_of(template.format(c=f"CAST(NULL AS {columns[name][1]})")) is not None
        ]
        return self.random.choice(fitting) if fitting else None

    def call(self, type_: str | None, scope: Scope, depth: int) -> tuple[str, str] | None:
        """A call of a reviewed scalar function or macro, of the type if one is wanted; None where none was found."""
        for _ in range(4):
            pool = overloads_for("scalar", type_) if type_ and self.chance(0.85) else overloads_of("scalar")
            if not pool:
                return None
            made = self.applied(self._by_name(pool), scope, depth)
            if made is not None and type_ in (None, made[1]):
                return made
        return None

    def _by_name(self, pool: tuple[Overload, ...]) -> Overload:
        return self.random.choice(self.random.choice(by_name(pool)))

    def applied(self, overload: Overload, scope: Scope, depth: int, *, ordered: bool = False) -> tuple[str, str] | None:
        """The overload with arguments, and its type, or None where that does not bind."""
        variable = self.random.choice(TYPES)
        texts, probes = [], []
        count = len(overload.parameters) + (self.random.randrange(3) if overload.varargs else 0)
        for position in range(count):
            inside = position < len(overload.parameters)
            declared = overload.parameters[position] if inside else overload.varargs
            name = overload.names[position] if position < len(overload.names) else ""
            text, probe = self._argument(declared, name, variable, scope, depth)
            texts.append(text)
            probes.append(probe)
        suffix = ""
        if ordered and ORDER_BOUND.match(overload.name) and texts:
            suffix = f" ORDER BY {texts[0]}" + (f", {texts[1]}" if len(texts) > 1 and "lambda" not in texts[1] else "")
        type_ = self.binder.type_of(f"{overload.name}({', '.join(probes)})")
        return (self._spelled(overload.name, texts, suffix), type_) if type_ is not None else None

    def _spelled(self, name: str, arguments: list[str], suffix: str) -> str:
        """A call in one of the ways SQL has: plain, quoted, in capitals, with a schema, as a method."""
        listed = f"{', '.join(arguments)}{suffix}"
        match self.random.randrange(20):
            case 0:
                return f'"{name}"({listed})'
            case 1:
                return f"{name.upper()}({listed})"
            case 2:
                return f"main.{name}({listed})"
            case 3 | 4 if arguments and not suffix and "lambda" not in arguments[0]:
                return f"({arguments[0]}).{name}({', '.join(arguments[1:])})"
            case 5:
                return f"{name} /* a call */ ({listed})"
            case _:
                return f"{name}({listed})"

    def _argument(self, declared: str, name: str, variable: str, scope: Scope, depth: int) -> tuple[str, str]:
        """An argument, and what stands for it when the call is tried: constants stay, all else is NULL of its type."""
        if declared == "LAMBDA":
            text = self.random.choice(
                ("lambda x: x", "lambda x: x IS NULL", "lambda x, y: x", "lambda x: x > 'a'", "lambda x: x + 1")
            )
            return text, text
        if declared in ("VARCHAR", "ANY") and (texts := texts_for(name)) and self.chance(0.8):
            text = self.random.choice(texts)
            return text, text
        if name in ("pos", "index", "position", "count", "n", "digits", "precision") and self.chance(0.7):
            text = str(self.random.choice((0, 1, 2, 3, -1)))
            return text, text
        type_ = self._concrete(declared, variable, scope)
        if self.chance(0.12):
            text = self.literal(type_)
            return text, text
        return self.of(type_, scope, depth - 1), f"CAST(NULL AS {type_})"

    def _concrete(self, declared: str, variable: str, scope: Scope) -> str:
        match declared:
            case "ANY":
                found = self.columns(scope)
                return self.random.choice(found)[1] if found and self.chance(0.7) else self.random.choice(TYPES)
            case "T" | "K" | "V":
                return variable
            case "T[]" | "ANY[]" | "V[]" | "K[]" | "LIST":
                return self.random.choice(("VARCHAR[]", "INTEGER[]"))
            case "DECIMAL":
                return "DECIMAL(12,2)"
            case "MAP(K, V)":
                return "MAP(VARCHAR, INTEGER)"
            case "STRUCT":
                return "STRUCT(a INTEGER, b VARCHAR)"
            case "UNION":
                return "UNION(n INTEGER, s VARCHAR)"
            case _ if "[ANY]" in declared:
                return "DOUBLE[3]"
            case _:
                return declared


PATTERNS = ("'%a%'", "'a%'", "'_'", "'%'", "'SECRET%'", "'acme'")
