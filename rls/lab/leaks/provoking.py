"""A column's type → values that make expressions fail, sort first or last, or tell themselves apart. Data."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["provoking_values"]

_TEXTS: Final = (
    "''", "'SECRET'", "'1e400'", "'99999999999999999999999999999999999999999'", "'-'", "'2024-13-45'", "'('", "'[a-'",
    "'{\"a\": '", "'Mars/Olympus'", "'%'", "'5'", "'true'", "'zzz'", "'ÄÖ𝄞'", "repeat('ab', 300)",
)  # fmt: skip
_REALS: Final = ("0", "-1", "'nan'", "'inf'", "'-inf'", "1.7e38", "0.5")
_SIGNED: Final = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 128}
_UNSIGNED: Final = {"UTINYINT": 8, "USMALLINT": 16, "UINTEGER": 32, "UBIGINT": 64, "UHUGEINT": 128}
_OTHERS: Final = {
    "VARCHAR": _TEXTS,
    "BOOLEAN": ("true", "false"),
    "DOUBLE": _REALS,
    "FLOAT": _REALS,
    "DATE": ("'0001-01-01'", "'9999-12-31'", "'infinity'", "'-infinity'", "'2024-02-29'"),
    "TIMESTAMP": ("'0001-01-01'", "'9999-12-31 23:59:59.999999'", "'infinity'", "'-infinity'"),
    "TIMESTAMP WITH TIME ZONE": ("'1970-01-01 00:00:00+00'", "'9999-12-31 00:00:00+00'", "'infinity'"),
    "TIME": ("'00:00:00'", "'23:59:59.999999'"),
    "UUID": ("'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"),
    "BLOB": ("''", "'\\xFF\\xFE'"),
    "JSON": ("'{}'", "'[1, \"SECRET\"]'", "'null'"),
    "INTERVAL": ("'0 days'", "'2147483647 days'", "'-2147483648 months'"),
    "VARCHAR[]": ("[]", "['SECRET']", "[NULL, '1e400']"),
    "INTEGER[]": ("[]", "[2147483647, -2147483648]"),
}
_DECIMAL: Final = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")


def provoking_values(type_: str) -> tuple[str, ...]:
    """Literals to be cast to the type; empty for a type that is not known here.

    >>> provoking_values("TINYINT"), provoking_values("DECIMAL(4,1)")
    (('0', '1', "'-128'", "'127'"), ('0', "'999.9'", "'-999.9'"))
    """
    if type_ in _SIGNED:
        most = 2 ** (_SIGNED[type_] - 1)
        return ("0", "1", f"'{-most}'", f"'{most - 1}'")
    if type_ in _UNSIGNED:
        return ("0", "1", f"'{2 ** _UNSIGNED[type_] - 1}'")
    if found := _DECIMAL.fullmatch(type_):
        width, scale = int(found[1]), int(found[2])
        whole = "9" * (width - scale) or "0"
        most_ = f"{whole}.{'9' * scale}" if scale else whole
        return ("0", f"'{most_}'", f"'-{most_}'")
    if type_.startswith("ENUM("):
        return tuple(re.findall(r"'(?:[^']|'')*'", type_)[:8])
    return _OTHERS.get(type_, ())
