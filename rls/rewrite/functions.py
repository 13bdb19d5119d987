"""The reviewed table of DuckDB's functions, types and collations: a name goes in, a `Review` comes out, or None.

`functions.tsv` beside this file holds one row per name and kind (as in `duckdb_functions()`, lower case), with a
verdict, a condition and a reason. This module only reads it; `python -m tests.functions.review` compares it with the
running DuckDB and attacks every verdict. Invariant (closed): a name without a row is unknown; unknown is refused.

Verdicts
  leakproof  total for every argument the binder accepts: cannot raise, has no side effect, sees nothing but its
             arguments and gives the same answer wherever it stands in the query (so it may be moved below a fence);
             VARIANT arguments apart, which the binder casts to any type, and that cast raises
  raises     callers may use it above a fence: it may raise on some value, is volatile, or multiplies rows
  forbidden  refused in every spelling: quoted, qualified, as a method, as an operator called as a function

Conditions (without one the verdict holds for all arguments; see `Review.permits`)
  escape         arguments 2 and 3 are string literals, the escape is one character or empty, and no escape stands
                 alone at the pattern's end: DuckDB raises on that, unmarked, once a row's text has matched up to there
  arguments:N    exactly N arguments are given
  count:N:LIMIT  argument N (from 1), where it is a literal, is at most LIMIT; the rest is left to the worker's limits
  part           argument 1, where it is a literal, is a part of a date that DuckDB knows: it raises on others only
                 when a row is there
  steps:LIMIT    literal bounds (stop), (start, stop) or (start, stop, step) make at most LIMIT rows
  statistics     holds always, and is the engine's duty: `statistics_propagation` off, or the function is run on stored
                 extremes, hidden ones included

Totals (column `total`): for which bound argument types a function that raises is total after all; see `Review.is_total`
  `DOUBLE/FLOAT,=|'month',DATE|VARCHAR,#BIGINT` alternatives by `|`, arguments by `,`, types of one argument by `/`
  `=` the type of the first argument · `SCALAR` any of SCALARS · `ANY` these, DECIMAL and NESTED · `#BIGINT` a literal
  whole number within ±2147483647 · `#INTEGER+` one from 0 to 38 · `#VARCHAR` any literal text that binds · `'month'`
  this text · `=*` (last) any number of such arguments. Found by `python -m tests.functions.totals`; sums of integers
  and DECIMAL, and arithmetic on them, are decided by `magnitude` instead

Names are those of DuckDB's own syntax tree (`json_serialize_sql`: `function_name`), not those of the caller's text:
  operators    `+ - * / // % ** ^ & | ~ << >> || @ ! ^@ && @> <@ <-> <=> ->>` keep their spelling; one or two arguments
  LIKE         `~~`, NOT LIKE `!~~`, ILIKE `~~*`, NOT ILIKE `!~~*`, GLOB `~~~`; ESCAPE `like_escape`, `ilike_escape`
  regex        SIMILAR TO `regexp_full_match`; `~`, `!~`, `~*`, `!~*` `regexp_matches`
  dates        EXTRACT `date_part`, AT TIME ZONE `timezone`, INTERVAL n UNIT `to_days`, `to_months`, … over `trunc`
  text         SUBSTRING … FROM `substring`, POSITION … IN `position`, TRIM `trim`, `ltrim`, `rtrim`, OVERLAY `overlay`
  lists        `[a, b]` `list_value`, `x IN list` `contains`, `[… FOR … IF …]` `list_apply` and `list_filter`,
               `= ANY(list)` `unnest`, ARRAY(SELECT …) `array_agg`, COLUMNS(lambda …) `list_filter`
  structs      `{…}` `struct_pack`, `(a, b)` and ROW `row` (also around the parameters of a lambda), `MAP {…}` `map`
  aggregates   count(*) `count_star`, percentile_cont `quantile_cont`, percentile_disc `quantile_disc`; a window is a
               node of its own with the same field
  others       `5!` `factorial`, IF `if`, NULLIF `nullif`; `->` is a lambda node until it is bound: its row is `->`
  no function  comparisons, BETWEEN, IN, IS NULL, IS DISTINCT FROM, AND, OR, NOT, CASE, COALESCE, IFNULL, CAST, TRY,
               COLLATE, GROUPING, ARRAY[…], `x[i]`, `x[a:b]`, `(x).f` and literals are nodes of their own, which the
               verifier allows by class; `"="(a, b)` *is* a function, and forbidden
  methods      `x.lower()` on a column has the column as schema: path `[x, lower]`, the same tree as `main.lower()`
  bare names   `current_date`, `user` and the like stand as column references: see `bare_function`
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["NOT_LITERAL", "Review", "allowed_collation", "allowed_type", "bare_function", "review", "reviews"]

TABLE: Final = Path(__file__).with_name("functions.tsv")

NOT_LITERAL: Final = object()
"""Stands for an argument that is no literal when `Review.permits` is asked."""

# Where a name stands decides which of its kinds can be meant: DuckDB looks up macros, scalars, aggregates together.
PLACES: Final = {
    "scalar": "expression",
    "aggregate": "expression",
    "window": "expression",
    "macro": "expression",
    "syntax": "expression",
    "table": "table",
    "table_macro": "table",
    "pragma": "pragma",
    "type": "type",
    "collation": "collation",
}
DATE_PARTS: Final = frozenset(
    """c cent centuries century d day dayofmonth dayofweek dayofyear days dec decade decades decs dow doy epoch era h
    hour hours hr hrs isodow isoyear julian m microsecond microseconds mil millenium millennia millennium millenniums
    millisecond milliseconds mils min mins minute minutes mon mons month months ms msec msecs quarter quarters s sec
    second seconds secs timezone timezone_hour timezone_minute us usec usecond useconds usecs w week weekday weekofyear
    weeks y year years yearweek yr yrs""".split()  # noqa: SIM905 - forty lines otherwise
)

# Types of one value, by short name; DECIMAL is not among them, since its width decides what fits.
SCALARS: Final = (
    "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
    "UHUGEINT", "FLOAT", "DOUBLE", "VARCHAR", "BLOB", "BIT", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS",
    "TIMESTAMP_NS", "TIMESTAMPTZ", "INTERVAL", "UUID",
)  # fmt: skip
# Types beside SCALARS and DECIMAL that `ANY` stands for: all but VARIANT, which casts itself, and GEOMETRY.
NESTED: Final = (
    "LIST", "ARRAY", "STRUCT", "MAP", "UNION", "TUPLE", "ENUM", "TIMETZ", "TIME_NS", "TIMESTAMPTZ_NS", "BIGNUM",
)  # fmt: skip
ANY: Final = frozenset((*SCALARS, "DECIMAL", *NESTED))
SHORT: Final = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ", "TIME WITH TIME ZONE": "TIMETZ"}
SEVERITY: Final = ("leakproof", "raises", "forbidden")

# Without parentheses these are column references in the tree; where no column has the name, DuckDB calls the function.
BARE_NAMES: Final = {
    "current_catalog": "current_catalog",
    "current_date": "current_date",
    "current_role": "current_role",
    "current_schema": "current_schema",
    "current_time": "get_current_time",
    "current_timestamp": "get_current_timestamp",
    "current_user": "current_user",
    "localtime": "current_localtime",
    "localtimestamp": "current_localtimestamp",
    "session_user": "session_user",
    "user": "user",
}


def review(name: str, kind: str | None = None) -> Review | None:
    """What the table says of `name`; None where it has no row, which means refuse.

    `kind` narrows to a place (`expression`, `table`, `pragma`, `type`, `collation`) or to one kind (`scalar`, `macro`,
    `aggregate`, `window`, `syntax`, `table`, `table_macro`). Where several rows match, the most severe verdict counts.

    >>> review("LOWER", "expression").verdict
    'leakproof'
    >>> review("histogram", "expression").verdict, review("histogram", "table").verdict, review("histogram").verdict
    ('raises', 'forbidden', 'forbidden')
    >>> review("no_such_function") is None
    True
    """
    # DuckDB folds ASCII only: `str.lower` would turn the Kelvin sign into `k` and find a name the engine does not mean.
    return _index().get((name.lower(), kind)) if name.isascii() else None


def reviews() -> tuple[Review, ...]:
    """Every row of the table, in its order: one `Review` per name and kind."""
    return tuple(_rows())


def allowed_type(name: str) -> bool:
    """Whether an unqualified type name of a cast (`type_name` of a TYPE node) is a built-in one.

    Children of a type are types or literals: the verifier asks for each. Qualified names and users' types are not
    allowed: `CAST(x AS orders)` binds a table's row type, `CAST(x AS status)` prints an enum's labels when it fails.

    >>> allowed_type("INTEGER"), allowed_type("list"), allowed_type("TIMESTAMP WITH TIME ZONE"), allowed_type("orders")
    (True, True, True, False)
    """
    found = review(name, "type")
    return found is not None and found.verdict != "forbidden"


def allowed_collation(name: str) -> bool:
    """Whether `name`, one collation or several joined by dots, is built in.

    >>> allowed_collation("NOCASE.NOACCENT"), allowed_collation("de"), allowed_collation("nocase) union all")
    (True, True, False)
    """
    parts = [review(part, "collation") for part in name.split(".")]
    return all(part is not None and part.verdict != "forbidden" for part in parts)


def bare_function(column: str) -> str | None:
    """The function that a one-part column reference calls when no column has its name; quotes make no difference.

    >>> bare_function("CURRENT_DATE"), bare_function("amount")
    ('current_date', None)
    """
    return BARE_NAMES.get(column.lower()) if column.isascii() else None


@dataclass(frozen=True, slots=True)
class Review:
    """A row of the table, or the union of the rows of one name: `kinds` says of which."""

    name: str
    kinds: tuple[str, ...]
    verdict: str
    condition: str
    total: str
    reason: str

    def is_total(self, types: Sequence[str], literals: Sequence[object]) -> bool:
        """Whether no call with these bound argument types (`id` in DuckDB's plan, as `typeof` prints them) can raise.

        `literals` has the value of each argument that is one, else `NOT_LITERAL`. Only for types after binding: what
        the binder casts to get there is a cast of its own.

        >>> text = [NOT_LITERAL, 1, 2]
        >>> review("substring", "scalar").is_total(["VARCHAR", "BIGINT", "BIGINT"], text)
        True
        >>> review("abs", "scalar").is_total(["INTEGER"], [NOT_LITERAL])
        False
        """
        if not self.permits(literals):
            return False
        if self.verdict == "leakproof":
            return "VARIANT" not in types
        names = [SHORT.get(name, name) for name in types]
        return any(_matches(pattern.split(","), names, literals) for pattern in self.total.split("|") if pattern)

    def permits(self, arguments: Sequence[object]) -> bool:
        """Whether the condition holds for positional `arguments`: a literal's value (`-5` too), else `NOT_LITERAL`.

        >>> review("like_escape", "expression").permits([NOT_LITERAL, "10!%", "!"])
        True
        >>> review("like_escape", "expression").permits([NOT_LITERAL, "10!", "!"])
        False
        """
        if self.verdict == "forbidden":
            return False
        return all(_holds(condition, arguments) for condition in self.condition.split())


def _holds(condition: str, arguments: Sequence[object]) -> bool:
    match condition.split(":"):
        case ["escape"]:
            return len(arguments) == 3 and _escape_is_sound(arguments[1], arguments[2])
        case ["arguments", number]:
            return len(arguments) == int(number)
        case ["statistics"]:
            return True
        case ["count", position, limit]:
            place = int(position) - 1
            return place >= len(arguments) or _number(arguments[place]) <= int(limit)
        case ["part"]:
            return not arguments or not isinstance(arguments[0], str) or arguments[0].lower() in DATE_PARTS
        case ["steps", limit]:
            return _steps(arguments) <= int(limit)
        case _:
            return False


def _matches(pattern: Sequence[str], types: Sequence[str], literals: Sequence[object]) -> bool:
    if pattern[-1].endswith("*") and len(types) >= len(pattern) - 1:
        pattern = [*pattern[:-1], *[pattern[-1][:-1]] * (len(types) - len(pattern) + 1)]
    if not len(pattern) == len(types) == len(literals):
        return False
    return all(
        any(_fits(option, types, position, literals[position]) for option in options.split("/"))
        for position, options in enumerate(pattern)
    )


def _fits(option: str, types: Sequence[str], position: int, literal: object) -> bool:
    match option[0]:
        case "=":
            return types[position] == types[0]
        case "'":
            return isinstance(literal, str) and literal.lower() == option[1:-1]
        case "#" if option[-1] == "+":
            return types[position] == option[1:-1] and type(literal) is int and 0 <= literal <= 38
        case "#" if types[position] == option[1:]:
            # A bool is an int in Python only.
            return isinstance(literal, str) or (type(literal) is int and abs(literal) < 2**31)
        case _:
            known = {"SCALAR": SCALARS, "ANY": ANY}.get(option, (option,))
            return types[position] in known


def _escape_is_sound(pattern: object, escape: object) -> bool:
    if not (isinstance(pattern, str) and isinstance(escape, str)) or len(escape.encode()) > 1:
        return False
    if not escape:
        return True
    rest = iter(pattern)
    # An escape takes the next character with it; one that finds none is the error.
    return all(next(rest, None) is not None for character in rest if character == escape)


def _number(argument: object) -> float:
    return float(argument) if isinstance(argument, int | float) else 0.0


def _steps(arguments: Sequence[object]) -> float:
    numbers = [_number(argument) for argument in arguments]
    match numbers:
        case [stop]:
            return abs(stop)
        case [start, stop]:
            return abs(stop - start) if NOT_LITERAL not in arguments else 0.0
        case [start, stop, step]:
            return abs(stop - start) / (abs(step) or 1.0) if NOT_LITERAL not in arguments else 0.0
        case _:
            return 0.0


@cache
def _index() -> dict[tuple[str, str | None], Review]:
    """(name, kind), (name, place) and (name, None) → review."""
    index: dict[tuple[str, str | None], Review] = {}
    for row in _rows():
        for key in {row.kinds[0], PLACES[row.kinds[0]], None}:
            found = index.get((row.name, key))
            index[row.name, key] = row if found is None else _worse(found, row)
    return index


def _worse(a: Review, b: Review) -> Review:
    worst = max(a, b, key=lambda row: SEVERITY.index(row.verdict))
    conditions = " ".join(dict.fromkeys(f"{a.condition} {b.condition}".split()))
    total = a.total if a.total == b.total else ""
    return Review(a.name, (*a.kinds, *b.kinds), worst.verdict, conditions, total, worst.reason)


def _rows() -> Iterable[Review]:
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    for line in lines[1:]:
        name, kind, verdict, condition, total, reason = line.split("\t")
        yield Review(name, (kind,), verdict, condition, total, reason)
