"""USING SAMPLE and TABLESAMPLE → rows that a random number keeps, or the first ones in random order.

Owns that a sample is of the rows that a query sees: it stands above their guards.
"""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from rls.rewrite.port.dialect import Dialect
from rls.rewrite.port.kinds import not_portable
from rls.rewrite.port.nodes import only, whole_number
from rls.rewrite.port.scopes import Columns

__all__ = ["kept_by", "sampled", "with_sampled_source"]

_BY_ROW: Final = ("", "BERNOULLI", "SYSTEM")
_ALL: Final = 100
_DRAWN: Final = "rls_drawn"


def sampled(sample: exp.TableSample, source: str, columns: Columns, sql: Dialect) -> str:
    """A query of so many rows of `source`, which has a name and these columns. Raises `QueryRefused`."""
    if sample.args.get("size") is None:
        return f"SELECT * FROM {source} WHERE {kept_by(sample, sql)}"
    only(sample, "method", "size")
    count = whole_number(sample.args["size"], "a sample of that many rows")
    # The number is a column of its own: where a query reads no other one, Sail would sort rows of none.
    drawn = f"SELECT *, {sql.write('random', '')} AS {sql.name_of(_DRAWN)} FROM {source}"
    shown = ", ".join(f"q.{sql.name_of(one.name)}" for one in columns)
    return f"SELECT {shown} FROM ({drawn}) AS q ORDER BY q.{sql.name_of(_DRAWN)} LIMIT {count}"


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
