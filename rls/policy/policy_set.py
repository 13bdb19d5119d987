"""`PolicySet`: all policies of a directory, asked for the grant of a principal on a relation.

It owns the rule that a relation is decided only by rules that name it or match it; one that nobody decided on has no
grant, and the rewrite refuses it (default deny). Frozen and safe to share between threads: what it remembers (rules
bound to a catalog's relation) can be computed again by anyone with the same result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rls.catalog import Catalog, Relation, fold, shown_type
from rls.errors import PolicyInvalid
from rls.identity.capabilities import Capabilities
from rls.identity.principal import Principal
from rls.policy.attributes import Attribute
from rls.policy.bind import bind
from rls.policy.compile import compile_grant
from rls.policy.grant import Grant
from rls.policy.parser import ExpressionInvalid
from rls.policy.rules import Bound, BoundColumn, BoundPolicy, ColumnRule, Pattern, Place, Policy, Rules

if TYPE_CHECKING:
    from rls.identity.declared import Identity

__all__ = ["PolicySet", "bind_column", "bind_policy", "public_labels", "rules_for"]

_MAX_CATALOGS = 8


@dataclass(frozen=True, eq=False)
class PolicySet:
    """The policies of a directory. `rules` keep every policy's text, tree and place; `version` is a hash over
    everything that decides; `attributes` are the declared and built-in ones by folded name."""

    rules: tuple[Rules, ...]
    identity: Identity
    attributes: Mapping[str, Attribute] = field(repr=False)
    version: str
    directory: str = ""
    # What is remembered of a catalog, by the id of its relations; beside them, so that the id is not given again.
    # A set made from this one with `replace` begins without.
    _bound: dict[tuple[int, str], tuple[object, dict[tuple[str, ...], Bound | None]]] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )
    _indexes: dict[tuple[object, ...], tuple[object, _Index]] = field(
        init=False, default_factory=dict, repr=False, compare=False
    )

    @property
    def texts(self) -> Mapping[str, str]:
        """The texts of the policy files, by file name."""
        return {Path(rules.place.file).name: rules.place.document.text for rules in self.rules}

    @property
    def readable(self) -> frozenset[str]:
        """Folded names of the attributes that callers may use in their SQL."""
        return frozenset(map(fold, self.identity.readable))

    def attribute_parameter(self, name: str) -> str:
        """The SQL that stands for `user.<name>`: `CAST($rls_tenant AS VARCHAR)`. Raises KeyError if undeclared."""
        return self.attributes[fold(name)].sql

    def capabilities(self, principal: Principal) -> Capabilities:
        """What the principal may do beside what it may see."""
        return self.identity.capabilities(principal.roles)

    def grant(self, relation: Relation, principal: Principal, catalog: Catalog) -> Grant | None:
        """What `principal` may see of `relation`; None where no rule decides on its rows.

        Raises PolicyInvalid where a policy does not fit the relation (`policy.unknown_column`,
        `policy.unknown_relation`, `policy.shadowed`, `policy.ambiguous_mask`, `policy.duplicate_relation`,
        `policy.strict_view`): a policy that cannot be applied never widens what is seen.
        """
        bound = self.bound(relation, catalog)
        return None if bound is None else compile_grant(bound, principal, self.attributes)

    def bound(self, relation: Relation, catalog: Catalog) -> Bound | None:
        """The rules that decide on a relation, names resolved in `catalog`; None if none does. Raises like `grant`."""
        key = (id(catalog.relations), catalog.attached)
        entry = self._bound.get(key)
        if entry is None:
            if len(self._bound) >= _MAX_CATALOGS:
                self._bound.clear()
            entry = self._bound[key] = (catalog.relations, {})
        remembered = entry[1]
        if relation.key not in remembered:
            # Names in policies are found from `main`, wherever the query that led here looks for its own.
            remembered[relation.key] = _bind_rules(self, relation, catalog.from_schema(("main",)))
        return remembered[relation.key]


def _bind_rules(policies: PolicySet, relation: Relation, catalog: Catalog) -> Bound | None:
    rules = rules_for(policies, relation, catalog)
    if not any(r.decides_rows for r in rules):
        return None
    _refuse_two_names(rules)
    _refuse_strict_view(rules, relation)
    own = sorted((p for r in rules for p in r.policies), key=lambda p: (p.name, p.place.file, p.place.line))
    columns = _column_rules(rules, relation)
    labels = public_labels(rules, relation)
    return Bound(
        relation,
        public=any(r.public for r in rules),
        policies=tuple(bind_policy(policies, p, relation, catalog) for p in own),
        columns=tuple(bind_column(policies, rule, relation, catalog, labels=labels) for rule in columns),
        labels=labels,
        strict=any(r.strict for r in rules),
    )


def rules_for(policies: PolicySet, relation: Relation, catalog: Catalog) -> list[Rules]:
    """The rules that name a relation or match it, in order of files."""
    index = _index_of(policies, catalog)
    matching = [n for n in index.patterns if policies.rules[n].covers(relation, catalog)]
    return [policies.rules[n] for n in sorted((*index.named.get(relation.key, ()), *matching))]


@dataclass(frozen=True, slots=True)
class _Index:
    """Places in `PolicySet.rules`: of those that name a relation, by its key, and of patterns."""

    named: dict[tuple[str, ...], list[int]]
    patterns: list[int]


def _index_of(policies: PolicySet, catalog: Catalog) -> _Index:
    """Found once for a catalog, so that the first query of a relation does not look through the rules of all."""
    key = (id(catalog.relations), catalog.name, catalog.default_schema)
    entry = policies._indexes.get(key)
    if entry is None:
        if len(policies._indexes) >= _MAX_CATALOGS:
            policies._indexes.clear()
        entry = policies._indexes[key] = (catalog.relations, _made_index(policies.rules, catalog))
    return entry[1]


def _made_index(rules: tuple[Rules, ...], catalog: Catalog) -> _Index:
    index = _Index({}, [])
    for number, one in enumerate(rules):
        if isinstance(one.target, Pattern):
            index.patterns.append(number)
        elif (relation := catalog.find(one.target)) is not None:
            index.named.setdefault(relation.key, []).append(number)
    return index


def bind_policy(policies: PolicySet, policy: Policy, relation: Relation, catalog: Catalog) -> BoundPolicy:
    """A policy for a relation. Raises PolicyInvalid where a name in its condition is not found."""
    try:
        return BoundPolicy(policy, bind(policy.using, relation, catalog, policies.attributes))
    except ExpressionInvalid as error:
        raise policy.place.invalid_expression(error) from None


def bind_column(
    policies: PolicySet, rule: ColumnRule, relation: Relation, catalog: Catalog, *, labels: frozenset[str]
) -> BoundColumn:
    """A column rule for a relation that has the column. Raises PolicyInvalid where a name in its mask is not found."""
    column = relation.column(rule.column)
    if column is None:
        raise _unknown_column(rule, relation)
    shown = column.type if column.name in labels else shown_type(column.type)
    blank = f"CAST(NULL AS {shown})"
    if rule.mask is None:
        return BoundColumn(rule, column.name, None, blank)
    hidden = frozenset(fold(c.name) for c in relation.columns if "ENUM(" in c.type and c.name not in labels)
    try:
        holes = bind(rule.mask, relation, catalog, policies.attributes, labels_hidden=hidden)
    except ExpressionInvalid as error:
        raise rule.place.invalid_expression(error) from None
    return BoundColumn(rule, column.name, rule.mask.root.text(holes), blank)


def public_labels(rules: list[Rules], relation: Relation) -> frozenset[str]:
    """The catalog's names of the columns whose ENUM labels are public."""
    columns = (relation.column(c.column) for r in rules for c in r.columns if c.labels_public)
    return frozenset(c.name for c in columns if c is not None)


def _column_rules(rules: list[Rules], relation: Relation) -> list[ColumnRule]:
    """The rules of a relation's columns.

    A column that a document names for its relation must exist: after a renaming, its mask would vanish without a
    word. A pattern's columns are those that its tables happen to have.
    """
    found: list[ColumnRule] = []
    masks: dict[str, ColumnRule] = {}
    for document in rules:
        for rule in document.columns:
            column = relation.column(rule.column)
            if column is None:
                if isinstance(document.target, Pattern):
                    continue
                raise _unknown_column(rule, relation)
            first = masks.setdefault(column.name, rule) if rule.mask is not None else rule
            if rule.mask is not None and first.mask is not None and first.mask.text != rule.mask.text:
                raise rule.place.invalid(
                    "policy.ambiguous_mask",
                    f"column `{column.name}` of `{relation.label}` has another mask in {_where(first.place)}",
                    hint="keep one of them, or add the relation to the pattern's `except`",
                )
            found.append(rule)
    return found


def _unknown_column(rule: ColumnRule, relation: Relation) -> PolicyInvalid:
    from rls.yaml_model import suggest

    hint = suggest(rule.column, [c.name for c in relation.columns])
    message = f"`{relation.label}` has no column `{rule.column}`"
    document, at = rule.place.document, rule.place.path[:2]
    return document.invalid("policy.unknown_column", message, path=at, key=True, hint=hint)


def _refuse_strict_view(rules: list[Rules], relation: Relation) -> None:
    strict = next((r for r in rules if r.strict), None)
    if strict is not None and relation.kind == "view":
        raise strict.place.document.invalid(
            "policy.strict_view",
            f"`{relation.label}` is a view, and `strict` is for tables",
            path=("strict",),
            hint="make the tables it reads strict",
        )


def _refuse_two_names(rules: list[Rules]) -> None:
    named = [r for r in rules if not isinstance(r.target, Pattern)]
    if len(named) > 1:
        raise named[1].place.invalid(
            "policy.duplicate_relation",
            f"this relation is decided twice, first in {_where(named[0].place)}",
            hint="put both into one document",
        )


def _where(place: Place) -> str:
    return f"{place.file}:{place.line}"
