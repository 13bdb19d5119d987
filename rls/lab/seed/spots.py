"""Policies and a catalog → which columns and attributes are compared with each other, and with which constants.

A spot is a column of a relation (or a field of it) or an attribute. Takes the policies' own trees; returns `Spots`.
Owns what counts as being compared: what `UNION` and `USING` bring together does, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from rls.catalog import Catalog, Relation, fold
from rls.lab.seed.lineage import Lineage, Origin, selected
from rls.policy.bind import struct_fields
from rls.policy.check_endless import recursions
from rls.policy.compared import nodes_of
from rls.policy.expressions import Expression
from rls.policy.parser import ExpressionInvalid, Tree, character_offset, write_expression
from rls.policy.policy_set import PolicySet
from rls.policy.reader import NO_POSITION
from rls.policy.rules import Bound
from rls.policy.scopes import Hole

__all__ = ["Spot", "Spots", "attribute_spot", "column_spot", "find_naming", "find_spots"]

Spot = tuple[str, ...]
Constant = Callable[[str], object]
_STRICT = {"COMPARE_LESSTHAN": ("less", "more"), "COMPARE_GREATERTHAN": ("more", "less")}
_PARTS = frozenset(("contains", "starts_with", "ends_with", "prefix", "suffix", "^@"))
_MEMBERSHIP = frozenset(("contains", "list_contains", "array_contains", "list_has", "array_has"))


def column_spot(relation: Relation, *names: str) -> Spot:
    """A column, and the fields inside it."""
    return ("column", ".".join(relation.key), *map(fold, names))


def attribute_spot(name: str) -> Spot:
    """An attribute, or the items of a list attribute."""
    return ("attribute", fold(name))


@dataclass
class Spots:
    """`used` names the spots of each relation that conditions look at, `shown` those of masks; `types` is DuckDB's
    type of each. Spots that are compared are one group; `constants` are what a spot's group is compared with.
    `walked` are tables whose rows may not lie in a circle: a hierarchy over them might never end."""

    types: dict[Spot, str] = field(default_factory=dict)
    used: dict[tuple[str, ...], dict[Spot, None]] = field(default_factory=dict)
    shown: dict[tuple[str, ...], dict[Spot, None]] = field(default_factory=dict)
    read: dict[tuple[str, ...], Relation] = field(default_factory=dict)  # by sub-queries
    walked: set[tuple[str, ...]] = field(default_factory=set)
    asked: dict[Spot, set[str]] = field(default_factory=dict)  # what WHERE of sub-queries asks of a column by itself
    held: set[Spot] = field(default_factory=set)  # columns that stand beside an attribute: what they hold is somebody's
    naming: dict[str, frozenset[str] | None] = field(default_factory=dict)  # attributes that name a row: `find_naming`
    parted: set[Spot] = field(default_factory=set)  # texts that are asked for what they begin with or hold
    walls: dict[str, dict[Spot, None]] = field(default_factory=dict)  # attribute → columns that must be equal to it
    _over: dict[Spot, Spot] = field(default_factory=dict)
    _constants: dict[Spot, dict[object, None]] = field(default_factory=dict)

    def group(self, spot: Spot) -> Spot:
        """The spot that stands for all that it is compared with."""
        while spot in self._over:
            spot = self._over[spot]
        return spot

    def members(self, group: Spot) -> list[Spot]:
        return [s for s in self.types if self.group(s) == group]

    def constants(self, group: Spot) -> list[object]:
        return list(self._constants.get(group, {}))

    def hangs(self, spot: Spot) -> bool:
        """Whether rows of a table are below each other by it: two of its columns are in the spot's group."""
        tables = [s[1] for s in self.members(self.group(spot)) if s[0] == "column"]
        return len(tables) > len(set(tables))

    def join(self, first: Spot, second: Spot) -> None:
        a, b = self.group(first), self.group(second)
        if a != b and kind_of(self.types[a]) == kind_of(self.types[b]):
            self._over[b] = a
            for value in self._constants.pop(b, {}):
                self.add_constant(a, value)

    def add_constant(self, spot: Spot, value: object) -> None:
        self._constants.setdefault(self.group(spot), {})[value] = None


def kind_of(type_: str) -> str:
    """What values a type has, in a word; `other` where none can be made up."""
    base = type_.partition("(")[0].removesuffix("[]")
    match base:
        case "VARCHAR" | "ENUM":
            return "text"
        case "DECIMAL" | "DOUBLE" | "FLOAT" | "DATE" | "TIMESTAMP" | "BOOLEAN" | "UUID":
            return base.lower()
        case _ if base.removeprefix("U").removesuffix("INT") in ("TINY", "SMALL", "BIG", "HUGE"):
            return "integer"
        case "INTEGER" | "UINTEGER":
            return "integer"
        case _:
            return "other"


def find_spots(policies: PolicySet, catalog: Catalog, bounds: list[Bound], constant: Constant) -> Spots:
    """All spots. `constant` gives the value of SQL without names, None where it has none."""
    spots = Spots()
    for attribute in policies.attributes.values():
        spots.types[attribute_spot(attribute.name)] = attribute.type.removesuffix("[]")
    for bound in bounds:
        for policy in bound.policies:
            _Walk(spots, policy.policy.using, bound.relation, catalog, constant).all(spots.used)
        for column in bound.columns:
            spot = column_spot(bound.relation, column.column)
            spots.types.setdefault(spot, _type(bound.relation, column.column))
            spots.shown.setdefault(bound.relation.key, {})[spot] = None
            if column.rule.mask is not None:
                _Walk(spots, column.rule.mask, bound.relation, catalog, constant).all(spots.shown)
    return spots


def find_naming(
    spots: Spots, policies: PolicySet, catalog: Catalog, keys: Mapping[tuple[str, ...], tuple[str, ...]]
) -> dict[str, frozenset[str] | None]:
    """Attributes that are the key of a row in a table which sub-queries read, as the `email` of a table of people is:
    each with the roles (None: all) for whom such a row decides. `keys` are the primary keys of relations."""
    found: dict[str, frozenset[str] | None] = {}
    for policy in (p for rules in policies.rules for p in rules.policies):
        for path in policy.using.relations:
            table = catalog.find(path)
            key = () if table is None else keys.get(table.key, ())
            spot = column_spot(table, key[0]) if table is not None and len(key) == 1 else None
            if spot is None or spot not in spots.held or spots.constants(spot):
                continue
            names = {s[1] for s in spots.members(spots.group(spot)) if s[0] == "attribute"} & policy.using.attributes
            for name in names if spots.types[spot] == "VARCHAR" else ():
                before = found.get(name, frozenset())
                found[name] = None if policy.roles is None or before is None else before | policy.roles
    return found


@dataclass
class _Walk:
    """One expression about one relation."""

    spots: Spots
    expression: Expression
    relation: Relation
    catalog: Catalog
    constant: Constant
    places: dict[int, Spot] = field(default_factory=dict)
    lineage: Lineage = field(init=False)

    def __post_init__(self) -> None:
        self.lineage = Lineage(self.expression, self.relation, self.catalog)

    def all(self, where: dict[tuple[str, ...], dict[Spot, None]]) -> None:
        endless = any(map(_may_not_end, recursions(self.expression)))
        for path in self.expression.relations:
            table = self.catalog.find(path)
            if table is not None:
                self.spots.read[table.key] = table
                self.spots.walked |= {table.key} if endless else set()
        for hole in self.expression.holes:
            spot = self._spot(hole, where)
            if spot is not None:
                self.places[hole.offset] = spot
        for node in nodes_of(self.expression.root.tree):
            for operands in _compared(node):
                self._compare(operands)
        for operands in self.lineage.united():
            self._compare(operands)
        for columns in self.lineage.shared():
            for one, other in pairwise(self._place(found, where) for found in columns):
                self.spots.join(one, other)
        for node in nodes_of(self.expression.root.tree):
            if node["class"] == "FUNCTION" and node["function_name"] in _PARTS:
                anchors = [a for a in (self._anchor(each["expression"]) for each in node["arguments"]) if a is not None]
                self.spots.parted.update(anchors)
        for leaf in self.expression.root.leaves():
            self._wall(leaf.tree)
        for node in nodes_of(self.expression.root.tree):
            if node["class"] == "OPERATOR" and node["type"] == "OPERATOR_IS_NULL":
                self._ask(node["children"][0], "null")
            elif node["class"] == "COMPARISON" and node["type"] in _STRICT:
                self._ask(node["left"], _STRICT[node["type"]][0])
                self._ask(node["right"], _STRICT[node["type"]][1])

    def _compare(self, operands: list[Tree]) -> None:
        anchors = [a for a in map(self._anchor, operands) if a is not None]
        for one, other in pairwise(anchors):
            self.spots.join(one, other)
        if any(spot[0] == "attribute" for spot in anchors):
            self.spots.held.update(spot for spot in anchors if spot[0] == "column")
        for operand in operands if anchors else ():
            if not any(n.get("class") in ("COLUMN_REF", "SUBQUERY") and self._names(n) for n in nodes_of(operand)):
                try:
                    value = self.constant(write_expression(operand))
                except ExpressionInvalid:
                    continue
                for item in value if isinstance(value, list) else [value]:
                    if item is not None and item.__hash__ is not None:
                        self.spots.add_constant(anchors[0], item)

    def _ask(self, operand: Tree, what: str) -> None:
        spot = self.places.get(self._at(operand)) if operand["class"] == "COLUMN_REF" else None
        if spot is not None and spot[0] == "column":
            self.spots.asked.setdefault(spot, set()).add(what)

    def _names(self, node: Tree) -> bool:
        return node.get("class") == "SUBQUERY" or self._at(node) in self.places

    def _at(self, node: Tree) -> int:
        start = node.get("query_location", NO_POSITION)
        return -1 if start >= NO_POSITION else character_offset(self.expression.text, start)

    def _anchor(self, operand: Tree) -> Spot | None:
        """The one spot that an operand is made of."""
        found = {self.places[at] for n in nodes_of(operand) if n.get("class") == "COLUMN_REF"
                 and (at := self._at(n)) in self.places}  # fmt: skip
        return found.pop() if len(found) == 1 else None

    def _wall(self, tree: Tree) -> None:
        if tree["class"] != "COMPARISON" or tree["type"] != "COMPARE_EQUAL":
            return
        sides = [self.places.get(self._at(s)) for s in (tree["left"], tree["right"]) if s["class"] == "COLUMN_REF"]
        for one, other in (sides, sides[::-1]) if len(sides) == 2 else ():
            own = other is not None and other[:2] == column_spot(self.relation)
            if one is not None and other is not None and one[0] == "attribute" and own:
                self.spots.walls.setdefault(one[1], {})[other] = None

    def _spot(self, hole: Hole, where: dict[tuple[str, ...], dict[Spot, None]]) -> Spot | None:
        if hole.kind == "attribute":
            return attribute_spot(hole.names[0])
        found = self.lineage.column(hole) if hole.kind == "column" else None
        if found is None:
            return None
        return self._place(found, where)

    def _place(self, found: Origin, where: dict[tuple[str, ...], dict[Spot, None]]) -> Spot:
        relation, names = found
        spot = column_spot(relation, *names)
        self.spots.types.setdefault(spot, _type(relation, *names))
        where.setdefault(relation.key, {})[spot] = None
        return spot


def _type(relation: Relation, name: str, *fields: str) -> str:
    column = relation.column(name)
    type_ = "VARCHAR" if column is None else column.type
    for each in fields:
        inner = [t for f, t in struct_fields(type_) if f == fold(each)]
        if not inner:
            return "other"
        type_ = inner[0]
    return type_


def _compared(node: Tree) -> Iterator[list[Tree]]:
    """Operands that a node holds against each other."""
    match node.get("class"):
        case "COMPARISON":
            yield [node["left"], node["right"]]
        case "BETWEEN":
            yield [node["input"], node["lower"], node["upper"]]
        case "OPERATOR" if node["type"] in ("COMPARE_IN", "COMPARE_NOT_IN"):
            yield list(node["children"])
        case "FUNCTION" if "arguments" in node:
            operands = [a["expression"] for a in node["arguments"]]
            yield operands if node["function_name"] not in _MEMBERSHIP else operands[::-1]
        case "SUBQUERY" if node.get("child") is not None:
            yield from ([node["child"], items[0]] for items in selected(node["subquery"]["node"]))
        case _:
            return


def _may_not_end(recursion: Tree) -> bool:
    """Whether a circle in the data is walked for ever: by UNION ALL, or with something counted on the way."""
    selected = recursion["right"].get("select_list", ())
    return bool(recursion["union_all"]) or any(each["class"] != "COLUMN_REF" for each in selected)
