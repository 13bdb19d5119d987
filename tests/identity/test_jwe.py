"""Encrypted tokens: what a shared key proves, and every way around it."""

from __future__ import annotations

import base64
import json
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwe import JWERegistry, encrypt_compact
from joserfc.jwk import OctKey

from rls.errors import EngineInvalid, PolicyInvalid, TokenRejected
from rls.identity import Identity, inspect_token, load_identity, mint_token, verify_token
from tests.identity.kit import ISSUER, NOW, SECRET, claims, identity_for, part, token, write_identity

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
SEALED = """
issuers:
  - name: https://app.example
    audiences: [rls-warehouse]
    encryption: {{algorithm: {algorithm}, keys: [{{kid: e1, secret: {{file: sealing, encoding: base64}}}}]}}
{signature}
roles: [explorer]
attributes: {{tenant: {{type: string, required: true}}}}
"""
NESTED = "    algorithms: [HS256]\n    keys: [{kid: k1, secret: {file: secret}}]"


def identity_of(directory: Path, algorithm: str = "dir", signature: str = "") -> Identity:
    (directory / "sealing").write_bytes(base64.b64encode(KEY))
    (directory / "secret").write_bytes(SECRET)
    return load_identity(write_identity(directory, SEALED.format(algorithm=algorithm, signature=signature)))


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return identity_of(tmp_path)


def seal(plaintext: Any, *, key: bytes = KEY, **header: Any) -> str:
    head = {"alg": "dir", "enc": "A256GCM", "kid": "e1", **header}
    head = {name: value for name, value in head.items() if value is not None}
    raw = plaintext if isinstance(plaintext, bytes) else json.dumps(plaintext).encode()
    algorithms = ["dir", "A256KW", "A128KW", "A256GCM", "A128GCM", "A256CBC-HS512", "PBES2-HS256+A128KW", "DEF"]
    return encrypt_compact(
        head, raw, OctKey.import_key(key), registry=JWERegistry(algorithms=algorithms, strict_check_header=False)
    )


def reason(text: object, identity: Identity) -> str:
    with pytest.raises(TokenRejected) as caught:
        verify_token(text, identity, now=NOW)
    assert str(caught.value) == "token rejected; ask the issuer for a new one"
    assert not inspect_token(text, identity, now=NOW).accepted
    return caught.value.reason


@pytest.mark.parametrize("algorithm", ["dir", "A256KW"])
def test_the_shared_key_proves_the_sender(tmp_path: Path, algorithm: str) -> None:
    """RFC 7518 sections 4.4, 4.5 and 5.3."""
    identity = identity_of(tmp_path, algorithm)
    for text in (
        seal(claims(), alg=algorithm),
        seal(claims(), alg=algorithm, kid=None),
        seal(claims(), alg=algorithm, iss=ISSUER, typ="JWT", cty="json", foo=1),
        mint_token(identity, subject="u-1", roles=["explorer"], attributes={"tenant": "acme"}, now=NOW),
    ):
        principal = verify_token(text, identity, now=NOW)
        assert (principal.subject, dict(principal.attributes)) == ("u-1", {"tenant": "acme"})
        assert inspect_token(text, identity, now=NOW).accepted
        assert "acme" not in text


def test_signed_and_then_encrypted(tmp_path: Path) -> None:
    identity = identity_of(tmp_path, "A256KW", NESTED)
    inner = token(claims())
    assert verify_token(seal(inner.encode(), alg="A256KW", cty="JWT"), identity, now=NOW).subject == "u-1"
    minted = mint_token(identity, subject="u-1", attributes={"tenant": "acme"}, now=NOW)
    assert verify_token(minted, identity, now=NOW).subject == "u-1"
    assert reason(inner, identity) == "not_encrypted"
    assert reason(seal(inner.encode(), alg="A256KW"), identity) == "header:cty"
    assert reason(seal(claims(), alg="A256KW", cty="JWT"), identity) == "malformed"
    forged = token(claims(), key=OTHER)
    assert reason(seal(forged.encode(), alg="A256KW", cty="JWT"), identity) == "bad_signature"
    twice = seal(seal(inner.encode(), alg="A256KW", cty="JWT").encode(), alg="A256KW", cty="JWT")
    assert reason(twice, identity) == "malformed"


def test_a_token_that_is_not_encrypted(identity: Identity) -> None:
    assert reason(token(claims()), identity) == "not_encrypted"
    assert reason(token(claims(), alg="none"), identity) == "not_encrypted"
    # The key for encryption is not one for signatures.
    assert reason(token(claims(), kid="e1", key=KEY), identity) == "not_encrypted"


@pytest.mark.parametrize(
    ("header", "want"),
    [
        ({"alg": "A256KW"}, "algorithm_not_allowed"),
        ({"enc": "A256CBC-HS512"}, "algorithm_not_allowed"),
        ({"kid": "e2"}, "unknown_key"),
        ({"iss": "https://other.example"}, "unknown_key"),
        ({"typ": "at+jwt"}, "header:typ"),
        ({"cty": "JWT"}, "header:cty"),
    ],
)
def test_headers_that_are_refused(identity: Identity, header: dict[str, Any], want: str) -> None:
    key = {"A256CBC-HS512": SECRET}.get(header.get("enc", ""), KEY)
    assert reason(seal(claims(), key=key, **header), identity) == want


@pytest.mark.parametrize(
    "change",
    [{"zip": "DEF"}, {"crit": ["exp"]}, {"jku": "https://x.test"}, {"jwk": {}}, {"x5u": ""}, {"x5c": []}, {"b64": False}],
)  # fmt: skip
def test_parameters_that_are_refused(identity: Identity, change: dict[str, Any]) -> None:
    """RFC 8725 section 3.6: no compression; section 3.10: no keys from the token; RFC 7516 section 4.1.13."""
    head, *rest = seal(claims()).split(".")
    header = {**json.loads(base64.urlsafe_b64decode(head + "==")), **change}
    assert reason(".".join((part(header), *rest)), identity) == f"header:{next(iter(change))}"


def test_a_bomb_is_not_unpacked(identity: Identity) -> None:
    bomb = zlib.compress(b" " * 5_000_000)
    assert len(bomb) < 6_000
    assert reason(seal(b" " * 5_000_000, zip="DEF"), identity) == "header:zip"


def test_every_part_is_bound(identity: Identity) -> None:
    good = seal(claims()).split(".")
    for place in (2, 3, 4):
        raw = bytearray(base64.urlsafe_b64decode(good[place] + "=="))
        raw[0] ^= 1
        assert reason(".".join((*good[:place], part(bytes(raw)), *good[place + 1 :])), identity) == "bad_encryption"
        for cut in (raw[:-1], raw[:4], bytes(raw) + b"\0"):
            changed = ".".join((*good[:place], part(bytes(cut)), *good[place + 1 :]))
            assert reason(changed, identity) == "bad_encryption"
    assert reason(seal(claims(), key=OTHER), identity) == "bad_encryption"
    assert reason(".".join((part({"alg": "dir", "enc": "A256GCM"}), *good[1:])), identity) == "bad_encryption"
    assert reason(".".join((good[0], part(b"x" * 40), *good[2:])), identity) == "bad_encryption"
    assert reason(".".join(good[:4]) + ".", identity) == "malformed"
    assert reason("." + ".".join(good[1:]), identity) == "malformed"
    assert reason(good[0] + "=." + ".".join(good[1:]), identity) == "malformed"


def test_two_readings_of_what_is_inside(identity: Identity) -> None:
    raw = json.dumps(claims()).replace('"tenant"', '"tenant": "globex", "tenant"').encode()
    assert reason(seal(raw), identity) == "duplicate_member"
    assert reason(seal(b"[]"), identity) == "not_json"
    assert reason(seal(b'{"exp": NaN}'), identity) == "number"
    _, *rest = seal(claims()).split(".")
    twice = part(b'{"alg":"none","alg":"dir","enc":"A256GCM","kid":"e1"}')
    assert reason(".".join((twice, *rest)), identity) == "duplicate_member"


def test_claims_are_checked_all_the_same(identity: Identity) -> None:
    assert reason(seal(claims(exp=NOW - 10)), identity) == "expired"
    assert reason(seal(claims(aud="other")), identity) == "wrong_audience"
    assert reason(seal(claims(iss="https://other.example")), identity) == "issuer_changed"
    assert reason(seal(claims(iss=None)), identity) == "issuer_changed"
    assert reason(seal(claims(pad="x" * 9000)), identity) == "too_large"


def test_an_issuer_speaks_for_itself_only(tmp_path: Path) -> None:
    """The key that opened the token decides who sent it, whatever the claims say."""
    (tmp_path / "a").write_bytes(base64.b64encode(KEY))
    (tmp_path / "b").write_bytes(base64.b64encode(OTHER))
    one = (
        "{{name: {0}, audiences: [rls-warehouse], encryption: "
        "{{algorithm: dir, keys: [{{kid: {1}, secret: {{file: {0}, encoding: base64}}}}]}}}}"
    )
    text = "attributes: {tenant: {type: string}}\nissuers: "
    two = load_identity(write_identity(tmp_path, f"{text}[{one.format('a', 'e1')}, {one.format('b', 'e2')}]"))
    assert verify_token(seal(claims(iss="a")), two, now=NOW).issuer == "a"
    assert verify_token(seal(claims(iss="b"), kid="e2", key=OTHER), two, now=NOW).issuer == "b"
    assert reason(seal(claims(iss="b")), two) == "issuer_changed"
    assert reason(seal(claims(iss="a"), kid=None), two) == "unknown_key"
    same = load_identity(write_identity(tmp_path, f"{text}[{one.format('a', 'e1')}, {one.format('b', 'e1')}]"))
    assert reason(seal(claims(iss="a")), same) == "unknown_key"
    assert verify_token(seal(claims(iss="b"), iss="b", key=OTHER), same, now=NOW).issuer == "b"


def test_five_parts_where_nothing_is_encrypted(tmp_path: Path) -> None:
    assert reason(seal(claims()), identity_for(tmp_path)) == "malformed"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("encoding: base64", "encoding: text"), "policy.weak_key"),
        (("algorithm: dir", "algorithm: PBES2-HS256+A128KW"), "policy.value"),
        (("secret: {file: sealing, encoding: base64}", "file: sealing"), "policy.key"),
        (("kid: e1, ", ""), "policy.key"),
        (("roles:", "    algorithms: [HS256]\nroles:"), "policy.missing_key"),
        (("roles:", "    keys: [{kid: k1, secret: {file: secret}}]\nroles:"), "policy.missing_key"),
        (("roles:", "    algorithms: [dir]\n    keys: [{kid: k1, secret: {file: secret}}]\nroles:"), "policy.algorithm"),
        (("roles:", "    algorithms: [HS256]\n    keys: [{kid: k1, secret: {file: sealing, encoding: base64}}]\nroles:"), "policy.key"),
    ],
)  # fmt: skip
def test_declarations_that_are_refused(tmp_path: Path, change: tuple[str, str], code: str) -> None:
    identity_of(tmp_path)
    text = SEALED.format(algorithm="dir", signature="").replace(*change)
    with pytest.raises(PolicyInvalid) as caught:
        load_identity(write_identity(tmp_path, text))
    assert caught.value.code == code


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "joserfc", None)
    monkeypatch.setitem(sys.modules, "joserfc.jwe", None)
    with pytest.raises(EngineInvalid, match=r"rls\[jwe\]"):
        identity_of(tmp_path)
