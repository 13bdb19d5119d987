"""Agents and revoked tokens, all the way through an engine and its records."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

import rls
from tests.identity.kit import SECRET

IDENTITY = """
issuers: [{name: i, audiences: [a], algorithms: [HS256], keys: [{kid: k, secret: {file: secret}}]}]
"""
POLICY = 'relation: t\npolicies: [{name: own, using: "user.agent IS NULL OR owner = user.agent"}]\n'


def test_agents_and_revocation(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "secret").write_bytes(SECRET)
    (policies / "identity.yaml").write_text(IDENTITY)
    (policies / "t.yaml").write_text(POLICY)
    with duckdb.connect(str(tmp_path / "x.duckdb")) as connection:
        connection.execute("CREATE TABLE t AS FROM (VALUES (1, 'bot'), (2, 'other')) v(id, owner)")
    identity = rls.load_identity(policies)
    records: list[Any] = []
    with rls.Engine.open(tmp_path / "x.duckdb", policies=policies, audit=records.append, isolation="thread") as engine:
        for agent, rows in (("bot", [(1,)]), (None, [(1,), (2,)]), ("other", [(2,)]), ("bot", [(1,)])):
            token = rls.mint_token(identity, subject="u", agent=agent)
            assert engine.query(token, "SELECT id FROM t ORDER BY id").rows == rows
            assert records[-1].agent == (agent or "")
        session = engine.session(rls.mint_token(identity, subject="u"))
        assert session.query("SELECT 1 AS x").rows == [(1,)]
        # Another load of the same file shares what is revoked.
        identity.revocations.revoke_subject("u", before=time.time() + 5)
        with pytest.raises(rls.TokenRejected):
            session.query("SELECT 1 AS x")
        assert records[-1].code == "revoked"
        engine.reload()
        with pytest.raises(rls.TokenRejected):
            engine.query(token, "SELECT 1 AS x")
