"""A database from SQL and policies from YAML → an engine over them, and what one user is answered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from rls.engine import Engine
from rls.identity.mint import mint_token
from tests.engine.kit import write_policies


@contextmanager
def opened(folder: Path, setup: str, policies: str) -> Iterator[Engine]:
    """Closed after use."""
    with duckdb.connect(str(folder / "w.duckdb")) as connection:
        connection.execute(setup)
    read = write_policies(folder / "policies", policies)
    with Engine.open(folder / "w.duckdb", policies=read, audit=lambda record: None) as engine:
        yield engine


def token_of(engine: Engine) -> str:
    """For the user `u` of the tenant `a`."""
    return mint_token(engine.policies.identity, subject="u", attributes={"tenant": "a"}, lifetime=600)
