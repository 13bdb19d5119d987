"""The answer to a query, complete and recorded. It holds no connection and knows nothing of other rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from rls.engines.base import Fetched
from rls.errors import EngineInvalid, QueryRefused

__all__ = ["Result", "check_export"]


def check_export(*, allowed: bool) -> None:
    """Raise `QueryRefused` (`query.export_not_allowed`) unless results may leave in other forms than rows."""
    if not allowed:
        raise QueryRefused(
            "query.export_not_allowed",
            "your roles may not take results away as Arrow tables or data frames",
            hint="fetch rows",
        )


class Result:
    """Rows with names and types, and the id of the audit record that was written before this object was handed out.

    `columns` are the names (duplicates as the query gives them), `types` DuckDB's type texts, `rows` a list of tuples
    of Python values as DuckDB converts them. Rows and Arrow are two forms of one answer: it is fetched in the form that
    `query(…, fetch=…)` asked for, and made into the other on first use.
    """

    __slots__ = ("_export", "_fetched", "_rows", "_table", "audit_id")

    def __init__(self, fetched: Fetched, *, audit_id: str, export: bool) -> None:
        """`export`: whether the principal's roles let it leave in other forms than rows."""
        self._fetched, self._export = fetched, export
        self._rows = fetched.rows
        self._table = fetched.table
        self.audit_id = audit_id

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names."""
        return self._fetched.columns

    @property
    def types(self) -> tuple[str, ...]:
        """DuckDB type texts, one per column."""
        return self._fetched.types

    @property
    def row_count(self) -> int:
        """Number of rows."""
        return self._fetched.row_count

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """All rows. Raises `EngineInvalid` (`engine.conversion`) where Arrow could not hold a value exactly."""
        if self._rows is None:
            from rls.engines.convert import rows_of

            self._rows = rows_of(self._fetched)
        return self._rows

    def first(self, number: int) -> list[tuple[Any, ...]]:
        """The first rows, or all if there are no more. Raises like `rows`."""
        if self._rows is None and self._table is not None:
            from rls.engines.convert import rows_of

            part = replace(self._fetched, table=self._table.slice(0, number), row_count=min(number, self.row_count))
            return rows_of(part)
        return self.rows[:number]

    def to_arrow(self) -> Any:
        """A `pyarrow.Table`. Large results are best asked for with `fetch="arrow"`: no Python value is made then.

        Raises `EngineInvalid`: `engine.arrow_missing`, `engine.conversion`; `QueryRefused`:
        `query.export_not_allowed`.
        """
        check_export(allowed=self._export)
        if self._table is None:
            from rls.engines.convert import arrow_of

            self._table = arrow_of(self._fetched)
        return self._table

    def df(self) -> Any:
        """A `pandas.DataFrame`. Raises `EngineInvalid`: `engine.pandas_missing`, and what `to_arrow` raises."""
        check_export(allowed=self._export)
        try:
            import pandas  # noqa: F401 (pyarrow imports it itself, with a worse message)
        except ImportError:
            raise EngineInvalid(
                "engine.pandas_missing", "pandas is not installed", hint="pip install 'rls[pandas]'"
            ) from None
        return self.to_arrow().to_pandas()

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return self.row_count

    def __bool__(self) -> bool:
        # A result without rows is still a result: `if result:` must not depend on what may be seen.
        return True

    def __repr__(self) -> str:
        names = ", ".join(f"{c} {t}" for c, t in zip(self.columns, self.types, strict=True))
        return f"<Result {self.row_count} {'row' if self.row_count == 1 else 'rows'} ({names}) audit {self.audit_id}>"

    def _repr_html_(self) -> str:
        """The first rows as a table, in a notebook."""
        from rls.notebook.views import result_html

        return result_html(self)
