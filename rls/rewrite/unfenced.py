"""What may stand in a text whose guards have no fence: the verifier's own rules, by node.

Takes nodes of DuckDB's syntax tree and reviewed functions. It shares nothing with `barrier`, which decides by types on
the bound plan: what that decision could never allow is refused here by its looks alone.
"""

from __future__ import annotations

from typing import Any, Final

from rls.rewrite.functions import Review
from rls.rewrite.nodes import BARE

__all__ = ["is_ever_total", "last_limit", "may_be_bare"]

_CONTAINS: Final = {"contains", "list_contains", "array_contains", "list_has", "array_has"}


def last_limit(root: Any) -> Any:
    """The statement's own LIMIT, where it takes a number of groups that are sorted; else None."""
    modifiers = root["modifiers"] if root["type"] == "SELECT_NODE" and _has_groups(root) else []
    if [one["type"] for one in modifiers] != ["ORDER_MODIFIER", "LIMIT_MODIFIER"]:
        return None
    last = modifiers[1]
    numbers = (last["limit"], last["offset"])
    fixed = all(one is None or one["class"] == "CONSTANT" for one in numbers)
    return last if fixed and last["limit_type"] == "ROW_COUNT" else None


def _has_groups(node: Any) -> bool:
    return bool(node["group_expressions"]) or node["aggregate_handling"] == "FORCE_AGGREGATES"  # GROUP BY ALL


def may_be_bare(tree: Any, kind: str) -> bool:
    """Whether a node may stand in a text without fences, as far as its kind tells; types are `barrier`'s concern."""
    match kind:
        case "DISTINCT_MODIFIER":
            return not tree["distinct_on_targets"]
        case "JOIN":
            return tree["ref_type"] in ("REGULAR", "NATURAL", "CROSS")
        case _:
            return kind in BARE and not tree.get("sample")


def is_ever_total(found: Review) -> bool:
    """Whether calls of a function are total for some types: to the binder `date_part('year', x)` is `year(x)`.
    Aggregates run on rows that passed the filter."""
    total = found.verdict == "leakproof" or bool(found.total) or "part" in found.condition.split()
    return total or found.name in _CONTAINS or found.kinds == ("aggregate",)
