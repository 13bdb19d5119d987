"""Minting: what comes out verifies to what went in; what must not be in a token is refused, and no value is told."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from rls.identity import Identity, MintRefused, load_identity, mint_token, verify_token
from rls.identity.sensitive import find_sensitive
from tests.identity.kit import NOW, SECRET, identity_for, private_pem, write_identity


@pytest.fixture(scope="module")
def identity(tmp_path_factory) -> Identity:
    return identity_for(tmp_path_factory.mktemp("hs"))


def mint(identity: Identity, **changes: Any) -> str:
    given = {"subject": "u-1", "roles": ["explorer"], "attributes": {"tenant": "acme"}, "now": NOW, **changes}
    return mint_token(identity, **given)


def payload(token: str) -> dict[str, Any]:
    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))


def test_round_trip_of_every_type(identity: Identity) -> None:
    attributes = {
        "tenant": "acmé *'\"\u200b😀",
        "regions": ["EMEA", "APAC"],
        "clearance": -(2**63),
        "credit": Decimal("12345678.90"),
        "internal": True,
        "valid_from": date(2026, 1, 1),
        "seen": datetime(2026, 1, 1, 12, 30, 1, 5),
        "levels": (),
        "plan": None,
    }
    principal = verify_token(mint(identity, attributes=attributes), identity, now=NOW)
    del attributes["plan"]
    assert dict(principal.attributes) == {**attributes, "regions": ("EMEA", "APAC")}
    assert (principal.subject, principal.roles, principal.warnings) == ("u-1", {"explorer"}, ())


def test_defaults_are_short_lived_and_unique(identity: Identity) -> None:
    first, second = payload(mint(identity)), payload(mint(identity))
    assert first["exp"] - first["iat"] == 300
    assert first["jti"] != second["jti"]
    assert payload(mint(identity, now=NOW + 0.9))["iat"] == NOW


def test_times_with_a_zone_become_utc(identity: Identity) -> None:
    zone = timezone(timedelta(hours=2))
    token = mint(identity, attributes={"tenant": "a", "seen": datetime(2026, 1, 1, 12, tzinfo=zone)})
    assert verify_token(token, identity, now=NOW).attributes["seen"] == datetime(2026, 1, 1, 10)
    token = mint(identity, attributes={"tenant": "a", "seen": datetime(2026, 1, 1, 12, tzinfo=UTC)})
    assert payload(token)["user"]["attributes"]["seen"] == "2026-01-01T12:00:00Z"


@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES256", "EdDSA", "Ed25519"])
def test_private_keys(tmp_path: Path, algorithm: str) -> None:
    identity = identity_for(tmp_path, algorithm)
    for key in (private_pem(algorithm), private_pem(algorithm).decode()):
        assert verify_token(mint(identity, key=key), identity, now=NOW).subject == "u-1"
    with pytest.raises(MintRefused, match="no signing key"):
        mint(identity)


def test_flat_claim_map(tmp_path: Path) -> None:
    identity = identity_for(tmp_path, extra='    claims: {subject: /sub, roles: /roles, attributes: ""}\n')
    token = mint(identity)
    assert payload(token).items() >= {"sub": "u-1", "roles": ["explorer"], "tenant": "acme"}.items()
    assert dict(verify_token(token, identity, now=NOW).attributes) == {"tenant": "acme"}


def test_attributes_around_the_subject(tmp_path: Path) -> None:
    identity = identity_for(tmp_path, extra="    claims: {subject: /u/id, roles: /u/roles, attributes: /u}\n")
    assert payload(mint(identity))["u"] == {"id": "u-1", "roles": ["explorer"], "tenant": "acme"}


def test_several_issuers(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(SECRET)
    entry = "{{name: {0}, audiences: {1}, algorithms: [HS256, HS512], types: [rls+jwt], keys: [{{kid: {0}, secret: {{file: s}}}}]}}"
    text = f"issuers: [{entry.format('a', '[x]')}, {entry.format('b', '[x, y]')}]"
    identity = load_identity(write_identity(tmp_path, text))
    given = {"subject": "u", "now": NOW}
    for changes, code in (
        ({}, "mint.issuer"),
        ({"issuer": "c"}, "mint.issuer"),
        ({"issuer": "b"}, "mint.audience"),
        ({"issuer": "b", "audience": "z"}, "mint.claims"),
        ({"issuer": "a", "kid": "b"}, "mint.key"),
        ({"issuer": "a", "algorithm": "HS384"}, "mint.key"),
    ):
        with pytest.raises(MintRefused) as caught:
            mint_token(identity, **given, **changes)
        assert caught.value.code == code
    token = mint_token(identity, **given, issuer="b", audience="y", algorithm="HS512", token_id="t")
    assert json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "==")) == {
        "alg": "HS512",
        "kid": "b",
        "typ": "rls+jwt",
    }
    assert verify_token(token, identity, now=NOW).token_id == "t"


@pytest.mark.parametrize(
    ("changes", "want"),
    [
        ({"attributes": {"tenannt": "acme"}}, "attribute `tenannt` is not declared; did you mean `tenant`?"),
        ({"attributes": {"tenant": "acme", "credit": 1.5}}, "attribute `credit` is a float; use an int or a Decimal"),
        ({"attributes": {"tenant": "acme", "levels": [1, 2.0]}}, "attribute `levels` is a float; use an int or a Decimal"),
        ({"attributes": {"tenant": b"acme"}}, "attribute `tenant` has a value that no attribute type holds"),
        ({"attributes": {"tenant": {"a": 1}}}, "attribute `tenant` has a value that no attribute type holds"),
        ({"attributes": {"credit": Decimal("NaN")}}, "attribute `credit` has a value that no attribute type holds"),
        ({"attributes": {}}, "the token would be refused: the attribute `tenant` is missing"),
        ({"attributes": {"tenant": "x" * 65}}, "the token would be refused: the attribute `tenant` is too long"),
        ({"attributes": {"tenant": "acme", "clearance": "1"}}, "the token would be refused: the attribute `clearance` does not have"),
        ({"attributes": {"tenant": "\ud800"}}, "the token would be refused: the header or the payload is not one JSON"),
        ({"attributes": {"tenant": "-----BEGIN RSA PRIVATE KEY-----"}}, "attribute `tenant` does not belong in a token: it holds a key"),
        ({"attributes": {"regions": ["eyJhbGciOiJIUzI1NiJ9.e30.AAAA"]}}, "attribute `regions` does not belong in a token: it holds a token"),
        ({"roles": ["explorr"]}, "role is not declared; did you mean `explorer`?"),
        ({"roles": "explorer"}, "roles must be a list; put the role in a list"),
        ({"subject": ""}, "the token would be refused: the claim `subject` is blank"),
        ({"subject": 5}, "the token would be refused: the claim `subject` does not have the declared type"),
        ({"lifetime": 0}, "lifetime must be 1 to 3600 seconds for this issuer"),
        ({"lifetime": 3601}, "lifetime must be 1 to 3600 seconds for this issuer"),
        ({"lifetime": True}, "lifetime must be 1 to 3600 seconds for this issuer"),
        ({"attributes": {"tenant": "a", "regions": ["r" * 256] * 5, "code": "x" * 20_000}}, "the token would be refused: the token is larger"),
        ({"key": b"junk"}, "text is not a private key in PEM"),
    ],
)  # fmt: skip
def test_refused(identity: Identity, changes: dict[str, Any], want: str) -> None:
    with pytest.raises(MintRefused) as caught:
        mint(identity, **changes)
    assert str(caught.value).startswith(want)
    assert caught.value.exit_code == 4


def test_foreign_key(tmp_path: Path) -> None:
    identity = identity_for(tmp_path, "RS256")
    for key, want in (
        (private_pem("other"), "private key does not belong to a declared key of the issuer"),
        (private_pem("ES256"), "key cannot be used with RS256"),
        (private_pem("RS256", b"pw"), "private key is encrypted; decrypt it before it is given"),
    ):
        with pytest.raises(MintRefused) as caught:
            mint(identity, key=key)
        assert str(caught.value) == want


@pytest.mark.parametrize(
    ("name", "value", "refused"),
    [
        ("password", "x", True),
        ("Api-Key", "x", True),
        ("card_number", 1, True),
        ("tenant", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA", True),
        ("tenant", "-----BEGIN CERTIFICATE-----", True),
        ("email", "a@example.org", False),
        ("pinned", "x", False),
        ("tenant", "eyJ", False),
        ("level", 4111111111111111, False),
    ],
)
def test_sensitive(name: str, value: object, refused: bool) -> None:
    assert (find_sensitive(name, value) is not None) == refused
