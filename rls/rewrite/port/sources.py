"""FROM clauses: relations, sub-queries, VALUES, common tables, series and LATERAL ones, and the joins between them.

Owns that a stored relation is one of the catalog's, and that semi- and anti-joins become conditions.
"""

from __future__ import annotations

from sqlglot import exp

from rls.catalog import fold
from rls.rewrite.port.asof import asof_join
from rls.rewrite.port.expressions import condition
from rls.rewrite.port.kinds import ANY_LENGTH, digits_of, not_portable, shown_kind
from rls.rewrite.port.named import name_of
from rls.rewrite.port.nodes import only
from rls.rewrite.port.samples import sampled
from rls.rewrite.port.scopes import Column, Columns, Context, Scope, rename
from rls.rewrite.port.series import series
from rls.rewrite.port.unpivot import unpivoted

__all__ = ["from_clause"]

# A join in parentheses hangs on its first relation; `_source` writes it.
_INSIDE = ("joins",)
_SIDES = {"": "", "LEFT": "LEFT ", "RIGHT": "RIGHT ", "FULL": "FULL "}


def from_clause(node: exp.Select, scope: Scope, context: Context, kept: list[str]) -> str:
    """The FROM clause; what semi- and anti-joins keep is added to `kept`, the conditions of WHERE."""
    clause = node.args.get("from_")
    if clause is None:
        if node.args.get("joins"):
            raise not_portable("a join without FROM")
        return ""
    only(clause, "this")
    return f" FROM {_source(clause.this, scope, context)}{_joins(node, scope, context, kept)}"


def _joins(node: exp.Expr, scope: Scope, context: Context, kept: list[str] | None) -> str:
    """Joins; `kept` is None where there is no WHERE for them."""
    text = ""
    for join in node.args.get("joins") or []:
        if str(join.args.get("method") or "").upper() == "ASOF":
            text += asof_join(join, _source(join.this, scope, context), scope, context)
            continue
        only(join, "this", "side", "kind", "on")
        side, kind = str(join.args.get("side") or "").upper(), str(join.args.get("kind") or "").upper()
        source, on = _source(join.this, scope, context), join.args.get("on")
        if kind in ("SEMI", "ANTI") and side in ("", "LEFT") and kept is not None and on is not None:
            word = "NOT EXISTS" if kind == "ANTI" else "EXISTS"
            kept.append(f"({word} (SELECT 1 FROM {source} WHERE {condition(on, scope, context)}))")
            continue
        if kept and side in ("RIGHT", "FULL"):
            raise not_portable(f"{side} JOIN after a SEMI or ANTI JOIN", hint="use EXISTS")
        if side not in _SIDES or kind not in ("", "INNER", "OUTER", "CROSS"):
            raise not_portable(f"{side} {kind} JOIN".strip().replace("  ", " "), hint="use EXISTS or another join")
        if on is not None and kind != "CROSS":
            text += f" {_SIDES[side]}JOIN {source} ON {condition(on, scope, context)}"
        elif not side and kind == "CROSS":
            text += f" CROSS JOIN {source}"
        elif not side and not kind:
            text += f", {source}"
        else:
            raise not_portable("a join without a condition")
    return text


def _source(node: exp.Expr, scope: Scope, context: Context) -> str:
    alias = node.args.get("alias")
    name = alias.this.name if alias is not None and alias.this is not None else ""
    renamed = [one.name for one in alias.args.get("columns") or []] if alias is not None else []
    if any(one.args.get("unpivot") for one in node.args.get("pivots") or []):
        return _unpivoted(node, scope, context)
    if node.args.get("sample") is not None:
        return _sampled(node, scope, context)
    match node:
        case exp.Subquery() if isinstance(node.this, exp.Table | exp.Subquery) and not name:
            # A join in parentheses.
            only(node, "this")
            first, joins = _source(node.this, scope, context), _joins(node.this, scope, context, None)
            return f"({first}{joins})" if joins else first
        case exp.Table():
            only(node, "this", "db", "catalog", "alias", *_INSIDE)
            if isinstance(node.this, exp.GenerateSeries) and name:
                values, kind = series(node.this, context.sql)
                # DuckDB calls the column after the function where nobody names it.
                own = "range" if node.this.args.get("is_end_exclusive") else "generate_series"
                columns: Columns = (Column(own, kind),)
                text = f"({_series(values, kind, own, context)})"
                columns = rename(columns, renamed) if renamed else columns
                return f"{text} AS {_called(columns, name, scope, context, listed=bool(renamed))}"
            if not isinstance(node.this, exp.Identifier):
                raise not_portable("a table function", hint="list rows with VALUES")
            name = name or node.name
            if node.args.get("db") is not None:
                if renamed:
                    raise not_portable("names for a relation's columns")
                text, columns = _base(node, context)
            else:
                found = scope.table(node.name)
                if found is None:
                    raise not_portable(f"the relation `{node.name}`")
                text, columns = context.sql.name_of(fold(node.name)), found
        case exp.Subquery() | exp.Values():
            if isinstance(node, exp.Subquery):
                only(node, "this", "alias", *_INSIDE)
            else:
                only(node, "expressions", "alias")
            if isinstance(node.this, exp.Pivot | exp.Describe | exp.Summarize):
                raise not_portable("UNPIVOT" if node.this.args.get("unpivot") else name_of(node.this))
            if not name:
                raise not_portable("a sub-query without a name", hint="give it an alias")
            query = node.this if isinstance(node, exp.Subquery) else exp.Values(expressions=node.expressions)
            # Not a LATERAL one: it sees what is around the query, not its neighbours.
            inner, columns = context.query(query, scope.around())
            text = f"({inner})"
        case exp.Lateral() if isinstance(node.this, exp.Subquery) and name:
            only(node, "this", "alias", "view", "outer")
            inner, columns = context.query(node.this.this, scope)
            text = context.sql.write("lateral", "", inner)
        case _:
            raise not_portable(f"{name_of(node)} in FROM")
    columns = rename(columns, renamed) if renamed else columns
    return f"{text} AS {_called(columns, name, scope, context, listed=bool(renamed))}"


def _unpivoted(node: exp.Expr, scope: Scope, context: Context) -> str:
    if len(node.args["pivots"]) > 1 or node.args.get("sample") is not None:
        raise not_portable("UNPIVOT of a PIVOT, or of a sample", hint="use a sub-query")
    pivot, inner, before = node.args["pivots"][0], scope.around(), node.copy()
    before.set("pivots", None)
    alias = pivot.args.get("alias")
    if alias is None or alias.this is None:
        raise not_portable("UNPIVOT without a name", hint="give it an alias")
    source = _source(before, inner, context)
    text, columns = unpivoted(pivot, source, inner, context)
    return _named(text, columns, alias, scope, context)


def _sampled(node: exp.Expr, scope: Scope, context: Context) -> str:
    sample, inner, before = node.args["sample"], scope.around(), node.copy()
    before.set("sample", None)
    alias = before.args.get("alias")
    if alias is None:
        alias = exp.TableAlias(this=exp.to_identifier(node.name, quoted=True))
    source = _source(before, inner, context)
    if len(inner.sources) != 1 or not alias.this.name:
        raise not_portable("a sample of a join, or of what has no name", hint="use a sub-query with an alias")
    (columns,) = inner.sources.values()
    plain = exp.TableAlias(this=alias.this.copy())
    return _named(sampled(sample, source, columns, context.sql), columns, plain, scope, context)


def _named(query: str, columns: Columns, alias: exp.TableAlias, scope: Scope, context: Context) -> str:
    renamed = [one.name for one in alias.args.get("columns") or []]
    columns = rename(columns, renamed)
    return f"({query}) AS {_called(columns, alias.this.name, scope, context, listed=bool(renamed))}"


def _called(columns: Columns, name: str, scope: Scope, context: Context, *, listed: bool) -> str:
    """How a source is called, with its columns where somebody renamed them; it is in sight from now on."""
    scope.add(name, columns)
    own = f"({', '.join(context.sql.name_of(one.name) for one in columns)})" if listed else ""
    return f"{context.sql.name_of(fold(name))}{own}"


def _series(values: list[str], kind: str, name: str, context: Context) -> str:
    sql = context.sql
    if not values:
        return f"SELECT CAST(NULL AS {sql.type_of(kind)}) AS {sql.name_of(name)} WHERE false"
    return sql.rows([f"({one})" for one in values], [name])


def _base(node: exp.Table, context: Context) -> tuple[str, Columns]:
    catalog = context.catalog
    path = [part.name for key in ("catalog", "db", "this") if (part := node.args.get(key)) is not None]
    relation = catalog.relations.get(tuple(fold(part) for part in path[1:]))
    if fold(path[0]) != fold(catalog.attached) or relation is None or relation.kind != "table":
        raise not_portable(f"the relation `{node.name}`")
    source = context.sql.source(relation, catalog)
    if source is None:
        raise not_portable(f"the relation `{node.name}`")
    columns = tuple(
        Column(
            one.name,
            shown_kind(one.type),
            stored=True,
            digits=ANY_LENGTH if one.type in context.sql.any_length else digits_of(one.type),
        )
        for one in relation.columns
    )
    return source, columns
