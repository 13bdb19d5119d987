"""A suite and a catalog → its cases: tests as they are written, and every cell of the matrix, listed or not.

Owns the rule that what is not listed is expected to be invisible: a persona or a table that nobody thought of is a
case too, and over-sharing fails by default.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rls.catalog import Catalog, Relation, fold
from rls.lab.suites.suite import Case, Listed, Suite

if TYPE_CHECKING:
    from rls.lab.suites.model import Cell, Expect
    from rls.policy.rules import Place

__all__ = ["MATRIX", "default_key", "key_columns", "plan_cases"]

MATRIX = "who sees what"


def plan_cases(suite: Suite, catalog: Catalog) -> list[Case]:
    """All cases of a suite over the database with this catalog, the matrix first.

    Raises PolicyInvalid `policy.suite_relation` where `sees` or `only` names a relation that is not there.
    """
    return [*_matrix(suite, catalog), *suite.tests]


def _matrix(suite: Suite, catalog: Catalog) -> Iterator[Case]:
    if suite.matrix is None:
        return
    relations = _covered(suite, catalog)
    listed: dict[tuple[str, tuple[str, ...]], tuple[Listed, Relation]] = {}
    for each in suite.matrix:
        relation = _find(each.path, catalog, each.place)
        listed[(each.persona, relation.key)] = (each, relation)
        if all(r.key != relation.key for r in relations):
            relations.append(relation)
    for persona in suite.only_personas:
        for relation in relations:
            found = listed.get((persona, relation.key))
            label = relation.label
            yield Case(
                id=f"{suite.file.name}::{MATRIX}[{persona}/{label}]",
                suite=suite.name,
                test=MATRIX,
                persona=persona,
                relation=_written(relation),
                sql=None,
                parameters={},
                expect=_expect("none" if found is None else found[0].cell),
                place=suite.place if found is None else found[0].place,
                listed=found is not None,
            )


def _covered(suite: Suite, catalog: Catalog) -> list[Relation]:
    """The relations of the matrix: those of `only`; else the tables that have given rows; else all tables."""
    if suite.only_relations is not None:
        return [_find(path, catalog, suite.place) for path in suite.only_relations]
    if suite.data is not None:
        return [_find(given.path, catalog, given.place) for given in suite.data]
    return sorted((r for r in catalog.relations.values() if r.kind == "table"), key=lambda r: r.label)


def _find(path: tuple[str, ...], catalog: Catalog, place: Place) -> Relation:
    found = catalog.find(path)
    if found is None:
        from rls.yaml_model import suggest

        label = ".".join(path)
        hint = suggest(label, [r.label for r in catalog.relations.values()])
        message = f"there is no relation `{label}` in these data"
        raise place.document.invalid("policy.suite_relation", message, path=place.path, key=True, hint=hint)
    return found


def _written(relation: Relation) -> str:
    """A relation's name as suites write it, parts with dots in quotes."""
    parts = (*(() if tuple(map(fold, relation.schema)) == ("main",) else relation.schema), relation.name)
    return ".".join(f'"{p}"' if "." in p or '"' in p else p for p in (p.replace('"', '""') for p in parts))


def _expect(cell: Cell) -> Expect:
    from rls.lab.suites.model import Expect

    match cell:
        case Expect():
            return cell
        case "denied":
            return Expect(denied=True)
        case list():
            return Expect(keys=cell)
        case "all" | "none" | int():
            return Expect(rows=cell)
        case _:
            raise TypeError(f"no cell: {type(cell).__name__}")


def key_columns(suite: Suite, relation: Relation, catalog: Catalog, primary: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that name a row: the suite's `keys`, else the primary key, else `id`, else the first column."""
    for path, columns in suite.keys.items():
        found = catalog.find(path)
        if found is not None and found.key == relation.key:
            return tuple(_column(relation, name) for name in columns)
    return default_key(relation, primary)


def default_key(relation: Relation, primary: tuple[str, ...]) -> tuple[str, ...]:
    """The columns that name a row where nobody says so."""
    if primary:
        return primary
    return (next((c.name for c in relation.columns if fold(c.name) == "id"), relation.columns[0].name),)


def _column(relation: Relation, name: str) -> str:
    found = relation.column(name)
    return name if found is None else found.name
