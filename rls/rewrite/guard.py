"""SQL text, principal, policies, catalog → `GuardedQuery`. Pure: no database, clock or global decides anything.

parse → resolve → one guard per base relation spliced over its name → names kept → `verify` with DuckDB's own parser.
Splicing, not regenerating: the caller's text outside the replaced spans stays byte for byte, so that what sqlglot
would print differently (`count(*)`, `(1,)`, `x->'a.b'`) keeps its meaning. Owns invariants (guarded), (fenced).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

from sqlglot import exp

from rls.catalog import Catalog, Relation, fold, quote
from rls.errors import PolicyInvalid, QueryRefused
from rls.identity.principal import Principal
from rls.policy.grant import Grant
from rls.rewrite import verify as verification
from rls.rewrite.conjuncts import copied_conjuncts
from rls.rewrite.guarded import Guard, GuardedQuery, Splice
from rls.rewrite.leakproof import why_it_may_raise
from rls.rewrite.naming import name_items
from rls.rewrite.parse import Parsed, parse
from rls.rewrite.pivot import list_pivots
from rls.rewrite.resolve import Reference, Resolution, resolve, unknown_relation
from rls.rewrite.sampling import sample_splices
from rls.rewrite.shown import shown_columns
from rls.rewrite.splice import apply_splices

__all__ = ["Policies", "guard", "guard_text"]

MAX_VIEW_DEPTH = 16


class Policies(Protocol):
    """What the rewrite asks of a policy set."""

    @property
    def version(self) -> str: ...
    @property
    def readable(self) -> frozenset[str]: ...
    def grant(self, relation: Relation, principal: Principal, catalog: Catalog) -> Grant | None: ...
    def attribute_parameter(self, name: str) -> str: ...


@dataclass
class _Work:
    """What one query needs along the way, its views included."""

    principal: Principal
    policies: Policies
    catalog: Catalog
    grants: dict[tuple[str, ...], Grant | None] = field(default_factory=dict)
    guards: list[Guard] = field(default_factory=list)
    guards_at: dict[int, list[Guard]] = field(default_factory=dict)  # by offset in the caller's text
    attributes: set[str] = field(default_factory=set)

    def grant(self, relation: Relation) -> Grant | None:
        if relation.key not in self.grants:
            try:
                self.grants[relation.key] = self.policies.grant(relation, self.principal, self.catalog)
            except PolicyInvalid as error:
                # The policy's text is its author's, not the caller's (invariant private); no policy means no rows.
                raise QueryRefused(
                    "query.policy",
                    f"the policies of `{relation.label}` cannot be applied",
                    hint="ask whoever writes them to run `rls check`",
                    detail=str(error),
                ) from None
        return self.grants[relation.key]


def guard(sql: str, principal: Principal, policies: Policies, catalog: Catalog) -> GuardedQuery:
    """Rewrite `sql` so that it sees only what `principal` may see of `catalog`.

    The caller's own parameters may be `$name` (not starting with `rls_`); they are bound by the engine.
    Raises `QueryRefused` with a stable code and, where known, the position in `sql`.

    Source: PostgreSQL's row security (combination of policies), DuckDB 2.0's name resolution.
    """
    parsed = parse(sql)
    found = resolve(parsed, catalog)
    work = _Work(principal, policies, catalog)
    splices = _replacements(parsed, found, work, depth=0)
    listed = list_pivots(parsed, found, splices)
    if listed:
        splices = sorted((*splices, *(s for p in listed for s in p.splices)), key=lambda s: (s.start, s.end))
    text = apply_splices(sql, splices)
    parameters: dict[str, object] = {}
    for one in work.guards:
        parameters.update(one.grant.parameters)
    values = _attribute_values(principal)
    for name in work.attributes:
        # A declared attribute that this principal lacks is NULL to the caller's own SQL.
        parameters[f"rls_{name}"] = values.get(name)
    bound = Counter(f"rls_{fold(use.name)}" for use in found.attributes)

    def check(final: str) -> bool:
        return verification.verify(
            final, catalog=catalog, guards=work.guards, bound=bound, original=sql, splices=splices
        )

    reads_statistics = check(text)
    for pivot in listed:
        inside = [one for start, guards in work.guards_at.items() if pivot.contains(start) for one in guards]
        attributes = Counter(f"rls_{fold(use.name)}" for use in found.attributes if pivot.contains(use.start))
        verification.verify(pivot.sql, catalog=catalog, guards=inside, bound=attributes)
        pivot.parameters = sorted({name for one in inside for name in one.grant.parameters} | attributes.keys())
    return GuardedQuery(
        sql=text,
        parameters=parameters,
        original=sql,
        grants={one.relation.label: one.grant for one in work.guards},
        fingerprint=_fingerprint(text, parameters, policies.version, catalog.version),
        splices=tuple(splices),
        policy_version=policies.version,
        catalog_version=catalog.version,
        attributes_read=tuple(sorted(work.attributes)),
        hide_statistics=reads_statistics or _may_tell_extremes(text, work, catalog),
        pivots=tuple(pivot.places(splices) for pivot in listed),
        guards=tuple(work.guards),
        check=check if listed else None,
    )


def guard_text(guard: Guard, catalog: Catalog, *, source: str | None = None) -> str:
    """The sub-query that stands for a relation: its permitted rows, its shown columns.

    `SELECT * [EXCLUDE denied] [REPLACE masks] FROM source AS "name" [WHERE predicate [AND copies]] [OFFSET 0]`. The
    OFFSET keeps the caller's expressions above the row filter (invariant fenced).
    """
    relation, grant = guard.relation, guard.grant
    text = (
        f"SELECT {shown_columns(relation, grant)} FROM {source or catalog.source(relation)} AS {quote(relation.name)}"
    )
    match grant.kind:
        case "always":
            return f"({text})"
        case "conditional":
            parts = [grant.predicate, *guard.conjuncts]
            where = " AND ".join(f"({part})" for part in parts) if guard.conjuncts else grant.predicate
            return f"({text} WHERE {where} OFFSET 0)"
        case _:
            return f"({text} WHERE false OFFSET 0)"


def _replacements(parsed: Parsed, found: Resolution, work: _Work, *, depth: int) -> list[Splice]:
    splices = []
    for reference in found.references:
        before = len(work.guards)
        splices.append(_guard_splice(parsed, reference, found.references, work, depth))
        if depth == 0:
            work.guards_at[reference.start] = work.guards[before:]
    splices += [Splice(c.start, c.end, quote(c.reference.alias)) for c in found.columns]
    splices += _attribute_splices(parsed, found, work, depth)
    places: list[tuple[int, exp.Expr, str | None]] = [(r.start, r.node, None) for r in found.references]
    places += [(c.start, c.node, c.reference.name if c.whole_row else None) for c in found.columns]
    places += [(a.start, a.node, a.name) for a in found.attributes]
    splices += name_items(parsed, places)
    splices += sample_splices(parsed)
    # A name inserted at the end of an item comes after a replacement that ends there.
    splices.sort(key=lambda s: (s.start, s.end))
    for earlier, later in pairwise(splices):
        if earlier.end > later.start:
            raise QueryRefused(
                "query.reference",
                "two replacements overlap",
                position=parsed.position(later.start),
                hint="name relations by schema.name and columns by alias",
            )
    return splices


def _guard_splice(parsed: Parsed, reference: Reference, others: Sequence[Reference], work: _Work, depth: int) -> Splice:
    relation, start, end = reference.relation, reference.start, reference.end
    grant = work.grant(relation)
    if relation.kind == "view":
        text = _view_text(parsed, reference, grant, work, depth)
    elif grant is None or len(grant.denied) == len(relation.columns):
        raise unknown_relation(parsed, start, end)
    else:
        one = Guard(relation, grant, _copies(reference, grant, others, work))
        text = guard_text(one, work.catalog)
        work.guards.append(one)
    if not reference.aliased:
        text += f" AS {quote(reference.alias)}"
    # `TABLE orders`, `SUMMARIZE orders`, `DESCRIBE TABLE orders` take a bare name only; a query takes a sub-query.
    index = parsed.token_at[start]
    word = parsed.tokens[index - 1].text.upper() if index else ""
    if word == "TABLE":
        return Splice(parsed.tokens[index - 1].start, end, f"FROM {text}")
    if isinstance(reference.node.parent, exp.Summarize | exp.Describe):
        return Splice(start, end, f"FROM {text}")
    return Splice(start, end, text)


def _view_text(parsed: Parsed, reference: Reference, grant: Grant | None, work: _Work, depth: int) -> str:
    """A view's own text with its base relations guarded; its own policies, if any, on top."""
    view = reference.relation
    missing = unknown_relation(parsed, reference.start, reference.end)
    if depth >= MAX_VIEW_DEPTH or view.sql is None:
        raise missing
    before = len(work.guards)
    inner_catalog = work.catalog
    # Names in a view's text are found from the view's own schema.
    work.catalog = work.catalog.from_schema(view.schema)
    try:
        inner = parse(view.sql)
        body = apply_splices(view.sql, _replacements(inner, resolve(inner, work.catalog), work, depth=depth + 1))
    except QueryRefused as error:
        missing.detail = f"{view.label}: {error}"
        raise missing from None
    finally:
        work.catalog = inner_catalog
    # A column that does not exist for this principal would be looked for outside the view, in the caller's FROM.
    denied = {fold(c) for one in work.guards[before:] for c in one.grant.denied}
    if denied and any(fold(t.text) in denied or t.text == "*" for t in inner.tokens):
        raise missing
    columns = ", ".join(quote(c.name) for c in view.columns)
    source = f"({body})"
    if grant is None:
        return f"(SELECT * FROM {source} AS {quote(view.name)}({columns}))"
    own = Guard(view, grant)
    work.guards.append(own)
    return guard_text(own, work.catalog, source=f"(SELECT * FROM {source} AS {quote(view.name)}({columns}))")


def _copies(reference: Reference, grant: Grant, others: Sequence[Reference], work: _Work) -> tuple[str, ...]:
    """The caller's conditions that go below this guard's fence: those that cannot raise on any row."""
    if grant.kind != "conditional":
        return ()
    relation = reference.relation
    source = f"SELECT 1 FROM {work.catalog.source(relation)} AS {quote(relation.name)} WHERE "
    copies = copied_conjuncts(reference, grant, others)
    if copies and why_it_may_raise(source + " AND ".join(copies), work.catalog) is None:
        return tuple(copies)
    return tuple(c for c in copies if why_it_may_raise(source + c, work.catalog) is None)


def _may_tell_extremes(text: str, work: _Work, catalog: Catalog) -> bool:
    """Whether stored extremes of hidden rows could decide between an answer and an error.

    The optimizer folds `amount >= 77` to false where the extremes say so, and with it whatever else stood there:
    `amount BETWEEN 77 AND ''` raised or not by the hidden maximum. Where nothing can raise, nothing can be told.
    """
    hides_rows = any(one.grant.kind != "always" for one in work.guards)
    return hides_rows and why_it_may_raise(text, catalog) is not None


def _attribute_splices(parsed: Parsed, found: Resolution, work: _Work, depth: int) -> list[Splice]:
    splices = []
    for use in found.attributes:
        if depth or fold(use.name) not in work.policies.readable:
            raise QueryRefused(
                "query.unknown_attribute",
                f"`user.{use.name[:60]}` is not an attribute that queries may read",
                position=parsed.position(use.start, use.end),
                hint="declare it `readable: true` in the identity file",
            )
        name = fold(use.name)
        work.attributes.add(name)
        splices.append(Splice(use.start, use.end, work.policies.attribute_parameter(name)))
    return splices


def _attribute_values(principal: Principal) -> dict[str, object]:
    values: dict[str, object] = {
        fold(k): list(v) if isinstance(v, tuple) else v for k, v in principal.attributes.items()
    }
    agent = {} if principal.agent is None else {"agent": principal.agent}
    return {**values, **agent, "subject": principal.subject, "roles": sorted(principal.roles)}


def _fingerprint(text: str, parameters: Mapping[str, object], policy_version: str, catalog_version: str) -> str:
    values = sorted((k, type(v).__name__, repr(v)) for k, v in parameters.items())
    return hashlib.sha256(json.dumps([text, values, policy_version, catalog_version]).encode()).hexdigest()
