"""Hostile tokens, envelopes, key sets and attribute patterns: what each must become, and nothing else may happen."""

from __future__ import annotations

import base64
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from rls.errors import PolicyInvalid, TokenRejected
from rls.identity import Identity, inspect_token, load_identity, verify_token
from rls.identity.key_sets import read_published_set
from rls.identity.keys import KeyUnfit, read_jwk_set
from rls.identity.patterns import MOST_WAYS, why_unusable
from tests.identity.hostile_tokens import judge
from tests.identity.kit import (
    NOW,
    SECRET,
    asymmetric_token,
    claims,
    identity_for,
    jwk,
    part,
    private_key,
    public_pem,
    token,
    write_identity,
)
from tests.identity.test_jwe import KEY, OTHER, identity_of, reason


def test_a_second_reading_agrees_on_hostile_tokens(tmp_path: Path) -> None:
    """More: `python -m tests.identity.hostile_tokens --tokens 100000 --seed 7`."""
    wrong, outcomes = judge(identity_for(tmp_path), 4_000, seed=6)
    assert wrong == []
    assert outcomes["accepted"] > 300
    assert len(outcomes) > 12, "of every kind some"


# --- envelopes --------------------------------------------------------------------------------------------------------

BODY = json.dumps(claims()).encode()
HEADER = {"alg": "dir", "enc": "A256GCM", "kid": "e1"}


def sealed(
    header: dict[str, Any] | bytes = HEADER,
    body: bytes = BODY,
    *,
    key: bytes = KEY,
    wrapped: bytes = b"",
    nonce: int = 12,
    tag: int = 16,
    over: bytes | None = None,
) -> str:
    """A JWE made by hand, wrong in one point."""
    head = part(header)
    iv = os.urandom(nonce)
    text = AESGCM(key).encrypt(iv, body, head.encode() if over is None else over)
    return ".".join((head, part(wrapped), part(iv), part(text[:-16]), part((text[-16:] + b"\0")[:tag])))


SEALED: dict[str, tuple[Any, str]] = {
    **{f"tag of {n} bytes": (lambda n=n: sealed(tag=n), "bad_encryption") for n in (1, 4, 8, 12, 15, 17)},
    "no tag": (lambda: sealed(tag=0), "malformed"),
    **{f"nonce of {n} bytes": (lambda n=n: sealed(nonce=n), "bad_encryption") for n in (8, 11, 13, 16, 64)},
    "a wrapped key where there is none": (lambda: sealed(wrapped=b"x" * 40), "bad_encryption"),
    "another header than it was sealed with": (lambda: sealed(over=part({**HEADER, "x": 1}).encode()), "bad_encryption"),
    "another key": (lambda: sealed(key=OTHER), "bad_encryption"),
    "a list inside": (lambda: sealed(body=b"[]"), "not_json"),
    "a signed token inside": (lambda: sealed(body=token(claims()).encode()), "not_json"),
    "a member twice inside": (lambda: sealed(body=BODY.replace(b'"jti"', b'"iat"')), "duplicate_member"),
    "a member of the header twice": (
        lambda: sealed(b'{"alg":"dir","\\u0061lg":"none","enc":"A256GCM","kid":"e1"}'), "duplicate_member"),
    "no issuer inside": (lambda: sealed(body=json.dumps(claims(iss=None)).encode()), "issuer_changed"),
    "another issuer inside": (lambda: sealed(body=json.dumps(claims(iss="x")).encode()), "issuer_changed"),
    **{f"kid {kid!r}": (lambda kid=kid: sealed({**HEADER, "kid": kid}), "unknown_key")
       for kid in ("", "E1", 1, None, True, ["e1"], {"e1": 1})},
    **{f"alg {alg!r}": (lambda alg=alg: sealed({**HEADER, "alg": alg}), "algorithm_not_allowed")
       for alg in ("A256KW", "none", "DIR", "", None, ["dir"], "PBES2-HS256+A128KW", "ECDH-ES", "RSA-OAEP")},
    **{f"enc {enc!r}": (lambda enc=enc: sealed({**HEADER, "enc": enc}), "algorithm_not_allowed")
       for enc in ("A128GCM", "a256gcm", "none", None, ["A256GCM"])},
    **{f"header {name} as {value!r}": (lambda n=name, v=value: sealed({**HEADER, n: v}), f"header:{name}")
       for name, value in (("zip", "DEF"), ("zip", None), ("crit", []), ("b64", False), ("jku", "x"), ("typ", "x"))},
    # RFC 7519 section 5.3: claims that are repeated in the header must be those inside.
    "another audience in the header": (lambda: sealed({**HEADER, "aud": "x"}), "header:aud"),
    "another end in the header": (lambda: sealed({**HEADER, "exp": float(NOW + 300)}), "header:exp"),
    "a claim in the header that is not inside": (lambda: sealed({**HEADER, "nbf": NOW}), "header:nbf"),
    "padding": (lambda: sealed() + "=", "malformed"),
    "a sixth part": (lambda: sealed() + ".AA", "malformed"),
    "the key of the encryption as a secret": (lambda: token(claims(), key=KEY, kid="e1"), "not_encrypted"),
}  # fmt: skip


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity_of(tmp_path_factory.mktemp("dir"))


@pytest.mark.parametrize("name", SEALED)
def test_encrypted_tokens_made_by_hand(direct: Identity, name: str) -> None:
    make, want = SEALED[name]
    assert reason(make(), direct) == want


def test_what_the_header_of_an_encrypted_token_may_repeat(direct: Identity) -> None:
    header = {**HEADER, "iss": claims()["iss"], "aud": "rls-warehouse", "exp": NOW + 300, "apu": "x", "p2c": 10**9}
    assert verify_token(sealed(header), direct, now=NOW).subject == "u-1"


def test_wrapped_keys_made_by_hand(tmp_path: Path) -> None:
    wrapping = identity_of(tmp_path, "A256KW")
    header, inner = {**HEADER, "alg": "A256KW"}, bytes(range(5, 37))
    good = aes_key_wrap(KEY, inner)
    assert verify_token(sealed(header, key=inner, wrapped=good), wrapping, now=NOW).subject == "u-1"
    for key, wrapped in (
        (inner[:16], aes_key_wrap(KEY, inner[:16])),
        (inner[:24], aes_key_wrap(KEY, inner[:24])),
        (inner, aes_key_wrap(OTHER, inner)),
        (inner, good + bytes(8)),
        (inner, good[:-1]),
        (KEY, b""),
    ):
        assert reason(sealed(header, key=key, wrapped=wrapped), wrapping) == "bad_encryption"
    assert reason(sealed(), wrapping) == "algorithm_not_allowed"


def resigned(text: str, signature: bytes, **header: Any) -> str:
    head, body, _ = text.split(".")
    return f"{part({'alg': 'ES256', 'typ': 'JWT', 'kid': 'k1', **header}) if header else head}.{body}.{part(signature)}"


def test_elliptic_signatures_made_by_hand(tmp_path: Path) -> None:
    identity = identity_for(tmp_path, "ES256")
    good = asymmetric_token("ES256", claims())
    raw = base64.urlsafe_b64decode(good.split(".")[2] + "==")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    bad = [encode_dss_signature(r, s), raw + b"\0", raw[:63], raw * 2]
    for a, b in ((0, 0), (order, order), (0, 1), (1, 0), (r, 0), ((r + order) % (1 << 256), s)):
        bad.append(a.to_bytes(32, "big") + b.to_bytes(32, "big"))
    for signature in bad:
        assert reason(resigned(good, signature), identity) == "bad_signature"
    for algorithm in ("ES384", "ES256K", "es256", "HS256", "none"):
        assert reason(resigned(good, raw, alg=algorithm), identity) == "algorithm_not_allowed"


def test_edwards_signatures_made_by_hand(tmp_path: Path) -> None:
    identity = identity_for(tmp_path, "EdDSA")
    good = asymmetric_token("EdDSA", claims())
    raw = base64.urlsafe_b64decode(good.split(".")[2] + "==")
    order = 2**252 + 27742317777372353535851937790883648493
    larger = (int.from_bytes(raw[32:], "little") + order).to_bytes(32, "little")
    for signature in (raw[:32] + larger, bytes(64), bytes([1]) + bytes(63), raw[:63]):
        assert reason(resigned(good, signature), identity) == "bad_signature"


def test_padded_signatures_made_by_hand(tmp_path: Path) -> None:
    """PS256 has salts of 32 bytes and one hash (RFC 7518 section 3.5)."""
    identity = identity_for(tmp_path, "PS256")
    signed = f"{part({'alg': 'PS256', 'typ': 'JWT', 'kid': 'k1'})}.{part(claims())}"
    for hash_, salt, fits in (
        (hashes.SHA256(), 32, True),
        (hashes.SHA256(), 0, False),
        (hashes.SHA256(), 64, False),
        (hashes.SHA512(), 32, False),
    ):
        signature = private_key("PS256").sign(signed.encode(), padding.PSS(padding.MGF1(hash_), salt), hash_)
        text = f"{signed}.{part(signature)}"
        if fits:
            assert verify_token(text, identity, now=NOW).subject == "u-1"
        else:
            assert reason(text, identity) == "bad_signature"


# --- issuers ----------------------------------------------------------------------------------------------------------

OTHER_SECRET, SEALING, OTHER_SEALING = SECRET[::-1], bytes(range(70, 102)), bytes(range(120, 152))
ISSUERS = """
issuers:
  - {name: hs, audiences: [a], algorithms: [HS256], keys: [{kid: k1, secret: {file: one}}], claims: {preset: cube}}
  - {name: es, audiences: [a], algorithms: [ES256], keys: [{kid: k1, file: es.pem}], claims: {preset: cube}}
  - {name: rs, audiences: [a], algorithms: [RS256], keys: [{kid: k1, file: rs.pem}], claims: {preset: cube}}
  - name: sealed
    audiences: [a]
    encryption: {algorithm: dir, keys: [{kid: e1, secret: {file: sealing}}]}
    claims: {preset: cube}
  - name: nested
    audiences: [a]
    algorithms: [HS256]
    keys: [{kid: k1, secret: {file: two}}]
    encryption: {algorithm: dir, keys: [{kid: e2, secret: {file: other}}]}
    claims: {preset: cube}
  - {name: guest, audiences: [a], algorithms: [HS256], keys: [{kid: k1, secret: {file: two}}], claims: {preset: superset}}
attributes: {tenant: {type: string}}
"""


def _nested(text: str) -> str:
    return sealed({**HEADER, "kid": "e2", "cty": "JWT"}, text.encode(), key=OTHER_SEALING)


def _plain(body: dict[str, Any], kid: str, key: bytes) -> str:
    return sealed({**HEADER, "kid": kid}, json.dumps(body).encode(), key=key)


def _unsigned(body: dict[str, Any]) -> str:
    return f"{part({'alg': 'none'})}.{part(body)}."


ENVELOPES: dict[str, Any] = {
    "HS256, one": token,
    "HS256, two": lambda body: token(body, key=OTHER_SECRET),
    "ES256": lambda body: asymmetric_token("ES256", body),
    "RS256": lambda body: asymmetric_token("RS256", body),
    "HS256 by a public key": lambda body: token(body, key=public_pem("RS256")),
    "HS256 by another public key": lambda body: token(body, key=public_pem("ES256")),
    "HS256 by the sealing key": lambda body: token(body, key=SEALING),
    "unsigned": _unsigned,
    "sealed": lambda body: _plain(body, "e1", SEALING),
    "sealed for the nested": lambda body: _plain(body, "e2", OTHER_SEALING),
    "sealed with a secret": lambda body: _plain(body, "e1", SECRET[:32]),
    "nested, one": lambda body: _nested(token(body)),
    "nested, two": lambda body: _nested(token(body, key=OTHER_SECRET)),
    "nested, ES256": lambda body: _nested(asymmetric_token("ES256", body)),
    "nested, unsigned": lambda body: _nested(_unsigned(body)),
    "nested, sealed again": lambda body: _nested(_plain(body, "e1", SEALING)),
}
ACCEPTED = {
    ("hs", "HS256, one"), ("es", "ES256"), ("rs", "RS256"), ("sealed", "sealed"), ("nested", "nested, two"),
    ("guest", "HS256, two"), (None, "HS256, two"),
}  # fmt: skip


def test_every_issuer_has_one_envelope(tmp_path: Path) -> None:
    """Each issuer's name in the claims, in each envelope that any of them has or an attacker makes of their keys."""
    files = {"one": SECRET, "two": OTHER_SECRET, "sealing": SEALING, "other": OTHER_SEALING}
    for name, content in {**files, "es.pem": public_pem("ES256"), "rs.pem": public_pem("RS256")}.items():
        (tmp_path / name).write_bytes(content)
    identity = load_identity(write_identity(tmp_path, ISSUERS))
    for issuer in ("hs", "es", "rs", "sealed", "nested", "guest", "nobody", None):
        body = {"aud": "a", "iat": NOW, "exp": NOW + 300, "sub": "u", "type": "guest", "user": {"username": "u"}}
        body |= {"iss": issuer} if issuer else {}
        for name, envelope in ENVELOPES.items():
            text = envelope(body)
            try:
                found = verify_token(text, identity, now=NOW).issuer
            except TokenRejected:
                found = ""
            assert found == ((issuer or "guest") if (issuer, name) in ACCEPTED else ""), (issuer, name)
            assert inspect_token(text, identity, now=NOW).accepted is bool(found)


# --- key sets ---------------------------------------------------------------------------------------------------------

ODD: tuple[Any, ...] = (
    None, True, 0, 1, -1, 1.5, "", " ", "x", "A" * 10, "A" * 30_000, "=", "AA==", "AQAB", "AQ", "\0", "\ud800", [], {},
    ["sig"], ["verify"], ["encrypt"], [1], {"a": 1}, "oct", "RSA", "EC", "OKP", "P-256", "P-384", "secp256k1", "Ed448",
    "enc", "sig", "none", "HS256", "RS256", "ES256", "EdDSA", "k0", "k1",
)  # fmt: skip
MEMBERS = ("kty", "kid", "use", "alg", "key_ops", "n", "e", "x", "y", "crv", "d", "p", "k", "x5c", "keys")


def test_hostile_key_sets(tmp_path: Path) -> None:
    """Whatever a server sends: keys that are strong, public and for these algorithms, or a refusal, and soon."""
    source = random.Random(6)
    good = [jwk(kind, kid=f"k{n}", use="sig", alg=kind) for n, kind in enumerate(("RS256", "ES256", "EdDSA", "ES384"))]
    found = 0
    for _ in range(400):
        members: list[Any] = [dict(each) for each in source.sample(good, source.randint(1, 4))]
        for _ in range(source.randint(1, 4)):
            source.choice([m for m in members if isinstance(m, dict)])[source.choice(MEMBERS)] = source.choice(ODD)
            if source.random() < 0.2:
                members.append(source.choice((1, None, [], {}, {"kty": "RSA"}, dict(good[0]))))
        document = source.choice(
            ({"keys": members}, {"keys": members}, members, members[0], {"keys": {"keys": members}})
        )
        raw = json.dumps(document).encode()
        for algorithms in (("RS256",), ("ES256", "ES384"), ("EdDSA",)):
            for read in (lambda *a: list(read_published_set(*a).values()), read_jwk_set):
                started = time.process_time()
                try:
                    keys = read(raw, algorithms)
                except KeyUnfit as error:
                    assert "\n" not in str(error)
                    continue
                assert time.process_time() - started < 1
                for key in keys:
                    found += 1
                    assert type(key.kid) is str
                    assert key.algorithms <= set(algorithms)
                    assert type(key.material).__name__.endswith("PublicKey")
    assert found > 200


# --- patterns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+b",
        r"(\w+\s?)*",
        "(?:foo|bar)+",
        ".*.*.*.*x",
        "(a{1,65535}){1,65535}",
        "(?=(a+)+b)a",
        "(a|aa)+$",
        "((a?)*)*",
    ],
)
def test_a_pattern_that_a_value_can_keep_busy_is_refused(tmp_path: Path, pattern: str) -> None:
    """`(a+)+b` and thirty letters a held the whole process for minutes: a user who may choose a name stops everybody."""
    assert why_unusable(pattern, max_length=256) == "can be matched in too many ways"
    with pytest.raises(PolicyInvalid, match="too many ways") as caught:
        _with_pattern(tmp_path, pattern)
    assert caught.value.code == "policy.attribute"


@pytest.mark.parametrize(
    "pattern",
    ["[A-Z]{3}", r"\w+@\w+", "(?:foo|bar){1,5}", ".*.*", "(?>a+)b", "(?i:[a-z]+)", "(?P<x>a)(?P=x)", "[^/]*", ""],
)
def test_patterns_that_are_fine(pattern: str) -> None:
    assert why_unusable(pattern, max_length=256) is None


@pytest.mark.parametrize("pattern", ["(", "[", "a{99999999999}", "(?P<x", "[[a]", "*", "\\"])
def test_what_is_no_pattern(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(PolicyInvalid, match="is not a regular expression"):
        _with_pattern(tmp_path, pattern)


def test_the_ways_of_a_pattern_are_not_counted_too_low() -> None:
    """As many as there are of `a?` in a row, by the letter."""
    assert why_unusable("a?" * 21, max_length=256) is None
    assert why_unusable("a?" * 22, max_length=256) is not None
    assert MOST_WAYS == 2**21
    assert why_unusable("a{0,9}" * 6, max_length=256) is None
    assert why_unusable("a{0,9}" * 7, max_length=256) is not None
    assert why_unusable(r"\w+@\w+\.\w+", max_length=120) is None
    assert why_unusable(r"\w+@\w+\.\w+", max_length=256) is not None


def _with_pattern(folder: Path, pattern: str) -> Identity:
    (folder / "secret").write_bytes(SECRET)
    text = json.dumps(pattern)
    identity_for(folder)
    file = folder / "identity.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace('"[A-Z]{3}"', text), encoding="utf-8")
    return load_identity(folder)
