"""Key material: one use per key, minimum lengths, no private or public key in the wrong place."""

from __future__ import annotations

import json

import pytest
from jwt.algorithms import RSAAlgorithm

from rls.identity.keys import (
    Key,
    KeyUnfit,
    family_of,
    read_jwk_set,
    read_private_pem,
    read_public_pem,
    read_secret,
    sign,
    signature_fits,
)
from tests.identity.kit import SECRET, jwk, private_key, private_pem, public_pem


def code(call, *arguments) -> str:
    with pytest.raises(KeyUnfit) as caught:
        call(*arguments)
    message = f"{caught.value} {caught.value.hint}"
    assert "\n" not in message
    return caught.value.code


@pytest.mark.parametrize(
    "algorithms", [["none"], ["NONE"], ["HS256", "RS256"], ["RS256", "PS256"], ["ES256K"], ["hs256"], []]
)
def test_one_known_family(algorithms: list[str]) -> None:
    """RFC 8725 sections 3.1 and 3.2."""
    assert code(family_of, algorithms) == "algorithm"


@pytest.mark.parametrize(
    "algorithm",
    ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"],
)  # fmt: skip
def test_sign_and_fit(algorithm: str) -> None:
    if algorithm.startswith("HS"):
        signing = public = read_secret("k", SECRET, [algorithm])
    else:
        signing = read_private_pem(private_pem(algorithm), [algorithm])
        public = read_public_pem("k", public_pem(algorithm), [algorithm])
    assert signing.fingerprint == public.fingerprint
    signature = sign(signing, algorithm, b"text")
    assert signature_fits(public, algorithm, signed=b"text", signature=signature)
    assert not signature_fits(public, algorithm, signed=b"other", signature=signature)
    assert not signature_fits(public, algorithm, signed=b"text", signature=signature[:-1])
    assert not signature_fits(public, algorithm, signed=b"text", signature=b"")
    assert not signature_fits(public, algorithm, signed=b"text", signature=b"\0" * len(signature))
    assert not signature_fits(public, "HS256" if algorithm != "HS256" else "RS256", signed=b"text", signature=signature)


def test_key_is_not_shown() -> None:
    assert repr(SECRET[10:20])[2:-1] not in repr(read_secret("k", SECRET, ["HS256"]))


@pytest.mark.parametrize(
    ("secret", "algorithms", "want"),
    [
        (b"", ["HS256"], "weak_key"),
        (b"secret", ["HS256"], "weak_key"),
        (SECRET[:31], ["HS256"], "weak_key"),
        (SECRET[:47], ["HS256", "HS384"], "weak_key"),
        (SECRET[:63], ["HS512"], "weak_key"),
        (b"a" * 64, ["HS256"], "weak_key"),
        (b"secret" * 10, ["HS256"], "weak_key"),
        (SECRET, ["RS256"], "key"),
    ],
)
def test_secrets_that_are_refused(secret: bytes, algorithms: list[str], want: str) -> None:
    """RFC 7518 section 3.2, RFC 8725 section 3.5."""
    assert code(read_secret, "k", secret, algorithms) == want


def test_no_public_key_as_secret() -> None:
    """CVE-2016-10555, CVE-2022-29217: what everybody knows is no secret."""
    der = private_key("RS256").public_key().public_bytes(*_der())
    jwk = RSAAlgorithm.to_jwk(private_key("RS256").public_key()).encode()
    for secret in (public_pem("RS256"), public_pem("RS256").strip(), private_pem("RS256"), der, jwk):
        assert code(read_secret, "k", secret, ["HS256"]) == "key"


def _der():
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return Encoding.DER, PublicFormat.SubjectPublicKeyInfo


@pytest.mark.parametrize(
    ("pem", "algorithms", "want"),
    [
        (lambda: private_pem("RS256"), ["RS256"], "private_key"),
        (lambda: private_pem("RS256", b"pw"), ["RS256"], "private_key"),
        (lambda: public_pem("weak"), ["RS256"], "weak_key"),
        (lambda: public_pem("RS256"), ["ES256"], "key"),
        (lambda: public_pem("ES256"), ["RS256"], "key"),
        (lambda: public_pem("ES384"), ["ES256"], "key"),
        (lambda: public_pem("ES256K"), ["ES256"], "key"),
        (lambda: public_pem("ES256"), ["EdDSA"], "key"),
        (lambda: public_pem("RS256"), ["HS256"], "key"),
        (lambda: b"", ["RS256"], "key"),
        (lambda: b"\x00\xff", ["RS256"], "key"),
        (lambda: b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ["RS256"], "key"),
        (lambda: b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", ["RS256"], "key"),
    ],
)
def test_public_keys_that_are_refused(pem, algorithms: list[str], want: str) -> None:
    assert code(read_public_pem, "k", pem(), algorithms) == want


def test_private_keys_that_are_refused() -> None:
    assert code(read_private_pem, private_pem("RS256", b"pw"), ["RS256"]) == "key"
    assert code(read_private_pem, public_pem("RS256"), ["RS256"]) == "key"
    assert code(read_private_pem, private_pem("weak"), ["RS256"]) == "weak_key"


def test_curve_narrows_the_algorithms() -> None:
    assert read_public_pem("k", public_pem("ES384"), ["ES256", "ES384"]).algorithms == {"ES384"}


def keys(*members: object, algorithms: list[str]) -> list[Key]:
    return read_jwk_set(json.dumps({"keys": members}).encode(), algorithms)


def test_jwk_set() -> None:
    members = [
        {**jwk("RS256"), "kid": "a", "key_ops": ["verify"]},
        {**jwk("RS256"), "kid": "b", "alg": "RS512", "use": "sig"},
        {**jwk("RS256"), "kid": "c", "use": "enc"},
        {**jwk("RS256"), "kid": "d", "alg": "PS256"},
        {**jwk("RS256"), "kid": "e", "key_ops": ["encrypt"]},
        jwk("ES256", kid="f"),
        {"kty": "future", "kid": "g"},
    ]
    found = keys(*members, algorithms=["RS256", "RS512"])
    assert [(key.kid, set(key.algorithms)) for key in found] == [("a", {"RS256", "RS512"}), ("b", {"RS512"})]
    assert found[0].fingerprint == read_public_pem("k", public_pem("RS256"), ["RS256"]).fingerprint


@pytest.mark.parametrize(("kind", "algorithm"), [("ES256", "ES256"), ("EdDSA", "EdDSA"), ("RS256", "PS256")])
def test_single_jwk(kind: str, algorithm: str) -> None:
    raw = json.dumps({**jwk(kind), "kid": "a", "key_ops": ["verify"]}).encode()
    assert [key.kid for key in read_jwk_set(raw, [algorithm])] == ["a"]


@pytest.mark.parametrize(
    ("raw", "want"),
    [
        (b"", "key"),
        (b"[]", "key"),
        (b"{}", "key"),
        (b'{"keys": 1}', "key"),
        (b'{"keys": [1]}', "key"),
        (b'{"keys": []}', "key"),
        (b'{"keys": [], "keys": []}', "key"),
        (b"[" * 100_000, "key"),
        (b'{"kty": "RSA", "kid": "a"}', "key"),
        (b'{"kty": "RSA", "kid": "a", "n": 1, "e": "AQAB"}', "key"),
        (b'{"kty": "RSA", "kid": "a", "n": "AQAB", "e": "AQAB"}', "key"),
    ],
)
def test_jwk_sets_that_are_refused(raw: bytes, want: str) -> None:
    assert code(read_jwk_set, raw, ["RS256"]) == want


def test_more_jwk_sets_that_are_refused() -> None:
    private = {**RSAAlgorithm.to_jwk(private_key("RS256"), as_dict=True), "kid": "a"}
    assert code(read_jwk_set, json.dumps(private).encode(), ["RS256"]) == "private_key"
    assert code(read_jwk_set, json.dumps(jwk("RS256", key_ops=["verify"])).encode(), ["RS256"]) == "key"
    assert code(read_jwk_set, json.dumps(jwk("weak", kid="a")).encode(), ["RS256"]) == "weak_key"
