"""A policy's SQL text → `Expression`: its truth branches, each as DuckDB's own text with holes for names.

Takes the text of a `using` or mask and the declared attributes; returns a frozen value that `bind` and `evaluate` work
on without parsing again. It owns the rule that the text of a guard is DuckDB's rendering of what DuckDB's parser read,
checked by reading it again: the author's text is never spliced into SQL, so nothing in it can close a parenthesis,
hide behind a comment or be read in two ways.

AND, OR and NOT at the top of an expression are branches; everything below them is a leaf. Branches are what partial
evaluation folds away and what truth tables, coverage and mutation count, so each keeps its tree and its place in the
author's text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from rls.policy.attributes import Attribute
from rls.policy.parser import (
    ExpressionInvalid,
    Tree,
    bare,
    character_offset,
    read_select,
    unwanted_token,
    write_expression,
)
from rls.policy.queries import QueryReader
from rls.policy.reader import Reader
from rls.policy.scopes import Hole

__all__ = ["Branch", "Expression", "read_expression", "read_tree", "span_of"]

_CONNECTIVES = {"CONJUNCTION_AND": "and", "CONJUNCTION_OR": "or", "OPERATOR_NOT": "not"}


@dataclass(frozen=True, slots=True)
class Branch:
    """A node of an expression's truth structure.

    `tree` is DuckDB's own (`json_serialize_sql`), `start:end` its characters in the author's text (a leaf's enclosing
    parentheses may be missing). A leaf has `parts`: text and hole numbers in turn.
    """

    kind: Literal["and", "or", "not", "leaf"]
    tree: Tree = field(repr=False, compare=False)
    start: int
    end: int
    children: tuple[Branch, ...] = ()
    parts: tuple[str | int, ...] = ()
    attributes: frozenset[str] = frozenset()

    def leaves(self) -> Iterator[Branch]:
        """This branch's leaves, from left to right."""
        if self.kind == "leaf":
            yield self
        for child in self.children:
            yield from child.leaves()

    def truth(self, leaves: Mapping[int, bool | None]) -> bool | None:
        """SQL's three-valued logic over the truth of the leaves, by `id` of their branches."""
        if self.kind == "leaf":
            return leaves[id(self)]
        values = [child.truth(leaves) for child in self.children]
        match self.kind:
            case "not":
                return None if values[0] is None else not values[0]
            case "and":
                return False if False in values else None if None in values else True
            case _:
                return True if True in values else None if None in values else False

    def text(self, holes: tuple[str, ...]) -> str:
        """A leaf as SQL, its holes filled."""
        return "".join(part if isinstance(part, str) else holes[part] for part in self.parts)


@dataclass(frozen=True)
class Expression:
    """An SQL expression of a policy. `text` is the author's; `root` its branches; `holes` the names in it."""

    text: str
    root: Branch = field(repr=False)
    holes: tuple[Hole, ...] = field(repr=False)

    @cached_property
    def attributes(self) -> frozenset[str]:
        """Folded names of the attributes it reads."""
        return frozenset(h.names[0] for h in self.holes if h.kind == "attribute")

    @cached_property
    def relations(self) -> tuple[tuple[str, ...], ...]:
        """Paths of the mapping tables it reads, as written."""
        return tuple(dict.fromkeys(h.names for h in self.holes if h.kind == "relation"))


def read_expression(text: str, attributes: Mapping[str, Attribute], *, branches: bool) -> Expression:
    """Parse and check one SQL expression; `branches` for a condition, whose AND, OR and NOT are taken apart.

    Raises ExpressionInvalid with a code and a place in the text.

    >>> tenant = Attribute("tenant", "string")
    >>> found = read_expression("tenant_id = user.tenant or not active", {"tenant": tenant}, branches=True)
    >>> found.root.kind, [b.kind for b in found.root.children], sorted(found.attributes)
    ('or', ['leaf', 'not'], ['tenant'])
    """
    select = read_select(text)
    if (token := unwanted_token(text)) is not None:
        offset, kind = token
        if kind == "comment":
            message, hint = "a comment inside an expression", "comment in YAML: `# …` on a line of its own"
        else:
            message, hint = "`;` inside an expression", "one expression, without `;`"
        raise ExpressionInvalid("policy.one_expression", message, offset=offset, hint=hint)
    tree = _only_expression(select, text)
    reader = QueryReader(text, tree, attributes)
    root = _branch(tree, reader, branches=branches)
    return Expression(text, root, tuple(reader.holes))


def read_tree(tree: Tree, text: str, attributes: Mapping[str, Attribute]) -> Expression:
    """An expression from a tree that was made from another one's: the same checks, as one leaf."""
    reader = QueryReader(text, tree, attributes)
    root = _branch(tree, reader, branches=False)
    return Expression(text, root, tuple(reader.holes))


def _only_expression(select: Tree, text: str) -> Tree:
    """The one expression of `SELECT <text>`, which must have nothing else: no alias, FROM, WHERE, UNION, LIMIT, …"""
    plain = bare(read_select("1"))
    rest = {**bare(select), "select_list": plain["select_list"]} if select.get("select_list") else bare(select)
    expressions = select.get("select_list") or []
    if rest != plain or len(expressions) != 1 or expressions[0]["alias"]:
        raise ExpressionInvalid(
            "policy.one_expression",
            "one SQL expression is wanted, without alias or clauses",
            length=len(text),
            hint="put a sub-query in parentheses",
        )
    return dict(expressions[0])


def _branch(tree: Tree, reader: Reader, *, branches: bool) -> Branch:
    start, end = span_of(tree, reader.text)
    kind = _CONNECTIVES.get(str(tree["type"])) if branches else None
    if kind is None:
        first = len(reader.holes)
        parts = _parts(write_expression(reader.read(tree)), reader.prefix)
        if sorted(part for part in parts if isinstance(part, int)) != list(range(first, len(reader.holes))):
            raise ExpressionInvalid("policy.unstable", "a name is lost in writing this expression", offset=start)
        names = frozenset(h.names[0] for h in reader.holes[first:] if h.kind == "attribute")
        return Branch("leaf", tree, start, end, parts=parts, attributes=names)
    children = tuple(_branch(child, reader, branches=True) for child in tree["children"])
    names = frozenset[str]().union(*(c.attributes for c in children))
    match kind:
        case "and":
            return Branch("and", tree, start, end, children, attributes=names)
        case "or":
            return Branch("or", tree, start, end, children, attributes=names)
        case _:
            return Branch("not", tree, start, end, children, attributes=names)


def _parts(text: str, prefix: str) -> tuple[str | int, ...]:
    pieces = re.split(rf"\b{prefix}(\d+)_(?!\w)", text)
    mixed = (int(piece) if index % 2 else piece for index, piece in enumerate(pieces))
    return tuple(part for part in mixed if part != "")


def span_of(tree: object, text: str) -> tuple[int, int]:
    """Characters that a tree covers: DuckDB gives an operator's own place, so those of its operands are added."""
    bounds = list(_locations(tree))
    if not bounds:
        return 0, len(text)
    start, end = min(b[0] for b in bounds), max(b[1] for b in bounds)
    return character_offset(text, start), character_offset(text, end)


def _locations(tree: object) -> Iterator[tuple[int, int]]:
    if isinstance(tree, dict):
        start = tree.get("query_location")
        if isinstance(start, int) and start < 2**63:
            yield start, start + int(tree["query_location_length"])
        for value in tree.values():
            yield from _locations(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _locations(value)
