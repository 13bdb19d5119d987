"""What a rewrite must know of another engine's database beside its catalog. A value object."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Target", "view_of"]

Engine = Literal["postgres", "spark", "sail"]


@dataclass(frozen=True, slots=True)
class Target:
    """`engine`: whose SQL it is.

    PostgreSQL: `schemas` are schemas as callers know them, folded → as the database has them (`main` is `public`),
    `unicode` a collation of the server that knows the case of all letters; "" where it has none.
    Spark and Sail: `catalog` is the server's catalog that holds the relations, and `main` its schema that callers reach
    as `main`; without a catalog, relations are views of the session (`view_of`).
    """

    schemas: Mapping[str, str] = field(default_factory=dict)
    unicode: str = ""
    engine: Engine = "postgres"
    catalog: str = ""
    main: str = ""

    @property
    def described(self) -> str:
        """As a text, for a catalog and its snapshots."""
        if self.engine == "postgres":
            return json.dumps({"dialect": "postgres", "schemas": dict(self.schemas), "unicode": self.unicode})
        return json.dumps({"dialect": self.engine, "catalog": self.catalog, "main": self.main})

    @classmethod
    def read(cls, described: str) -> Target | None:
        """From that text; None for DuckDB's, which is empty. Raises ValueError, KeyError or TypeError for others."""
        if not described:
            return None
        found = json.loads(described)
        match found["dialect"]:
            case "postgres":
                return cls(dict(found["schemas"]), str(found["unicode"]))
            case "spark" | "sail" as engine:
                return cls(engine=engine, catalog=str(found["catalog"]), main=str(found["main"]))
        raise ValueError(described)


def view_of(source: str) -> str:
    """The name of a session's view, from how DuckDB's text calls the relation: as hard to guess as that is."""
    return f"rls_{hashlib.sha256(source.encode()).hexdigest()[:32]}"
