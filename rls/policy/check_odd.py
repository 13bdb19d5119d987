"""Policies beside each other → what one relation lacks that the others have: a wall, the usual column, a mask.

Takes a loaded set and the catalog; yields warnings. Owns that each is said of the odd one, and only where at least two
others agree: one relation alone is nobody's exception.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from rls.catalog import Catalog, Column, Relation, fold
from rls.errors import PolicyInvalid
from rls.policy.check_masks import find_masks
from rls.policy.compared import Compared, conjuncts
from rls.policy.findings import Finding
from rls.policy.policy_set import PolicySet, rules_for
from rls.policy.rules import Bound, BoundPolicy, Pattern, Place

__all__ = ["find_odd"]

LEAST = 2


def find_odd(policies: PolicySet, catalog: Catalog) -> Iterator[Finding]:
    """Warnings: `policy.no_wall`, `policy.odd_column`, `policy.near_column`, and those of `find_masks`."""
    bounds = list(_bounds(policies, catalog))
    yield from _walls(policies, bounds)
    yield from _columns(bounds)
    yield from _near(policies, catalog)
    yield from _masks(policies, bounds, catalog)
    yield from find_masks(bounds)


def _bounds(policies: PolicySet, catalog: Catalog) -> Iterator[Bound]:
    for relation in sorted(catalog.relations.values(), key=lambda r: r.key):
        try:
            bound = policies.bound(relation, catalog) if relation.kind == "table" else None
        except PolicyInvalid:
            continue  # said by the others
        if bound is not None:
            yield bound


@dataclass
class _Wall:
    """For one column name and attribute: which relations keep a role behind it, and which do not."""

    inside: list[Bound] = field(default_factory=list)
    outside: list[Bound] = field(default_factory=list)


def _walls(policies: PolicySet, bounds: list[Bound]) -> Iterator[Finding]:
    """`tenant_id = user.tenant` in 39 tables, and not in the fortieth."""
    pairs: Counter[tuple[str, str]] = Counter()
    for bound in bounds:
        pairs.update({(fold(c), a) for each in bound.policies for c, a in _equal(each, bound, every=False)})
    odd: dict[tuple[tuple[str, ...], str, str], list[str | None]] = {}
    agreeing: dict[tuple[str, str], int] = {}
    places: dict[tuple[str, ...], Bound] = {b.relation.key: b for b in bounds}
    for (column, attribute), _ in pairs.most_common():
        declared = policies.attributes[attribute]
        if declared.many or attribute in ("subject", "agent"):
            continue
        for role in [*sorted(policies.identity.roles), None]:
            wall = _Wall()
            for bound in bounds:
                if bound.relation.column(column) is None or not _opens(bound, role):
                    continue
                if _is_behind(bound, role, column, attribute):
                    wall.inside.append(bound)
                elif not _is_own_row(bound, role, column, attribute, bounds):
                    wall.outside.append(bound)
            if len(wall.inside) >= LEAST and len(wall.outside) * 2 < len(wall.inside):
                agreeing[column, attribute] = max(agreeing.get((column, attribute), 0), len(wall.inside))
                for bound in wall.outside:
                    odd.setdefault((bound.relation.key, column, attribute), []).append(role)
    for (key, column, attribute), roles in odd.items():
        bound = places[key]
        label, name = bound.relation.label, policies.attributes[attribute].name
        who = ", ".join(role or "who has no role" for role in roles)
        message = (
            f"`{label}` has a column `{column}`, and {who} may see rows where it is not user.{name}: "
            f"{agreeing[column, attribute]} other relations forbid that"
        )
        hint = f"add a restrictive policy `{column} = user.{name}`, or name it so that the reader sees it is meant"
        yield Finding.of(_place(bound).invalid("policy.no_wall", message, hint=hint), "warning", relation=label)


def _is_own_row(bound: Bound, role: str | None, column: str, attribute: str, bounds: list[Bound]) -> bool:
    """Whether `email = user.mail` says in other relations whose row it is, and tells nothing of this one: no wall is
    ever written like that, and this relation is behind another, or hides the column."""
    pair = (column, attribute)
    if any(b.policy.kind == "restrictive" and pair in _equal_folded(b, each) for each in bounds for b in each.policies):
        return False
    if any(fold(c.column) == column for c in bound.columns if c.rule.denied or c.rule.mask is not None):
        return True
    mine = [b for b in bound.policies if _for(b, role) and b.policy.kind == "restrictive"]
    return any(other != pair for b in mine for other in _equal_folded(b, bound))


def _place(bound: Bound) -> Place:
    """The policy that opens: a permissive one, those of the relation's own file first."""
    opening = [b.policy for b in bound.policies if b.policy.kind == "permissive"]
    return min(opening, key=lambda p: "relations" in (p.place.document.data or {})).place


def _opens(bound: Bound, role: str | None) -> bool:
    return any(b.policy.kind == "permissive" and _for(b, role) for b in bound.policies)


def _for(each: BoundPolicy, role: str | None) -> bool:
    return each.policy.roles is None or (role is not None and role in each.policy.roles)


def _is_behind(bound: Bound, role: str | None, column: str, attribute: str) -> bool:
    mine = [b for b in bound.policies if _for(b, role)]
    if any(b.policy.kind == "restrictive" and (column, attribute) in _equal_folded(b, bound) for b in mine):
        return True
    return all((column, attribute) in _equal_folded(b, bound) for b in mine if b.policy.kind == "permissive")


def _equal_folded(each: BoundPolicy, bound: Bound) -> set[tuple[str, str]]:
    return {(fold(column), attribute) for column, attribute in _equal(each, bound, every=True)}


def _equal(each: BoundPolicy, bound: Bound, *, every: bool) -> Iterator[tuple[str, str]]:
    """Columns that must equal an attribute (`every`: for the policy to hold; else anywhere in it)."""
    compared = Compared(each, bound.relation)
    root = each.policy.using.root
    for leaf in conjuncts(root) if every else root.leaves():
        found = compared.equals(leaf)
        if found is not None:
            yield found


def _columns(bounds: list[Bound]) -> Iterator[Finding]:
    """`country = user.region` where every other relation compares `region`, and this one has it too."""
    uses: dict[str, dict[str, set[tuple[str, ...]]]] = defaultdict(lambda: defaultdict(set))
    found: list[tuple[Bound, BoundPolicy, str, str, int]] = []
    for bound in bounds:
        for each in bound.policies:
            compared = Compared(each, bound.relation)
            for leaf in each.policy.using.root.leaves():
                pair = compared.equals(leaf)
                if pair is not None:
                    uses[pair[1]][fold(pair[0])].add(bound.relation.key)
                    found.append((bound, each, *pair, leaf.start))
    for bound, each, column, attribute, offset in found:
        mine = len(uses[attribute][fold(column)])
        usual, relations = max(uses[attribute].items(), key=lambda item: len(item[1]))
        other = bound.relation.column(usual)
        others = len(relations - {bound.relation.key})
        if other is None or usual == fold(column) or mine > 1 or others < LEAST:
            continue
        place = each.policy.place
        message = f"`user.{attribute}` is compared with `{column}` here, and with `{other.name}` in {others} relations"
        hint = f"is `{other.name}` meant?"
        error = place.document.invalid("policy.odd_column", message, path=place.path, offset=offset, hint=hint)
        yield Finding.of(error, "warning", relation=bound.relation.label)


def _near(policies: PolicySet, catalog: Catalog) -> Iterator[Finding]:
    """A pattern with `tenant_id`, and a table whose column is called `tenantId`."""
    for rules in policies.rules:
        if not isinstance(rules.target, Pattern):
            continue
        exempt = {r.key for path in rules.target.exempt if (r := catalog.find(path)) is not None}
        for relation in sorted(catalog.relations.values(), key=lambda r: r.key):
            if relation.kind != "table" or relation.key in exempt or rules.covers(relation, catalog):
                continue
            for wanted in rules.target.with_columns:
                near = [] if relation.column(wanted) else [c for c in relation.columns if _like(c, wanted)]
                for column in near[:1]:
                    message = f"the pattern misses `{relation.label}`, whose column is called `{column.name}`"
                    hint = f"the pattern's is `{wanted}`; name the table in a pattern or file of its own"
                    error = rules.place.invalid("policy.near_column", message, hint=hint)
                    yield Finding.of(error, "warning", relation=relation.label)


def _like(column: Column, wanted: str) -> bool:
    def bare(name: str) -> str:
        plain = re.sub(r"[^a-z0-9]", "", name.lower())
        return re.sub(r"(?<=.{3})s$", "", re.sub(r"(?<=.{3})(id|key|code|no|nr|name)s?$", "", plain))

    return fold(column.name) != fold(wanted) and bare(column.name) == bare(wanted)


def _masks(policies: PolicySet, bounds: list[Bound], catalog: Catalog) -> Iterator[Finding]:
    """`email` is masked in two relations and shown in a third; and masks that everybody is spared."""
    hidden: dict[str, list[str]] = defaultdict(list)
    shown: dict[str, list[Bound]] = defaultdict(list)
    for bound in bounds:
        ruled = {fold(c.column) for c in bound.columns if c.rule.denied or c.rule.mask is not None}
        for column in bound.relation.columns:
            name = fold(column.name)
            if name in ruled:
                hidden[name].append(bound.relation.label)
            else:
                shown[name].append(bound)
    for name, labels in hidden.items():
        where = ", ".join(f"`{label}`" for label in labels[:3])
        # A pattern may cover many tables: what is to be mended is one place.
        places: dict[int, tuple[Place, list[Bound]]] = {}
        for bound in shown[name]:
            if not _is_key(bound.relation, name) and not _used_as_key(name, bounds) and bound.policies:
                rules = next(r for r in rules_for(policies, bound.relation, catalog) if r.decides_rows)
                places.setdefault(id(rules), (rules.place, []))[1].append(bound)
        for place, listed in places.values():
            first = listed[0].relation
            named = first.column(name)
            told = f"`{name if named is None else named.name}` is masked or denied in {where}"
            more = f" and {len(listed) - 1} more" if len(listed) > 1 else ""
            hint = "mask or deny it there too; where it holds something else, another name would tell"
            error = place.invalid("policy.unmasked", f"{told}, and shown in `{first.label}`{more}", hint=hint)
            yield Finding.of(error, "warning", relation=first.label)


def _is_key(relation: Relation, name: str) -> bool:
    return name == "id" or (bool(relation.columns) and fold(relation.columns[0].name) == name)


def _used_as_key(name: str, bounds: list[Bound]) -> bool:
    """Whether policies compare the column: they see its true values, and so must who writes them."""
    return any(
        hole.kind == "column" and fold(hole.names[-1]) == name
        for bound in bounds
        for each in bound.policies
        for hole in each.policy.using.holes
    )
