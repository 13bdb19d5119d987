"""Boundary values instead of a proof: principals and rows made of what the policies themselves mention are tried.

Takes a claim that the solver could not settle; returns principals and rows that refute it, or how many were tried. It
can find a counterexample and never prove anything; what it finds is confirmed like every other.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import combinations, product
from typing import Any, Final

from rls.catalog import Catalog, Relation, fold, quote
from rls.identity.principal import Principal
from rls.lab.prove.claims import Claim
from rls.lab.prove.models import Found
from rls.lab.prove.terms import kind_of
from rls.lab.suites.suite import Given
from rls.lab.world.raw import RawFailed
from rls.lab.world.world import World, open_given
from rls.policy.attributes import BUILT_IN
from rls.policy.parser import Tree
from rls.policy.rules import Bound

__all__ = ["Tried", "search"]

MAX_ROWS: Final = 1500
MAX_PRINCIPALS: Final = 48


@dataclass(frozen=True, slots=True)
class Tried:
    """What was tried, and what refutes the claim, if anything does."""

    principals: int
    rows: int
    found: Found | None = None


def search(claim: Claim, catalog: Catalog, *, now: float) -> Tried:
    """Try principals and rows on the boundaries of what the policies ask. Raises PolicyInvalid."""
    bounds = [b for b in (p.bound(claim.relation, catalog) for p in claim.sets.values()) if b is not None]
    pools = _pools(bounds)
    source = random.Random(1)  # noqa: S311 - the same tries every time
    rows = _rows(claim.relation, bounds, pools, source)
    principals = _principals(claim, bounds, pools, source)
    place = next(rules.place for policies in claim.sets.values() for rules in policies.rules)
    path = (*claim.relation.schema, claim.relation.name)
    data = [Given(path, {}, tuple([row.get(c.name) for c in claim.relation.columns] for row in rows), place)]
    with open_given(data, catalog, next(iter(claim.sets.values())), principals, now=now) as world:
        seen = {
            (name, asker): _seen(world.with_policies(policies), asker, claim.relation)
            for name, policies in claim.sets.items()
            for asker in principals
        }
    found = _refutation(claim, seen, principals, rows)
    return Tried(len(principals), len(rows), found)


def _seen(world: World, asker: str, relation: Relation) -> frozenset[int]:
    """Numbers of the rows that a principal sees; none where DuckDB raises."""
    grant = world.grant(asker, relation)
    if grant is None or grant.kind == "never":
        return frozenset()
    where = "TRUE" if grant.kind == "always" else grant.predicate
    try:
        found = world.raw.rows(
            f"SELECT {quote(relation.name)}.rowid FROM {world.raw.source(relation)} WHERE {where}", grant.parameters
        )
    except RawFailed:
        return frozenset()
    return frozenset(int(number) for (number,) in found)


def _refutation(
    claim: Claim,
    seen: dict[tuple[str, str], frozenset[int]],
    principals: dict[str, Principal],
    rows: Sequence[dict[str, object]],
) -> Found | None:
    everything = frozenset(range(len(rows)))
    for askers in combinations(principals, len(claim.askers)):
        who = dict(zip(claim.askers, askers, strict=True))
        candidates = dict.fromkeys(claim.rows, everything)
        for sight in claim.sights:
            visible = seen[sight.policies, who[sight.asker]]
            candidates[sight.row] &= visible if sight.wanted else everything - visible
        if not _differ(claim, [principals[a] for a in askers]):
            continue
        for numbers in _choices(claim, candidates, rows):
            chosen = {name: rows[number] for name, number in zip(claim.rows, numbers, strict=True)}
            return Found({name: principals[asker] for name, asker in who.items()}, chosen, ())
    return None


def _differ(claim: Claim, askers: Sequence[Principal]) -> bool:
    if claim.apart is None or claim.apart[0] == "column":
        return True
    values = [{fold(k): v for k, v in a.attributes.items()}.get(claim.apart[1]) for a in askers]
    if all(isinstance(v, tuple) for v in values):
        return not set(values[0] or ()) & set(values[1] or ())  # type: ignore[arg-type]
    return values[0] != values[1]


def _choices(
    claim: Claim, candidates: dict[str, frozenset[int]], rows: Sequence[dict[str, object]]
) -> Iterator[tuple[int, ...]]:
    if len(claim.rows) == 1:
        yield from ((number,) for number in sorted(candidates[claim.rows[0]]))
        return
    assert claim.apart is not None  # noqa: S101 - two rows are compared by a column
    first: dict[object, int] = {}
    for number in sorted(frozenset.intersection(*candidates.values())):
        first.setdefault(rows[number].get(claim.apart[1]), number)
    if len(first) > 1:
        yield tuple(list(first.values())[:2])


# -- what is tried -----------------------------------------------------------------------------------------------


def _pools(bounds: Sequence[Bound]) -> dict[str, list[Any]]:
    """Values by kind: the literals of the policies, their neighbours, and strangers."""
    texts: dict[str, None] = {}
    numbers: dict[Any, None] = {}
    days: dict[date, None] = {}
    for bound in bounds:
        for policy in bound.policies:
            for literal in _literals(policy.policy.using.root.tree):
                text = literal["text"]
                if literal["kind"] == "STRING":
                    plain = text.replace("%", "x").replace("_", "y")
                    texts.update(dict.fromkeys((text, plain, text.lower(), text.upper(), f"{text} ", f"x{plain}")))
                    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
                        day = date.fromisoformat(text)
                        days.update(dict.fromkeys((day - timedelta(days=1), day, day + timedelta(days=1))))
                elif literal["kind"] in ("INTEGER", "NUMERIC") and re.fullmatch(r"-?\d{1,15}(\.\d+)?", text):
                    number = Decimal(text)
                    numbers.update(dict.fromkeys((number - 1, number, number + 1)))
    return {
        "text": [*dict.fromkeys(["a", "A", "b", *texts])][:12],
        "number": [*dict.fromkeys([*numbers, Decimal(-7), Decimal(0), Decimal(12345)])][:12],
        "date": [*days, date(1999, 12, 31), date(2031, 7, 1)][:8],
        "boolean": [True, False],
    }


def _values(type_: str, pools: dict[str, list[Any]]) -> list[Any]:
    match kind_of(type_):
        case "text" if not type_.startswith("ENUM("):
            return [*pools["text"]]
        case "text":
            return re.findall(r"'([^']*)'", type_)[:6]
        case "number" if "DECIMAL" in type_:
            return [*pools["number"]]
        case "number":
            return [int(n) for n in pools["number"] if n == int(n)]
        case "double":
            return [float(n) for n in pools["number"]]
        case "date":
            return [*pools["date"]]
        case "timestamp":
            return [datetime(d.year, d.month, d.day) for d in pools["date"]]
        case "boolean":
            return [True, False]
        case "list":
            items = _values(type_.removesuffix("[]"), pools)
            return [[], items[:1], items[:3], items]
        case _:
            return []


def _rows(
    relation: Relation, bounds: Sequence[Bound], pools: dict[str, list[Any]], source: random.Random
) -> list[dict[str, object]]:
    used = {fold(h.names[-1]) for b in bounds for p in b.policies for h in p.policy.using.holes if h.kind == "column"}
    columns = [c for c in relation.columns if fold(c.name) in used]
    values = [[*_values(c.type, pools), *([None] if c.nullable else [])] or [None] for c in columns]
    size = 1
    for each in values:
        size *= len(each)
    if size <= MAX_ROWS:
        chosen = list(product(*values))
    else:
        chosen = [tuple(source.choice(each) for each in values) for _ in range(MAX_ROWS)]
    return [dict(zip((c.name for c in columns), row, strict=True)) for row in chosen]


def _principals(
    claim: Claim, bounds: Sequence[Bound], pools: dict[str, list[Any]], source: random.Random
) -> dict[str, Principal]:
    some = next(iter(claim.sets.values()))
    asked = {n for b in bounds for p in b.policies for n in p.policy.using.attributes}
    built_in = {fold(a.name) for a in BUILT_IN}
    attributes = [a for name, a in some.attributes.items() if name not in built_in]
    roles = sorted(some.identity.roles - set(claim.limits.unless))
    sets = [frozenset({r}) for r in roles if not claim.limits.only or r in claim.limits.only]
    sets += [] if claim.limits.only else [frozenset()]
    found = {}
    for number in range(MAX_PRINCIPALS):
        held: dict[str, Any] = {}
        for attribute in attributes:
            name = fold(attribute.name)
            required = some.identity.attributes[attribute.name].required
            if name == claim.lacking or (not required and (name not in asked or source.random() < 0.2)):
                continue
            values = [v for v in _values(attribute.type, pools) if v != ""]
            if values:
                value = source.choice(values)
                held[attribute.name] = tuple(value) if isinstance(value, list) else value
        subject = source.choice([t for t in pools["text"] if t.strip()])
        found[f"p{number}"] = Principal(subject, sets[number % len(sets)], held, assurance="persona")
    return found


def _literals(node: Any) -> Iterator[Tree]:
    if isinstance(node, dict):
        if node.get("class") == "CONSTANT":
            yield node["literal"]
        for value in node.values():
            yield from _literals(value)
    elif isinstance(node, list):
        for value in node:
            yield from _literals(value)
