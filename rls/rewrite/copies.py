"""Guarded query → the copies of permitted rows that it is to be read from: those of `strict` relations, and slices.

Takes a verified query; returns what an executor needs to make each copy and to put it in the place of the guards whose
rows it holds. Owns that a strict relation is read from its copy wherever a query reads it, or not at all.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace

from rls.catalog import Catalog
from rls.errors import QueryFailed, QueryRefused
from rls.policy.grant import Grant
from rls.rewrite.guard_text import guard_text
from rls.rewrite.guarded import Copy, Guard, GuardedQuery
from rls.rewrite.leakproof import judge_policy
from rls.rewrite.stability import changes_by_itself

__all__ = ["plan_copies", "refuse_strict"]


def plan_copies(guarded: GuardedQuery, catalog: Catalog, *, slices: bool) -> tuple[GuardedQuery, tuple[Copy, ...]]:
    """The query and its copies: all that are strict, with `slices` also those that may be quicker to read.

    Where every hidden row is behind a strict copy, nothing stored of them is in reach, and the optimizer may look at
    statistics: they are those of permitted rows. Not where they would decide on the rows that a copy is filled with.
    """
    wanted: dict[str, tuple[Guard, list[str]]] = {}
    for one in guarded.guards:
        if must_copy(one) or (slices and one.grant.kind == "conditional" and one.relation.kind == "table"):
            text = guard_text(one, source=catalog.source(one.relation))
            if text not in guarded.sql:
                # Texts are made of the same parts by the same function; were one not found, its guard would be read.
                # (The query that lists a PIVOT's values is a part of the text, with some of its guards.)
                if guarded.splices:
                    raise QueryFailed("run.fault", "a relation could not be read from a copy", hint="tell the operator")
                continue
            _, texts = wanted.setdefault(_rows(one, catalog), (one, []))
            if text not in texts:
                texts.append(text)
    copies = []
    for rows, (one, texts) in wanted.items():
        once = changes_by_itself(rows, catalog)
        if must_copy(one) or not once:
            copies.append(_copy(rows, one, texts, guarded.policy_version, once=once))
    if guarded.hide_statistics and all(
        not one.grant.hides or (must_copy(one) and _is_filled_alike(one, catalog)) for one in guarded.guards
    ):
        guarded = replace(guarded, hide_statistics=False)
    return guarded, tuple(copies)


def refuse_strict(guarded: GuardedQuery) -> None:
    """Raise `QueryRefused` (`query.strict`) for a query that must be read from copies, where there are none."""
    label = next((one.relation.label for one in guarded.guards if must_copy(one)), None)
    if label is not None:
        raise QueryRefused(
            "query.strict",
            f"`{label}` is read from a copy of its permitted rows, which another connection does not have",
            hint="run the query on the engine",
        )


def must_copy(one: Guard) -> bool:
    """Whether a guard may not be read: its relation is strict, and something of it is hidden."""
    return one.grant.strict and one.grant.kind != "never" and _hides(one.grant)


def _is_filled_alike(one: Guard, catalog: Catalog) -> bool:
    """Whether the same rows fill a copy whatever the optimizer knows of stored extremes."""
    return one.relation.kind == "table" and judge_policy(one, catalog).misled is None


def _hides(grant: Grant) -> bool:
    return grant.kind != "always" or bool(grant.masks) or bool(grant.denied)


def _rows(one: Guard, catalog: Catalog) -> str:
    """The guard without what only this query asks for."""
    return guard_text(replace(one, conjuncts=(), fenced=True, flat=False), source=catalog.source(one.relation))


def _copy(rows: str, one: Guard, texts: list[str], version: str, *, once: bool) -> Copy:
    values = dict(one.grant.parameters)
    # Types too: 1, 1.0 and true are equal in Python and not in SQL.
    decided = (rows, version, sorted((name, type(value).__name__, repr(value)) for name, value in values.items()))
    key = hashlib.sha256(repr(decided).encode(errors="surrogatepass")).hexdigest()[:32]
    # A policy such as `valid_until >= current_date` is not to be answered from yesterday's copy: a key of its own.
    key = secrets.token_hex(16) if once else key
    return Copy(key, one.relation.name, tuple(texts), rows, values, one.grant.strict, once, version)
