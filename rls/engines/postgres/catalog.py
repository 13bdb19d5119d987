"""A connection to PostgreSQL → `Catalog`: tables with the columns that DuckDB has a type for.

Left out, so that for callers and policies they do not exist: relations that the role may not read; and, named in
`Catalog.left_out`, views (their text is PostgreSQL's), columns of types without a counterpart or with a collation that
calls different texts equal, and names that are one to DuckDB. Owns that what a guard reads is a stored column of a
known type.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rls.catalog import Catalog, Column, LeftOut, Relation, fold
from rls.errors import EngineInvalid
from rls.rewrite.port.target import Target

__all__ = ["Database", "check_role", "read_database", "read_keys"]

MAIN: Final = "public"
"""The schema that callers reach without naming it: `main`, as everywhere in this library."""

_OLDEST: Final = 14  # before, the parts of days were those of times, which raise for days that no time has

_COLUMNS: Final = """
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind = 'v', a.attname::text,
  CASE WHEN t.typtype = 'd' THEN pg_catalog.format_type(t.typbasetype, t.typtypmod)
    ELSE pg_catalog.format_type(a.atttypid, a.atttypmod) END, NOT a.attnotnull,
  CASE WHEN t.typtype = 'e' THEN (
    SELECT pg_catalog.array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e
    WHERE e.enumtypid = t.oid) END,
  coalesce(l.collisdeterministic, true)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
WHERE c.relkind IN ('r', 'p', 'm', 'f', 'v') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
  AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
ORDER BY c.oid, a.attnum"""
_UNICODE: Final = """
SELECT collname::text FROM pg_catalog.pg_collation
WHERE collname IN ('pg_c_utf8', 'C.utf8', 'C.UTF-8') AND collencoding IN (-1, 6)
  AND collnamespace = 'pg_catalog'::regnamespace
ORDER BY collname DESC LIMIT 1"""
# Of every role that the connection's could become.
_ROLE: Final = """
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_roles r WHERE pg_catalog.pg_has_role(r.oid, 'MEMBER') AND (
      r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls
      OR r.rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program',
        'pg_write_all_data', 'pg_signal_backend', 'pg_checkpoint', 'pg_create_subscription', 'pg_maintain')
      OR EXISTS (
        SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'm', 'f', 'v')
          AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
          AND (pg_catalog.has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
            OR pg_catalog.has_any_column_privilege(r.oid, c.oid, 'INSERT, UPDATE, REFERENCES'))))),
  pg_catalog.current_setting('server_encoding')"""

# Not those of tables that others inherit from, whose rows are read along with theirs and under no key.
_KEYS: Final = """
SELECT n.nspname::text, c.relname::text, pg_catalog.array_agg(a.attname::text ORDER BY k.place)
FROM pg_catalog.pg_constraint p
JOIN pg_catalog.pg_class c ON c.oid = p.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL pg_catalog.unnest(p.conkey) WITH ORDINALITY AS k(number, place)
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number
WHERE p.contype = 'p' AND (c.relkind = 'p' OR NOT c.relhassubclass)
GROUP BY n.nspname, c.relname"""

_TYPES: Final = {
    "boolean": "BOOLEAN", "smallint": "SMALLINT", "integer": "INTEGER", "bigint": "BIGINT", "real": "FLOAT",
    "double precision": "DOUBLE", "text": "VARCHAR", "character varying": "VARCHAR", "date": "DATE", "uuid": "UUID",
    # No expression may use these: they are here for policies to name.
    "json": "JSON", "jsonb": "JSON", "bytea": "BLOB", "time without time zone": "TIME",
    "timestamp without time zone": "TIMESTAMP", "timestamp with time zone": "TIMESTAMP WITH TIME ZONE",
}  # fmt: skip
_LISTED: Final = frozenset(
    ("BOOLEAN", "SMALLINT", "INTEGER", "BIGINT", "DOUBLE", "VARCHAR", "DATE", "TIMESTAMP", "UUID")
)
# What DuckDB has instead of numbers of any length: a value with more digits is refused where it is shown. In a query
# they are what they are; `Postgres.any_length` says what that takes.
_ANY_NUMBER: Final = "DECIMAL(38,9)"
_SAME_NAME: Final = "another relation has the same name to DuckDB"
_DECIMAL: Final = re.compile(r"numeric\((\d+),(\d+)\)")


@dataclass(frozen=True, slots=True)
class Database:
    """A catalog, and what a rewrite must know beside it."""

    catalog: Catalog
    target: Target


def check_role(connection: Any) -> None:
    """Raise `EngineInvalid`: `engine.role` for one that may do more than read, `engine.encoding`, `engine.version`."""
    if connection.info.server_version < _OLDEST * 10_000:
        raise EngineInvalid(
            "engine.version", f"PostgreSQL is older than {_OLDEST}", hint=f"use PostgreSQL {_OLDEST} or newer"
        )
    may_more, encoding = connection.execute(_ROLE).fetchone()
    if may_more:
        raise EngineInvalid(
            "engine.role",
            "the role of the connection may do more than read",
            hint="use one that has SELECT on the tables and nothing else",
        )
    if encoding != "UTF8":
        raise EngineInvalid("engine.encoding", "the database's encoding is not UTF8", hint="use another database")


def read_database(connection: Any, attached: str, *, name: str) -> Database:
    """What the connection's role can read, as a database that callers call `name` and guards `attached`."""
    found: dict[int, _Found] = {}
    for oid, schema, table, is_view, column, type_, nullable, labels, plain in connection.execute(_COLUMNS).fetchall():
        relation = found.setdefault(oid, _Found(schema, table, is_view))
        known = _type_of(type_, labels)
        if known is None:
            relation.unknown.append((column, f"nothing corresponds to its type `{type_}`"))
        elif not plain:
            relation.unknown.append((column, "its collation calls different texts equal"))
        else:
            relation.columns.append(Column(column, known, nullable))
    schemas = _schemas([one.schema for one in found.values()])
    relations: list[Relation] = []
    left_out: list[LeftOut] = []
    for one in found.values():
        why = one.why_not(schemas)
        left_out += [LeftOut(one.label, column, reason) for column, reason in one.unknown if not why]
        if why:
            left_out.append(LeftOut(one.label, "", why))
        else:
            relations.append(Relation((schemas[one.schema],), one.table, tuple(one.columns)))
    keys = Counter(relation.key for relation in relations)
    left_out += [LeftOut(one.label, "", _SAME_NAME) for one in relations if keys[one.key] > 1]
    unicode = connection.execute(_UNICODE).fetchone()
    target = Target({fold(ours): theirs for theirs, ours in schemas.items()}, unicode[0] if unicode else "")
    readable = (one for one in relations if keys[one.key] == 1)
    catalog = Catalog.of(name, readable, attached=attached, engine=target.described, left_out=left_out)
    return Database(catalog, target)


def read_keys(connection: Any, database: Database) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The columns of primary keys, by the table's key, of tables whose key's columns are all in the catalog."""
    ours = {theirs: name for name, theirs in database.target.schemas.items()}
    found = {}
    for schema, table, columns in connection.execute(_KEYS).fetchall():
        relation = database.catalog.relations.get((ours.get(schema, ""), fold(table)))
        if relation is not None and all(any(c.name == name for c in relation.columns) for name in columns):
            found[relation.key] = tuple(columns)
    return found


@dataclass(slots=True)
class _Found:
    """A relation as the database has it: columns of known types, and others with the reason why not."""

    schema: str
    table: str
    is_view: bool
    columns: list[Column] = field(default_factory=list)
    unknown: list[tuple[str, str]] = field(default_factory=list)

    @property
    def label(self) -> str:
        return self.table if self.schema == MAIN else f"{self.schema}.{self.table}"

    def why_not(self, schemas: Mapping[str, str]) -> str:
        """Why callers cannot reach it; "" where they can."""
        if self.is_view:
            return "it is a view of the server's own"
        if self.schema not in schemas:
            return "another schema has the same name to DuckDB"
        if not self.columns:
            return f"of its column `{self.unknown[0][0]}`, and of all others, {self.unknown[0][1]}"
        if len({fold(one.name) for one in self.columns}) < len(self.columns):
            return "two of its columns have the same name to DuckDB"
        return ""


def _schemas(names: Sequence[str]) -> dict[str, str]:
    """Their schemas' names → ours, where that is one to one."""
    ours = {name: "main" if name == MAIN else name for name in names}
    counts = Counter(fold(name) for name in ours.values())
    return {theirs: name for theirs, name in ours.items() if counts[fold(name)] == 1}


def _type_of(type_: str, labels: list[str] | None) -> str | None:
    """DuckDB's type of a PostgreSQL type; None where it has none.

    >>> _type_of("numeric(9,2)", None), _type_of("character varying(3)", None), _type_of("inet", None)
    ('DECIMAL(9,2)', 'VARCHAR', None)
    >>> _type_of("text[]", None), _type_of("json[]", None)
    ('VARCHAR[]', None)
    """
    if type_.endswith("[]"):
        # PostgreSQL does not know how many dimensions the lists of a column have: each value is looked at when shown.
        items = _type_of(type_[:-2], None)
        return f"{items}[]" if items is not None and (items in _LISTED or _DECIMAL.fullmatch(type_[:-2])) else None
    if labels is not None:
        listed = ", ".join("'" + label.replace("'", "''") + "'" for label in labels)
        return f"ENUM({listed})" if labels else None
    if (decimal := _DECIMAL.fullmatch(type_)) and int(decimal[1]) <= 38 and int(decimal[2]) <= int(decimal[1]):
        return f"DECIMAL({decimal[1]},{decimal[2]})"
    if type_ == "numeric":
        return _ANY_NUMBER
    return _TYPES.get(re.sub(r"^(character varying|timestamp)\(\d+\)", r"\1", type_))
