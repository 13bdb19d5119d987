"""A persona and a relation on a board → what each row meets: branches, boundaries, and the ways policies combine.

Takes rules bound to the board; returns `Met`: what the persona meets by asking, and what each row adds. Owns the list
of what a seeded suite is to meet beyond coverage: the rows on both sides of a boundary, those that only a condition
inside a sub-query keeps out, and each policy deciding alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from rls.catalog import Relation
from rls.identity.principal import Principal
from rls.lab.seed.board import Board, BoardFailed
from rls.lab.truth.branches import branches_of, is_positive, leaves_of
from rls.lab.truth.inner import dropped_inside, edged_inside, loosened_inside, moved, near_misses
from rls.lab.truth.near import LISTS, closed_parts, one_sided, opened_parts, shortened_lists
from rls.lab.truth.patterns import changed_patterns, without_case
from rls.policy.attributes import known_values
from rls.policy.bind import bind
from rls.policy.compared import Compared
from rls.policy.evaluate import evaluate
from rls.policy.expressions import Branch, read_tree
from rls.policy.parser import ExpressionInvalid, Tree
from rls.policy.policy_set import PolicySet
from rls.policy.rules import Bound, BoundPolicy, Policy

__all__ = ["Eye", "Met", "Point", "Texts", "look", "told", "untold"]

Point = tuple[object, ...]
Texts = dict[tuple[object, ...], list[str]]
_ORDERED: Final = frozenset(
    ("COMPARE_LESSTHAN", "COMPARE_LESSTHANOREQUALTO", "COMPARE_GREATERTHAN", "COMPARE_GREATERTHANOREQUALTO")
)
MOST_VECTORS: Final = 16
MOST_OTHERS: Final = 8
MOST_INSIDE: Final = 16  # changes inside the sub-queries of a leaf, of each kind


@dataclass
class Met:
    """`asking`: met by the persona whatever the rows; `rows`: by number, what each meets (equal rows share a set)."""

    asking: set[Point] = field(default_factory=set)
    rows: dict[int, frozenset[Point]] = field(default_factory=dict)


@dataclass(frozen=True)
class Eye:
    """What a look needs besides who looks; `among` are the numbers of the rows, None for all.

    `answers` remembers what a policy says for some attributes, since most people share those that it reads. They hold
    while the board stays as it is: `forget` those of policies that read what was changed. `texts` are what is asked of
    a leaf besides; they hold for good.
    """

    board: Board
    policies: PolicySet
    among: frozenset[int] | None = None
    answers: dict[tuple[object, ...], list[tuple[_Answer, list[int]]]] = field(default_factory=dict)
    texts: Texts = field(default_factory=dict)

    def forget(self, policies: Set[int]) -> None:
        """Ask these policies (by `id`) anew."""
        for key in [key for key in self.answers if key[0] in policies]:
            del self.answers[key]


def look(eye: Eye, bound: Bound, persona: Principal) -> Met:
    """What a persona meets in a relation."""
    met = Met()
    known = known_values(persona, eye.policies.attributes)
    who = tuple(sorted(persona.roles))
    signatures: dict[int, list[_Answer]] = {}
    for each in bound.policies:
        policy = each.policy
        if not policy.applies_to(persona.roles):
            # What it would say counts, too: it is what happens when a role is added.
            for answer, numbers in _remembered(eye, each, bound.relation, known):
                for number in numbers:
                    signatures.setdefault(number, []).append(answer)
            continue
        for role in persona.roles & policy.roles if policy.roles is not None else (None,):
            met.asking.add(("role", id(policy), role))
        for name in policy.using.attributes:
            met.asking.add(("attribute", name, _class_of(known.get(name))))
        if evaluate(policy.using.root, each.holes, known).kind == "missing":
            met.asking.add(("branch", id(policy.using.root), False))
            met.asking.add(("missing", id(policy), tuple(sorted(policy.using.attributes - known.keys()))))
        for answer, numbers in _remembered(eye, each, bound.relation, known):
            for number in numbers:
                signatures.setdefault(number, []).append(answer)
    for column in bound.columns:
        met.asking.add(("column", id(column.rule), bool(column.rule.exempt & persona.roles)))
    made: dict[tuple[int, ...], frozenset[Point]] = {}
    for number, answers in signatures.items():
        signature = tuple(map(id, answers))
        if signature not in made:
            made[signature] = _together(answers, bound, who)
        met.rows[number] = made[signature]
    return met


@dataclass(frozen=True, eq=False)
class _Answer:
    """What one policy says of some rows alike; `turned` are points that count where its turning around would show."""

    policy: Policy
    truth: bool | None
    points: frozenset[Point]
    turned: frozenset[Point]


def _together(answers: list[_Answer], bound: Bound, who: tuple[str, ...]) -> frozenset[Point]:
    """The points of rows for which policies say the same."""
    key, roles = bound.relation.key, frozenset(who)
    mine = [a for a in answers if a.policy.applies_to(roles)]
    opening = [a.policy for a in mine if a.policy.kind == "permissive" and a.truth]
    closing = [a.policy for a in mine if a.policy.kind == "restrictive" and not a.truth]
    visible = (bound.public or bool(opening)) and not closing
    points: set[Point] = {
        ("visible", key, who, visible),
        ("combined", key, who, tuple((a.policy.name, a.truth) for a in mine)),
    }
    for answer in mine:
        # Whether the row would be seen, or hidden, if this policy said the contrary.
        if answer.policy.kind == "permissive":
            shows = not closing and not bound.public and all(p is answer.policy for p in opening)
        else:
            shows = (bound.public or bool(opening)) and all(p is answer.policy for p in closing)
        if shows:
            points |= answer.turned
    for answer in answers if len(who) < 2 else ():
        policy = answer.policy
        # The row that tells whether this policy is there for this role: all others leave it open.
        if policy.kind == "permissive":
            matters = answer.truth is not False and not closing and not bound.public
            matters = matters and all(p is policy for p in opening)
        else:
            matters = answer.truth is not True and (bound.public or bool(opening))
            matters = matters and all(p is policy for p in closing)
        if matters:
            points.add(("alone", id(policy), who, answer.truth))
    return frozenset().union(points, *(a.points for a in mine))


def _remembered(
    eye: Eye, each: BoundPolicy, relation: Relation, known: Mapping[str, object]
) -> list[tuple[_Answer, list[int]]]:
    """The answers of a policy, asked once for all who have the same attributes as far as it reads them."""
    read = sorted(each.policy.using.attributes & known.keys())
    key = (id(each.policy), relation.key, *((name, repr(known[name])) for name in read))
    if key not in eye.answers:
        eye.answers[key] = list(_answers(eye, each, relation, known))
    return eye.answers[key]


def _answers(
    eye: Eye, each: BoundPolicy, relation: Relation, known: Mapping[str, object]
) -> Iterator[tuple[_Answer, list[int]]]:
    """Each combination of truths that a policy's leaves have, with the rows that have it."""
    root = each.policy.using.root
    leaves = leaves_of(each, relation, known)
    there = [leaf.branch for leaf in leaves if not leaf.missing]
    edges = [(leaf, text) for leaf in there for text in _texts(_edges, leaf, each, relation, eye)]
    others = [(leaf, text) for leaf in there for text in _texts(_others, leaf, each, relation, eye)]
    values = {eye.policies.attributes[name].parameter: value for name, value in known.items()}
    picked = ", ".join([*(f"({leaf.sql})" for leaf in leaves), *(f"({text})" for _, text in (*edges, *others))])
    where = "" if eye.among is None else f" WHERE rowid IN ({', '.join(map(str, sorted(eye.among))) or -1})"
    asked = f", list(rowid) FROM {eye.board.source(relation)}{where} GROUP BY ALL"
    try:
        rows = eye.board.rows(f"SELECT {picked}{asked}", values)
    except BoardFailed:
        # A change that DuckDB cannot run, such as a text in a number's place, is none.
        for leaf in there:
            key = (_others, id(leaf), relation.key)
            kept = [text for text in eye.texts.get(key, ()) if _runs(f"SELECT ({text}){asked}", values, eye)]
            if len(kept) < len(eye.texts.get(key, ())):
                eye.texts[key] = kept
                yield from _answers(eye, each, relation, known)
                return
        return
    for number, (*answers, numbers) in enumerate(rows):
        vector = tuple(answers[: len(leaves)])
        truth = {id(leaf.branch): value for leaf, value in zip(leaves, vector, strict=True)}
        points: set[Point] = {("branch", id(b), b.truth(truth)) for b in branches_of(root)}
        turned: set[Point] = set()
        if number < MOST_VECTORS:
            points.add(("leaves", id(root), vector))
        rest = answers[len(leaves) :]
        for (leaf, text), equal in zip(edges, rest[: len(edges)], strict=True):
            points.add(("edge", id(leaf), text, equal, truth[id(leaf)]))
        for (leaf, text), told in zip(others, rest[len(edges) :], strict=True):
            if (root.truth({**truth, id(leaf): told}) is True) is not (root.truth(truth) is True):
                turned.add(("other", id(leaf), text))
        # Of no rows, DuckDB makes no list.
        yield _Answer(each.policy, root.truth(truth), frozenset(points), frozenset(turned)), numbers or []


def _runs(sql: str, values: Mapping[str, object], eye: Eye) -> bool:
    try:
        eye.board.rows(sql, values)
    except BoardFailed:
        return False
    return True


def _texts(
    made: Callable[[Branch, BoundPolicy, Relation], Iterator[Tree]],
    leaf: Branch,
    each: BoundPolicy,
    relation: Relation,
    eye: Eye,
) -> list[str]:
    """The trees that are made of a leaf, as SQL."""
    key = (made, id(leaf), relation.key)
    if key not in eye.texts:
        eye.texts[key] = list(_written(made(leaf, each, relation), each, relation, eye))
    return eye.texts[key]


def _written(trees: Iterable[Tree], each: BoundPolicy, relation: Relation, eye: Eye) -> Iterator[str]:
    attributes = eye.policies.attributes
    for tree in trees:
        try:
            read = read_tree(tree, each.policy.using.text, attributes)
            yield read.root.text(bind(read, relation, eye.board.catalog, attributes))
        except ExpressionInvalid:
            continue


def told(texts: Texts, points: Set[Point], *, yes: bool) -> Texts:
    """Of the changes of leaves that eyes ask for, those that points tell of, or (`yes` is False) the others."""
    return {
        key: [text for text in listed if key[0] is not _others or (("other", key[1], text) in points) is yes]
        for key, listed in texts.items()
    }


def untold(eye: Eye, bound: Bound, met: Collection[Point]) -> Iterator[tuple[Policy, Branch, Tree]]:
    """The slips inside sub-queries that nothing met tells of: policy, leaf, and the leaf as it is where rows are there
    that only the slip lets through."""
    for each in bound.policies:
        for leaf in each.policy.using.root.leaves():
            asked = eye.texts.get((_others, id(leaf), bound.relation.key), ())
            for made, near in near_misses(leaf.tree) if asked else ():
                text = next(_written([made], each, bound.relation, eye), None)
                if text in asked and ("other", id(leaf), text) not in met:
                    yield each.policy, leaf, near


def _edges(leaf: Branch, _each: BoundPolicy, _relation: Relation) -> Iterator[Tree]:
    """Whether both sides of `<`, `<=`, `>` or `>=` are equal, and which item of a list it is."""
    tree = leaf.tree
    if tree["class"] == "COMPARISON" and tree["type"] in _ORDERED:
        yield {**tree, "type": "COMPARE_EQUAL"}
    elif tree["type"] == "COMPARE_IN" and len(tree["children"]) > 2:
        first, *items = tree["children"]
        yield from ({**tree, "children": [first, item]} for item in items)


def _others(leaf: Branch, each: BoundPolicy, relation: Relation) -> Iterator[Tree]:
    """A leaf without one of the conditions inside its sub-queries, or with NULL accepted by it, without one item of its
    list or one bound of BETWEEN, with a looser pattern, or with the number next to the one that something is compared
    with: rows tell whether it is there."""
    tree = leaf.tree
    yield from islice(dropped_inside(tree), MOST_INSIDE)
    yield from islice(moved(tree), MOST_OTHERS)
    yield from islice(loosened_inside(tree), MOST_INSIDE)
    yield from islice(edged_inside(tree), MOST_OTHERS)
    if tree["class"] == "BETWEEN":
        yield from (made for made, _ in one_sided(tree))
    if _may_be_null(tree, each, relation):
        opens = is_positive(each.policy.using.root, leaf)
        yield from (made for made, _ in opened_parts(tree)) if opens else closed_parts(tree)
    yield from islice(changed_patterns(tree), MOST_OTHERS)
    yield from islice(without_case(tree), MOST_OTHERS)
    if tree["type"] in LISTS:
        yield from (made for made, _ in islice(shortened_lists(tree), MOST_OTHERS))


def _may_be_null(tree: Tree, each: BoundPolicy, relation: Relation) -> bool:
    columns = (relation.column(name) for name in Compared(each, relation).own_columns(tree))
    return any(column is not None and column.nullable for column in columns)


def _class_of(value: object) -> str:
    match value:
        case None:
            return "missing"
        case []:
            return "an empty list"
        case _:
            return "given"
