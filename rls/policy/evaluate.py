"""Partial evaluation: an expression's branches and what is known of the principal → true, false, missing or a rest.

Takes a `Branch`, the text of its holes and the attributes' values; returns a `Verdict`. It folds only what SQL would
answer for certain whatever the row holds, so leaving a branch unfolded is always right and folding never changes a
row. A leaf that needs a missing attribute makes the whole policy FALSE unless another branch has settled it
(`user.region IS NULL OR region = user.region`): SQL's NULL would not do, since `region IS DISTINCT FROM NULL` and
`coalesce(region = NULL, true)` are true (invariant deny).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from rls.policy.expressions import Branch
from rls.policy.parser import Tree
from rls.policy.reader import attribute_name

__all__ = ["FALSE", "TRUE", "Verdict", "evaluate"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is left of a condition for one principal.

    `true` and `false` hold for every row; `missing` names the attributes without which nothing can be said; `rest` is
    SQL that decides per row, already in parentheses where it needs them. `possible` is whether a rest can be TRUE for
    any row (`region IN ()` cannot, and NOT of it can), `empty` names list attributes that are empty in it.
    """

    kind: Literal["true", "false", "missing", "rest"]
    text: str = ""
    attributes: frozenset[str] = frozenset()
    possible: bool = True
    empty: frozenset[str] = frozenset()


TRUE = Verdict("true")
FALSE = Verdict("false")
_NOTHING: Any = object()
_ATOMS = frozenset(("CONSTANT", "COLUMN_REF", "CAST", "CASE"))


def evaluate(branch: Branch, holes: tuple[str, ...], known: Mapping[str, object]) -> Verdict:
    """The verdict on a branch. `holes` as `bind` gave them, `known` as `known_values` did."""
    match branch.kind:
        case "leaf":
            return _leaf(branch, holes, known)
        case "not":
            inner = evaluate(branch.children[0], holes, known)
            match inner.kind:
                case "true":
                    return FALSE
                case "false":
                    return TRUE
                case "missing":
                    return inner
                case _:
                    return Verdict("rest", f"(NOT {inner.text})", inner.attributes)
        case _:
            return _connect(branch, [evaluate(c, holes, known) for c in branch.children])


def _connect(branch: Branch, verdicts: list[Verdict]) -> Verdict:
    """AND and OR of SQL: one FALSE (TRUE) settles it, whatever the others would have needed."""
    settles, neutral = (FALSE, TRUE) if branch.kind == "and" else (TRUE, FALSE)
    if any(v.kind == settles.kind for v in verdicts):
        return settles
    missing = [v for v in verdicts if v.kind == "missing"]
    if missing:
        return Verdict("missing", attributes=frozenset().union(*(v.attributes for v in missing)))
    rests = [v for v in verdicts if v.kind == "rest"]
    if not rests:
        return neutral
    if len(rests) == 1:
        return rests[0]
    every = all if branch.kind == "and" else any
    return Verdict(
        "rest",
        "(" + f" {branch.kind.upper()} ".join(v.text for v in rests) + ")",
        frozenset().union(*(v.attributes for v in rests)),
        every(v.possible for v in rests),
        frozenset().union(*(v.empty for v in rests)),
    )


def _leaf(branch: Branch, holes: tuple[str, ...], known: Mapping[str, object]) -> Verdict:
    settled = _settle(branch.tree, known)
    if settled is not None:
        return TRUE if settled else FALSE
    missing = branch.attributes - known.keys()
    if missing:
        return Verdict("missing", attributes=missing)
    text = branch.text(holes)
    # Under AND, OR and NOT: calls and names stand by themselves, operators come from DuckDB in parentheses.
    text = text if text.startswith("(") or _stands_alone(branch.tree) else f"({text})"
    empty = _empty_list(branch.tree, known)
    impossible = empty is not None or _is_null(branch.tree)
    return Verdict("rest", text, branch.attributes, not impossible, frozenset({empty} if empty else ()))


def _stands_alone(tree: Tree) -> bool:
    return tree["class"] in _ATOMS or (tree["class"] == "FUNCTION" and not tree["is_operator"])


def _settle(tree: Tree, known: Mapping[str, object]) -> bool | None:
    """TRUE or FALSE where every row gives the same answer and this module is certain of it; else None."""
    match tree["class"]:
        case "CONSTANT" | "COLUMN_REF" | "CAST":
            value = _value(tree, known)
            return value if isinstance(value, bool) else None
        case "OPERATOR" if tree["type"] in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"):
            name = attribute_name(tree["children"][0])
            # Values are never NULL: a token's null is a missing attribute.
            return None if name is None else (name in known) is (tree["type"] == "OPERATOR_IS_NOT_NULL")
        case "OPERATOR" if tree["type"] == "COMPARE_IN":
            answers = [_compare("COMPARE_EQUAL", tree["children"][0], item, known) for item in tree["children"][1:]]
            return None if None in answers else any(answers)
        case "COMPARISON":
            return _compare(tree["type"], tree["left"], tree["right"], known)
        case "BETWEEN":
            low = _compare("COMPARE_GREATERTHANOREQUALTO", tree["input"], tree["lower"], known)
            high = _compare("COMPARE_LESSTHANOREQUALTO", tree["input"], tree["upper"], known)
            return None if low is None or high is None else low and high
        case "FUNCTION" if tree["function_name"] == "contains" and len(tree["arguments"]) == 2:
            items, item = (_value(a["expression"], known) for a in tree["arguments"])
            if not isinstance(items, list) or _family(item) is None or any(_family(i) != _family(item) for i in items):
                return None
            return item in items
        case _:
            return None


def _compare(kind: str, left: Tree, right: Tree, known: Mapping[str, object]) -> bool | None:
    a, b = _value(left, known), _value(right, known)
    if _family(a) is None or _family(a) != _family(b):
        return None
    # Text: DuckDB compares the bytes of UTF-8, and their order is that of Python's code points.
    x: Any = a
    y: Any = b
    match kind:
        case "COMPARE_EQUAL" | "COMPARE_NOT_DISTINCT_FROM":
            return bool(x == y)
        case "COMPARE_NOTEQUAL" | "COMPARE_DISTINCT_FROM":
            return bool(x != y)
        case "COMPARE_LESSTHAN":
            return bool(x < y)
        case "COMPARE_LESSTHANOREQUALTO":
            return bool(x <= y)
        case "COMPARE_GREATERTHAN":
            return bool(x > y)
        case "COMPARE_GREATERTHANOREQUALTO":
            return bool(x >= y)
        case _:
            return None


def _value(tree: Tree, known: Mapping[str, object]) -> object:
    """The value of an attribute or a literal; `_NOTHING` for all else."""
    match tree["class"]:
        case "COLUMN_REF":
            name = attribute_name(tree)
            return known.get(name, _NOTHING) if name is not None else _NOTHING
        case "CONSTANT":
            return _literal(tree["literal"]["kind"], tree["literal"]["text"])
        case "CAST" if tree["type_expr"]["type_name"].upper() == "DATE" and tree["child"]["class"] == "CONSTANT":
            literal = tree["child"]["literal"]
            return _date(literal["text"]) if literal["kind"] == "STRING" else _NOTHING
        case _:
            return _NOTHING


def _literal(kind: str, text: str) -> object:
    match kind:
        case "STRING":
            return text
        case "BOOLEAN":
            return text == "true"
        case "INTEGER" if re.fullmatch(r"-?\d{1,18}", text):
            return int(text)
        case "NUMERIC" if re.fullmatch(r"-?\d{1,18}\.\d{1,9}", text):
            return Decimal(text)
        case _:
            return _NOTHING


def _date(text: str) -> object:
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            return _NOTHING
    return _NOTHING


def _family(value: object) -> str | None:
    """Values of one family compare in Python as in DuckDB; the rest is left to DuckDB."""
    match value:
        case bool():
            return "boolean"
        case str():
            return "text"
        case int() | Decimal():
            return "number"
        case date() if type(value) is date:
            return "date"
        case _:
            return None


def _empty_list(tree: Tree, known: Mapping[str, object]) -> str | None:
    """The attribute in `column IN user.list` whose list is empty: FALSE or NULL for every row."""
    if tree["class"] != "FUNCTION" or tree["function_name"] != "contains" or not tree["arguments"]:
        return None
    name = attribute_name(tree["arguments"][0]["expression"])
    return name if name is not None and known.get(name) == [] else None


def _is_null(tree: Tree) -> bool:
    return bool(tree["class"] == "CONSTANT" and tree["literal"]["kind"] == "NULL_LITERAL")
