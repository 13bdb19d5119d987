"""RFC 8725, JSON Web Token Best Current Practices: its list, point by point, each with what is refused because of it.

The numbers are the sections of the RFC; a point that a verifier cannot keep alone says what it rests on here.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from rls.errors import PolicyInvalid, TokenRejected
from rls.identity import Identity, load_identity, mint_token, verify_token
from rls.identity.keys import KeyUnfit, family_of, read_jwk_set, read_public_pem, read_secret
from tests.identity.kit import (
    ISSUER,
    NOW,
    SECRET,
    asymmetric_token,
    claims,
    identity_for,
    jwk,
    part,
    private_pem,
    public_pem,
    token,
    write_identity,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity_for(tmp_path_factory.mktemp("hs"))


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity_for(tmp_path_factory.mktemp("es"), "ES256")


def refused(text: str, identity: Identity) -> str:
    with pytest.raises(TokenRejected) as caught:
        verify_token(text, identity, now=NOW)
    return caught.value.reason


def test_3_1_perform_algorithm_verification(shared: Identity, signed: Identity) -> None:
    """The caller says which algorithms may be used, each key is used with one, and the header only has to agree."""
    assert verify_token(token(claims()), shared, now=NOW)
    for algorithm in ("none", "None", "HS384", "RS256", "ES256"):
        assert refused(token(claims(), alg=algorithm), shared) == "algorithm_not_allowed"
    # The public key as a secret: the mixture of algorithms that makes it work cannot be declared.
    assert refused(token(claims(), key=public_pem("ES256")), signed) == "algorithm_not_allowed"
    with pytest.raises(KeyUnfit):
        family_of(["HS256", "ES256"])
    with pytest.raises(KeyUnfit):
        read_secret("k", public_pem("RS256"), ["HS256"])


def test_3_2_use_appropriate_algorithms() -> None:
    """Only current algorithms of RFC 7518 and RFC 8037 exist; `none` cannot be declared; no key is too short."""
    for algorithm in ("none", "RS1", "HS1", "ES256K", "RSA1_5", "A128KW", "PBES2-HS256+A128KW"):
        with pytest.raises(KeyUnfit):
            family_of([algorithm])
    with pytest.raises(KeyUnfit):
        read_public_pem("k", public_pem("weak"), ["RS256"])


def test_3_3_validate_all_cryptographic_operations(tmp_path: Path, shared: Identity) -> None:
    """Every operation of a token is looked at: in a nested token the inner and the outer one."""
    good = token(claims())
    head, body, signature = good.split(".")
    for text in (f"{head}.{body}.", f"{head}.{body}.{signature[:40]}", f"{head}.{part(claims(jti='x'))}.{signature}"):
        assert refused(text, shared) == "bad_signature"
    jwe = pytest.importorskip("rls.identity.decrypt")
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "sealing").write_bytes(bytes(range(32)))
    text = f"""
issuers:
  - name: {ISSUER}
    audiences: [rls-warehouse]
    algorithms: [HS256]
    keys: [{{kid: k1, secret: {{file: secret}}}}]
    encryption: {{algorithm: dir, keys: [{{kid: e1, secret: {{file: sealing}}}}]}}
"""
    nested = load_identity(write_identity(tmp_path, text))
    (key,) = nested.issuers[ISSUER].encryption.values()
    header = {"alg": "dir", "kid": "e1", "cty": "JWT"}
    assert verify_token(jwe.encrypt(good.encode(), header, key), nested, now=NOW)
    assert refused(jwe.encrypt(f"{head}.{body}.AAAA".encode(), header, key), nested) == "bad_signature"
    outer = jwe.encrypt(good.encode(), header, key)
    assert refused(outer[:-8] + "AAAAAAAA", nested) in ("bad_encryption", "not_canonical")


def test_3_4_validate_cryptographic_inputs() -> None:
    """A point that is not on the curve (invalid curve attack) is no key; ECDH is not used at all."""
    for change in ({"x": part(bytes(32))}, {"y": part(bytes([255]) * 32)}, {"x": ""}, {"crv": "P-384"}):
        with pytest.raises(KeyUnfit):
            read_jwk_set(json.dumps({**jwk("ES256", kid="a"), **change}).encode(), ["ES256"])


def test_3_5_ensure_cryptographic_keys_have_sufficient_entropy() -> None:
    """A password is no secret: as long as the hash at least, and not a few characters repeated."""
    for secret in (b"", b"secret", b"correct horse battery staple", b"a" * 64, b"password" * 8):
        with pytest.raises(KeyUnfit):
            read_secret("k", secret, ["HS256"])
    with pytest.raises(KeyUnfit):
        read_secret("k", SECRET[:63], ["HS512"])


def test_3_6_avoid_compression_of_encryption_inputs(shared: Identity) -> None:
    """`zip` is refused wherever it stands (see the tests of encrypted tokens as well)."""
    assert refused(token(claims(), zip="DEF"), shared) == "header:zip"


def test_3_7_use_utf_8(shared: Identity) -> None:
    """Headers and claims are UTF-8 and nothing else."""
    body = json.dumps(claims(user__distinctId="søn"), ensure_ascii=False)
    assert verify_token(token(body.encode("utf-8")), shared, now=NOW).subject == "søn"
    for encoding in ("latin-1", "utf-16", "utf-16-le", "utf-32", "utf-8-sig"):
        assert refused(token(body.encode(encoding)), shared) == "not_json"


def test_3_8_validate_issuer_and_subject(tmp_path: Path, shared: Identity) -> None:
    """The key belongs to the issuer that the token names, and a token without a subject is nobody's."""
    assert refused(token(claims(iss="https://other.example")), shared) == "unknown_issuer"
    assert refused(token(claims(iss=None)), shared) == "unknown_issuer"
    assert refused(token(claims(user__distinctId=None)), shared) == "missing_claim:subject"
    (tmp_path / "a").write_bytes(SECRET)
    (tmp_path / "b").write_bytes(SECRET[::-1])
    one = "{{name: {0}, audiences: [rls-warehouse], algorithms: [HS256], keys: [{{kid: k1, secret: {{file: {0}}}}}]}}"
    two = load_identity(write_identity(tmp_path, f"issuers: [{one.format('a')}, {one.format('b')}]"))
    assert refused(token(claims(iss="b")), two) == "bad_signature"


@pytest.mark.parametrize("aud", ["other", ["other"], [], "", None, 1])
def test_3_9_use_and_validate_audience(shared: Identity, aud: Any) -> None:
    """A token for somebody else, or for nobody, is not for us. No issuer can be declared without audiences."""
    assert refused(token(claims(aud=aud)), shared) in ("wrong_audience", "missing_claim:aud", "claim:aud:type")


def test_3_9_an_issuer_has_audiences(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(SECRET)
    text = "issuers: [{name: a, algorithms: [HS256], keys: [{kid: k, secret: {file: a}}]}]"
    with pytest.raises(PolicyInvalid, match="audiences"):
        load_identity(write_identity(tmp_path, text))


def test_3_10_do_not_trust_received_claims(shared: Identity) -> None:
    """`kid` is looked up in a dictionary and nowhere else; keys, addresses of keys and certificates are refused."""
    for kid in ("../../dev/null", "k1' OR '1'='1", "http://evil.test/k", "k1\0"):
        assert refused(token(claims(), kid=kid), shared) == "unknown_key"
    for name in ("jku", "x5u", "jwk", "x5c"):
        assert refused(token(claims(), **{name: "https://evil.test/keys"}), shared) == f"header:{name}"


def test_3_11_use_explicit_typing(tmp_path: Path, shared: Identity) -> None:
    """A `typ` that is not the issuer's is another kind of token; an issuer that types its tokens always does."""
    for kind in ("secevent+jwt", "at+jwt", "logout+jwt"):
        assert refused(token(claims(), typ=kind), shared) == "header:typ"
    typed = identity_for(tmp_path, extra="    types: [rls+jwt]\n")
    assert verify_token(token(claims(), typ="application/rls+jwt"), typed, now=NOW)
    assert refused(token(claims(), typ="JWT"), typed) == "header:typ"
    assert refused(token(claims(), typ=None), typed) == "header:typ"
    minted = mint_token(typed, subject="u-1", attributes={"tenant": "acme"}, now=NOW)
    assert json.loads(base64.urlsafe_b64decode(minted.split(".")[0] + "=="))["typ"] == "rls+jwt"


def test_3_12_use_mutually_exclusive_validation_rules(tmp_path: Path, shared: Identity, signed: Identity) -> None:
    """Kinds of tokens are told apart by issuer, key, audience, type and the claims they must have, not by one of them."""
    assert refused(token(claims()), signed) == "algorithm_not_allowed"
    assert refused(asymmetric_token("ES256", claims()), shared) == "algorithm_not_allowed"
    # An ID token of OpenID Connect: other audience, no attributes where ours are.
    identifying = {**claims(user=None), "sub": "u-1", "nonce": "n", "at_hash": "h"}
    assert refused(token(identifying), shared) == "missing_claim:subject"
    assert refused(token({**identifying, "aud": "client-1"}), shared) == "wrong_audience"


def test_2_the_attacks_that_it_lists_have_a_test_here() -> None:
    """Section 2's threats, by the test that answers each."""
    answered = {
        "2.1 weak signatures": "test_3_1_perform_algorithm_verification",
        "2.2 weak symmetric keys": "test_3_5_ensure_cryptographic_keys_have_sufficient_entropy",
        "2.3 composition of encryption and signature": "test_3_3_validate_all_cryptographic_operations",
        "2.4 plaintext leakage through the length of ciphertext": "test_3_6_avoid_compression_of_encryption_inputs",
        "2.5 insecure use of elliptic curves": "test_3_4_validate_cryptographic_inputs",
        "2.6 several JSON encodings": "test_3_7_use_utf_8",
        "2.7 substitution": "test_3_8_validate_issuer_and_subject",
        "2.8 cross-JWT confusion": "test_3_12_use_mutually_exclusive_validation_rules",
        "2.9 indirect attacks on the server": "test_3_10_do_not_trust_received_claims",
    }
    assert all(callable(globals()[name]) for name in answered.values())


def test_private_keys_do_not_stand_where_public_ones_belong() -> None:
    with pytest.raises(KeyUnfit):
        read_public_pem("k", private_pem("ES256"), ["ES256"])
