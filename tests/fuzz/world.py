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

from tests.fuzz.pair import Pair, Setting, make_pair
from tests.fuzz.rules import KEYS, Rules, draw_rules
from tests.fuzz.schema import BIG_ROWS, TABLES, VIEWS, build_sql
from tests.judging import policygen
from tests.judging.driver import sign
from tests.judging.oracle import build, quoted, tables_of

__all__ = ["NAME", "Options", "World", "make_world"]

NAME = "warehouse"
_COMPRESSIONS = ("auto", "auto", "auto", "dictionary", "dict_fsst", "fsst", "rle", "uncompressed")
_BIG = (("main", "orders"), ("main", "events"))


@dataclass(frozen=True)
class Options:
    """What a test of the harness changes: shapes of policies, share of masked and denied columns, share of worlds with
    a large relation, seconds per query."""

    shapes: tuple[str, ...] = ()
    hide: float = 1.0
    big: float = 0.25
    seconds: float = 5.0


@dataclass
class World:
    """Everything a case needs; `columns` are the visible columns by relation, `big` the relation with many rows."""

    seed: str
    rules: Rules
    pair: Pair
    columns: dict[tuple[str, ...], list[tuple[str, str]]]
    big: tuple[str, ...] | None
    notes: dict[str, str] = field(default_factory=dict)

    def describe(self) -> dict[str, object]:
        """For reports: what was drawn."""
        return {
            "shapes": self.rules.shapes,
            "hidden": [dict(sorted(mode.items())) for mode in self.pair.modes],
            "big": None if self.big is None else ".".join(self.big),
            **self.notes,
        }

    def close(self) -> None:
        self.pair.close()


def make_world(seed: str, directory: Path, options: Options) -> World | None:
    """Build the world of `seed` (its databases have the seeds `<seed>/a` and `<seed>/b`)."""
    source = random.Random(seed)
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "base").mkdir(parents=True)
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
    return World(seed, rules, pair, visible_columns(pair.oracle), big, notes)


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
