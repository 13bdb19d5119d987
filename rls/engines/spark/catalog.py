"""A Spark Connect session → `Catalog`: tables, or Parquet files, with the columns that DuckDB has a type for.

Left out, so that for callers and policies they do not exist, and named in `Catalog.left_out`: views (their text is the
server's), columns of types without a counterpart, names that are one to DuckDB or to a server that folds more letters.
Parquet files are shown to each session under names that nobody can utter. Owns that what a guard reads is a stored
column of a known type.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from rls.catalog import Catalog, Column, LeftOut, Relation, fold
from rls.engines.spark.address import Address
from rls.engines.spark.failures import is_lost
from rls.errors import EngineInvalid
from rls.rewrite.port.target import Target, view_of

__all__ = ["Database", "Engine", "engine_of", "files_of", "read_database", "show_files"]

Engine = Literal["spark", "sail"]
Files = tuple[tuple[str, str, str, int, int], ...]  # schema, name, path, size, time

_TYPES: Final = {
    "boolean": "BOOLEAN", "smallint": "SMALLINT", "int": "INTEGER", "bigint": "BIGINT", "float": "FLOAT",
    "double": "DOUBLE", "string": "VARCHAR", "date": "DATE", "timestamp_ntz": "TIMESTAMP",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    # No expression may use these: they are here for policies to name.
    "tinyint": "TINYINT", "binary": "BLOB",
}  # fmt: skip
_VIEW: Final = "it is a view of the server's own"
_PATTERN: Final = "to the server its path is a pattern of others"
_DECIMAL: Final = re.compile(r"decimal\((\d+),(\d+)\)")
_ARRAY: Final = re.compile(r"array<(\w+)>")
_LISTED: Final = frozenset(("boolean", "smallint", "int", "bigint", "double", "string", "date", "timestamp_ntz"))
_SPARK: Final = re.compile(r"4\.\d+\.\d+\S* [0-9a-f]{40}")
_SAIL: Final = re.compile(r"0\.7\.\d+")
_PATTERNS: Final = frozenset("*?[]{}\\,")  # in a path, to Spark


@dataclass(frozen=True, slots=True)
class Database:
    """A catalog, what a rewrite must know beside it, and the files that a session must be shown: name → path."""

    catalog: Catalog
    target: Target
    views: Mapping[str, str] = field(default_factory=dict)


def engine_of(session: Any) -> tuple[Engine, str]:
    """Which server it is, and how it calls itself. Raises `EngineInvalid` (`engine.server`): on others nobody knows
    what a fence is."""
    version = session.sql("SELECT version()").toArrow().column(0)[0].as_py()
    if _SPARK.fullmatch(version):
        return "spark", f"spark {version.split()[0]}"
    if _SAIL.fullmatch(version):
        return "sail", f"sail {version}"
    raise EngineInvalid(
        "engine.server", "the server is neither Apache Spark 4 nor Sail 0.7", hint="use one of these versions"
    )


def files_of(address: Address) -> Files:
    """The Parquet files, or directories of them, under the address's directory: `orders.parquet` is the relation
    `orders`, `finance/ledger.parquet` is `finance.ledger`. Raises `EngineInvalid` (`engine.database_missing`)."""
    found = []
    try:
        for entry in sorted(Path(address.parquet).iterdir()):
            if entry.suffix == ".parquet":
                found.append(("main", entry))
            elif entry.is_dir():
                found += [(entry.name, inner) for inner in sorted(entry.iterdir()) if inner.suffix == ".parquet"]
        return tuple(
            (schema, path.stem, str(path), (status := path.stat()).st_size, status.st_mtime_ns)
            for schema, path in found
        )
    except OSError:
        raise EngineInvalid(
            "engine.database_missing", "the directory of Parquet files cannot be read", hint="check `parquet`"
        ) from None


def read_database(session: Any, address: Address, files: Files, attached: str, *, name: str) -> Database:
    """What the session can read, as a database that callers call `name` and guards `attached`."""
    engine, _ = engine_of(session)
    if address.parquet:
        found = [
            (schema, table, ((), [("", _PATTERN)]) if _PATTERNS & set(path) else _columns(session.read.parquet, path))
            for schema, table, path, _, _ in files
        ]
        target = Target(engine=engine)
    else:
        found = [
            (schema, table, _columns(session.table, source) if source else ((), [("", _VIEW)]))
            for schema, table, source in _tables(session, address.schema)
        ]
        target = Target(engine=engine, catalog=session.catalog.currentCatalog(), main=address.schema)
    relations = [Relation((schema,), table, columns) for schema, table, (columns, _) in found]
    keys = Counter(_folded(*relation.key) for relation in relations)
    kept = [one for one in relations if one.columns and keys[_folded(*one.key)] == 1]
    left_out: list[LeftOut] = []
    for relation, (_, _, (columns, unknown)) in zip(relations, found, strict=True):
        if keys[_folded(*relation.key)] > 1:
            left_out.append(LeftOut(relation.label, "", "another relation has the same name to the server"))
        elif columns:
            left_out += [LeftOut(relation.label, column, why) for column, why in unknown]
        else:
            left_out.append(LeftOut(relation.label, "", unknown[0][1] if unknown else "it has no columns"))
    catalog = Catalog.of(name, kept, attached=attached, engine=target.described, left_out=left_out)
    paths = {Relation((schema,), table, ()).key: path for schema, table, path, _, _ in files}
    views = {view_of(catalog.source(one)): paths[one.key] for one in kept if one.key in paths}
    return Database(catalog, target, views)


def show_files(session: Any, database: Database) -> None:
    """Give a session the names under which guards read the files. Of a file that is no longer one it has no name: who
    asks for that relation is told, and nobody else."""
    from pyspark.errors.exceptions.base import PySparkException

    for name, path in database.views.items():
        try:
            session.read.parquet(path).createOrReplaceTempView(name)
        except PySparkException as error:
            if is_lost(error):
                raise


def _tables(session: Any, main: str) -> Iterable[tuple[str, str, str]]:
    """Schema as callers know it, name, and how the server reads it, of each stored table; of a view nothing does."""
    catalog = session.catalog.currentCatalog()
    for database in session.catalog.listDatabases():
        schema = "main" if database.name == main else database.name
        if schema == "main" and database.name != main:
            continue
        for table in session.catalog.listTables(f"{_quoted(catalog)}.{_quoted(database.name)}"):
            if not table.isTemporary:
                stored = table.tableType in ("MANAGED", "EXTERNAL")
                path = (catalog, database.name, table.name)
                yield schema, table.name, ".".join(map(_quoted, path)) if stored else ""


def _columns(read: Any, source: str) -> tuple[tuple[Column, ...], list[tuple[str, str]]]:
    """The columns of known types, and others with the reason why not; none where the server cannot read it, or two have
    one name."""
    from pyspark.errors.exceptions.base import PySparkException

    try:
        fields: Sequence[Any] = read(source).schema.fields
    except PySparkException:
        return (), [("", "the server cannot read it")]
    if len({_folded(one.name) for one in fields}) != len(fields):
        return (), [("", "two of its columns have the same name to the server")]
    known, unknown = [], []
    for one in fields:
        described = one.dataType.simpleString()
        type_ = _type_of(described)
        if type_ is None:
            unknown.append((one.name, f"nothing corresponds to its type `{described[:40]}`"))
        else:
            known.append(Column(one.name, type_, one.nullable))
    return tuple(known), unknown


def _type_of(type_: str) -> str | None:
    """DuckDB's type of a Spark type; None where it has none.

    >>> _type_of("decimal(9,2)"), _type_of("timestamp_ntz"), _type_of("array<string>"), _type_of("array<binary>")
    ('DECIMAL(9,2)', 'TIMESTAMP', 'VARCHAR[]', None)
    """
    if items := _ARRAY.fullmatch(type_):
        return f"{_TYPES[items[1]]}[]" if items[1] in _LISTED else None
    if decimal := _DECIMAL.fullmatch(type_):
        return f"DECIMAL({decimal[1]},{decimal[2]})" if int(decimal[2]) <= int(decimal[1]) else None
    return _TYPES.get(type_)


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _folded(*names: str) -> tuple[str, ...]:
    """Names as the most forgiving of the engines compares them."""
    return tuple(fold(name).upper().lower() for name in names)
