"""A query's literals that may become bound values → texts that differ in nothing else share one template.

BI tools and agents send one text with other literals and other white space. A literal that stands by itself beside a
comparison in a WHERE or ON (`day >= '2026-01-01'`, `id IN (7, 8)`) means the same as a bound value of its type, and is
bound; everywhere else (LIMIT, types, intervals, positions, select items that name their column, arguments that the
reviewed functions look at) it stays part of the text. Takes parsed queries and token lists; owns that two texts get
one key only where the same text with bound values stands for both: same tokens, same spelling of every literal that is
not bound, same class of every one that is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from sqlglot import exp
from sqlglot.tokens import Token, TokenType

from rls.catalog import Relation, fold
from rls.rewrite.parse import Parsed
from rls.rewrite.resolve import Reference, Resolution

__all__ = ["PREFIX", "BoundLiteral", "bound_literals", "class_of", "literal_positions", "shape_of_tokens", "value_of"]

# No attribute has a name that starts with a digit.
PREFIX: Final = "rls_0_"
MAX_LITERALS: Final = 200  # bound ones in one text
MAX_LENGTH: Final = 200  # characters of a text that is bound

_LITERALS: Final = (TokenType.NUMBER, TokenType.STRING)
_INTEGER: Final = re.compile(r"0|[1-9][0-9]{0,17}")
_DECIMAL: Final = re.compile(r"(0|[1-9][0-9]{0,12})\.([0-9]{1,6})")
_NUMBERS: Final = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "DOUBLE"}
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# A text that both parsers read alike, and that converts to nothing but VARCHAR: no digit makes it a number or a date.
_WORDS: Final = re.compile(r"[A-Za-z#%_][A-Za-z0-9 _.,:;/@#&%+()\[\]*-]*")
# Words that convert to something: `d = 'infinity'` compares dates.
_SPECIAL: Final = frozenset(
    "true false t f yes no y n on off nan inf infinity epoch now today tomorrow yesterday null".split()  # noqa: SIM905
)
_WORDLIKE: Final = re.compile(r"[A-Za-z0-9_$'\".\x80-\U0010ffff]")
_OPERATORLIKE: Final = re.compile(r"[-+*/<>=~!@#%^&|`?]")
_GLUED: Final = (_WORDLIKE, _OPERATORLIKE)


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


def shape_of_tokens(text: str, tokens: Sequence[Token]) -> tuple[object, ...]:
    """What is left of a text when its literals and its white space are taken away."""
    parts: list[object] = []
    end = -2
    for token in tokens:
        kind, start = token.token_type, token.start
        # `x'41'`, `0x1F` and `%-` are tokens of their own to DuckDB, `x '41'` and `% -` are not.
        if start == end + 1 and any(one.match(text, start) and one.match(text, end) for one in _GLUED):
            parts.append("")
        if kind is TokenType.STRING and parts and text[end] == "'":
            parts.append(text[end + 1 : start])  # two strings are one, if a line ends between them (not in a comment)
        end = token.end
        if kind is TokenType.NUMBER or kind is TokenType.STRING:
            parts.append(kind)
        elif kind is TokenType.VAR:
            parts.append(token.text)
        else:
            parts.append(kind)
            parts.append(token.text)
    return tuple(parts)


def literal_positions(tokens: Sequence[Token]) -> list[int]:
    """Indexes of the tokens that `shape_of_tokens` takes away."""
    return [i for i, token in enumerate(tokens) if token.token_type in _LITERALS]


def bound_literals(
    parsed: Parsed, found: Resolution, changed: Callable[[Relation], Collection[str]]
) -> tuple[BoundLiteral, ...]:
    """Which literals of a query are to be bound, in order of the text; `changed` gives the columns of a relation that
    are shown with another type than they are stored with, perhaps."""
    if found.reshaped or not found.literals:
        return ()
    types = _types_of_columns(found, changed)
    aliases = {_alias(reference) for reference in found.references}
    bound = []
    for node in found.literals:
        start = node.meta.get("start")
        index = parsed.token_at.get(start) if isinstance(start, int) else None
        if index is None:
            continue
        token = parsed.tokens[index]
        spelled = parsed.text[token.start : token.end + 1]
        if token.token_type not in _LITERALS or (class_ := class_of(spelled)) is None:
            continue
        operand, cast = node, class_ if class_.startswith("DECIMAL") else ""
        if isinstance(node.parent, exp.Cast):
            # `DATE '2026-01-01'`, with the word before it: `DATE $name` is no syntax.
            operand, before = node.parent, parsed.tokens[index - 1]
            if class_ != "DATE" or before.text.upper() != "DATE" or operand.to.this != exp.DType.DATE:
                continue
            start, cast = before.start, "DATE"
        column = _compared_column(operand)
        if column is None or not isinstance(column.this, exp.Identifier) or column.args.get("db") is not None:
            continue
        table = column.args.get("table")
        if table is not None and fold(table.name) not in aliases:
            continue  # a common table expression, or a struct whose field has a column's name
        if _alike(class_, types.get(fold(column.this.name)), dated=cast == "DATE"):
            bound.append((start, token.end + 1, index, "VARCHAR" if spelled[0] == "'" else class_, cast))
    if len(bound) > MAX_LITERALS:
        return ()
    return tuple(
        BoundLiteral(index, start, end, f"{PREFIX}{number}", type_, cast)
        for number, (start, end, index, type_, cast) in enumerate(sorted(bound))
    )


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
        case "VARCHAR":
            return kind == "VARCHAR"
        case "DATE":
            return kind in ("DATE", "TIMESTAMP") or (kind == "VARCHAR" and not dated)
        case _:
            return kind == "number"


def class_of(text: str) -> str | None:
    """What decides how DuckDB treats a literal; None where it is not to be bound.

    >>> class_of("7"), class_of("3000000000"), class_of("0.05"), class_of("'1995-01-01'"), class_of("'EMEA'")
    ('INTEGER', 'BIGINT', 'DECIMAL(3,2)', 'DATE', 'VARCHAR')
    >>> class_of("'42'") is None, class_of("1e5") is None
    (True, True)
    """
    if text[0] == "'":
        inner = text[1:-1]
        if len(inner) <= MAX_LENGTH and _WORDS.fullmatch(inner) and inner.strip().lower() not in _SPECIAL:
            return "VARCHAR"
        return "DATE" if _DAY.fullmatch(inner) and _is_day(inner) else None
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


def _compared_column(literal: exp.Expr) -> exp.Column | None:
    """The column beside which a literal stands by itself in a comparison of a WHERE or ON, where no name of a result
    column is made of the text around it."""
    comparison = literal.parent
    match comparison:
        case exp.EQ() | exp.NEQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
            column = comparison.expression if comparison.this is literal else comparison.this
        case exp.Between() | exp.In() | exp.Like() | exp.ILike():
            column = comparison.this
            if column is literal or comparison.args.get("symmetric"):
                return None
        case _:
            return None
    if type(column) is not exp.Column:
        return None
    node, parent = comparison, comparison.parent
    while isinstance(parent, exp.And | exp.Or | exp.Not | exp.Paren):
        node, parent = parent, parent.parent
    plain_join = isinstance(parent, exp.Join) and node.arg_key == "on" and not parent.args.get("method")
    if not isinstance(parent, exp.Where) and not plain_join:
        return None
    while parent is not None:
        node, parent = parent, parent.parent
        match parent:
            case exp.Select() if node.arg_key not in ("where", "joins", "from_", "with_"):
                return None
            case exp.Func() if not isinstance(parent, exp.Exists | exp.And | exp.Or):
                return None
            case exp.Pivot() | exp.Window() | exp.Lambda() | exp.Order() | exp.Group() | exp.Having() | exp.Qualify():
                return None
            case _:
                pass
    return column
