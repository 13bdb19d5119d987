"""USING SAMPLE and TABLESAMPLE → rows that a random number keeps, or the first ones in random order.

Owns that a sample is of the rows that a query sees: it stands above their guards.
"""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from rls.rewrite.port.dialect import Dialect
from rls.rewrite.port.kinds import not_portable
from rls.rewrite.port.nodes import only, whole_number

__all__ = ["kept_by", "sampled", "with_sampled_source"]

_BY_ROW: Final = ("", "BERNOULLI", "SYSTEM")
_ALL: Final = 100


def sampled(sample: exp.TableSample, source: str, sql: Dialect) -> str:
    """A query of so many rows of `source`, which has a name. Raises `QueryRefused`."""
    if sample.args.get("size") is None:
        return f"SELECT * FROM {source} WHERE {kept_by(sample, sql)}"
    only(sample, "method", "size")
    count = whole_number(sample.args["size"], "a sample of that many rows")
    return f"SELECT * FROM {source} ORDER BY {sql.write('random', '')} LIMIT {count}"


def with_sampled_source(node: exp.Select) -> exp.Select:
    """A query of so many rows of one source as a query of a source of so many rows."""
    sample, clause = node.args.get("sample"), node.args.get("from_")
    if sample is None or sample.args.get("size") is None:
        return node
    if clause is None or node.args.get("joins") or clause.this.args.get("sample") is not None:
        raise not_portable("so many rows of a join as a sample", hint="use a sub-query with an alias")
    found = node.copy()
    found.args["from_"].this.set("sample", sample.copy())
    found.set("sample", None)
    return found


def kept_by(sample: exp.TableSample, sql: Dialect) -> str:
    """The condition under which a row is in a sample of so many percent."""
    only(sample, "method", "percent")
    percent, method = sample.args.get("percent"), sample.args.get("method")
    if (method.name.upper() if method is not None else "") not in _BY_ROW:
        raise not_portable("a sample of an exact share", hint="sample so many ROWS, or by bernoulli")
    if not isinstance(percent, exp.Literal) or percent.is_string or not 0 <= float(percent.this) <= _ALL:
        raise not_portable("a sample of that many percent")
    return f"({sql.write('random', '')} < CAST({float(percent.this) / _ALL:.12f} AS {sql.type_of('DOUBLE')}))"
