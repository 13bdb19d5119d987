"""Policies and the personas that are there → who is tried: every role, two tenants, attributes missing and empty.

Takes the identity's declarations and `Pools`; returns principals by name, those of personas.yaml first. Owns that each
differs from another one in a single thing, and is called by that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from rls.catalog import fold
from rls.identity.attributes import Attribute, Refused, read_scalar
from rls.identity.declared import Identity
from rls.identity.principal import Principal
from rls.lab.seed.pools import Pools
from rls.lab.seed.spots import attribute_spot

__all__ = ["MOST_OTHERS", "choose_base", "try_people"]

MOST_BASE: Final = 8
MOST_ROLES: Final = 6
MOST_OTHERS: Final = 6  # whose own rows differ in one thing


def choose_base(personas: Mapping[str, Principal], wall: str | None) -> dict[str, Principal]:
    """The personas that lend their values: one for each set of roles, and one of another tenant."""
    found: dict[object, str] = {}
    tenants: dict[object, str] = {}
    for name, persona in personas.items():
        found.setdefault(persona.roles, name)
        if wall is not None:
            tenants.setdefault(_attribute(persona, wall), name)
    names = dict.fromkeys([*found.values(), *list(tenants.values())[:2]])
    return {name: personas[name] for name in list(names)[:MOST_BASE]}


def try_people(
    identity: Identity, read: frozenset[str], base: Mapping[str, Principal], pools: Pools, *, wall: str | None
) -> dict[str, Principal]:
    """Everybody who is tried. `read` are the attributes that policies read, `wall` the one that keeps tenants apart."""
    people = dict(base)
    firsts = [*_per_role(identity, base, pools, wall)]
    for name, first in firsts:
        people.setdefault(name, first)
    known = {p.roles: (n, p) for n, p in reversed(people.items())}
    for name, first in [*reversed(known.values())][: MOST_ROLES + 1]:
        varied = _Varied(identity, read, pools, wall)
        for other, persona in varied.all(name, first):
            people.setdefault(other, persona)
    return people


def _per_role(
    identity: Identity, base: Mapping[str, Principal], pools: Pools, wall: str | None
) -> Iterator[tuple[str, Principal]]:
    have = {p.roles for p in base.values()}
    for role in [*sorted(identity.roles), None]:
        roles = frozenset(() if role is None else (role,))
        if roles in have:
            continue
        word = _name(role or "nobody")
        attributes = {
            a.name: (value,) if a.list else value
            for a in identity.attributes.values()
            if (value := _first(pools, a.name, identity)) is not None
        }
        tenant = "" if wall is None else f"-{_attribute_in(attributes, wall)}"
        yield word, Principal(f"{word}{tenant}", roles, attributes, assurance="persona")


@dataclass(frozen=True)
class _Varied:
    """Makes others of a person who differ in one thing."""

    identity: Identity
    read: frozenset[str]
    pools: Pools
    wall: str | None

    def all(self, name: str, first: Principal) -> Iterator[tuple[str, Principal]]:
        """By name, which says what it is."""
        lists = [a.name for a in self.identity.attributes.values() if a.list and fold(a.name) in self.read]
        if len(lists) > 1:
            # One for all: each by itself would be another person.
            yield f"{name}_no_lists", replace(first, attributes={**first.attributes, **dict.fromkeys(lists, ())})
        for attribute in self.identity.attributes.values():
            if fold(attribute.name) in self.read:
                yield from self._by(attribute, name, first)
        for name_of_row, roles in self.pools.spots.naming.items():
            # One's own row is one: what is asked of it is told by others of the role, whose rows differ.
            if roles is None or roles & first.roles:
                yield from self._others(name_of_row, name, first)
        if "agent" in self.read:
            yield f"agent_of_{name}", replace(first, agent="assistant-1", actors=("assistant-1",))

    def _others(self, attribute: str, name: str, first: Principal) -> Iterator[tuple[str, Principal]]:
        declared = next((a for a in self.identity.attributes.values() if fold(a.name) == attribute), None)
        for number in range(2, MOST_OTHERS + 2):
            called = f"{name}_{number}"
            if attribute == "subject":
                yield called, replace(first, subject=f"{first.subject}-{number}")
            elif declared is not None and not declared.list and declared.name in first.attributes:
                value = f"{first.attributes[declared.name]}-{number}"
                try:
                    read_scalar(declared, value)
                except Refused:
                    return
                yield called, replace(first, attributes={**first.attributes, declared.name: value})

    def _by(self, attribute: Attribute, name: str, first: Principal) -> Iterator[tuple[str, Principal]]:
        key = attribute.name
        mine = first.attributes.get(key)
        values = _values(self.pools, key, self.identity)
        others = [v for v in values if v != mine and (mine is None or v not in _as_tuple(mine))]

        def having(value: Any) -> Principal:
            return replace(first, attributes={**first.attributes, key: value})

        if fold(key) == self.wall:
            for value in others[:1]:
                twin = replace(having(value), subject=f"{_name(name)}-of-{value}")
                yield f"{name}_of_{_name(value)}", twin
            return
        if not attribute.required and mine is not None:
            left = {k: v for k, v in first.attributes.items() if k != key}
            yield f"{name}_without_{_name(key)}", replace(first, attributes=left)
        if mine is None and values:
            # A role that is added to a policy shows only where somebody of the role has what the policy asks for.
            yield f"{name}_with_{_name(key)}", having((values[0],) if attribute.list else values[0])
        if attribute.list:
            yield f"{name}_no_{_name(key)}", having(())
            both = tuple(values[:2])
            if len(both) == 2 and mine != both:
                yield f"{name}_two_{_name(key)}", having(both)
        group = self.pools.spots.group(attribute_spot(key))
        # Only where policies compare it with constants does another value make another person.
        for value in others[: 5 if self.pools.spots.constants(group) or attribute.type != "string" else 0]:
            yield f"{name}_{_name(key)}_{_name(value)}", having((value,) if attribute.list else value)


def _first(pools: Pools, name: str, identity: Identity) -> Any:
    return next(iter(_values(pools, name, identity)), None)


def _values(pools: Pools, name: str, identity: Identity) -> Sequence[Any]:
    """Values of an attribute's pool that a token may hold."""
    attribute = identity.attributes[name]
    found = []
    for value in pools.values(attribute_spot(name)):
        try:
            found.append(read_scalar(attribute, _as_claim(value)))
        except Refused:
            continue
    return found


def _as_claim(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


def _attribute(persona: Principal, name: str) -> object:
    return _attribute_in(persona.attributes, name)


def _attribute_in(attributes: Mapping[str, Any], name: str) -> object:
    return next((v for k, v in attributes.items() if fold(k) == name), None)


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _name(value: object) -> str:
    return re.sub(r"\W+", "_", str(value)).strip("_").lower() or "other"
