"""Texts that were guarded a moment ago → guarded queries without parsing: bind values, or nothing at all.

Takes what `guard` takes and returns what `barrier.lower` would. Three ways, each some ten times cheaper than the next:
the same principal's same text (the query itself, again); a text seen before from a principal of the same shape (a
template with this principal's values); a text that differs in literals and white space only (the same template with
these literals). Owns that a template is used only where everything that decided its text is equal: the text or its
tokens, the types of the caller's parameters, the class of every bound literal, and of every relation the grant's
kind, filter, masks, denied columns and labels, and what the principal's roles may write. Policies and catalog are the
object's own: who changes them makes another.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlglot.tokens import Token

from rls.catalog import Catalog, Relation
from rls.identity.principal import Principal
from rls.policy.grant import Grant
from rls.rewrite.barrier import BUSY
from rls.rewrite.bound import Planner
from rls.rewrite.capable import answer_bounds
from rls.rewrite.finish import finish
from rls.rewrite.guard import Draft, Policies, attribute_values, draft
from rls.rewrite.guarded import Guard, GuardedQuery
from rls.rewrite.literals import bound_literals, class_of, value_of
from rls.rewrite.parse import tokenize
from rls.rewrite.port.target import Target
from rls.rewrite.texts import OVERHEAD, Key, Shape, Template, Text, Texts, Tokens
from rls.rewrite.token_shape import literal_positions, plain_text, shape_of_tokens

__all__ = ["Templates"]

MEMORY: Final = 64 << 20  # bytes of text, roughly, over all templates
PRINCIPALS: Final = 10_000
VALUES: Final = 1_000_000  # of all principals' attributes, the items of lists counted
SHAPES: Final = 100_000
NEAR_TOKENS: Final = 5_000  # of a text that is compared by its tokens


@dataclass(slots=True)
class _Profile:
    """A principal's grants, as far as its queries asked for them, and the number of each grant's shape; `may` is the
    number of what its roles may write, `bounds` their limits on what an answer holds; `weight` is the number of its
    values."""

    principal: Principal
    values: Mapping[str, object]
    weight: int
    may: int
    bounds: tuple[tuple[str, int | float], ...]
    grants: dict[tuple[str, ...], tuple[Grant, int]] = field(default_factory=dict)


class Templates:
    """One policy set over one catalog. Safe to share between threads; hits take no lock."""

    def __init__(
        self,
        policies: Policies,
        catalog: Catalog,
        *,
        for_engine: bool = False,
        plain: bool = False,
        planner: Planner | None = None,
        memory: int = MEMORY,
        target: Target | None = None,
    ) -> None:
        """`for_engine`: the texts run on this library's engine and are for no other eyes, and the engine's settings are
        part of the barrier. `plain`: the texts are those of `guard_plain`, for anybody's eyes. In both, literals of a
        caller's text become bound values where that changes nothing, so that more texts are alike. `planner`: where
        texts are bound (default: here). `memory` bounds the templates' text, in bytes. `target`: the texts are for that
        PostgreSQL database; default: for DuckDB."""
        self._for_engine, self._plain, self._planner, self._target = for_engine, plain, planner, target
        self._policies, self._catalog, self._memory = policies, catalog, memory
        self._profiles: dict[int, _Profile] = {}
        self._weight = 0
        self._texts = Texts(memory)
        self._shapes: dict[object, int] = {}
        self._numbers = itertools.count(1)
        self._adding = threading.Lock()

    def guard(self, sql: str, principal: Principal, types: Mapping[str, str] | None = None) -> GuardedQuery:
        """The guarded query of exactly this text, as it was or would be made for it.

        types  DuckDB types of the values of the caller's parameters, by name
        Raises `QueryRefused`.
        """
        asked = _key(sql, types)
        text = self._texts.get(asked)
        if text is not None and text.values is not None:
            text = None  # made for another text
        if text is not None and (ready := text.ready_for(principal)) is not None:
            return ready
        profile = self._profile(principal)
        return self._known(asked, text, profile) or self._make(asked, profile)

    def guard_alike(self, sql: str, principal: Principal, types: Mapping[str, str] | None = None) -> GuardedQuery:
        """The same, but perhaps made for a text that differs in white space, comments and literals only (`near` then):
        with the answer of this text, but not for other eyes than the engine's, since that text was perhaps another
        principal's; its `original` and positions are that text's.
        """
        asked = _key(sql, types)
        found = self.known(sql, principal, types)
        if found is None and not types:
            found = self.near(sql, tokenize(sql), principal)
        return found or self._make(asked, self._profile(principal))

    def guard_plain(self, sql: str, principal: Principal, tokens: Sequence[Token] | None = None) -> GuardedQuery:
        """The same for a text without parameters, in a spelling that all texts share which are like it: so that nobody
        gets the white space, the comments or the literals of somebody else. `original` is this text.

        tokens  the text's, if they are known
        """
        tokens = (tokenize(sql) or []) if tokens is None else tokens
        made = self._make(plain_text(sql, tokens), self._profile(principal))
        found = self.known(sql, principal) or self.near(sql, tokens, principal)
        return found or replace(made, original=sql)

    def known(self, sql: str, principal: Principal, types: Mapping[str, str] | None = None) -> GuardedQuery | None:
        """What there is for this text already, perhaps made for one like it."""
        asked = _key(sql, types) if types else sql
        text = self._texts.get(asked)
        if text is None:
            return None
        ready = text.ready_for(principal)
        return ready if ready is not None else self._known(asked, text, self._profile(principal))

    def _known(self, asked: Key, text: Text | None, profile: _Profile) -> GuardedQuery | None:
        """The query of a text that is here, with a template for the principal's shape."""
        found = None if text is None else self._template(text, profile)
        if text is None or found is None:
            return None
        if text.values is None:
            values = {one.name: found.query.parameters[one.name] for one in found.literals}
        elif text.values.keys() == found.bound:
            values = {one.name: text.values[one.token] for one in found.literals}
        else:
            return None  # a literal that this shape does not bind stands in its text: another's
        text.used = True
        query = _bind(found, profile, values, near=text.values is not None)
        if self._plain and isinstance(asked, str):
            query = replace(query, near=True, original=asked)
        self._texts.make_ready(asked, text, profile.principal, query)
        return query

    def near(self, sql: str, tokens: Sequence[Token] | None, principal: Principal) -> GuardedQuery | None:
        """The query of a text that is like one that is here; `tokens` as `tokenize` gives them."""
        if tokens is None or len(tokens) > NEAR_TOKENS:
            return None
        profile = self._profile(principal)
        literals = literal_positions(tokens)
        shape = shape_of_tokens(sql, tokens, literals)
        for bound in self._texts.bindings(shape):
            text = self._texts.alike(Tokens(shape, bound, _signature(sql, tokens, literals, bound)))
            found = None if text is None else self._template(text, profile)
            if text is None or found is None or found.bound != bound:
                continue
            text.used = True
            spelled = {index: sql[tokens[index].start : tokens[index].end + 1] for index in bound}
            values = {index: value_of(one) for index, one in spelled.items()}
            own = Text(text.relations, text.templates, _size(sql, found.query), values=values)
            self._texts.add(sql, own)
            return self._known(sql, own, profile)
        return None

    def _make(self, asked: Key, profile: _Profile) -> GuardedQuery:
        sql, types = (asked, ()) if isinstance(asked, str) else asked
        query = draft(sql, profile.principal, self._policies, self._catalog, lambda one: self.grant(one, profile)[0])
        if (self._for_engine or self._plain) and len(query.parsed.tokens) <= NEAR_TOKENS:
            query.literals = bound_literals(
                query.parsed, query.found, lambda relation: _masked(query, relation), ported=self._target is not None
            )
        made = finish(query, dict(types), for_engine=self._for_engine, planner=self._planner, target=self._target)
        if self._plain:
            made = replace(made, near=True, splices=())
        if not made.pivots and made.fence_reason != BUSY.reason:
            self._keep(asked, query, made, profile)
        return made

    def _keep(self, asked: Key, query: Draft, made: GuardedQuery, profile: _Profile) -> None:
        relations = tuple(query.asked.values())
        keys = {relation.label: relation.key for relation in relations}
        template = Template(made, tuple((label, keys[label]) for label in made.grants), query.literals)
        shape, size = self._shape(relations, profile), _size(query.parsed.text, made)
        text = self._texts.get(asked)
        if text is not None and text.values is None:
            self._texts.extend(asked, text, shape, template, size)
        else:
            text = Text(relations, {shape: template}, size)
            tokens = query.parsed.tokens
            if isinstance(asked, str) and (self._for_engine or self._plain) and len(tokens) <= NEAR_TOKENS:
                literals = literal_positions(tokens)
                signature = _signature(asked, tokens, literals, template.bound)
                text.tokens = Tokens(shape_of_tokens(asked, tokens, literals), template.bound, signature)
            self._texts.add(asked, text)
        self._texts.make_ready(asked, text, profile.principal, made)

    def grant(self, relation: Relation, profile: _Profile) -> tuple[Grant | None, int]:
        """A principal's grant on a relation, and the number of its shape; 0 where nobody decided."""
        found = profile.grants.get(relation.key)
        if found is not None:
            return found
        grant = self._policies.grant(relation, profile.principal, self._catalog)
        if grant is None:
            return None, 0
        number = self._number(_shape(grant))
        profile.grants[relation.key] = grant, number
        return grant, number

    def _template(self, text: Text, profile: _Profile) -> Template | None:
        return text.templates.get(self._shape(text.relations, profile))

    def _shape(self, relations: tuple[Relation, ...], profile: _Profile) -> Shape:
        return (profile.may, *[self.grant(relation, profile)[1] for relation in relations])

    def _profile(self, principal: Principal) -> _Profile:
        found = self._profiles.get(id(principal))
        if found is not None and found.principal is principal:
            return found
        may = self._policies.capabilities(principal)
        writes = (may.statements, may.relations, may.limits.get("nesting"))
        values = attribute_values(principal)
        weight = sum([len(value) if isinstance(value, list | tuple) else 1 for value in values.values()])
        found = _Profile(principal, values, weight, self._number(writes), answer_bounds(may))
        with self._adding:
            gone = self._drop_oldest(weight)
            self._profiles[id(principal)] = found
            self._weight += weight
        if gone:
            # What is ready for them holds their values.
            self._texts.forget_principals(gone)
        return found

    def _drop_oldest(self, weight: int) -> list[Principal]:
        """Make room for a profile of this weight, and for some more of its kind."""
        gone: list[Principal] = []
        if len(self._profiles) >= PRINCIPALS or self._weight + weight > VALUES:
            for key in list(self._profiles):
                if len(self._profiles) < PRINCIPALS * 9 // 10 and self._weight + weight <= VALUES * 9 // 10:
                    break
                dropped = self._profiles.pop(key)
                self._weight -= dropped.weight
                gone.append(dropped.principal)
        return gone

    def _number(self, shape: object) -> int:
        """The number of a shape; one that was forgotten gets another one than anybody had."""
        with self._adding:
            _make_room(self._shapes, SHAPES)
            return self._shapes.setdefault(shape, next(self._numbers))


def _make_room(entries: dict[Any, Any], limit: int) -> None:
    """Drop the oldest tenth."""
    if len(entries) >= limit:
        for key in list(entries)[: limit // 10 + 1]:
            del entries[key]


def _key(sql: str, types: Mapping[str, str] | None) -> Key:
    return (sql, tuple(sorted(types.items()))) if types else sql


def _size(sql: str, made: GuardedQuery) -> int:
    """Bytes that a template takes, roughly."""
    return 2 * (len(sql) + len(made.sql)) + OVERHEAD


def _masked(query: Draft, relation: Relation) -> Collection[str]:
    grant = query.grant(relation)
    return () if grant is None else grant.masks


def _shape(grant: Grant) -> object:
    """Everything of a grant that decides a guard's text."""
    return (
        grant.kind,
        grant.predicate,
        tuple(grant.masks.items()),
        grant.denied,
        grant.labels,
        tuple(sorted(grant.parameters)),
    )


def _signature(sql: str, tokens: Sequence[Token], literals: Sequence[int], bound: frozenset[int]) -> tuple[object, ...]:
    """The literals of a text: the class of those that are bound, the others as they are spelled."""
    spelled = [(index, sql[tokens[index].start : tokens[index].end + 1]) for index in literals]
    return tuple([(class_of(text),) if index in bound else text for index, text in spelled])


def _bind(template: Template, profile: _Profile, literals: Mapping[str, object], *, near: bool = False) -> GuardedQuery:
    """A template with a principal's values, and those of its text's literals."""
    made, known = template.query, profile.grants
    grants = {label: known[key][0] for label, key in template.shown}
    parameters: dict[str, object] = {}
    for grant in grants.values():
        parameters.update(grant.parameters)
    for name in made.attributes_read:
        parameters[f"rls_{name}"] = profile.values.get(name)
    parameters.update(literals)
    guards = tuple([Guard(g.relation, known[g.relation.key][0], g.conjuncts, g.fenced, g.flat) for g in made.guards])
    return made.with_grants(grants, guards, parameters, bounds=profile.bounds, near=near)
