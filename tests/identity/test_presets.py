"""Tokens of other systems, as those write them: who they say it is, and what of them is ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rls.errors import PolicyInvalid, TokenRejected
from rls.identity import Identity, inspect_token, load_identity, mint_token, verify_token
from tests.identity.kit import ISSUER, NOW, SECRET, claims, token, write_identity

TEXT = """
issuers:
  - name: https://app.example
    audiences: [rls-warehouse]
    algorithms: [HS256]
    keys: [{{kid: k1, secret: {{file: secret}}}}]
    claims: {claims}
roles: [explorer, authenticated, editor]
attributes:
  tenant_id: {{type: string}}
  regions: {{type: string, list: true}}
"""
REGISTERED = {name: value for name, value in claims().items() if name != "user"}
HASURA = "https://hasura.io/jwt/claims"


def identity_of(directory: Path, preset: str, extra: str = "") -> Identity:
    (directory / "secret").write_bytes(SECRET)
    return load_identity(write_identity(directory, TEXT.format(claims=preset) + extra))


def reason(body: dict[str, Any], identity: Identity) -> str:
    with pytest.raises(TokenRejected) as caught:
        verify_token(token(body), identity, now=NOW)
    return caught.value.reason


@pytest.mark.parametrize(
    ("preset", "body", "roles", "attributes"),
    [
        (
            "{preset: toucan}",
            {"user": {"distinctId": "u-1", "role": "explorer", "attributes": {"tenant_id": "acme"}},
             "permissions": {"ai": {"can_query": True}}},
            {"explorer"},
            {"tenant_id": "acme"},
        ),
        (
            "{preset: hasura}",
            {HASURA: {"x-hasura-user-id": "u-1", "x-hasura-default-role": "explorer",
                      "x-hasura-allowed-roles": ["explorer", "editor"], "x-hasura-tenant-id": "acme"}},
            {"explorer"},
            {"tenant_id": "acme"},
        ),
        (
            '{preset: hasura, namespace: "ns", roles: /ns/x-hasura-allowed-roles}',
            {"ns": {"x-hasura-user-id": "u-1", "x-hasura-default-role": "explorer",
                    "x-hasura-allowed-roles": ["explorer", "editor"], "X-Hasura-Tenant-Id": "other"}},
            {"explorer", "editor"},
            {},
        ),
        (
            "{preset: supabase}",
            {"sub": "u-1", "role": "authenticated", "app_metadata": {"tenant_id": "acme", "provider": "email"},
             "user_metadata": {"tenant_id": "globex", "regions": ["EMEA"]}},
            {"authenticated"},
            {"tenant_id": "acme"},
        ),
        (
            "{preset: cube}",
            {"sub": "u-1", "roles": ["editor"], "tenant_id": "acme", "regions": ["EMEA"]},
            {"editor"},
            {"tenant_id": "acme", "regions": ("EMEA",)},
        ),
        (
            '{preset: cube, namespace: "https://cube.example"}',
            {"sub": "u-1", "https://cube.example": {"roles": ["editor"], "tenant_id": "acme"}, "tenant_id": "globex"},
            {"editor"},
            {"tenant_id": "acme"},
        ),
        (
            '{preset: auth0, namespace: "https://acme.example/"}',
            {"sub": "u-1", "https://acme.example/roles": ["editor"], "https://acme.example/tenant_id": "acme",
             "tenant_id": "globex", "https://evil.example/tenant_id": "globex"},
            {"editor"},
            {"tenant_id": "acme"},
        ),
    ],
)  # fmt: skip
def test_presets(
    tmp_path: Path, preset: str, body: dict[str, Any], roles: set[str], attributes: dict[str, Any]
) -> None:
    identity = identity_of(tmp_path, preset)
    principal = verify_token(token({**REGISTERED, **body}), identity, now=NOW)
    assert (principal.subject, principal.roles, dict(principal.attributes)) == ("u-1", roles, attributes)
    # What is minted for such an issuer is read back the same.
    minted = mint_token(identity, subject="u-1", roles=sorted(roles), attributes=attributes, now=NOW)
    again = verify_token(minted, identity, now=NOW)
    assert (again.subject, again.roles, dict(again.attributes)) == ("u-1", roles, attributes)


SUPERSET = {
    "user": {"username": "u-1", "first_name": "U", "last_name": "One", "attributes": {"tenant_id": "acme"}},
    "resources": [{"type": "dashboard", "id": "1"}],
    "rls_rules": [{"clause": "1 = 1 OR tenant_id = 'globex'", "dataset": 3}],
    "iat": NOW + 0.25,
    "exp": NOW + 300.25,
    "aud": "rls-warehouse",
    "type": "guest",
}


def test_superset_guest_tokens(tmp_path: Path) -> None:
    """Who it is counts; the SQL in it does not, and that is said."""
    identity = identity_of(tmp_path, "{preset: superset}")
    guest = token(SUPERSET, {"alg": "HS256", "typ": "JWT"})
    principal = verify_token(guest, identity, now=NOW + 1)
    assert (principal.subject, principal.roles, dict(principal.attributes)) == ("u-1", set(), {"tenant_id": "acme"})
    assert (principal.issuer, principal.expires_at) == (ISSUER, NOW + 300)
    assert principal.warnings == ("the SQL in `rls_rules` is ignored",)
    assert "the SQL in `rls_rules` is ignored" in inspect_token(guest, identity, now=NOW + 1).warnings
    with pytest.raises(TokenRejected):
        verify_token(guest, identity, now=NOW + 310)
    minted = mint_token(identity, subject="u-1", attributes={"tenant_id": "acme"}, now=NOW)
    assert verify_token(minted, identity, now=NOW).subject == "u-1"
    assert reason({**SUPERSET, "type": "access"}, identity) == "claim:type:enum"
    assert reason({n: v for n, v in SUPERSET.items() if n != "type"}, identity) == "claim:type:enum"
    assert reason({**SUPERSET, "exp": "1800000300"}, identity) == "claim:exp:type"
    assert reason({**SUPERSET, "iss": "https://other.example"}, identity) == "unknown_issuer"
    assert reason({**SUPERSET, "iss": None}, identity) == "unknown_issuer"
    raw = b'{"iat": 1e15, "exp": 1e300, "aud": "rls-warehouse", "type": "guest", "user": {"username": "u-1"}}'
    with pytest.raises(TokenRejected) as caught:
        verify_token(token(raw), identity, now=NOW)
    assert caught.value.reason == "claim:exp:type"


def test_other_issuers_always_name_themselves(tmp_path: Path) -> None:
    assert reason({**SUPERSET, "iat": NOW, "exp": NOW + 300}, identity_of(tmp_path, "{}")) == "unknown_issuer"


def test_two_members_of_one_name(tmp_path: Path) -> None:
    identity = identity_of(tmp_path, "{preset: hasura}")
    body = {"x-hasura-user-id": "u-1", "x-hasura-tenant-id": "acme", "x-hasura-tenant_id": "globex"}
    assert reason({**REGISTERED, HASURA: body}, identity) == "claim:attributes:duplicate"


def test_unknown_attributes_under_a_prefix(tmp_path: Path) -> None:
    identity = identity_of(tmp_path, "{preset: hasura}", "unknown_attributes: refuse\n")
    body = {"x-hasura-user-id": "u-1", "x-hasura-default-role": "explorer", "x-hasura-allowed-roles": ["explorer"]}
    assert verify_token(token({**REGISTERED, HASURA: body}), identity, now=NOW)
    assert reason({**REGISTERED, HASURA: {**body, "x-hasura-org": "x"}}, identity) == "unknown_attribute"


@pytest.mark.parametrize(
    ("preset", "want"),
    [
        ("{preset: hasurra}", "must be 'toucan', 'hasura', 'supabase', 'cube', 'auth0' or 'superset'"),
        ("{preset: auth0}", "preset `auth0` needs the `namespace`"),
        ("{preset: toucan, namespace: x}", "preset `toucan` has no `namespace`"),
        ("{namespace: x}", "preset `toucan` has no `namespace`"),
        ("{preset: cube, subject: /roles}", "must name a member of its own"),
        ('{preset: auth0, namespace: "", roles: /r}', "name must be 1 to 255"),
    ],
)
def test_declarations_that_are_refused(tmp_path: Path, preset: str, want: str) -> None:
    with pytest.raises(PolicyInvalid, match=want.replace("(", "\\(")) as caught:
        identity_of(tmp_path, preset)
    assert caught.value.line == 7


def test_attribute_names_that_are_other_claims(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid, match="another claim"):
        identity_of(tmp_path, "{preset: hasura}", "  allowed_roles: {type: string}\n")
    with pytest.raises(PolicyInvalid, match="another claim"):
        identity_of(tmp_path, "{preset: cube}", "  act: {type: string}\n")
    with pytest.raises(PolicyInvalid, match="built in"):
        identity_of(tmp_path, "{}", "  agent: {type: string}\n")


def test_one_issuer_without_a_name(tmp_path: Path) -> None:
    text = TEXT.format(claims="{preset: superset}")
    second = text.split("issuers:\n")[1].split("roles:")[0].replace("app.example", "b.example")
    (tmp_path / "secret").write_bytes(SECRET)
    with pytest.raises(PolicyInvalid, match="only one issuer"):
        load_identity(write_identity(tmp_path, text.replace("roles:", second + "roles:", 1)))
