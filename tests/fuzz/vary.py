"""A database → the same database with other hidden rows, other raw values under masks, other enum labels.

It takes the oracle's rules, so it knows what the principal may see: those rows keep their values and their order. All
else is drawn anew from what provokes: the extremes of each type, text that does not parse, huge text, NULLs, copies.
It owns that nothing visible changes; `world` checks that with the oracle, for policies that read other tables.
"""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import duckdb

from tests.functions.extremes import EXTREMES
from tests.judging.oracle import Rule, open_naively, quoted, tables_of

__all__ = ["MODES", "blank", "vary"]

MODES = ("benign", "mild", "extreme", "extreme", "uniform", "nulls", "empty", "many")
# Where hidden rows have values of their own to draw from.
_NEAR = ("near", "near", "near", "near", "near", "near", "many", "nulls", "empty", "extreme")

# Some extremes (huge text) compress slowly; with one thread, what is not drawn here cannot differ either.
_CONFIG: dict[str, str | int] = {"threads": 1}
# Values of hundreds of thousands of rows: long ones would need gigabytes.
_LONG = 5_000
_ALIASES = {
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ",
    "TIME WITH TIME ZONE": "TIMETZ",
    "DECIMAL(12,2)": "DECIMAL(18,3)",
    "DECIMAL(10,2)": "DECIMAL(4,1)",
}
_SECRETS = (
    "'SECRET'", "'zebra'", "'1e400'", "'99999999999999999999999999999999999999999'", "'-'",
    "'{\"a\": '", "'2024-13-45'", "'('", "'[a-'", "'Mars/Olympus'", "'fortnight'", "'true'", "'5'",
)  # fmt: skip
_LABELS = ("SECRET LABEL", "", "0 first", "zzz last", "Ärger")
_NESTED = {
    "STRUCT(code VARCHAR, n STRUCT(v VARCHAR))": (
        "{'code': 'SECRET', 'n': {'v': '1e400'}}", "{'code': '', 'n': NULL}", "{'code': NULL, 'n': {'v': 'SECRET'}}",
    ),
    "MAP(VARCHAR, VARCHAR)": ("MAP {'k': 'SECRET'}", "MAP {'k': ''}", "MAP {'SECRET': '1'}"),
    "VARCHAR[]": ("['SECRET']", "['5', 'SECRET', NULL]", "['99999999999999999999999']"),
}  # fmt: skip
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")
_ENUM = re.compile(r"ENUM\(((?:'(?:[^']|'')*'(?:, )?)*)\)")
_ENUM_INSIDE = re.compile(r"ENUM\('(?:[^']|'')*'(?:, '(?:[^']|'')*')*\)")
_ENUM_LIST = re.compile(r"(ENUM\('(?:[^']|'')*'(?:, '(?:[^']|'')*')*\))\[\]")
_LINES = re.compile(r"STRUCT\(num VARCHAR, kind (ENUM\('(?:[^']|'')*'(?:, '(?:[^']|'')*')*\))\)\[\]")


@dataclass(frozen=True)
class _Table:
    """One table and what the principal sees of it; `fixed` columns keep their values in visible rows."""

    path: tuple[str, ...]
    columns: list[tuple[str, str]]
    rule: Rule
    fixed: frozenset[str]


@dataclass(frozen=True)
class _Draw:
    """How one table is varied; every choice comes from `random`."""

    random: random.Random
    mode: str
    rows: int
    pool: Mapping[str, Sequence[str]]


def vary(
    source: Path,
    rules: Mapping[tuple[str, ...], Rule],
    *,
    target: Path,
    seed: str,
    support: Collection[tuple[str, ...]] = (),
    frozen: Collection[tuple[str, ...]] = (),
    fixed: Collection[str] = (),
    pools: Mapping[tuple[str, ...], Mapping[str, Sequence[str]]] = MappingProxyType({}),
) -> dict[str, str]:
    """Write `target` and return the mode drawn for each table.

    support  tables that policies read: varied first, so that the others' predicates see the result
    frozen   tables to leave as they are
    pools    what hidden rows may hold, by table and column: then mostly one to three of these values
    fixed    names of columns that policies or masks read: their values stay in visible rows even where hidden
    """
    shutil.copyfile(source, target)
    modes: dict[str, str] = {}
    with open_naively(target, config=_CONFIG) as connection:
        tables = tables_of(connection)
        waiting = {}
        for number, path in enumerate(sorted(tables, key=lambda path: (path not in support, path))):
            if path in frozen:
                continue
            drawn = random.Random(f"{seed}{path}")
            copy = (*path[:-1], f"__varied_{number}")
            count = connection.execute(f"SELECT count(*) FROM {quoted(*path)}").fetchone()
            pool = pools.get(path, {})
            draw = _Draw(drawn, drawn.choice(_NEAR if pool else MODES), count[0] if count else 0, pool)
            modes[".".join(path)] = draw.mode
            rule = rules.get(path) or Rule("false")
            shape = _Table(path, tables[path], rule, frozenset(fixed))
            connection.execute(_statement(shape, copy, draw))
            if path in support:
                connection.execute(f"DROP TABLE {quoted(*path)}")
                connection.execute(f"ALTER TABLE {quoted(*copy)} RENAME TO {quoted(path[-1])}")
            else:
                waiting[path] = copy
        _replace(connection, waiting)
        connection.execute("CHECKPOINT")
    return modes


def blank(
    source: Path,
    rules: Mapping[tuple[str, ...], Rule],
    *,
    target: Path,
    hidden: Mapping[tuple[str, ...], int],
    frozen: Collection[tuple[str, ...]] = (),
) -> Path:
    """Write `target` with as many hidden rows as `hidden` says, all of them NULL where policies let them be.

    Such rows make no expression fail and take no place in an order: what an engine shows over them comes from visible
    rows and from the plan that so many rows lead to.
    """
    shutil.copyfile(source, target)
    with open_naively(target, config=_CONFIG) as connection:
        waiting = {}
        for number, (path, columns) in enumerate(sorted(tables_of(connection).items())):
            count, rule = hidden.get(path, 0), rules.get(path) or Rule("false")
            if path in frozen:
                continue
            name, copy = quoted(path[-1]), (*path[:-1], f"__blank_{number}")
            nothing = ", ".join(f"CAST(NULL AS {type_}) AS {quoted(column)}" for column, type_ in columns)
            kept = f"SELECT * FROM {quoted(*path)} AS {name} WHERE ({rule.predicate})"
            empty = (
                f"SELECT * FROM (SELECT {nothing} FROM range({count})) AS {name} WHERE ({rule.predicate}) IS NOT TRUE"
            )
            # Where a policy shows rows of NULLs, ordinary hidden rows stand in for them.
            unseen = f"SELECT * FROM {quoted(*path)} AS {name} WHERE ({rule.predicate}) IS NOT TRUE"
            there = connection.execute(f"SELECT count(*) FROM ({unseen})").fetchone() or (0,)
            times = 1 + count // max(1, there[0])
            others = f"SELECT * EXCLUDE (__n) FROM ({unseen}), range({times}) AS __r(__n) LIMIT {count}"
            shown = connection.execute(f"SELECT count(*) FROM ({empty})").fetchone()
            rest = empty if shown is not None and shown[0] == count else others
            connection.execute(f"CREATE TABLE {quoted(*copy)} AS {kept} UNION ALL ({rest})")
            waiting[path] = copy
        _replace(connection, waiting)
        connection.execute("CHECKPOINT")
    return target


def _replace(connection: duckdb.DuckDBPyConnection, copies: Mapping[tuple[str, ...], tuple[str, ...]]) -> None:
    """Drop the originals, those that others point to by a foreign key after the others, and rename the copies."""
    waiting = sorted(copies)
    while waiting:
        path = waiting.pop(0)
        try:
            connection.execute(f"DROP TABLE {quoted(*path)}")
        except duckdb.Error:
            if len(waiting) == 0:
                raise
            waiting.append(path)
    for path, copy in copies.items():
        connection.execute(f"ALTER TABLE {quoted(*copy)} RENAME TO {quoted(path[-1])}")


def _statement(table: _Table, copy: tuple[str, ...], draw: _Draw) -> str:
    """The statement that makes the varied copy of a table."""
    columns, rule = table.columns, table.rule
    name, source = quoted(table.path[-1]), quoted(*table.path)
    types = {column: _retyped(type_, column, rule, draw) for column, type_ in columns}
    seen = ", ".join(
        f"CAST({_seen(column, type_, table, draw)} AS {types[column]}) AS {quoted(column)}" for column, type_ in columns
    )
    visible = (
        f"SELECT {seen}, row_number() OVER (ORDER BY __row) AS __place "
        f"FROM (SELECT *, rowid AS __row, 0 AS __copy FROM {source}) AS {name} WHERE ({rule.predicate})"
    )
    if draw.mode == "empty":
        return f"CREATE TABLE {quoted(*copy)} AS SELECT * EXCLUDE (__place) FROM ({visible}) ORDER BY __place"
    # 300,000 rows are enough to vary; small tables also grow past the size of a vector.
    copies = draw.random.choice((3, 40, 400)) if draw.mode == "many" and draw.rows < _LONG else 1
    mutated = ", ".join(
        f"CAST({_hidden(column, type_, types[column], draw)} AS {types[column]}) AS {quoted(column)}"
        for column, type_ in columns
    )
    # Hidden rows lie between the visible ones, or before or behind all of them.
    share = f"({_drawn(draw)} % 1000003) / 1000003.0"
    place = draw.random.choice((f"{share} * {draw.rows}", f"{share} * {draw.rows}", "-1", "1e15"))
    hidden = (
        f"SELECT * FROM (SELECT {mutated}, {place} AS __place "
        f"FROM (SELECT *, rowid AS __row FROM {source}), range({copies}) AS r(__copy)) AS {name} "
        f"WHERE ({rule.predicate}) IS NOT TRUE"
    )
    return (
        f"CREATE TABLE {quoted(*copy)} AS SELECT * EXCLUDE (__place) FROM ({visible} UNION ALL {hidden}) "
        f"ORDER BY __place"
    )


def _seen(column: str, type_: str, table: _Table, draw: _Draw) -> str:
    """A visible row's value: the same, unless the principal cannot read it."""
    old = quoted(column)
    if draw.mode == "benign" or column in table.fixed:
        return old
    other = _hidden(column, type_, type_, draw)
    if column in table.rule.denied:
        return other
    mask = table.rule.masks.get(column)
    if mask is None:
        return old
    if quoted(column) not in mask and not re.search(rf"\b{re.escape(column)}\b", mask):
        return other
    # The mask shows a part of the value (`left(x, 1)`): only what it does not show may change.
    if type_ != "VARCHAR":
        return old
    changed = f"left({old}, 1) || 'SECRET-' || __row"
    return f"if(({mask}) IS NOT DISTINCT FROM ({_substituted(mask, column, changed)}), {changed}, {old})"


def _substituted(mask: str, column: str, value: str) -> str:
    return re.sub(rf'"{re.escape(column)}"|\b{re.escape(column)}\b', lambda _: f"({value})", mask)


def _hidden(column: str, old_type: str, type_: str, draw: _Draw) -> str:
    """An expression for a hidden value of `column`, over the original row (`__row` and `__copy` number it)."""
    old, chosen = quoted(column), draw.random.random()
    if column in draw.pool and draw.mode in ("near", "many"):
        some = draw.random.choices(draw.pool[column], k=draw.random.choice((1, 1, 2, 3)))
        return f"[{', '.join(some)}][1 + (({_drawn(draw)} // 8) % {len(some)})::BIGINT]"
    values = _provoking(type_, draw.rows)
    match draw.mode:
        case "nulls":
            return "NULL"
        case "benign":
            return old
        case _ if not values:
            return old
        case "uniform":
            return old if chosen < 0.3 else values[int(chosen * len(values))]
    drawn = _drawn(draw)
    extreme = f"[{', '.join(values)}][1 + (({drawn} // 8) % {len(values)})::BIGINT]"
    if type_ == "VARCHAR":
        extreme = f"if({drawn} % 5 = 0, 'SECRET-' || __row, {extreme})"
        if draw.rows >= _LONG:
            # Some dozen among hundreds of thousands.
            extreme = f"if({drawn} % 20011 = 7, repeat('SECRET', 20000), {extreme})"
    if draw.mode == "mild":
        return f"CASE WHEN {drawn} % 4 = 0 THEN {extreme} ELSE {old} END"
    return f"CASE {drawn} % 8 WHEN 0 THEN NULL WHEN 1 THEN {old} WHEN 2 THEN {old} ELSE {extreme} END"


def _drawn(draw: _Draw) -> str:
    """A pseudo-random number per row."""
    return f"hash(__row, __copy, {draw.random.getrandbits(32)})"


def _provoking(type_: str, rows: int) -> list[str]:
    if (found := _ENUM.fullmatch(type_)) is not None:
        return [f"CAST('{label}' AS {type_})" for label in _LABELS if f"'{label}'" in found[1]]
    if (found := _ENUM_LIST.fullmatch(type_)) is not None:
        return [f"[CAST('{label}' AS {found[1]}), NULL]" for label in _LABELS if f"'{label}'" in found[1]]
    if (found := _LINES.fullmatch(type_)) is not None:
        known = [label for label in _LABELS if f"'{label}'" in found[1]]
        return [f"[{{'num': 'SECRET', 'kind': CAST('{label}' AS {found[1]})}}]" for label in known]
    if "ENUM(" in type_:
        return []
    literals = (*EXTREMES.get(_ALIASES.get(type_, type_), ()), *_NESTED.get(type_, ()))
    if (decimal := _DECIMAL.fullmatch(type_)) is not None:
        digits, scale = int(decimal[1]), int(decimal[2])
        top = "9" * (digits - scale) + ("." + "9" * scale if scale else "")
        literals = ("0", "1", "-1", f"'{top}'", f"'-{top}'")
    if type_ == "VARCHAR":
        literals = (*literals, *_SECRETS)
        if rows < _LONG:
            literals = (*literals, "repeat('SECRET', 20000)")
    if rows >= _LONG:
        literals = tuple(value for value in literals if "repeat(" not in value and "range(" not in value)
    return [f"CAST({value} AS {type_})" for value in literals]


def _retyped(type_: str, column: str, rule: Rule, draw: _Draw) -> str:
    """An ENUM, alone or inside another type, gets more labels, in another order, unless its labels are public."""
    if column in rule.labels or draw.mode == "benign":
        return type_

    def more(found: re.Match[str]) -> str:
        labels = re.findall(r"'(?:[^']|'')*'", found[0])
        labels += [f"'{label}'" for label in draw.random.sample(_LABELS, draw.random.randint(1, len(_LABELS)))]
        labels = list(dict.fromkeys(labels))
        draw.random.shuffle(labels)
        return f"ENUM({', '.join(labels)})"

    return _ENUM_INSIDE.sub(more, type_)
