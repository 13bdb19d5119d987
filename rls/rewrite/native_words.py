"""What of other dialects is read: syntax, functions, types, parts of dates, each reviewed against DuckDB's meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlglot import exp

__all__ = ["FUNCTIONS", "NODES", "PARTS", "TYPES", "WHOLE"]

_QUERY = ("with_", "order", "limit", "offset")
_BOTH = ("this", "expression")
_ONE = ("this",)

NODES: Final[Mapping[type[exp.Expr], tuple[str, ...]]] = {
    exp.Select: (*_QUERY, "expressions", "from_", "joins", "where", "group", "having", "distinct", "windows"),
    exp.Subquery: (*_QUERY, "this", "alias", "joins"), exp.With: ("expressions", "recursive"),
    exp.Union: (*_QUERY, *_BOTH, "distinct"), exp.Intersect: (*_QUERY, *_BOTH, "distinct"),
    exp.Except: (*_QUERY, *_BOTH, "distinct"), exp.CTE: ("this", "alias"), exp.TableAlias: ("this", "columns"),
    exp.Table: ("this", "db", "catalog", "alias", "joins"), exp.From: _ONE, exp.Where: _ONE, exp.Having: _ONE,
    exp.Join: ("this", "side", "kind", "on", "using"), exp.Lateral: ("this", "alias"),
    exp.Group: ("expressions", "rollup", "cube", "grouping_sets"), exp.Rollup: ("expressions",),
    exp.Cube: ("expressions",), exp.GroupingSets: ("expressions",), exp.Order: ("this", "expressions"),
    exp.Ordered: ("this", "desc", "nulls_first"), exp.Limit: ("expression",), exp.Offset: ("expression",),
    exp.Fetch: ("direction", "count", "limit_options"), exp.LimitOptions: ("rows",),
    exp.Distinct: ("expressions", "on"), exp.Values: ("expressions", "alias"), exp.Tuple: ("expressions",),
    exp.Alias: ("this", "alias"), exp.Column: ("this", "table", "db", "catalog"), exp.Identifier: ("this", "quoted"),
    exp.Literal: ("this", "is_string"), exp.RawString: _ONE, exp.Boolean: _ONE, exp.Null: (), exp.Star: ("except_",),
    exp.Paren: _ONE, exp.And: _BOTH, exp.Or: _BOTH, exp.Not: _ONE, exp.Is: _BOTH, exp.NullSafeEQ: _BOTH,
    exp.NullSafeNEQ: _BOTH, exp.Between: ("this", "low", "high"), exp.In: ("this", "expressions", "query"),
    exp.Exists: _ONE, exp.Any: _ONE, exp.All: _ONE, exp.Case: ("this", "ifs", "default"),
    exp.If: ("this", "true", "false"), exp.Neg: _ONE, exp.EQ: _BOTH, exp.NEQ: _BOTH, exp.LT: _BOTH, exp.LTE: _BOTH,
    exp.GT: _BOTH, exp.GTE: _BOTH, exp.Add: _BOTH, exp.Sub: _BOTH, exp.Mul: _BOTH, exp.Div: (*_BOTH, "typed", "safe"),
    exp.Mod: _BOTH, exp.DPipe: (*_BOTH, "safe"), exp.Like: (*_BOTH, "negate"), exp.ILike: (*_BOTH, "negate"),
    exp.Cast: ("this", "to"), exp.DataType: ("this", "expressions", "nested"), exp.DataTypeParam: _ONE,
    exp.Interval: ("this", "unit"), exp.Var: _ONE, exp.Parameter: _ONE, exp.Placeholder: ("this", "jdbc"),
    exp.Window: ("this", "partition_by", "order", "spec", "over", "alias", "first"),
    exp.WindowSpec: ("kind", "start", "start_side", "end", "end_side"), exp.Filter: _BOTH,
}  # fmt: skip
"""Syntax → the parts of it that mean the same everywhere. `NODES` is asked before `FUNCTIONS`."""

_SHARED: Final[Mapping[type[Any], tuple[str, ...]]] = {
    exp.Count: ("this", "big_int"), exp.Sum: _ONE, exp.Avg: _ONE, exp.Min: _ONE, exp.Max: _ONE, exp.LogicalAnd: _ONE,
    exp.LogicalOr: _ONE, exp.Stddev: _ONE, exp.StddevSamp: _ONE, exp.StddevPop: _ONE, exp.Variance: _ONE,
    exp.VariancePop: _ONE, exp.GroupConcat: ("this", "separator"), exp.Grouping: ("expressions",),
    exp.Coalesce: ("this", "expressions"), exp.Nullif: _BOTH, exp.Greatest: ("this", "expressions", "ignore_nulls"),
    exp.Least: ("this", "expressions", "ignore_nulls"), exp.Upper: _ONE, exp.Lower: _ONE, exp.Length: _ONE,
    exp.Abs: _ONE, exp.Ceil: _ONE, exp.Floor: _ONE, exp.Round: ("this", "decimals"), exp.Sqrt: _ONE,
    exp.Substring: ("this", "start", "length"), exp.Left: _BOTH, exp.Right: _BOTH,
    exp.Replace: (*_BOTH, "replacement"), exp.Trim: ("this", "expression", "position"),
    exp.SplitPart: ("this", "delimiter", "part_index"), exp.StartsWith: _BOTH, exp.StrPosition: ("this", "substr"),
    exp.Concat: ("expressions", "safe", "coalesce"), exp.MD5: _ONE, exp.Extract: _BOTH,
    exp.TimestampTrunc: ("this", "unit"),
    exp.RowNumber: (), exp.Rank: (), exp.DenseRank: (), exp.PercentRank: (), exp.CumeDist: (), exp.Ntile: _ONE,
    exp.Lag: ("this", "offset", "default"), exp.Lead: ("this", "offset", "default"), exp.FirstValue: _ONE,
    exp.LastValue: _ONE,
}  # fmt: skip

FUNCTIONS: Final[Mapping[str, Mapping[type[Any], tuple[str, ...]]]] = {
    "postgres": _SHARED,
    "spark": {
        **_SHARED, exp.TryCast: ("this", "to"), exp.IntDiv: _BOTH, exp.Contains: _BOTH, exp.Year: _ONE,
        exp.Month: _ONE, exp.Day: _ONE, exp.Quarter: _ONE, exp.Hour: _ONE, exp.Minute: _ONE,
        exp.TsOrDsToDate: ("this", "safe"),
        exp.TsOrDsAdd: (*_BOTH, "unit"), exp.DateDiff: (*_BOTH, "unit"), exp.WithinGroup: _BOTH,
    },
}  # fmt: skip
"""Dialect → functions, likewise."""

PARTS: Final = {
    "postgres": ("year", "quarter", "month", "week", "day", "dow", "isodow", "doy", "hour", "minute"),
    "spark": ("year", "quarter", "month", "week", "day", "doy", "hour", "minute"),
    "trunc": ("year", "quarter", "month", "week", "day", "hour", "minute", "second"),
}
"""Parts of dates by dialect: Spark counts the days of a week from one. `trunc` for `date_trunc` in both."""

WHOLE: Final = frozenset((exp.DType.SMALLINT, exp.DType.INT, exp.DType.BIGINT))
"""Types to which Spark casts by cutting off what is behind the point, and others by rounding."""

_TYPES: Final = WHOLE | {exp.DType.BOOLEAN, exp.DType.DECIMAL, exp.DType.DOUBLE, exp.DType.TEXT, exp.DType.VARCHAR,
                         exp.DType.DATE, exp.DType.TIMESTAMP}  # fmt: skip
TYPES: Final = {
    "postgres": _TYPES | {exp.DType.UUID},
    "spark": _TYPES | {exp.DType.TIMESTAMPTZ, exp.DType.TIMESTAMPLTZ, exp.DType.TIMESTAMPNTZ},
}
