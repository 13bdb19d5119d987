"""A database, policies and a persona → copies whose visible rows are the same and whose hidden rows are not.

Takes the rows as they are; writes new databases. Visible rows keep their values and order; hidden rows are drawn anew
from what provokes (extremes, text that does not parse, NULL, copies of others), are many, or are gone. Owns that a copy
is used only where DuckDB itself says that the persona's view of every table is the same in both.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import duckdb

from rls.catalog import Catalog, Relation, fold, quote
from rls.engines.lockdown import IGNORE_EXTREMES
from rls.lab.leaks.provoking import provoking_values
from rls.lab.world.given import build_given
from rls.lab.world.observe import filter_sql
from rls.policy.grant import Grant
from rls.policy.policy_set import PolicySet

__all__ = ["Mode", "Plan", "make_copy", "plan_copies", "same_view"]

Mode = Literal["as they are", "extreme", "null", "many", "none"]
MODES: Final[tuple[Mode, ...]] = ("as they are", "extreme", "extreme", "null", "many", "none")
_COPY: Final = "copied"
_SOURCE: Final = "original"


@dataclass(frozen=True)
class Plan:
    """What is copied: grants by key of the table (None: nobody decided), `frozen` tables whose rows all stay,
    `fixed` columns that policies and masks read and at most `rows` visible and hidden rows of each table."""

    source: Path
    catalog: Catalog
    grants: Mapping[tuple[str, ...], Grant | None]
    frozen: frozenset[tuple[str, ...]]
    fixed: frozenset[str]
    rows: int


def plan_copies(
    source: Path,
    catalog: Catalog,
    policies: PolicySet,
    grants: Mapping[tuple[str, ...], Grant | None],
    *,
    rows: int,
    keep_mapping_tables: bool,
) -> Plan:
    """`keep_mapping_tables`: the tables that policies read stay as they are."""
    expressions = [p.using for rules in policies.rules for p in rules.policies]
    expressions += [c.mask for rules in policies.rules for c in rules.columns if c.mask is not None]
    read = {relation.key for e in expressions for path in e.relations if (relation := catalog.find(path)) is not None}
    fixed = {fold(hole.names[-1]) for e in expressions for hole in e.holes if hole.kind == "column"}
    return Plan(source, catalog, grants, frozenset(read if keep_mapping_tables else ()), frozenset(fixed), rows)


def make_copy(plan: Plan, target: Path, *, seed: str, like: Mode | None = None) -> dict[str, Mode]:
    """Write a copy to `target`; returns the mode drawn for each table with hidden rows. `like` is one for all."""
    build_given(target, [], plan.catalog)
    tables = [r for r in plan.catalog.relations.values() if r.kind == "table"]
    # Those that policies read come first: what they hold decides what the others show.
    tables.sort(key=lambda r: (r.key not in plan.frozen, r.key))
    modes: dict[str, Mode] = {}
    with duckdb.connect(":memory:") as connection:
        connection.execute(IGNORE_EXTREMES)
        for path, name in ((plan.source, _SOURCE), (target, _COPY)):
            location = str(path).replace("'", "''")
            only = ", READ_ONLY" if name == _SOURCE else ""
            connection.execute(f"ATTACH '{location}' AS {quote(name)} (TYPE duckdb{only})")
        for relation in tables:
            drawn = random.Random(f"{seed}{relation.key}")  # noqa: S311 - the same copies every time
            mode: Mode = drawn.choice(MODES) if like is None else like
            mode = "as they are" if relation.key in plan.frozen else mode
            if _fill(connection, plan, relation, mode, drawn):
                modes[relation.label] = mode
    return modes


def same_view(plan: Plan, copies: Sequence[Path]) -> list[str]:
    """Labels of the tables of which the persona's rows are not the same in all copies."""
    differ = []
    with duckdb.connect(":memory:") as connection:
        connection.execute(IGNORE_EXTREMES)
        for number, path in enumerate(copies):
            location = str(path).replace("'", "''")
            connection.execute(f"ATTACH '{location}' AS {quote(f'{_COPY}{number}')} (READ_ONLY, TYPE duckdb)")
        for relation in plan.catalog.relations.values():
            grant = plan.grants.get(relation.key)
            if relation.kind != "table" or grant is None:
                continue
            views = []
            for number in range(len(copies)):
                # The grant names the copy's own mapping tables.
                text = filter_sql(grant).replace(f"{quote(_COPY)}.", f"{quote(f'{_COPY}{number}')}.")
                views.append(_visible(plan, relation, grant, f"{_COPY}{number}", text))
            try:
                changed = connection.execute(
                    f"SELECT count(*) FROM ({views[0]} EXCEPT ALL {views[1]} UNION ALL"
                    f" ({views[1]} EXCEPT ALL {views[0]}))",
                    dict(grant.parameters) or None,
                ).fetchone()
            except duckdb.Error:
                changed = (1,)
            if changed != (0,):
                differ.append(relation.label)
    return differ


def _visible(plan: Plan, relation: Relation, grant: Grant, attached: str, where: str) -> str:
    shown = [c.name for c in relation.columns if c.name not in grant.denied and c.name not in grant.masks]
    names = ", ".join(f"{quote(relation.name)}.{quote(name)}" for name in shown) or "1"
    source = plan.catalog.attached_as(attached).source(relation)
    return f"(SELECT {names} FROM {source} AS {quote(relation.name)} WHERE {where})"


def _fill(
    connection: duckdb.DuckDBPyConnection, plan: Plan, relation: Relation, mode: Mode, drawn: random.Random
) -> bool:
    """Copy one table's visible rows and, as the mode says, its hidden ones; returns whether it has hidden ones."""
    grant = plan.grants.get(relation.key)
    name, target = quote(relation.name), plan.catalog.attached_as(_COPY).source(relation)
    source = plan.catalog.attached_as(_SOURCE).source(relation)
    where = filter_sql(grant)
    parameters = {} if grant is None else dict(grant.parameters)
    # On the original's own mapping tables.
    there = where.replace(f"{quote(_COPY)}.", f"{quote(_SOURCE)}.")
    used = {k: v for k, v in parameters.items() if f"${k}" in there} or None
    numbered = f'(SELECT *, rowid AS "row number" FROM {source}) AS {name}'
    # The first rows, since any that DuckDB meets first would be others in the other copy.
    first = f'ORDER BY "row number" LIMIT {plan.rows}'
    visible = f"SELECT * FROM {numbered} WHERE ({there}) {first}"
    hidden = f"SELECT * FROM {numbered} WHERE ({there}) IS NOT TRUE {first}"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE seen AS {visible}", used)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE unseen AS {hidden}", used)
    count = (connection.execute("SELECT count(*) FROM unseen").fetchone() or (0,))[0]
    places = 'SELECT * FROM temp.seen ORDER BY "row number"'
    if mode == "none" or not count:
        connection.execute(f'INSERT INTO {target} SELECT * EXCLUDE ("row number") FROM ({places})')
        return bool(count)
    # Values of columns that policies read stay in every other draw: other hidden rows would turn up, or none be left.
    for keep in (drawn.random() < 0.5, True):
        changed = _changed(relation, plan, mode, drawn, keep=keep)
        copies = drawn.choice((3, 20)) if mode == "many" else 1
        kept = {k: v for k, v in parameters.items() if f"${k}" in where} or None
        try:
            connection.execute(
                f"CREATE OR REPLACE TEMP TABLE other AS SELECT * FROM (SELECT {changed} FROM temp.unseen,"
                f' range({copies}) AS copies("copy number")) AS {name} WHERE ({where}) IS NOT TRUE',
                kept,
            )
            break
        except duckdb.Error:
            continue  # a policy fails on such values: then they stay
    else:
        connection.execute("CREATE OR REPLACE TEMP TABLE other AS FROM temp.unseen")
    # Hidden rows lie between visible ones, where they were.
    connection.execute(
        f'INSERT INTO {target} SELECT * EXCLUDE ("row number") FROM'
        ' (FROM temp.seen UNION ALL FROM temp.other) ORDER BY "row number"'
    )
    return True


def _changed(relation: Relation, plan: Plan, mode: Mode, drawn: random.Random, *, keep: bool) -> str:
    """The SELECT list of changed hidden rows."""
    columns = []
    for column in relation.columns:
        name = quote(column.name)
        values = provoking_values(column.type)
        if mode == "as they are" or (keep and fold(column.name) in plan.fixed):
            text = name
        elif mode == "null":
            text = f"CAST(NULL AS {column.type})"
        elif not values:
            text = f"CASE WHEN {_draw(drawn)} % 2 = 0 THEN {name} END"
        else:
            chosen = [*drawn.sample(values, min(len(values), drawn.randrange(1, 6))), "NULL"]
            cases = " ".join(f"WHEN {n} THEN CAST({v} AS {column.type})" for n, v in enumerate(chosen))
            text = f"CASE ({_draw(drawn)} % {len(chosen) + drawn.randrange(2)}) {cases} ELSE {name} END"
        columns.append(f"{text} AS {name}")
    return ", ".join([*columns, '"row number"'])


def _draw(drawn: random.Random) -> str:
    """A number that differs by row."""
    copy = '"copy number"'
    return f'(hash("row number", {copy}, {drawn.randrange(10**6)}) % 1000003)'
