"""Suites → which parts of the policies they have put to the test: branches, roles, attributes, masks.

Takes loaded policies and suites; for every persona and relation that a case is about, asks DuckDB which truth values
the leaves of each condition have on the suite's rows. Owns what counts: a leaf must be seen TRUE, FALSE and, where a
NULL in its columns makes it so, NULL; an item of a list must be what a row's answer rests on; a role, a mask and an
attribute must be seen at work and not at work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rls.catalog import Relation, fold, quote
from rls.errors import PolicyInvalid, RlsError
from rls.lab.coverage.items import items_of, without_item
from rls.lab.suites.judge import CaseError, find_relation
from rls.lab.suites.run import Worlds
from rls.lab.suites.suite import Case, Suite
from rls.lab.truth.branches import Leaf, branches_of, leaves_of, own_text
from rls.lab.world.raw import RawFailed
from rls.lab.world.world import World
from rls.policy.attributes import known_values
from rls.policy.evaluate import evaluate
from rls.policy.expressions import Branch
from rls.policy.policy_set import PolicySet
from rls.policy.rules import BoundPolicy, Place, Policy

__all__ = ["Coverage", "Point", "measure_coverage"]

_WORDS = {True: "TRUE", False: "FALSE", None: "NULL"}


@dataclass(frozen=True, slots=True)
class Point:
    """One thing that suites should have met. `subject` is a policy, column or attribute, `part` what of it, `state`
    what it was to be; `start:end` are the part's characters in the condition at `place`."""

    kind: str
    subject: str
    part: str
    state: str
    covered: bool
    place: Place = field(repr=False)
    start: int = 0
    end: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "subject": self.subject,
            "part": self.part,
            "state": self.state,
            "covered": self.covered,
            "file": self.place.file,
            "line": self.place.line,
        }


@dataclass(frozen=True, slots=True)
class Coverage:
    """All points, in order of files and places. `skipped` are cases that could not be looked at."""

    points: tuple[Point, ...]
    policies: tuple[Policy, ...]
    skipped: tuple[str, ...]

    @property
    def covered(self) -> int:
        return sum(p.covered for p in self.points)

    @property
    def percent(self) -> float:
        """0 to 100; nothing to cover is covered."""
        return 100.0 * self.covered / len(self.points) if self.points else 100.0

    def _repr_html_(self) -> str:
        """The policies' text in colours, in a notebook."""
        from rls.lab.coverage.report import coverage_parts
        from rls.lab.html import fragment

        return fragment(*coverage_parts(self))

    @property
    def open(self) -> tuple[Point, ...]:
        """What no suite has met."""
        return tuple(p for p in self.points if not p.covered)

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "percent": round(self.percent, 2),
            "covered": self.covered,
            "points": [p.to_dict() for p in self.points],
            "skipped": list(self.skipped),
        }


def measure_coverage(
    policies: PolicySet,
    suites: Sequence[Suite],
    *,
    database: Path | str | None = None,
    on_step: Callable[[str, int, int], None] | None = None,
) -> Coverage:
    """Look at every case of the suites. Raises PolicyInvalid and EngineInvalid as `run_suites` does."""
    seen = _Seen()
    with Worlds(policies, database) as worlds:
        for number, suite in enumerate(suites):
            if on_step is not None:
                on_step(suite.name, number, len(suites))
            world, cases, problem = worlds.prepare(suite)
            if world is None:
                seen.skipped.append(f"{suite.file.name}: {problem.message if problem else ''}")
                continue
            for persona, relation in _pairs(world, cases, seen):
                _look(world, persona, relation, seen)
    points = tuple(_points(policies, seen))
    named = tuple(p for rules in policies.rules for p in rules.policies)
    return Coverage(points, named, tuple(dict.fromkeys(seen.skipped)))


@dataclass
class _Seen:
    """What was met: truth per branch, roles per policy, states per mask and attribute; what NULLs can do."""

    truth: dict[int, set[bool | None]] = field(default_factory=dict)
    nullable: set[int] = field(default_factory=set)
    roles: set[tuple[int, str | None]] = field(default_factory=set)
    masks: set[tuple[int, str]] = field(default_factory=set)
    attributes: set[tuple[str, str]] = field(default_factory=set)
    skipped: list[str] = field(default_factory=list)
    items: set[tuple[int, int]] = field(default_factory=set)  # branch and number of an item that decided
    texts: dict[tuple[int, tuple[str, ...]], list[str | None]] = field(default_factory=dict)  # of leaves without items

    def left_items(self, leaf: Leaf, bound: BoundPolicy, relation: Relation, world: World) -> Iterator[tuple[int, str]]:
        """The items of a leaf's lists that nothing has rested on yet, with SQL of the leaf without each."""
        if leaf.missing or leaf.settled is not None:
            return
        key = id(leaf.branch), relation.key
        if key not in self.texts:
            asked = (bound.policy.using, relation, world.raw.catalog, world.policies.attributes)
            self.texts[key] = [without_item(item, *asked) for item in items_of(leaf.branch)]
        for number, text in enumerate(self.texts[key]):
            if text is not None and (id(leaf.branch), number) not in self.items:
                yield number, text


def _pairs(world: World, cases: Sequence[Case], seen: _Seen) -> Iterator[tuple[str, Relation]]:
    """Persona and relation of each case, each pair once; a query is about every relation that it reads."""
    done: set[tuple[str, tuple[str, ...]]] = set()
    for case in cases:
        try:
            if case.relation is not None:
                labels = [find_relation(world, case).label]
            else:
                labels = list(world.session(case.persona).explain(case.sql or "").grants)
        except (CaseError, RlsError) as error:
            if case.expect.refused is None:
                seen.skipped.append(f"{case.id}: {error}")
            continue
        for relation in world.tables():
            if relation.label in labels and (case.persona, relation.key) not in done:
                done.add((case.persona, relation.key))
                yield case.persona, relation


def _look(world: World, persona: str, relation: Relation, seen: _Seen) -> None:
    try:
        bound = world.policies.bound(relation, world.raw.catalog)
    except PolicyInvalid as error:
        seen.skipped.append(str(error))
        return
    if bound is None:
        return
    principal = world.personas[persona]
    known = known_values(principal, world.policies.attributes)
    for each in bound.policies:
        used = each.policy.using.attributes
        if not each.policy.applies_to(principal.roles):
            continue
        for role in principal.roles if each.policy.roles is not None else (None,):
            seen.roles.add((id(each.policy), role))
        seen.attributes |= {(name, _class_of(known.get(name))) for name in used}
        try:
            _look_at_policy(world, each, relation, known, seen)
        except RawFailed as error:
            seen.skipped.append(f"{each.policy.name} for {persona}: {error}")
    for column in bound.columns:
        spared = bool(column.rule.exempt & principal.roles)
        seen.masks.add((id(column.rule), "spared" if spared else "applied"))


def _look_at_policy(
    world: World, bound: BoundPolicy, relation: Relation, known: Mapping[str, object], seen: _Seen
) -> None:
    root = bound.policy.using.root
    if evaluate(root, bound.holes, known).kind == "missing":
        # The whole condition is FALSE, whatever its leaves would say.
        seen.truth.setdefault(id(root), set()).add(False)
        return
    leaves = leaves_of(bound, relation, known)
    attributes = world.policies.attributes
    values = {attributes[name].parameter: value for name, value in known.items()}
    items = [(leaf, number, text) for leaf in leaves for number, text in seen.left_items(leaf, bound, relation, world)]
    picked = ", ".join([*(f"({leaf.sql})" for leaf in leaves), *(f"({text})" for _, _, text in items)])
    for row in world.raw.rows(f"SELECT DISTINCT {picked} FROM {world.raw.source(relation)}", values):
        truth = {id(leaf.branch): value for leaf, value in zip(leaves, row[: len(leaves)], strict=True)}
        for (leaf, number, _), without in zip(items, row[len(leaves) :], strict=True):
            if without is not truth[id(leaf.branch)]:
                seen.items.add((id(leaf.branch), number))
        for branch in branches_of(root):
            seen.truth.setdefault(id(branch), set()).add(branch.truth(truth))
    for leaf in leaves:
        if id(leaf.branch) not in seen.nullable and _may_be_null(world, leaf, relation, values):
            seen.nullable.add(id(leaf.branch))


def _may_be_null(world: World, leaf: Leaf, relation: Relation, values: Mapping[str, object]) -> bool:
    """Whether a row of NULLs, where there may be NULLs, makes the leaf NULL: `coalesce(a, 1) = 1` it does not."""
    named = [relation.column(name) for name in leaf.columns]
    columns = [column for column in named if column is not None]
    if leaf.settled is not None or not any(column.nullable for column in columns):
        return False
    nulls = ", ".join(f"CAST(NULL AS {column.type}) AS {quote(column.name)}" for column in columns)
    return bool(
        world.raw.rows(f"SELECT ({leaf.sql}) IS NULL FROM (SELECT {nulls}) AS {quote(relation.name)}", values)[0][0]
    )


def _class_of(value: object) -> str:
    match value:
        case None:
            return "missing"
        case []:
            return "an empty list"
        case _:
            return "given"


def _points(policies: PolicySet, seen: _Seen) -> Iterator[Point]:
    used: dict[str, Place] = {}
    for rules in policies.rules:
        for policy in rules.policies:
            yield from _policy_points(policy, seen)
            for name in sorted(policy.using.attributes):
                used.setdefault(name, policy.place)
        for rule in rules.columns:
            if not rule.denied and rule.mask is None:
                continue
            what = "denied" if rule.denied else "masked"
            for state in ("applied", "spared") if rule.exempt else ("applied",):
                word = what if state == "applied" else "as it is"
                covered = (id(rule), state) in seen.masks
                yield Point("column", rule.column, "", word, covered, rule.place)
    declared = {fold(name): attribute for name, attribute in policies.identity.attributes.items()}
    for name, place in used.items():
        attribute = declared.get(name)
        if attribute is None:
            continue  # user.subject and user.roles are always there
        states = ["given", *(["an empty list"] if attribute.list else []), *([] if attribute.required else ["missing"])]
        for state in states:
            yield Point("attribute", f"user.{attribute.name}", "", state, (name, state) in seen.attributes, place)


def _policy_points(policy: Policy, seen: _Seen) -> Iterator[Point]:
    root = policy.using.root
    for branch in branches_of(root):
        met = seen.truth.get(id(branch), set())
        for value in _wanted(branch, id(branch) in seen.nullable):
            text = own_text(policy.using.text, branch)
            yield Point(
                "branch", policy.name, text, _WORDS[value], value in met, policy.place, branch.start, branch.end
            )
        if branch.kind == "leaf":
            for number, item in enumerate(items_of(branch)):
                covered = (id(branch), number) in seen.items
                yield Point("item", policy.name, item.compared, item.text, covered, policy.place)
    for role in sorted(policy.roles or ()):
        yield Point("role", policy.name, "", f"as {role}", (id(policy), role) in seen.roles, policy.place)


def _wanted(branch: Branch, nullable: bool) -> tuple[bool | None, ...]:
    """The truth values that a branch can have. Between leaves, AND and OR are only looked at as TRUE and FALSE."""
    if branch.tree["class"] == "CONSTANT" and branch.tree["literal"]["kind"] == "BOOLEAN":
        return (branch.tree["literal"]["text"] == "true",)
    if branch.kind == "not":
        return ()  # its truth is that of what it turns around
    return (True, False, None) if branch.kind == "leaf" and nullable else (True, False)
