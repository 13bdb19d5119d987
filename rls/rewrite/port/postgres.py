"""PostgreSQL's SQL: what its types, operators and reviewed functions are called, and where they are unlike DuckDB's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import ClassVar, Final

from rls.catalog import Catalog, Relation
from rls.rewrite.port.dialect import Dialect
from rls.rewrite.port.kinds import INTEGERS, Lowered, listed_kind, not_portable
from rls.rewrite.port.target import Target

__all__ = ["Postgres"]

_LONGEST: Final = 63  # bytes; PostgreSQL cuts longer names off, and two of them may then be one
_MOST_MATCHES: Final = 100  # of `%` in a pattern; each takes some of the stack
_PARTS: Final = ("year", "quarter", "month", "week", "day", "hour", "minute", "dow", "isodow", "doy")
_TRUNCATED: Final = ("year", "quarter", "month", "week", "day", "hour", "minute", "second")
_INF: Final = "CAST('Infinity' AS double precision)"
_NAN: Final = "CAST('NaN' AS double precision)"
# DuckDB divides as floating-point numbers, where a division by zero is infinity or not a number.
_DIVIDED: Final = (
    f"(CASE WHEN {{1}} = 0 THEN CASE WHEN {{0}} = {_NAN} OR {{0}} = 0 THEN {_NAN} WHEN {{0}} > 0 THEN {_INF} "
    f"WHEN {{0}} < 0 THEN - {_INF} END ELSE {{0}} / {{1}} END)"
)
# Of floating-point numbers DuckDB rounds halves away from zero, PostgreSQL to the even neighbour.
_ROUNDED: Final = (
    "((trunc({2}) + (CASE WHEN abs({2} - trunc({2})) >= 0.5 THEN sign({2}) ELSE 0 END)) / "
    "CAST(1e{1} AS double precision))"
)
_TEXTS: Final[dict[str, str]] = {
    "+": "({0} + {1})", "-": "({0} - {1})", "*": "({0} * {1})", "/": _DIVIDED, "/ plain": "({0} / {1})",
    "//": "({0} / {1})", "%": "({0} % {1})", "% plain": "({0} % {1})", "neg": "(- {0})",
    "+ INTERVAL": "({0} + {1})", "- INTERVAL": "({0} - {1})", "+ DAYS": "({0} + {1})", "- DAYS": "({0} - {1})",
    "- DATE": "CAST(({0} - {1}) AS bigint)", "interval": "CAST('{0} {1}' AS interval)",
    "= null safe": "({0} IS NOT DISTINCT FROM {1})", "<> null safe": "({0} IS DISTINCT FROM {1})",
    "cast": "CAST({0} AS {1})", "LIKE": "({0} LIKE {1})", "NOT LIKE": "({0} NOT LIKE {1})",
    # NULL is in no list, not even in an empty one, where PostgreSQL knows that it is not.
    "list_contains": "({1} = ANY({0}) OR (({1} IS NULL) AND NULL))",
    "abs": "abs({0})", "ceil": "ceil({0})", "floor": "floor({0})", "round DECIMAL": "round({0}, {1})",
    "round DOUBLE": _ROUNDED, "shift": "({0} * CAST(1e{1} AS double precision))", "sqrt": "sqrt({0})",
    "power": "power({0}, {1})",
    # A cast to numeric would keep what stands behind the point.
    "cast DECIMAL HUGEINT": "round({0}, 0)",
    "length": "CAST(length({0}) AS bigint)", "substr": "substr({0}, {1})", "substr to": "substr({0}, {1}, {2})",
    "left": "left({0}, {1})", "right": "right({0}, {1})", "replace": "replace({0}, {1}, {2})",
    "split_part": "split_part({0}, {1}, {2})", "md5": "md5({0})", "starts_with": "starts_with({0}, {1})",
    "ltrim": "ltrim({0}, {1})", "rtrim": "rtrim({0}, {1})",
    "contains": "(strpos({0}, {1}) > 0)", "strpos": "CAST(strpos({0}, {1}) AS bigint)", "||": "({0} || {1})",
    "concat": "concat({0})", "coalesce": "coalesce({0})", "greatest": "greatest({0})", "least": "least({0})",
    "nullif": "nullif({0}, {1})", "trim": "btrim({0}, {1})",
    **{f"part {one}": f"CAST(extract({one} FROM {{0}}) AS bigint)" for one in _PARTS},
    **{f"trunc {one}": f"date_trunc('{one}', {{0}})" for one in _TRUNCATED},
    # There are days without a year; and before the year 1 it counts without a zero.
    "part year": "(CASE WHEN isfinite({0}) THEN CAST(extract(year FROM {0}) AS bigint) + "
    "CAST(({0} < CAST('0001-01-01' AS date)) AS integer) END)",
    **{f"spans {unit}": f"CAST(((extract(epoch FROM {{0}}) - extract(epoch FROM {{1}})) / {seconds}) AS bigint)"
       for unit, seconds in (("hour", 3600), ("minute", 60), ("second", 1))},
    "days": "CAST((CAST({0} AS date) - CAST({1} AS date)) AS bigint)",
    "count": "count({0}{1}){2}", "sum": "sum({0}{1}){2}", "avg DOUBLE": "avg({0}{1}){2}",
    **{f"sum {kind}": "CAST(sum({0}{1}){2} AS numeric)" for kind in ("SMALLINT", "INTEGER", "BIGINT", "HUGEINT")},
    # DuckDB divides the exact sum as a floating-point number.
    "avg": "(CAST(sum({0}{1}){2} AS double precision) / nullif(count({0}{1}){2}, 0))",
    "min": "min({1}){2}", "max": "max({1}){2}", "min VARCHAR": 'min({1} COLLATE "C"){2}',
    "max VARCHAR": 'max({1} COLLATE "C"){2}', "bool_and": "bool_and({1}){2}", "bool_or": "bool_or({1}){2}",
    "string_agg": "string_agg({0}, {1}{2}){3}",
    "arg_max": "(array_agg({0} ORDER BY {1} DESC){2})[1]", "arg_min": "(array_agg({0} ORDER BY {1} ASC){2})[1]",
    "list": "array_agg({0}{1}){2}", "percentile": "percentile_cont({0}) WITHIN GROUP (ORDER BY {1})",
    **{one: f"{one}(){{0}}" for one in ("row_number", "rank", "dense_rank", "percent_rank", "cume_dist")},
    **{one: f"{one}({{0}}{{1}}){{2}}" for one in ("stddev_samp", "stddev_pop", "var_samp", "var_pop")},
    "median": "percentile_cont(0.5) WITHIN GROUP (ORDER BY {1}){2}", "grouping": "CAST(grouping({0}) AS bigint)",
    "strlen": "CAST(octet_length({0}) AS bigint)", "epoch": "CAST(extract(epoch FROM {0}) AS double precision)",
    "strftime": "(CASE WHEN isfinite({0}) THEN to_char({0}, {1}) ELSE CAST({0} AS text) END)",
    "random": "random()", "lateral": "LATERAL ({0})", "any": "({0} {1} ANY ({2}))", "all": "({0} {1} ALL ({2}))",
    "limit query": "CAST(({0}) AS bigint)", "distinct on": "SELECT DISTINCT ON ({0})", "range": "{0} {1}",
    "exclude": " EXCLUDE {0}",
    "ntile": "CAST(ntile({0}){1} AS bigint)", "lag": "lag({0}){1}", "lead": "lead({0}){1}",
    "first_value": "first_value({0}){1}", "last_value": "last_value({0}){1}",
}  # fmt: skip


def _texts(unicode: str) -> Mapping[str, str]:
    """With upper and lower case, where the server knows them."""
    if not unicode:
        return _TEXTS
    letters = f'COLLATE "{unicode}"'
    return {
        **_TEXTS,
        # The one letter that DuckDB has another capital for than the C library.
        "upper": f"(upper(replace({{0}}, 'ß', 'ẞ') {letters}) COLLATE \"C\")",
        "lower": f'(lower({{0}} {letters}) COLLATE "C")',
        "ILIKE": f"(({{0}} {letters}) ILIKE {{1}})",
        "NOT ILIKE": f"(({{0}} {letters}) NOT ILIKE {{1}})",
    }


class Postgres(Dialect):
    """For one database."""

    name = "postgres"
    directives: ClassVar[Mapping[str, str]] = {
        "Y": "YYYY", "m": "MM", "d": "DD", "H": "HH24", "M": "MI", "S": "SS", "j": "DDD", "y": "YY",
    }  # fmt: skip
    any_length = frozenset(("DECIMAL(38,9)",))  # `numeric`, without digits
    late = True  # an aggregate's own step comes after the joins, and with them the filters, of its query
    types: ClassVar[Mapping[str, str]] = {
        "BOOLEAN": "boolean", "SMALLINT": "smallint", "INTEGER": "integer", "BIGINT": "bigint", "HUGEINT": "numeric",
        "DECIMAL": "numeric", "FLOAT": "real", "DOUBLE": "double precision", "VARCHAR": "text",
        "ENUM": "text",  # once it is shown; stored, it is the enum
        "DATE": "date", "TIMESTAMP": "timestamp", "TIMESTAMP WITH TIME ZONE": "timestamptz", "INTERVAL": "interval",
        "UUID": "uuid", "VARCHAR[]": "text[]", "BIGINT[]": "bigint[]", "DATE[]": "date[]",
        "DOUBLE[]": "double precision[]", "BOOLEAN[]": "boolean[]",
    }  # fmt: skip
    shown = frozenset((
        "JSON", "BLOB", "TIME",
        *map(listed_kind, (*INTEGERS, "DECIMAL", "DOUBLE", "VARCHAR", "DATE", "TIMESTAMP", "BOOLEAN", "UUID")),
    ))  # fmt: skip
    functions = frozenset((
        "abs", "ceil", "floor", "round", "trunc", "sign", "sqrt", "power",
        "upper", "lower", "length", "substr", "left", "right", "replace", "split_part", "md5", "starts_with", "strpos",
        "ltrim", "rtrim", "concat", "coalesce", "nullif", "greatest", "least", "date_trunc", "extract",
        "count", "sum", "avg", "min", "max", "bool_and", "bool_or", "string_agg", "array_agg",
        "row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead", "first_value",
        "last_value", "stddev_samp", "stddev_pop", "var_samp", "var_pop", "percentile_cont", "grouping", "octet_length",
        "random", "to_char", "isfinite", "trim", "ltrim", "rtrim", "btrim",
    ))  # fmt: skip
    called: ClassVar[Mapping[str, str]] = {
        "TIMESTAMP_TRUNC": "date_trunc", "GROUP_CONCAT": "string_agg", "LOGICAL_AND": "bool_and",
        "LOGICAL_OR": "bool_or", "STR_POSITION": "strpos", "SUBSTRING": "substr", "POW": "power", "CEILING": "ceil",
        "MD5_DIGEST": "md5", "NULL_IF": "nullif", "VARIANCE": "var_samp", "VARIANCE_POP": "var_pop",
        "TIME_TO_STR": "to_char", "TRIM": "rtrim", "RAND": "random",
    }  # fmt: skip
    # Raise for no value of a row. Not among them is what takes several times the room of a text, which may be more than
    # there is (upper, ILIKE, trim), and aggregates whose result may be too large.
    total = frozenset((
        "= null safe", "<> null safe", "LIKE", "NOT LIKE", "list_contains", "length", "strlen",
        "substr", "substr to", "left", "right", "starts_with", "contains", "strpos", "coalesce", "greatest", "least",
        "nullif", "abs DOUBLE", "abs DECIMAL", "neg DOUBLE", "neg DECIMAL", "ceil", "floor",
        "interval", "% plain", "count", "min", "max", "bool_and", "bool_or", "row_number",
        "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead", "first_value", "last_value",
        *(f"{name} {one}" for name in ("sum", "avg") for one in (*INTEGERS, "DECIMAL")),
        "median", "percentile", "grouping", "lateral", "random", "any", "all",
        "distinct on", "exclude", "part year", "part quarter", "part month", "part week", "part day",
        "part dow", "part isodow", "part doy", "part hour TIMESTAMP", "part minute TIMESTAMP",
        "cast SMALLINT INTEGER", "cast SMALLINT BIGINT", "cast INTEGER BIGINT", "cast FLOAT DOUBLE",
        "cast TIMESTAMP DATE",
        *(f"cast {one} DOUBLE" for one in ("SMALLINT", "INTEGER", "BIGINT")),
        *(f"cast {one} VARCHAR" for one in ("SMALLINT", "INTEGER", "BIGINT", "BOOLEAN", "DATE", "TIMESTAMP", "UUID")),
        "cast ENUM VARCHAR",
    ))  # fmt: skip
    # DECIMAL and HUGEINT are numeric, which would have room for more than DOUBLE has.
    holds: ClassVar[Mapping[str, int]] = {
        "SMALLINT": 4, "INTEGER": 9, "BIGINT": 18, "HUGEINT": 300, "DECIMAL": 300, "DOUBLE": 300,
    }  # fmt: skip

    def __init__(self, target: Target) -> None:
        super().__init__(_texts(target.unicode))
        self._target = target

    def widened(self, value: Lowered, kind: str) -> str:
        """See `Dialect.widened`. There are days that no time has."""
        if (value.kind, kind) == ("DATE", "TIMESTAMP"):
            self.raises("a day as a time")
        return super().widened(value, kind)

    def ordered(self, text: str) -> str:
        """See `Dialect.ordered`."""
        return f'({text} COLLATE "C")'

    def name_of(self, name: str) -> str:
        """See `Dialect.name_of`. No stored name is longer than the server keeps; what a caller made up, or DuckDB made
        of an expression, is called something else here: the answer has its own names."""
        if len(name.encode()) > _LONGEST:
            name = f"rls_name_{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:40]}"
        return '"' + name.replace('"', '""') + '"'

    def literal(self, text: str) -> str:
        """For a server with standard_conforming_strings."""
        if "\0" in text:
            raise not_portable("a text with a NUL character")
        return "'" + text.replace("'", "''") + "'"

    def text_literal(self, text: str) -> str:
        """See `Dialect.text_literal`."""
        return f"CAST({self.literal(text)} AS text)"

    def decimal(self, digits: str) -> str:
        """See `Dialect.decimal`."""
        return f"CAST({digits} AS numeric)"

    def place(self, number: int) -> str:
        """See `Dialect.place`."""
        return f"${number}"

    def decimal_type(self, width: int, scale: int) -> str:
        """See `Dialect.decimal_type`."""
        return f"numeric({width},{scale})"

    def pattern(self, pattern: Lowered) -> str:
        """DuckDB knows no escape unless one is given; with PostgreSQL's, a backslash at the end of a pattern raises on
        rows that match up to there. A text may match so many of its `%` at once that the server's stack is full."""
        if pattern.literal is None or pattern.literal.count("%") > _MOST_MATCHES:
            self.raises("a pattern that is no literal, or has many `%`,")
        return f"{self.convert(pattern, 'VARCHAR').text} ESCAPE ''"

    def source(self, relation: Relation, catalog: Catalog) -> str | None:  # noqa: ARG002 (it has names of its own)
        """See `Dialect.source`."""
        schema = self._target.schemas.get(relation.key[0])
        return None if schema is None else f"{self.name_of(schema)}.{self.name_of(relation.name)}"

    def fenced(self, query: str) -> str:
        """See `Dialect.fenced`. PostgreSQL moves nothing into a query with an OFFSET."""
        return f"{query} OFFSET 0"

    def rows(self, lines: list[str], names: list[str]) -> str:
        """See `Dialect.rows`."""
        named = ", ".join(f"column{number + 1} AS {self.name_of(name)}" for number, name in enumerate(names))
        return f"SELECT {named} FROM (VALUES {', '.join(lines)}) AS v"

    def least_of(self, number: str) -> str:
        """See `Dialect.least_of`."""
        return number
