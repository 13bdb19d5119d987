"""What a rewrite must know of a PostgreSQL database beside its catalog. A value object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """`schemas`: schema as callers know it, folded → as the database has it (`main` is `public`).

    `unicode`: a collation of the server that knows the case of all letters; "" where it has none.
    """

    schemas: Mapping[str, str]
    unicode: str
