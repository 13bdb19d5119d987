"""An expression, a relation and the catalog → the text that fills each hole: every name found, or the policy refused.

A guard stands inside the caller's query, and DuckDB looks a name up in the queries around it when it is not found
inside: a policy's `tenant_id` would bind to the caller's own column of that name once the table has lost its own, and
the caller would choose the rows. So every name is resolved here, against the catalog, before a guard is made: columns
of the relation become `"orders"."tenant_id"`, mapping tables get their full name, and what is not found is an error
of the policy. Where this module and DuckDB could disagree it finds less, never more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from rls.catalog import Catalog, Column, Relation, fold, quote, shown_type
from rls.policy.attributes import Attribute
from rls.policy.expressions import Expression
from rls.policy.parser import ExpressionInvalid
from rls.policy.scopes import Hole, Item, Scope, Source

__all__ = ["bind", "has_fields", "struct_fields"]

_TRUNCATES = re.compile(r"\bdate_?trunc\b", re.IGNORECASE)


def has_fields(type_: str, fields: tuple[str, ...]) -> bool:
    """Whether a value of a type has a field, a field of that field, and so on.

    >>> has_fields('STRUCT(a INTEGER, "odd, b" STRUCT(c DATE))', ("odd, b", "C")), has_fields("INTEGER", ("a",))
    (True, False)
    """
    for name in fields:
        inner = next((t for field, t in struct_fields(type_) if field == fold(name)), None)
        if inner is None:
            return False
        type_ = inner
    return True


def struct_fields(type_: str) -> Iterator[tuple[str, str]]:
    """Folded name and type of each field of a `STRUCT(…)` type text."""
    if not type_.startswith("STRUCT(") or not type_.endswith(")"):
        return
    depth, start, body = 0, 0, type_[len("STRUCT(") : -1]
    # Commas inside quotes, parentheses and brackets belong to a field's name or type.
    for match in re.finditer(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[(),]|$""", body):
        mark = match.group()
        depth += (mark == "(") - (mark == ")")
        if (mark == "," and depth == 0) or match.start() == len(body):
            field = re.match(r"""\s*(?:"((?:[^"]|"")*)"|(\S+))\s+(.*)""", body[start : match.start()], re.DOTALL)
            if field:
                yield fold((field[1] or "").replace('""', '"') or field[2] or ""), field[3]
            start = match.end()


def bind(
    expression: Expression,
    relation: Relation,
    catalog: Catalog,
    attributes: Mapping[str, Attribute],
    *,
    labels_hidden: Iterable[str] = (),
) -> tuple[str, ...]:
    """The text of each hole of `expression` in a guard of `relation`, by hole number.

    `labels_hidden` are folded names of ENUM columns to be read as VARCHAR (in a mask, whose result the caller sees).
    Raises ExpressionInvalid: `policy.unknown_column`, `policy.unknown_relation`, `policy.shadowed`,
    `policy.forbidden_function`.
    """
    work = _Binding(relation, catalog, frozenset(labels_hidden))
    if _TRUNCATES.search(expression.text):
        for hole in expression.holes:
            _check_intervals(hole, work.mapping(hole) if hole.kind == "relation" else relation)
    texts = []
    for hole in expression.holes:
        match hole.kind:
            case "attribute":
                texts.append(attributes[hole.names[0]].sql)
            case "relation":
                texts.append(catalog.source(work.mapping(hole)))
            case "column":
                texts.append(work.column(hole))
    return tuple(texts)


def _check_intervals(hole: Hole, relation: Relation) -> None:
    """Beside `date_trunc`, no column of intervals: of a month it leaves a month, of 31 days, which count as more,
    nothing. DuckDB takes it for monotonic, and hides or shows whole blocks of rows by their extremes."""
    intervals = {fold(column.name) for column in relation.columns if "INTERVAL" in column.type}
    # A sub-query may give the columns of its table other names.
    if intervals and (hole.kind == "relation" or not intervals.isdisjoint(map(fold, hole.names))):
        raise ExpressionInvalid(
            "policy.forbidden_function",
            "function `date_trunc` is not allowed in policies beside a column of intervals",
            offset=hole.offset,
            length=hole.length,
            hint="compare the intervals as they are",
        )


@dataclass
class _Binding:
    relation: Relation
    catalog: Catalog
    labels_hidden: frozenset[str]

    def mapping(self, hole: Hole) -> Relation:
        """The relation a sub-query reads."""
        return self._relation(hole.names, hole)

    def column(self, hole: Hole) -> str:
        """A column's name as it stands in the guard: a name of the sub-query around it, or one of the relation."""
        names = tuple(fold(n) for n in hole.names)
        scope: Scope | None = hole.scope
        shadowed = False
        while scope is not None:
            if self._found_in(scope, names):
                return ".".join(map(quote, hole.names))
            shadowed = shadowed or any(s.name == fold(self.relation.name) for s in scope.sources)
            scope = scope.outer
        found = self._of_relation(hole.names)
        if found is None:
            return self._bare_function(hole)
        if shadowed:
            raise ExpressionInvalid(
                "policy.shadowed",
                f"`{'.'.join(hole.names)}` is hidden by a table of the same name in the sub-query",
                offset=hole.offset,
                length=hole.length,
                hint="give the table of the sub-query an alias",
            )
        column, fields = found
        text = f"{quote(self.relation.name)}.{quote(column.name)}"
        if fold(column.name) in self.labels_hidden:
            text = f"CAST({text} AS {shown_type(column.type)})"
            text = f"({text})" if fields else text
        return text + "".join("." + quote(f) for f in fields)

    def _found_in(self, scope: Scope, names: tuple[str, ...]) -> bool:
        if len(names) == 1:
            called = (s.name == names[0] for s in scope.sources)
            return names[0] in scope.names or any(called) or any(names[0] in self._names(s) for s in scope.sources)
        for source in scope.sources:
            for width in range(1, len(names)):
                if self._is_called(source, names[:width]) and names[width] in self._names(source):
                    return True
        # A struct's field: only where the catalog's type has it.
        columns = [c for s in scope.sources if s.path is not None for c in self._base_columns(s)]
        return any(fold(c.name) == names[0] and has_fields(c.type, names[1:]) for c in columns)

    def _is_called(self, source: Source, prefix: tuple[str, ...]) -> bool:
        if prefix == (source.name,):
            return True
        if source.aliased or source.path is None:
            return False
        return self._relation(source.path, None).key[-len(prefix) :] == prefix

    def _names(self, source: Source) -> list[str | None]:
        """Folded column names of a source, in order; None for a column without a name."""
        names: list[str | None] = []
        if source.path is not None:
            names = [fold(c.name) for c in self._relation(source.path, None).columns]
        else:
            for item in source.items:
                names += self._item_names(item)
        return [*source.renamed, *names[len(source.renamed) :]]

    def _item_names(self, item: Item) -> list[str | None]:
        return self._names(item) if isinstance(item, Source) else [item]

    def _base_columns(self, source: Source) -> tuple[Column, ...]:
        assert source.path is not None  # noqa: S101 - the callers have looked
        return self._relation(source.path, None).columns[len(source.renamed) :]

    def _of_relation(self, names: tuple[str, ...]) -> tuple[Column, tuple[str, ...]] | None:
        """The relation's column that a name means, and the struct fields after it."""
        for width in range(min(len(names) - 1, len(self.relation.key)), -1, -1):
            prefix = tuple(fold(n) for n in names[:width])
            if width and prefix != self.relation.key[-width:]:
                continue
            column = self.relation.column(names[width])
            fields = names[width + 1 :]
            if column is not None and has_fields(column.type, fields):
                return column, fields
        return None

    def _bare_function(self, hole: Hole) -> str:
        """`current_date` and its like are functions where no column has the name."""
        from rls.rewrite.functions import bare_function, review

        function = bare_function(hole.names[0]) if len(hole.names) == 1 else None
        reviewed = review(function, "expression") if function is not None else None
        if reviewed is None or not reviewed.permits([]):
            raise self._unknown(hole)
        # As a call: a bare name would be looked up among the caller's columns first.
        return f"{function}()"

    def _unknown(self, hole: Hole) -> ExpressionInvalid:
        from rls.yaml_model import suggest

        known = [c.name for c in self.relation.columns]
        scope: Scope | None = hole.scope
        while scope is not None:
            known += [n for s in scope.sources for n in self._names(s) if n is not None]
            scope = scope.outer
        return ExpressionInvalid(
            "policy.unknown_column",
            f"`{self.relation.label}` has no column `{'.'.join(hole.names)}`",
            offset=hole.offset,
            length=hole.length,
            hint=suggest(hole.names[-1], known),
        )

    def _relation(self, path: tuple[str, ...], hole: Hole | None) -> Relation:
        found = self.catalog.find(path)
        if found is None:
            from rls.yaml_model import suggest

            raise ExpressionInvalid(
                "policy.unknown_relation",
                f"unknown relation `{'.'.join(path)}`",
                offset=hole.offset if hole else 0,
                length=hole.length if hole else 1,
                hint=suggest(path[-1], [r.label for r in self.catalog.relations.values()]),
            )
        return found
