"""Suites and mutants → which mistakes in the policies the suites would notice, and which they would not.

Takes loaded policies and suites that pass; a mutant is killed when a case no longer passes under it. Owns that only
what the suites assert counts: a difference that nobody looks at is a survivor, told with a test that would look.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rls.catalog import Catalog, Relation, fold
from rls.errors import PolicyInvalid
from rls.lab.mutate.equal import Apart, same_rows
from rls.lab.mutate.mutants import Mutant, make_mutants
from rls.lab.suites.plan import default_key
from rls.lab.suites.run import Worlds, run_case
from rls.lab.suites.suite import Case, Suite
from rls.lab.world.observe import renamed_filter
from rls.lab.world.raw import RawFailed
from rls.lab.world.values import show
from rls.lab.world.world import World
from rls.lab.yaml_flow import yaml_flow
from rls.policy.load import parse_path
from rls.policy.policy_set import PolicySet

__all__ = ["Fate", "Mutation", "SuitesFail", "mutate"]

_SHOWN_KEYS = 8


class SuitesFail(Exception):
    """The suites do not pass under the policies as they are; `cases` are the ids of those that fail."""

    def __init__(self, cases: Sequence[str]) -> None:
        super().__init__(f"{len(cases)} cases fail")
        self.cases = tuple(cases)


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a mutant: `killed` by a case, or `survived`, with the difference it makes on the suites' rows
    (if any) and a test that would notice it."""

    mutant: Mutant
    state: Literal["killed", "survived"]
    killer: str = ""
    difference: str = ""
    skeleton: str = ""

    def to_dict(self) -> dict[str, Any]:
        place = self.mutant.place
        return {
            "subject": self.mutant.subject,
            "change": self.mutant.change,
            "file": place.file,
            "line": place.line,
            "before": list(self.mutant.before),
            "after": list(self.mutant.after),
            "state": self.state,
            "killer": self.killer,
            "difference": self.difference,
            "skeleton": self.skeleton,
        }


@dataclass(frozen=True, slots=True)
class Mutation:
    """All mutants that matter. Those that are no valid policies are left out, and `equal` ones: the solver proved that
    nobody sees anything else under them."""

    fates: tuple[Fate, ...]
    equal: int = 0

    @property
    def survivors(self) -> tuple[Fate, ...]:
        return tuple(f for f in self.fates if f.state == "survived")

    @property
    def score(self) -> float:
        """Killed mutants, 0 to 100; without mutants 100."""
        return 100.0 * (len(self.fates) - len(self.survivors)) / len(self.fates) if self.fates else 100.0

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "score": round(self.score, 2),
            "killed": len(self.fates) - len(self.survivors),
            "survived": len(self.survivors),
            "equal": self.equal,
            "mutants": [f.to_dict() for f in self.fates],
        }


@dataclass
class _Prepared:
    suite: Suite
    world: World
    cases: list[Case]
    reads: dict[str, set[str]] = field(default_factory=dict)  # case id → labels of the relations it is about


def mutate(
    policies: PolicySet,
    suites: Sequence[Suite],
    *,
    database: Path | None = None,
    on_step: Callable[[str, int, int], None] | None = None,
) -> Mutation:
    """Try every mutant. Raises SuitesFail, PolicyInvalid, EngineInvalid.

    on_step   called before each mutant with its subject, mutants done and of all
    """
    with Worlds(policies, database) as worlds:
        prepared = [_prepare(worlds, suite) for suite in suites]
        mutants = list(make_mutants(policies))
        fates: list[Fate] = []
        equal = 0
        for number, mutant in enumerate(mutants):
            if on_step is not None:
                on_step(mutant.subject, number, len(mutants))
            fate = _try(mutant, policies, prepared)
            if isinstance(fate, Fate):
                fates.append(fate)
            elif fate == "equal":
                equal += 1
    return Mutation(tuple(fates), equal)


def _prepare(worlds: Worlds, suite: Suite) -> _Prepared:
    world, cases, problem = worlds.prepare(suite)
    if world is None:
        raise SuitesFail([f"{suite.file.name}: {problem.message if problem else ''}"])
    failed = [case.id for case in cases if run_case(suite, world, case, None).status != "passed"]
    if failed:
        raise SuitesFail(failed)
    made = _Prepared(suite, world, cases)
    for case in cases:
        if case.relation is not None:
            path = parse_path(case.relation)
            found = None if path is None else world.catalog.find(path)
            made.reads[case.id] = set() if found is None else {found.label}
        elif case.expect.refused is None:
            made.reads[case.id] = set(world.session(case.persona).explain(case.sql or "").grants)
        else:
            # What was refused may not be refused any more: it is about every relation.
            made.reads[case.id] = {r.label for r in world.tables()}
    return made


def _try(mutant: Mutant, policies: PolicySet, prepared: Sequence[_Prepared]) -> Fate | Literal["equal"] | None:
    """The mutant's fate; None where it is no valid policy, or about no relation of the suites."""
    affected_any = False
    asked: dict[tuple[str, ...], tuple[Catalog, Relation]] = {}
    for each in prepared:
        catalog = each.world.raw.catalog
        affected = [r for r in each.world.tables() if mutant.rules.covers(r, catalog)]
        if not affected:
            continue
        world = each.world.with_policies(mutant.policies)
        try:
            for relation in affected:
                world.policies.bound(relation, catalog)
        except PolicyInvalid:
            return None
        affected_any = True
        asked.update({r.key: (catalog, r) for r in affected})
        labels = {r.label for r in affected}
        for case in each.cases:
            if each.reads[case.id] & labels and run_case(each.suite, world, case, None).status != "passed":
                return Fate(mutant, "killed", case.id)
    if not affected_any or _makes_no_difference(mutant, prepared):
        return None
    difference, skeleton = _would_kill(mutant, prepared)
    if difference.startswith("no ") and any(p.place is mutant.place for r in policies.rules for p in r.policies):
        verdict = _compare(policies, mutant, list(asked.values()))
        if verdict is True:
            return "equal"
        if isinstance(verdict, Apart):
            difference, skeleton = _told_apart(verdict, mutant)
    return Fate(mutant, "survived", difference=difference, skeleton=skeleton)


def _compare(policies: PolicySet, mutant: Mutant, asked: Sequence[tuple[Catalog, Relation]]) -> bool | Apart:
    """What the solver says, over the catalog of each suite."""
    verdicts = [
        same_rows(policies, mutant.policies, catalog, [r for c, r in asked if c is catalog])
        for catalog in {id(c): c for c, _ in asked}.values()
    ]
    return next((v for v in verdicts if v is not True), True)


def _told_apart(apart: Apart, mutant: Mutant) -> tuple[str, str]:
    """The persona and the rows that are missing in the suites, and the test."""
    who = apart.principal
    persona = {"subject": who.subject, "roles": sorted(who.roles), "attributes": dict(who.attributes)}
    rows = [f"{relation.label} {yaml_flow(row)}" for relation, row in ((apart.relation, apart.row), *apart.others)]
    difference = f"no row of the suites tells them apart: {yaml_flow(persona)} and {', '.join(rows)} would"
    return difference, _test(mutant, "one_more", apart.relation, "keys: []") + "  # the row of that persona, or not"


def _makes_no_difference(mutant: Mutant, prepared: Sequence[_Prepared]) -> bool:
    """A permissive policy for one role more or less, where that role sees every row by another one."""
    policy = next((p for p in mutant.rules.policies if p.place is mutant.place), None)
    if policy is None or policy.kind != "permissive" or mutant.roles is None or not mutant.change.startswith("role "):
        return False
    for each in prepared:
        for relation in each.world.tables():
            if not mutant.rules.covers(relation, each.world.raw.catalog):
                continue
            bound = each.world.policies.bound(relation, each.world.raw.catalog)
            others = [] if bound is None else [b.policy for b in bound.policies if b.policy.name != policy.name]
            opening = (p for p in others if p.kind == "permissive" and p.applies_to(mutant.roles))
            if not any(p.using.text.strip().lower() == "true" for p in opening):
                return False
    return True


def _would_kill(mutant: Mutant, prepared: Sequence[_Prepared]) -> tuple[str, str]:
    """A row and persona of the suites for which the mutant differs, and a test of it; else what it needs."""
    first = None
    for each in prepared:
        world = each.world.with_policies(mutant.policies)
        for relation in each.world.tables():
            if not mutant.rules.covers(relation, each.world.raw.catalog):
                continue
            for persona in each.world.personas:
                roles = each.world.personas[persona].roles
                if first is None and (mutant.roles is None or mutant.roles & roles):
                    first = (persona, relation)
                found = _difference(each.world, world, persona, relation)
                if found is not None:
                    return found, _skeleton(mutant, each.world, persona, relation)
    if first is None:
        return f"no persona has the role {', '.join(sorted(mutant.roles or ()))}", ""
    return "no row of the suites tells them apart: add one that does", _template(mutant, *first)


def _difference(before: World, after: World, persona: str, relation: Relation) -> str | None:
    try:
        old, new = before.grant(persona, relation), after.grant(persona, relation)
    except PolicyInvalid:
        return None  # the suite's own table has not all columns that the policies read
    if old is None or new is None:
        return None if old is new else "the relation is not decided on any more"
    for word, a, b in (("masked", set(old.masks), set(new.masks)), ("absent", set(old.denied), set(new.denied))):
        if a != b:
            return f"{', '.join(sorted(a ^ b))} of {relation.label} {word} or not for {persona}"
    old_sql, bound = renamed_filter(old, "old")
    new_sql, more = renamed_filter(new, "new")
    source = before.raw.source(relation)
    try:
        found = before.raw.rows(
            f"SELECT count(*) FROM {source} WHERE ({old_sql} IS TRUE) IS DISTINCT FROM ({new_sql} IS TRUE)",
            bound | more,
        )[0][0]
    except RawFailed:
        return f"it fails on a row of {relation.label} for {persona}"
    rows = "row" if found == 1 else "rows"
    return f"{found:,} {rows} of {relation.label} differ for {persona}, and no case looks" if found else None


def _skeleton(mutant: Mutant, world: World, persona: str, relation: Relation) -> str:
    """A test with what the policies give as they are."""
    grant = world.grant(persona, relation)
    sql, bound = renamed_filter(grant, "old")
    key = default_key(relation, world.raw.primary_key(relation))
    picked = ", ".join(f'"{name}"' for name in key)
    rows = world.raw.rows(
        f"SELECT {picked} FROM {world.raw.source(relation)} WHERE {sql} ORDER BY ALL LIMIT {_SHOWN_KEYS + 1}", bound
    )
    if len(rows) > _SHOWN_KEYS:
        expect = (
            f"rows: {world.raw.rows(f'SELECT count(*) FROM {world.raw.source(relation)} WHERE {sql}', bound)[0][0]}"
        )
    else:
        keys = ", ".join(show(row[0]) if len(key) == 1 else show(row) for row in rows)
        expect = f"keys: [{keys}]"
    if grant is not None:
        expect += f", masked: [{', '.join(sorted(grant.masks))}], absent: [{', '.join(sorted(grant.denied))}]"
    return _test(mutant, persona, relation, expect)


def _template(mutant: Mutant, persona: str, relation: Relation) -> str:
    return _test(mutant, persona, relation, "keys: []") + "  # a row that only one of the two lets through"


def _test(mutant: Mutant, persona: str, relation: Relation, expect: str) -> str:
    name = f"{mutant.subject}, {mutant.change}".replace("`", "").replace('"', "'")
    label = relation.name if fold(".".join(relation.schema)) == "main" else ".".join((*relation.schema, relation.name))
    return f'- name: "{name}"\n  as: {persona}\n  relation: {label}\n  expect: {{{expect}}}'
