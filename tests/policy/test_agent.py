"""`user.agent`: who acts for the user, in policies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import rls
from rls.errors import QueryRefused
from tests.policy.cases import CATALOG, ORDERS, person, policy_set

HERSELF = person("explorer", tenant="acme")
BY_BOT = replace(HERSELF, agent="bot", actors=("bot", "cron"))


@pytest.mark.parametrize(
    ("using", "herself", "by_bot"),
    [
        ("user.agent IS NULL", "always", "never"),
        ("user.agent IS NOT NULL", "never", "always"),
        ("user.agent = 'bot'", "never", "always"),
        # Only the one who acts counts, not for whom that one acts (RFC 8693 section 4.1).
        ("user.agent = 'cron'", "never", "never"),
        ("user.agent <> 'cron'", "never", "always"),
        ("region = user.agent", "never", "conditional"),
        ("user.agent IS NULL OR region = 'EMEA'", "always", "conditional"),
    ],
)
def test_in_policies(tmp_path: Path, using: str, herself: str, by_bot: str) -> None:
    policies = policy_set(tmp_path, f'relation: orders\npolicies: [{{name: p, using: "{using}"}}]\n')
    found = [policies.grant(ORDERS, who, CATALOG) for who in (HERSELF, BY_BOT)]
    assert [one and one.kind for one in found] == [herself, by_bot]


def test_bound_as_a_value(tmp_path: Path) -> None:
    policies = policy_set(tmp_path, 'relation: orders\npolicies: [{name: p, using: "region = user.agent"}]\n')
    guarded = rls.guard("SELECT id FROM orders", BY_BOT, policies, CATALOG)
    assert guarded.parameters["rls_agent"] == "bot"
    assert "bot" not in guarded.sql
    other = rls.guard("SELECT id FROM orders", replace(BY_BOT, agent="b"), policies, CATALOG)
    assert other.fingerprint != guarded.fingerprint


def test_not_for_queries(tmp_path: Path) -> None:
    policies = policy_set(tmp_path, 'relation: orders\npolicies: [{name: p, using: "true"}]\n')
    with pytest.raises(QueryRefused):
        rls.guard("SELECT user.agent FROM orders", BY_BOT, policies, CATALOG)


def test_nobody_declares_it(tmp_path: Path) -> None:
    from tests.policy.cases import IDENTITY

    with pytest.raises(rls.PolicyInvalid, match="built in"):
        policy_set(tmp_path, identity=IDENTITY + "  Agent: {type: string}\n")
