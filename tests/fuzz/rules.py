"""Policies of every shape for the fuzzed warehouse, said twice: as policy files and as the oracle's plain SQL.

It takes a seeded random source and returns a `Rules`. Shapes are ways a policy compares (equality, lists, mapping
tables, hierarchies, ranges, …); one relation gets one or two of them, permissive or restrictive, and perhaps masks
and denied columns.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.schema import TABLES, Column, Path
from tests.oracle import Rule, quoted
from tests.policygen import ROLE, SUBJECT, Generated

__all__ = ["SHAPES", "Rules", "draw_rules"]

_SUPPORT = {("main", "access"), ("main", "staff")}
# Policies and join conditions read these: they are neither masked nor denied.
KEYS = frozenset(("id", "tenant_id", "region", "owner", "customer_id", "user_id", "boss_id", "who", "item", "level"))

# Conditions for views, over their own columns.
VIEW_POLICIES: dict[Path, tuple[str, ...]] = {
    ("main", "bulk_orders"): ("region = 'EMEA'", "id % 2 = 0 OR customer_id IS NULL"),
    ("main", "named_orders"): ("name IS NOT NULL AND region <> 'APAC'", "id IN (2, 3, 5, 7)"),
    ("finance", "accounts"): ("account = '4000'", "entries > 1 OR account IS NULL"),
}


@dataclass
class Rules:
    """`made` is what the product and the oracle get; `shapes` names the shape of each relation, for people.

    `views` are those of the oracle for views. `support` tables may be varied before the others, `frozen` ones must not be varied: policies read hidden rows there.
    """

    made: Generated
    hide: float = 1.0
    shapes: dict[str, str] = field(default_factory=dict)
    views: dict[Path, Rule] = field(default_factory=dict)
    support: set[Path] = field(default_factory=set)
    frozen: set[Path] = field(default_factory=set)


@dataclass(frozen=True)
class _Shape:
    """One predicate in the words of a policy and in the oracle's; `reads` are tables it looks into."""

    using: str
    predicate: str
    reads: frozenset[Path] = frozenset()


@dataclass
class _Make:
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


def _equality(make: _Make) -> _Shape:
    user = make.made.attribute("string", "acme")
    return _Shape(f"tenant_id = {user}", "tenant_id = 'acme'")


def _in_list(make: _Make) -> _Shape:
    text = "tenant_id IN ('acme', 'initech')"
    return _Shape(text, text)


def _either(make: _Make) -> _Shape:
    user = make.made.attribute("string", "acme")
    other = make.any_of("owner", "user_id", "kind", "name", "dept")
    return _Shape(f"tenant_id = {user} OR {other} = user.subject", f"tenant_id = 'acme' OR {other} = '{SUBJECT}'")


def _listed(make: _Make) -> _Shape:
    values = make.random.choice((["EMEA"], ["EMEA", "APAC"], [], ["EMEA", *(f"r{n}" for n in range(90))]))
    column = make.any_of("region")
    if column != "region":
        column, values = "tenant_id", make.random.choice((["acme"], ["ACME", "globex"], []))
    user = make.made.attribute("string", values)
    listed = ", ".join(f"'{value}'" for value in values)
    return _Shape(f"{column} IN {user}", f"{column} IN ({listed})" if values else "false")


def _not_listed(make: _Make) -> _Shape:
    user = make.made.attribute("string", ["globex", "initech"])
    return _Shape(f"tenant_id NOT IN {user}", "tenant_id NOT IN ('globex', 'initech')")


def _mapping(make: _Make) -> _Shape:
    text = "tenant_id IN (SELECT a.tenant_id FROM access AS a WHERE a.who = {who} AND a.item < 6)"
    return _same(text, ("main", "access"))


def _exists(make: _Make) -> _Shape:
    column = make.any_of("customer_id", "id")
    text = f"EXISTS (SELECT 1 FROM access AS a WHERE a.item = {column} AND a.who = {{who}})"
    return _same(text, ("main", "access"))


def _not_exists(make: _Make) -> _Shape:
    column = make.any_of("customer_id", "id")
    text = f"NOT EXISTS (SELECT 1 FROM access AS a WHERE a.item = {column} AND a.who = {{who}})"
    return _same(text, ("main", "access"))


def _hierarchy(make: _Make) -> _Shape:
    column = make.any_of("customer_id", "id")
    text = (
        f"{column} IN (WITH RECURSIVE below(id) AS (SELECT s.id FROM staff AS s WHERE s.user_id = {{who}} UNION "
        f"SELECT s.id FROM staff AS s JOIN below AS b ON s.boss_id = b.id) SELECT below.id FROM below)"
    )
    return _same(text, ("main", "staff"))


def _range(make: _Make) -> _Shape:
    low, high = make.made.attribute("integer", 3), make.made.attribute("integer", make.random.choice((9, 20)))
    column = make.any_of("customer_id", "id")
    return _Shape(f"{column} BETWEEN {low} AND {high}", f"{column} BETWEEN 3 AND {make.made.attributes[high[5:]]}")


def _since(make: _Make) -> _Shape:
    column = make.any_of("due", "day", "seen_at", "until", "placed_at")
    if make.columns[column].type not in ("DATE", "TIMESTAMP"):
        return _range(make)
    # Written as text, which a policy may only do with a cast: a token has dates.
    return _Shape(f"{column} >= DATE '2024-02-01'", f"{column} >= DATE '2024-02-01'")


def _pattern(make: _Make) -> _Shape:
    text = make.random.choice(
        ("tenant_id LIKE 'ac%'", "regexp_matches(tenant_id, '^a.*e$')", "starts_with(lower(tenant_id), 'ac')")
    )
    return _Shape(text, text)


def _arithmetic(make: _Make) -> _Shape:
    column = make.any_of("id", "item")
    text = make.random.choice((f"{column} % 3 = 0", f"{column} % 7 IN (1, 2)", f"{column} & 3 = 1"))
    return _Shape(text, text)


def _nulls(make: _Make) -> _Shape:
    column = make.any_of("owner", "region", "boss_id", "customer_id", "until")
    return _Shape(f"{column} IS NULL OR tenant_id = 'acme'", f"{column} IS NULL OR tenant_id = 'acme'")


def _case(make: _Make) -> _Shape:
    column = make.any_of("id", "item")
    user = make.made.attribute("string", "acme")
    text = f"CASE WHEN {column} % 2 = 0 THEN tenant_id = {{}} ELSE {column} % 5 = 0 END"
    return _Shape(text.format(user), text.format("'acme'"))


def _enum(make: _Make) -> _Shape:
    column = make.any_of("status", "level")
    if column not in ("status", "level"):
        return _equality(make)
    text = f"{column} IN ('open', 'paid')" if column == "status" else f"{column} = 'gold'"
    return _Shape(text, text)


def _negation(make: _Make) -> _Shape:
    return _Shape(
        "NOT (tenant_id = 'globex' OR tenant_id = 'ACME')", "NOT (tenant_id = 'globex' OR tenant_id = 'ACME')"
    )


def _always(make: _Make) -> _Shape:
    return _Shape("true", "true")


def _never(make: _Make) -> _Shape:
    return _Shape("false", "false")


def _compared(make: _Make) -> _Shape:
    """Two columns with each other, and with a value."""
    pairs = (("owner", "region"), ("kind", "ip"), ("name", "zone"), ("account", "owner"), ("label", "region"))
    found = next(((a, b) for a, b in pairs if a in make.columns and b in make.columns), None)
    if found is None:
        return _range(make)
    user = make.made.attribute("string", "acme")
    text = "{a} IS DISTINCT FROM {b} AND tenant_id <> {who}".format(a=found[0], b=found[1], who="{who}")
    return _Shape(text.format(who=user), text.format(who="'acme'"))


def _coalesced(make: _Make) -> _Shape:
    column = make.any_of("owner", "region", "user_id")
    if make.columns[column].type != "VARCHAR":
        return _nulls(make)
    user = make.made.attribute("string", "acme")
    text = "coalesce({c}, tenant_id) = {who} OR upper(tenant_id) = 'INITECH'"
    return _Shape(text.format(c=column, who=user), text.format(c=column, who="'acme'"))


def _missing(make: _Make) -> _Shape:
    name = f"a{len(make.made.declared)}"
    make.made.declared[name] = {"type": "string"}  # and no value in the token
    return _Shape(f"tenant_id = user.{name} OR tenant_id = 'acme'", "false")


def _same(text: str, *reads: Path) -> _Shape:
    return _Shape(text.format(who="user.subject"), text.format(who=f"'{SUBJECT}'"), frozenset(reads))


SHAPES: dict[str, Callable[[_Make], _Shape]] = {
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
# Those whose filter is a join or a disjunction come twice: there an optimizer moves the most.
_FILTERS = [
    *sorted(SHAPES.keys() - {"always", "never", "missing"}),
    *("either", "mapping", "exists", "not_exists", "hierarchy", "in_list", "nulls"),
]


def draw_rules(source: random.Random, *, shapes: list[str] | None = None, hide: float = 1.0) -> Rules:
    """Policies for every table.

    For tests of the harness: `shapes` narrows what is drawn, `hide` multiplies how many columns are masked or denied.
    """
    rules = Rules(Generated("fuzz"), hide)
    for path in TABLES:
        match path[-1]:
            case "products":
                rules.made.documents.append({"relation": "products", "public": True})
                rules.made.rules[path] = Rule()
                rules.shapes["products"] = "public"
            case "access":
                _decide(rules, _Make(rules.made, path, source), ["own"], source)
            case "staff":
                _decide(
                    rules, _Make(rules.made, path, source), [source.choice(["always", "equality", "range"])], source
                )
            case _:
                count = 1 if source.random() < 0.7 else 2
                drawn = [source.choice(shapes or _FILTERS) for _ in range(count)]
                if not shapes and source.random() < 0.06:
                    drawn = [source.choice(("always", "never", "missing"))]
                _decide(rules, _Make(rules.made, path, source), drawn, source)
    for path, policies in VIEW_POLICIES.items():
        rules.shapes[path[-1]] = "view"
        # Without a rule of its own a view shows what its relations show.
        if source.random() < 0.35:
            using = source.choice(policies)
            rules.made.documents.append(
                {"relation": ".".join(p for p in path if p != "main"), "policies": [{"name": "v", "using": using}]}
            )
            rules.views[path] = Rule(using)
            rules.shapes[path[-1]] = "view with a policy"
    _settle_support(rules)
    return rules


def _decide(rules: Rules, make: _Make, names: list[str], source: random.Random) -> None:
    shapes = [
        _Shape("who = user.subject", f"who = '{SUBJECT}'") if name == "own" else SHAPES[name](make) for name in names
    ]
    restrictive = len(shapes) == 2 and source.random() < 0.5
    # Without a permissive policy nothing is seen.
    alone = len(shapes) == 1 and names != ["own"] and source.random() < 0.02
    policies: list[dict[str, Any]] = [
        {"name": "p0", "using": shapes[0].using} | ({"as": "restrictive"} if alone else {})
    ]
    if len(shapes) == 2:
        policies.append({"name": "p1", "using": shapes[1].using} | ({"as": "restrictive"} if restrictive else {}))
    if source.random() < 0.3 and not alone:
        policies[0]["to"] = [ROLE]
        policies.append({"name": "others", "to": ["other"], "using": "true"})
    joined = (" AND " if restrictive else " OR ").join(f"(({shape.predicate}) IS TRUE)" for shape in shapes)
    if alone:
        joined = "false"
    document: dict[str, Any] = {"relation": ".".join(p for p in make.path if p != "main"), "policies": policies}
    columns, denied, masks, labels = _columns(make, source, rules.hide)
    if columns:
        document["columns"] = columns
    rules.made.documents.append(document)
    rules.made.rules[make.path] = Rule(joined, frozenset(denied), masks, frozenset(labels))
    rules.shapes[make.path[-1]] = ("only " if alone else "") + (" and " if restrictive else " or ").join(names)
    for shape in shapes:
        rules.support |= shape.reads


def _columns(
    make: _Make, source: random.Random, hide: float
) -> tuple[dict[str, Any], set[str], dict[str, str], set[str]]:
    columns: dict[str, Any] = {}
    denied: set[str] = set()
    masks: dict[str, str] = {}
    labels: set[str] = set()
    for column in TABLES[make.path]:
        if make.path in _SUPPORT:
            continue
        if column.name in KEYS:
            # A policy's own column may be masked: filters see what it hides.
            if column.type == "VARCHAR" and source.random() < 0.03 * hide:
                masks[column.name] = source.choice(("'***'", f"left({quoted(column.name)}, 1)", "region || '!'"))
                if masks[column.name] == "region || '!'" and "region" not in make.columns:
                    masks[column.name] = "'?'"
                columns[column.name] = {"mask": masks[column.name]}
            continue
        if source.random() < 0.03 * hide:
            denied.add(column.name)
            columns[column.name] = {"deny": True}
        elif source.random() < 0.07 * hide and (mask := _mask(column, source)) is not None:
            masks[column.name] = mask
            columns[column.name] = {"mask": mask}
        elif column.type in ("order_status", "customer_level") and source.random() < 0.2:
            labels.add(column.name)
            columns[column.name] = {"labels": "public"}
    return columns, denied, masks, labels


def _mask(column: Column, source: random.Random) -> str | None:
    name = quoted(column.name)
    match column.type:
        case "VARCHAR":
            return source.choice(
                ("'***'", f"left({name}, 1)", "CAST(NULL AS VARCHAR)", f"CASE WHEN id % 2 = 0 THEN {name} END")
            )
        case "INTEGER" | "BIGINT" | "SMALLINT" | "DOUBLE" | "DECIMAL(12,2)" | "DECIMAL(18,3)":
            return source.choice((f"CAST(0 AS {column.type})", f"CAST(NULL AS {column.type})"))
        case "DATE":
            return "DATE '2000-01-01'"
        case _:
            return None


def _settle_support(rules: Rules) -> None:
    """Tables that policies read: they may vary only where no policy looks."""
    for path in set(rules.support):
        if path == ("main", "staff") and rules.shapes["staff"] != "always":
            # A hierarchy climbs through rows that the principal does not see.
            rules.support.discard(path)
            rules.frozen.add(path)
