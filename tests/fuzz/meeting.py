"""Worlds in which a caller's conditions and a policy's meet: both drawn from one grammar over the same few columns.

The optimizer then sees them together: it combines filters, derives bounds from stored extremes and skips blocks by them,
with hidden rows among those that the extremes are made of. Visible values lie close together, so that many a condition
is true of all of them; `pools` says what hidden rows may hold. It takes a random source and returns a `Meeting`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import duckdb

from tests.fuzz.pools import ANY, ASKED, KINDS, MADE, NULLED, PRUNED
from tests.fuzz.schema import ENUMS, Column, Path
from tests.judging.oracle import Rule, quoted
from tests.judging.policygen import ROLE, SUBJECT, Generated

__all__ = ["Conditions", "Meeting", "draw_meeting"]

TABLES: tuple[Path, ...] = (("main", "first"), ("main", "second"))
SUPPORT: Path = ("main", "granted")
_COSTLY = re.compile(r"\[|COLLATE|SIMILAR|GLOB|\(\{v\}, ")
_NAME = re.compile(r'"c\d+"')
# What there are most findings in comes more often.
_OFTEN = tuple(kind for kind in KINDS if kind in ("VARCHAR", "VARCHAR", "DATE", "INTERVAL") or "STRUCT" in kind)
_TYPES = (*KINDS, *_OFTEN, *_OFTEN)
_DEPTHS = (0, 0, 0, 1, 1, 2)


@dataclass
class Conditions:
    """Draws values and conditions over columns (name, type); mostly such as `tell` likes; `calm` ones need no fence."""

    random: random.Random
    columns: tuple[tuple[str, str], ...]
    tell: Callable[[str], bool] = lambda _: True
    calm: bool = False

    def telling(self) -> str:
        """A condition, drawn again while it tells nothing."""
        text = self.boolean()
        for _ in range(self.random.choice((0, 12, 12, 12))):
            if self.tell(text):
                break
            text = self.boolean()
        return text

    def boolean(self, depth: int | None = None) -> str:
        """A condition."""
        draw = self.random
        depth = draw.choice(_DEPTHS) if depth is None else depth
        roll = draw.random()
        if depth and roll < 0.4:
            parts = [self.boolean(depth - 1) for _ in range(draw.choice((2, 2, 3)))]
            return f"({draw.choice((' AND ', ' AND ', ' OR ')).join(parts)})"
        if depth and roll < 0.55:
            one, two = self.boolean(depth - 1), self.boolean(0)
            form = draw.choice(
                (
                    "NOT ({0})", "({0}) IS TRUE", "({0}) IS NOT TRUE", "({0}) IS NOT FALSE", "CASE WHEN {0} THEN {1} ELSE true END", "coalesce(({0}), {1})", "CASE WHEN {0} THEN {1} END", "({0}) = ({1})", "if({0}, {1}, NULL)",
                )
            )  # fmt: skip
            return form.format(one, two)
        return self.atom(depth)

    def atom(self, depth: int) -> str:
        """A condition on one value, at times on two."""
        if self.random.random() < 0.4 and (found := self._pruned()) is not None:
            return found
        name, type_ = self.random.choice(self.columns)
        value, made = self.value(name, type_, depth)
        if "STRUCT" in made:
            return f"{value} {self.random.choice(('IS NULL', 'IS NOT NULL', 'IS DISTINCT FROM NULL'))}"
        asked = (*ASKED[""], *ASKED.get(made, ()) * 2)
        asked = tuple(text for text in asked if not self.calm or not _COSTLY.search(text))
        literals = [self.literal(made) for _ in range(3)]
        return self.random.choice(asked).format(
            v=value, w=self.other(made, name), k=literals[0], j=literals[1], l=literals[2]
        )

    def _pruned(self) -> str | None:
        """A condition that stored extremes may decide on, of what may be NULL."""
        name, type_ = self.random.choice(self.columns)
        form, made = self.random.choice(NULLED.get(type_, NULLED[""]))
        made = type_ if made == "{t}" else made
        if made not in PRUNED:
            return None
        value = form.format(c=quoted(name), k=self.literal(type_))
        return self.random.choice(PRUNED[made]).format(v=f"({value})")

    def value(self, name: str, type_: str, depth: int) -> tuple[str, str]:
        """An expression over a column, and its type."""
        column = quoted(name)
        forms = MADE.get(type_, ANY) if self.random.random() < (0.9 if "STRUCT" in type_ else 0.5) else ANY
        if self.calm and "STRUCT" not in type_:
            forms, depth = ANY, 0
        form, made = self.random.choice(forms)
        made = type_ if made == "{t}" else made
        condition = self.atom(0) if "{o}" in form and depth else f"{column} IS NOT NULL"
        text = form.format(c=column, d=self.other(type_, name), k=self.literal(type_), o=condition)
        if depth and self.random.random() < 0.25 and "STRUCT" not in made:
            form, after = self.random.choice((*ANY, *MADE.get(made, ())))
            after = made if after == "{t}" else after
            text = form.format(c=f"({text})", d=self.other(made, name), k=self.literal(made), o=condition)
            made = after
        return f"({text})" if text != column else text, made

    def other(self, type_: str, name: str) -> str:
        """Another column of a type, or a literal of it."""
        found = [quoted(other) for other, own in self.columns if own == type_ and other != name]
        return self.random.choice(found) if found else self.literal(type_)

    def literal(self, type_: str) -> str:
        """A value of a type, mostly an ordinary one; `BIGINT` and the like from all that is made of others."""
        kind = KINDS[type_]
        value = self.random.choice(kind.near if self.random.random() < 0.8 else (*kind.near, *kind.far))
        # What a token or a person would write.
        return value if type_ in ("VARCHAR", "INTEGER", "BOOLEAN", "order_status") else f"CAST({value} AS {type_})"


@dataclass
class Meeting:
    """Tables, what each column may hold, and who sees which rows; `query` draws what is asked."""

    tables: Mapping[Path, tuple[Column, ...]]
    made: Generated
    shapes: dict[str, str] = field(default_factory=dict)
    frozen: frozenset[Path] = frozenset((SUPPORT,))
    is_strict: bool = False  # for some: read from copies, on which DuckDB's own faults are the answer's

    @property
    def pools(self) -> dict[Path, dict[str, list[str]]]:
        """By table and column: what hidden rows may hold."""
        return {
            path: {
                column.name: [f"CAST({value} AS {column.type})" for value in (*near_and_far(column.type), "NULL")]
                for column in columns
                if column.type in KINDS
            }
            for path, columns in self.tables.items()
        }

    def build_sql(self, rows: Mapping[Path, int], *, seed: str) -> Iterator[str]:
        """The statements that build the base database."""
        yield f"CREATE TYPE order_status AS ENUM ({', '.join(repr(label) for label in ENUMS['order_status'])})"
        for path, columns in self.tables.items():
            shown = []
            for column in columns:
                values = ", ".join(f"CAST({value} AS {column.type})" for value in column.values)
                drawn = f"hash(i, '{path[-1]}.{column.name}', '{seed}')"
                value = f"[{values}][1 + ({drawn} % {len(column.values)})::BIGINT]" if values else "CAST(i AS INTEGER)"
                shown.append(f"{value} AS {quoted(column.name)}")
            yield f"CREATE TABLE {quoted(*path)} AS SELECT {', '.join(shown)} FROM range(1, {rows[path] + 1}) AS r(i)"
        yield "CHECKPOINT"

    def query(self, seed: str, columns: Mapping[Path, list[tuple[str, str]]], seen: duckdb.DuckDBPyConnection) -> str:
        """The query of a seed over the columns that are seen, and their rows."""
        return _Asking(random.Random(seed), columns, seen).statement()


def near_and_far(type_: str) -> tuple[str, ...]:
    """Ordinary values three times, so that some draws of hidden rows have no other."""
    kind = KINDS[type_]
    return (*kind.near, *kind.near, *kind.near, *kind.far)


def is_true_or_null(connection: duckdb.DuckDBPyConnection, table: str, condition: str) -> bool:
    """Whether a condition is true of some rows, and false of none or few; and NULL of some that have all its columns."""
    there = "".join(f" AND {name} IS NOT NULL" for name in sorted(set(_NAME.findall(condition))))
    counts = f"count(*) FILTER (WHERE {condition}), count(*) FILTER (WHERE ({condition}) IS NULL{there}), count(*)"
    try:
        true, unknown, rows = connection.execute(f"SELECT {counts} FROM {table}").fetchone() or (0, 0, 0)
    except duckdb.Error:
        return False
    return bool(true and unknown and true + unknown > 0.8 * rows)


def draw_meeting(source: random.Random, *, rows: int, seed: str) -> Meeting:
    """Tables of some columns, and policies over them that show some of so many rows."""
    tables: dict[Path, tuple[Column, ...]] = {}
    for path in (*TABLES, SUPPORT):
        columns = [Column("id", "INTEGER"), Column("grp", "VARCHAR", ("'a'", "'a'", "'b'"))]
        some = [source.choice(_TYPES) for _ in range(source.choice((1, 2, 3)))]
        types = [source.choice(some) for _ in range(source.choice((2, 3, 4)))]
        for number, type_ in enumerate(types):
            near = KINDS[type_].near
            values = tuple(source.sample(near, source.randint(1, len(near))))
            columns.append(Column(f"c{number}", type_, values + (("NULL",) if source.random() < 0.5 else ())))
        if path == SUPPORT:
            columns.append(Column("who", "VARCHAR", (f"'{SUBJECT}'", "'u-2'")))
        tables[path] = tuple(columns)
    meeting = Meeting(tables, Generated("meeting"))
    connection = duckdb.connect()
    connection.execute("PRAGMA disable_optimizer")
    for statement in meeting.build_sql(dict.fromkeys(tables, rows), seed=seed):
        connection.execute(statement)
    for path in TABLES:
        using, predicate = _policy(source, meeting, path, connection)
        masks = _masks(source, tables[path])
        document: dict[str, Any] = {"relation": path[-1], "policies": [{"name": "p", "to": [ROLE], "using": using}]}
        if source.random() < 0.3:
            document["policies"].append({"name": "r", "as": "restrictive", "using": "grp = 'a'"})
            predicate = f"({predicate}) AND grp = 'a'"
        if source.random() < 0.08:
            document["strict"] = meeting.is_strict = True
        if masks:
            document["columns"] = {name: {"mask": text} for name, text in masks.items()}
        meeting.made.documents.append(document)
        meeting.made.rules[path] = Rule(f"({predicate}) IS TRUE", masks=masks)
        meeting.shapes[path[-1]] = using
    connection.close()
    meeting.made.documents.append({"relation": SUPPORT[-1], "public": True})
    meeting.made.rules[SUPPORT] = Rule()
    return meeting


def _policy(
    source: random.Random, meeting: Meeting, path: Path, connection: duckdb.DuckDBPyConnection
) -> tuple[str, str]:
    """A row filter in the words of a policy, and in the oracle's."""
    table = quoted(path[-1])
    own = Conditions(
        source, _plain(meeting.tables[path]), tell=lambda condition: is_true_or_null(connection, table, condition)
    )
    condition = own.telling()
    match source.randrange(10):
        case 0:
            mapped = Conditions(source, _plain(meeting.tables[SUPPORT])).boolean(1)
            chosen = f"SELECT g.grp FROM granted AS g WHERE {_renamed(mapped)} AND g.who ="
            return (
                f"grp IN ({chosen} user.subject) AND ({condition})",
                f"grp IN ({chosen} '{SUBJECT}') AND ({condition})",
            )
        case 1 | 2 if found := [name for name, type_ in own.columns if type_ in ("VARCHAR", "INTEGER")]:
            name = source.choice(found)
            is_text = dict(own.columns)[name] == "VARCHAR"
            values: list[Any] = ["x", "x0", "x1"] if is_text else [1, 2]
            user = meeting.made.attribute("string" if is_text else "integer", values)
            listed = ", ".join(map(repr, values))
            word = source.choice(("AND", "OR"))
            return f"{name} IN {user} {word} ({condition})", f"{name} IN ({listed}) {word} ({condition})"
        case 3 | 4 | 5:
            return condition, condition
        case 6:
            return f"grp = 'b' OR {condition}", f"grp = 'b' OR {condition}"
        case _:
            return f"grp = 'a' AND {condition}", f"grp = 'a' AND {condition}"


def _renamed(condition: str) -> str:
    """A condition over the mapping table's columns, by its alias."""
    return condition.replace('"c', 'g."c')


def _plain(columns: tuple[Column, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((column.name, column.type) for column in columns if column.name not in ("id", "grp", "who"))


def _masks(source: random.Random, columns: tuple[Column, ...]) -> dict[str, str]:
    masks = {}
    for column in columns[2:]:
        if source.random() < 0.06:
            masks[column.name] = source.choice(
                (f"CASE WHEN id % 2 = 0 THEN {column.name} END", f"CAST(NULL AS {column.type})", f"nullif({column.name}, {column.name})")
            )  # fmt: skip
    return {
        name: text for name, text in masks.items() if not any(c.name == name and "status" in c.type for c in columns)
    }


@dataclass
class _Asking:
    """Queries over one or two relations whose conditions come from the grammar that policies come from."""

    random: random.Random
    tables: Mapping[Path, list[tuple[str, str]]]
    seen: duckdb.DuckDBPyConnection

    def statement(self) -> str:
        draw = self.random
        path = draw.choice([path for path in self.tables if path != SUPPORT])
        text = quoted(path[-1])
        columns = self._columns(path)
        own = Conditions(draw, columns, tell=lambda condition: is_true_or_null(self.seen, quoted(path[-1]), condition))
        where = own.telling()
        shown, type_ = own.value(*draw.choice(columns), depth=1)
        key = quoted(draw.choice(columns)[0])
        if draw.random() < 0.15:
            text = f"(SELECT * FROM {text} WHERE {own.boolean(1)}) AS {quoted(path[-1])}"
        whole = draw.choice(("*", "*", "id", "id", "count(*)", "count(*)", f"id, {key}"))
        roll = draw.random()
        if roll < 0.2:
            return f"SELECT {draw.choice(('*', '*', 'count(*)'))} FROM {quoted(path[-1])}"
        if roll < 0.55:
            own.calm = True
            return f"SELECT {draw.choice(('*', 'id', 'count(*)'))} FROM {quoted(path[-1])} WHERE {own.telling()}"
        match draw.randrange(16):
            case 0:
                return f"SELECT {shown} AS v, count(*) AS n FROM {text} WHERE {where} GROUP BY ALL ORDER BY ALL"
            case 1 if "STRUCT" not in type_ and "[]" not in type_:
                return f"SELECT min({shown}) AS a, max({shown}) AS b, count({shown}) AS c FROM {text} WHERE {where}"
            case 2:
                return f"SELECT count(*) FILTER (WHERE {where}) AS n, count(*) AS m FROM {text}"
            case 3:
                return f"SELECT {where} AS b, count(*) AS n FROM {text} GROUP BY ALL ORDER BY ALL"
            case 4 if "STRUCT" not in type_:
                outer = Conditions(draw, (("o", type_), ("id", "INTEGER"))).boolean(1)
                return (
                    f"SELECT count(*) AS n, count(o) AS m FROM (SELECT {shown} AS o, id FROM {text}) AS q WHERE {outer}"
                )
            case 5 | 6:
                return self._joined(
                    path, where, draw.choice(("JOIN", "LEFT JOIN", "RIGHT JOIN", "SEMI JOIN", "ANTI JOIN", "FULL JOIN"))
                )
            case 7:
                inner = own.boolean(1)
                word = draw.choice(("IN", "NOT IN"))
                return f"SELECT id FROM {text} WHERE {key} {word} (SELECT {key} FROM {quoted(path[-1])} WHERE {inner}) ORDER BY id"
            case 8:
                return f"SELECT id FROM {text} WHERE {where} ORDER BY {shown} {draw.choice(('', 'DESC'))}, id LIMIT {draw.choice((1, 3))}"
            case 9:
                return f"SELECT DISTINCT {shown} AS v FROM {text} WHERE {where} ORDER BY ALL"
            case 10:
                return f"SELECT id, {shown} AS v, row_number() OVER (PARTITION BY {key} ORDER BY id) AS r FROM {text} WHERE {where} ORDER BY id"
            case 11:
                return f"SELECT {key}, count(*) AS n FROM {text} WHERE {where} GROUP BY {key} HAVING count(*) > 0 AND {key} IS NOT NULL ORDER BY ALL"
            case 12:
                return f"SELECT * FROM {text} ORDER BY id"
            case 13:
                return f"SELECT id FROM {text} WHERE {where} UNION ALL SELECT id FROM {text} WHERE NOT ({where}) UNION ALL SELECT id FROM {text} WHERE ({where}) IS NULL"
            case _:
                return f"SELECT {whole} FROM {text} WHERE {where}{'' if 'count' in whole else ' ORDER BY id'}"

    def _columns(self, path: Path) -> tuple[tuple[str, str], ...]:
        found = tuple((n, t) for n, t in self.tables[path] if t in KINDS and n not in ("id", "grp"))
        return found or (("id", "INTEGER"),)

    def _joined(self, path: Path, where: str, word: str) -> str:
        draw = self.random
        other = draw.choice(TABLES)
        inner = Conditions(draw, self._columns(other)).boolean(1)
        keys = [(n, t) for n, t in self.tables[path] if "STRUCT" not in t]
        key, type_ = draw.choice(keys)
        match = draw.choice([n for n, t in self.tables[other] if t == type_] or ["id"])
        key = key if match != "id" else "id"
        comparison = draw.choice(("=", "=", "=", "IS NOT DISTINCT FROM", "<=", "<"))
        right = f"(SELECT * FROM {quoted(other[-1])} WHERE {inner}) AS r"
        on = f"l.{quoted(key)} {comparison} r.{quoted(match)}"
        left = (
            f"(SELECT * FROM {quoted(path[-1])} WHERE {where}) AS l"
            if draw.random() < 0.6
            else f"{quoted(path[-1])} AS l"
        )
        many = "" if word in ("SEMI JOIN", "ANTI JOIN") else ", count(r.id) AS m"
        return f"SELECT count(*) AS n, count(l.id) AS k{many} FROM {left} {word} {right} ON {on}"
