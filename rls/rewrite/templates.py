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

import threading
from collections.abc import Collection, Mapping
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
from rls.rewrite.guarded import GuardedQuery
from rls.rewrite.literals import BoundLiteral, bound_literals, class_of, literal_positions, shape_of_tokens, value_of
from rls.rewrite.parse import tokenize
from rls.rewrite.port.target import Target

__all__ = ["Templates"]

MEMORY: Final = 64 << 20  # bytes of text, roughly, over all templates
BOUND: Final = 20_000  # queries that are kept ready for one principal each
PRINCIPALS: Final = 10_000
OVERHEAD: Final = 8_192  # bytes that a template takes beside its texts
NEAR_TOKENS: Final = 5_000  # of a text that is compared by its tokens

Key = str | tuple[str, tuple[tuple[str, str], ...]]  # a text, with the types of its parameters if it has any
Shape = tuple[int, ...]


@dataclass(slots=True)
class _Profile:
    """A principal's grants, as far as its queries asked for them, and the number of each grant's shape; `may` is the
    number of what its roles may write."""

    principal: Principal
    values: Mapping[str, object]
    may: int
    bounds: tuple[tuple[str, int | float], ...]
    grants: dict[tuple[str, ...], tuple[Grant, int]] = field(default_factory=dict)


@dataclass(slots=True)
class _Template:
    """A finished query whose values are anybody's."""

    query: GuardedQuery
    relations: dict[str, Relation]  # by label: those whose grants the query shows
    literals: tuple[BoundLiteral, ...]  # of its own: beside a column that is masked for some, nothing is bound for them


@dataclass(slots=True)
class _Text:
    """A text and its templates, by the shape of the grants of all relations that were asked for."""

    relations: tuple[Relation, ...]
    templates: dict[Shape, _Template]
    size: int
    used: bool = False


@dataclass(slots=True)
class _Near:
    """Texts with the same tokens but for literals: which of the literals are bound, and the texts by the others."""

    bound: frozenset[int]
    texts: dict[tuple[object, ...], str]


class Templates:
    """One policy set over one catalog. Safe to share between threads; hits take no lock."""

    def __init__(
        self,
        policies: Policies,
        catalog: Catalog,
        *,
        for_engine: bool = False,
        planner: Planner | None = None,
        memory: int = MEMORY,
        target: Target | None = None,
    ) -> None:
        """`for_engine`: the texts run on this library's engine and are for no other eyes; literals of the caller's text
        become bound values where that changes nothing, so that `guard_alike` finds more, and the engine's settings are
        part of the barrier. `planner`: where texts are bound (default: here). `memory` bounds the templates' text, in
        bytes. `target`: the texts are for that PostgreSQL database; default: for DuckDB."""
        self._for_engine, self._planner, self._target = for_engine, planner, target
        self._policies, self._catalog, self._memory = policies, catalog, memory
        self._bound: dict[tuple[int, Key], tuple[Principal, GuardedQuery]] = {}
        self._profiles: dict[int, _Profile] = {}
        self._texts: dict[Key, _Text] = {}
        self._near: dict[object, _Near] = {}
        self._shapes: dict[object, int] = {}
        self._size = 0
        self._adding = threading.Lock()

    def guard(self, sql: str, principal: Principal, types: Mapping[str, str] | None = None) -> GuardedQuery:
        """The guarded query of exactly this text, as it was or would be made for it.

        types  DuckDB types of the values of the caller's parameters, by name
        Raises `QueryRefused`.
        """
        asked: Key = (sql, tuple(sorted(types.items()))) if types else sql
        found = self._bound.get((id(principal), asked))
        # The object itself: an id is given again when its object is gone.
        if found is not None and found[0] is principal:
            return found[1]
        profile = self._profile(principal)
        query = self._exact(asked, profile) or self._make(asked, profile)
        self._remember(asked, principal, query)
        return query

    def guard_alike(self, sql: str, principal: Principal, types: Mapping[str, str] | None = None) -> GuardedQuery:
        """The same, but perhaps made for a text that differs in white space, comments and literals only (`near` then):
        with the answer of this text, but not for other eyes than the engine's, since that text was perhaps another
        principal's; its `original` and positions are that text's.
        """
        asked: Key = (sql, tuple(sorted(types.items()))) if types else sql
        found = self._bound.get((id(principal), asked))
        if found is not None and found[0] is principal:
            return found[1]
        profile = self._profile(principal)
        query = self._exact(asked, profile)
        if query is None and not types:
            query = self._near_query(sql, profile)
            if query is not None:
                return query
        query = query or self._make(asked, profile)
        self._remember(asked, principal, query)
        return query

    def _remember(self, asked: Key, principal: Principal, query: GuardedQuery) -> None:
        if not query.pivots and query.fence_reason != BUSY.reason:
            with self._adding:
                _make_room(self._bound, BOUND)
                self._bound[id(principal), asked] = (principal, query)

    def _exact(self, asked: Key, profile: _Profile) -> GuardedQuery | None:
        text = self._texts.get(asked)
        found = None if text is None else self._template(text, profile)
        if text is None or found is None:
            return None
        text.used = True
        return _bind(found, profile, {one.name: found.query.parameters[one.name] for one in found.literals})

    def _near_query(self, sql: str, profile: _Profile) -> GuardedQuery | None:
        tokens = tokenize(sql)
        if tokens is None or len(tokens) > NEAR_TOKENS:
            return None
        entry = self._near.get(shape_of_tokens(sql, tokens))
        other = None if entry is None else entry.texts.get(_signature(sql, tokens, entry.bound))
        text = None if other is None else self._texts.get(other)
        found = None if text is None else self._template(text, profile)
        # A literal that this shape does not bind stands in its text: another's.
        if entry is None or text is None or found is None or _tokens_of(found.literals) != entry.bound:
            return None
        text.used = True
        values = {
            one.name: value_of(sql[tokens[one.token].start : tokens[one.token].end + 1]) for one in found.literals
        }
        return replace(_bind(found, profile, values), near=True)

    def _make(self, asked: Key, profile: _Profile) -> GuardedQuery:
        sql, types = (asked, ()) if isinstance(asked, str) else asked
        query = draft(sql, profile.principal, self._policies, self._catalog, lambda one: self.grant(one, profile)[0])
        if self._for_engine and self._target is None:
            query.literals = bound_literals(query.parsed, query.found, lambda relation: _masked(query, relation))
        made = finish(query, dict(types), for_engine=self._for_engine, planner=self._planner, target=self._target)
        if not made.pivots and made.fence_reason != BUSY.reason:
            self._keep(asked, query, made, profile)
        return made

    def _keep(self, asked: Key, query: Draft, made: GuardedQuery, profile: _Profile) -> None:
        relations = tuple(query.asked.values())
        shape = self._shape(relations, profile)
        template = _Template(made, {relation.label: relation for relation in relations}, query.literals)
        with self._adding:
            sql, tokens = query.parsed.text, query.parsed.tokens
            size = 2 * (len(sql) + len(made.sql)) + OVERHEAD
            self._forget(size)
            self._size += size
            text = self._texts.get(asked)
            if text is not None:
                text.templates[shape] = template
                text.size += size
                return
            self._texts[asked] = _Text(relations, {shape: template}, size)
            if isinstance(asked, str) and len(tokens) <= NEAR_TOKENS:
                bound = _tokens_of(query.literals)
                entry = self._near.setdefault(shape_of_tokens(sql, tokens), _Near(bound, {}))
                if entry.bound == bound:
                    entry.texts[_signature(sql, tokens, bound)] = asked

    def grant(self, relation: Relation, profile: _Profile) -> tuple[Grant | None, int]:
        """A principal's grant on a relation, and the number of its shape; 0 where nobody decided."""
        found = profile.grants.get(relation.key)
        if found is not None:
            return found
        grant = self._policies.grant(relation, profile.principal, self._catalog)
        if grant is None:
            return None, 0
        with self._adding:
            number = self._shapes.setdefault(_shape(grant), len(self._shapes) + 1)
        profile.grants[relation.key] = grant, number
        return grant, number

    def _template(self, text: _Text, profile: _Profile) -> _Template | None:
        return text.templates.get(self._shape(text.relations, profile))

    def _shape(self, relations: tuple[Relation, ...], profile: _Profile) -> Shape:
        return (profile.may, *[self.grant(relation, profile)[1] for relation in relations])

    def _profile(self, principal: Principal) -> _Profile:
        found = self._profiles.get(id(principal))
        if found is not None and found.principal is principal:
            return found
        may = self._policies.capabilities(principal)
        writes = (may.statements, may.relations, may.limits.get("nesting"))
        with self._adding:
            number = self._shapes.setdefault(writes, len(self._shapes) + 1)
            found = _Profile(principal, attribute_values(principal), number, answer_bounds(may))
            _make_room(self._profiles, PRINCIPALS)
            self._profiles[id(principal)] = found
        return found

    def _forget(self, size: int) -> None:
        """Make room: the oldest texts go, but for those that were used since they were last looked at."""
        while self._texts and self._size + size > self._memory:
            key = next(iter(self._texts))
            text = self._texts.pop(key)
            if text.used:
                text.used = False
                self._texts[key] = text
                continue
            self._size -= text.size
        if len(self._near) > 2 * len(self._texts) + 1_000:
            self._near.clear()  # mostly of texts that are gone; they come back with the next new texts


def _make_room(entries: dict[Any, Any], limit: int) -> None:
    """Drop the oldest tenth."""
    if len(entries) >= limit:
        for key in list(entries)[: limit // 10 + 1]:
            del entries[key]


def _tokens_of(literals: tuple[BoundLiteral, ...]) -> frozenset[int]:
    return frozenset(one.token for one in literals)


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


def _signature(sql: str, tokens: list[Token], bound: frozenset[int]) -> tuple[object, ...]:
    """The literals of a text: the class of those that are bound, the others as they are spelled."""
    found: list[object] = []
    for index in literal_positions(tokens):
        token = tokens[index]
        spelled = sql[token.start : token.end + 1]
        found.append((class_of(spelled),) if index in bound else spelled)
    return tuple(found)


def _bind(template: _Template, profile: _Profile, literals: Mapping[str, object]) -> GuardedQuery:
    """A template with a principal's values, and those of its text's literals."""
    made = template.query
    grants = {label: profile.grants[template.relations[label].key][0] for label in made.grants}
    parameters: dict[str, object] = {}
    for grant in grants.values():
        parameters.update(grant.parameters)
    for name in made.attributes_read:
        parameters[f"rls_{name}"] = profile.values.get(name)
    parameters.update(literals)
    guards = tuple([replace(one, grant=profile.grants[one.relation.key][0]) for one in made.guards])
    return replace(made, parameters=parameters, grants=grants, guards=guards, bounds=profile.bounds)
