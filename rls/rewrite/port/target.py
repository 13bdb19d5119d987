"""What a rewrite must know of another engine's database beside its catalog. A value object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

__all__ = ["Target"]

_Engine = Literal["postgres", "spark", "sail"]


@dataclass(frozen=True, slots=True)
class Target:
    """`engine`: whose SQL it is.

    PostgreSQL: `schemas` are schemas as callers know them, folded → as the database has them (`main` is `public`),
    `unicode` a collation of the server that knows the case of all letters; "" where it has none.
    Spark and Sail: `relations` are the keys of the catalog's relations → their quoted names there.
    """

    schemas: Mapping[str, str] = field(default_factory=dict)
    unicode: str = ""
    engine: _Engine = "postgres"
    relations: Mapping[tuple[str, ...], str] = field(default_factory=dict)

    @property
    def described(self) -> str:
        """As a text, for a catalog and its snapshots."""
        relations = [[*key, name] for key, name in self.relations.items()]
        found = {"engine": self.engine, "schemas": dict(self.schemas), "unicode": self.unicode, "relations": relations}
        return json.dumps(found)

    @classmethod
    def read(cls, described: str) -> Target | None:
        """From that text; None for DuckDB's, which is empty. Raises ValueError, KeyError or TypeError for others."""
        if not described:
            return None
        found = json.loads(described)
        if found["engine"] not in get_args(_Engine):
            raise ValueError(described)
        relations = {tuple(key): name for *key, name in found["relations"]}
        return cls(dict(found["schemas"]), str(found["unicode"]), found["engine"], relations)
