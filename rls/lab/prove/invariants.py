"""invariants.yaml → results: statements that stand beside the policies they are about, proved with every test run.

Takes a policy directory's file; returns a `Result` per statement and relation. Owns the file's shape:

    invariants:
      - name: tenants never meet
        about: {with_columns: [tenant_id]}     # or [orders, finance.ledger]; left out: every table with policies
        unless: [admin]                        # principals with this role are not meant; `only: […]` for the others
        prove: isolated by tenant
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rls.catalog import Catalog, Relation, fold
from rls.lab.prove.claims import Limits, claims_of
from rls.lab.prove.results import Result
from rls.lab.prove.statements import Statement, read_statement
from rls.policy.load import parse_path
from rls.policy.parser import ExpressionInvalid
from rls.policy.policy_set import PolicySet, rules_for
from rls.policy.rules import Pattern, Place
from rls.yaml_model import suggest, validate
from rls.yaml_source import Document, NodePath, parse_documents, read_documents

if TYPE_CHECKING:
    from rls.lab.prove.model import InvariantEntry
    from rls.lab.prove.prover import Prover

__all__ = ["FILE", "check_invariants", "prove_text", "run_invariants", "tables_of"]

FILE: Final = "invariants.yaml"


def run_invariants(
    policies: PolicySet,
    catalog: Catalog,
    *,
    now: float | None = None,
    file: Path | None = None,
    seconds: float = 10.0,
    keys: Mapping[tuple[str, ...], tuple[str, ...]] | None = None,
) -> list[Result]:
    """The invariants of the policies' directory, in the file's order; none without a file. `keys` are primary keys by
    the table's key: what the database itself keeps to, whatever rows come.

    Raises PolicyInvalid for what is wrong in it, `policy.statement` among others, and EngineInvalid
    `engine.missing_extra` without z3.
    """
    from rls.lab.prove.available import require_solver

    path = Path(policies.directory) / FILE if file is None else file
    if not path.is_file():
        return []
    require_solver()
    from rls.lab.prove.model import InvariantFile
    from rls.lab.prove.prover import proving

    document, *more = read_documents(path)
    if more:
        raise more[0].invalid("policy.value", "invariants are one document")
    entries = validate(document, InvariantFile).invariants
    found = []
    with proving(policies, catalog, now=now, seconds=seconds, keys=keys) as prover:
        for index, entry in enumerate(entries):
            found += _run(entry, index, document, prover)
    return found


def check_invariants(policies: PolicySet, catalog: Catalog) -> int:
    """Read the invariants of the policies' directory without proving any; returns how many statements there are.

    Raises PolicyInvalid as `run_invariants` does. Needs no solver.
    """
    path = Path(policies.directory) / FILE
    if not path.is_file():
        return 0
    from rls.lab.prove.model import InvariantFile

    document, *more = read_documents(path)
    if more:
        raise more[0].invalid("policy.value", "invariants are one document")
    entries = validate(document, InvariantFile).invariants
    for index, entry in enumerate(entries):
        asked = _read(entry, index, document, policies, catalog)
        limits, older = asked.limits, policies if asked.statement.kind == "not_wider" else None
        try:
            for relation in _relations(asked, policies, catalog):
                claims_of(asked.statement, relation, policies, catalog, place=asked.place, limits=limits, older=older)
        except ExpressionInvalid as error:
            raise asked.place.invalid_expression(error) from None
    return len(entries)


def _run(entry: InvariantEntry, index: int, document: Document, prover: Prover) -> list[Result]:
    asked = _read(entry, index, document, prover.policies, prover.catalog)
    try:
        results = _prove(asked, prover)
    except ExpressionInvalid as error:
        raise asked.place.invalid_expression(error) from None
    name, line = entry.name or entry.prove, document.position(("invariants", index))[0]
    return [replace(r, name=name, file=asked.place.file, line=line) for r in results]


def _read(entry: InvariantEntry, index: int, document: Document, policies: PolicySet, catalog: Catalog) -> _Asked:
    """An entry's statement, and what it speaks of."""
    at: NodePath = ("invariants", index)
    place = Place(document, (*at, "prove"))
    for key, roles in (("only", entry.only), ("unless", entry.unless)):
        for number, role in enumerate(roles):
            if role not in policies.identity.roles:
                hint = suggest(role, policies.identity.roles)
                raise document.invalid(
                    "policy.unknown_role", f"role `{role}` is not declared", path=(*at, key, number), hint=hint
                )
    relations = _about(entry, document, at, catalog)
    try:
        statement = read_statement(entry.prove)
    except ExpressionInvalid as error:
        raise place.invalid_expression(error) from None
    return _Asked(statement, relations, Limits(tuple(entry.only), tuple(entry.unless)), place, Path(policies.directory))


def _about(entry: InvariantEntry, document: Document, at: NodePath, catalog: Catalog) -> list[Relation] | None:
    if entry.about is None:
        return None
    if not isinstance(entry.about, list):
        pattern = Pattern(tuple(entry.about.with_columns), (), ())
        relations = catalog.relations.values()
        found = [r for r in relations if pattern.matches(r, catalog)]
        if not found:
            message = "no table has these columns"
            raise document.invalid("policy.empty_pattern", message, path=(*at, "about", "with_columns"))
        return sorted(found, key=lambda r: r.label)
    named = []
    for number, text in enumerate(entry.about):
        path = parse_path(text)
        relation = None if path is None else catalog.find(path)
        if relation is None:
            hint = suggest(text, [r.label for r in catalog.relations.values()])
            raise document.invalid(
                "policy.unknown_relation", f"unknown relation `{text}`", path=(*at, "about", number), hint=hint
            )
        named.append(relation)
    return named


def prove_text(
    text: str, prover: Prover, *, about: Sequence[str] = (), limits: Limits | None = None, base: Path | None = None
) -> list[Result]:
    """One statement, as it is written on a command line; `about` are relations' names, none for all with policies.

    `base` is what the directory of `not wider than` is relative to. Raises PolicyInvalid with the place in the text.
    """
    document = parse_documents("- " + _quoted(text), file="statement")[0]
    place = Place(document, (0,))
    relations = None
    if about:
        relations = []
        for name in about:
            path = parse_path(name)
            relation = None if path is None else prover.catalog.find(path)
            if relation is None:
                hint = suggest(name, [r.label for r in prover.catalog.relations.values()])
                raise document.invalid("policy.unknown_relation", f"unknown relation `{name}`", hint=hint)
            relations.append(relation)
    try:
        return _prove(_Asked(read_statement(text), relations, limits or Limits(), place, base or Path()), prover)
    except ExpressionInvalid as error:
        raise place.invalid_expression(error) from None


def _quoted(text: str) -> str:
    return "'" + " ".join(text.split("\n")).replace("'", "''") + "'"


@dataclass(frozen=True, slots=True)
class _Asked:
    """A statement and what it speaks of; `relations` None where it does not say. `base`: see `prove_text`."""

    statement: Statement
    relations: list[Relation] | None
    limits: Limits
    place: Place
    base: Path


def _prove(asked: _Asked, prover: Prover) -> list[Result]:
    statement, older = asked.statement, None
    if statement.kind == "not_wider":
        older, current = _compared(statement.path, asked.base, prover.policies)
        prover = replace(prover, policies=current)
    relations = _relations(asked, prover.policies, prover.catalog)
    return prover.prove(statement, relations, place=asked.place, limits=asked.limits, older=older)


def _relations(asked: _Asked, policies: PolicySet, catalog: Catalog) -> list[Relation]:
    """What a statement is about; raises ExpressionInvalid where it does not say so and must."""
    if asked.relations is not None:
        return asked.relations
    statement = asked.statement
    relations = tables_of(policies, catalog, statement)
    if not relations:
        # Nothing to prove would be proved: a name with a typing error among them.
        raise ExpressionInvalid(
            "policy.statement",
            f"`{statement.text}` speaks of no table with policies",
            length=len(statement.text),
            hint="name an attribute, or a column that such a table has" if statement.kind == "isolated" else None,
        )
    if statement.sides and len(relations) > 1 and any(s.kind != "visible" for s in statement.sides):
        raise ExpressionInvalid(
            "policy.statement",
            "this statement names columns or policies, and it is not said of which relation",
            length=len(statement.text),
            hint="say so: `about: [orders]`, or --about orders",
        )
    return relations


def _compared(path: str, base: Path, policies: PolicySet) -> tuple[PolicySet, PolicySet]:
    """The other directory's policies and these, for principals who have what either declares."""
    from rls.lab.diff.revisions import open_policies

    older = open_policies(path, base=base)
    for name, attribute in older.attributes.items():
        if policies.attributes.get(name, attribute) != attribute:
            message = f"attribute `{attribute.name}` is declared differently in `{path}`"
            raise ExpressionInvalid("policy.statement", message, length=len(path))
    identity = replace(
        policies.identity,
        roles=policies.identity.roles | older.identity.roles,
        attributes={**older.identity.attributes, **policies.identity.attributes},
    )
    both = {**older.attributes, **policies.attributes}
    return (
        replace(older, attributes=both, identity=identity),
        replace(policies, attributes=both, identity=identity),
    )


def tables_of(policies: PolicySet, catalog: Catalog, statement: Statement) -> list[Relation]:
    """The tables that a statement speaks of when it does not say: those with policies, and `public` ones only if the
    statement is about what may change."""
    found = []
    for relation in sorted(catalog.relations.values(), key=lambda r: r.label):
        deciding = [r for r in rules_for(policies, relation, catalog) if r.decides_rows]
        if relation.kind != "table" or not deciding:
            continue
        if any(r.public for r in deciding) and statement.kind != "not_wider":
            continue
        if statement.kind == "isolated" and policies.attributes.get(fold(statement.name)) is None:
            # By a column: the tables that have it.
            if relation.column(statement.name) is not None:
                found.append(relation)
            continue
        found.append(relation)
    return found
