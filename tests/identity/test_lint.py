"""Advice on tokens and on declared issuers; no value of a token is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rls.identity import Identity, lint_identity, lint_token, load_identity
from rls.identity.sensitive import find_personal
from tests.identity.kit import NOW, SECRET, claims, identity_for, token, with_attributes, write_identity

FINE = with_attributes(regions=["EMEA"])


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity_for(tmp_path_factory.mktemp("lint"))


def codes(body: Any, identity: Identity, *, used: set[str] | None = None, **header: Any) -> set[str]:
    advice = lint_token(token(body, **header), identity, used=used, now=NOW)
    assert all(one.message and one.hint and "\n" not in one.message for one in advice)
    return {one.code for one in advice}


def test_a_good_token(identity: Identity) -> None:
    assert codes(FINE, identity, used={"tenant", "regions"}) == set()


@pytest.mark.parametrize(
    ("body", "header", "want"),
    [
        (claims(user__distinctId="ada@post.test"), {}, {"subject.mail", "personal"}),
        (with_attributes(email="x"), {}, {"personal", "ignored"}),
        (with_attributes(api_key="x"), {}, {"secret", "ignored"}),
        (claims(contact={"where": "+49 170 1234567"}), {}, {"personal"}),
        (claims(note="x" * 300), {}, {"personal"}),
        (claims(bank="GB82 WEST 1234 5698 7654 32"), {}, {"personal"}),
        (claims(exp=NOW + 7200), {}, {"lifetime", "lifetime_too_long"}),
        (claims(jti=None), {}, {"no_id"}),
        (claims(), {"kid": None}, {"no_key_id"}),
        (claims(), {"typ": None}, {"no_type"}),
        (claims(pad=["x" * 100] * 50), {}, {"size"}),
        (claims(exp=NOW - 100, iat=NOW - 200), {}, {"expired"}),
        (claims(iss="https://other.example"), {}, {"unknown_issuer"}),
    ],
)
def test_advice(identity: Identity, body: Any, header: dict[str, Any], want: set[str]) -> None:
    assert codes(body, identity, **header) == want


def test_what_policies_read(identity: Identity) -> None:
    advice = lint_token(token(with_attributes(code="ABC")), identity, used={"clearance", "tenant"}, now=NOW)
    assert [(one.code, one.message) for one in advice] == [
        ("missing", "attribute `clearance` is read by policies and not in the token"),
        ("unused", "attribute `code` is in the token and no policy reads it"),
    ]


def test_no_value_is_told(identity: Identity) -> None:
    body = claims(secret="hunter2-value", mail="ada@post.test", user__distinctId="bo@post.test")
    told = " ".join(map(str, lint_token(token(body), identity, now=NOW)))
    assert "hunter2" not in told
    assert "@post" not in told
    assert "\x1b" not in " ".join(map(str, lint_token(token(claims(**{"ssn\x1b[2J": "1"})), identity, now=NOW)))


@pytest.mark.parametrize("garbage", ["", "a.b.c", "x" * 20_000, None, 7])
def test_garbage_is_refused(identity: Identity, garbage: object) -> None:
    assert {one.severity for one in lint_token(garbage, identity, now=NOW)} == {"refused"}


def test_declarations(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(SECRET)
    (tmp_path / "b").write_bytes(b"a passphrase of words, long enough")
    one = "{{name: {0}, audiences: [x], algorithms: [HS256], keys: [{{kid: k, secret: {{file: {1}}}}}]{2}}}"
    text = (
        f"issuers: [{one.format('one', 'a', ', max_lifetime: 86400')}, {one.format('two', 'a', '')}, "
        f"{one.format('three', 'b', '')}]"
    )
    advice = lint_identity(load_identity(write_identity(tmp_path, text)))
    assert [one.code for one in advice if one.code != "shared_secret"] == ["shared_key", "max_lifetime", "weak_secret"]
    assert sum(one.code == "shared_secret" for one in advice) == 3
    assert "`one`, `two`" in advice[0].message


def test_public_keys_are_fine(tmp_path: Path) -> None:
    assert lint_identity(identity_for(tmp_path, "ES256")) == []


@pytest.mark.parametrize(
    "fine", ["acme", "EMEA", "4111 1111 1111 1112", "2026-01-01", "u-1", "a@b", 7, None, True, ["x"]]
)
def test_what_is_not_personal(fine: Any) -> None:
    assert find_personal("tenant", fine) is None
