"""SQL values as formulas: a value, whether it is NULL, and which values two types share when they are compared.

A `Term` stands for what an expression gives on any row and for any principal; texts are numbers that are equal and
ordered as they are. Owns what is exact: where DuckDB's comparison of two types is not the comparison of their values
(floats of large numbers, texts cast to numbers), there is no common value, and the comparison must be left open.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final, Literal

import z3

__all__ = [
    "DAY",
    "FALSE",
    "TRUE",
    "Kind",
    "Term",
    "all_of",
    "any_of",
    "common",
    "constant",
    "digits_of",
    "element_type",
    "free_term",
    "kind_of",
    "literal_texts",
    "negated",
    "order_of_texts",
    "sort_of",
    "text_value",
    "truth",
]

Kind = Literal["boolean", "number", "double", "text", "date", "timestamp", "zoned", "list", "opaque", "null"]

TRUE: Final = z3.BoolVal(True)
FALSE: Final = z3.BoolVal(False)
DAY: Final = 86_400_000_000  # microseconds
EXACT_DOUBLE: Final = 2**53
MAX_DIGITS: Final = 38
_TEXT: Final = "text "
_EPOCH: Final = date(1970, 1, 1)
_WHOLE: Final = {
    "TINYINT": (3, -(2**7), 2**7 - 1),
    "SMALLINT": (5, -(2**15), 2**15 - 1),
    "INTEGER": (10, -(2**31), 2**31 - 1),
    "BIGINT": (19, -(2**63), 2**63 - 1),
    "HUGEINT": (38, -(10**38) + 1, 10**38 - 1),
    "UTINYINT": (3, 0, 2**8 - 1),
    "USMALLINT": (5, 0, 2**16 - 1),
    "UINTEGER": (10, 0, 2**32 - 1),
    "UBIGINT": (20, 0, 2**64 - 1),
}
_DECIMAL: Final = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")


@dataclass(frozen=True)
class Term:
    """What an expression gives.

    `value` is a formula of `sort_of(kind)`, without meaning where `null` holds; a list's value is the set of its
    elements, and `identity` tells two lists apart that hold the same ones. `digits` are the whole and the fractional
    digits of a number's type; `literal` is the Python value of a constant.
    """

    kind: Kind
    value: Any
    null: Any = FALSE
    type: str = ""
    digits: tuple[int, int] = (0, 0)
    literal: object = None
    identity: Any = None

    @property
    def true(self) -> Any:
        """Of a condition: it is TRUE."""
        return z3.And(z3.Not(self.null), self.value)

    @property
    def false(self) -> Any:
        """Of a condition: it is FALSE, and not NULL."""
        return z3.And(z3.Not(self.null), z3.Not(self.value))

    @property
    def plain(self) -> Any:
        """The value, the same one for every NULL: what a function may depend on."""
        value = self.identity if self.identity is not None else self.value
        return z3.If(self.null, _some_value(value.sort()), value)


def kind_of(type_: str) -> Kind:
    """The kind of a DuckDB type; `opaque` for one whose values are not modelled.

    >>> kind_of("DECIMAL(9,2)"), kind_of("VARCHAR[]"), kind_of("STRUCT(a INTEGER)")
    ('number', 'list', 'opaque')
    """
    if type_ in _WHOLE or _DECIMAL.fullmatch(type_):
        return "number"
    if type_.startswith("ENUM("):
        return "text"
    if type_.endswith("[]"):
        return "list" if kind_of(type_[:-2]) in ("number", "text", "date", "timestamp", "boolean") else "opaque"
    simple: dict[str, Kind] = {
        "BOOLEAN": "boolean",
        "VARCHAR": "text",
        "DATE": "date",
        "TIMESTAMP": "timestamp",
        "TIMESTAMP WITH TIME ZONE": "zoned",
        "DOUBLE": "double",
        "NULL": "null",
    }
    return simple.get(type_, "opaque")


def element_type(type_: str) -> str:
    """The type of a list's elements."""
    return type_.removesuffix("[]")


def sort_of(type_: str) -> Any:
    """The sort of formulas for values of a type."""
    match kind_of(type_):
        case "boolean" | "null":
            return z3.BoolSort()
        case "double":
            return z3.RealSort()
        case "number" if type_ not in _WHOLE:
            return z3.RealSort()
        case "list":
            return z3.ArraySort(sort_of(element_type(type_)), z3.BoolSort())
        case _:
            return z3.IntSort()


def free_term(name: str, type_: str, *, nullable: bool, assume: Callable[[Any], None]) -> Term:
    """Any value of a type; what a value of it always satisfies is handed to `assume`."""
    null = z3.Bool(f"{name} is null") if nullable else FALSE
    kind = kind_of(type_)
    if kind == "list":
        value = z3.Const(name, sort_of(type_))
        return Term(kind, value, null, type_, identity=z3.Int(f"{name} as such"))
    if decimal := _DECIMAL.fullmatch(type_):
        width, scale = int(decimal[1]), int(decimal[2])
        units = z3.Int(f"{name} in units")
        assume(z3.And(units > -(10**width), units < 10**width))
        return Term(kind, z3.ToReal(units) / z3.RealVal(10**scale), null, type_, (width - scale, scale))
    value = z3.Const(name, sort_of(type_))
    if type_ in _WHOLE:
        _, least, most = _WHOLE[type_]
        assume(z3.And(value >= least, value <= most))
    if kind == "text":
        assume(value >= text_value(""))
    if type_.startswith("ENUM("):
        labels = [m.replace("''", "'") for m in re.findall(r"'((?:[^']|'')*)'", type_)]
        assume(z3.Or(null, *(value == text_value(label) for label in labels)))
    return Term(kind, value, null, type_, digits_of(type_))


def text_value(text: str) -> Any:
    """The number that stands for a literal text; `order_of_texts` says how these numbers lie."""
    return z3.Int(_TEXT + text)


def order_of_texts(names: Iterable[str]) -> list[Any]:
    """That literal texts are different and ordered as DuckDB orders them: by the bytes of UTF-8, so by code points.

    `names` are those of all constants in some formulas. Any texts can be numbered like this, whatever lies between.
    """
    texts = sorted({"", *literal_texts(names)})
    return [text_value(a) < text_value(b) for a, b in pairwise(texts)]


def literal_texts(names: Iterable[str]) -> list[str]:
    """The literal texts among the names of constants."""
    return [name.removeprefix(_TEXT) for name in names if name.startswith(_TEXT)]


def digits_of(type_: str) -> tuple[int, int]:
    """Whole and fractional digits of a number's type."""
    if decimal := _DECIMAL.fullmatch(type_):
        return int(decimal[1]) - int(decimal[2]), int(decimal[2])
    return (_WHOLE[type_][0], 0) if type_ in _WHOLE else (0, 0)


def constant(value: object, type_: str) -> Term | None:
    """A known value of a type; None where it is not modelled."""
    kind = kind_of(type_)
    if value is None:
        return Term("null", FALSE, TRUE, type_)
    match kind:
        case "boolean":
            return Term(kind, z3.BoolVal(value), FALSE, type_, literal=value)
        case "text" if isinstance(value, str):
            return Term(kind, text_value(value), FALSE, type_, literal=value)
        case "number" if isinstance(value, int):
            return Term(kind, z3.IntVal(value), FALSE, type_, digits_of(type_), literal=value)
        case "number" if isinstance(value, Decimal):
            return Term(kind, z3.RealVal(str(value)), FALSE, type_, digits_of(type_), literal=value)
        case "double" if isinstance(value, float) and math.isfinite(value):
            return Term(kind, z3.RealVal(str(Fraction(value))), FALSE, type_, literal=value)
        case "date" if type(value) is date:
            return Term(kind, z3.IntVal((value - _EPOCH).days), FALSE, type_, literal=value)
        case "timestamp" if isinstance(value, datetime) and value.tzinfo is None:
            since = value - datetime(1970, 1, 1)
            return Term(kind, z3.IntVal(since // timedelta(microseconds=1)), FALSE, type_, literal=value)
        case "list" if isinstance(value, list) and None not in value:
            items = [constant(item, element_type(type_)) for item in value]
            if any(item is None for item in items):
                return None
            members = z3.K(sort_of(element_type(type_)), FALSE)
            for item in items:
                assert item is not None  # noqa: S101 - looked at above
                members = z3.Store(members, item.value, TRUE)
            # Constants are told apart by what they are: two lists of one text are one list.
            return Term(kind, members, FALSE, type_, literal=tuple(value), identity=z3.Int(f"list {value!r}"))
        case _:
            return None


def common(left: Term, right: Term) -> tuple[Any, Any] | None:
    """The values of two terms as DuckDB compares them; None where that is not known to be exact."""
    kinds = {left.kind, right.kind}
    if "null" in kinds:
        # NULL compared with anything is NULL: the values do not matter.
        return FALSE, FALSE
    if left.kind == right.kind:
        match left.kind:
            case "number":
                whole, scale = (max(a, b) for a, b in zip(left.digits, right.digits, strict=True))
                return (left.value, right.value) if whole + scale <= MAX_DIGITS else None
            case "text" | "boolean" | "date" | "timestamp" | "zoned" | "double":
                return left.value, right.value
            case _:
                return None
    if kinds == {"date", "timestamp"}:
        return _micros(left), _micros(right)
    if kinds == {"double", "number"}:
        first, second = _as_double(left), _as_double(right)
        return None if first is None or second is None else (first, second)
    return None


def _micros(term: Term) -> Any:
    return term.value * DAY if term.kind == "date" else term.value


def _as_double(term: Term) -> Any | None:
    if term.kind == "double":
        return term.value
    if isinstance(term.literal, int | Decimal):
        return z3.RealVal(str(Fraction(float(term.literal))))
    if term.digits[1] or term.digits[0] > 19:
        return None
    # Beyond 2^53 a double is only near: any number may stand there.
    rounded = z3.Function("as double", z3.IntSort(), z3.RealSort())(term.value)
    near = z3.And(term.value >= -EXACT_DOUBLE, term.value <= EXACT_DOUBLE)
    return z3.If(near, z3.ToReal(term.value), rounded)


def truth(true: Any, false: Any) -> Term:
    """A condition by when it is TRUE and when it is FALSE; else it is NULL."""
    return Term("boolean", true, z3.And(z3.Not(true), z3.Not(false)), "BOOLEAN")


def negated(term: Term) -> Term:
    """NOT."""
    return Term("boolean", z3.Not(term.value), term.null, "BOOLEAN")


def all_of(terms: Sequence[Term]) -> Term:
    """AND of SQL: one FALSE settles it."""
    return truth(z3.And(*(t.true for t in terms)), z3.Or(*(t.false for t in terms)))


def any_of(terms: Sequence[Term]) -> Term:
    """OR of SQL: one TRUE settles it."""
    return truth(z3.Or(*(t.true for t in terms)), z3.And(*(t.false for t in terms)))


def _some_value(sort: Any) -> Any:
    match sort.kind():
        case z3.Z3_BOOL_SORT:
            return FALSE
        case z3.Z3_INT_SORT:
            return z3.IntVal(0)
        case z3.Z3_REAL_SORT:
            return z3.RealVal(0)
        case z3.Z3_ARRAY_SORT:
            return z3.K(sort.domain(), FALSE)
        case _:
            raise AssertionError(sort)
