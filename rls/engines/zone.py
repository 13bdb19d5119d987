"""Every connection to DuckDB that runs queries over data reckons in UTC, whatever the machine's zone is.

Takes a new connection and sets its zone. Owns that no answer depends on where a machine stands, and that none is
between bounds that DuckDB derives wrongly: where clocks go back past midnight, days and hours of a zone come down while
time goes on, and DuckDB takes them to go up.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["reckon_in_utc"]

_UTC: Final = ("UTC", "Etc/UTC")  # names of one zone: answers keep the one that the machine gives it


def reckon_in_utc(connection: Any) -> None:
    """Before the connection's settings are locked; its cursors have the same zone. Raises DuckDB's own exceptions."""
    ((zone,),) = connection.execute("SELECT current_setting('TimeZone')").fetchall()
    if zone not in _UTC:
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
