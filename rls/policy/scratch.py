"""A copy of a catalog without its data, where DuckDB itself says what a guard's text means: types, errors, truth.

Takes a catalog; makes an in-memory database with the same relations (views as tables), one row of NULLs in each, and
no way out. It owns the rule that checking policies never touches data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rls.catalog import Catalog, Column, Relation, quote
from rls.forks import never_closed_in_child

__all__ = ["Scratch"]


class Scratch:
    """DuckDB over a copy of `catalog` (attached under `catalog.attached`). Close it after use."""

    def __init__(self, catalog: Catalog) -> None:
        import duckdb

        self.catalog = catalog
        self.unknown_types: set[tuple[str, ...]] = set()  # relations with a column whose type this DuckDB lacks
        self._types: dict[str, bool] = {}
        self._expected: dict[tuple[tuple[str, ...], str], str] = {}
        config: dict[str, Any] = {"threads": 1, "enable_external_access": "false"}
        self._connection = never_closed_in_child(duckdb.connect(":memory:", config=config))
        self._connection.execute(f"ATTACH ':memory:' AS {quote(catalog.attached)}")
        schemas = {relation.schema[:n] for relation in catalog.relations.values() for n in range(1, 9)}
        for schema in sorted(schemas, key=lambda parts: (len(parts), parts)):
            path = ".".join(map(quote, (catalog.attached, *schema)))
            self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {path}")
        for relation in catalog.relations.values():
            columns = ", ".join(f"{quote(c.name)} {self._type(relation, c)}" for c in relation.columns)
            self._connection.execute(f"CREATE TABLE {catalog.source(relation)} ({columns})")
            # A row of NULLs: conversions of literals (`id = 'x'`) happen, those of values cannot fail.
            self._connection.execute(f"INSERT INTO {catalog.source(relation)} DEFAULT VALUES")
        self._literals = self._connection.cursor()
        # To optimize a query of a few literals takes longer than to run it.
        self._literals.execute("PRAGMA disable_optimizer")

    def _type(self, relation: Relation, column: Column) -> str:
        import duckdb

        if column.type not in self._types:
            try:
                self._connection.execute(f"SELECT NULL::{column.type}")
                self._types[column.type] = True
            except duckdb.Error:
                self._types[column.type] = False
        if self._types[column.type]:
            return column.type
        self.unknown_types.add(relation.key)
        return "VARCHAR"

    def expect(self, expressions: Iterable[str], relation: Relation, parameters: Mapping[str, object]) -> None:
        """Find the types of several expressions in one go, before `type_of` is asked for each."""
        import duckdb

        self._expected = {}
        # Those with parameters are not evaluated, which is no reason not to evaluate the others.
        alike: dict[bool, dict[str, None]] = {True: {}, False: {}}
        for one in expressions:
            alike[bool(_used(one, parameters))][one] = None
        for some in alike.values():
            if len(some) > 1:
                # If one of them does not bind, each is asked by itself.
                with contextlib.suppress(duckdb.Error):
                    types = self._types_of(list(some), relation, parameters)
                    self._expected |= {(relation.key, one): type_ for one, type_ in zip(some, types, strict=True)}

    def type_of(self, expression: str, relation: Relation, parameters: Mapping[str, object]) -> str:
        """The type of an expression over a relation. Raises `duckdb.Error` where it does not bind.

        Without parameters it is also evaluated, on a row of NULLs; with them it is not, since sample values may not
        be ones that it can convert.
        """
        expected = self._expected.get((relation.key, expression))
        return expected or self._types_of([expression], relation, parameters)[0]

    def _types_of(self, expressions: Sequence[str], relation: Relation, parameters: Mapping[str, object]) -> list[str]:
        listed = ", ".join(expressions)
        source = f"{self.catalog.source(relation)} AS {quote(relation.name)}"
        used = _used(listed, parameters)
        limit = "LIMIT 0" if used else ""
        result = self._connection.execute(f"SELECT {listed} FROM {source} {limit}", used)
        return [str(column[1]) for column in result.description]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query that reads nothing but literals. Raises `duckdb.Error`."""
        return list(self._literals.execute(query).fetchall())

    def close(self) -> None:
        self._literals.close()
        self._connection.close()


def _used(text: str, parameters: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in parameters.items() if f"${name} " in text}
