"""Aggregates, windows, relations of FROM and joins: the parts between expressions and whole queries.

It takes what the principal sees (tables, views, and the WITH names in scope) and returns SQL text with the `Rel`s that
it puts into scope.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.fuzz.calls import overloads_of
from tests.fuzz.expressions import NOWHERE, NUMBERS, TYPES, Expressions, Rel, Scope, reference
from tests.judging.oracle import quoted

__all__ = ["Clauses", "Made"]

_KINDS = (
    "JOIN", "JOIN", "INNER JOIN", "LEFT JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN", ",", "SEMI JOIN",
    "ANTI JOIN", "ASOF JOIN", "ASOF LEFT JOIN", "POSITIONAL JOIN", "NATURAL JOIN", "LEFT JOIN LATERAL", "USING",
)  # fmt: skip


@dataclass(frozen=True)
class Made:
    """A query's text and its columns."""

    text: str
    columns: tuple[tuple[str, str], ...]


@dataclass
class Clauses(Expressions):
    """The generator of clauses; `big` names a relation of so many rows that a query reads it once."""

    tables: Mapping[tuple[str, ...], list[tuple[str, str]]] = field(default_factory=dict)
    big: tuple[str, ...] | None = None
    catalog: str = "warehouse"
    named: list[tuple[str, tuple[tuple[str, str], ...]]] = field(default_factory=list)
    big_left: int = 1
    aliases: int = 0

    @abstractmethod
    def select(self, depth: int, *, outer: Scope = NOWHERE, width: int | None = None) -> Made:
        """A SELECT."""

    def alias(self, stem: str = "r") -> str:
        self.aliases += 1
        return f"{stem}{self.aliases}"

    # -- aggregates and windows ------------------------------------------------------------------------------------

    def aggregate(self, scope: Scope, depth: int) -> tuple[str, str]:
        """An aggregate over the scope, and its type."""
        text, type_ = self._aggregate(scope, depth)
        if self.chance(0.15):
            text = f"{text} FILTER (WHERE {self.boolean(scope, depth - 1)})"
        return text, type_

    def _aggregate(self, scope: Scope, depth: int) -> tuple[str, str]:
        roll = self.random.randrange(10)
        if roll < 2:
            return "count(*)", "BIGINT"
        if roll < 4:
            value, _ = self.any(scope, depth - 1)
            return f"count({self.random.choice(('', 'DISTINCT '))}{value})", "BIGINT"
        if roll < 7:
            type_ = self.random.choice(TYPES)
            value = self.of(type_, scope, depth - 1)
            name = self.random.choice(("min", "max", "sum", "avg") if type_ in NUMBERS else ("min", "max"))
            result = self.binder.type_of(f"{name}(CAST(NULL AS {type_}))")
            if result is not None:
                return f"{name}({value})", result
        for _ in range(4):
            made = self.applied(self._by_name(overloads_of("aggregate")), scope, depth - 1, ordered=True)
            if made is not None:
                return made
        return "count(*)", "BIGINT"

    def window(self, scope: Scope, depth: int) -> tuple[str, str]:
        """A window function, and its type; ties are rare because it orders by several columns."""
        columns = [name for name, _ in self.columns(scope)] or ["1"]
        keys = ", ".join(self.random.sample(columns, min(len(columns), 3)))
        parts = f"PARTITION BY {self.random.choice(columns)} " if self.chance(0.5) else ""
        value, type_ = self._typed(scope, depth)
        name, type_ = self.random.choice(
            (
                ("row_number()", "BIGINT"), ("rank()", "BIGINT"), ("dense_rank()", "BIGINT"), ("ntile(3)", "BIGINT"),
                ("percent_rank()", "DOUBLE"), ("cume_dist()", "DOUBLE"), (f"lag({value})", type_), (f"lead({value}, 1)", type_),
                (f"first_value({value})", type_), (f"last_value({value})", type_), (f"nth_value({value}, 2)", type_),
                (f"max({value})", type_), (f"count({value})", "BIGINT"), ("count(*)", "BIGINT"), (f"lag({value} ORDER BY {keys})", type_),
            )
        )  # fmt: skip
        frame = self.random.choice(
            ("", "", "", " ROWS BETWEEN 1 PRECEDING AND CURRENT ROW", " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
             " GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW")
        )  # fmt: skip
        return f"{name} OVER ({parts}ORDER BY {keys}{frame})", type_

    # -- relations ---------------------------------------------------------------------------------------------------

    def source(self, depth: int, *, outer: Scope = NOWHERE, lateral: bool = False) -> tuple[str, Rel]:
        """One relation of a FROM clause."""
        roll = self.random.random()
        if self.named and roll < 0.25:
            name, columns = self.random.choice(self.named)
            alias = self.alias()
            return f"{self._cased(name)} AS {alias}", Rel(alias, columns)
        if depth > 0 and (lateral or roll < 0.42):
            made = self.select(depth - 1, outer=outer)
            alias = self.alias()
            return f"{'LATERAL ' if lateral else ''}({made.text}) AS {alias}", Rel(alias, made.columns)
        if roll > 0.96:
            return self._made_up(outer)
        return self.table()

    def table(self, path: tuple[str, ...] | None = None) -> tuple[str, Rel]:
        """A base relation or view, spelled in one of the ways SQL has."""
        if path is None:
            paths = sorted(self.tables)
            if self.big is not None and self.big_left > 0 and self.chance(0.6):
                path = self.big
            else:
                path = self.random.choice(
                    [
                        p
                        for p in paths
                        if p != self.big and not (self.big == ("main", "orders") and p[-1] == "bulk_orders")
                    ]
                )
        if path == self.big:
            self.big_left -= 1
        columns = tuple(self.tables[path])
        short = path[-1] if path[0] == "main" else ".".join(path)
        spelled = self.random.choice(
            (short, short, short, ".".join(path), quoted(*path), f"{self.catalog}.{'.'.join(path)}", self._cased(short))
        )
        hidden = {name for name, _ in self.named}
        if path[-1] in hidden and "." not in spelled:
            spelled = ".".join(path)
        if self.chance(0.12):
            return spelled, Rel(path[-1], columns)
        alias = self.alias()
        if self.chance(0.06):
            renamed = tuple((f"k{n}", type_) for n, (_, type_) in enumerate(columns))
            return f"{spelled} AS {alias}({', '.join(name for name, _ in renamed)})", Rel(alias, renamed)
        return f"{spelled} {self.random.choice(('AS ', ''))}{alias}", Rel(alias, columns)

    def _cased(self, name: str) -> str:
        return name.upper() if self.chance(0.1) else name

    def _made_up(self, outer: Scope) -> tuple[str, Rel]:
        """A relation without stored rows."""
        alias = self.alias()
        lists = self.columns(outer, "VARCHAR[]") if outer.relations else []
        match self.random.randrange(3 if lists else 2):
            case 0:
                return f"range({self.random.choice((3, 7))}) AS {alias}(n)", Rel(alias, (("n", "BIGINT"),))
            case 1:
                rows = ", ".join(f"({self.literal('INTEGER')}, {self.literal('VARCHAR')})" for _ in range(3))
                return f"(VALUES {rows}) AS {alias}(a, b)", Rel(alias, (("a", "INTEGER"), ("b", "VARCHAR")))
            case _:
                return f"unnest({self.random.choice(lists)[0]}) AS {alias}(item)", Rel(alias, (("item", "VARCHAR"),))

    def joined(self, depth: int, *, outer: Scope = NOWHERE) -> tuple[str, Scope]:
        """A FROM clause of one to four relations."""
        text, rel = self.source(depth, outer=outer)
        relations = [rel]
        for _ in range(self.random.choice((0, 0, 0, 1, 1, 1, 2, 3))):
            added = self._join(text, relations, depth, outer)
            if added is not None:
                text, relations = added
        return text, Scope(tuple(relations), outer.relations + outer.outer)

    def _join(self, text: str, relations: list[Rel], depth: int, outer: Scope) -> tuple[str, list[Rel]] | None:
        kind = self.random.choice(_KINDS)
        scope = Scope(tuple(relations), outer.relations)
        if kind == "LEFT JOIN LATERAL":
            if depth <= 0:
                return None
            right, rel = self.source(depth, outer=scope, lateral=True)
            return f"{text} LEFT JOIN {right} ON true", [*relations, rel]
        right, rel = self.source(depth - 1)
        both = Scope((*relations, rel), outer.relations)
        match kind:
            case "CROSS JOIN" | ",":
                # Without a condition results grow: only over what is small.
                word = "" if kind == "," else " "
                return f"{text}{word}{kind} {right}", [*relations, rel]
            case "POSITIONAL JOIN" if len(relations) > 1 or "(" in text + right:
                # The order of what is joined or computed is the plan's: only stored rows have a place.
                return None
            case "POSITIONAL JOIN":
                return f"{text} {kind} {right}", [*relations, rel]
            case "USING" | "NATURAL JOIN":
                shared = [name for name, _ in relations[-1].columns if name in {other for other, _ in rel.columns}]
                if len(relations) > 1 or not shared:
                    return None
                if kind == "USING":
                    using = ", ".join(quoted(name) for name in self.random.sample(shared, min(len(shared), 2)))
                    word = self.random.choice(("JOIN", "LEFT JOIN", "FULL JOIN", "SEMI JOIN"))
                    kept = [rel] if word != "SEMI JOIN" else []
                    return f"{text} {word} {right} USING ({using})", [*relations, *kept]
                return f"{text} {kind} {right}", [*relations, rel]
            case "ASOF JOIN" | "ASOF LEFT JOIN":
                pair = self._pair(relations, rel)
                if pair is None:
                    return None
                other = self._pair(relations, rel) or pair
                return f"{text} {kind} {right} ON {other[0]} = {other[1]} AND {pair[0]} >= {pair[1]}", [*relations, rel]
            case _:
                condition = self._condition(relations, rel, both, depth)
                kept = [] if kind.startswith(("SEMI", "ANTI")) else [rel]
                return f"{text} {kind} {right} ON {condition}", [*relations, *kept]

    def _condition(self, relations: list[Rel], rel: Rel, scope: Scope, depth: int) -> str:
        pair = self._pair(relations, rel)
        parts = [f"{pair[0]} = {pair[1]}"] if pair else []
        if not parts or self.chance(0.3):
            parts.append(self.boolean(scope, min(depth, 1)))
        return " AND ".join(parts)

    def _pair(self, relations: list[Rel], rel: Rel) -> tuple[str, str] | None:
        """Two columns of one type, left and right: keys are preferred."""
        pairs = [
            (reference(left, a), reference(rel, b), a == b or (a.endswith("id") and b.endswith("id")))
            for left in relations
            for a, s in left.columns
            for b, t in rel.columns
            if s == t or {s, t} <= {"INTEGER", "BIGINT"}
        ]
        keys = [pair for pair in pairs if pair[2]]
        chosen = self.random.choice(keys) if keys and self.chance(0.8) else self.random.choice(pairs) if pairs else None
        return (chosen[0], chosen[1]) if chosen else None
