"""What a lowering knows while it goes down a tree: the sources of each query, the values it binds, what is stored.

Owns that a name means one column of one source that a guard or a sub-query shows, or is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rls.catalog import Catalog, fold
from rls.rewrite.port.kinds import Lowered, not_portable

__all__ = ["Column", "Context", "Scope", "name_of"]

_LONGEST = 63  # bytes; PostgreSQL cuts longer names off, and two of them may then be one


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a source: its name as PostgreSQL has it, its kind, and whether it is stored (not of a sub-query)."""

    name: str
    kind: str
    stored: bool = False


Columns = tuple[Column, ...]


@dataclass(slots=True)
class Scope:
    """The sources of a query, by their folded names, those of common table expressions, and the scope around."""

    outer: Scope | None = None
    sources: dict[str, Columns] = field(default_factory=dict)
    tables: dict[str, Columns] = field(default_factory=dict)

    def add(self, name: str, columns: Columns) -> None:
        """One more source. Raises `QueryRefused` for a name that is taken."""
        if fold(name) in self.sources:
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

    def column(self, table: str, name: str) -> Lowered:
        """A column by its qualified name. Raises `QueryRefused`."""
        scope: Scope | None = self
        while scope is not None:
            if (columns := scope.sources.get(fold(table))) is not None:
                found = [one for one in columns if fold(one.name) == fold(name)]
                if len(found) != 1:
                    break
                text = f"{name_of(fold(table))}.{name_of(found[0].name)}"
                return Lowered(text, found[0].kind, plain=not found[0].stored)
            scope = scope.outer
        raise not_portable(f"the column `{name}`", hint="give columns that are used again names of their own")


@dataclass(slots=True)
class Context:
    """What holds for a whole statement.

    schemas  schema as callers know it → as PostgreSQL has it
    unicode  a collation that knows upper and lower case of all letters; "" where the server has none
    binds    parameter → its number
    types    parameter → its kind, where the text says so anywhere
    query    lowers a sub-query: its text and its columns
    """

    catalog: Catalog
    schemas: Mapping[str, str]
    unicode: str
    binds: dict[str, int]
    types: Mapping[str, str]
    query: Callable[[Any, Scope], tuple[str, Columns]]

    def bind(self, name: str) -> str:
        """The place of a parameter."""
        return f"${self.binds.setdefault(fold(name), len(self.binds) + 1)}"


def name_of(name: str) -> str:
    """A name as PostgreSQL reads it. Raises `QueryRefused` for one that it would cut off."""
    if len(name.encode()) > _LONGEST:
        raise not_portable(f"a name of more than {_LONGEST} bytes", hint="give a shorter one")
    return '"' + name.replace('"', '""') + '"'
