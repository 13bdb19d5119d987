"""The warehouse, the copy that holds only what one person may see, and a token for that person, in a directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fixtures
from benchmarks.cases import read_case_file
from rls.identity import load_identity, load_personas, mint_token
from rls.identity.principal import Principal
from tests.oracle import Rule, reduce_database

__all__ = ["Setting", "set_up"]

ISSUER, KEY = "https://app.example", "rs256.private.pem"


@dataclass(frozen=True)
class Setting:
    """`database` and its physically reduced `copy`; `principal` and a `token` for the person of `cases/warehouse.toml`."""

    database: Path
    copy: Path
    audit: Path
    principal: Principal
    token: str


def set_up(directory: Path, *, scale: float) -> Setting:
    """Build everything in `directory`; what is there already is used again."""
    person = read_case_file("warehouse")["person"]
    database, copy = directory / f"warehouse-{scale:g}.duckdb", directory / f"copy-{scale:g}.duckdb"
    # The name callers use is the file's; both databases go by the same one in queries.
    if not database.is_file():
        fixtures.build(database, scale)
    if not copy.is_file():
        reduce_database(database, {("main", name): _rule(entry) for name, entry in person["copy"].items()}, target=copy)
    identity = load_identity(fixtures.POLICIES)
    principal = load_personas(fixtures.POLICIES / "personas.yaml", identity)[person["name"]]
    token = mint_token(
        identity,
        subject=principal.subject,
        roles=sorted(principal.roles),
        attributes=principal.attributes,
        issuer=ISSUER,
        key=(fixtures.KEYS / KEY).read_text(encoding="ascii"),
        lifetime=3600,
    )
    return Setting(database, copy, directory / "audit.jsonl", principal, token)


def _rule(entry: dict[str, Any]) -> Rule:
    return Rule(
        entry["predicate"],
        denied=frozenset(entry.get("denied", ())),
        masks=entry.get("masks", {}),
        labels=frozenset(entry.get("labels", ())),
    )
