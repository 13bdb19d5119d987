"""A bound expression → what does not fit in types, as DuckDB says it on a copy of the catalog without data.

`tenant_id = user.tenant` binds in DuckDB whatever the types are: a number is compared with a text by converting the
text, and the query fails on the first value that is none. So each comparison with an attribute is asked a second
time as `list_contains([user.tenant], tenant_id)`, which DuckDB binds only where both have one type in common.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from rls.catalog import Relation
from rls.policy.attributes import Attribute
from rls.policy.bind import bind
from rls.policy.expressions import Expression, read_tree
from rls.policy.parser import ExpressionInvalid, Tree, character_offset
from rls.policy.reader import attribute_name
from rls.policy.scratch import Scratch

__all__ = ["find_mismatches", "sample_parameters", "type_of"]

_SAMPLES: Final = {
    "string": "x",
    "integer": 1,
    "decimal": Decimal("1.5"),
    "boolean": True,
    "date": date(2000, 1, 1),
    "timestamp": datetime(2000, 1, 1),
}
_OTHER_TYPE: Final = re.compile(r"'(.+)', which is incompatible")


def sample_parameters(attributes: Mapping[str, Attribute]) -> dict[str, object]:
    """A value of the declared type for every attribute, by parameter name."""
    return {a.parameter: [_SAMPLES[a.kind]] if a.many else _SAMPLES[a.kind] for a in attributes.values()}


def type_of(text: str, relation: Relation, scratch: Scratch, attributes: Mapping[str, Attribute]) -> str:
    """DuckDB's type of a bound expression; raises ExpressionInvalid `policy.type` where it does not bind."""
    problem = _bind_error(text, relation, scratch, attributes)
    if isinstance(problem, Exception):
        message = str(problem).partition("\n")[0]
        message = message.partition(": ")[2] or message
        raise ExpressionInvalid("policy.type", message[:1].lower() + message[1:].replace('"', "`"))
    return problem


def find_mismatches(
    expression: Expression, relation: Relation, scratch: Scratch, attributes: Mapping[str, Attribute]
) -> Iterator[ExpressionInvalid]:
    """Every comparison of an attribute with something of another type (`policy.type_mismatch`), and every `x IN y`
    where `y` is text (`policy.in_text`)."""
    as_it_is = expression.root.text(bind(expression, relation, scratch.catalog, attributes))
    broken = isinstance(_bind_error(as_it_is, relation, scratch, attributes), Exception)
    if not broken:
        yield from _text_memberships(expression, relation, scratch, attributes)
    for attribute, operand, variant in _variants(expression.root.tree, attributes):
        strict = read_tree(variant, expression.text, attributes)
        holes = bind(strict, relation, scratch.catalog, attributes)
        problem = _bind_error(strict.root.text(holes), relation, scratch, attributes)
        if isinstance(problem, Exception):
            found = _OTHER_TYPE.search(str(problem))
            if broken and not found:
                continue  # it fails for another reason, which the caller says
            start = operand["query_location"]
            end = start + operand["query_location_length"]
            offset = character_offset(expression.text, start)
            other = found[1].removesuffix("_LITERAL") if found else "a value of another type"
            yield ExpressionInvalid(
                "policy.type_mismatch",
                f"`user.{attribute.name}` is {attribute.type}, compared with {other}",
                offset=offset,
                length=character_offset(expression.text, end) - offset,
                hint="change the attribute's `type` in the identity file, or convert one side with CAST",
            )


def _text_memberships(
    expression: Expression, relation: Relation, scratch: Scratch, attributes: Mapping[str, Attribute]
) -> Iterator[ExpressionInvalid]:
    """`region IN email` is DuckDB's `contains(email, region)`: true where the region is a part of the address."""
    tree = expression.root.tree
    for path, node in _nodes(tree, ()):
        if node.get("function_name") != "contains" or _is_written_as_call(node, expression.text):
            continue
        arguments = [argument["expression"] for argument in node["arguments"]]
        strict = read_tree(_replaced(tree, path, _call("list_contains", arguments)), expression.text, attributes)
        text = strict.root.text(bind(strict, relation, scratch.catalog, attributes))
        if attribute_name(arguments[0]) is None and isinstance(
            _bind_error(text, relation, scratch, attributes), Exception
        ):
            offset = character_offset(expression.text, node["query_location"])
            yield ExpressionInvalid(
                "policy.in_text",
                "`IN` over a text is true for every part of the text",
                offset=offset,
                hint="write `=`, or `contains(…)` if a part is meant",
            )


def _is_written_as_call(node: Tree, text: str) -> bool:
    offset = character_offset(text, node["query_location"])
    return text[offset : offset + len("contains")].lower() == "contains"


def _bind_error(
    text: str, relation: Relation, scratch: Scratch, attributes: Mapping[str, Attribute]
) -> str | Exception:
    """The type of an expression, or what DuckDB says instead."""
    import duckdb

    try:
        return scratch.type_of(text, relation, sample_parameters(attributes))
    except duckdb.Error as error:
        return error


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
