"""A text → its bound plan on an empty copy of the catalog, as DuckDB writes it (`json_serialize_plan`).

The plan shows each function with the types it was bound for, and every cast that nobody wrote. No row is ever in such
a copy. Owns that: the instances hold definitions only, and are few.
"""

from __future__ import annotations

import atexit
import json
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from rls.catalog import Catalog, Column, Relation, fold, literal, quote
from rls.forks import after_fork, before_fork, never_closed_in_child

__all__ = [
    "LOCAL",
    "PROBE",
    "Planner",
    "PlannerBusy",
    "PlannerSlow",
    "answer_columns",
    "bound_plan",
    "converts",
    "pushed_plan",
]

PROBE: Final = "rls_probe"
"""The catalog, on such an instance, of tables that stand for one reference of a query each: `rls_probe.main."#0"`."""

_MAX_COPIES: Final = 4  # catalogs (by version) with an empty copy at a time
_MAX_RELATIONS: Final = 500  # in one copy, before it is made anew
# Of DuckDB's optimizer: what moves filters. What looks at statistics or sizes would see that the tables are empty.
_MOVERS: Final = {
    "expression_rewriter", "filter_pullup", "filter_pushdown", "cte_filter_pusher", "cte_inlining", "deliminator",
    "unnest_rewriter", "in_clause", "empty_result_pullup", "outer_join_simplification",
}  # fmt: skip


class Planner(Protocol):
    """Where texts are bound: in this process, or in one that a hostile text may exhaust or crash."""

    def plan(self, text: str, version: str, attached: str, tables: Mapping[str, Relation], *, optimize: bool) -> str:
        """DuckDB's JSON of the plan, "" where there is none.

        `tables`: full name in the text → the relation whose stored columns it has; `version` and `attached` are the
        catalog's. Raises `PlannerBusy`.
        """

    def columns(self, text: str, version: str, attached: str, tables: Mapping[str, Relation]) -> str:
        """Names and types of the answer as JSON, "" where the text does not bind. Raises `PlannerBusy`."""

    def patient(self) -> Planner:
        """The same, with more time for one text: for who cannot do without its plan."""


class PlannerBusy(Exception):
    """Nothing can be said now; the next time something may."""


class PlannerSlow(PlannerBusy):
    """This text took too long, by itself or for want of a processor."""


def bound_plan(
    text: str,
    catalog: Catalog,
    *,
    probes: Mapping[str, Relation] | None = None,
    planner: Planner | None = None,
    most: int | None = None,
) -> Any:
    """The bound plan of a guarded text over `catalog`: a list of trees, or None where it does not bind.

    `probes`: tables of the catalog `PROBE` in the text, by name, and the relations whose stored columns they have.
    `most`: None also for a plan of more characters of JSON than that. Raises `PlannerBusy`.
    """
    return _plan(text, catalog, probes or {}, planner or LOCAL, optimize=False, most=most)


def pushed_plan(
    text: str, catalog: Catalog, *, probes: Mapping[str, Relation], planner: Planner | None = None, most: int
) -> Any:
    """The same after DuckDB has moved filters towards the scans."""
    return _plan(text, catalog, probes, planner or LOCAL, optimize=True, most=most)


def answer_columns(text: str, catalog: Catalog, *, planner: Planner | None = None) -> tuple[Column, ...] | None:
    """Names and types of the answer to a guarded text, or None where it does not bind. Raises `PlannerBusy`."""
    tables = {catalog.source(relation): relation for relation in _named_in(text, catalog)}
    found = (planner or LOCAL).columns(text, catalog.version, catalog.attached, tables)
    return tuple(Column(str(name), str(type_)) for name, type_ in json.loads(found)) if found else None


def converts(text: str, type_: str) -> bool:
    """Whether DuckDB converts this text to this type (a name of a built-in type)."""
    return LOCAL.converts(text, type_)


def _plan(
    text: str,
    catalog: Catalog,
    probes: Mapping[str, Relation],
    planner: Planner,
    *,
    optimize: bool,
    most: int | None = None,
) -> Any:
    tables = {catalog.source(relation): relation for relation in _named_in(text, catalog)}
    tables |= {f"{PROBE}.main.{quote(name)}": relation for name, relation in probes.items()}
    found = planner.plan(text, catalog.version, catalog.attached, tables, optimize=optimize)
    if most is not None and len(found) > most:
        return None
    import orjson

    try:
        result = orjson.loads(found)
    except ValueError:  # some constants make DuckDB write what is no JSON
        return None
    return None if result["error"] else result["plans"]


class _Copies:
    """The planner in this process: empty copies of catalogs, one DuckDB instance each; a lock, since a connection is
    one query at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, _Copy] = {}

    def plan(self, text: str, version: str, attached: str, tables: Mapping[str, Relation], *, optimize: bool) -> str:
        """See `Planner.plan`."""
        import duckdb

        with self._lock:
            try:
                copy = self._copy_of(version, attached)
                for source, relation in tables.items():
                    copy.have(source, relation)
                form = "optimized" if optimize else "bound"
                row = copy.connection.execute(f"EXECUTE {form}({literal(text)})").fetchone()
            except (duckdb.Error, RecursionError):
                return ""
        return str(row[0]) if row else ""

    def columns(self, text: str, version: str, attached: str, tables: Mapping[str, Relation]) -> str:
        """See `Planner.columns`."""
        import duckdb

        with self._lock:
            try:
                copy = self._copy_of(version, attached)
                for source, relation in tables.items():
                    copy.have(source, relation)
                statements = copy.connection.extract_statements(text)
                unknown = dict.fromkeys(statements[0].named_parameters) if len(statements) == 1 else {}
                # Bound and not run.
                found = copy.connection.sql(text, params=unknown or None)
            except (duckdb.Error, RecursionError):
                return ""
        return json.dumps(list(zip(found.columns, map(str, found.types), strict=True)))

    def patient(self) -> Planner:
        """See `Planner.patient`. Here a text has all the time it takes."""
        return self

    def converts(self, text: str, type_: str) -> bool:
        import duckdb

        with self._lock:
            if not self._open:
                self._copy_of("", "memory")
            connection = next(iter(self._open.values())).connection
            try:
                row = connection.execute(f"SELECT TRY_CAST($1::VARCHAR AS {type_}) IS NOT NULL", [text]).fetchone()
            except duckdb.Error:
                return False
        return bool(row and row[0])

    def _copy_of(self, version: str, attached: str) -> _Copy:
        found = self._open.pop(version, None)
        if found is not None and len(found.known) > _MAX_RELATIONS:
            found.connection.close()
            found = None
        if found is None:
            found = _Copy(attached)
            if len(self._open) >= _MAX_COPIES:
                self._open.pop(next(iter(self._open))).connection.close()
        self._open[version] = found  # the last used is the last to go
        return found

    def forget(self) -> None:
        """Leave all of it to the parent, in a fork's child."""
        self._lock, self._open = threading.Lock(), {}

    def close(self) -> None:
        with self._lock:
            for copy in self._open.values():
                copy.connection.close()
            self._open.clear()


class _Copy:
    """One instance: its tables are made when a text first names them, and replaced where one name stands for others."""

    def __init__(self, attached: str) -> None:
        import duckdb

        self._attached = attached
        self.known: dict[str, tuple[str, ...]] = {}
        config: dict[str, Any] = {"threads": 1, "python_enable_replacements": "false"}
        self.connection = never_closed_in_child(duckdb.connect(":memory:", config=config))
        if fold(attached) != "memory":
            self.connection.execute(f"ATTACH ':memory:' AS {quote(attached)}")
        self.connection.execute(f"ATTACH ':memory:' AS {PROBE}")
        optimizers = self.connection.execute("SELECT name FROM duckdb_optimizers()").fetchall()
        others = ",".join(name for (name,) in optimizers if name not in _MOVERS)
        self.connection.execute(f"SET disabled_optimizers = '{others}'")
        self.connection.execute("SET enable_external_access = false")
        self.connection.execute("SET lock_configuration = true")
        self.connection.execute("PREPARE bound AS SELECT json_serialize_plan($1::VARCHAR)")
        self.connection.execute("PREPARE optimized AS SELECT json_serialize_plan($1::VARCHAR, optimize := true)")

    def have(self, source: str, relation: Relation) -> None:
        """An empty table named `source` with the stored columns of `relation`."""
        if self.known.get(source) == relation.key:
            return
        for depth in range(1, len(relation.schema) + 1):
            path = ".".join(map(quote, (self._attached, *relation.schema[:depth])))
            self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {path}")
        columns = ", ".join(f"{quote(c.name)} {c.type}" for c in relation.columns)
        self.connection.execute(f"CREATE OR REPLACE TABLE {source} ({columns})")
        self.known[source] = relation.key


def _named_in(text: str, catalog: Catalog) -> Iterator[Relation]:
    """The relations a guarded text reads, mapping tables of policies included: by the full names in it."""
    for found in re.finditer(re.escape(quote(catalog.attached)) + r'((?:\."(?:[^"]|"")*")+)', text):
        path = tuple(fold(part[1:-1].replace('""', '"')) for part in re.findall(r'"(?:[^"]|"")*"', found[1]))
        if (relation := catalog.relations.get(path)) is not None:
            yield relation


LOCAL: Final = _Copies()
"""The planner in this process."""
# An open connection at the interpreter's end makes DuckDB's bindings print what they think is leaked.
atexit.register(LOCAL.close)
before_fork(LOCAL.close)
after_fork(LOCAL.forget)
