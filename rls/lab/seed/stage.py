"""What is known while a suite is made: policies bound to the board, who is tried, and which rows. A value object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rls.identity.principal import Principal
from rls.lab.seed.rows import Rows
from rls.lab.seed.spots import Spots
from rls.lab.seed.wall import Wall
from rls.policy.policy_set import PolicySet
from rls.policy.rules import Bound

__all__ = ["Stage"]


@dataclass(frozen=True)
class Stage:
    """`bounds` by relation key; `people` are all that are tried, `existing` those of personas.yaml."""

    policies: PolicySet
    bounds: Mapping[tuple[str, ...], Bound]
    spots: Spots
    wall: Wall | None
    people: Mapping[str, Principal]
    existing: Mapping[str, Principal]
    tried: Rows
