"""Two engines over databases that look the same to one principal, and the oracles over what both show.

It takes a base database and a `Setting` (policies, token, the oracle's rules) and makes the two by `vary`. A pair is
None where the oracle sees a difference (a policy that reads what was varied): such databases prove nothing.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import duckdb

from tests.fuzz.parameters import bound
from tests.fuzz.vary import blank, vary
from tests.judging.driver import Driver, Refusal
from tests.judging.oracle import Answer, Rule, open_naively, open_quietly, quoted, reduce_database, tables_of

__all__ = ["Pair", "Setting", "make_pair"]

_CONFIG: dict[str, str | int] = {
    "threads": 2,
    "memory_limit": "1GB",
}


@dataclass(frozen=True)
class Setting:
    """Who asks, under which policies; `rules` say the same to the oracle.

    `name` is the database's name for callers, and the stem of every file made; `support`, `frozen` and `fixed` are those of
    `vary`, `pools` too; `views` are rules of views; a `naive` oracle has no optimizer, whose own faults are then none of
    its answers.
    """

    policies: Path
    token: str
    name: str
    rules: Mapping[tuple[str, ...], Rule]
    support: Collection[tuple[str, ...]] = ()
    frozen: Collection[tuple[str, ...]] = ()
    fixed: Collection[str] = ()
    seconds: float = 5.0
    views: Mapping[tuple[str, ...], Rule] = field(default_factory=dict)
    pools: Mapping[tuple[str, ...], Mapping[str, Sequence[str]]] = field(default_factory=dict)
    naive: bool = False


@dataclass
class Pair:
    """Ask both, or the oracle; `modes` says how each table of each database was varied."""

    base: Path
    databases: tuple[Path, Path]
    reduced: Path
    setting: Setting
    modes: tuple[Mapping[str, str], Mapping[str, str]]
    _disguised: dict[str, duckdb.DuckDBPyConnection] = field(default_factory=dict)
    _blanks: list[Driver] = field(default_factory=list)
    _visible: set[str] | None = None
    _undo: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __post_init__(self) -> None:
        # The audit record hides what an error says of values; here they tell a visible row's error from a hidden one's.
        self._undo.enter_context(mock.patch("rls.audit.attempt.redact", lambda detail: detail))
        self.oracle = self._open(self.reduced)
        self.reopen()

    def reopen(self) -> None:
        """New engines over the same databases."""
        for driver in getattr(self, "drivers", ()):
            driver.close()
        self.drivers = [self._driver(path) for path in self.databases]

    def _driver(self, database: Path) -> Driver:
        from rls.engines.limits import Limits

        limits = Limits(seconds=self.setting.seconds, rows=200_000, memory=1 << 30, threads=2)
        return Driver(database, self.setting.policies, token=self.setting.token, name=self.setting.name, limits=limits)

    def ask(self, sql: str, *, which: int) -> Answer | Refusal:
        """What one of the two databases answers."""
        return self.drivers[which].ask(sql, parameters=bound(sql))

    def disguised(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The oracle in other ways: rows stored in other orders, and without its optimizer, where all that could fail
        does fail."""
        for name in ("backwards", "shuffled", "unoptimized"):
            if name not in self._disguised:
                self._disguised[name] = self._disguise(name)
            yield self._disguised[name]

    def _disguise(self, name: str) -> duckdb.DuckDBPyConnection:
        if name == "unoptimized":
            return open_naively(self.reduced, read_only=True, config=_CONFIG)
        target = self.reduced.parent / name / self.reduced.name
        if target.exists():
            return self._open(target)
        target.parent.mkdir(exist_ok=True)
        with open_quietly(self.reduced, read_only=True, config=_CONFIG) as connection:
            rules = dict.fromkeys(tables_of(connection), Rule())
        return self._open(reduce_database(self.reduced, rules, target=target, order=name))

    def _open(self, path: Path) -> duckdb.DuckDBPyConnection:
        """A reader of a database; its file's stem is the name that callers use."""
        return (open_naively if self.setting.naive else open_quietly)(path, read_only=True, config=_CONFIG)

    def heal(self) -> None:
        """Open the oracles again that an internal error of DuckDB has ended."""
        try:
            for connection in (self.oracle, *self._disguised.values()):
                connection.execute("SELECT 42")
        except duckdb.Error:
            for connection in (self.oracle, *self._disguised.values()):
                connection.close()
            self._disguised.clear()
            self.oracle = self._open(self.reduced)

    def blanks(self, sql: str) -> list[Answer | Refusal]:
        """The answers over hidden rows of NULLs: as many as in each database, and some numbers more."""
        if not self._blanks:
            visible = _counts(self.reduced)
            hidden = [
                {path: count - visible.get(path, 0) for path, count in _counts(database).items()}
                for database in self.databases
            ]
            hidden += [dict.fromkeys(visible, 0), dict.fromkeys(visible, 3000)]
            for number, counts in enumerate(hidden):
                target = self.reduced.parent / f"blank{number}" / self.reduced.name
                target.parent.mkdir()
                blank(self.base, self.setting.rules, target=target, hidden=counts, frozen=self.setting.frozen)
                self._blanks.append(self._driver(target))
        return [driver.ask(sql, parameters=bound(sql)) for driver in self._blanks]

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
        lines = (self.databases[which].parent / "audit.jsonl").read_text(encoding="utf-8").splitlines()
        return str(json.loads(lines[-1]).get("detail", "")) if lines else ""

    def close(self) -> None:
        for driver in (*self.drivers, *self._blanks):
            driver.close()
        for connection in (self.oracle, *self._disguised.values()):
            connection.close()
        self._undo.close()


def make_pair(base: Path, setting: Setting, *, directory: Path, seed: str, reduced: Path | None = None) -> Pair | None:
    """Two databases of the seeds `<seed>/a` and `<seed>/b`, written below `directory`.

    `reduced` is the oracle's database where somebody else has made it; then it is not asked whether both look the same.
    """
    databases, modes, copies = [], [], []
    for name in ("a", "b"):
        target = directory / name / base.name
        target.parent.mkdir()
        modes.append(
            vary(
                base, setting.rules, target=target, seed=f"{seed}/{name}", support=setting.support,
                frozen=setting.frozen, fixed=setting.fixed, pools=setting.pools,
            )
        )  # fmt: skip
        databases.append(target)
        if reduced is None:
            copy = directory / f"oracle_{name}" / base.name
            copy.parent.mkdir()
            copies.append(reduce_database(target, setting.rules, target=copy, views=setting.views))
    if reduced is None and _fingerprint(copies[0]) != _fingerprint(copies[1]):
        return None
    return Pair(base, (databases[0], databases[1]), reduced or copies[0], setting, (modes[0], modes[1]))


def _fingerprint(database: Path) -> list[tuple[str, object]]:
    """Every table's columns and rows, in any order: a parallel copy of many rows does not always keep theirs."""
    with open_quietly(database, read_only=True, config={"threads": 1}) as connection:
        found: list[tuple[str, object]] = []
        for path, columns in sorted(tables_of(connection).items()):
            text = ", ".join(quoted(name) for name, _ in columns)
            query = f"SELECT count(*), sum(h), bit_xor(h) FROM (SELECT hash({text}) AS h FROM {quoted(*path)})"
            found.append((f"{path} {columns}", connection.execute(query).fetchone()))
        return found


def _counts(database: Path) -> dict[tuple[str, ...], int]:
    with open_quietly(database, read_only=True, config=_CONFIG) as connection:
        return {
            path: (connection.execute(f"SELECT count(*) FROM {quoted(*path)}").fetchone() or (0,))[0]
            for path in tables_of(connection)
        }
