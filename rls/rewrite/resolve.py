"""Parsed statement → every base relation, qualified column and `user.<attribute>` it names, with its span in the text.

Takes the tree and the catalog, returns a `Resolution`; owns name resolution by DuckDB's rules: common table
expressions by lexical scope (a name is visible after its definition, in its own body only right of a recursive
UNION, in another case too), then the catalog. Relations are found by node identity, wherever they stand (FROM, PIVOT,
SUMMARIZE, LATERAL, a sub-query in VALUES), never by name: two `orders` of two schemas are two relations.
"""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from rls.catalog import Catalog, fold
from rls.errors import QueryRefused
from rls.rewrite.columns import resolve_columns
from rls.rewrite.parse import STATEMENTS, Parsed, refuse_statement
from rls.rewrite.resolution import (
    Place,
    QualifiedColumn,
    Reference,
    Resolution,
    Scope,
    first_offset,
    refuse_reference,
    span_of,
)

__all__ = ["resolve", "unknown_relation"]

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
# What a class of nodes is to name resolution; the first that fits counts.
_ROLES: Final = (
    ("leaf", (exp.Identifier, exp.Null, exp.Boolean)),
    ("literal", exp.Literal),
    ("column", exp.Column),
    ("table", exp.Table),
    ("alias", exp.Alias),
    ("table alias", exp.TableAlias),
    ("select", exp.Select),
    ("reshaping", _RESHAPING),
    ("statement", STATEMENTS),
)


_Pending = tuple[exp.Expr, Scope | None, Place | None]
_role_of: dict[type, str] = {}


def _role(kind: type) -> str:
    found = next((role for role, classes in _ROLES if issubclass(kind, classes)), "other")
    return _role_of.setdefault(kind, found)


def resolve(parsed: Parsed, catalog: Catalog) -> Resolution:
    """Find what the statement names.

    Raises `QueryRefused`: `query.unknown_relation` (also for relations of which nothing may be known),
    `query.time_travel`, `query.statement_kind`, `query.duplicate_name`, `query.reference`.
    """
    found = Resolution()
    dotted: list[tuple[exp.Expr, Place | None]] = []
    by_node: dict[int, Reference] = {}
    stack: list[_Pending] = [(parsed.tree, None, None)]
    recursive_right: dict[int, str] = {}
    while stack:
        node, scope, place = stack.pop()
        if recursive_right and (own_name := recursive_right.get(id(node))) is not None:
            scope = Scope(scope, {own_name: 0}, 1, [])
        args, role = node.args, _role_of.get(type(node)) or _role(type(node))
        match role:
            case "other" | "select":  # most of them
                pass
            case "leaf":
                continue
            case "literal":
                found.literals.append(node)
                continue
            case "column":
                if args.get("table") is not None:
                    dotted.append((node, place))
                    found.reshaped |= isinstance(args["this"], exp.Star)  # of a struct, perhaps
                if type(args["this"]) is exp.Identifier:
                    continue
            case "table":
                reference = _resolve_table(parsed, node, scope, place, catalog)
                if reference is not None:
                    found.references.append(reference)
                    by_node[id(node)] = reference
            case "alias":
                found.named.add(fold(node.alias))
            case "table alias":
                found.named.update(fold(column.name) for column in args.get("columns") or ())
            case "reshaping":
                found.reshaped = True
            case "statement":
                raise refuse_statement(parsed.text, _word_before(parsed, first_offset(node), node.key), node.key)
        outer = place
        if role == "select":
            place = Place(node, outer)
        with_ = args.get("with_")
        if with_ is not None:
            bodies, scope = _enter_with(parsed, with_, scope, recursive_right)
            stack += [(body, seen, place) for body, seen in bodies]
        if role == "select":
            stack += [(item, scope, Place(node, outer, item)) for item in args.get("expressions") or ()]
            stack += [(item, scope, Place(node, outer, in_window=True)) for item in args.get("windows") or ()]
        if role == "reshaping" and isinstance(node, exp.Pivot):
            found.pivots.append((node, scope))
        for key, value in args.items():
            if type(value) is list:
                if role != "select" or key not in ("expressions", "windows"):
                    stack += [(item, scope, place) for item in value if isinstance(item, exp.Expr)]
            elif value is not with_ and isinstance(value, exp.Expr):
                stack.append((value, scope, place))

    found.references.sort(key=lambda r: r.start)
    shared = _name_guards(found.references)
    for one in resolve_columns(parsed, dotted, by_node, catalog, shared=shared):
        if isinstance(one, QualifiedColumn):
            found.columns.append(one)
        else:
            found.attributes.append(one)
    return found


def _enter_with(
    parsed: Parsed,
    with_: exp.Expr,
    scope: Scope | None,
    recursive_right: dict[int, str],
) -> tuple[list[tuple[exp.Expr, Scope]], Scope]:
    """The bodies of a WITH clause with what each sees, and what its query sees."""
    bodies: list[tuple[exp.Expr, Scope]] = []
    names: dict[str, int] = {}
    nodes = list(with_.args.get("expressions") or [])
    for ordinal, cte in enumerate(nodes):
        alias = cte.args.get("alias")
        identifier = alias.this if alias is not None else None
        if not isinstance(identifier, exp.Identifier):
            raise refuse_reference(parsed, cte)
        name = fold(identifier.name)
        if name in names:
            start, end = span_of(parsed, identifier)
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
            bodies += [(item, body_scope) for item in items if isinstance(item, exp.Expr)]
    return bodies, Scope(scope, names, len(nodes), nodes)


def _resolve_table(
    parsed: Parsed, node: exp.Expr, scope: Scope | None, place: Place | None, catalog: Catalog
) -> Reference | None:
    parts = _path(node)
    if parts is None:
        # A table function: the engine-side check allows it by name.
        if isinstance(node.this, (exp.Func, exp.Anonymous)):
            return None
        raise refuse_reference(parsed, node)
    if len(parts) == 1 and Scope.sees(scope, fold(parts[0].name)):
        _refuse_time_travel(parsed, node, parts)
        return None
    if len(parts) == 2 and fold(parts[0].name) == "recurring" and Scope.sees(scope, fold(parts[1].name)):
        return None
    spans = [span_of(parsed, part) for part in parts]
    start, end = spans[0][0], spans[-1][1]
    if len(parts) > 1 and any(parsed.text[s] == "'" for s, _ in spans):
        raise refuse_reference(parsed, node)  # a string may be a whole name, not a part of one
    relation = catalog.find(tuple(part.name for part in parts))
    if relation is None:
        raise unknown_relation(parsed, start, end)
    _refuse_time_travel(parsed, node, parts)
    return Reference(relation, start, end, parts[-1].name, node.args.get("alias") is not None, node, place)


def unknown_relation(parsed: Parsed, start: int, end: int) -> QueryRefused:
    """One refusal for what does not exist and for what is not yours: they must look the same."""
    return QueryRefused(
        "query.unknown_relation",
        f"there is no relation `{parsed.text[start:end][:100]}` for you",
        position=parsed.position(start, end),
        hint="check the name, or ask for a policy on it",
    )


def _path(node: exp.Expr) -> list[exp.Identifier] | None:
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


def _refuse_time_travel(parsed: Parsed, node: exp.Expr, parts: list[exp.Identifier]) -> None:
    if node.args.get("when") is not None or node.args.get("version") is not None:
        start, end = span_of(parsed, parts[0])[0], span_of(parsed, parts[-1])[1]
        raise QueryRefused(
            "query.time_travel",
            "reading an older version of a relation is not supported",
            position=parsed.position(start, end),
            hint="remove AT (…)",
        )


def _word_before(parsed: Parsed, offset: int, word: str) -> int:
    """Where the last such word up to `offset` stands, else `offset`."""
    starts = [t.start for t in parsed.tokens if t.start <= offset and t.text.lower() == word]
    return starts[-1] if starts else offset


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
            select = None if reference.place is None else reference.place.select
            groups.setdefault((id(select), fold(reference.name)), []).append(reference)
    for group in groups.values():
        if len({r.relation.key for r in group}) > 1:
            for reference in group:
                reference.alias = ".".join((*reference.relation.schema, reference.relation.name))
    return {fold(r.name) for r in references if r.alias != r.name}
