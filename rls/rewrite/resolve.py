"""Parsed statement → every base relation, qualified column and `user.<attribute>` it names, with its span in the text.

Takes the tree and the catalog, returns a `Resolution`; owns name resolution by DuckDB's rules: common table
expressions by lexical scope (a name is visible after its definition, in its own body only right of a recursive
UNION, in another case too), then the catalog. Relations are found by node identity, wherever they stand (FROM, PIVOT,
SUMMARIZE, LATERAL, a sub-query in VALUES), never by name: two `orders` of two schemas are two relations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlglot import exp

from rls.catalog import Catalog, Relation, fold
from rls.errors import QueryRefused
from rls.rewrite.parse import Parsed, is_statement, refuse_statement

__all__ = ["AttributeUse", "QualifiedColumn", "Reference", "Resolution", "resolve"]


@dataclass(eq=False, slots=True)
class Reference:
    """A base relation named in the text at `start:end`; `name` is its last part as written, `aliased` whether the
    caller gave an alias, `node` its place in the tree."""

    relation: Relation
    start: int
    end: int
    name: str
    aliased: bool
    node: exp.Expr
    alias: str = ""  # the alias the guard gets where the caller gave none


@dataclass(slots=True)
class QualifiedColumn:
    """A column reference whose qualifier `start:end` names a schema or database: `main.orders` in `main.orders.id`."""

    reference: Reference
    start: int
    end: int
    whole_row: bool
    node: exp.Expr


@dataclass(slots=True)
class AttributeUse:
    """`user.<name>` in the caller's text at `start:end`."""

    name: str
    start: int
    end: int
    node: exp.Expr


class Scope:
    """The common table expressions visible at a place: the first `limit` of one WITH clause, then the outer ones."""

    __slots__ = ("limit", "names", "nodes", "outer")

    def __init__(self, outer: Scope | None, names: dict[str, int], limit: int, nodes: list[exp.Expr]) -> None:
        self.outer, self.names, self.limit, self.nodes = outer, names, limit, nodes

    @staticmethod
    def sees(scope: Scope | None, name: str) -> bool:
        """Whether a folded name is a common table expression here."""
        while scope is not None:
            ordinal = scope.names.get(name)
            if ordinal is not None and ordinal < scope.limit:
                return True
            scope = scope.outer
        return False


_RESHAPING = (
    exp.SetOperation,
    exp.Pivot,
    exp.Unnest,
    exp.Explode,
    exp.Columns,
    exp.Aliases,
    exp.Lateral,
    exp.Values,
    exp.Dot,
)


@dataclass
class Resolution:
    """All that must be replaced in the text."""

    references: list[Reference] = field(default_factory=list)
    columns: list[QualifiedColumn] = field(default_factory=list)
    attributes: list[AttributeUse] = field(default_factory=list)
    pivots: list[tuple[exp.Expr, Scope | None]] = field(default_factory=list)
    literals: list[exp.Expr] = field(default_factory=list)
    named: set[str] = field(default_factory=set)  # folded names that the query gives to columns of its own
    reshaped: bool = False  # columns of unknown type: set operations, PIVOT, UNNEST, renamed stars, COLUMNS


def resolve(parsed: Parsed, catalog: Catalog) -> Resolution:
    """Find what the statement names.

    Raises `QueryRefused`: `query.unknown_relation` (also for relations of which nothing may be known),
    `query.time_travel`, `query.statement_kind`, `query.duplicate_name`, `query.reference`.
    """
    found = Resolution()
    qualified: list[exp.Column] = []
    user_columns: list[exp.Column] = []
    by_node: dict[int, Reference] = {}
    recursive_right: dict[int, str] = {}
    qualifiers = {part for key in catalog.relations for part in key[:-1]} | {fold(catalog.name)}

    stack: list[tuple[exp.Expr, Scope | None]] = [(parsed.tree, None)]
    while stack:
        node, scope = stack.pop()
        own_name = recursive_right.get(id(node))
        if own_name is not None:
            scope = Scope(scope, {own_name: 0}, 1, [])
        if isinstance(node, exp.Table):
            reference = _resolve_table(parsed, node, scope, catalog)
            if reference is not None:
                found.references.append(reference)
                by_node[id(node)] = reference
        elif isinstance(node, exp.Column):
            table = node.args.get("table")
            if table is not None:
                found.reshaped |= isinstance(node.this, exp.Star)  # of a struct, perhaps
                if node.args.get("db") is not None or fold(table.name) in qualifiers:
                    qualified.append(node)
                if fold(table.name) == "user" and not table.args.get("quoted") and node.args.get("db") is None:
                    user_columns.append(node)
        elif isinstance(node, exp.Literal):
            found.literals.append(node)
        elif isinstance(node, exp.Alias):
            found.named.add(fold(node.alias))
        elif isinstance(node, exp.TableAlias):
            found.named.update(fold(column.name) for column in node.args.get("columns") or ())
        elif isinstance(node, _RESHAPING):
            found.reshaped = True
        elif is_statement(node):
            raise refuse_statement(parsed.text, _word_before(parsed, _start_of(node), node.key), node.key)
        with_ = node.args.get("with_")
        if with_ is not None:
            scope = _enter_with(parsed, with_, scope, stack, recursive_right)
        if isinstance(node, exp.Pivot):
            found.pivots.append((node, scope))
        for key, value in node.args.items():
            if key == "with_":
                continue
            if isinstance(value, exp.Expr):
                stack.append((value, scope))
            elif isinstance(value, list):
                stack.extend((item, scope) for item in value if isinstance(item, exp.Expr))

    found.references.sort(key=lambda r: r.start)
    shared = _name_guards(found.references)
    sources = _Sources(by_node)
    if shared:
        found.columns += _pick_by_column(parsed, shared, sources)
    for column in qualified:
        match = _match_qualified(column, sources, catalog)
        if match is not None:
            found.columns.append(match)
    for column in user_columns:
        if not _names_a_source(column, "user", sources):
            identifier, table = column.this, column.args["table"]
            if isinstance(identifier, exp.Identifier):
                start, end = _span(parsed, table)[0], _span(parsed, identifier)[1]
                found.attributes.append(AttributeUse(identifier.name, start, end, column))
    return found


def _enter_with(
    parsed: Parsed,
    with_: exp.Expr,
    scope: Scope | None,
    stack: list[tuple[exp.Expr, Scope | None]],
    recursive_right: dict[int, str],
) -> Scope:
    names: dict[str, int] = {}
    nodes = list(with_.args.get("expressions") or [])
    for ordinal, cte in enumerate(nodes):
        alias = cte.args.get("alias")
        identifier = alias.this if alias is not None else None
        if not isinstance(identifier, exp.Identifier):
            raise _refuse_reference(parsed, cte)
        name = fold(identifier.name)
        if name in names:
            start, end = _span(parsed, identifier)
            raise QueryRefused(
                "query.duplicate_name",
                f"`{identifier.name[:60]}` is defined twice in one WITH",
                position=parsed.position(start, end),
                hint="rename one",
            )
        names[name] = ordinal
        # A body sees the names before it; `WITH orders AS (SELECT … FROM orders)` reads the base relation.
        body_scope = Scope(scope, names, ordinal, nodes)
        if with_.args.get("recursive"):
            body = cte.this
            while isinstance(body, exp.Subquery) and not body.args.get("with_"):
                body = body.this
            # Only the right side of the outermost UNION is the recursive term; the left side is the anchor and reads
            # the base relation of the same name.
            if isinstance(body, exp.Union) and isinstance(body.expression, exp.Expr):
                recursive_right[id(body.expression)] = name
        for key, value in cte.args.items():
            if key == "alias":
                continue
            items = value if isinstance(value, list) else [value]
            stack.extend((item, body_scope) for item in items if isinstance(item, exp.Expr))
    return Scope(scope, names, len(nodes), nodes)


def _resolve_table(parsed: Parsed, node: exp.Table, scope: Scope | None, catalog: Catalog) -> Reference | None:
    parts = _path(node)
    if parts is None:
        # A table function: the engine-side check allows it by name.
        if isinstance(node.this, (exp.Func, exp.Anonymous)):
            return None
        raise _refuse_reference(parsed, node)
    if len(parts) == 1 and Scope.sees(scope, fold(parts[0].name)):
        _refuse_time_travel(parsed, node, parts)
        return None
    if len(parts) == 2 and fold(parts[0].name) == "recurring" and Scope.sees(scope, fold(parts[1].name)):
        return None
    spans = [_span(parsed, part) for part in parts]
    start, end = spans[0][0], spans[-1][1]
    if len(parts) > 1 and any(parsed.text[s] == "'" for s, _ in spans):
        raise _refuse_reference(parsed, node)  # a string may be a whole name, not a part of one
    relation = catalog.find(tuple(part.name for part in parts))
    if relation is None:
        raise unknown_relation(parsed, start, end)
    _refuse_time_travel(parsed, node, parts)
    return Reference(relation, start, end, parts[-1].name, node.args.get("alias") is not None, node)


def unknown_relation(parsed: Parsed, start: int, end: int) -> QueryRefused:
    """One refusal for what does not exist and for what is not yours: they must look the same."""
    return QueryRefused(
        "query.unknown_relation",
        f"there is no relation `{parsed.text[start:end][:100]}` for you",
        position=parsed.position(start, end),
        hint="check the name, or ask for a policy on it",
    )


def _path(node: exp.Table) -> list[exp.Identifier] | None:
    """The dotted parts of a table's name, or None where it is not a plain name."""
    parts: list[exp.Expr] = [p for key in ("catalog", "db") if (p := node.args.get(key)) is not None]
    last: exp.Expr = node.this
    tail: list[exp.Expr] = []
    while isinstance(last, exp.Dot):
        tail.append(last.expression)
        last = last.this
    parts += [last, *reversed(tail)]
    if all(isinstance(p, exp.Identifier) for p in parts):
        return parts
    return None


def _refuse_time_travel(parsed: Parsed, node: exp.Table, parts: list[exp.Identifier]) -> None:
    if node.args.get("when") is not None or node.args.get("version") is not None:
        start, end = _span(parsed, parts[0])[0], _span(parsed, parts[-1])[1]
        raise QueryRefused(
            "query.time_travel",
            "reading an older version of a relation is not supported",
            position=parsed.position(start, end),
            hint="remove AT (…)",
        )


def _span(parsed: Parsed, identifier: exp.Expr) -> tuple[int, int]:
    """Start and end (exclusive) of an identifier in the text, checked against the text itself."""
    meta = identifier.meta
    start, end = meta.get("start"), meta.get("end")
    if start is None or end is None or start not in parsed.token_at:
        raise _refuse_reference(parsed, identifier)
    token = parsed.tokens[parsed.token_at[start]]
    # The tree must name what the text says there; a desugared or synthesised identifier must not be spliced.
    if token.end != end or fold(token.text) != fold(identifier.name):
        raise _refuse_reference(parsed, identifier)
    return start, end + 1


def _start_of(node: exp.Expr) -> int:
    return min((i.meta["start"] for i in node.find_all(exp.Identifier) if "start" in i.meta), default=0)


def _word_before(parsed: Parsed, offset: int, word: str) -> int:
    """Where the last such word up to `offset` stands, else `offset`."""
    starts = [t.start for t in parsed.tokens if t.start <= offset and t.text.lower() == word]
    return starts[-1] if starts else offset


def _refuse_reference(parsed: Parsed, node: exp.Expr) -> QueryRefused:
    start = _start_of(node)
    return QueryRefused(
        "query.reference",
        "a relation or column is named in a way that is not supported",
        position=parsed.position(start),
        hint="write schema.name, with double quotes where needed",
    )


def _name_guards(references: list[Reference]) -> set[str]:
    """Give every guard the alias DuckDB would use; two relations of one name in one FROM get their schema in front.

    Returns the names that are shared.
    """
    groups: dict[tuple[int, str], list[Reference]] = {}
    for reference in references:
        reference.alias = reference.name
        wrapper = reference.node.parent
        named = isinstance(wrapper, exp.Subquery) and wrapper.args.get("alias") is not None
        if not reference.aliased and not named:
            groups.setdefault((id(reference.node.parent_select), fold(reference.name)), []).append(reference)
    for group in groups.values():
        if len({r.relation.key for r in group}) > 1:
            for reference in group:
                reference.alias = ".".join((*reference.relation.schema, reference.relation.name))
    return {fold(r.name) for r in references if r.alias != r.name}


def _pick_by_column(parsed: Parsed, shared: set[str], sources: _Sources) -> Iterator[QualifiedColumn]:
    """`orders.supplier` over two relations called `orders`: DuckDB takes the one that has the column."""
    for column in parsed.tree.find_all(exp.Column):
        table = column.args.get("table")
        if table is None or column.args.get("db") is not None or fold(table.name) not in shared:
            continue
        for select in _selects_above(column):
            named = [r for r in sources.of(select)[0] if fold(r.name) == fold(table.name)]
            owners = [r for r in named if r.relation.column(column.name) is not None]
            if len(owners) == 1 and owners[0].alias != owners[0].name:
                start, end = _span(parsed, table)
                yield QualifiedColumn(owners[0], start, end, False, column)
            if named:
                break


class _Sources:
    """The FROM items of each SELECT, found once per SELECT."""

    def __init__(self, by_node: dict[int, Reference]) -> None:
        self._by_node = by_node
        self._of: dict[int, tuple[list[Reference], set[str]]] = {}

    def of(self, select: exp.Expr) -> tuple[list[Reference], set[str]]:
        """Unaliased base references and all folded aliases in the FROM of `select`."""
        known = self._of.get(id(select))
        if known is None:
            known = self._of[id(select)] = ([], set())
            pending = [v for key in ("from_", "joins", "laterals") if (v := select.args.get(key)) is not None]
            flat: list[exp.Expr] = [x for v in pending for x in (v if isinstance(v, list) else [v])]
            while flat:
                item = flat.pop()
                alias = item.args.get("alias")
                if isinstance(alias, exp.TableAlias) and isinstance(alias.this, exp.Identifier):
                    known[1].add(fold(alias.this.name))
                if isinstance(item, exp.Table):
                    reference = self._by_node.get(id(item))
                    if reference is not None and not reference.aliased:
                        known[0].append(reference)
                    elif alias is None and isinstance(item.this, exp.Identifier):
                        known[1].add(fold(item.this.name))
                elif isinstance(item, exp.Subquery) and not isinstance(item.this, exp.Table | exp.Subquery):
                    continue
                flat += item.args.get("joins") or []
                if isinstance(item, exp.From | exp.Join | exp.Subquery) and isinstance(item.this, exp.Expr):
                    flat.append(item.this)
        return known


def _selects_above(node: exp.Expr) -> Iterator[exp.Expr]:
    above = node.parent
    while above is not None:
        if isinstance(above, exp.Select):
            yield above
        above = above.parent


def _names_a_source(column: exp.Column, name: str, sources: _Sources) -> bool:
    for select in _selects_above(column):
        references, aliases = sources.of(select)
        if name in aliases or any(fold(r.name) == name for r in references):
            return True
    return False


def _match_qualified(column: exp.Column, sources: _Sources, catalog: Catalog) -> QualifiedColumn | None:
    if not isinstance(column.this, exp.Identifier):
        return None  # `main.orders.*`: DuckDB rejects it, and will
    parts = [p for key in ("catalog", "db", "table") if (p := column.args.get(key)) is not None]
    parts.append(column.this)
    names = tuple(fold(p.name) for p in parts)
    for select in _selects_above(column):
        references, aliases = sources.of(select)
        if names[0] in aliases or any(fold(r.name) == names[0] for r in references):
            return None  # the first part is a FROM item: `o.address.city`
        for reference in references:
            key = reference.relation.key
            forms = [(fold(catalog.name), *key), key]
            if key[:-1] == tuple(map(fold, catalog.default_schema)):
                forms.append((fold(catalog.name), key[-1]))
            for form in forms:
                if len(form) <= len(names) and names[: len(form)] == form:
                    start, end = parts[0].meta.get("start"), parts[len(form) - 1].meta.get("end")
                    if start is None or end is None:
                        return None
                    return QualifiedColumn(reference, start, end + 1, len(form) == len(names), column)
    return None
