"""A condition with texts like a pattern → the condition with one pattern looser, or strict about letters' case.

Takes DuckDB's tree; yields whole trees. Owns which slips of a hand with patterns are looked for: an anchor lost at the
beginning or end, a part that became one letter of it, `_` that became `%`, a beginning or end that became any part,
ILIKE for LIKE and the other way round, and texts that are equal but for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from rls.lab.truth.inner import each_changed
from rls.lab.truth.near import LISTS
from rls.policy.parser import Tree, read_select

__all__ = ["changed_patterns", "without_case"]

_LIKE: Final = {"~~": "~~*", "!~~": "!~~*", "~~*": "~~", "!~~*": "!~~"}
_ENDS: Final = frozenset(("starts_with", "prefix", "^@", "ends_with", "suffix"))
_ANCHORS: Final = frozenset(("regexp_matches", "regexp_full_match"))


def changed_patterns(tree: Tree) -> Iterator[Tree]:
    """`a LIKE 'x%'` → `a LIKE '%x%'`, `a ILIKE 'x%'`; `starts_with(a, 'x')` → `contains(a, 'x')`."""
    yield from each_changed(tree, _changed)


def without_case(tree: Tree) -> Iterator[Tree]:
    """`tenant = user.tenant` → `lower(tenant) = lower(user.tenant)`, and for each item of a list of texts the list with
    that item in any case; of other types than text it does not bind."""
    if tree["type"] == "COMPARE_EQUAL":
        sides = {side: tree[side] for side in ("left", "right")}
        if all(map(_is_text, sides.values())):
            yield {**tree, **{side: _lower(part) for side, part in sides.items()}}
    elif tree["type"] in LISTS and all(map(_is_text, tree["children"])):
        first, *items = tree["children"]
        for item in items:
            either = read_select("lower(a) = lower(b) OR c")["select_list"][0]
            equal = {**either["children"][0], "left": _lower(first), "right": _lower(item)}
            yield {**either, "children": [equal, tree]}


def _is_text(node: Tree) -> bool:
    literal = node.get("literal") if node["class"] == "CONSTANT" else None
    return node["class"] == "COLUMN_REF" or (literal is not None and literal["kind"] == "STRING")


def _lower(node: Tree) -> Tree:
    call: Tree = read_select("lower(x)")["select_list"][0]
    return {**call, "arguments": [{**call["arguments"][0], "expression": node}]}


def _changed(node: Tree) -> Iterator[Tree]:
    if node.get("class") != "FUNCTION" or len(node["arguments"]) != 2:
        return
    name = node["function_name"]
    if name in _ENDS:
        yield {**_called(node, "contains"), "is_operator": False}
    elif name == "regexp_full_match":
        yield _called(node, "regexp_matches")
    literal = node["arguments"][1]["expression"].get("literal")
    if literal is None or literal["kind"] != "STRING":
        return
    if name in _LIKE:
        for text in dict.fromkeys(_looser(literal["text"])):
            yield _with_text(node, text)
        if any(letter.isalpha() for letter in literal["text"]):
            yield _called(node, _LIKE[name])
    elif name in _ANCHORS and literal["text"].startswith("^"):
        yield _with_text(node, literal["text"][1:])


def _looser(pattern: str) -> Iterator[str]:
    """Patterns that more texts are like."""
    if not pattern.strip("%"):
        return
    if not pattern.startswith("%"):
        yield f"%{pattern}"
    if not pattern.endswith("%"):
        yield f"{pattern}%"
    beginning, end = pattern.removesuffix("%"), pattern.removeprefix("%")
    if pattern.endswith("%") and len(beginning) > 1 and not set("%_") & set(beginning):
        yield f"{beginning[0]}%"
    if pattern.startswith("%") and len(end) > 1 and not set("%_") & set(end):
        yield f"%{end[-1]}"
    if "_" in pattern:
        yield re.sub("[%_]+", "%", pattern)


def _called(node: Tree, name: str) -> Tree:
    return {**node, "function_name": name, "qualified_name": {**node["qualified_name"], "path": [name]}}


def _with_text(node: Tree, text: str) -> Tree:
    left, right = node["arguments"]
    pattern = right["expression"]
    changed = {**pattern, "literal": {**pattern["literal"], "text": text}}
    return {**node, "arguments": [left, {**right, "expression": changed}]}
