"""One bound policy → parts of it that see more, or less, than they seem to: warnings at their place.

policy.like_all       a pattern that everything is like
policy.pattern        a text from a token used as a pattern, or matched as a part
policy.null_opens     a row without a value passes
policy.not_in_null    one NULL in the sub-query, and no row passes
policy.uncorrelated   a sub-query that does not look at the row
policy.odd_key        `order_id IN (SELECT customer_id …)` where either table has the other column, too
policy.always_true    a condition of a sub-query that compares something with itself
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from rls.catalog import Catalog, Relation, fold
from rls.policy.compared import Compared, nodes_of
from rls.policy.expressions import Branch
from rls.policy.parser import ExpressionInvalid, Tree
from rls.policy.reader import NO_POSITION, attribute_name
from rls.policy.rules import BoundPolicy

__all__ = ["find_oversights"]

_LIKE: Final = frozenset(("~~", "~~*", "~~~"))
_NOT_LIKE: Final = frozenset(("!~~", "!~~*"))
_REFLEXIVE: Final = frozenset(
    ("COMPARE_EQUAL", "COMPARE_GREATERTHANOREQUALTO", "COMPARE_LESSTHANOREQUALTO", "COMPARE_NOT_DISTINCT_FROM")
)
_ORDERS: Final[dict[str, Callable[[int, int], bool]]] = {
    "COMPARE_EQUAL": operator.eq,
    "COMPARE_LESSTHAN": operator.lt,
    "COMPARE_LESSTHANOREQUALTO": operator.le,
    "COMPARE_GREATERTHAN": operator.gt,
    "COMPARE_GREATERTHANOREQUALTO": operator.ge,
}
_PARTS: Final = frozenset(("contains", "starts_with", "ends_with", "prefix", "suffix", "regexp_matches"))


def find_oversights(bound: BoundPolicy, relation: Relation, catalog: Catalog) -> Iterator[ExpressionInvalid]:
    """All of them, in the order of the text."""
    compared = Compared(bound, relation)
    for leaf, negated in _leaves(bound.policy.using.root, negated=False):
        for node in nodes_of(leaf.tree):
            yield from _patterns(node, compared)
            if negated or not _closes(leaf.tree, node):
                yield from _nulls(node, compared, relation)
            yield from _subqueries(node, compared, relation, catalog, negated=negated)


def _leaves(branch: Branch, *, negated: bool) -> Iterator[tuple[Branch, bool]]:
    if branch.kind == "leaf":
        yield branch, negated
    for child in branch.children:
        yield from _leaves(child, negated=negated != (branch.kind == "not"))


def _patterns(node: Tree, compared: Compared) -> Iterator[ExpressionInvalid]:
    if node["class"] != "FUNCTION" or len(node["arguments"]) != 2:
        return
    name, (left, right) = node["function_name"], [a["expression"] for a in node["arguments"]]
    text = right["literal"]["text"] if right["class"] == "CONSTANT" and "literal" in right else None
    if (name in _LIKE and text is not None and text and not text.strip("%")) or (name in _PARTS and text == ""):
        yield _problem("policy.like_all", compared, node, "is true for every text", "write the condition that is meant")
        return
    asked = [attribute_name(part) for part in nodes_of(right) if part["class"] == "COLUMN_REF"]
    attribute = next((a for a in asked if a is not None), None)
    # `user.regions` on the left of contains is a list, or `IN`, which another check looks at.
    if attribute is not None and (name in _LIKE | _NOT_LIKE or (name in _PARTS and attribute_name(left) is None)):
        what = f"takes user.{attribute} for a pattern or a part: a short value, or `%`, opens more than its own"
        yield _problem("policy.pattern", compared, node, what, "compare with `=` or `IN`")


def _nulls(node: Tree, compared: Compared, relation: Relation) -> Iterator[ExpressionInvalid]:
    match node["class"]:
        case "OPERATOR" if node["type"] == "OPERATOR_COALESCE":
            operands = node["children"]
        case "FUNCTION" if node["function_name"] in ("coalesce", "ifnull"):
            operands = [a["expression"] for a in node["arguments"]]
        case "COMPARISON" if node["type"] == "COMPARE_DISTINCT_FROM":
            # `consent IS NOT FALSE` is this comparison with a cast that nobody wrote.
            operands = [_uncast(node["left"]), _uncast(node["right"])]
        case _:
            return
    asked = attribute_name(operands[0])
    if asked is not None and node["class"] != "COMPARISON":
        what = f"never takes another value: without user.{asked} it is false, whatever the rest of it says"
        yield _problem(
            "policy.default_unused", compared, node, what, f"write `user.{asked} IS NULL OR …`, or leave it out"
        )
    names = [name for operand in operands[:2] if (name := compared.column(operand)) is not None]
    column = next((c for n in names[:1] if (c := relation.column(n)) is not None and c.nullable), None)
    if column is not None:
        what = f"gives a row without `{column.name}` a value of its own: look whether such rows may pass"
        hint = f"rows without it are hidden if `{column.name}` is compared as it is"
        yield _problem("policy.null_opens", compared, node, what, hint)


def _closes(leaf: Tree, node: Tree) -> bool:
    """Whether a leaf is FALSE by the default that a node, `coalesce(…, default)`, gives: `coalesce(active, false)`,
    `coalesce(kind, 'none') = 'open'`, `coalesce(level, 0) >= 3`."""
    if node["class"] != "OPERATOR" or node["type"] != "OPERATOR_COALESCE" or len(node["children"]) != 2:
        return False
    default = node["children"][1].get("literal")
    if default is None:
        return False
    if leaf is node:
        return bool(default["kind"] == "BOOLEAN" and default["text"] == "false")
    other = leaf["right"].get("literal") if leaf["class"] == "COMPARISON" and leaf["left"] is node else None
    if other is None:
        return False
    if default["kind"] == other["kind"] == "INTEGER":
        test = _ORDERS.get(leaf["type"])
        return test is not None and not test(int(default["text"]), int(other["text"]))
    different = default["kind"] == other["kind"] and default["text"] != other["text"]
    return bool(different and leaf["type"] == "COMPARE_EQUAL")


def _uncast(node: Tree) -> Tree:
    unwritten = node["class"] == "CAST" and node.get("query_location", NO_POSITION) >= NO_POSITION
    return dict(node["child"]) if unwritten else node


def _constants_inside(node: Tree, compared: Compared) -> Iterator[ExpressionInvalid]:
    """`m.user_id = m.user_id` and `1 = 1` among the conditions of a sub-query."""
    if node["class"] != "COMPARISON" or node["type"] not in _REFLEXIVE:
        return
    left, right = (_bare(node[side]) for side in ("left", "right"))
    if left == right:
        what = "holds for every row that has a value: it compares something with itself"
        yield _problem("policy.always_true", compared, node, what, "compare with what is meant")


def _bare(tree: Any) -> Any:
    """A tree without its places."""
    if isinstance(tree, dict):
        return {k: _bare(v) for k, v in tree.items() if k not in ("query_location", "query_location_length")}
    return [_bare(v) for v in tree] if isinstance(tree, list) else tree


def _subqueries(
    node: Tree, compared: Compared, relation: Relation, catalog: Catalog, *, negated: bool
) -> Iterator[ExpressionInvalid]:
    if node["class"] != "SUBQUERY":
        return
    query = node["subquery"]["node"]
    for part in nodes_of(query):
        yield from _constants_inside(part, compared)
    if node["subquery_type"] in ("EXISTS", "NOT_EXISTS") and not compared.own_columns(query):
        what = f"does not look at the row: it is the same for every row of `{relation.label}`"
        hint = f"compare with `{relation.name}.…`; a column that the inner table has too is the inner table's"
        yield _problem("policy.uncorrelated", compared, query, what, hint)
    if node.get("child") is None or query.get("type") != "SELECT_NODE" or len(query["select_list"]) != 1:
        return
    inner, selected = _inner(query, catalog), query["select_list"][0]
    if inner is None or selected["class"] != "COLUMN_REF":
        return
    column = inner.column(selected["column_names"][-1])
    if column is None:
        return
    if negated and column.nullable and "IS_NOT_NULL" not in str(query["where_clause"]):
        what = f"is true for no row as soon as one `{column.name}` of `{inner.label}` is NULL"
        hint = f"add `WHERE {column.name} IS NOT NULL`, or write NOT EXISTS"
        yield _problem("policy.not_in_null", compared, node["child"], f"NOT IN (SELECT {column.name} …) {what}", hint)
    asked = compared.column(node["child"])
    if asked is not None and _other_tables(asked, column.name, catalog) and relation.column(column.name) is not None:
        what = f"is looked for among `{inner.label}.{column.name}`, and `{relation.label}` has a column `{column.name}`"
        yield _problem("policy.odd_key", compared, node["child"], what, f"write `{column.name} IN`, if that is meant")
    if asked is not None and fold(asked) not in ("id", fold(column.name)) and inner.column(asked) is not None:
        what = f"is looked for among `{inner.label}.{column.name}`, and `{inner.label}` has a column `{asked}`"
        yield _problem("policy.odd_key", compared, node["child"], what, f"write `SELECT {asked}`, if that is meant")


def _other_tables(asked: str, selected: str, catalog: Catalog) -> bool:
    """Whether two columns are keys of two tables, by their names: `patient_id` and `team_id`."""
    first, second = (_table_of(name, catalog) for name in (asked, selected))
    return first is not None and second is not None and first != second


def _table_of(name: str, catalog: Catalog) -> tuple[str, ...] | None:
    stem = re.sub(r"_?(id|key)$", "", fold(name))
    if stem in ("", fold(name)):
        return None
    named = (stem, f"{stem}s", f"{stem}es", re.sub("y$", "ies", stem))
    return next((key for key, r in catalog.relations.items() if fold(r.name) in named), None)


def _inner(query: Tree, catalog: Catalog) -> Relation | None:
    table = query["from_table"]
    return catalog.find(tuple(table["qualified_name"]["path"])) if table.get("type") == "BASE_TABLE" else None


def _problem(code: str, compared: Compared, node: Tree, what: str, hint: str) -> ExpressionInvalid:
    text = compared.text(node)
    shown = text if len(text) <= 60 else f"{text[:59]}…"
    policy = compared.bound.policy.name
    return ExpressionInvalid(code, f"`{shown}` in policy `{policy}` {what}", offset=compared.offset(node), hint=hint)
