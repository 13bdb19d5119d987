"""A qualified tree → its queries whose groups all become the answer's, whatever rows any relation hides.

What is evaluated late in these (see `Dialect.late`) raises on groups of visible rows, always or never. Any other query
may be evaluated or not: an engine builds no hash table for a join with nothing on its other side, and evaluates
`id < (SELECT max(…) …)` when the first row needs it. Whoever sees such a query's error learns that there was a row,
which a policy by a mapping table may have hidden only afterwards.
"""

from __future__ import annotations

from sqlglot import exp

__all__ = ["answering"]


def answering(tree: exp.Expr) -> frozenset[int]:
    """The `id`s of these queries: the outermost one, both sides of a set operation, and the only source of a query that
    joins it with nothing, not even by a sub-query in its WHERE."""
    found: set[int] = set()
    stack: list[exp.Expr] = [tree]
    while stack:
        node = stack.pop()
        found.add(id(node))
        match node:
            case exp.Subquery():
                stack.append(node.this)
            case exp.SetOperation():
                stack += [node.this, node.expression]
            case exp.Select():
                stack += _only_source(node)
    return frozenset(found)


def _only_source(node: exp.Select) -> list[exp.Expr]:
    clause, where = node.args.get("from_"), node.args.get("where")
    if clause is None or node.args.get("joins") or (where is not None and where.find(exp.Query) is not None):
        return []
    source = clause.this
    if not isinstance(source, exp.Subquery) or source.args.get("joins"):
        return []
    return [source.this] if isinstance(source.this, exp.Select | exp.SetOperation) else []
