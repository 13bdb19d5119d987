"""Every persona and every table → how many rows each sees, counted in one scan per table, and why where it is none.

Takes a `World`; returns a `Matrix`. Grants that are equal are counted once; where the columns that policies look at
have few values, rows are first grouped by them, so that fifty predicates meet some hundred groups and not ten million
rows. A server is asked once for each different grant. Owns that a zero has a reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rls.catalog import Relation, quote
from rls.errors import PolicyInvalid
from rls.lab.world.observe import filter_sql, renamed_filter
from rls.lab.world.raw import RawFailed
from rls.lab.world.world import World
from rls.policy.grant import Grant

__all__ = ["Cell", "Matrix", "MatrixRow", "compute_matrix"]

_SMALL = 100_000  # rows below which grouping does not pay
_FEW = 20  # rows per group, on average, from which on it does
_PER_SCAN = 64  # predicates of one scan
_OFTEN = 4  # how often each row is seen, on average, up to which collecting rows beats asking every predicate
_ROWS = '"rows of the group"'
_FAILS = "a policy fails on some row: queries may end with an error"

Kind = Literal["always", "conditional", "never", "undecided", "broken"]
_Counts = dict[str, int | str]
"""Grants by what identifies them → how many rows each lets through, or why that cannot be counted."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What a persona sees of a table: `visible` rows, None where it cannot be counted; `reason` where it is none."""

    visible: int | None
    kind: Kind
    masked: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "visible": self.visible,
            "kind": self.kind,
            "masked": list(self.masked),
            "absent": list(self.absent),
            "policies": list(self.policies),
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """A table: its rows, how many of them nobody sees (None where that cannot be counted), and a cell per persona."""

    label: str
    total: int
    unseen: int | None
    cells: Mapping[str, Cell]

    @property
    def open_to_all(self) -> bool:
        """Whether every persona sees every row."""
        return self.total > 0 and all(cell.visible == self.total for cell in self.cells.values())

    def share(self, persona: str) -> float | None:
        """The visible part of the rows, 0 to 1; None where there are no rows or no count."""
        visible = self.cells[persona].visible
        return None if visible is None or not self.total else visible / self.total


@dataclass(frozen=True, slots=True)
class Matrix:
    """Personas and tables. `rows` are sorted by label."""

    personas: tuple[str, ...]
    rows: tuple[MatrixRow, ...]
    policy_version: str

    def _repr_html_(self) -> str:
        """The picture, in a notebook."""
        from rls.lab.html import fragment
        from rls.lab.matrix.report import matrix_parts

        return fragment(*matrix_parts(self))

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        relations = [
            {
                "relation": row.label,
                "rows": row.total,
                "seen_by_nobody": row.unseen,
                "seen_by_everybody": row.open_to_all,
                "personas": {name: cell.to_dict() for name, cell in row.cells.items()},
            }
            for row in self.rows
        ]
        return {"personas": list(self.personas), "relations": relations, "policy_version": self.policy_version}


def compute_matrix(
    world: World,
    *,
    personas: Sequence[str] | None = None,
    relations: Sequence[Relation] | None = None,
    on_step: Callable[[str, int, int], None] | None = None,
) -> Matrix:
    """Count what every persona sees.

    personas, relations   all personas of the world and all of its tables, unless given
    on_step               called before each table with its label, tables done and all tables
    """
    names = tuple(world.personas if personas is None else personas)
    tables = world.tables() if relations is None else list(relations)
    rows = []
    for done, relation in enumerate(tables):
        if on_step is not None:
            on_step(relation.label, done, len(tables))
        rows.append(_row(world, relation, names))
    return Matrix(names, tuple(rows), world.policies.version)


def _row(world: World, relation: Relation, personas: tuple[str, ...]) -> MatrixRow:
    grants: dict[str, Grant | PolicyInvalid | None] = {}
    for persona in personas:
        try:
            grants[persona] = world.grant(persona, relation)
        except PolicyInvalid as error:
            grants[persona] = error
    total = world.total(relation)
    # Equal grants are one: their predicate and the values it binds are all that counts.
    different: dict[str, Grant] = {}
    for grant in grants.values():
        if isinstance(grant, Grant) and grant.kind == "conditional":
            different.setdefault(_identity(grant), grant)
    nothing: tuple[_Counts, int | None] = (dict.fromkeys(different, 0), 0)
    counts, unseen = _counts(world, relation, different, total) if total else nothing
    cells = {persona: _cell(grant, counts, total) for persona, grant in grants.items()}
    if any(cell.visible == total for cell in cells.values()):
        unseen = 0
    elif not different:
        unseen = total
    return MatrixRow(relation.label, total, unseen, cells)


def _identity(grant: Grant) -> str:
    used = {n: v for n, v in grant.parameters.items() if re.search(rf"\${n}\b", grant.predicate)}
    return repr((grant.predicate, sorted(used.items())))


def _counts(world: World, relation: Relation, grants: Mapping[str, Grant], total: int) -> tuple[_Counts, int | None]:
    """Rows per grant, and rows that none of them lets through."""
    if not grants:
        return {}, total
    if not world.raw.scans:
        return _asked(world, relation, grants, total)
    if any("(SELECT" in grant.predicate for grant in grants.values()):
        return _each_by_itself(world, relation, grants, total)
    source = _source(world, relation, grants, total)
    filters: dict[str, str] = {}
    bound: dict[str, object] = {}
    for number, (identity, grant) in enumerate(grants.items()):
        filters[identity], parameters = renamed_filter(grant, f"p{number}")
        bound |= parameters
    counted = source.counted
    counts: _Counts = {}
    try:
        names = list(filters)
        for at in range(0, len(names), _PER_SCAN):
            part = names[at : at + _PER_SCAN]
            picked = ", ".join(counted(filters[n]) for n in part)
            row = world.raw.rows(f"SELECT {picked} FROM {source.text}", bound)[0]
            counts |= dict(zip(part, (int(value or 0) for value in row), strict=True))
        anybody = " OR ".join(filters.values())
        unseen = int(
            world.raw.rows(f"SELECT {counted(f'({anybody}) IS NOT TRUE')} FROM {source.text}", bound)[0][0] or 0
        )
    except RawFailed:
        return _one_by_one(world, relation, grants), None
    return counts, unseen


def _asked(world: World, relation: Relation, grants: Mapping[str, Grant], total: int) -> tuple[_Counts, int | None]:
    """By queries that every engine has: one for each grant, and one for all of them together."""
    counts = _one_by_one(world, relation, grants)
    if any(isinstance(count, str) for count in counts.values()):
        return counts, None
    anybody, bound = [], dict[str, object]()
    for number, grant in enumerate(grants.values()):
        text, parameters = renamed_filter(grant, f"p{number}")
        anybody.append(text)
        bound |= parameters
    try:
        return counts, total - world.raw.counts(relation, [" OR ".join(anybody)], bound)[0]
    except RawFailed:
        # Each of them can be asked, but not all at once: some servers know no sub-query below OR.
        return counts, None


def _each_by_itself(
    world: World, relation: Relation, grants: Mapping[str, Grant], total: int
) -> tuple[_Counts, int | None]:
    """Predicates with sub-queries: as a condition of a query of its own, each is a join that the rest of the predicate
    narrows first; together in one scan, every row would go through all of the joins."""
    counts = _one_by_one(world, relation, grants)
    known = {identity: count for identity, count in counts.items() if isinstance(count, int)}
    if len(known) < len(counts):
        return counts, None
    source = world.raw.source(relation)
    filters: list[str] = []
    bound: dict[str, object] = {}
    # Who sees most comes first: what is seen once needs no further look.
    for number, identity in enumerate(sorted(known, key=lambda i: -known[i])):
        text, parameters = renamed_filter(grants[identity], f"p{number}")
        filters.append(text)
        bound |= parameters
    if sum(known.values()) <= _OFTEN * total and relation.column("rowid") is None:
        seen = " UNION ALL ".join(
            f"SELECT {quote(relation.name)}.rowid AS row FROM {source} WHERE {f}" for f in filters
        )
        return counts, total - int(world.raw.rows(f"SELECT count(DISTINCT row) FROM ({seen})", bound)[0][0])
    unseen = " AND ".join(f"({text}) IS NOT TRUE" for text in filters)
    return counts, int(world.raw.rows(f"SELECT count(*) FROM {source} WHERE {unseen}", bound)[0][0])


def _one_by_one(world: World, relation: Relation, grants: Mapping[str, Grant]) -> _Counts:
    """Rows per grant, or why it cannot be counted."""
    counts: _Counts = {}
    for identity, grant in grants.items():
        sql = f"SELECT count(*) FROM {world.raw.source(relation)} WHERE {filter_sql(grant)}"
        try:
            counts[identity] = int(world.raw.rows(sql, grant.parameters)[0][0])
        except RawFailed as error:
            counts[identity] = f"queries are refused: {error}" if error.refused else _FAILS
    return counts


@dataclass(frozen=True, slots=True)
class _Source:
    """A FROM item to count from: rows, or groups of equal rows."""

    text: str
    grouped: bool

    def counted(self, condition: str) -> str:
        return f"sum({_ROWS}) FILTER (WHERE {condition})" if self.grouped else f"count_if({condition})"


def _source(world: World, relation: Relation, grants: Mapping[str, Grant], total: int) -> _Source:
    plain = world.raw.source(relation)
    if total < _SMALL:
        return _Source(plain, grouped=False)
    columns = _columns_used(relation, grants.values())
    picked = ", ".join(f"{quote(relation.name)}.{quote(c)}" for c in columns)
    if columns:
        found = world.raw.rows(f"SELECT approx_count_distinct(({picked},)) FROM {plain}")[0][0]
        if int(found) * _FEW > total:
            return _Source(plain, grouped=False)
    groups = f"SELECT {picked + ', ' if columns else ''}count(*) AS {_ROWS} FROM {plain} GROUP BY ALL"
    return _Source(f"({groups}) AS {quote(relation.name)}", grouped=True)


def _columns_used(relation: Relation, grants: Any) -> list[str]:
    """The columns that predicates name; guards write them as "relation"."column", and nothing else so."""
    pattern = re.compile(re.escape(quote(relation.name)) + r'\."((?:[^"]|"")+)"')
    named = {name.replace('""', '"') for grant in grants for name in pattern.findall(grant.predicate)}
    return [column.name for column in relation.columns if column.name in named]


def _cell(grant: Grant | PolicyInvalid | None, counts: _Counts, total: int) -> Cell:
    match grant:
        case None:
            return Cell(0, "undecided", reason="nobody decided on it: queries are refused")
        case PolicyInvalid():
            return Cell(0, "broken", reason=f"a policy does not fit, queries are refused: {grant}")
    masked, absent = tuple(sorted(grant.masks)), tuple(sorted(grant.denied))
    match grant.kind:
        case "always":
            reason = "" if total else "the table is empty"
            return Cell(total, "always", masked, absent, grant.policies, reason)
        case "conditional":
            visible = counts[_identity(grant)]
            if isinstance(visible, str):
                return Cell(None, "conditional", masked, absent, grant.policies, visible)
            return Cell(
                visible, "conditional", masked, absent, grant.policies, "" if visible else _no_match(grant, total)
            )
        case _:
            # Said of the table it is about, so that tables with the same reason can stand together.
            nobody = f"no policy of `{grant.relation}` applies to this principal's roles"
            why = ["no policy is for these roles" if reason == nobody else reason for reason in grant.reasons]
            return Cell(0, "never", masked, absent, grant.policies, "; ".join(why) or "no policy applies")


def _no_match(grant: Grant, total: int) -> str:
    if not total:
        return "the table is empty"
    why = "; ".join(grant.reasons)
    return f"no row matches ({why})" if why else "no row matches"
