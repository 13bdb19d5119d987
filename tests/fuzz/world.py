"""One world: a base database, policies, and a pair of databases that differ in hidden rows only.

It takes a seed and a directory and opens everything; `World.close` ends it. A world may be None (see `pair`).
"""

from __future__ import annotations

import random
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from rls.errors import PolicyInvalid
from tests.fuzz.calls import Binder
from tests.fuzz.meeting import Meeting, draw_meeting
from tests.fuzz.pair import Pair, Setting, make_pair
from tests.fuzz.queries import draw_query
from tests.fuzz.rules import KEYS, draw_rules
from tests.fuzz.schema import BIG_ROWS, TABLES, VIEWS, build_sql
from tests.judging import policygen
from tests.judging.driver import Refusal, sign
from tests.judging.oracle import build, open_naively, quoted, tables_of

__all__ = ["NAME", "TURN", "Options", "World", "is_meeting", "make_world"]

NAME = "warehouse"
_COMPRESSIONS = ("auto", "auto", "auto", "dictionary", "dict_fsst", "fsst", "rle", "uncompressed")
TURN = 8  # cases of one meeting
_ATTEMPTS = 40  # to draw policies that show something and hide something
_BIG = (("main", "orders"), ("main", "events"))


@dataclass(frozen=True)
class Options:
    """What a test of the harness changes: shapes of policies, share of masked and denied columns, share of worlds with
    a large relation, and of those where conditions meet (`meeting`), seconds per query."""

    shapes: tuple[str, ...] = ()
    hide: float = 1.0
    big: float = 0.25
    meeting: float = 0.35
    seconds: float = 5.0


@dataclass
class World:
    """Everything a case needs; `columns` are the visible columns by relation, `big` the relation with many rows."""

    seed: str
    shapes: dict[str, str]
    pair: Pair
    columns: dict[tuple[str, ...], list[tuple[str, str]]]
    big: tuple[str, ...] | None
    notes: dict[str, str] = field(default_factory=dict)
    meeting: Meeting | None = None
    _binder: Binder | None = None

    def query(self, seed: str) -> str:
        """The query of a seed."""
        if self.meeting is not None:
            return self.meeting.query(seed, self.columns, self.pair.oracle)
        if self._binder is None:
            self._binder = Binder(self.columns, name=NAME)
        return draw_query(seed, binder=self._binder, tables=self.columns, big=self.big, catalog=NAME)

    def describe(self) -> dict[str, object]:
        """For reports: what was drawn."""
        return {
            "shapes": self.shapes,
            "hidden": [dict(sorted(mode.items())) for mode in self.pair.modes],
            "big": None if self.big is None else ".".join(self.big),
            **self.notes,
        }

    def close(self) -> None:
        if self._binder is not None:
            self._binder.close()
        self.pair.close()


def is_meeting(seed: str, options: Options) -> bool:
    """Whether conditions meet in the world of `seed`; that one changes by turns."""
    return random.Random(f"{seed}/meeting").random() < options.meeting


def make_world(seed: str, directory: Path, options: Options, *, turn: int = 0) -> World | None:
    """Build the world of `seed` (its databases have the seeds `<seed>/a` and `<seed>/b`), at one of its turns."""
    source = random.Random(seed)
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "base").mkdir(parents=True)
    if is_meeting(seed, options):
        return _make_meeting(f"{seed}/{turn}", directory, options)
    big = source.choice(_BIG) if source.random() < options.big else None
    most = source.choice((6, 12, 25, 60))
    sizes = {path: source.randint(max(3, most // 2), most) for path in TABLES}
    if big is not None:
        sizes[big] = BIG_ROWS
    compression = source.choice(_COMPRESSIONS)
    base = build(directory / "base" / f"{NAME}.duckdb", build_sql(sizes, seed=seed, compression=compression))
    rules = draw_rules(
        source, shapes=list(options.shapes) or None, hide=options.hide * source.choice((1.0, 1.0, 3.0, 8.0))
    )
    setting = Setting(
        policygen.write(rules.made, directory / "policies"),
        sign(policygen.claims(rules.made, now=int(time.time())), policygen.SECRET),
        NAME,
        rules.made.rules,
        support=rules.support,
        frozen=rules.frozen,
        fixed=KEYS,
        seconds=options.seconds,
        views=rules.views,
    )
    pair = make_pair(base, setting, directory=directory, seed=seed)
    if pair is None:
        return None
    notes = {"compression": compression, "rows": str(most)}
    return World(seed, rules.shapes, pair, visible_columns(pair.oracle), big, notes)


def _make_meeting(seed: str, directory: Path, options: Options) -> World | None:
    source = random.Random(seed)
    rows = source.choice((8, 20, 50))
    big = source.random() < options.big / 2
    for number in range(_ATTEMPTS):
        meeting = draw_meeting(source, rows=rows, seed=seed)
        sizes = {path: BIG_ROWS if big and path == next(iter(meeting.tables)) else rows for path in meeting.tables}
        base = directory / "base" / str(number) / f"{NAME}.duckdb"
        base.parent.mkdir()
        build(base, meeting.build_sql(sizes, seed=seed))
        setting = Setting(
            policygen.write(meeting.made, directory / "policies" / str(number)),
            sign(policygen.claims(meeting.made, now=int(time.time())), policygen.SECRET),
            NAME,
            meeting.made.rules,
            frozen=meeting.frozen,
            fixed={column.name for columns in meeting.tables.values() for column in columns},
            seconds=options.seconds,
            pools=meeting.pools,
            naive=True,
        )
        if not _is_seen_in_part(base, setting, meeting):
            continue
        folder = directory / f"pair{number}"
        folder.mkdir()
        try:
            pair = make_pair(base, setting, directory=folder, seed=seed)
        except (duckdb.Error, PolicyInvalid):
            continue  # a policy that nobody may write, or that fails on what hidden rows may hold
        if pair is None:
            continue
        if any(isinstance(pair.ask(f"SELECT 1 FROM {quoted(*path)}", which=0), Refusal) for path in setting.rules):
            pair.close()
            continue
        notes = {"rows": str(rows), "big": str(big)}
        return World(seed, meeting.shapes, pair, visible_columns(pair.oracle), None, notes, meeting)
    return None


def _is_seen_in_part(base: Path, setting: Setting, meeting: Meeting) -> bool:
    """Whether the policies show some rows and hide some."""
    with open_naively(base, read_only=True) as connection:
        for path, rule in setting.rules.items():
            text = (
                f"SELECT count(*) FILTER (WHERE {rule.predicate}), count(*) FROM {quoted(*path)} AS {quoted(path[-1])}"
            )
            try:
                seen, there = connection.execute(text).fetchone() or (0, 0)
            except duckdb.Error:
                return False
            if path not in meeting.frozen and not 0 < seen < there:
                return False
    return True


def visible_columns(oracle: duckdb.DuckDBPyConnection) -> dict[tuple[str, ...], list[tuple[str, str]]]:
    """Tables and views with the columns and types that the principal sees; a view that lost a column is left out."""
    found = dict(tables_of(oracle))
    for path in VIEWS:
        try:
            described = oracle.execute(f"DESCRIBE SELECT * FROM {quoted(*path)}").fetchall()
        except duckdb.Error:
            continue
        found[path] = [(row[0], row[1]) for row in described]
    return found
