"""Parameters of drawn queries: a `$name` stands for the same value in every query, so that a text says all."""

from __future__ import annotations

import re

__all__ = ["PARAMETERS", "bound"]

PARAMETERS: dict[str, object] = {
    "p_one": 1,
    "p_five": 5,
    "p_text": "5",
    "p_name": "acme",
    "p_word": "SECRET",
    "p_real": 0.5,
    "p_list": [1, 2, 5],
    "p_texts": ["5", "17"],
    "p_null": None,
}
_PARAMETER = re.compile(r"\$(p_\w+)")


def bound(sql: str) -> dict[str, object]:
    """What the parameters of a query stand for."""
    return {name: PARAMETERS[name] for name in sorted(set(_PARAMETER.findall(sql))) if name in PARAMETERS}
