"""A claim → `unsat` (proved), or a model of principals and rows that would refute it, made as plain as it can be.

Takes a claim and DuckDB's opinion on types; returns an `Answer`. Owns that proved means no assignment whatever: wishes
(short texts, few NULLs, round numbers) only choose among models and never exclude one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from itertools import combinations
from typing import Any, Final, Literal

import z3

from rls.catalog import Catalog, Relation, fold
from rls.lab.prove.claims import Claim
from rls.lab.prove.encode import Scene
from rls.lab.prove.functions import like_matches
from rls.lab.prove.models import Found, constants_in, is_used, read_model
from rls.lab.prove.symbols import Asker, Row, any_asker, any_row, visible
from rls.lab.prove.terms import DAY, TRUE, Term, literal_texts, order_of_texts, text_value
from rls.lab.prove.types import TypeOracle

__all__ = ["Answer", "refutation", "solve"]

Key = tuple[str, ...]
_EPOCH: Final = date(1970, 1, 1)
_WISHING: Final = 3.0  # seconds


@dataclass(frozen=True)
class Answer:
    """`proved`, `found` (see there), or `unknown` to the solver. `open_parts` is SQL that was left open; `vacuous`: it
    holds since these principals see no row at all. `by_keys`: it was taken for granted that these tables' keys hold."""

    status: Literal["proved", "found", "unknown"]
    found: Found | None = None
    open_parts: tuple[str, ...] = ()
    vacuous: bool = False
    by_keys: tuple[str, ...] = ()


def solve(
    claim: Claim,
    catalog: Catalog,
    oracle: TypeOracle,
    *,
    seconds: float,
    keys: Mapping[tuple[str, ...], Key] | None = None,
    guessing: bool = False,
) -> Answer:
    """Whether anything refutes a claim. `keys` are primary keys by the table's key, which hold in every database that
    is thought of. `guessing`: of hierarchies, only a start and a step are thought of, so that nothing is ever proved.
    Raises PolicyInvalid where a policy does not fit the relation."""
    scene = Scene(oracle.catalog, oracle, guessing=guessing)
    askers, rows, refuted = refutation(claim, catalog, scene)
    keyed = _facts_of_keys(rows, scene, keys or {})
    scene.rules += [fact for _, fact in keyed]
    by_keys = tuple(dict.fromkeys(label for label, _ in keyed))
    solver = z3.Solver()
    solver.set("timeout", int(seconds * 1000))
    solver.add(*scene.known, *scene.rules, *_facts_of_texts([refuted, *scene.known, *scene.rules], scene))
    open_parts = tuple(scene.open_parts)
    solver.push()
    solver.add(refuted)
    match solver.check():
        case z3.unsat if guessing:
            return Answer("unknown", open_parts=open_parts)
        case z3.unsat:
            solver.pop()
            vacuous = _is_vacuous(claim, catalog, scene, solver)
            return Answer("proved", open_parts=open_parts, vacuous=vacuous, by_keys=by_keys)
        case z3.sat:
            used = constants_in([refuted, *scene.rules])
            model = _wished(solver, _wishes(askers, _used_terms(askers, rows, scene, used), literal_texts(used)))
            found = read_model(model, list(solver.assertions()), askers, rows, scene, used=used)
            return Answer("found" if found else "unknown", found, open_parts)
        case _:
            return Answer("unknown", open_parts=open_parts)


def refutation(claim: Claim, catalog: Catalog, scene: Scene) -> tuple[dict[str, Asker], dict[str, Row], Any]:
    """The claim's principals and rows, and when they refute it."""
    some = next(iter(claim.sets.values()))
    askers = {name: any_asker(name, some.identity, some.attributes, scene) for name in claim.askers}
    rows = {name: any_row(name, claim.relation, scene) for name in claim.rows}
    parts = []
    for sight in claim.sights:
        bound = claim.sets[sight.policies].bound(claim.relation, catalog)
        sees = visible(bound, askers[sight.asker], rows[sight.row], scene)
        parts.append(sees if sight.wanted else z3.Not(sees))
    for asker in askers.values():
        if claim.limits.only:
            parts.append(z3.Or(*(asker.roles[role] for role in claim.limits.only)))
        parts += [z3.Not(asker.roles[role]) for role in claim.limits.unless]
    if claim.lacking is not None:
        parts += [z3.Not(asker.present[claim.lacking]) for asker in askers.values()]
    if claim.apart is not None:
        parts.append(_apart(claim.apart, list(askers.values()), list(rows.values())))
    return askers, rows, z3.And(*parts)


def _facts_of_keys(rows: Mapping[str, Row], scene: Scene, keys: Mapping[tuple[str, ...], Key]) -> list[tuple[str, Any]]:
    """Rows of a table with one primary key are one row, by the table's label: the rows that a claim is about, and those
    that sub-queries need."""
    there: dict[tuple[str, ...], list[tuple[Any, Relation, Mapping[str, Term]]]] = {}
    own = [(TRUE, row.relation, {fold(n): term for n, term in row.columns.items()}) for row in rows.values()]
    for needed, relation, columns in (*own, *scene.witnesses):
        if relation.key in keys:
            there.setdefault(relation.key, []).append((needed, relation, columns))
    facts = []
    for key, listed in there.items():
        named = [fold(name) for name in keys[key]]
        for (one, relation, left), (other, _, right) in combinations(listed, 2):
            same_key = [left[name].value == right[name].value for name in named]
            same = [
                z3.And(left[n].null == right[n].null, z3.Or(left[n].null, left[n].value == right[n].value))
                for n in left
            ]
            facts.append((relation.label, z3.Implies(z3.And(one, other, *same_key), z3.And(*same))))
    return facts


def _facts_of_texts(formulas: Iterable[Any], scene: Scene) -> list[Any]:
    """How the literal texts in formulas lie to each other, and which patterns they are like."""
    names = constants_in(formulas)
    likes = [
        likes(text_value(text)) == like_matches(text, pattern)
        for pattern, likes in scene.patterns.items()
        for text in literal_texts(names)
    ]
    return [*order_of_texts(names), *likes]


def _apart(apart: tuple[str, str], askers: list[Asker], rows: list[Row]) -> Any:
    kind, name = apart
    if kind == "column":
        left, right = (row.columns[name] for row in rows)
        same = z3.And(left.null == right.null, z3.Or(left.null, left.value == right.value))
        return z3.Not(same)
    first, second = askers
    left, right = first.values[name], second.values[name]
    both = z3.And(first.present[name], second.present[name])
    if left.kind == "list":
        differ = z3.SetIntersect(left.value, right.value) == z3.K(left.value.sort().domain(), z3.BoolVal(False))
    else:
        differ = left.value != right.value
    return z3.Or(first.present[name] != second.present[name], z3.And(both, differ))


def _is_vacuous(claim: Claim, catalog: Catalog, scene: Scene, solver: Any) -> bool:
    """Whether the first sight of a proved claim never happens: then it says nothing of what people see."""
    alone = replace(claim, sights=claim.sights[:1], apart=None, lacking=None)
    _, _, seen = refutation(alone, catalog, scene)
    solver.add(*scene.known, *scene.rules, *_facts_of_texts([seen, *scene.known, *scene.rules], scene), seen)
    return bool(solver.check() == z3.unsat)


# -- wishes ------------------------------------------------------------------------------------------------------


def _wishes(askers: Mapping[str, Asker], terms: Iterable[Term], literals: Iterable[str]) -> Iterator[Any]:
    """Conditions that make a model readable, the most wanted first."""
    later: list[Any] = []
    named: list[Any] = []
    for term in terms:
        match term.kind:
            case "text" if not term.type.startswith("ENUM("):
                # A text of its own, unless something asks for a certain one.
                yield z3.And(*(term.value != other for other in (*named, *map(text_value, literals))))
                named.append(term.value)
            case "number" | "double":
                later.append(z3.Or(term.null, z3.And(term.value >= 0, term.value <= 1000)))
            case "date" | "timestamp":
                unit = DAY if term.kind == "timestamp" else 1
                first, last = ((day - _EPOCH).days * unit for day in (date(2000, 1, 1), date(2030, 1, 1)))
                later.append(z3.Or(term.null, z3.And(term.value >= first, term.value <= last)))
            case _:
                pass
        if not z3.is_false(term.null):
            yield z3.Not(term.null)
    for asker in askers.values():
        if asker.roles:
            held = [(role, 1) for role in asker.roles.values()]
            yield z3.PbLe(held, 1)
            yield z3.PbGe(held, 1)
    yield from later


def _wished(solver: Any, wishes: Iterable[Any]) -> Any:
    """A model that fulfils as many wishes as can be had soon."""
    model = solver.model()
    solver.set("timeout", 500)
    until = time.monotonic() + _WISHING
    for wish in wishes:
        if time.monotonic() > until:
            break
        if _grants(solver, wish):
            model = solver.model()
    return model


def _grants(solver: Any, wish: Any) -> bool:
    solver.push()
    solver.add(wish)
    if solver.check() == z3.sat:
        return True  # it stays: later wishes must agree with it
    solver.pop()
    return False


def _used_terms(askers: Mapping[str, Asker], rows: Mapping[str, Row], scene: Scene, used: set[str]) -> Iterator[Term]:
    for asker in askers.values():
        yield from (term for name, term in asker.values.items() if name != "roles" and is_used(term, used))
    for columns in (*(row.columns for row in rows.values()), *(columns for _, _, columns in scene.witnesses)):
        yield from (term for term in columns.values() if is_used(term, used))
