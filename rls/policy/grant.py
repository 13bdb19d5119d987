"""The decision for one principal and one relation, and the parameters it needs. Value objects: they import nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Grant"]


@dataclass(frozen=True)
class Grant:
    """What one principal may see of one relation.

    kind        `always` (every row), `conditional` (rows where `predicate` is true), `never` (no row)
    predicate   SQL text over the relation's columns; attribute values only as `$rls_<attribute>` parameters, mapping
                tables fully qualified; "" unless `conditional`
    parameters  what `predicate` and `masks` bind: name without `$` → Python value (a list attribute is a list)
    masks       column name → SQL expression shown instead
    denied      columns that do not exist for this principal
    labels      columns of ENUM type whose labels are public; others are shown as VARCHAR
    policies    names of the policies that decided, sorted
    strict      whether queries read a copy of these rows, made for this grant, and never the relation itself
    reasons     why nothing is visible or why a policy did not apply, for people: never a value
    """

    relation: str
    kind: Literal["always", "conditional", "never"]
    predicate: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)
    masks: Mapping[str, str] = field(default_factory=dict)
    denied: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    policies: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    strict: bool = False

    @property
    def hides(self) -> bool:
        """Whether something stored is not for this principal's eyes: a row, or the value that a mask is made of."""
        return self.kind != "always" or any('"' in text for text in self.masks.values())

    def without_policies(self) -> Grant:
        """What may be known without reading policies: how much is visible, and which columns are shown changed."""
        return Grant(self.relation, self.kind, masks=dict.fromkeys(self.masks, ""), strict=self.strict)
