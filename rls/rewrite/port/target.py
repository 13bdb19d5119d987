"""What a rewrite must know of another engine's database beside its catalog. A value object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """`engine`: whose SQL it is.

    PostgreSQL: `schemas` are schemas as callers know them, folded → as the database has them (`main` is `public`),
    `unicode` a collation of the server that knows the case of all letters; "" where it has none.
    Spark and Sail: `relations` are the keys of the catalog's relations → their quoted names there.
    """

    schemas: Mapping[str, str] = field(default_factory=dict)
    unicode: str = ""
    engine: Literal["postgres", "spark", "sail"] = "postgres"
    relations: Mapping[tuple[str, ...], str] = field(default_factory=dict)
