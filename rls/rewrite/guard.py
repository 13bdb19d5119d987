"""SQL text, principal, policies, catalog → `GuardedQuery`. Pure: no database, clock or global decides anything.

parse → resolve → one guard per base relation spliced over its name → names kept → `verify` with DuckDB's own parser.
Splicing, not regenerating: the caller's text outside the replaced spans stays byte for byte, so that what sqlglot
would print differently (`count(*)`, `(1,)`, `x->'a.b'`) keeps its meaning. Owns invariants (guarded), (fenced).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal, Protocol

from sqlglot import exp

from rls.catalog import Catalog, Relation, fold, quote
from rls.errors import PolicyInvalid, QueryRefused
from rls.identity.capabilities import Capabilities
from rls.identity.principal import Principal
from rls.policy.grant import Grant
from rls.rewrite import verify as verification
from rls.rewrite.capable import answer_bounds, check_statement, nameable
from rls.rewrite.cheap import grows
from rls.rewrite.guard_text import guard_text
from rls.rewrite.guarded import FENCED, Barrier, Guard, GuardedQuery, Splice
from rls.rewrite.literals import BoundLiteral, value_of
from rls.rewrite.naming import Replaced, name_items
from rls.rewrite.parse import Parsed, parse
from rls.rewrite.pivot import list_pivots
from rls.rewrite.resolution import Reference, Resolution
from rls.rewrite.resolve import resolve, unknown_relation
from rls.rewrite.sampling import sample_splices
from rls.rewrite.splice import apply_splices
from rls.rewrite.stability import answer_lasts

__all__ = ["Draft", "Policies", "attribute_values", "draft", "guard"]

MAX_VIEW_DEPTH = 16


class Policies(Protocol):
    """What the rewrite asks of a policy set."""

    @property
    def version(self) -> str: ...
    @property
    def readable(self) -> frozenset[str]: ...
    def grant(self, relation: Relation, principal: Principal, catalog: Catalog) -> Grant | None: ...
    def attribute_parameter(self, name: str) -> str: ...
    def capabilities(self, principal: Principal) -> Capabilities: ...


def guard(sql: str, principal: Principal, policies: Policies, catalog: Catalog) -> GuardedQuery:
    """Rewrite `sql` so that it sees only what `principal` may see of `catalog`; every guard holds a fence.

    The caller's own parameters may be `$name` (not starting with `rls_`); they are bound by the engine. Whether the
    fences may go, and what may stand below them, `barrier.lower` finds out, as `Engine` does.
    Raises `QueryRefused` with a stable code and, where known, the position in `sql`.

    Source: PostgreSQL's row security (combination of policies), DuckDB 2.0's name resolution.
    """
    return draft(sql, principal, policies, catalog).finish(FENCED)


def draft(
    sql: str,
    principal: Principal,
    policies: Policies,
    catalog: Catalog,
    grant_of: Callable[[Relation], Grant | None] | None = None,
) -> Draft:
    """Parse and resolve `sql`; `grant_of` gives the principal's grants, where somebody has them already.

    Raises `QueryRefused`.
    """
    parsed = parse(sql)
    may = policies.capabilities(principal)
    check_statement(parsed, may)
    grant_of = grant_of or (lambda relation: policies.grant(relation, principal, catalog))
    return Draft(parsed, resolve(parsed, nameable(catalog, may)), principal, policies, catalog, grant_of)


Form = Callable[[Guard, int, str], tuple[Guard, str]]
"""A guard, its number in the text and its source → the guard as it is written, and its text."""


@dataclass
class Written:
    """What writing a text came to: its splices, its guards in order, and which of them stand at which offset of the
    caller's text (those inside a view at the view's)."""

    form: Form
    splices: list[Splice] = field(default_factory=list)
    guards: list[Guard] = field(default_factory=list)
    guards_at: dict[int, list[Guard]] = field(default_factory=dict)
    attributes: set[str] = field(default_factory=set)

    def guard(self, one: Guard, source: str) -> str:
        """The text of one more guard."""
        one, text = self.form(one, len(self.guards), source)
        self.guards.append(one)
        return text


@dataclass
class Draft:
    """A query that is parsed and resolved, and knows what its principal may see; `finish` writes it out."""

    parsed: Parsed
    found: Resolution
    principal: Principal
    policies: Policies
    catalog: Catalog
    grant_of: Callable[[Relation], Grant | None]
    grants: dict[tuple[str, ...], Grant | None] = field(default_factory=dict)
    asked: dict[tuple[str, ...], Relation] = field(default_factory=dict)  # whose grants decided the text
    literals: tuple[BoundLiteral, ...] = ()  # of the caller's text that are bound instead
    views: dict[tuple[str, ...], tuple[Parsed, Resolution, Catalog]] = field(default_factory=dict)
    others: dict[int, list[Splice]] = field(default_factory=dict)  # by text: those that no guard's form changes

    def write(self, form: Form, *, literal: Callable[[BoundLiteral], str] | None = None) -> Written:
        """The text in one form of guards, and of bound literals (None: they stay). Raises `QueryRefused`."""
        written = Written(form)
        splices = self._replacements(self.parsed, self.found, self.catalog, written, depth=0)
        if literal is not None and self.literals:
            splices += [Splice(one.start, one.end, literal(one)) for one in self.literals]
            splices.sort(key=lambda s: (s.start, s.end))
        written.splices = splices
        return written

    def finish(self, barrier: Barrier, *, for_duckdb: bool = True) -> GuardedQuery:
        """The final text with this barrier, verified; `for_duckdb`: DuckDB runs it as it is. Raises `QueryRefused`."""
        if not for_duckdb:
            return self._finish(barrier, flat=False, runs_on="another")
        flat = barrier.fenced and grows(self.parsed)
        try:
            return self._finish(barrier, flat=flat)
        except QueryRefused as error:
            # Views, and what only a tree tells: the verifier sees more of what grows than a look at tokens.
            if flat or not barrier.fenced or error.code != "query.unguarded":
                raise
        return self._finish(barrier, flat=True)

    def _finish(
        self, barrier: Barrier, *, flat: bool, runs_on: Literal["duckdb", "another"] = "duckdb"
    ) -> GuardedQuery:
        sql, policies, catalog = self.parsed.text, self.policies, self.catalog

        def form(one: Guard, number: int, source: str) -> tuple[Guard, str]:
            one = replace(one, conjuncts=barrier.conjuncts.get(number, ()), fenced=barrier.fenced, flat=flat)
            return one, guard_text(one, source=source)

        def literal(one: BoundLiteral) -> str:
            # Another engine is told of which type each value is.
            return one.bound(f"${one.name}") if runs_on == "duckdb" or one.cast else f"CAST(${one.name} AS {one.type})"

        written = self.write(form, literal=literal)
        guards, splices = written.guards, written.splices
        listed = list_pivots(self.parsed, self.found, splices)
        if listed:
            splices = sorted((*splices, *(s for p in listed for s in p.splices)), key=lambda s: (s.start, s.end))
        text = apply_splices(sql, splices)
        parameters: dict[str, object] = {}
        for guard in guards:
            parameters.update(guard.grant.parameters)
        values = attribute_values(self.principal)
        for name in written.attributes:
            # A declared attribute that this principal lacks is NULL to the caller's own SQL.
            parameters[f"rls_{name}"] = values.get(name)
        for one in self.literals:
            token = self.parsed.tokens[one.token]
            parameters[one.name] = value_of(sql[token.start : token.end + 1])
        bound = Counter(f"rls_{fold(use.name)}" for use in self.found.attributes)
        bound.update(one.name for one in self.literals)

        def check(final: str) -> bool:
            return verification.verify(
                final,
                catalog=catalog,
                guards=guards,
                bound=bound,
                original=sql,
                splices=splices,
                runs_on=runs_on,
            )

        reads_statistics = check(text)
        for pivot in listed:
            inside = [one for start, some in written.guards_at.items() if pivot.contains(start) for one in some]
            attributes = Counter(f"rls_{fold(use.name)}" for use in self.found.attributes if pivot.contains(use.start))
            verification.verify(pivot.sql, catalog=catalog, guards=inside, bound=attributes, runs_on=runs_on)
            pivot.parameters = sorted({name for one in inside for name in one.grant.parameters} | attributes.keys())
        hides = any(one.grant.hides for one in guards)
        return GuardedQuery(
            sql=text,
            parameters=parameters,
            original=sql,
            grants={one.relation.label: one.grant for one in guards},
            splices=tuple(splices),
            policy_version=policies.version,
            catalog_version=catalog.version,
            attributes_read=tuple(sorted(written.attributes)),
            hide_statistics=hides and (barrier.hide_statistics or reads_statistics),
            reads_statistics=hides and reads_statistics,
            fence_reason=barrier.reason if hides else "",
            pivots=tuple(pivot.places(splices) for pivot in listed),
            guards=tuple(guards),
            check=check if listed else None,
            bounds=answer_bounds(policies.capabilities(self.principal)),
            lasts=lambda values: answer_lasts(text, values, catalog),
        )

    def grant(self, relation: Relation) -> Grant | None:
        """What the principal may see of a relation; None where nobody decided."""
        if relation.key not in self.grants:
            self.asked[relation.key] = relation
            try:
                self.grants[relation.key] = self.grant_of(relation)
            except PolicyInvalid as error:
                # The policy's text is its author's, not the caller's (invariant private); no policy means no rows.
                raise QueryRefused(
                    "query.policy",
                    f"the policies of `{relation.label}` cannot be applied",
                    hint="ask whoever writes them to run `rls check`",
                    detail=str(error),
                ) from None
        return self.grants[relation.key]

    def _replacements(
        self, parsed: Parsed, found: Resolution, catalog: Catalog, written: Written, *, depth: int
    ) -> list[Splice]:
        splices = []
        for reference in found.references:
            before = len(written.guards)
            splices.append(self._guard_splice(parsed, reference, catalog, written, depth))
            if depth == 0:
                written.guards_at[reference.start] = written.guards[before:]
        splices += self._attribute_splices(parsed, found, written, depth)
        others = self.others.get(id(parsed))
        if others is None:
            others = self.others[id(parsed)] = _other_splices(parsed, found)
        splices += others
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

    def _guard_splice(
        self, parsed: Parsed, reference: Reference, catalog: Catalog, written: Written, depth: int
    ) -> Splice:
        relation, start, end = reference.relation, reference.start, reference.end
        grant = self.grant(relation)
        if relation.kind == "view":
            text = self._view_text(parsed, reference, catalog, written, depth)
        elif grant is None or len(grant.denied) == len(relation.columns):
            raise unknown_relation(parsed, start, end)
        else:
            text = written.guard(Guard(relation, grant), catalog.source(relation))
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

    def _view_text(self, parsed: Parsed, reference: Reference, catalog: Catalog, written: Written, depth: int) -> str:
        """A view's own text with its base relations guarded; its own policies, if any, on top."""
        view = reference.relation
        missing = unknown_relation(parsed, reference.start, reference.end)
        if depth >= MAX_VIEW_DEPTH or view.sql is None:
            raise missing
        before = len(written.guards)
        try:
            if view.key not in self.views:
                # Names in a view's text are found from the view's own schema.
                inner_catalog = catalog.from_schema(view.schema)
                inner = parse(view.sql)
                self.views[view.key] = (inner, resolve(inner, inner_catalog), inner_catalog)
            inner, found, inner_catalog = self.views[view.key]
            body = apply_splices(view.sql, self._replacements(inner, found, inner_catalog, written, depth=depth + 1))
        except QueryRefused as error:
            missing.detail = f"{view.label}: {error}"
            raise missing from None
        # A column that does not exist for this principal would be looked for outside the view, in the caller's FROM.
        denied = {fold(c) for one in written.guards[before:] for c in one.grant.denied}
        if denied and any(fold(t.text) in denied or t.text == "*" for t in inner.tokens):
            raise missing
        columns = ", ".join(quote(c.name) for c in view.columns)
        source = f"(SELECT * FROM ({body}) AS {quote(view.name)}({columns}))"
        grant = self.grant(view)
        if grant is None:
            return source
        return written.guard(Guard(view, grant), source)

    def _attribute_splices(self, parsed: Parsed, found: Resolution, written: Written, depth: int) -> list[Splice]:
        splices = []
        for use in found.attributes:
            if depth or fold(use.name) not in self.policies.readable:
                raise QueryRefused(
                    "query.unknown_attribute",
                    f"`user.{use.name[:60]}` is not an attribute that queries may read",
                    position=parsed.position(use.start, use.end),
                    hint="declare it `readable: true` in the identity file",
                )
            name = fold(use.name)
            written.attributes.add(name)
            splices.append(Splice(use.start, use.end, self.policies.attribute_parameter(name)))
        return splices


def _other_splices(parsed: Parsed, found: Resolution) -> list[Splice]:
    """Qualified columns, names of items, samples: what is replaced beside guards and attributes."""
    splices = [Splice(c.start, c.end, quote(c.reference.alias)) for c in found.columns]
    replaced = [Replaced(r.start, r.node, r.place) for r in found.references]
    replaced += [Replaced(c.start, c.node, c.place, c.reference.name if c.whole_row else None) for c in found.columns]
    replaced += [Replaced(a.start, a.node, a.place, a.name) for a in found.attributes]
    splices += name_items(parsed, replaced)
    splices += sample_splices(parsed)
    return splices


def attribute_values(principal: Principal) -> dict[str, object]:
    """What `user.<name>` is bound to, by folded name."""
    values: dict[str, object] = {
        fold(k): list(v) if isinstance(v, tuple) else v for k, v in principal.attributes.items()
    }
    agent = {} if principal.agent is None else {"agent": principal.agent}
    return {**values, **agent, "subject": principal.subject, "roles": sorted(principal.roles)}
