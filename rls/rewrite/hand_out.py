"""Caller's texts → guarded queries for other eyes and other connections than the engine's, made once per kind of text.

The first text of its kind is guarded as it is, byte for byte; those that differ from it in literals and white space
only share a second one, in a spelling that is nobody's, with their literals as bound values. Owns that nobody gets a
query that was made of somebody else's text.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Final

from rls.catalog import Catalog
from rls.errors import QueryRefused
from rls.identity.principal import Principal
from rls.rewrite.bound import Planner
from rls.rewrite.guard import Policies
from rls.rewrite.guarded import GuardedQuery
from rls.rewrite.parse import tokenize
from rls.rewrite.port.target import Target
from rls.rewrite.templates import MEMORY, NEAR_TOKENS, Templates
from rls.rewrite.token_shape import literal_positions, shape_of_tokens

__all__ = ["HandedOut"]

KINDS: Final = 50_000  # of texts that were seen once; of each a hash is kept


class HandedOut:
    """One policy set over one catalog. Safe to share between threads; hits take no lock."""

    def __init__(
        self, policies: Policies, catalog: Catalog, *, planner: Planner | None = None, target: Target | None = None
    ) -> None:
        """See `Templates`, which has the memory of both kinds of text."""
        self._exact = Templates(policies, catalog, memory=MEMORY // 2, planner=planner, target=target)
        self._plain = Templates(policies, catalog, memory=MEMORY // 2, planner=planner, target=target, plain=True)
        self._seen: dict[int, None] = {}

    def guard(self, sql: str, principal: Principal, types: Mapping[str, str] | None = None) -> GuardedQuery:
        """The guarded query of exactly this text. Raises `QueryRefused`."""
        return self._exact.guard(sql, principal, types)

    def guard_alike(self, sql: str, principal: Principal, types: Mapping[str, str] | None = None) -> GuardedQuery:
        """The same, or (`near`) one of a text with the same tokens, spelled plainly; its `original` is this text.

        types  DuckDB types of the values of the caller's parameters, by name
        Raises `QueryRefused`.
        """
        found = self._exact.known(sql, principal, types)
        if found is not None:
            return found
        if types:
            return self._exact.guard(sql, principal, types)
        found = self._plain.known(sql, principal)
        if found is not None:
            return found
        tokens = tokenize(sql)
        if tokens is None or len(tokens) > NEAR_TOKENS:
            return self._exact.guard(sql, principal)
        found = self._plain.near(sql, tokens, principal)
        if found is not None:
            return found
        # Two kinds with one hash are guarded plainly a little early.
        kind = hash(shape_of_tokens(sql, tokens, literal_positions(tokens)))
        if kind in self._seen:
            # Whatever it is refused for has its place in the caller's own text; and a PIVOT is filled in there.
            with contextlib.suppress(QueryRefused):
                found = self._plain.guard_plain(sql, principal, tokens)
                if not found.pivots:
                    return found
        made = self._exact.guard(sql, principal)
        if len(self._seen) >= KINDS:
            self._seen.clear()
        self._seen[kind] = None
        return made
