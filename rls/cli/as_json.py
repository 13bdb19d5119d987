"""Values → JSON text, the same for every command. Takes what a query or a grant holds; returns text that loses nothing.

Numbers that JSON readers would round (decimals, whole numbers beyond 2^53) and values JSON has no word for (dates,
infinities, bytes) become text; the column types beside them say what they were.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

__all__ = ["dump_json", "plain"]

_EXACT = 2**53


def dump_json(value: object) -> str:
    """JSON text of a value, indented.

    >>> print(dump_json({"sum": Decimal("1.10"), "on": date(2026, 1, 2)}))
    {
      "sum": "1.10",
      "on": "2026-01-02"
    }
    """
    return json.dumps(plain(value), ensure_ascii=False, indent=2, allow_nan=False)


def plain(value: object) -> Any:
    """The value made of what JSON has: None, bool, int, float, str, list, dict."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if abs(value) <= _EXACT else str(value)
        case float():
            return value if math.isfinite(value) else str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta() | Decimal():
            return str(value)
        case bytes() | bytearray():
            return base64.b64encode(value).decode("ascii")
        case Mapping() if all(isinstance(key, str) for key in value):
            return {key: plain(item) for key, item in value.items()}
        case Mapping():
            return [[plain(key), plain(item)] for key, item in value.items()]
        case Set():
            return sorted((plain(item) for item in value), key=str)
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return str(value)
