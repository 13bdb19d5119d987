"""Columns with something before their name → what of them must be replaced, and what is an attribute of the user.

A guard has its relation's alias only: `main.orders.id` loses its schema; of two relations called `orders` the one that
has the column is meant; `user.tenant` is an attribute where nothing in FROM is called `user`. Takes the columns and
the references of a statement; owns DuckDB's rules for which FROM item a qualified name means.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from rls.catalog import Catalog, fold
from rls.rewrite.parse import Parsed
from rls.rewrite.resolution import AttributeUse, Place, QualifiedColumn, Reference, span_of

__all__ = ["resolve_columns"]


def resolve_columns(
    parsed: Parsed,
    columns: Iterable[tuple[exp.Expr, Place | None]],
    references: Mapping[int, Reference],
    catalog: Catalog,
    *,
    shared: Container[str],
) -> Iterator[QualifiedColumn | AttributeUse]:
    """What must be replaced of columns with something before their name.

    references  id of a relation's node → the reference
    shared      folded names that more than one relation of a FROM has
    """
    sources = _Sources(references, catalog)
    for column, place in columns:
        table = column.args["table"]
        name, deeper = fold(table.name), column.args.get("db") is not None
        if name in shared and not deeper:
            yield from _pick_by_column(parsed, column, place, sources)
        if deeper or name in catalog.qualifiers:
            yield from _match_qualified(column, place, sources)
        if name == "user" and not deeper and not table.args.get("quoted"):
            yield from _attribute(parsed, column, place, sources)


def _pick_by_column(
    parsed: Parsed, column: exp.Expr, place: Place | None, sources: _Sources
) -> Iterator[QualifiedColumn]:
    """`orders.supplier` over two relations called `orders`: DuckDB takes the one that has the column."""
    table = column.args["table"]
    for around in Place.around(place):
        named = sources.of(around.select).by_name.get(fold(table.name), [])
        owners = [r for r in named if r.relation.column(column.name) is not None]
        if len(owners) == 1 and owners[0].alias != owners[0].name:
            start, end = span_of(parsed, table)
            yield QualifiedColumn(owners[0], start, end, False, column, place)
        if named:
            break


def _match_qualified(column: exp.Expr, place: Place | None, sources: _Sources) -> Iterator[QualifiedColumn]:
    if not isinstance(column.this, exp.Identifier):
        return  # `main.orders.*`: DuckDB rejects it, and will
    parts = [p for key in ("catalog", "db", "table") if (p := column.args.get(key)) is not None]
    parts.append(column.this)
    names = tuple(fold(p.name) for p in parts)
    for around in Place.around(place):
        items = sources.of(around.select)
        if items.has(names[0]):
            return  # the first part is a FROM item: `o.address.city`
        forms = [(*found, length) for length in range(1, len(names) + 1) if (found := items.forms.get(names[:length]))]
        if forms:
            _, reference, length = min(forms, key=lambda form: form[0])
            start, end = parts[0].meta.get("start"), parts[length - 1].meta.get("end")
            if start is not None and end is not None:
                yield QualifiedColumn(reference, start, end + 1, length == len(names), column, place)
            return


def _attribute(parsed: Parsed, column: exp.Expr, place: Place | None, sources: _Sources) -> Iterator[AttributeUse]:
    identifier = column.this
    if isinstance(identifier, exp.Identifier) and not any(
        sources.of(around.select).has("user") for around in Place.around(place)
    ):
        start, end = span_of(parsed, column.args["table"])[0], span_of(parsed, identifier)[1]
        yield AttributeUse(identifier.name, start, end, column, place)


@dataclass(slots=True)
class _Items:
    """The FROM items of a SELECT: folded aliases, unaliased relations by folded name, and by each way to qualify one,
    with its rank (the first that fits is meant)."""

    aliases: set[str] = field(default_factory=set)
    by_name: dict[str, list[Reference]] = field(default_factory=dict)
    forms: dict[tuple[str, ...], tuple[int, Reference]] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        return name in self.aliases or name in self.by_name


class _Sources:
    """The FROM items of each SELECT, found once per SELECT."""

    def __init__(self, references: Mapping[int, Reference], catalog: Catalog) -> None:
        self._references = references
        self._database, self._schema = fold(catalog.name), tuple(map(fold, catalog.default_schema))
        self._of: dict[int, _Items] = {}

    def of(self, select: exp.Expr) -> _Items:
        found = self._of.get(id(select))
        if found is None:
            found = self._of[id(select)] = self._find(select)
        return found

    def _find(self, select: exp.Expr) -> _Items:
        found = _Items()
        pending = [v for key in ("from_", "joins", "laterals") if (v := select.args.get(key)) is not None]
        flat: list[exp.Expr] = [x for v in pending for x in (v if isinstance(v, list) else [v])]
        while flat:
            item = flat.pop()
            alias = item.args.get("alias")
            if isinstance(alias, exp.TableAlias) and isinstance(alias.this, exp.Identifier):
                found.aliases.add(fold(alias.this.name))
            if isinstance(item, exp.Table):
                reference = self._references.get(id(item))
                if reference is not None and not reference.aliased:
                    self._add(found, reference)
                elif alias is None and isinstance(item.this, exp.Identifier):
                    found.aliases.add(fold(item.this.name))
            elif isinstance(item, exp.Subquery) and not isinstance(item.this, exp.Table | exp.Subquery):
                continue
            flat += item.args.get("joins") or []
            if isinstance(item, exp.From | exp.Join | exp.Subquery) and isinstance(item.this, exp.Expr):
                flat.append(item.this)
        return found

    def _add(self, found: _Items, reference: Reference) -> None:
        found.by_name.setdefault(fold(reference.name), []).append(reference)
        key = reference.relation.key
        forms = [(self._database, *key), key]
        if key[:-1] == self._schema:
            forms.append((self._database, key[-1]))
        for form in forms:
            found.forms.setdefault(form, (len(found.forms), reference))
