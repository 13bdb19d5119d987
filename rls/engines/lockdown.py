"""A locked-down DuckDB instance: nothing but the attached data, and no way to change that from SQL.

Takes limits, returns a connection whose configuration can no longer be altered. Owns the settings and their order:
DuckDB accepts some only at connect, and refuses some once files are out of reach.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb

from rls.catalog import quote
from rls.engines.zone import reckon_in_utc
from rls.forks import never_closed_in_child

__all__ = ["IGNORE_EXTREMES", "open_locked"]

# What moves expressions, other than filters, from where they stand: a text that may run without fences although its
# answer may raise relies on the answer's expressions staying above every row filter.
_MOVERS: Final = (
    "partial_aggregate_pushdown", "projection_placement", "scalar_fn_pushdown", "type_pushdown", "remote_pushdown",
    "late_materialization",
)  # fmt: skip
# It makes keys narrow as far as stored extremes allow, and sorts equal keys in another order then: with a constant or
# two beside a column, `ORDER BY` would say the hidden maximum to the last digit (see also `perfect_ht_threshold`).
_COMPRESSION: Final = "compressed_materialization"
# It runs functions on a column's stored minimum and maximum, hidden rows' included, and folds a comparison with them
# into nothing: an error, or the time a query takes, would tell a hidden value below every fence. It is off for the
# queries that this can happen to, and on for the others: without it other plans are chosen, and sums are slower.
_STATISTICS: Final = "statistics_propagation"
IGNORE_EXTREMES: Final = f"SET disabled_optimizers = '{_STATISTICS}'"
"""For whoever runs policies' filters on a connection of his own: by stored extremes DuckDB takes some for others."""
# In this order: the file is attached before the file system is taken away, and the lock comes last.
_NO_ACCESS: Final = "SET enable_external_access = false"
# What is in the temporary directory is then all that DuckDB reaches; without one, nothing is.
_NO_FILES: Final = "SET disabled_filesystems = 'LocalFileSystem'"
_LOCK: Final = "SET lock_configuration = true"


def open_locked(
    *,
    threads: int,
    memory: int,
    hide_statistics: bool,
    attach: tuple[Path, str] | None = None,
    copies: str | None = None,
    spill: tuple[Path, int] | None = None,
) -> duckdb.DuckDBPyConnection:
    """An in-memory instance with an empty default catalog; `attach` is a DuckDB file, read-only, and its name there.

    `memory` is in bytes; `hide_statistics` keeps the optimizer from stored extremes; `copies` names a further in-memory
    database, for copies of permitted rows; `spill` is a directory for temporary files, and the bytes they may take.
    Raises DuckDB's own exceptions.
    """
    connection = never_closed_in_child(duckdb.connect(":memory:", config=_settings(threads, memory, spill)))
    try:
        reckon_in_utc(connection)
        if copies is not None:
            connection.execute(f"ATTACH ':memory:' AS {quote(copies)}")
        if attach is not None:
            location = str(attach[0]).replace("'", "''")
            # With its TYPE written out, a file of another kind is an error and not a reason to load an extension.
            connection.execute(f"ATTACH '{location}' AS {quote(attach[1])} (READ_ONLY, TYPE duckdb)")
        off = (*_MOVERS, _COMPRESSION, *([_STATISTICS] if hide_statistics else []))
        connection.execute(f"SET disabled_optimizers = '{','.join(off)}'")
        # Given at connect, it would be shown by `duckdb_settings()` and not be kept to.
        connection.execute(f"SET max_temp_directory_size = '{spill[1] if spill else 0}B'")
        for statement in (_NO_ACCESS, *([] if spill else [_NO_FILES]), _LOCK):
            connection.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection


def _settings(
    threads: int, memory: int, spill: tuple[Path, int] | None
) -> dict[str, str | bool | int | float | list[str]]:
    """Settings at connect.

    `preserve_insertion_order` stays on although a fence then runs on one thread: without it, rows of a query that does
    not order them come back in another order each time, and (faithful) promises the order of the unguarded query.
    """
    return {
        "threads": str(threads),
        "memory_limit": f"{memory}B",
        "preserve_insertion_order": "true",
        # Temporary files hold rows of whoever asks: they are written nowhere but in a directory of our own, or not at
        # all. (DuckDB encrypts them only with another library for it, or unsafely and at six times the cost.)
        "temp_directory": str(spill[0]) if spill else "",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "allow_extension_repositories": "forbidden",
        "allow_persistent_secrets": "false",
        # `FROM df` would read the variables of the host program.
        "python_enable_replacements": "false",
        "python_scan_all_frames": "false",
        # Groups in the order of their keys where stored extremes are near, else in another: the order of `GROUP BY k`
        # would say to the last digit what hidden rows hold.
        "perfect_ht_threshold": 0,
        # Joins by loops, for sides that stored sizes say are small, fail on what other joins do: a SEMI JOIN by `<` of
        # intervals would tell how many rows there are.
        "nested_loop_join_threshold": 0,
        # DuckDB's default, written out: 900 nested operators, casts, lists or CTEs were run without harm to the stack,
        # and a query of 250 CTEs, joins or `||` counts as that deep.
        "max_expression_depth": "1000",
        # Errors say their type, place and parts, so that none of their text has to be guessed at.
        "errors_as_json": "true",
    }
