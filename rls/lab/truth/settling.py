"""A branch of a condition → whether who asks alone settles it, by `rls.policy.evaluate` itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from rls.policy.evaluate import evaluate
from rls.policy.expressions import Branch

__all__ = ["settles"]


def settles(branch: Branch, types: Mapping[str, str], *, holes: int) -> bool:
    """Whether `evaluate` answers this leaf from the values of attributes, which are of `types` (DuckDB's, by name).

    That depends on their types only, so samples will do. `holes` is how many names the whole condition has.
    """
    samples = {name: _sample(types[name]) for name in branch.attributes}
    return evaluate(branch, ("",) * holes, samples).kind in ("true", "false")


def _sample(type_: str) -> object:
    if type_.endswith("[]"):
        return [_sample(type_.removesuffix("[]"))]
    if type_.startswith("DECIMAL"):
        return Decimal("1.5")
    samples: dict[str, object] = {"VARCHAR": "x", "BIGINT": 1, "BOOLEAN": True, "DATE": date(2000, 1, 1)}
    return samples.get(type_)
