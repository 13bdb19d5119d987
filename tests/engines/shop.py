"""A small shop with traps in its hidden rows, on another engine than DuckDB: its policies, and an engine over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rls
from tests.engine.kit import write_policies

__all__ = ["Shop", "shop_policies"]


def shop_policies(odd: str) -> str:
    """The policies; `odd` is the name of a table in `finance` that is hard to quote."""
    doubled = odd.replace('"', '""')
    return f"""
relation: orders
policies:
  - {{name: own_tenant, as: restrictive, using: tenant_id = user.tenant}}
  - {{name: all_rows, using: "true"}}
columns:
  extra: {{deny: true}}
---
relation: products
public: true
---
relation: finance."{doubled}"
public: true
---
relation: finance.ledger
policies:
  - {{name: nobody, using: "false"}}
---
relation: changing
public: true
"""


class Shop:
    """An engine, somebody's token, and the records it left."""

    def __init__(self, url: str, policies: str, directory: Path, **options: Any) -> None:
        written = write_policies(directory / "policies", policies)
        self.records: list[dict[str, Any]] = []
        self.engine = rls.Engine.open(url, policies=written, audit=self.records.append, **options)
        identity = rls.load_identity(written)
        self.token = rls.mint_token(identity, subject="eve", roles=["maker"], attributes={"tenant": "acme"})

    def rows(self, sql: str, parameters: dict[str, object] | None = None) -> list[tuple[Any, ...]]:
        return list(self.engine.query(self.token, sql, parameters).rows)
