"""Shapes of policy conditions: each said twice, in the words of a policy and in the oracle's plain SQL.

It takes a relation, what the principal's token may carry and a random source, and returns a `Shape`: the ways a policy
compares (equality, lists, mapping tables, hierarchies, ranges, patterns, …).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.fuzz.schema import TABLES, Column, Path
from tests.judging.policygen import SUBJECT, Generated

__all__ = ["SHAPES", "Make", "Shape"]


@dataclass(frozen=True)
class Shape:
    """One predicate in the words of a policy and in the oracle's; `reads` are tables it looks into."""

    using: str
    predicate: str
    reads: frozenset[Path] = frozenset()


@dataclass
class Make:
    """What a shape may use: the relation's columns, the principal's attributes, random choices."""

    made: Generated
    path: Path
    random: random.Random

    @property
    def columns(self) -> dict[str, Column]:
        return {column.name: column for column in TABLES[self.path]}

    def any_of(self, *names: str) -> str:
        """A column of the relation out of `names`; `id` where it has none of them."""
        found = [name for name in names if name in self.columns]
        return self.random.choice(found) if found else next(iter(self.columns))


def _equality(make: Make) -> Shape:
    user = make.made.attribute("string", "acme")
    return Shape(f"tenant_id = {user}", "tenant_id = 'acme'")


def _in_list(make: Make) -> Shape:
    text = "tenant_id IN ('acme', 'initech')"
    return Shape(text, text)


def _either(make: Make) -> Shape:
    user = make.made.attribute("string", "acme")
    other = make.any_of("owner", "user_id", "kind", "name", "dept")
    return Shape(f"tenant_id = {user} OR {other} = user.subject", f"tenant_id = 'acme' OR {other} = '{SUBJECT}'")


def _listed(make: Make) -> Shape:
    values = make.random.choice((["EMEA"], ["EMEA", "APAC"], [], ["EMEA", *(f"r{n}" for n in range(90))]))
    column = make.any_of("region")
    if column != "region":
        column, values = "tenant_id", make.random.choice((["acme"], ["ACME", "globex"], []))
    user = make.made.attribute("string", values)
    listed = ", ".join(f"'{value}'" for value in values)
    return Shape(f"{column} IN {user}", f"{column} IN ({listed})" if values else "false")


def _not_listed(make: Make) -> Shape:
    user = make.made.attribute("string", ["globex", "initech"])
    return Shape(f"tenant_id NOT IN {user}", "tenant_id NOT IN ('globex', 'initech')")


def _mapping(make: Make) -> Shape:
    text = "tenant_id IN (SELECT a.tenant_id FROM access AS a WHERE a.who = {who} AND a.item < 6)"
    return _same(text, ("main", "access"))


def _exists(make: Make) -> Shape:
    column = make.any_of("customer_id", "id")
    text = f"EXISTS (SELECT 1 FROM access AS a WHERE a.item = {column} AND a.who = {{who}})"
    return _same(text, ("main", "access"))


def _not_exists(make: Make) -> Shape:
    column = make.any_of("customer_id", "id")
    text = f"NOT EXISTS (SELECT 1 FROM access AS a WHERE a.item = {column} AND a.who = {{who}})"
    return _same(text, ("main", "access"))


def _hierarchy(make: Make) -> Shape:
    column = make.any_of("customer_id", "id")
    text = (
        f"{column} IN (WITH RECURSIVE below(id) AS (SELECT s.id FROM staff AS s WHERE s.user_id = {{who}} UNION "
        f"SELECT s.id FROM staff AS s JOIN below AS b ON s.boss_id = b.id) SELECT below.id FROM below)"
    )
    return _same(text, ("main", "staff"))


def _range(make: Make) -> Shape:
    low, high = make.made.attribute("integer", 3), make.made.attribute("integer", make.random.choice((9, 20)))
    column = make.any_of("customer_id", "id")
    return Shape(f"{column} BETWEEN {low} AND {high}", f"{column} BETWEEN 3 AND {make.made.attributes[high[5:]]}")


def _since(make: Make) -> Shape:
    column = make.any_of("due", "day", "seen_at", "until", "placed_at")
    if make.columns[column].type not in ("DATE", "TIMESTAMP"):
        return _range(make)
    # Written as text, which a policy may only do with a cast: a token has dates.
    return Shape(f"{column} >= DATE '2024-02-01'", f"{column} >= DATE '2024-02-01'")


def _pattern(make: Make) -> Shape:
    text = make.random.choice(
        ("tenant_id LIKE 'ac%'", "regexp_matches(tenant_id, '^a.*e$')", "starts_with(lower(tenant_id), 'ac')")
    )
    return Shape(text, text)


def _arithmetic(make: Make) -> Shape:
    column = make.any_of("id", "item")
    text = make.random.choice((f"{column} % 3 = 0", f"{column} % 7 IN (1, 2)", f"{column} & 3 = 1"))
    return Shape(text, text)


def _nulls(make: Make) -> Shape:
    column = make.any_of("owner", "region", "boss_id", "customer_id", "until")
    return Shape(f"{column} IS NULL OR tenant_id = 'acme'", f"{column} IS NULL OR tenant_id = 'acme'")


def _case(make: Make) -> Shape:
    column = make.any_of("id", "item")
    user = make.made.attribute("string", "acme")
    text = f"CASE WHEN {column} % 2 = 0 THEN tenant_id = {{}} ELSE {column} % 5 = 0 END"
    return Shape(text.format(user), text.format("'acme'"))


def _enum(make: Make) -> Shape:
    column = make.any_of("status", "level")
    if column not in ("status", "level"):
        return _equality(make)
    text = f"{column} IN ('open', 'paid')" if column == "status" else f"{column} = 'gold'"
    return Shape(text, text)


def _negation(make: Make) -> Shape:
    return Shape("NOT (tenant_id = 'globex' OR tenant_id = 'ACME')", "NOT (tenant_id = 'globex' OR tenant_id = 'ACME')")


def _always(make: Make) -> Shape:
    return Shape("true", "true")


def _never(make: Make) -> Shape:
    return Shape("false", "false")


def _compared(make: Make) -> Shape:
    """Two columns with each other, and with a value."""
    pairs = (("owner", "region"), ("kind", "ip"), ("name", "zone"), ("account", "owner"), ("label", "region"))
    found = next(((a, b) for a, b in pairs if a in make.columns and b in make.columns), None)
    if found is None:
        return _range(make)
    user = make.made.attribute("string", "acme")
    text = "{a} IS DISTINCT FROM {b} AND tenant_id <> {who}".format(a=found[0], b=found[1], who="{who}")
    return Shape(text.format(who=user), text.format(who="'acme'"))


def _coalesced(make: Make) -> Shape:
    column = make.any_of("owner", "region", "user_id")
    if make.columns[column].type != "VARCHAR":
        return _nulls(make)
    user = make.made.attribute("string", "acme")
    text = "coalesce({c}, tenant_id) = {who} OR upper(tenant_id) = 'INITECH'"
    return Shape(text.format(c=column, who=user), text.format(c=column, who="'acme'"))


def _missing(make: Make) -> Shape:
    name = f"a{len(make.made.declared)}"
    make.made.declared[name] = {"type": "string"}  # and no value in the token
    return Shape(f"tenant_id = user.{name} OR tenant_id = 'acme'", "false")


def _same(text: str, *reads: Path) -> Shape:
    return Shape(text.format(who="user.subject"), text.format(who=f"'{SUBJECT}'"), frozenset(reads))


SHAPES: dict[str, Callable[[Make], Shape]] = {
    "equality": _equality,
    "in_list": _in_list,
    "either": _either,
    "listed": _listed,
    "not_listed": _not_listed,
    "mapping": _mapping,
    "exists": _exists,
    "not_exists": _not_exists,
    "hierarchy": _hierarchy,
    "range": _range,
    "since": _since,
    "pattern": _pattern,
    "arithmetic": _arithmetic,
    "nulls": _nulls,
    "case": _case,
    "enum": _enum,
    "negation": _negation,
    "compared": _compared,
    "coalesced": _coalesced,
    "always": _always,
    "never": _never,
    "missing": _missing,
}
