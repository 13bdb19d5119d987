"""Policies, people and rows → who sees which rows, worked out a second time and not by the guards.

The author's own text is run on the rows, with attributes written out as literals; policies are put together here, by
PostgreSQL's rules: permissive ones OR, restrictive ones AND, none is no row, a missing attribute is no. It shares with
the engine the parser, which says where names stand in a text, and nothing of what makes a guard.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from rls.identity.principal import Principal
from rls.lab.seed.board import Board, BoardFailed
from rls.lab.truth.settling import settles
from rls.policy.attributes import Attribute, known_values
from rls.policy.expressions import Branch, Expression
from rls.policy.policy_set import PolicySet
from rls.policy.reader import attribute_name
from rls.policy.rules import Bound

__all__ = ["Sight", "see"]

Truth = bool | None | Literal["missing"]


@dataclass(frozen=True, slots=True)
class Sight:
    """What one principal should see of a relation: numbers of rows, columns by treatment, and what masked columns
    then hold (their distinct values; a mask that cannot be worked out is left out). `problem`: DuckDB fails on it."""

    rows: frozenset[int]
    masked: tuple[str, ...]
    absent: tuple[str, ...]
    values: Mapping[str, tuple[object, ...]]
    problem: str = ""


def see(board: Board, policies: PolicySet, bound: Bound, persona: Principal) -> Sight:
    """The principal's sight of a relation's rows as they are on the board."""
    known = known_values(persona, policies.attributes)
    every = [int(n) for (n,) in board.rows(f"SELECT rowid FROM {board.source(bound.relation)}")]
    permitted = set(every) if bound.public else set()
    refused: set[int] = set()
    for each in bound.policies:
        if each.policy.roles is not None and not each.policy.roles & persona.roles:
            continue
        try:
            passing = _passing(board, policies, each.policy.using, bound, known)
        except BoardFailed as error:
            return Sight(frozenset(), (), (), {}, str(error))
        if each.policy.kind == "permissive":
            permitted |= passing
        else:
            refused |= set(every) - passing
    rows = frozenset(permitted - refused)
    mine = [c for c in bound.columns if not c.rule.exempt & persona.roles]
    absent = tuple(sorted({c.column for c in mine if c.rule.denied}))
    masks = {c.column: c.rule.mask for c in mine if c.rule.mask is not None and c.column not in absent}
    values = {}
    for name, mask in sorted(masks.items()):
        if rows and not mask.attributes - known.keys():
            found = _masked(board, bound, _written(mask, policies, known, 0, len(mask.text)), rows)
            if found is not None:
                values[name] = found
    return Sight(rows, tuple(sorted(masks)), absent, values)


def _passing(
    board: Board, policies: PolicySet, using: Expression, bound: Bound, known: Mapping[str, object]
) -> set[int]:
    """Numbers of the rows for which a condition is TRUE."""
    leaves = list(using.root.leaves())
    told = {id(leaf): _known_leaf(board, leaf, using, policies, known) for leaf in leaves}
    asked = [leaf for leaf in leaves if told[id(leaf)] is _PER_ROW]
    if not leaves[1:] or not any(v == "missing" for v in told.values()):
        if any(v == "missing" for v in told.values()):
            return set()
        text = _written(using, policies, known, 0, len(using.text))
        found = board.rows(f"SELECT rowid FROM {board.source(bound.relation)} WHERE ({text})")
        return {int(n) for (n,) in found}
    texts = [f"({_written(using, policies, known, *_span(leaf, using))})" for leaf in asked]
    passing = set()
    for number, *answers in board.rows(f"SELECT {', '.join(['rowid', *texts])} FROM {board.source(bound.relation)}"):
        truths: dict[int, object] = {**told, **{id(b): v for b, v in zip(asked, answers, strict=True)}}
        if _truth(using.root, truths, told) is True:
            passing.add(int(number))
    return passing


_PER_ROW = object()


def _known_leaf(
    board: Board, leaf: Branch, using: Expression, policies: PolicySet, known: Mapping[str, object]
) -> object:
    """A leaf's truth where who asks settles it: presence tests, and comparisons of attributes with constants."""
    tree = leaf.tree
    if tree["class"] == "OPERATOR" and tree["type"] in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"):
        name = attribute_name(tree["children"][0])
        if name is not None:
            return (name in known) is (tree["type"] == "OPERATOR_IS_NOT_NULL")
    if leaf.attributes - known.keys():
        return "missing"
    types = {name: policies.attributes[name].type for name in leaf.attributes}
    if leaf.attributes and settles(leaf, types, holes=len(using.holes)):
        text = _written(using, policies, known, *_span(leaf, using))
        found = board.constant(f"({text})")
        return found if isinstance(found, bool) else _PER_ROW
    return _PER_ROW


def _truth(branch: Branch, truths: Mapping[int, object], told: Mapping[int, object]) -> object:
    """Three-valued logic, where what is missing makes the whole condition false unless the asker has settled it."""
    if branch.kind == "leaf":
        return truths[id(branch)]
    values = [_truth(child, truths, told) for child in branch.children]
    if branch.kind == "not":
        return {True: False, False: True}.get(values[0], values[0])  # type: ignore[call-overload]
    settling = branch.kind == "or"
    if any(_settled(child, told) is settling for child in branch.children):
        return settling
    if "missing" in values:
        return "missing"
    return settling if settling in values else None if None in values else not settling


def _settled(branch: Branch, told: Mapping[int, object]) -> bool | None:
    """Whether the asker alone makes a branch true or false."""
    if branch.kind == "leaf":
        found = told[id(branch)]
        return found if isinstance(found, bool) else None
    values = [_settled(child, told) for child in branch.children]
    match branch.kind:
        case "not":
            return None if values[0] is None else not values[0]
        case "and":
            return False if False in values else True if all(values) else None
        case _:
            return True if True in values else False if all(v is False for v in values) else None


def _span(leaf: Branch, using: Expression) -> tuple[int, int]:
    """A leaf's text with the parentheses that close beyond its last name."""
    start, end = leaf.start, leaf.end
    while using.text[start:end].count("(") > using.text[start:end].count(")") and end < len(using.text):
        end += 1
    return start, end


def _written(expression: Expression, policies: PolicySet, known: Mapping[str, object], start: int, end: int) -> str:
    """The author's text between two places, each `user.name` as a literal."""
    parts, at = [], start
    for hole in sorted(expression.holes, key=lambda h: h.offset):
        if hole.kind == "attribute" and start <= hole.offset < end:
            attribute = policies.attributes[hole.names[0]]
            literal = _literal(known.get(hole.names[0]), attribute)
            parts += [expression.text[at : hole.offset], literal]
            at = hole.offset + hole.length
    return "".join([*parts, expression.text[at:end]])


def _literal(value: object, attribute: Attribute) -> str:
    if isinstance(value, list):
        return f"CAST([{', '.join(map(_plain, value))}] AS {attribute.type})"
    return f"CAST({_plain(value)} AS {attribute.type})"


def _plain(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).upper()
        case int() | Decimal():
            return str(value)
        case datetime() | date():
            return f"'{value.isoformat(sep=' ') if isinstance(value, datetime) else value.isoformat()}'"
        case _:
            return "'" + str(value).replace("'", "''") + "'"


def _masked(board: Board, bound: Bound, mask: str, rows: frozenset[int]) -> tuple[object, ...] | None:
    """The distinct values that a mask gives for some rows."""
    listed = ", ".join(map(str, sorted(rows)))
    try:
        found = board.rows(
            f"SELECT DISTINCT ({mask}) AS value FROM {board.source(bound.relation)}"
            f" WHERE rowid IN ({listed}) ORDER BY 1"
        )
    except BoardFailed:
        return None
    return tuple(value for (value,) in found)
