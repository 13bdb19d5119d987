"""Values → YAML on one line, as people write it in suites: plain where that stays what it is, else in quotes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal

__all__ = ["yaml_flow"]

_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))


def yaml_flow(value: object) -> str:
    """A value as YAML, on one line.

    >>> yaml_flow({"a": ["x", "no", None, "o'brien, 1"]})
    '{a: [x, "no", null, "o\\'brien, 1"]}'
    """
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | Decimal() | float():
            return str(value)
        case datetime():
            return f'"{value.isoformat(sep=" ")}"'
        case date():
            return value.isoformat()
        case str():
            plain = re.fullmatch(r"[A-Za-z_][\w@.*-]*( [\w@.*-]+)*", value, re.ASCII) and value.lower() not in _WORDS
            return value if plain else json.dumps(value, ensure_ascii=False)
        case Mapping():
            return "{" + ", ".join(f"{yaml_flow(k)}: {yaml_flow(v)}" for k, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(yaml_flow, value)) + "]"
        case bytes():
            return json.dumps(value.decode("latin-1"))
        case _:
            return json.dumps(str(value), ensure_ascii=False)
