"""A bound plan → what in it DuckDB takes to stay between bounds that it does not keep to, or None.

From a column's stored minimum and maximum DuckDB 2.0 derives those of functions that it holds for monotonic, and takes
aggregates that answer a value for one of their input's. Where that is not so, a comparison with the result is folded
wrongly, or the query fails inside the engine, as hidden rows' extremes have it. Takes bound plans and policies' texts;
owns the names of what is not monotonic though DuckDB says so (facts `misled_*` of the attack tests show each).
"""

from __future__ import annotations

import re
from typing import Any, Final

from rls.rewrite.bound_tree import PARTS, WITHOUT_EXPRESSIONS

__all__ = ["is_misled", "why_extremes_may_mislead"]

# Months are counted whole, from the day as far as the month has it: from the 30th at 13:00 none have passed where from
# the 31st at 12:00 one has. Between two values there may be neither: infinity and its opposite make NaN.
_MISLED: Final = {"date_sub", "datesub", "time_bucket", "median", "quantile_cont"}
_SKIPPED: Final = WITHOUT_EXPRESSIONS - {"children"}
_WORDS: Final = re.compile(rf"\b(?:{'|'.join(sorted(_MISLED))})\b", re.IGNORECASE)


def why_extremes_may_mislead(plan: Any) -> str | None:
    """A reason in a few words, or None where no function of `plan` is one that DuckDB derives wrong bounds for."""
    if plan is None:
        return "it does not bind"
    stack: list[Any] = [plan]
    while stack:
        tree = stack.pop()
        if isinstance(tree, list):
            stack += [item for item in tree if isinstance(item, PARTS)]
            continue
        name = (tree.get("qname") or {}).get("path", [""])[-1]
        if name in _MISLED:
            return f"DuckDB derives wrong bounds for `{name}`"
        stack += [item for key, item in tree.items() if item and isinstance(item, PARTS) and key not in _SKIPPED]
    return None


def is_misled(text: str) -> bool:
    """Whether a policy's expression calls one of them."""
    return _WORDS.search(text) is not None
