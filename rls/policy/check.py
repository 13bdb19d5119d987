"""A policy set and a live catalog → findings: what would stop a query, hide or show too much, or is left over.

Takes a loaded `PolicySet` (what is wrong in its files alone has been refused by `load`) and the catalog it is to guard;
returns findings sorted by place. It reads no data: types and truth are asked of DuckDB on an empty copy.

    error    a relation or column that does not exist, a pattern that matches nothing, a table nobody decided on, a
             condition that does not bind or is none, an attribute of another type, two masks of one column
    warning  a condition that is always or never true, a relation with restrictive policies only, a mask that changes
             a column's type, a list whose emptiness opens, names given twice, roles and attributes that nothing uses,
             capabilities of roles without effect, what one relation lacks and the others have, masks that all are
             spared, patterns, NULLs and sub-queries that see more than they seem to, what a server has and queries
             cannot reach
"""

from __future__ import annotations

from collections.abc import Iterator

from rls.catalog import Catalog, Relation, fold
from rls.engines.limits import Limits
from rls.errors import PolicyInvalid
from rls.policy.check_odd import find_odd
from rls.policy.check_roles import check_roles
from rls.policy.check_rules import check_column, check_policy
from rls.policy.check_usage import find_unused
from rls.policy.findings import Finding
from rls.policy.policy_set import PolicySet, rules_for
from rls.policy.rules import Pattern, Place, Policy, Rules
from rls.policy.scratch import Scratch
from rls.policy.strict_forms import StrictForms

__all__ = ["check_policies"]


def check_policies(policies: PolicySet, catalog: Catalog, *, limits: Limits | None = None) -> list[Finding]:
    """Everything that a person should look at before these policies guard this catalog, sorted by place.

    `limits` are the engine's, to compare those of roles with; default: `Limits()`.
    """
    catalog = catalog.from_schema(("main",)).attached_as("checked")
    scratch = Scratch(catalog)
    try:
        found = [
            *_targets(policies, catalog),
            *_undecided(policies, catalog),
            *_relations(policies, catalog, scratch),
            *_unknown_types(policies, catalog, scratch),
            *_left_out(policies, catalog),
            *find_odd(policies, catalog),
            *find_unused(policies),
            *check_roles(policies, catalog, limits=limits or Limits()),
        ]
    finally:
        scratch.close()
    # A pattern's policy that is wrong for many tables in the same way is one finding.
    return sorted(set(found), key=lambda f: (f.file, f.line, f.column, f.severity, f.code, f.message))


def _targets(policies: PolicySet, catalog: Catalog) -> Iterator[Finding]:
    """Relations and patterns that point nowhere."""
    for rules in policies.rules:
        target, place = rules.target, rules.place
        if not isinstance(target, Pattern):
            if catalog.find(target) is None:
                yield Finding.of(_unknown_relation(target, place, catalog))
            continue
        covered = [r for r in catalog.relations.values() if rules.covers(r, catalog)]
        if not covered:
            hint = _near_column(target, catalog)
            yield Finding.of(place.invalid("policy.empty_pattern", "the pattern matches no table", hint=hint))
        for index, path in enumerate(target.exempt):
            if catalog.find(path) is None:
                exempt = Place(place.document, ("relations", "except", index))
                yield Finding.of(_unknown_relation(path, exempt, catalog), "warning")
        for rule in rules.columns:
            if covered and all(r.column(rule.column) is None for r in covered):
                message = f"no table of the pattern has a column `{rule.column}`"
                document, at = rule.place.document, rule.place.path[:2]
                yield Finding.of(document.invalid("policy.unknown_column", message, path=at, key=True), "warning")


def _unknown_relation(path: tuple[str, ...], place: Place, catalog: Catalog) -> PolicyInvalid:
    from rls.yaml_model import suggest

    name = ".".join(path)
    hint = suggest(name, [r.label for r in catalog.relations.values()])
    for one in catalog.left_out:
        if fold(one.relation) == fold(name) and not one.column:
            hint = one.why
    return place.invalid("policy.unknown_relation", f"unknown relation `{name}`", hint=hint)


def _near_column(pattern: Pattern, catalog: Catalog) -> str | None:
    from rls.yaml_model import suggest

    known = {c.name for r in catalog.relations.values() for c in r.columns}
    folded = {fold(name) for name in known}
    missing = [name for name in pattern.with_columns if fold(name) not in folded]
    return suggest(missing[0], sorted(known)) if missing else None


def _undecided(policies: PolicySet, catalog: Catalog) -> Iterator[Finding]:
    """Tables that no file names and no pattern matches: queries of them are refused."""
    for relation in sorted(catalog.relations.values(), key=lambda r: r.key):
        rules = rules_for(policies, relation, catalog)
        if relation.kind == "table" and not any(r.decides_rows for r in rules):
            message = f"nobody decided on table `{relation.label}`: every query of it is refused"
            hint = "write policies for it, or `public: true`"
            if rules:
                # A file names it, for its columns or with an empty list of policies: that is where to write.
                error = rules[0].place.invalid("policy.undecided", message, hint=hint)
            else:
                error = PolicyInvalid("policy.undecided", message, file=policies.directory, hint=hint)
            yield Finding.of(error, relation=relation.label)


def _relations(policies: PolicySet, catalog: Catalog, scratch: Scratch) -> Iterator[Finding]:
    """Per relation, what all its rules together show, then each of them."""
    using = (policy.using for rules in policies.rules for policy in rules.policies)
    masks = (rule.mask for rules in policies.rules for rule in rules.columns if rule.mask is not None)
    forms = StrictForms((*using, *masks), policies.attributes)
    seen: set[int] = set()  # a pattern's policy: its truth is looked at for one table
    for relation in catalog.relations.values():
        rules = rules_for(policies, relation, catalog)
        if not rules:
            continue
        yield from _together(policies, relation, rules, catalog)
        for document in rules:
            for policy in document.policies:
                yield from check_policy(policies, policy, relation, scratch, forms, truth=id(policy) not in seen)
                seen.add(id(policy))
            for rule in document.columns:
                if relation.column(rule.column) is not None or not isinstance(document.target, Pattern):
                    yield from check_column(policies, rule, relation, scratch, forms, rules=rules)


def _unknown_types(policies: PolicySet, catalog: Catalog, scratch: Scratch) -> Iterator[Finding]:
    for key in sorted(scratch.unknown_types):
        label = catalog.relations[key].label
        message = f"`{label}` has a column of a type that is not known here: it was checked as VARCHAR"
        hint = "load the extension the type comes from"
        error = PolicyInvalid("policy.unknown_type", message, file=policies.directory, hint=hint)
        yield Finding.of(error, "warning", relation=label)


def _left_out(policies: PolicySet, catalog: Catalog) -> Iterator[Finding]:
    """What the database has, and callers do not: nobody should wonder where it is."""
    for one in catalog.left_out:
        what = f"column `{one.column}` of `{one.relation}`" if one.column else f"`{one.relation}`"
        message = f"{what} does not exist for queries and policies: {one.why}"
        hint = "give it another type, or do without it" if one.column else "do without it, or store a table"
        error = PolicyInvalid("policy.left_out", message, file=policies.directory, hint=hint)
        yield Finding.of(error, "warning", relation=one.relation)


def _together(policies: PolicySet, relation: Relation, rules: list[Rules], catalog: Catalog) -> Iterator[Finding]:
    label = relation.label
    all_policies = [p for r in rules for p in r.policies]
    public = next((r for r in rules if r.public), None)
    if all_policies and public is None and all(p.kind == "restrictive" for p in all_policies):
        error = all_policies[0].place.invalid(
            "policy.restrictive_only",
            f"`{label}` has restrictive policies only: nobody sees a row",
            hint="add a permissive policy: restrictive ones narrow what others permit",
        )
        yield Finding.of(error, "warning", relation=label)
    if public is not None:
        for policy in all_policies:
            effect = "still hides rows" if policy.kind == "restrictive" else "has no effect"
            message = f"`{label}` is public, and policy `{policy.name}` of a pattern {effect}"
            hint = "add the relation to the pattern's `except`, or write policies instead"
            yield Finding.of(public.place.invalid("policy.public", message, hint=hint), "warning", relation=label)
    yield from _open_to_all(relation, all_policies)
    seen: dict[str, Policy] = {}
    for policy in all_policies:
        first = seen.setdefault(policy.name, policy)
        if first is not policy:
            where = f"{first.place.file}:{first.place.line}"
            message = f"two policies of `{label}` are called `{policy.name}`, the first in {where}"
            hint = "audit records name policies: choose another name"
            error = policy.place.invalid("policy.duplicate_name", message, hint=hint)
            yield Finding.of(error, "warning", relation=label)
    try:
        policies.bound(relation, catalog)
    except PolicyInvalid as error:
        # Names that are not found are reported one by one, by `check_policy` and `check_column`.
        if error.code in ("policy.ambiguous_mask", "policy.duplicate_relation", "policy.strict_view"):
            yield Finding.of(error, relation=label)


def _open_to_all(relation: Relation, policies: list[Policy]) -> Iterator[Finding]:
    """`using: true` without roles, and nothing that narrows it."""
    if any(p.kind == "restrictive" for p in policies):
        return
    for policy in policies:
        if policy.kind == "permissive" and policy.roles is None and policy.using.text.strip().lower() == "true":
            message = (
                f"policy `{policy.name}` shows every row of `{relation.label}` to everybody, with a role or without"
            )
            hint = "write `to: […]`, or `public: true` if that is meant"
            yield Finding.of(
                policy.place.invalid("policy.open", message, hint=hint), "warning", relation=relation.label
            )
