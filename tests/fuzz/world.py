"""One world: a base database, policies, two databases that differ in hidden rows only, and the oracle's copy.

It takes (seed, number) and a directory and opens everything; `close` ends it. A world is `None` where the two
databases do not look the same to the oracle (a policy that reads what was varied): such pairs prove nothing.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import duckdb

from tests import policygen
from tests.driver import Driver, Refusal, sign
from tests.fuzz.rules import KEYS, Rules, draw_rules
from tests.fuzz.schema import BIG_ROWS, TABLES, VIEWS, build_sql
from tests.fuzz.vary import blank, vary
from tests.oracle import Answer, Rule, build, quoted, reduce_database, tables_of

__all__ = ["NAME", "Options", "Pair", "World", "make_world"]

NAME = "warehouse"
_COMPRESSIONS = ("auto", "auto", "auto", "dictionary", "dict_fsst", "fsst", "rle", "uncompressed")
_CONFIG: dict[str, str | bool | int | float | list[str]] = {"threads": 2, "memory_limit": "1GB"}
_BIG = (("main", "orders"), ("main", "events"))


@dataclass(frozen=True)
class Options:
    """What a test of the harness changes: shapes of policies, share of masked and denied columns, share of worlds with
    a large relation, seconds per query."""

    shapes: tuple[str, ...] = ()
    hide: float = 1.0
    big: float = 0.25
    seconds: float = 5.0


@dataclass(frozen=True)
class Files:
    """The databases of a world: the base, the two that look the same, and the oracle's."""

    base: Path
    databases: tuple[Path, Path]
    reduced: Path


class Pair:
    """Two engines over two databases that must look the same, and oracles over what both show."""

    def __init__(self, files: Files, rules: Rules, directory: Path, *, seconds: float) -> None:
        from rls.engines.limits import Limits

        self._files, self._rules, self._directory = files, rules, directory
        self._limits = Limits(seconds=seconds, rows=200_000, memory=1 << 30, threads=2)
        self._policies = policygen.write(rules.made, directory / "policies")
        self._token = sign(policygen.claims(rules.made, now=int(time.time())), policygen.SECRET)
        self.drivers = [self._driver(path) for path in files.databases]
        self.oracle = _open(files.reduced)
        self._disguised: dict[str, duckdb.DuckDBPyConnection] = {}
        self._blanks: list[Driver] = []
        self._visible: set[str] | None = None
        # The audit record hides what an error says of values; here they tell a visible row's error from a hidden one's.
        self._undo = contextlib.ExitStack()
        self._undo.enter_context(mock.patch("rls.audit.attempt.redact", lambda detail: detail))

    def _driver(self, database: Path) -> Driver:
        return Driver(database, self._policies, token=self._token, name=NAME, limits=self._limits)

    def ask(self, sql: str, *, which: int) -> Answer | Refusal:
        """What one of the two databases answers."""
        return self.drivers[which].ask(sql)

    def disguised(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The oracle in other ways: rows stored in other orders, and without its optimizer, where all that could fail
        does fail."""
        for name in ("backwards", "shuffled", "unoptimized"):
            if name not in self._disguised:
                self._disguised[name] = self._disguise(name)
            yield self._disguised[name]

    def _disguise(self, name: str) -> duckdb.DuckDBPyConnection:
        if name == "unoptimized":
            connection = _open(self._files.reduced)
            connection.execute("PRAGMA disable_optimizer")
            return connection
        directory = self._files.reduced.parent / name
        directory.mkdir(exist_ok=True)
        with duckdb.connect(str(self._files.reduced), read_only=True, config=_CONFIG) as connection:
            rules = dict.fromkeys(tables_of(connection), Rule())
        return _open(
            reduce_database(self._files.reduced, rules, target=directory / self._files.reduced.name, order=name)
        )

    def blanks(self, sql: str) -> list[Answer | Refusal]:
        """The answers over hidden rows of NULLs: as many as in each database, and some numbers more."""
        if not self._blanks:
            visible = _counts(self._files.reduced)
            hidden = [
                {path: count - visible.get(path, 0) for path, count in _counts(database).items()}
                for database in self._files.databases
            ]
            hidden += [dict.fromkeys(visible, 0), dict.fromkeys(visible, 3000)]
            for number, counts in enumerate(hidden):
                target = self._directory / f"blank{number}" / f"{NAME}.duckdb"
                target.parent.mkdir()
                blank(self._files.base, self._rules.made.rules, target=target, hidden=counts, frozen=self._rules.frozen)
                self._blanks.append(self._driver(target))
        return [driver.ask(sql) for driver in self._blanks]

    def is_visible(self, value: str) -> bool:
        """Whether a text is a value that the principal may see anyhow."""
        if self._visible is None:
            self._visible = set()
            for path, columns in tables_of(self.oracle).items():
                for name, _ in columns:
                    query = f"SELECT DISTINCT CAST({quoted(name)} AS VARCHAR) FROM {quoted(*path)}"
                    self._visible.update(row[0] for row in self.oracle.execute(query).fetchall() if row[0] is not None)
        return value in self._visible

    def detail(self, which: int) -> str:
        """What the audit record of the last query says of its failure: for people who look for the cause."""
        lines = (self._files.databases[which].parent / "audit.jsonl").read_text(encoding="utf-8").splitlines()
        return str(json.loads(lines[-1]).get("detail", "")) if lines else ""

    def close(self) -> None:
        for driver in (*self.drivers, *self._blanks):
            driver.close()
        for connection in (self.oracle, *self._disguised.values()):
            connection.close()
        self._undo.close()


@dataclass
class World:
    """Everything a case needs; `columns` are the visible columns by relation, `big` the relation with many rows."""

    seed: str
    rules: Rules
    pair: Pair
    columns: dict[tuple[str, ...], list[tuple[str, str]]]
    big: tuple[str, ...] | None
    modes: tuple[Mapping[str, str], Mapping[str, str]]
    notes: dict[str, str] = field(default_factory=dict)

    def describe(self) -> dict[str, object]:
        """For reports: what was drawn."""
        return {
            "shapes": self.rules.shapes,
            "hidden": [dict(sorted(mode.items())) for mode in self.modes],
            "big": None if self.big is None else ".".join(self.big),
            **self.notes,
        }

    def close(self) -> None:
        self.pair.close()


def make_world(seed: str, directory: Path, options: Options) -> World | None:
    """Build the world of `seed` (its databases have the seeds `<seed>/a` and `<seed>/b`)."""
    source = random.Random(seed)
    shutil.rmtree(directory, ignore_errors=True)
    for name in ("base", "a", "b", "oracle", "oracle_b"):
        (directory / name).mkdir(parents=True)
    big = source.choice(_BIG) if source.random() < options.big else None
    most = source.choice((6, 12, 25, 60))
    sizes = {path: source.randint(max(3, most // 2), most) for path in TABLES}
    if big is not None:
        sizes[big] = BIG_ROWS
    compression = source.choice(_COMPRESSIONS)
    base = build(directory / "base" / f"{NAME}.duckdb", build_sql(sizes, seed=seed, compression=compression))
    rules = draw_rules(source, shapes=list(options.shapes) or None, hide=options.hide)
    databases, modes = [], []
    for name in ("a", "b"):
        target = directory / name / f"{NAME}.duckdb"
        modes.append(
            vary(
                base, rules.made.rules, target=target, seed=f"{seed}/{name}", support=rules.support,
                frozen=rules.frozen, fixed=KEYS,
            )
        )  # fmt: skip
        databases.append(target)
    reduced = reduce_database(databases[0], rules.made.rules, target=directory / "oracle" / f"{NAME}.duckdb")
    other = reduce_database(databases[1], rules.made.rules, target=directory / "oracle_b" / f"{NAME}.duckdb")
    if fingerprint(reduced) != fingerprint(other):
        return None
    pair = Pair(Files(base, (databases[0], databases[1]), reduced), rules, directory, seconds=options.seconds)
    notes = {"compression": compression, "rows": str(most)}
    return World(seed, rules, pair, visible_columns(pair.oracle), big, (modes[0], modes[1]), notes)


def visible_columns(oracle: duckdb.DuckDBPyConnection) -> dict[tuple[str, ...], list[tuple[str, str]]]:
    """Tables and views with the columns and types that the principal sees; a view that lost a column is left out."""
    found = dict(tables_of(oracle))
    for path, (_, names) in VIEWS.items():
        described = (
            oracle.execute(f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM {quoted(*path)})")
            if _binds(oracle, path)
            else None
        )
        if described is not None:
            found[path] = described.fetchall()
            assert [name for name, _ in found[path]] == list(names)
    return found


def _counts(database: Path) -> dict[tuple[str, ...], int]:
    with duckdb.connect(str(database), read_only=True, config=_CONFIG) as connection:
        return {
            path: (connection.execute(f"SELECT count(*) FROM {quoted(*path)}").fetchone() or (0,))[0]
            for path in tables_of(connection)
        }


def _binds(oracle: duckdb.DuckDBPyConnection, path: tuple[str, ...]) -> bool:
    try:
        oracle.execute(f"SELECT * FROM {quoted(*path)} LIMIT 0")
    except duckdb.Error:
        return False
    return True


def fingerprint(database: Path) -> list[tuple[str, object]]:
    """Every table's columns and rows, in any order: a parallel copy of many rows does not always keep theirs."""
    with duckdb.connect(str(database), read_only=True, config={"threads": 1}) as connection:
        found: list[tuple[str, object]] = []
        for path, columns in sorted(tables_of(connection).items()):
            text = ", ".join(quoted(name) for name, _ in columns)
            query = f"SELECT count(*), sum(h), bit_xor(h) FROM (SELECT hash({text}) AS h FROM {quoted(*path)})"
            found.append((f"{path} {columns}", connection.execute(query).fetchone()))
        return found


def _open(path: Path) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(path), read_only=True, config=_CONFIG)
