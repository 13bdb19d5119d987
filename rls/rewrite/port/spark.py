"""Spark's SQL, and Sail's: types, operators and reviewed functions by name, and where they are unlike DuckDB's.

For sessions in ANSI mode, whose time zone is UTC. Owns the fences of both: what Spark moves into a sub-query, it does
not move into a sample of all its rows; what Sail moves, it does not move into a LIMIT
(`tests/engines/spark/test_fences.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final

from sqlglot import exp

from rls.catalog import Catalog, Relation
from rls.rewrite.port.dialect import Dialect
from rls.rewrite.port.kinds import INTEGERS, Lowered, listed_kind, not_portable
from rls.rewrite.port.letters import LOWER, UPPER
from rls.rewrite.port.target import Target, view_of

__all__ = ["Sail", "Spark"]

_DIGITS: Final = {"SMALLINT": 5, "INTEGER": 10, "BIGINT": 19}
_MOST: Final = 2**31 - 1  # of LIMIT
_ESCAPES: Final = "~^|!\x1f\x1e\x1d"
_WIDEST: Final = "DECIMAL(38,0)"
_INF: Final = "CAST('Infinity' AS DOUBLE)"
_NAN: Final = "CAST('NaN' AS DOUBLE)"
# DuckDB divides as floating-point numbers, where a division by zero is infinity or not a number. Sail looks at all
# branches where it knows the values.
_DIVIDED: Final = (
    f"(CASE WHEN {{1}} = 0 THEN CASE WHEN {{0}} = {_NAN} OR {{0}} = 0 THEN {_NAN} WHEN {{0}} > 0 THEN {_INF} "
    f"WHEN {{0}} < 0 THEN (- {_INF}) END ELSE {{0}} / nullif({{1}}, 0) END)"
)
_PARTS: Final = {
    "year": "year({0})", "quarter": "quarter({0})", "month": "month({0})", "week": "weekofyear({0})", "day": "day({0})",
    "hour": "hour({0})", "minute": "minute({0})", "dow": "(dayofweek({0}) - 1)", "isodow": "(weekday({0}) + 1)",
    "doy": "dayofyear({0})",
}  # fmt: skip
_TRUNCATED: Final = ("year", "quarter", "month", "week", "day", "hour", "minute", "second")
_RANKS: Final = ("row_number", "rank", "dense_rank")
_SPREADS: Final = ("stddev_samp", "stddev_pop", "var_samp", "var_pop")


def _rounding(even: str) -> dict[str, str]:
    """Operations on floating-point numbers, by the function that rounds halves to the even neighbour."""
    whole = f"{even}({{0}})"
    return {
        **{f"cast DOUBLE {kind}": f"CAST({whole} AS {{1}})" for kind in INTEGERS[:3]},
        "ceil": f"({whole} + CASE WHEN {whole} < {{0}} THEN 1 ELSE 0 END)",
        "floor": f"({whole} - CASE WHEN {whole} > {{0}} THEN 1 ELSE 0 END)",
        # DuckDB rounds halves away from zero.
        "round DOUBLE": (
            f"(({even}({{2}}) + CASE WHEN abs({{2}}) - abs({even}({{2}})) = CAST(0.5 AS DOUBLE) THEN sign({{2}}) "
            f"ELSE 0 END) / CAST(1e{{1}} AS DOUBLE))"
        ),
    }


_TEXTS: Final[dict[str, str]] = {
    "+": "({0} + {1})", "-": "({0} - {1})", "*": "({0} * {1})", "/": _DIVIDED, "/ plain": "({0} / {1})",
    **{f"// {kind}": f"CAST(({{0}} DIV {{1}}) AS {type_})"
       for kind, type_ in (("SMALLINT", "SMALLINT"), ("INTEGER", "INT"), ("BIGINT", "BIGINT"))},
    "%": "({0} % {1})", "neg": "(- {0})",
    "+ INTERVAL": "({0} + {1})", "- INTERVAL": "({0} - {1})",
    "+ DAYS": "date_add({0}, {1})", "- DAYS": "date_add({0}, (- {1}))",
    "- DATE": "CAST(datediff({0}, {1}) AS BIGINT)", "interval": "INTERVAL '{0}' {1}",
    "= null safe": "({0} <=> {1})", "<> null safe": "(NOT ({0} <=> {1}))",
    "cast": "CAST({0} AS {1})",
    **{f"cast DECIMAL {kind}": "CAST(round({0}, 0) AS {1})" for kind in INTEGERS},
    "LIKE": "({0} LIKE {1})", "NOT LIKE": "(NOT ({0} LIKE {1}))",
    "ILIKE": f"({LOWER} LIKE {{1}})", "NOT ILIKE": f"(NOT ({LOWER} LIKE {{1}}))",
    # To Sail NULL is in no list, for certain; to DuckDB nobody knows, and `NOT` of that shows no row.
    "list_contains": "(CASE WHEN (({0} IS NULL) OR ({1} IS NULL)) THEN CAST(NULL AS BOOLEAN) "
    "ELSE array_contains({0}, {1}) END)",
    "abs": "abs({0})", "ceil DECIMAL": "ceil({0})", "floor DECIMAL": "floor({0})",
    "round DECIMAL": "round({0}, {1})", "shift": "({0} * CAST(1e{1} AS DOUBLE))", "sqrt": "sqrt({0})",
    "power": "power({0}, {1})", **_rounding("rint"),
    "upper": UPPER, "lower": LOWER, "length": "CAST(char_length({0}) AS BIGINT)", "substr": "substr({0}, {1})",
    "substr to": "substr({0}, {1}, {2})", "left": "left({0}, {1})", "right": "right({0}, {1})",
    "replace": "replace({0}, {1}, {2})", "split_part": "split_part({0}, {1}, {2})", "md5": "md5({0})",
    "starts_with": "startswith({0}, {1})", "contains": "contains({0}, {1})",
    "trim": "trim(BOTH {1} FROM {0})", "ltrim": "trim(LEADING {1} FROM {0})", "rtrim": "trim(TRAILING {1} FROM {0})",
    "strpos": "CAST(instr({0}, {1}) AS BIGINT)", "||": "({0} || {1})", "concat": "concat_ws('', {0})",
    "coalesce": "coalesce({0})", "greatest": "greatest({0})", "least": "least({0})", "nullif": "nullif({0}, {1})",
    **{f"part {one}": f"CAST({text} AS BIGINT)" for one, text in _PARTS.items()},
    **{f"trunc {one}": f"CAST(date_trunc('{one.upper()}', CAST({{0}} AS TIMESTAMP)) AS TIMESTAMP_NTZ)"
       for one in _TRUNCATED},
    **{f"spans {unit}": "CAST(((unix_micros(CAST({0} AS TIMESTAMP)) - unix_micros(CAST({1} AS TIMESTAMP))) DIV "
       f"{seconds}000000) AS BIGINT)" for unit, seconds in (("hour", 3600), ("minute", 60), ("second", 1))},
    "days": "CAST(datediff(CAST({0} AS DATE), CAST({1} AS DATE)) AS BIGINT)",
    "count": "count({0}{1}){2}", "sum": "sum({0}{1}){2}", "avg DOUBLE": "avg({0}{1}){2}",
    "sum SMALLINT": f"CAST(sum({{0}}CAST({{1}} AS BIGINT)){{2}} AS {_WIDEST})",
    "sum INTEGER": f"CAST(sum({{0}}CAST({{1}} AS BIGINT)){{2}} AS {_WIDEST})",
    "sum BIGINT": f"CAST(sum({{0}}CAST({{1}} AS DECIMAL(19,0))){{2}} AS {_WIDEST})",
    # DuckDB divides the exact sum as a floating-point number.
    "avg": "(CAST(sum({0}{1}){2} AS DOUBLE) / nullif(count({0}{1}){2}, 0))",
    "avg BIGINT": "(CAST(sum({0}CAST({1} AS DECIMAL(19,0))){2} AS DOUBLE) / nullif(count({0}{1}){2}, 0))",
    "min": "min({1}){2}", "max": "max({1}){2}", "bool_and": "bool_and({1}){2}", "bool_or": "bool_or({1}){2}",
    "arg_max": "max_by({0}, {1}){2}", "arg_min": "min_by({0}, {1}){2}",
    "string_agg": "listagg({0}, {1}){3}", "string_agg ordered": "listagg({0}, {1}) WITHIN GROUP ({2}){3}",
    **{one: f"CAST({one}(){{0}} AS BIGINT)" for one in _RANKS},
    **{one: f"{one}(){{0}}" for one in ("percent_rank", "cume_dist")},
    "ntile": "CAST(ntile({0}){1} AS BIGINT)", "lag": "lag({0}){1}", "lead": "lead({0}){1}",
    "first_value": "first_value({0}){1}", "last_value": "last_value({0}){1}",
    **{one: f"{one}({{0}}{{1}}){{2}}" for one in _SPREADS}, "strlen": "CAST(octet_length({0}) AS BIGINT)",
    "random": "rand()", "median": "median({1}){2}", "percentile": "percentile({1}, {0})",
    "grouping": "CAST(grouping({0}) AS BIGINT)",
    "strftime": "date_format(CAST({0} AS TIMESTAMP), {1})",
    "epoch": "(CAST(unix_micros(CAST({0} AS TIMESTAMP)) AS DOUBLE) / CAST(1e6 AS DOUBLE))",
}  # fmt: skip
# Of numbers whose squares are too large, DuckDB's are infinite, and Spark's none.
_SPREAD: Final = {
    one: f"(CASE WHEN {one}({{0}}{{1}}){{2}} = {_NAN} AND max(abs({{1}})){{2}} < {_INF} THEN {_INF} "
    f"ELSE {one}({{0}}{{1}}){{2}} END)"
    for one in _SPREADS
}
_TOTAL: Final = frozenset((
    "/", "/ plain", "= null safe", "<> null safe", "LIKE", "NOT LIKE", "ILIKE", "NOT ILIKE", "list_contains", "shift",
    "sqrt", "power", "ceil DOUBLE", "floor DOUBLE",
    "round DOUBLE", "upper", "lower", "length", "substr", "substr to", "left", "right", "replace", "split_part", "md5",
    "starts_with", "contains", "strpos", "||", "concat", "coalesce", "greatest", "least", "nullif", "interval", "days",
    "- DATE", "+ DOUBLE", "- DOUBLE", "* DOUBLE", "neg DOUBLE", "abs DOUBLE",
    *(f"cast {kind} DOUBLE" for kind in (*INTEGERS, "DECIMAL", "FLOAT")),
    *(f"cast {kind} VARCHAR" for kind in (*INTEGERS, "BOOLEAN", "DATE", "TIMESTAMP")), "cast TIMESTAMP DATE",
    "cast SMALLINT INTEGER", "cast SMALLINT BIGINT", "cast INTEGER BIGINT",
    *(f"part {one}" for one in _PARTS),
    # What an aggregate or a window function raises, it raises on rows that have passed the filter.
    "count", "sum", "avg", "min", "max", "bool_and", "bool_or", "string_agg", "string_agg ordered", "arg_max",
    "arg_min", *_RANKS,
    *_SPREADS, "strlen", "median", "percentile", "grouping", "random",
    "percent_rank", "cume_dist", "ntile", "lag", "lead", "first_value", "last_value",
))  # fmt: skip


class Spark(Dialect):
    """Apache Spark 4."""

    name = "spark"
    total = _TOTAL
    # DECIMAL and HUGEINT are not here: they have 38 digits, and what a multiplication gives is rounded to fit.
    holds: ClassVar[Mapping[str, int]] = {"SMALLINT": 4, "INTEGER": 9, "BIGINT": 18}
    directives: ClassVar[Mapping[str, str]] = {
        "Y": "yyyy", "m": "MM", "d": "dd", "H": "HH", "M": "mm", "S": "ss",
    }  # fmt: skip
    lacks = frozenset((
        "WITH RECURSIVE by UNION", "FILTER in a window function", "numbering rows without ORDER BY",
        "a total of all rows beside groups",  # of no rows, Spark shows none
        "DISTINCT of a constant in an aggregate",  # fails beside string_agg with an ORDER BY
        "several values as one",  # with a NULL among them they are others, where nobody knows
    ))  # fmt: skip
    types: ClassVar[Mapping[str, str]] = {
        "BOOLEAN": "BOOLEAN", "SMALLINT": "SMALLINT", "INTEGER": "INT", "BIGINT": "BIGINT", "HUGEINT": _WIDEST,
        "DECIMAL": "DECIMAL(1,0)",  # of a bare NULL; whatever it meets is wider
        "FLOAT": "FLOAT", "DOUBLE": "DOUBLE", "VARCHAR": "STRING", "DATE": "DATE", "TIMESTAMP": "TIMESTAMP_NTZ",
        "TIMESTAMP WITH TIME ZONE": "TIMESTAMP", "VARCHAR[]": "ARRAY<STRING>", "BIGINT[]": "ARRAY<BIGINT>",
        "DATE[]": "ARRAY<DATE>", "DOUBLE[]": "ARRAY<DOUBLE>", "BOOLEAN[]": "ARRAY<BOOLEAN>",
    }  # fmt: skip
    shown = frozenset((
        "TINYINT", "BLOB",
        *map(listed_kind, ("BOOLEAN", "SMALLINT", "INTEGER", "BIGINT", "DOUBLE", "VARCHAR", "DATE", "TIMESTAMP")),
    ))  # fmt: skip
    functions = frozenset((
        "abs", "ceil", "floor", "round", "rint", "bround", "sign", "sqrt", "power", "translate", "upper", "lower",
        "length", "substr", "left", "right", "replace", "split_part", "md5", "startswith", "contains", "instr", "trim",
        "concat_ws", "coalesce", "nullif", "greatest", "least", "date_trunc", "datediff", "date_add", "year",
        "quarter", "month", "weekofyear", "day", "hour", "minute", "dayofweek", "weekday", "dayofyear",
        "array_contains", "count", "sum", "avg", "min", "max", "bool_and", "bool_or", "listagg", "max_by", "min_by",
        "row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead", "first_value",
        "last_value", "octet_length", "rand", "median", "percentile", "grouping", "date_format", "unix_micros",
        *_SPREADS,
    ))  # fmt: skip
    called: ClassVar[Mapping[str, str]] = {
        "TIMESTAMP_TRUNC": "date_trunc", "GROUP_CONCAT": "listagg", "LOGICAL_AND": "bool_and",
        "ARG_MAX": "max_by", "ARG_MIN": "min_by",
        "LOGICAL_OR": "bool_or", "STR_POSITION": "instr", "SUBSTRING": "substr", "CEILING": "ceil", "POW": "power",
        "CHAR_LENGTH": "length", "STARTS_WITH": "startswith", "TS_OR_DS_ADD": "date_add", "DATE_DIFF": "datediff",
        "TS_OR_DS_TO_DATE": "datediff", "DAY_OF_WEEK": "dayofweek", "DAY_OF_YEAR": "dayofyear",
        "WEEK_OF_YEAR": "weekofyear", "DAY_OF_MONTH": "day", "MD5_DIGEST": "md5", "NULL_IF": "nullif",
        "VARIANCE": "var_samp", "VARIANCE_POP": "var_pop", "BYTE_LENGTH": "octet_length",
        "TIME_TO_STR": "date_format", "QUANTILE": "percentile", "TIME_STR_TO_TIME": "date_format",
    }  # fmt: skip

    def __init__(self, target: Target) -> None:
        super().__init__({**_TEXTS, **_SPREAD, "lateral": "LATERAL ({0})"})
        self._target = target

    def widened(self, value: Lowered, kind: str) -> str:
        """See `Dialect.widened`."""
        if kind == "DECIMAL" and value.kind in _DIGITS:
            return f"CAST({value.text} AS DECIMAL({_DIGITS[value.kind]},0))"
        if kind == "DECIMAL":
            # Beside a fraction it may have too many digits.
            self.may_raise = True
            return value.text
        return super().widened(value, kind)

    def name_of(self, name: str) -> str:
        """See `Dialect.name_of`."""
        if "\0" in name:
            raise not_portable("a name with a NUL character")
        return "`" + name.replace("`", "``") + "`"

    def literal(self, text: str) -> str:
        """For a session in which a backslash escapes, and variables are not filled in."""
        if "\0" in text:
            raise not_portable("a text with a NUL character")
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    def text_literal(self, text: str) -> str:
        """See `Dialect.text_literal`."""
        return self.literal(text)

    def decimal(self, digits: str) -> str:
        """See `Dialect.decimal`."""
        whole, _, fraction = digits.partition(".")
        width = max(1, len(whole.lstrip("0")) + len(fraction))
        if width > 38:
            raise not_portable("a number of more than 38 digits")
        return f"CAST({digits} AS {self.decimal_type(width, len(fraction))})"

    def place(self, number: int) -> str:
        """See `Dialect.place`."""
        return f":p{number}"

    def decimal_type(self, width: int, scale: int) -> str:
        """See `Dialect.decimal_type`."""
        return f"DECIMAL({width},{scale})"

    def pattern(self, pattern: Lowered) -> str:
        """DuckDB knows no escape unless one is given; Spark always has one, so it is one that the pattern has not."""
        if pattern.literal is None:
            raise not_portable("LIKE with a pattern that is no literal", hint="write the pattern as a literal")
        unused = next((one for one in _ESCAPES if one not in pattern.literal), None)
        if unused is None:
            raise not_portable("a pattern like this")
        return f"{pattern.text} ESCAPE {self.literal(unused)}"

    def between(self, text: str) -> str | None:
        """See `Dialect.between`. Letters, quotes and brackets are words of a format."""
        return text if set(text) <= set(" -/:.,_") else None

    def folded(self, pattern: Lowered) -> Lowered:
        """See `Dialect.folded`."""
        return replace(pattern, text=LOWER.format(pattern.text))

    def source(self, relation: Relation, catalog: Catalog) -> str | None:
        """See `Dialect.source`."""
        if not self._target.catalog:
            return self.name_of(view_of(catalog.source(relation)))
        schema = self._target.main if relation.key[:-1] == ("main",) else relation.schema[0]
        return ".".join(map(self.name_of, (self._target.catalog, schema, relation.name)))

    def fenced(self, query: str) -> str:
        """See `Dialect.fenced`. Spark moves nothing into a sample, not even into one of all rows; with a seed, equal
        guards stay equal, and are read once."""
        return f"SELECT * FROM ({query}) TABLESAMPLE (100 PERCENT) REPEATABLE (0)"

    def rows(self, lines: list[str], names: list[str]) -> str:
        """See `Dialect.rows`."""
        columns = [f"c{number}" for number in range(len(names))]
        named = ", ".join(f"v.{one} AS {self.name_of(name)}" for one, name in zip(columns, names, strict=True))
        return f"SELECT {named} FROM VALUES {', '.join(lines)} AS v({', '.join(columns)})"

    def least_of(self, number: str) -> str:
        """See `Dialect.least_of`."""
        return f"CAST(least({number}, {_MOST}) AS INT)"


_UP: Final = {"SMALLINT": "INT", "INTEGER": "BIGINT", "BIGINT": "DECIMAL(19,0)"}
# Sail casts what its files' statistics say, hidden rows or not, wherever it can work out the bounds of what is cast;
# those of a function's value it cannot.
_BOUNDLESS: Final = "nullif({0}, NULL)"
_WIDE: Final = {  # Sail's whole numbers wrap around, silently; its casts do not
    f"{sign} {kind}": f"CAST(nullif((CAST({{0}} AS {wide}) {sign} CAST({{1}} AS {wide})), NULL) AS {Spark.types[kind]})"
    for sign in "+-*"
    for kind, wide in _UP.items()
}


class Sail(Spark):
    """Sail 0.7, which speaks Spark's dialect and has DataFusion's optimizer and arithmetic."""

    lacks = frozenset(
        (
            *Spark.lacks - {"a total of all rows beside groups", "DISTINCT of a constant in an aggregate"},
            "WITH RECURSIVE by UNION ALL",
            "INTERSECT ALL",
            "a sub-query in VALUES",
        )
    )

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.texts = {**_TEXTS, **_WIDE, **_rounding("bround")}

    def fenced(self, query: str) -> str:
        """See `Dialect.fenced`. Its optimizer moves conditions into samples, but not into a LIMIT."""
        return f"{query} LIMIT {2**63 - 1}"

    def scalar(self, query: exp.Expr) -> exp.Expr:
        """See `Dialect.scalar`. Sail takes such a value for never NULL, even where there is no row, unless the column
        looks as if it could be."""
        if not isinstance(query, exp.Select):
            raise not_portable("a set operation as a value", hint="take an aggregate of it")
        found = query.copy()
        items = [
            exp.alias_(exp.Nullif(this=one.unalias(), expression=exp.null()), one.alias or "value", quoted=True)
            for one in found.expressions
        ]
        found.set("expressions", items)
        return found

    def write(self, operation: str, kind: str, *operands: object, digits: int | None = None) -> str:
        """See `Dialect.write`."""
        if operation == "power":
            self.may_raise = True  # of zero, to a negative power
        if operation == "cast" and f"cast {kind}" not in self.total:
            operands = (_BOUNDLESS.format(operands[0]), *operands[1:])
        return super().write(operation, kind, *operands, digits=digits)
