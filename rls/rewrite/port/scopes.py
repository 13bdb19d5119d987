"""What a lowering knows while it goes down a tree: the sources of each query, the values it binds, what is stored.

Owns that a name means one column of one source that a guard or a sub-query shows, or is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from rls.catalog import Catalog, fold
from rls.rewrite.port.dialect import Dialect
from rls.rewrite.port.kinds import ANY_LENGTH, Lowered, not_portable

__all__ = ["Column", "Columns", "Context", "Scope", "rename"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a source: its name as the engine has it, its kind, whether it is stored (not of a sub-query), and how
    many digits its numbers have at most (see `Lowered`)."""

    name: str
    kind: str
    stored: bool = False
    digits: int | None = None


Columns = tuple[Column, ...]


@dataclass(slots=True)
class Scope:
    """The sources of a query, by their folded names, those of common table expressions, and the scope around."""

    outer: Scope | None = None
    sources: dict[str, Columns] = field(default_factory=dict)
    tables: dict[str, Columns] = field(default_factory=dict)

    def add(self, name: str, columns: Columns) -> None:
        """One more source. Raises `QueryRefused` for a name that is taken, or is to an engine that folds more letters
        than DuckDB does."""
        if _folded(name) in map(_folded, self.sources):
            raise not_portable(f"two relations called `{name}` in one FROM", hint="give one another alias")
        self.sources[fold(name)] = columns

    def table(self, name: str) -> Columns | None:
        """The columns of a common table expression."""
        scope: Scope | None = self
        while scope is not None:
            if fold(name) in scope.tables:
                return scope.tables[fold(name)]
            scope = scope.outer
        return None

    def column(self, table: str, name: str, sql: Dialect, *, shown: bool = False) -> Lowered:
        """A column by its qualified name, to compute with or only to be shown. Raises `QueryRefused`."""
        scope: Scope | None = self
        while scope is not None:
            if (columns := scope.sources.get(fold(table))) is not None:
                found = [one for one in columns if fold(one.name) == fold(name)]
                if len(found) != 1:
                    break
                if found[0].digits == ANY_LENGTH and not shown:
                    # Whatever is made of it may be too long, even a sum.
                    sql.raises("arithmetic with numbers of any length")
                text = f"{sql.name_of(fold(table))}.{sql.name_of(found[0].name)}"
                return Lowered(text, found[0].kind, plain=not found[0].stored, digits=found[0].digits)
            scope = scope.outer
        raise not_portable(f"the column `{name}`", hint="give columns that are used again names of their own")

    def around(self) -> Scope:
        """The scope without its own sources."""
        return Scope(self.outer, {}, self.tables)

    def alone(self) -> Scope:
        """A scope without any sources, in which the same common table expressions are in sight."""
        tables = dict(self.tables)
        scope = self.outer
        while scope is not None:
            tables = {**scope.tables, **tables}
            scope = scope.outer
        return Scope(None, {}, tables)


class Query(Protocol):
    """See `Context`."""

    def __call__(self, node: Any, scope: Scope, want: list[str] | None = None, /) -> tuple[str, Columns]:
        """A query's text and columns. Raises `QueryRefused`."""


@dataclass(slots=True)
class Context:
    """What holds for a whole statement.

    sql      how the engine writes
    types    parameter → its kind, where the text says so anywhere
    answers  the queries whose groups are the answer's, by `id`
    fences   whether the guards that have a fence in DuckDB's SQL get one
    binds    parameter → its number
    query    lowers a sub-query inside a scope: its text and its columns, of the kinds that are wanted
    """

    catalog: Catalog
    sql: Dialect
    types: Mapping[str, str]
    query: Query
    answers: frozenset[int]
    fences: bool = True
    binds: dict[str, int] = field(default_factory=dict)

    def bind(self, name: str) -> str:
        """The place of a parameter."""
        return self.sql.place(self.binds.setdefault(fold(name), len(self.binds) + 1))


def rename(columns: Columns, names: list[str]) -> Columns:
    """Columns with the names that an alias gives them. Raises `QueryRefused`."""
    if len(names) > len(columns):
        raise not_portable("more names than columns")
    named = [*names, *(one.name for one in columns[len(names) :])]
    return tuple(Column(fold(name), one.kind, digits=one.digits) for name, one in zip(named, columns, strict=True))


def _folded(name: str) -> str:
    return name.upper().lower()
