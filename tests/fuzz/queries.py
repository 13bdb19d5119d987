"""Random queries over what a principal sees: every clause and statement kind that the engine accepts.

It takes a seeded random source, a `Binder` and the visible tables and returns SQL text. Most texts bind (a text that
does not is drawn again); a few that do not are kept, because errors must be the same as well.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from tests.fuzz.calls import Binder
from tests.fuzz.calm import Calm
from tests.fuzz.clauses import Made
from tests.fuzz.expressions import NOWHERE, PATTERNS, TYPES, Rel, Scope, reference
from tests.fuzz.shapes import Shapes
from tests.judging.oracle import quoted

__all__ = ["draw_query"]

_ATTEMPTS = 8


def draw_query(
    seed: str,
    *,
    binder: Binder,
    tables: Mapping[tuple[str, ...], list[tuple[str, str]]],
    big: tuple[str, ...] | None,
    catalog: str,
) -> str:
    """The query of a seed."""
    source = random.Random(seed)
    unbound = source.random() < 0.03
    text = ""
    for _ in range(_ATTEMPTS):
        made = Queries(source, binder, tables=tables, big=big, catalog=catalog)
        text = made.statement()
        if unbound or binder.describe(text) is not None:
            break
    return text


@dataclass
class Queries(Shapes, Calm):
    """The generator of queries."""

    def statement(self) -> str:
        """A whole statement."""
        depth = self.random.choice((1, 1, 2, 2, 2, 3))
        if self.chance(0.35):
            return self._probe()
        if self.chance(0.35):
            return self.unusual(depth)
        if self.chance(0.4):
            return self.calm()
        match self.random.randrange(40):
            case 0 | 1:
                return self._pivot()
            case 2:
                return self._unpivot()
            case 3:
                text, _ = self.table()
                return f"SUMMARIZE {text}" if self.chance(0.3) else f"SUMMARIZE {self.select(1).text}"
            case 4:
                return f"DESCRIBE {self.select(depth).text}"
            case 5 | 6 | 7:
                return self._ended(self._combined(depth))
            case 8 | 9 | 10 | 11 | 12:
                return self._with(depth)
            case 13:
                return self._recursive(depth)
            case 14:
                text, scope = self.joined(depth)
                return f"FROM {text} WHERE {self.boolean(scope, depth)}"
            case _:
                return self._ended(self.select(depth))

    def _probe(self) -> str:
        """A short query whose conditions fail on hidden values only."""
        text, scope = self.joined(0)
        if len(scope.relations) == 1 and self.chance(0.6):
            right, rel = self.table()
            pair = self._pair(list(scope.relations), rel)
            word = self.random.choice(("LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "JOIN"))
            text = f"{text} {word} {right} ON {f'{pair[0]} = {pair[1]}' if pair else 'true'}"
            scope = Scope((*scope.relations, rel))
        types = ("INTEGER", "BIGINT", "DOUBLE", "VARCHAR", "DATE", "TIMESTAMP", "DECIMAL(12,2)", "HUGEINT", "INTERVAL")

        def provoking() -> str:
            found = self.provoking("BOOLEAN", scope)
            type_ = self.random.choice(types)
            other = self.provoking(type_, scope)
            if other is not None and (found is None or self.chance(0.4)):
                return f"{other} {self.random.choice(('=', '<', '>', '<>'))} {self.literal(type_)}"
            return found or self.compared(scope, 0)

        parts = [provoking() for _ in range(self.random.choice((1, 1, 2, 3)))]
        for _ in range(self.random.choice((0, 0, 1, 1, 2))):
            # A condition that cannot fail, which may move below a fence.
            parts.insert(self.random.randrange(len(parts) + 1), self._harmless(scope))
        where = self.random.choice((" AND ", " AND ", " OR ")).join(parts)
        shown = self.provoking(self.random.choice(types), scope) if self.chance(0.4) else None
        match self.random.randrange(5):
            case 0:
                keys = self.random.choice(self.columns(scope))[0]
                return f"SELECT {keys} AS k, count(*) FILTER (WHERE {where}) AS n FROM {text} GROUP BY 1 ORDER BY ALL"
            case 1:
                return f"SELECT count(*) AS n, max({shown or '1'}) AS m FROM {text} WHERE {where}"
            case 2:
                return f"SELECT * FROM (SELECT {shown or '1'} AS c0, ({where}) AS c1 FROM {text}) AS q WHERE c1 ORDER BY ALL LIMIT 3"
            case _:
                return f"SELECT {shown or 'count(*)'} AS c0 FROM {text} WHERE {where}"

    def _harmless(self, scope: Scope) -> str:
        name, type_ = self.random.choice(self.columns(scope))
        match self.random.randrange(6):
            case 0:
                return f"{name} IS {self.random.choice(('', 'NOT '))}NULL"
            case 1:
                return f"{name} IN ({self.literal(type_)}, {self.literal(type_)})"
            case 2:
                return f"coalesce({name}, {self.literal(type_)}) = {self.literal(type_)}"
            case 3 if type_ == "VARCHAR":
                return f"{name} LIKE {self.random.choice(PATTERNS)}"
            case _:
                return f"{name} {self.random.choice(('=', '<', '>=', '<>', 'IS DISTINCT FROM'))} {self.literal(type_)}"

    # -- sub-queries in expressions ----------------------------------------------------------------------------------

    def scalar_query(self, type_: str, scope: Scope, depth: int) -> str | None:
        text, rel = self.table()
        inner = Scope((rel,), scope.relations)
        name = self.random.choice(("max", "min"))
        value = self.of(type_, Scope((rel,)), 0)
        where = f" WHERE {self.boolean(inner, min(depth, 1))}" if self.chance(0.7) else ""
        if self.chance(0.3):
            return f"(SELECT {value} FROM {text}{where} ORDER BY ALL LIMIT 1)"
        return f"(SELECT {name}({value}) FROM {text}{where})"

    def column_query(self, type_: str, scope: Scope, depth: int) -> str:
        text, rel = self.table()
        value = self.of(type_, Scope((rel,)), min(depth, 1))
        where = f" WHERE {self.boolean(Scope((rel,), scope.relations), min(depth, 1))}" if self.chance(0.6) else ""
        return f"(SELECT {value} FROM {text}{where})"

    def exists_query(self, scope: Scope, depth: int) -> str:
        text, rel = self.table()
        return f"(SELECT 1 FROM {text} WHERE {self.boolean(Scope((rel,), scope.relations), depth)})"

    # -- queries -----------------------------------------------------------------------------------------------------

    def select(self, depth: int, *, outer: Scope = NOWHERE, width: int | None = None) -> Made:
        text, scope = self.joined(depth, outer=outer)
        if width is None and self.chance(0.08) and not outer.relations:
            columns = self._starred(scope)
            if columns is not None:
                where = f" WHERE {self.boolean(scope, depth)}" if self.chance(0.6) else ""
                return Made(f"SELECT * FROM {text}{where}", columns)
        if self.chance(0.35):
            return self._grouped(text, scope, depth, width)
        return self._plain(text, scope, depth, width)

    def _plain(self, text: str, scope: Scope, depth: int, width: int | None) -> Made:
        items, columns = [], []
        for number in range(width or self.random.choice((1, 1, 2, 2, 3, 5))):
            windowed = self.chance(0.12)
            value, type_ = self.window(scope, depth - 1) if windowed else self.any(scope, depth)
            name = f"c{number}"
            items.append(f"{value} AS {name}")
            columns.append((name, type_))
        distinct = ""
        roll = self.random.random()
        tail = ""
        if roll < 0.08:
            distinct = "DISTINCT "
        elif roll < 0.11:
            # Ordered by all that is shown: which row of a group remains is defined.
            distinct = "DISTINCT ON (c0) "
            tail = " ORDER BY ALL"
        clauses = f" WHERE {self.boolean(scope, depth)}" if self.chance(0.65) else ""
        if self.chance(0.06):
            clauses += f" QUALIFY {self.window(scope, 0)[0].replace('row_number()', 'rank()')} IS NOT NULL"
        if self.chance(0.05) and len(scope.relations) == 1 and "(" not in text:
            clauses += self.random.choice((" USING SAMPLE 3 ROWS (reservoir, 7)", " USING SAMPLE 50% (bernoulli, 7)"))
            return Made(f"SELECT {', '.join(items)} FROM {text}{clauses}", tuple(columns))
        return Made(f"SELECT {distinct}{', '.join(items)} FROM {text}{clauses}{tail}", tuple(columns))

    def _grouped(self, text: str, scope: Scope, depth: int, width: int | None) -> Made:
        wanted = width or self.random.choice((1, 2, 2, 3, 4))
        keys = min(self.random.choice((0, 1, 1, 2)), wanted - 1)
        items, columns = [], []
        for number in range(wanted):
            value, type_ = self.any(scope, depth - 1) if number < keys else self.aggregate(scope, depth)
            items.append(f"{value} AS c{number}")
            columns.append((f"c{number}", type_))
        clauses = f" WHERE {self.boolean(scope, depth)}" if self.chance(0.5) else ""
        if keys:
            listed = ", ".join(str(n + 1) for n in range(keys))
            clauses += " GROUP BY " + self.random.choice(
                (listed, listed, "ALL", f"ROLLUP ({listed})", f"CUBE ({listed})", f"GROUPING SETS (({listed}), ())")
            )
        if self.chance(0.15):
            aggregate, type_ = self.aggregate(scope, depth - 1)
            clauses += f" HAVING {aggregate} {self.random.choice(('>', '<', '<>'))} {self.literal(type_)}"
        return Made(f"SELECT {', '.join(items)} FROM {text}{clauses}", tuple(columns))

    def _starred(self, scope: Scope) -> tuple[tuple[str, str], ...] | None:
        columns = [column for rel in scope.relations for column in rel.columns]
        return tuple(columns) if len({name for name, _ in columns}) == len(columns) else None

    def _ended(self, made: Made) -> str:
        roll = self.random.random()
        if " SAMPLE " in made.text or made.text.endswith("ORDER BY ALL"):
            return made.text
        if roll < 0.04:
            return f"{made.text} LIMIT {self.random.choice((1, 2, 5))}{self.random.choice(('', ' OFFSET 2'))}"
        if roll < 0.3:
            return f"{made.text} ORDER BY ALL"
        if roll < 0.42:
            return (
                f"{made.text} ORDER BY ALL {self.random.choice(('', 'DESC'))} LIMIT {self.random.choice((0, 1, 3, 10))}"
            )
        if roll < 0.47:
            keys = ", ".join(
                f"{name} {self.random.choice(('', 'DESC', 'NULLS FIRST'))}" for name, _ in made.columns[:4]
            )
            return (
                f"{made.text} ORDER BY {keys}, ALL LIMIT 5 OFFSET 1"
                if "," not in keys
                else f"{made.text} ORDER BY {keys}"
            )
        return made.text

    def _combined(self, depth: int) -> Made:
        left = self.select(depth, width=2)
        right = self.select(depth, width=2)
        word = self.random.choice(
            ("UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL", "UNION ALL BY NAME", "INTERSECT ALL")
        )
        return Made(f"{left.text} {word} {right.text}", left.columns)

    def _with(self, depth: int) -> str:
        parts = []
        for _ in range(self.random.choice((1, 1, 2, 3))):
            made = self.select(depth - 1)
            # At times the name of a table: inside the definition it still means the table.
            name = self.random.choice(("orders", "customers", "staff")) if self.chance(0.25) else self.alias("w")
            if name in {known for known, _ in self.named}:
                name = self.alias("w")
            word = self.random.choice(("AS", "AS", "AS MATERIALIZED", "AS NOT MATERIALIZED"))
            parts.append(f"{name} {word} ({made.text})")
            self.named.append((name, made.columns))
        return f"WITH {', '.join(parts)} {self._ended(self.select(depth))}"

    def _recursive(self, depth: int) -> str:
        text, rel = self.table()
        numbers = self.columns(Scope((rel,)), "INTEGER") or [("1", "INTEGER")]
        start = f"SELECT {self.random.choice(numbers)[0]}::BIGINT, 0 FROM {text} WHERE {self.boolean(Scope((rel,)), 1)}"
        other, step = self.table()
        keys = self.columns(Scope((step,)), "INTEGER") or [("1", "INTEGER")]
        loop = Rel("w", (("n", "BIGINT"), ("level", "INTEGER")))
        condition = f"{self.random.choice(keys)[0]} = w.n AND w.level < {self.random.choice((1, 3))}"
        extra = f" AND {self.boolean(Scope((step, loop)), 1)}" if self.chance(0.5) else ""
        body = f"SELECT {self.random.choice(keys)[0]}::BIGINT, w.level + 1 FROM {other} JOIN w ON {condition}{extra}"
        self.named.append(("w", loop.columns))
        word = self.random.choice(("UNION", "UNION", "UNION ALL"))
        return f"WITH RECURSIVE w(n, level) AS ({start} {word} {body}) {self._ended(self.select(depth - 1))}"

    def _pivot(self) -> str:
        made = self._of_table(4)
        on, value = made.columns[0][0], made.columns[1][0]
        aggregate = self.random.choice((f"count({value})", f"max({value})", "count(*)"))
        listed = ""
        if self.chance(0.5):
            listed = f" IN ({', '.join(sorted({self.literal(made.columns[0][1]) for _ in range(3)}))})"
        group = f" GROUP BY {made.columns[2][0]}" if self.chance(0.5) else ""
        if listed and self.chance(0.3):
            return f"SELECT * FROM ({made.text}) PIVOT ({aggregate} FOR {on}{listed}{group})"
        return f"PIVOT ({made.text}) ON {on}{listed} USING {aggregate}{group}"

    def _unpivot(self) -> str:
        text, rel = self.table()
        type_ = self.random.choice(sorted({t for _, t in rel.columns}))
        names = [name for name, t in rel.columns if t == type_][:3]
        listed = ", ".join(quoted(name) for name in names)
        kept = ", ".join(reference(rel, name) for name in names)
        if self.chance(0.5):
            return f"SELECT * FROM (SELECT {kept} FROM {text}) UNPIVOT INCLUDE NULLS (found FOR field IN ({listed}))"
        return f"UNPIVOT (SELECT {kept} FROM {text}) ON {listed} INTO NAME field VALUE found"

    def _of_table(self, width: int) -> Made:
        text, rel = self.table()
        scope = Scope((rel,))
        items, columns = [], []
        for number in range(width):
            type_ = self.random.choice(("VARCHAR", "BOOLEAN", "INTEGER")) if number == 0 else self.random.choice(TYPES)
            items.append(f"{self.of(type_, scope, 1)} AS c{number}")
            columns.append((f"c{number}", type_))
        where = f" WHERE {self.boolean(scope, 1)}" if self.chance(0.5) else ""
        return Made(f"SELECT {', '.join(items)} FROM {text}{where}", tuple(columns))
