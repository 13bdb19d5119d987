"""A query's literals → those that may become bound values, so that texts which differ in them share one template.

BI tools and agents send one text with other literals and other white space. A literal that stands by itself beside a
comparison in a WHERE or ON (`day >= '2026-01-01'`, `id IN (7, 8)`) means the same as a bound value of its type, and is
bound; everywhere else (LIMIT, types, intervals, positions, select items that name their column, arguments that the
reviewed functions look at) it stays part of the text. Takes parsed queries; owns that the same text with bound values
stands for both of two texts of one `token_shape` that spell every literal alike which is not bound, and have one class
in place of every one which is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Final

from sqlglot import exp

from rls.catalog import Relation, fold
from rls.rewrite.parse import Parsed
from rls.rewrite.resolution import Reference, Resolution
from rls.rewrite.token_shape import LITERALS

__all__ = ["PREFIX", "BoundLiteral", "bound_literals", "class_of", "value_of"]

# No attribute has a name that starts with a digit.
PREFIX: Final = "rls_0_"
MAX_LITERALS: Final = 200  # bound ones in one text
MAX_LENGTH: Final = 200  # characters of a text that is bound

_INTEGER: Final = re.compile(r"0|[1-9][0-9]{0,17}")
_DECIMAL: Final = re.compile(r"(0|[1-9][0-9]{0,12})\.([0-9]{1,6})")
_NUMBERS: Final = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "DOUBLE"}
_COMPARISONS: Final = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)
# What sqlglot calls the types that a day may have.
_DAYS: Final = {exp.DType.DATE: "DATE", exp.DType.TIMESTAMP: "TIMESTAMP", exp.DType.TIMESTAMPNTZ: "TIMESTAMP"}
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# A text that both parsers read alike, and that converts to nothing but VARCHAR: no digit makes it a number or a date.
_WORDS: Final = re.compile(r"[A-Za-z#%_][A-Za-z0-9 _.,:;/@#&%+()\[\]*-]*")
# Any other text that both parsers read alike: a number, a date, no letter at all.
_TEXT: Final = re.compile(r"[A-Za-z0-9#%_ .,:;/@&+()\[\]*-]*")
# Words that convert to something: `d = 'infinity'` compares dates.
_SPECIAL: Final = frozenset(
    "true false t f yes no y n on off nan inf infinity epoch now today tomorrow yesterday null".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class BoundLiteral:
    """A literal of the caller's text that is bound: its token's index, the span that is replaced, the name it is bound
    by, the type of its value, and the type that the text gives it (`DATE '…'`), which the binding must repeat."""

    token: int
    start: int
    end: int
    name: str
    type: str = "VARCHAR"
    cast: str = ""

    def bound(self, value: str) -> str:
        """What stands in the span, with this text (a parameter) for the literal.

        >>> BoundLiteral(0, 0, 1, "a").bound("$a"), BoundLiteral(0, 0, 1, "a", cast="DATE").bound("$a")
        ('$a', 'CAST($a AS DATE)')
        """
        return f"CAST({value} AS {self.cast})" if self.cast else value


def bound_literals(
    parsed: Parsed, found: Resolution, changed: Callable[[Relation], Collection[str]], *, ported: bool = False
) -> tuple[BoundLiteral, ...]:
    """Which literals of a query are to be bound, in order of the text; `changed` gives the columns of a relation that
    are shown with another type than they are stored with, perhaps.

    ported  for another engine than DuckDB: there it depends on a pattern what can be done with it
    """
    if found.reshaped or not found.literals:
        return ()
    types = _types_of_columns(found, changed)
    aliases = {_alias(reference) for reference in found.references}
    bound = []
    conditions = _Conditions()
    for node in found.literals:
        start = node.meta.get("start")
        index = parsed.token_at.get(start) if isinstance(start, int) else None
        if index is None:
            continue
        token = parsed.tokens[index]
        spelled = parsed.text[token.start : token.end + 1]
        if token.token_type not in LITERALS or (class_ := class_of(spelled)) is None:
            continue
        operand, cast = node, class_ if class_.startswith("DECIMAL") else ""
        start, end = token.start, token.end + 1
        if type(node.parent) is exp.Cast:
            operand = node.parent
            if class_ != "DATE" or (typed := _typed_literal(parsed, index, operand)) is None:
                continue
            start, end, cast = typed
        if class_ == "TEXT" and not isinstance(operand.parent, _COMPARISONS):
            continue  # of more than two, the others' types may count
        column = _compared_column(operand, conditions)
        if column is None or not isinstance(column.this, exp.Identifier) or column.args.get("db") is not None:
            continue
        table = column.args.get("table")
        if table is not None and fold(table.name) not in aliases:
            continue  # a common table expression, or a struct whose field has a column's name
        kind = types.get(fold(column.this.name))
        if ported and isinstance(operand.parent, exp.Like | exp.ILike):
            continue
        if class_ == "DATE" and not cast and kind in ("DATE", "TIMESTAMP"):
            cast = kind
        if _alike(class_, kind, dated=operand is not node):
            bound.append((start, end, index, "VARCHAR" if spelled[0] == "'" else class_, cast))
    if len(bound) > MAX_LITERALS:
        return ()
    return tuple(
        BoundLiteral(index, start, end, f"{PREFIX}{number}", type_, cast)
        for number, (start, end, index, type_, cast) in enumerate(sorted(bound))
    )


def _typed_literal(parsed: Parsed, index: int, cast: exp.Cast) -> tuple[int, int, str] | None:
    """Span and type of `DATE '2026-01-01'` and `CAST('2026-01-01' AS DATE)` (`TIMESTAMP` likewise) around the token of
    the text; the words are replaced with it, since `DATE $name` is no syntax."""
    type_ = _DAYS.get(cast.to.this)
    if type_ is None:
        return None
    tokens = parsed.tokens
    around = [token.text.upper() for token in tokens[max(0, index - 2) : index + 4]]
    if index and tokens[index - 1].text.upper() == type_:
        return tokens[index - 1].start, tokens[index].end + 1, type_
    if index > 1 and (around[:2], around[3:]) == (["CAST", "("], ["AS", type_, ")"]):
        return tokens[index - 2].start, tokens[index + 3].end + 1, type_
    return None


def _alias(reference: Reference) -> str:
    alias = reference.node.args.get("alias")
    given = alias.this if alias is not None else None
    return fold(given.name if isinstance(given, exp.Identifier) else reference.alias)


def _types_of_columns(found: Resolution, changed: Callable[[Relation], Collection[str]]) -> dict[str, str]:
    """Folded name → kind of type, for the names that mean a stored column of that kind wherever they stand."""
    types: dict[str, str] = {}
    for reference in found.references:
        relation = reference.relation
        hidden = {fold(name) for name in changed(relation)}
        for column in relation.columns:
            name = fold(column.name)
            kind = "" if relation.kind != "table" or name in hidden or name in found.named else _kind(column.type)
            types[name] = kind if types.get(name, kind) == kind else ""
    return types


def _kind(type_: str) -> str:
    if type_ in ("VARCHAR", "DATE", "TIMESTAMP"):
        return type_
    if type_ in _NUMBERS:
        return "number"
    digits = re.fullmatch(r"DECIMAL\((\d+),\s*\d+\)", type_)
    return "number" if digits and int(digits[1]) <= 18 else ""


def _alike(class_: str, kind: str | None, *, dated: bool) -> bool:
    """Whether a literal of this class beside a column of this kind means what a bound value of its type means."""
    match class_:
        case "VARCHAR" | "TEXT":
            return kind == "VARCHAR"
        case "DATE":
            return kind in ("DATE", "TIMESTAMP") or (kind == "VARCHAR" and not dated)
        case _:
            return kind == "number"


def class_of(text: str) -> str | None:
    """What decides how DuckDB treats a literal; None where it is not to be bound.

    >>> class_of("7"), class_of("3000000000"), class_of("0.05"), class_of("'1995-01-01'"), class_of("'EMEA'")
    ('INTEGER', 'BIGINT', 'DECIMAL(3,2)', 'DATE', 'VARCHAR')
    >>> class_of("'42'"), class_of("''"), class_of("'42€'"), class_of("1e5")
    ('TEXT', 'TEXT', None, None)
    """
    return None if len(text) > MAX_LENGTH + 2 else _class_of(text)


@lru_cache(maxsize=4096)
def _class_of(text: str) -> str | None:
    if text[0] == "'":
        inner = text[1:-1]
        if _WORDS.fullmatch(inner) and inner.strip().lower() not in _SPECIAL:
            return "VARCHAR"
        if _DAY.fullmatch(inner) and _is_day(inner):
            return "DATE"
        return "TEXT" if _TEXT.fullmatch(inner) else None
    if _INTEGER.fullmatch(text):
        return "INTEGER" if int(text) < 2**31 else "BIGINT"
    if found := _DECIMAL.fullmatch(text):
        return f"DECIMAL({len(found[1]) + len(found[2])},{len(found[2])})"
    return None


def value_of(text: str) -> object:
    """The value of a literal that has a class."""
    if text[0] == "'":
        return text[1:-1]
    return Decimal(text) if "." in text else int(text)


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _compared_column(literal: exp.Expr, conditions: _Conditions) -> exp.Column | None:
    """The column beside which a literal stands by itself in a comparison of a WHERE or ON, where no name of a result
    column is made of the text around it."""
    comparison = literal.parent
    match comparison:
        case _ if isinstance(comparison, _COMPARISONS):
            column = comparison.expression if comparison.this is literal else comparison.this
        case exp.Between() | exp.In() | exp.Like() | exp.ILike():
            column = comparison.this
            if column is literal or comparison.args.get("symmetric"):
                return None
        case _:
            return None
    return column if type(column) is exp.Column and conditions.hold(comparison) else None


class _Conditions:
    """What a WHERE or ON is made of; each part of the tree is settled once, however long the chain it is in."""

    def __init__(self) -> None:
        self._parts: dict[int, bool] = {}  # by id of a node, which the tree keeps alive
        self._free: dict[int, bool] = {}

    def hold(self, node: exp.Expr) -> bool:
        """Whether a node is a condition, or one of those that AND, OR and NOT make one of."""
        return _settle(node, self._parts, self._is_part)

    def _is_part(self, node: exp.Expr) -> bool | None:
        parent = node.parent
        if isinstance(parent, exp.And | exp.Or | exp.Not | exp.Paren):
            return None
        plain_join = isinstance(parent, exp.Join) and node.arg_key == "on" and not parent.args.get("method")
        if parent is None or not (isinstance(parent, exp.Where) or plain_join):
            return False
        return _settle(parent, self._free, _is_free)


def _is_free(node: exp.Expr) -> bool | None:
    """Whether no name of a result column is made of a node's text, as far as the node above it tells."""
    parent = node.parent
    match parent:
        case None:
            return True
        case exp.Select() if node.arg_key not in ("where", "joins", "from_", "with_"):
            return False
        case exp.Func() if not isinstance(parent, exp.Exists | exp.And | exp.Or):
            return False
        case exp.Pivot() | exp.Window() | exp.Lambda() | exp.Order() | exp.Group() | exp.Having() | exp.Qualify():
            return False
        case _:
            return None


def _settle(node: exp.Expr, known: dict[int, bool], verdict: Callable[[exp.Expr], bool | None]) -> bool:
    """The first verdict on the way up from a node; it holds for all nodes on that way."""
    path: list[int] = []
    while (found := known.get(id(node))) is None:
        path.append(id(node))
        found = verdict(node)
        if found is not None:
            break
        node = node.parent
    known.update(dict.fromkeys(path, found))
    return found
