"""What a rewrite must know of a PostgreSQL database beside its catalog. A value object."""

from __future__ import annotations

import json
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

    @property
    def described(self) -> str:
        """As a text, for a catalog and its snapshots."""
        return json.dumps({"dialect": "postgres", "schemas": dict(self.schemas), "unicode": self.unicode})

    @classmethod
    def read(cls, described: str) -> Target | None:
        """From that text; None for DuckDB's, which is empty. Raises ValueError, KeyError or TypeError for others."""
        if not described:
            return None
        found = json.loads(described)
        if found["dialect"] != "postgres":
            raise ValueError(described)
        return cls(dict(found["schemas"]), str(found["unicode"]))
