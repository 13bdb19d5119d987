"""The shared token corpus: every case is accepted or rejected as it says, by `verify_token` and `inspect_token` alike."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest

from rls.errors import TokenRejected
from rls.identity import describe_reason, inspect_token, load_identity, verify_token
from tests.identity.kit import NOW, write_identity

SHARED = Path(os.environ.get("RLS_SHARED") or Path(__file__).parents[3] / "shared")
CORPUS = SHARED / "attacks" / "tokens.jsonl"

IDENTITY = """
issuers:
  - name: https://issuer.test
    audiences: [duck-rls]
    algorithms: [RS256]
    keys: [{kid: k1, file: key.pem}]
    claims: {subject: /sub, roles: /roles, attributes: ""}
roles: [analyst]
attributes:
  tenant_id: {type: string, required: true}
  region: {type: string, required: true}
  department: {type: string}
"""


def test_corpus(tmp_path: Path) -> None:
    if not CORPUS.is_file():
        pytest.skip(f"no token corpus at {CORPUS}; set RLS_SHARED to the folder that has attacks/tokens.jsonl")
    maker: Any = importlib.util.module_from_spec(
        spec := importlib.util.spec_from_file_location("make_tokens", CORPUS.with_name("make_tokens.py"))
    )
    spec.loader.exec_module(maker)
    keys = maker.Keys()
    (tmp_path / "key.pem").write_bytes(keys.pem)
    identity = load_identity(write_identity(tmp_path, IDENTITY))
    wrong = []
    cases = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]
    for case in cases:
        text = maker.build(case["spec"], keys, NOW)
        try:
            principal = verify_token(text, identity, now=NOW)
            outcome, why = "accept", ""
            assert principal.roles <= {"analyst"}, case["id"]
        except TokenRejected as error:
            outcome, why = "reject", error.reason
            assert describe_reason(why) != why, case["id"]
        inspection = inspect_token(text, identity, now=NOW)
        assert inspection.accepted == (outcome == "accept"), case["id"]
        assert outcome == "accept" or why in {finding.reason for finding in inspection.findings}, case["id"]
        if outcome not in (case["expect"], case.get("also_ok")):
            wrong.append((case["id"], case["how"], outcome, why))
    assert wrong == []
    assert len(cases) >= 72
