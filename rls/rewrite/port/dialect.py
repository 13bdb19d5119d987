"""How an engine's SQL says what DuckDB's means: types, names, and a text for each operation, by name and kind.

One instance per statement. Owns that nothing is written which the engine's table does not have, and that it is known
whether anything that was written may raise on a row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

from sqlglot import exp

from rls.catalog import Catalog, Relation
from rls.rewrite.port.kinds import Lowered, common, is_day, is_time, not_portable
from rls.rewrite.port.named import operation_of

__all__ = ["Dialect"]


class Dialect(ABC):
    """The SQL of one engine.

    name       sqlglot's name of the dialect, which is also that of a `GuardedQuery`
    types      kind → the type that a lowered expression of that kind has
    shown      kinds of stored columns that an answer may show; no expression may use them
    texts      operation → its text, with `{0}`, `{1}`, … for operands; `+ INTEGER` is looked for before `+`
    functions  all that a finished text may call
    called     sqlglot's name of a function, where it is another
    total      operations that raise for no operands; of all others a fence keeps hidden rows away
    holds      kind → digits of a number that arithmetic can always give, and that can always become DOUBLE
    directives of strftime that the engine writes the same, for the years 1 to 9999
    lacks      constructs that the engine has not, or does in another way
    any_length DuckDB types whose stored numbers may have more digits than the type says, so that even a sum of them
               may raise
    late       whether what an aggregate is of, and what is made of aggregates, is evaluated above all filters of its
               query, so that it sees no hidden row; not so what a filter outside may be moved to: a group's own key
    """

    name: ClassVar[str]
    types: ClassVar[Mapping[str, str]]
    shown: ClassVar[frozenset[str]] = frozenset()
    functions: ClassVar[frozenset[str]]
    called: ClassVar[Mapping[str, str]]
    total: ClassVar[frozenset[str]] = frozenset()
    holds: ClassVar[Mapping[str, int]] = {}
    directives: ClassVar[Mapping[str, str]] = {}
    lacks: ClassVar[frozenset[str]] = frozenset()
    any_length: ClassVar[frozenset[str]] = frozenset()
    late: ClassVar[bool] = False

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = texts
        self.may_raise = False
        self.why = ""  # in words, what is the first of it; "" also where nobody says so
        self._is_late = self._answers = False

    def raises(self, what: str) -> None:
        """What is written now, and called so, may raise on a row."""
        if not self._is_late:
            self.why = self.why or f"{what} may raise on a row there"
            self.may_raise = True

    @contextmanager
    def query(self, *, answers: bool) -> Iterator[None]:
        """A query is written in a `with` block, whose groups are the answer's (see `answering`), or another."""
        before = self._is_late, self._answers
        self._is_late, self._answers = False, answers
        try:
            yield
        finally:
            self._is_late, self._answers = before

    @contextmanager
    def evaluated(self, *, late: bool) -> Iterator[None]:
        """What is written in a `with` block is evaluated above the filters of its query, or among them."""
        before, self._is_late = self._is_late, late and self.late and self._answers
        try:
            yield
        finally:
            self._is_late = before

    def write(self, operation: str, kind: str, *operands: object, digits: int | None = None) -> str:
        """The text of an operation on operands of a kind. Raises `QueryRefused` for one that the engine lacks.

        digits  how many the result has at most, where it is a number that can only be too large
        """
        text = self.texts.get(f"{operation} {kind}") or self.texts.get(operation)
        if not text:
            named = operation_of(operation)
            raise not_portable(f"{named} of {kind}" if kind else named)
        fits = digits is not None and digits <= self.holds.get(kind, -1)
        if not fits and operation not in self.total and f"{operation} {kind}" not in self.total:
            self.raises(f"`{operation}` of {kind}" if kind else f"`{operation}`")
        return text.format(*operands)

    def demand(self, construct: str) -> None:
        """Raise `QueryRefused` where the engine lacks a construct."""
        if construct in self.lacks:
            raise not_portable(construct)

    def type_of(self, kind: str) -> str:
        """The type of a kind. Raises `QueryRefused` where the engine has none."""
        if kind not in self.types:
            raise not_portable(f"the type {kind}")
        return self.types[kind]

    def convert(self, value: Lowered, kind: str) -> Lowered:
        """A value in a kind that `common` found for it and others. Raises `QueryRefused` (`query.not_portable`)."""
        match value.kind, kind:
            case have, want if have == want:
                return value
            case "NULL", _ if kind in self.types:
                return Lowered(f"CAST(NULL AS {self.types[kind]})", kind)
            case _ if common((value.kind, kind)) == kind:
                return Lowered(self.widened(value, kind), kind, digits=value.digits)
            case "VARCHAR", "DATE" if is_day(value.literal):
                return Lowered(f"CAST({value.text} AS {self.types[kind]})", kind)
            case "VARCHAR", "TIMESTAMP" if is_time(value.literal):
                return Lowered(f"CAST({value.text} AS {self.types[kind]})", kind)
        raise not_portable(f"{value.kind} where {kind} is needed", hint="cast it to the type that is needed")

    def widened(self, value: Lowered, kind: str) -> str:
        """A value in a wider kind, which has all of its values."""
        return f"CAST({value.text} AS {self.type_of(kind)})"

    def scalar(self, query: exp.Expr) -> exp.Expr:
        """A query of one column that stands for a value, as the engine must see it."""
        return query

    def ordered(self, text: str) -> str:
        """A text value, to be ordered by its bytes."""
        return text

    def folded(self, pattern: Lowered) -> Lowered:
        """A pattern for ILIKE."""
        return pattern

    def between(self, text: str) -> str | None:
        """What stands between directives; None where the engine could take it for one."""
        return f'"{text}"' if not any(one in text for one in '"\\%') else None

    @abstractmethod
    def name_of(self, name: str) -> str:
        """A name, quoted. Raises `QueryRefused` for one that the engine would read as another."""

    @abstractmethod
    def literal(self, text: str) -> str:
        """A text literal without a type."""

    @abstractmethod
    def text_literal(self, text: str) -> str:
        """A text literal as a value."""

    @abstractmethod
    def decimal(self, digits: str) -> str:
        """A literal with a point in it."""

    @abstractmethod
    def place(self, number: int) -> str:
        """Where the value of a parameter is bound."""

    @abstractmethod
    def decimal_type(self, width: int, scale: int) -> str:
        """The type of exact numbers of that many digits."""

    @abstractmethod
    def pattern(self, pattern: Lowered) -> str:
        """The pattern of LIKE with its ESCAPE: none, as in DuckDB. Raises `QueryRefused`."""

    @abstractmethod
    def source(self, relation: Relation, catalog: Catalog) -> str | None:
        """A stored relation in FROM; None where there is none."""

    @abstractmethod
    def fenced(self, query: str) -> str:
        """A query, kept by a fence from what is done with its rows."""

    @abstractmethod
    def rows(self, lines: list[str], names: list[str]) -> str:
        """A query that gives these rows."""

    @abstractmethod
    def least_of(self, number: str) -> str:
        """A whole number for LIMIT, from one of 64 bits."""
