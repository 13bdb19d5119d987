"""Parsed statement and what a principal's roles may do → nothing, or a refusal; and the relations that he may name.

By the closed world of `rls.identity.capabilities`: kinds of statement are looked for wherever they stand, so that a
PIVOT in a sub-query is a PIVOT. A relation that may not be named is not in the catalog that names are found in:
nothing about it differs from one that does not exist (invariant private).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from sqlglot import exp

from rls.catalog import Catalog
from rls.errors import QueryRefused
from rls.identity.capabilities import Capabilities
from rls.rewrite.parse import Parsed

__all__ = ["answer_bounds", "check_statement", "nameable", "statement_kinds"]

_OF_ANSWERS: Final = ("columns", "list_items", "nesting", "rows")


def check_statement(parsed: Parsed, may: Capabilities) -> None:
    """Raise `QueryRefused`: `query.statement_not_allowed`, `query.too_nested`."""
    allowed = may.statements
    if allowed is not None:
        for kind in sorted(statement_kinds(parsed)):
            if kind not in allowed:
                raise QueryRefused(
                    "query.statement_not_allowed",
                    f"your roles may not use `{kind}`",
                    hint=f"allowed are: {', '.join(sorted(allowed))}",
                )
    most = may.limits.get("nesting")
    if most is not None and parsed.nesting > most:
        raise QueryRefused(
            "query.too_nested",
            f"the query is nested deeper than the {int(most)} levels that your roles allow",
            hint="use WITH to name inner parts",
        )


def nameable(catalog: Catalog, may: Capabilities) -> Catalog:
    """The catalog with only the relations that may be named; views keep theirs, since they name them themselves."""
    if may.relations is None:
        return catalog
    found = (catalog.find(path) for path in may.relations)
    return replace(catalog, relations={relation.key: relation for relation in found if relation is not None})


def answer_bounds(may: Capabilities) -> tuple[tuple[str, int | float], ...]:
    """Limits that end a query by what its answer holds: who has lower ones has no right to the same answer."""
    return tuple((name, may.limits[name]) for name in _OF_ANSWERS if name in may.limits)


def statement_kinds(parsed: Parsed) -> frozenset[str]:
    """The kinds of statement in a text, of `rls.identity.capabilities.STATEMENTS`."""
    return frozenset(kind for node in parsed.tree.walk() for kind in _kinds(node))


def _kinds(node: exp.Expr) -> Iterator[str]:
    match node:
        case exp.Pivot():
            yield "unpivot" if node.args.get("unpivot") else "pivot"
        case exp.Summarize():
            yield "summarize"
        case exp.Describe():
            yield "describe"
        case exp.Values():
            yield "values"
        case exp.With() if node.args.get("recursive"):
            yield "recursive"
        case exp.Select() | exp.SetOperation():
            yield "select"
        case _:
            # Everything else is part of one of these: `parse` and `verify` refuse what is not.
            pass
