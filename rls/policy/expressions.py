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

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import islice
from typing import Final, Literal

from rls.policy.attributes import Attribute
from rls.policy.parser import (
    ExpressionInvalid,
    Tree,
    bare,
    character_offset,
    read_select,
    read_selects,
    unwanted_token,
    write_expressions,
)
from rls.policy.queries import QueryReader
from rls.policy.scopes import Hole

__all__ = ["Branch", "Expression", "read_expression", "read_expressions", "read_tree", "read_trees", "span_of"]

_CONNECTIVES: Final[dict[str, Literal["and", "or", "not"]]] = {
    "CONJUNCTION_AND": "and",
    "CONJUNCTION_OR": "or",
    "OPERATOR_NOT": "not",
}
# Trees are large, so only so many texts are on their way together.
_AT_ONCE = 100


@dataclass(frozen=True, eq=False)
class _Read:
    """DuckDB's tree of a text, as JSON until somebody looks at it: of ten thousand policies, few are at a time."""

    text: str

    @cached_property
    def tree(self) -> Tree:
        return dict(json.loads(self.text))


@dataclass(frozen=True, slots=True)
class Branch:
    """A node of an expression's truth structure.

    `tree` is DuckDB's own (`json_serialize_sql`), `start:end` its characters in the author's text (a leaf's enclosing
    parentheses may be missing). A leaf has `parts`: text and hole numbers in turn.
    """

    kind: Literal["and", "or", "not", "leaf"]
    read: _Read = field(repr=False, compare=False)
    path: tuple[int, ...] = field(repr=False, compare=False)  # of children, from the whole expression to this
    start: int
    end: int
    children: tuple[Branch, ...] = ()
    parts: tuple[str | int, ...] = ()
    attributes: frozenset[str] = frozenset()

    @property
    def tree(self) -> Tree:
        """DuckDB's tree of this branch; not to be changed."""
        tree = self.read.tree
        for index in self.path:
            tree = tree["children"][index]
        return tree

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
    found = read_expressions([text], attributes, branches=branches)[0]
    if isinstance(found, ExpressionInvalid):
        raise found
    return found


def read_expressions(
    texts: Sequence[str], attributes: Mapping[str, Attribute], *, branches: bool
) -> list[Expression | ExpressionInvalid]:
    """Like `read_expression` for many texts, in their order; what it would raise stands in an expression's place."""
    distinct = list(dict.fromkeys(texts))
    found: dict[str, Expression | ExpressionInvalid] = {}
    for start in range(0, len(distinct), _AT_ONCE):
        some = distinct[start : start + _AT_ONCE]
        drafts = [_begin(tree, text, attributes, branches) for tree, text in zip(read_selects(some), some, strict=True)]
        found.update(zip(some, _write(drafts), strict=True))
    return [_own(found[text]) for text in texts]


def read_tree(tree: Tree, text: str, attributes: Mapping[str, Attribute]) -> Expression:
    """An expression from a tree that was made from another one's: the same checks, as one leaf."""
    found = read_trees([(tree, text)], attributes)[0]
    if isinstance(found, ExpressionInvalid):
        raise found
    return found


def read_trees(
    trees: Sequence[tuple[Tree, str]], attributes: Mapping[str, Attribute]
) -> list[Expression | ExpressionInvalid]:
    """Like `read_tree` for many trees with their texts; what it would raise stands in an expression's place."""
    return _write([_draft(tree, text, attributes, branches=False) for tree, text in trees])


@dataclass(frozen=True, slots=True)
class _Draft:
    """A text that has been checked: `leaves` are to be written, each with its first and last hole's number."""

    text: str
    tree: Tree
    prefix: str
    holes: tuple[Hole, ...]
    leaves: tuple[tuple[Tree, int, int], ...]
    branches: bool


def _begin(
    select: Tree | ExpressionInvalid, text: str, attributes: Mapping[str, Attribute], branches: bool
) -> _Draft | ExpressionInvalid:
    if isinstance(select, ExpressionInvalid):
        return select
    try:
        _refuse_unwanted_token(text)
        return _draft(_only_expression(select, text), text, attributes, branches=branches)
    except ExpressionInvalid as error:
        return error


def _refuse_unwanted_token(text: str) -> None:
    if (token := unwanted_token(text)) is None:
        return
    offset, kind = token
    if kind == "comment":
        message, hint = "a comment inside an expression", "comment in YAML: `# …` on a line of its own"
    else:
        message, hint = "`;` inside an expression", "one expression, without `;`"
    raise ExpressionInvalid("policy.one_expression", message, offset=offset, hint=hint)


def _only_expression(select: Tree, text: str) -> Tree:
    """The one expression of `SELECT <text>`, which must have nothing else: no alias, FROM, WHERE, UNION, LIMIT, …"""
    expressions = select.get("select_list") or []
    rest = bare({key: value for key, value in select.items() if key != "select_list"})
    if rest != _plain_select() or len(expressions) != 1 or expressions[0]["alias"]:
        raise ExpressionInvalid(
            "policy.one_expression",
            "one SQL expression is wanted, without alias or clauses",
            length=len(text),
            hint="put a sub-query in parentheses",
        )
    return dict(expressions[0])


@lru_cache(maxsize=1)
def _plain_select() -> Tree:
    """What a SELECT without any clause has beside its expressions."""
    return dict(bare({key: value for key, value in read_select("1").items() if key != "select_list"}))


def _draft(tree: Tree, text: str, attributes: Mapping[str, Attribute], *, branches: bool) -> _Draft:
    reader = QueryReader(text, tree, attributes)
    leaves = []
    for leaf in _leaves(tree, branches=branches):
        first = len(reader.holes)
        leaves.append((reader.read(leaf), first, len(reader.holes)))
    return _Draft(text, tree, reader.prefix, tuple(reader.holes), tuple(leaves), branches)


def _kind(tree: Tree, *, branches: bool) -> Literal["and", "or", "not", "leaf"]:
    return _CONNECTIVES.get(str(tree["type"]), "leaf") if branches else "leaf"


def _leaves(tree: Tree, *, branches: bool) -> Iterator[Tree]:
    if _kind(tree, branches=branches) == "leaf":
        yield tree
        return
    for child in tree["children"]:
        yield from _leaves(child, branches=branches)


def _write(drafts: Sequence[_Draft | ExpressionInvalid]) -> list[Expression | ExpressionInvalid]:
    """Drafts with DuckDB's text of each leaf; all of them are written in one go."""
    leaves = [leaf for draft in drafts if isinstance(draft, _Draft) for leaf, _, _ in draft.leaves]
    texts = iter(write_expressions(leaves))
    return [
        draft if isinstance(draft, ExpressionInvalid) else _finish(draft, list(islice(texts, len(draft.leaves))))
        for draft in drafts
    ]


def _finish(draft: _Draft, texts: list[str | ExpressionInvalid]) -> Expression | ExpressionInvalid:
    leaves: list[tuple[tuple[str | int, ...], frozenset[str]]] = []
    for text, (_, first, last) in zip(texts, draft.leaves, strict=True):
        if isinstance(text, ExpressionInvalid):
            return text
        parts = _parts(text, draft.prefix)
        if sorted(part for part in parts if isinstance(part, int)) != list(range(first, last)):
            return ExpressionInvalid("policy.unstable", "a name is lost in writing this expression")
        leaves.append((parts, frozenset(h.names[0] for h in draft.holes[first:last] if h.kind == "attribute")))
    written, read = iter(leaves), _Read(json.dumps(draft.tree))

    def branch(tree: Tree, path: tuple[int, ...]) -> Branch:
        kind = _kind(tree, branches=draft.branches)
        if kind == "leaf":
            parts, names = next(written)
            return Branch("leaf", read, path, *span_of(tree, draft.text), parts=parts, attributes=names)
        children = tuple(branch(child, (*path, index)) for index, child in enumerate(tree["children"]))
        own = span_of({**tree, "children": []}, draft.text, otherwise=(children[0].start, children[0].end))
        start, end = min(own[0], *(c.start for c in children)), max(own[1], *(c.end for c in children))
        names = frozenset[str]().union(*(child.attributes for child in children))
        return Branch(kind, read, path, start, end, children, attributes=names)

    return Expression(draft.text, branch(draft.tree, ()), draft.holes)


def _own(found: Expression | ExpressionInvalid) -> Expression | ExpressionInvalid:
    """For one more policy with the same text: a branch is told from others by being itself, so no two share one."""
    if isinstance(found, ExpressionInvalid):
        return found

    def copied(branch: Branch) -> Branch:
        return replace(branch, children=tuple(map(copied, branch.children)))

    return replace(found, root=copied(found.root))


def _parts(text: str, prefix: str) -> tuple[str | int, ...]:
    pieces = re.split(rf"\b{prefix}(\d+)_(?!\w)", text)
    mixed = (int(piece) if index % 2 else piece for index, piece in enumerate(pieces))
    return tuple(part for part in mixed if part != "")


def span_of(tree: object, text: str, *, otherwise: tuple[int, int] | None = None) -> tuple[int, int]:
    """Characters that a tree covers: DuckDB gives an operator's own place, so those of its operands are added.

    `otherwise` is for a tree without any place; default: the whole text.
    """
    bounds = list(_locations(tree))
    if not bounds:
        return otherwise or (0, len(text))
    start, end = min(b[0] for b in bounds), max(b[1] for b in bounds)
    return character_offset(text, start), character_offset(text, end)


def _locations(tree: object) -> Iterator[tuple[int, int]]:
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            start = node.get("query_location")
            if isinstance(start, int) and start < 2**63:
                yield start, start + int(node["query_location_length"])
            pending += [value for value in node.values() if value.__class__ is dict or value.__class__ is list]
        elif isinstance(node, list):
            pending += node
