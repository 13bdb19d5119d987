"""Queries to ask of both copies: those of a file, or many small ones made from the catalog.

Takes SQL text or what a persona may see of the catalog; returns texts. The generated ones cast, sort, aggregate, join
and count: whatever runs on rows before they were filtered shows in one of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import sqlglot

from rls.catalog import Catalog, Column, Relation, fold, quote, shown_type
from rls.policy.grant import Grant

__all__ = ["generate_queries", "split_queries"]

_NUMBERS = ("INT", "DECIMAL", "DOUBLE", "FLOAT")


def split_queries(text: str) -> list[str]:
    """The statements of a text, without their semicolons.

    >>> split_queries("SELECT ';' ; -- one\\nSELECT 2;")
    ["SELECT ';'", '-- one\\nSELECT 2']
    """
    try:
        tokens = sqlglot.tokenize(text, dialect="duckdb")
    except sqlglot.errors.SqlglotError:
        return [text]
    ends = [t.start for t in tokens if t.token_type == sqlglot.TokenType.SEMICOLON]
    found, start = [], 0
    for end in (*ends, len(text)):
        part = text[start:end].strip()
        if part and any(start <= t.start < end for t in tokens):
            found.append(part)
        start = end + 1
    return found


def generate_queries(catalog: Catalog, grants: Mapping[tuple[str, ...], Grant | None]) -> list[str]:
    """Queries over every table that the persona may ask for."""
    shown: list[tuple[Relation, list[Column]]] = []
    for relation in sorted(catalog.relations.values(), key=lambda r: r.label):
        grant = grants.get(relation.key)
        if relation.kind == "table" and grant is not None:
            columns = [Column(c.name, shown_type(c.type)) for c in relation.columns if c.name not in grant.denied]
            shown.append((relation, columns))
    found = [query for relation, columns in shown for query in _of_table(relation, columns)]
    return [*found, *_of_pairs(shown)]


def _of_table(relation: Relation, columns: list[Column]) -> Iterator[str]:
    table = _name(relation)
    yield f"SELECT count(*) FROM {table}"
    yield f"SELECT * FROM {table}"
    yield f"SELECT count(*) FROM {table} WHERE (SELECT count(*) FROM {table}) > 0"
    for column in columns:
        name = quote(column.name)
        yield f"SELECT count({name}), count(DISTINCT {name}) FROM {table}"
        if column.type.endswith("]") or column.type.startswith(("STRUCT", "MAP", "UNION")):
            yield f"SELECT count(*) FROM {table} WHERE {name} IS NULL"
            continue
        yield f"SELECT min({name}), max({name}) FROM {table}"
        yield f"SELECT {name}, count(*) FROM {table} GROUP BY {name} ORDER BY {name} NULLS FIRST"
        if column.type == "VARCHAR":
            yield from _of_text(table, name)
        elif column.type.startswith(_NUMBERS) or column.type.endswith("INT"):
            yield from _of_number(table, name)
        elif column.type in ("DATE", "TIMESTAMP"):
            yield f"SELECT count(*) FROM {table} WHERE {name} + INTERVAL 400000 MONTH > DATE '2024-01-01'"
            yield f"SELECT year({name}) AS y, count(*) FROM {table} GROUP BY y ORDER BY y"


def _of_text(table: str, name: str) -> Iterator[str]:
    for type_ in ("INTEGER", "DATE", "DOUBLE", "BOOLEAN"):
        yield f"SELECT count(*) FROM {table} WHERE CAST({name} AS {type_}) IS NOT NULL"
    yield f"SELECT count(*) FROM {table} WHERE {name} LIKE '%a%' OR {name} > 'm'"
    yield f"SELECT max(length({name})), min(upper({name})) FROM {table}"
    yield f"SELECT count(*) FROM {table} WHERE regexp_matches('a', {name})"
    # DuckDB moves a condition below a join, and past a filter on the way.
    joined = f"{table} AS a LEFT JOIN (VALUES ('a'), ('b')) AS v(x) ON a.{name} = v.x"
    yield f"SELECT count(*) FROM {joined} WHERE CAST(a.{name} AS INTEGER) = 5"
    yield f"SELECT list({name} ORDER BY {name}) FROM {table}"


def _of_number(table: str, name: str) -> Iterator[str]:
    yield f"SELECT count(*) FROM {table} WHERE CAST({name} AS TINYINT) > 0"
    yield f"SELECT count(*) FROM {table} WHERE {name} + {name} > 0"
    yield f"SELECT sum({name}), avg({name}) FROM {table}"
    yield f"SELECT median({name}) FROM {table}"
    yield f"SELECT count(*) FROM {table} WHERE {name} BETWEEN 0 AND 100"
    yield f"SELECT max({name}) OVER () FROM {table} ORDER BY 1 LIMIT 1"
    yield f"SELECT count(*) FROM {table} WHERE sqrt(CAST({name} AS DOUBLE)) > 1"


def _of_pairs(shown: list[tuple[Relation, list[Column]]]) -> Iterator[str]:
    """Joins of tables over columns of one name and type, or over `id` and `<table>_id`."""
    for left, first in shown:
        for right, second in shown:
            for a in first:
                for b in second:
                    if left.key != right.key and a.type == b.type and _joins(left, a, right, b):
                        on = f"a.{quote(a.name)} = b.{quote(b.name)}"
                        counted = f"count(*), count(b.{quote(b.name)})"
                        yield f"SELECT {counted} FROM {_name(left)} a LEFT JOIN {_name(right)} b ON {on}"
                        inner = f"FROM {_name(right)} b WHERE {on}"
                        yield f"SELECT count(*) FROM {_name(left)} a WHERE NOT EXISTS ({inner})"


def _joins(left: Relation, a: Column, right: Relation, b: Column) -> bool:
    if fold(b.name) == "id":
        return fold(a.name).removesuffix("_id") == fold(right.name).removesuffix("s")
    return fold(a.name) == fold(b.name) and fold(a.name).endswith("_id") and left.key < right.key


def _name(relation: Relation) -> str:
    return ".".join(map(quote, (*relation.schema, relation.name)))
