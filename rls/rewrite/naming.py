"""Unnamed select items that contain a replacement → the name DuckDB would have given them.

`SELECT (SELECT max(id) FROM orders)` is called `(SELECT max(id) FROM orders)` by DuckDB; after a splice it would be
called after the guard, which changes the caller's column name and shows the policy. Takes the parsed text and its
replacements; returns insertions of ` AS "name"`. Owns the part of (faithful) about names.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlglot import exp
from sqlglot.tokens import Token, TokenType

from rls.catalog import quote
from rls.errors import QueryRefused
from rls.rewrite.engine_ast import EngineParseError, describe_expression
from rls.rewrite.guarded import Splice
from rls.rewrite.nesting import CLOSING, OPENING
from rls.rewrite.parse import Parsed
from rls.rewrite.resolution import Place
from rls.rewrite.wrap import clause_end

__all__ = ["Replaced", "name_items"]

# What ends a select list at its own depth.
_END = {
    TokenType.FROM,
    TokenType.WHERE,
    TokenType.GROUP_BY,
    TokenType.HAVING,
    TokenType.WINDOW,
    TokenType.QUALIFY,
    TokenType.ORDER_BY,
    TokenType.LIMIT,
    TokenType.OFFSET,
    TokenType.UNION,
    TokenType.EXCEPT,
    TokenType.INTERSECT,
    TokenType.USING,
    TokenType.FETCH,
    TokenType.SEMICOLON,
}


MAX_DESCRIBED: Final = 300_000  # characters of WINDOW clauses that DuckDB reads to name the items that use them


@dataclass(slots=True)
class Replaced:
    """A replacement at `start`: its node, where it stands and, where the node is a bare item itself, the name it must
    keep (None: its own name stays)."""

    start: int
    node: exp.Expr
    place: Place | None
    name: str | None = None
    windows: str = ""  # the WINDOW clause that an item's name is made of


@dataclass(slots=True)
class _Item:
    start: int
    end: int
    outer: _Item | None = None


def name_items(parsed: Parsed, replaced: Iterable[Replaced]) -> list[Splice]:
    """Insertions that keep the names of unnamed select items.

    Raises `QueryRefused` (`query.unnamed_item`) where the name cannot be kept.
    """
    insertions: dict[int, Splice] = {}
    items: list[_Item] | None = None
    pending = [one for one in replaced if one.place is not None]
    pending += _window_users(parsed, pending)
    for one in pending:
        owners = [place.item for place in Place.around(one.place) if place.item is not None]
        if not any(_needs_name(owner, one) for owner in owners):
            continue
        if items is None:
            items = _scan_items(parsed.tokens)
        around = _items_around(items, one.start)
        if len(around) != len(owners):
            raise _refuse(parsed, one.start)
        for item, owner in zip(around, owners, strict=True):
            if item.end in insertions or not _needs_name(owner, one):
                continue
            if owner is one.node:
                name = one.name or ""
            else:
                if owner.find(exp.Star, exp.Columns) is not None and _spreads(owner):
                    raise _refuse(parsed, one.start)
                name = _default_name(parsed, item, owner, one.windows)
            insertions[item.end] = Splice(item.end, item.end, f" AS {quote(name)}")
    return list(insertions.values())


def _needs_name(owner: exp.Expr, one: Replaced) -> bool:
    star = isinstance(owner, exp.Star) or (isinstance(owner, exp.Column) and isinstance(owner.this, exp.Star))
    if star or isinstance(owner, exp.Alias | exp.Aliases | exp.PropertyEQ):
        return False  # `* REPLACE ((SELECT …) AS name)` names its own; `(SELECT * FROM …)` is one value
    return owner is not one.node or one.name is not None


def _window_users(parsed: Parsed, replaced: Iterable[Replaced]) -> list[Replaced]:
    """Names of windows in select items, where a replacement is in the WINDOW clause that defines them: an unnamed
    `sum(x) OVER w` is called after the whole of `w`."""
    users: dict[int, list[Replaced]] = {}
    for one in replaced:
        for place in Place.around(one.place):
            if not place.in_window or id(place.select) in users:
                continue
            clause = _window_clause(parsed, one.start)
            users[id(place.select)] = found = [
                Replaced(name.meta["start"], name, Place(place.select, place.outer, item), None, clause)
                for item in place.select.expressions
                for window in item.find_all(exp.Window)
                if isinstance(name := window.args.get("alias"), exp.Identifier) and "start" in name.meta
            ]
            if len(found) * len(clause) > MAX_DESCRIBED:
                raise _refuse(parsed, one.start)
    return [user for found in users.values() for user in found]


def _window_clause(parsed: Parsed, offset: int) -> str:
    tokens = parsed.tokens
    index = next(i for i in range(len(tokens) - 1, -1, -1) if tokens[i].start <= offset)
    depth = 0
    while index >= 0 and not (tokens[index].token_type == TokenType.WINDOW and depth < 0):
        depth += (tokens[index].token_type in CLOSING) - (tokens[index].token_type in OPENING)
        index -= 1
    end = clause_end(tokens, index, _END - {TokenType.WINDOW})
    if index < 0:
        raise _refuse(parsed, offset)
    return parsed.text[tokens[index].start : tokens[end - 1].end + 1]


def _spreads(item: exp.Expr) -> bool:
    """Whether an item stands for several columns: `COLUMNS(*) + (SELECT …)`; a star inside a sub-query does not."""
    stack = [item]
    while stack:
        node = stack.pop()
        if isinstance(node, exp.Columns | exp.Star) and not isinstance(node.parent, exp.Count):
            return True
        for value in node.args.values():
            children = value if isinstance(value, list) else [value]
            stack += [c for c in children if isinstance(c, exp.Expr) and not isinstance(c, exp.Query)]
    return False


def _default_name(parsed: Parsed, item: _Item, owner: exp.Expr, windows: str) -> str:
    if isinstance(owner, exp.Column) and isinstance(owner.this, exp.Identifier):
        return str(owner.this.name)
    base = owner
    while isinstance(base, exp.Dot):
        base = base.this
    if isinstance(base, exp.Column) and isinstance(owner, exp.Dot):
        return str(owner.expression.name)  # `main.orders.place.city` is called after the field
    try:
        return describe_expression(parsed.text[item.start : item.end], windows=windows)
    except EngineParseError:
        raise _refuse(parsed, item.start) from None


def _refuse(parsed: Parsed, offset: int) -> QueryRefused:
    return QueryRefused(
        "query.unnamed_item",
        "a select item needs a name here",
        position=parsed.position(offset),
        hint="add AS name to the item",
    )


def _items_around(items: list[_Item], offset: int) -> list[_Item]:
    """The items that hold a place, innermost first; `items` are sorted."""
    index = bisect_right(items, offset, key=lambda one: one.start) - 1
    item = items[index] if index >= 0 else None
    around = []
    while item is not None:
        if offset < item.end:
            around.append(item)
        item = item.outer
    return around


def _scan_items(tokens: list[Token]) -> list[_Item]:
    """Every item of every select list, from the tokens alone, sorted by where it starts, the longer one first."""
    items: list[_Item] = []
    open_lists: list[tuple[int, int]] = []  # depth of a select list, index of its current item's first token
    depth = 0

    def close(last: int) -> None:
        _, first = open_lists[-1]
        if last >= first:
            items.append(_Item(tokens[first].start, tokens[last].end + 1))

    i = 0
    while i < len(tokens):
        token = tokens[i]
        kind = token.token_type
        inside = open_lists and open_lists[-1][0] == depth
        if kind in OPENING:
            depth += 1
        elif kind in CLOSING:
            if inside:
                close(i - 1)
                open_lists.pop()
            depth -= 1
        elif kind == TokenType.SELECT:
            if inside:
                close(i - 1)
                open_lists.pop()
            i = _skip_distinct(tokens, i + 1)
            open_lists.append((depth, i))
            continue
        elif inside:
            if kind == TokenType.COMMA:
                close(i - 1)
                open_lists[-1] = (depth, i + 1)
            elif kind in _END and _ends_list(tokens, i):
                close(i - 1)
                open_lists.pop()
        i += 1
    while open_lists:
        close(len(tokens) - 1)
        open_lists.pop()
    items.sort(key=lambda one: (one.start, -one.end))
    outer: _Item | None = None
    for item in items:
        while outer is not None and outer.end <= item.start:
            outer = outer.outer
        item.outer, outer = outer, item
    return items


def _skip_distinct(tokens: list[Token], i: int) -> int:
    if i < len(tokens) and tokens[i].token_type in (TokenType.DISTINCT, TokenType.ALL):
        i += 1
        if i < len(tokens) and tokens[i].token_type == TokenType.ON:
            depth = 0
            i += 1
            while i < len(tokens):
                depth += (tokens[i].token_type in OPENING) - (tokens[i].token_type in CLOSING)
                i += 1
                if depth == 0:
                    break
    return i


def _ends_list(tokens: list[Token], i: int) -> bool:
    """`FROM` in IS DISTINCT FROM, `USING` outside USING SAMPLE and words used as an alias do not end a list."""
    kind = tokens[i].token_type
    before = tokens[i - 1].token_type
    if before == TokenType.ALIAS:
        return False
    if kind == TokenType.FROM and before == TokenType.DISTINCT:
        return tokens[i - 2].token_type not in (TokenType.IS, TokenType.NOT)
    if kind == TokenType.USING:
        return i + 1 < len(tokens) and tokens[i + 1].text.upper() == "SAMPLE"
    return True
