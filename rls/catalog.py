"""Relations, columns and types of a database, and DuckDB's rules for finding them by name.

A `Catalog` is a frozen value: the rewrite reads it and never the database. Name folding is ASCII-only, as DuckDB
does it (`É` and the Kelvin sign do not fold), and lives here and nowhere else.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

__all__ = ["Catalog", "Column", "LeftOut", "Relation", "fold", "literal", "parse_path", "quote", "shown_type"]

_FOLD = {c: c + 32 for c in range(ord("A"), ord("Z") + 1)}


def fold(name: str) -> str:
    """Fold a name as DuckDB does: ASCII letters only, quoted or not.

    >>> fold('Orders'), fold('\\u212aelvin')
    ('orders', '\\u212aelvin')
    """
    return name.lower() if name.isascii() else name.translate(_FOLD)


def quote(name: str) -> str:
    """A name as a quoted SQL identifier.

    >>> print(quote('odd "name" here'))
    "odd ""name"" here"
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as a SQL string literal.

    >>> print(literal("it's"))
    'it''s'
    """
    return "'" + text.replace("'", "''") + "'"


_PART = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([^".]+?))\s*(\.|$)')


def parse_path(text: str) -> tuple[str, ...] | None:
    """The parts of a relation's dotted name, or None; a part with a dot in it stands in double quotes.

    >>> parse_path("finance.ledger"), parse_path('"a.b".2024 Targets'), parse_path("a..b")
    (('finance', 'ledger'), ('a.b', '2024 Targets'), None)
    """
    parts: list[str] = []
    at = 0
    while True:
        found = _PART.match(text, at)
        if found is None:
            return None
        parts.append((found[1] or "").replace('""', '"') or found[2])
        at = found.end()
        if not found[3]:
            return tuple(parts) if at == len(text) else None


_ENUM = re.compile(r"ENUM\((?:'(?:[^']|'')*'(?:, )?)*\)")


def shown_type(type_: str) -> str:
    """A column's type as callers see it: ENUM as VARCHAR, also inside lists, structs and maps.

    >>> shown_type("STRUCT(a ENUM('x', 'y')[])")
    'STRUCT(a VARCHAR[])'
    """
    return _ENUM.sub("VARCHAR", type_)


@dataclass(frozen=True, slots=True)
class Column:
    """A column: `type` is DuckDB's type text (`VARCHAR`, `DECIMAL(9,2)`, `STRUCT(a INTEGER)[]`)."""

    name: str
    type: str
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view: `schema` is the schema path (nested schemas have several parts), `sql` a view's SELECT text."""

    schema: tuple[str, ...]
    name: str
    columns: tuple[Column, ...]
    kind: Literal["table", "view"] = "table"
    sql: str | None = None
    key: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """Folded path inside the database; the identity of the relation."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", tuple(fold(part) for part in (*self.schema, self.name)))

    @property
    def label(self) -> str:
        """The name shown to people: without the schema in `main`, else `schema.name`."""
        return self.name if self.key[:-1] == ("main",) else ".".join((*self.schema, self.name))

    def column(self, name: str) -> Column | None:
        """The column of that name, or None."""
        wanted = fold(name)
        return next((c for c in self.columns if fold(c.name) == wanted), None)


@dataclass(frozen=True, slots=True, order=True)
class LeftOut:
    """What a database has and callers cannot reach: a relation, or one `column` of it, and why, for the operator."""

    relation: str
    column: str
    why: str


@dataclass(frozen=True)
class Catalog:
    """What a query may be about: `name` is the database name callers write, `attached` the one guards use.

    The engine attaches data under an unguessable name, so `attached` differs from `name` there; for execution on
    somebody else's connection both are the same. `engine` is what beside the relations decides a text for another
    engine than DuckDB (`Target.described`). `left_out` is for `rls check` to name.
    """

    name: str
    relations: Mapping[tuple[str, ...], Relation]
    attached: str = ""
    default_schema: tuple[str, ...] = ("main",)
    engine: str = ""
    left_out: tuple[LeftOut, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.attached:
            object.__setattr__(self, "attached", self.name)

    @classmethod
    def of(
        cls,
        name: str,
        relations: Iterable[Relation],
        *,
        attached: str = "",
        engine: str = "",
        left_out: Iterable[LeftOut] = (),
    ) -> Catalog:
        """A catalog from relations."""
        return cls(name, {r.key: r for r in relations}, attached, engine=engine, left_out=tuple(sorted(left_out)))

    def attached_as(self, attached: str) -> Catalog:
        """The same catalog, for guards that run where the data is attached under another name."""
        return replace(self, attached=attached)

    def from_schema(self, schema: tuple[str, ...]) -> Catalog:
        """The same catalog, with one-part names looked for in `schema`."""
        return replace(self, default_schema=schema)

    @cached_property
    def version(self) -> str:
        """Hash over everything that can decide a guard's text."""
        named = (self.name, self.attached, self.engine) if self.engine else (self.name, self.attached)
        h = hashlib.sha256(repr(named).encode())
        for key in sorted(self.relations):
            h.update(repr(self.relations[key]).encode())
        return h.hexdigest()[:16]

    @cached_property
    def qualifiers(self) -> frozenset[str]:
        """Folded names that may stand before a relation's: the schemas' and the database's."""
        return frozenset(part for key in self.relations for part in key[:-1]) | {fold(self.name)}

    def find(self, path: tuple[str, ...]) -> Relation | None:
        """The relation that DuckDB finds for a dotted path as written in a query, or None.

        One part: the default schema. Two: schema.name, or database.name in the default schema. More: a schema path
        with or without the database's name in front.
        """
        parts = tuple(fold(p) for p in path)
        if len(parts) == 1:
            found = self.relations.get((*map(fold, self.default_schema), parts[0]))
            # Names in a view's text are looked for in the view's schema, then in the database's.
            return found or self.relations.get(("main", parts[0]))
        found = self.relations.get(parts)
        if fold(self.name) == parts[0]:
            rest = parts[1:]
            inner = self.relations.get(rest if len(rest) > 1 else (*map(fold, self.default_schema), *rest))
            # DuckDB calls a name that is both a schema's and the database's ambiguous; so do we (nothing is found).
            if inner is not None and found is not None and inner is not found:
                return None
            return inner if inner is not None else found
        return found

    def source(self, relation: Relation) -> str:
        """The fully qualified, quoted name of a relation, which no CTE of a caller can capture."""
        return ".".join(map(quote, (self.attached, *relation.schema, relation.name)))
