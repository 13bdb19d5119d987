"""`PIVOT relation ON expression` without an IN list → a query for the values, and the same PIVOT with a list.

DuckDB runs such a statement in two: it creates an enum of the data's values on the connection (and leaves it there),
then pivots by it. It cannot be serialised, so it cannot be verified; and the enum outlives the query. Here the values
come from a guarded, verified query of their own and stand in the text as string literals, which is what the enum was:
`SELECT DISTINCT CAST(expression AS VARCHAR) … ORDER BY` that text. Takes a parsed text, its resolution and splices;
owns that both queries read through the same guards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlglot import exp
from sqlglot.tokens import TokenType

from rls.errors import QueryRefused
from rls.rewrite.guarded import GuardedQuery, PivotValues, Splice
from rls.rewrite.parse import Parsed
from rls.rewrite.resolution import Resolution, Scope
from rls.rewrite.splice import apply_splices
from rls.rewrite.wrap import clause_end, starts_statement

__all__ = ["ListedPivot", "list_pivots", "with_pivot_values"]

# Stands in the text until the values are known; verified like any other literal.
_PLACEHOLDER = "'rls: values not listed yet'"
# No value of the data has this name: it is the column of a PIVOT over no values, and is left out of the result.
_NO_VALUE = "rls: no value"
MAX_LISTED = 50  # statements in one text; each is two more queries, with all definitions that it sees
_AFTER_ON = {
    TokenType.USING,
    TokenType.GROUP_BY,
    TokenType.ORDER_BY,
    TokenType.LIMIT,
    TokenType.OFFSET,
    TokenType.UNION,
    TokenType.EXCEPT,
    TokenType.INTERSECT,
}


@dataclass
class ListedPivot:
    """One ON expression: the query for its values (`sql`), where it stands, what its text must get (`splices`), and
    the spans of the caller's text that the values' query is made of."""

    sql: str
    splices: tuple[Splice, Splice]
    spans: tuple[tuple[int, int], ...]
    statement: tuple[int, int]
    parameters: Sequence[str] = ()

    def contains(self, offset: int) -> bool:
        """Whether the values' query holds the caller's text at `offset`."""
        return any(start <= offset < end for start, end in self.spans)

    def places(self, splices: Sequence[Splice]) -> PivotValues:
        """Where the values go in the final text."""
        at = _final_offset(self.splices[1], splices) + self.splices[1].text.index(_PLACEHOLDER)
        statement = (_shifted(self.statement[0], splices), _shifted(self.statement[1], splices, after=True))
        return PivotValues(self.sql, tuple(self.parameters), at, at + len(_PLACEHOLDER), statement)


def _final_offset(wanted: Splice, splices: Sequence[Splice]) -> int:
    shift = 0
    for splice in splices:
        if splice is wanted:
            break
        shift += len(splice.text) - (splice.end - splice.start)
    return wanted.start + shift


def _shifted(offset: int, splices: Sequence[Splice], *, after: bool = False) -> int:
    """An offset of the caller's text in the final text; `after` counts insertions at the offset itself."""
    shift = sum(
        len(s.text) - (s.end - s.start)
        for s in splices
        if s.end < offset or (s.end == offset and (after or s.start < offset))
    )
    return offset + shift


def list_pivots(parsed: Parsed, found: Resolution, splices: Sequence[Splice]) -> list[ListedPivot]:
    """The ON expressions of PIVOT statements that name no values.

    Raises `QueryRefused` (`query.pivot`) where the statement is nested so that its parts cannot be told apart.
    """
    listed: list[ListedPivot] = []
    taken: set[int] = set()
    for pivot, scope in found.pivots:
        ons = pivot.args.get("expressions") or []
        # `FROM t PIVOT (…)` hangs on its relation and always lists its values; UNPIVOT's columns are in its text.
        if pivot.args.get("unpivot") or pivot.this is None or all(isinstance(on, exp.In) for on in ons):
            continue
        start = _pivot_token(parsed, pivot)
        if start in taken or len(taken) >= MAX_LISTED:
            raise _refuse(parsed, start)
        taken.add(start)
        tokens = parsed.tokens
        on = clause_end(tokens, start + 1, {TokenType.ON})
        end = clause_end(tokens, on + 1, _AFTER_ON)
        spans, first = [], on + 1
        while first < end:
            last = clause_end(tokens, first, {TokenType.COMMA, *_AFTER_ON})
            spans.append((first, last))
            first = last + 1
        if on >= len(tokens) or len(spans) != len(ons):
            raise _refuse(parsed, start)
        source = (tokens[start + 1].start, tokens[on - 1].end + 1)
        prefix, definitions = _visible_definitions(parsed, scope, splices, start)
        for node, (first, last) in zip(ons, spans, strict=True):
            if isinstance(node, exp.In):
                continue
            span = (tokens[first].start, tokens[last - 1].end + 1)
            sql = _values_query(parsed, prefix, source, span, splices)
            opening = Splice(span[0], span[0], "(CAST((")
            closing = Splice(span[1], span[1], f") AS VARCHAR)) IN ({_PLACEHOLDER})")
            statement = (tokens[start].start, tokens[clause_end(tokens, start, ()) - 1].end + 1)
            listed.append(ListedPivot(sql, (opening, closing), (*definitions, source, span), statement))
    return listed


def with_pivot_values(guarded: GuardedQuery, values: Sequence[Sequence[str]]) -> GuardedQuery:
    """The query with the values of each of its `pivots`, verified again; raises `QueryRefused` like `guard`."""
    edits: set[tuple[int, int, str]] = set()
    for place, found in zip(guarded.pivots, values, strict=True):
        literals = ", ".join("'" + v.replace("'", "''") + "'" for v in found)
        if not literals:
            # No value, no column: IN must not be empty, so the column of a value that does not exist is left out.
            literals = f"'{_NO_VALUE}'"
            edits.add((place.statement[0], place.statement[0], f"SELECT * NOT LIKE '%{_NO_VALUE}%' FROM ("))
            edits.add((place.statement[1], place.statement[1], ")"))
        edits.add((place.start, place.end, literals))
    text = guarded.sql
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    if guarded.check is not None:
        guarded.check(text)
    return replace(guarded, sql=text, pivots=(), check=None)


def _values_query(
    parsed: Parsed, prefix: str, source: tuple[int, int], span: tuple[int, int], splices: Sequence[Splice]
) -> str:
    expression = apply_splices(parsed.text, splices, start=span[0], end=span[1])
    relation = apply_splices(parsed.text, splices, start=source[0], end=source[1])
    return (
        f"{prefix}SELECT rls_value FROM (SELECT DISTINCT CAST(({expression}) AS VARCHAR) AS rls_value FROM {relation}) "
        "WHERE rls_value IS NOT NULL ORDER BY rls_value"
    )


def _pivot_token(parsed: Parsed, pivot: exp.Expr) -> int:
    """Index of the PIVOT word of a statement: the last one before the first name in it."""
    inside = [i.meta["start"] for part in (pivot.this,) for i in part.find_all(exp.Identifier) if "start" in i.meta]
    first = min(inside, default=None)
    if first is None:
        raise _refuse(parsed, 0)
    index = parsed.token_at[first]
    while index >= 0 and not starts_statement(parsed.tokens, index):
        index -= 1
    if index < 0:
        raise _refuse(parsed, 0)
    return index


def _visible_definitions(
    parsed: Parsed, scope: Scope | None, splices: Sequence[Splice], start: int
) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The WITH clause that makes the names visible at a place visible to a query of its own."""
    levels: list[list[tuple[int, int]]] = []
    names: set[str] = set()
    while scope is not None:
        level = []
        for name, ordinal in scope.names.items():
            if ordinal >= scope.limit or not scope.nodes:
                continue
            if name in names:
                raise _refuse(parsed, start)
            names.add(name)
            level.append(_definition_span(parsed, scope.nodes[ordinal]))
        levels.append(sorted(level))
        scope = scope.outer
    spans = tuple(span for level in reversed(levels) for span in level)
    if not spans:
        return "", ()
    # RECURSIVE where the caller has it anywhere: without a UNION it changes nothing.
    recursive = any(t.text.upper() == "RECURSIVE" for t in parsed.tokens)
    texts = (apply_splices(parsed.text, splices, start=s, end=e) for s, e in spans)
    return f"WITH {'RECURSIVE ' if recursive else ''}{', '.join(texts)} ", spans


def _definition_span(parsed: Parsed, cte: exp.Expr) -> tuple[int, int]:
    begin = cte.args["alias"].this.meta["start"]
    tokens = parsed.tokens
    index = clause_end(tokens, parsed.token_at[begin], {TokenType.ALIAS})
    while index < len(tokens) and tokens[index].token_type != TokenType.L_PAREN:
        index += 1
    close = clause_end(tokens, index + 1, ())
    if close >= len(tokens):
        raise _refuse(parsed, 0)
    return begin, tokens[close].end + 1


def _refuse(parsed: Parsed, index: int) -> QueryRefused:
    return QueryRefused(
        "query.pivot",
        "this PIVOT without an IN list cannot be taken apart",
        position=parsed.position(parsed.tokens[index].start),
        hint="list the values with IN (…)",
    )
