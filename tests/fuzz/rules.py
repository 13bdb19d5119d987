"""Policies of every shape for the fuzzed warehouse, said twice: as policy files and as the oracle's plain SQL.

It takes a seeded random source and returns a `Rules`: one relation gets one or two conditions, permissive or
restrictive, and perhaps masks and denied columns; some views get a condition of their own.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.conditions import SHAPES, Make, Shape
from tests.fuzz.schema import TABLES, Column, Path
from tests.judging.oracle import Rule, quoted
from tests.judging.policygen import ROLE, SUBJECT, Generated

__all__ = ["Rules", "draw_rules"]

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
                _decide(rules, Make(rules.made, path, source), ["own"], source)
            case "staff":
                _decide(rules, Make(rules.made, path, source), [source.choice(["always", "equality", "range"])], source)
            case _:
                count = 1 if source.random() < 0.7 else 2
                drawn = [source.choice(shapes or _FILTERS) for _ in range(count)]
                if not shapes and source.random() < 0.06:
                    drawn = [source.choice(("always", "never", "missing"))]
                _decide(rules, Make(rules.made, path, source), drawn, source)
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


def _decide(rules: Rules, make: Make, names: list[str], source: random.Random) -> None:
    shapes = [
        Shape("who = user.subject", f"who = '{SUBJECT}'") if name == "own" else SHAPES[name](make) for name in names
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
    make: Make, source: random.Random, hide: float
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
