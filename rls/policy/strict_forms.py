"""Conditions → their comparisons with attributes, asked strictly: in a form that DuckDB binds only where types agree.

`tenant_id = user.tenant` becomes `list_contains([user.tenant], tenant_id)`, and `region IN email` (DuckDB's
`contains(email, region)`) the same of a list. Takes the expressions of a whole policy set, since DuckDB writes many
for the price of one; returns each one's forms, whatever relations they are then bound to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rls.policy.attributes import Attribute
from rls.policy.expressions import Expression, read_trees
from rls.policy.parser import ExpressionInvalid, Tree, character_offset
from rls.policy.reader import attribute_name

__all__ = ["Strict", "StrictForms"]


@dataclass(frozen=True, slots=True)
class Strict:
    """A condition with one comparison asked strictly: of `attribute` at the node `operand`; without an attribute, of
    the `IN` at that node, which must not bind."""

    attribute: Attribute | None
    operand: Tree
    form: Expression


class StrictForms:
    """The strict forms of the expressions it was made for."""

    def __init__(self, expressions: Iterable[Expression], attributes: Mapping[str, Attribute]) -> None:
        """Raises ExpressionInvalid where a form cannot be written."""
        asked = [
            (one, attribute, operand, tree)
            for one in {id(one): one for one in expressions}.values()
            for attribute, operand, tree in (*_memberships(one), *_variants(one.root.tree, attributes))
        ]
        self._of: dict[int, tuple[Expression, list[Strict]]] = {}
        forms = read_trees([(tree, one.text) for one, _, _, tree in asked], attributes)
        for (one, attribute, operand, _), form in zip(asked, forms, strict=True):
            if isinstance(form, ExpressionInvalid):
                raise form
            # With the expression: its id is another's when it is gone.
            self._of.setdefault(id(one), (one, []))[1].append(Strict(attribute, operand, form))

    def of(self, expression: Expression) -> list[Strict]:
        """Those of one expression, texts that are asked for a part first."""
        return self._of[id(expression)][1] if id(expression) in self._of else []


def _memberships(expression: Expression) -> Iterator[tuple[None, Tree, Tree]]:
    """`x IN y` as a membership of a list, for each whose `x` is no attribute."""
    tree = expression.root.tree
    for path, node in _nodes(tree, ()):
        if node.get("function_name") != "contains" or _is_written_as_call(node, expression.text):
            continue
        arguments = [argument["expression"] for argument in node["arguments"]]
        if attribute_name(arguments[0]) is None:
            yield None, node, _replaced(tree, path, _call("list_contains", arguments))


def _is_written_as_call(node: Tree, text: str) -> bool:
    offset = character_offset(text, node["query_location"])
    return text[offset : offset + len("contains")].lower() == "contains"


def _variants(tree: Tree, attributes: Mapping[str, Attribute]) -> Iterator[tuple[Attribute, Tree, Tree]]:
    """(attribute, its node, the whole tree with one comparison asked strictly) for each comparison."""
    for path, node in _nodes(tree, ()):
        for one, other in _pairs(node):
            name = attribute_name(one) if one.get("class") == "COLUMN_REF" else None
            attribute = attributes.get(name) if name is not None else None
            if attribute is not None:
                left = one if attribute.many else _call("list_value", [one])
                yield attribute, one, _replaced(tree, path, _call("list_contains", [left, other]))


def _pairs(node: Tree) -> Iterator[tuple[Tree, Tree]]:
    """What a node compares with what, both ways round."""
    match node.get("class"):
        case "COMPARISON":
            pairs = [(node["left"], node["right"])]
        case "BETWEEN":
            pairs = [(node["input"], node["lower"]), (node["input"], node["upper"])]
        case "OPERATOR" if node["type"] in ("COMPARE_IN", "COMPARE_NOT_IN"):
            pairs = [(node["children"][0], other) for other in node["children"][1:]]
        case "FUNCTION" if node["function_name"] == "contains" and len(node["arguments"]) == 2:
            yield node["arguments"][0]["expression"], node["arguments"][1]["expression"]
            return
        case _:
            return
    for one, other in pairs:
        yield one, other
        yield other, one


def _nodes(tree: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Tree]]:
    if isinstance(tree, dict):
        if "class" in tree:
            yield path, tree
        for key, value in tree.items():
            yield from _nodes(value, (*path, key))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from _nodes(value, (*path, index))


def _replaced(tree: Any, path: tuple[str | int, ...], new: Tree) -> Any:
    """A copy of a tree with another node at a path."""
    if not path:
        return new
    first, rest = path[0], path[1:]
    if isinstance(tree, list):
        return [_replaced(value, rest, new) if index == first else value for index, value in enumerate(tree)]
    return {key: _replaced(value, rest, new) if key == first else value for key, value in tree.items()}


def _call(name: str, arguments: list[Tree]) -> Tree:
    return {
        "class": "FUNCTION",
        "type": "FUNCTION",
        "alias": "",
        "function_name": name,
        "schema": "",
        "catalog": "",
        "qualified_name": {"path": [name]},
        "arguments": [{"name": "", "expression": argument} for argument in arguments],
        "filter": None,
        "order_bys": {"type": "ORDER_MODIFIER", "orders": []},
        "distinct": False,
        "is_operator": False,
        "export_state": False,
    }
