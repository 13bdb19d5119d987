"""Tokens: every case made by hand, each naming what it is from. The attacker's cases are really signed where that is
what makes them dangerous."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from rls.errors import TokenRejected
from rls.identity import Identity, load_identity, verify_token
from tests.identity.kit import (
    ISSUER,
    NOW,
    SECRET,
    asymmetric_token,
    claims,
    identity_for,
    part,
    private_key,
    public_pem,
    token,
    with_attributes,
    write_identity,
)


@pytest.fixture(scope="module")
def identity(tmp_path_factory) -> Identity:
    return identity_for(tmp_path_factory.mktemp("hs"))


@pytest.fixture(scope="module")
def rsa_identity(tmp_path_factory) -> Identity:
    return identity_for(tmp_path_factory.mktemp("rs"), "RS256")


def reason(text: object, identity: Identity, now: float = NOW) -> str:
    with pytest.raises(TokenRejected) as caught:
        verify_token(text, identity, now=now)
    # Invariant (private): the public message is the same whatever was wrong.
    assert str(caught.value) == "token rejected; ask the issuer for a new one"
    assert caught.value.to_dict().keys() == {"code", "message", "hint"}
    return caught.value.reason


def test_principal_of_a_good_token(identity: Identity) -> None:
    body = with_attributes(
        regions=["EMEA", "APAC"],
        clearance=3,
        credit="12.50",
        internal=False,
        valid_from="2026-01-01",
        seen="2026-01-01T10:00:00Z",
        plan="pro",
        code="ABC",
        levels=[],
        clearence=4,
    )
    body["user"]["role"] = ["explorer", "maker", "root"]
    principal = verify_token(token(body), identity, now=NOW)
    assert (principal.subject, principal.roles) == ("u-1", {"explorer", "maker"})
    assert dict(principal.attributes) == {
        "tenant": "acme",
        "regions": ("EMEA", "APAC"),
        "clearance": 3,
        "credit": Decimal("12.5"),
        "internal": False,
        "valid_from": date(2026, 1, 1),
        "seen": datetime(2026, 1, 1, 10),
        "plan": "pro",
        "code": "ABC",
        "levels": (),
    }
    assert (principal.issuer, principal.token_id, principal.expires_at) == (ISSUER, "t-1", NOW + 300)
    assert principal.assurance == "token"
    assert principal.warnings == (
        "role `root` is not declared, dropped",
        "attribute `clearence` is not declared, dropped",
    )


@pytest.mark.parametrize(
    "algorithm",
    ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"],
)  # fmt: skip
def test_every_algorithm(tmp_path: Path, algorithm: str) -> None:
    """RFC 7518 section 3.1, RFC 8037, RFC 9864."""
    identity = identity_for(tmp_path, algorithm)
    if algorithm.startswith("HS"):
        head = {"alg": algorithm, "kid": "k1"}
        signed = f"{part(head)}.{part(claims())}"
        digest = getattr(hashlib, f"sha{algorithm[2:]}")
        good = f"{signed}.{part(hmac.new(SECRET, signed.encode(), digest).digest())}"
    else:
        good = asymmetric_token(algorithm, claims())
    assert verify_token(good, identity, now=NOW).subject == "u-1"
    signed, _, signature = good.rpartition(".")
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    raw[-1] ^= 1
    assert reason(f"{signed}.{part(bytes(raw))}", identity) == "bad_signature"
    assert reason(f"{signed}.{part(bytes(len(raw)))}", identity) == "bad_signature"  # CVE-2022-21449: all zeros
    assert reason(f"{signed}.", identity) == "bad_signature"
    head, _, _ = good.split(".")
    assert reason(f"{head}.{part(with_attributes(tenant='other'))}.{signature}", identity) == "bad_signature"


@pytest.mark.parametrize(
    ("header", "want"),
    [
        # RFC 8725 section 3.1 and 2.1, CVE-2015-2951: the token does not choose its algorithm.
        *[({"alg": alg}, "algorithm_not_allowed") for alg in ("none", "None", "nOnE", "", "HS384", "RS256", "hs256", "HS256 ", "A128KW")],
        *[({"alg": alg}, "algorithm_not_allowed") for alg in (None, 1, True, ["HS256"], {"HS256": 1})],
        # RFC 8725 sections 3.5 and 3.10, CVE-2018-0114, RFC 7515 section 4.1: keys and their addresses in the header.
        *[({name: value}, f"header:{name}") for name, value in
          (("jku", "https://evil.test/k"), ("jwk", {"kty": "oct", "k": "AA"}), ("x5u", "https://evil.test/c"), ("x5c", ["AAAA"]))],
        *[({name: ""}, f"header:{name}") for name in ("jku", "jwk", "x5u", "x5c")],
        # RFC 7515 section 4.1.11, RFC 7797, RFC 8725 section 3.6 and 2.4.
        ({"crit": ["x-demo"], "x-demo": True}, "header:crit"),
        ({"crit": []}, "header:crit"),
        ({"crit": ["b64"], "b64": False}, "header:b64"),
        ({"b64": False}, "header:b64"),
        ({"zip": "DEF"}, "header:zip"),
        ({"enc": "A256GCM"}, "header:enc"),
        # RFC 8725 section 3.11: explicit types.
        *[({"typ": typ}, "header:typ") for typ in ("at+jwt", "secevent+jwt", "JWE", "", " JWT", 1, True, ["JWT"])],
        ({"cty": "JWT"}, "header:cty"),
        ({"cty": 1}, "header:cty"),
        # Key ids, PortSwigger's list of injections.
        *[({"kid": kid}, "unknown_key") for kid in ("", "K1", "k1 ", "k2", "k1' UNION SELECT 'x", "../../dev/null", "file:///etc/passwd", "k1\0")],
        *[({"kid": kid}, "header:kid") for kid in (1, True, ["k1"], {"k1": 1})],
    ],
)  # fmt: skip
def test_headers_that_are_refused(identity: Identity, header: dict[str, Any], want: str) -> None:
    assert reason(token(claims(), **header), identity) == want


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "HS256"},  # one key: no `kid` needed; no `typ` is a JWT
        {"alg": "HS256", "kid": "k1", "typ": "jwt"},  # media types have no case (RFC 2045 section 5.1)
        {"alg": "HS256", "kid": "k1", "typ": "application/JWT"},  # RFC 7515 section 4.1.9
        {"alg": "HS256", "kid": "k1", "x5t": "AAAA", "foo": {"bar": 1}},  # RFC 7515 section 4: ignored
    ],
)
def test_headers_that_are_fine(identity: Identity, header: dict[str, Any]) -> None:
    assert verify_token(token(claims(), header), identity, now=NOW).subject == "u-1"


def test_null_in_the_header_is_not_absence(identity: Identity) -> None:
    for name, want in (
        ("kid", "header:kid"),
        ("typ", "header:typ"),
        ("crit", "header:crit"),
        ("alg", "algorithm_not_allowed"),
    ):
        raw = json.dumps({"alg": "HS256", "kid": "k1", name: None}).encode()
        assert reason(token(claims(), raw), identity) == want


def test_public_key_is_no_secret(rsa_identity: Identity) -> None:
    """CVE-2016-10555, CVE-2022-29217: HS256 keyed with the public key that everybody has."""
    pem = public_pem("RS256")
    for key in (pem, pem.strip(), pem.replace(b"\n", b"\r\n"), b"", b"secret"):
        assert reason(token(claims(), key=key), rsa_identity) == "algorithm_not_allowed"


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256"])
def test_right_key_wrong_algorithm(rsa_identity: Identity, algorithm: str) -> None:
    """RFC 8725 section 3.1: each key is used with exactly the declared algorithms."""
    text = asymmetric_token(algorithm, claims(), kind="RS256")
    assert reason(text, rsa_identity) == "algorithm_not_allowed"


def test_key_set_narrows_the_algorithm(tmp_path: Path) -> None:
    """A key whose JWK says RS512 is not used with RS256 although the issuer may use both."""
    from jwt.algorithms import RSAAlgorithm

    jwk = RSAAlgorithm.to_jwk(private_key("RS256").public_key(), as_dict=True)
    member = {**jwk, "kid": "k1", "alg": "RS512"}
    (tmp_path / "set.json").write_text(json.dumps({"keys": [member]}))
    text = f"""
issuers:
  - {{name: "{ISSUER}", audiences: [rls-warehouse], algorithms: [RS256, RS512], keys: [{{jwks: {{file: set.json}}}}]}}
"""
    identity = load_identity(write_identity(tmp_path, text))
    assert verify_token(asymmetric_token("RS512", claims(), kind="RS256"), identity, now=NOW)
    assert reason(asymmetric_token("RS256", claims()), identity) == "algorithm_not_allowed"


def test_other_key_same_kid(rsa_identity: Identity) -> None:
    assert verify_token(asymmetric_token("RS256", claims()), rsa_identity, now=NOW)
    assert reason(asymmetric_token("RS256", claims(), kind="other"), rsa_identity) == "bad_signature"


def test_several_keys_need_a_kid(tmp_path: Path) -> None:
    (tmp_path / "second").write_bytes(SECRET[::-1])
    identity = identity_for(tmp_path, more=", {kid: k2, secret: {file: second}}")
    assert verify_token(token(claims()), identity, now=NOW)
    assert verify_token(token(claims(), kid="k2", key=SECRET[::-1]), identity, now=NOW)
    assert reason(token(claims(), kid=None), identity) == "missing_key_id"
    assert reason(token(claims(), kid="k2"), identity) == "bad_signature"


def test_an_issuer_speaks_for_itself_only(tmp_path: Path) -> None:
    """RFC 8725 section 3.8: the key must belong to the issuer that the token names."""
    (tmp_path / "a").write_bytes(SECRET)
    (tmp_path / "b").write_bytes(SECRET[::-1])
    one = "{{name: {0}, audiences: [rls-warehouse], algorithms: [HS256], keys: [{{kid: k1, secret: {{file: {0}}}}}]}}"
    text = f"issuers: [{one.format('a')}, {one.format('b')}]"
    identity = load_identity(write_identity(tmp_path, text))
    assert verify_token(token(claims(iss="a")), identity, now=NOW).issuer == "a"
    assert verify_token(token(claims(iss="b"), key=SECRET[::-1]), identity, now=NOW).issuer == "b"
    assert reason(token(claims(iss="b")), identity) == "bad_signature"


@pytest.mark.parametrize(
    ("changes", "want"),
    [
        # RFC 8725 section 3.8, CVE-2024-53861 (a part of the name matched).
        *[({"iss": iss}, "unknown_issuer") for iss in
          (None, "", "https://app", "https://app.example/", "https://APP.example", "https://app.example\0", 1, True, [ISSUER], {ISSUER: 1})],
        # RFC 8725 section 3.9.
        ({"aud": None}, "missing_claim:aud"),
        *[({"aud": aud}, "wrong_audience") for aud in ("", "rls", "rls-warehouse2", "RLS-WAREHOUSE", "rls-warehouse ", [], ["other"])],
        *[({"aud": aud}, "claim:aud:type") for aud in (1, True, {"rls-warehouse": 1}, ["rls-warehouse", 5], [["rls-warehouse"]], ["rls-warehouse", False])],
        # RFC 7519 section 4.1.4 to 4.1.6; RFC 8725 asks for expiry in every profile.
        ({"exp": None}, "missing_claim:exp"),
        ({"iat": None}, "missing_claim:iat"),
        *[({"exp": exp}, "claim:exp:type") for exp in (str(NOW + 300), NOW + 300.0, NOW + 0.5, True, [NOW + 300], {}, "never", 1e300)],
        *[({"iat": iat}, "claim:iat:type") for iat in (str(NOW), float(NOW), False, [])],
        *[({"nbf": nbf}, "claim:nbf:type") for nbf in (str(NOW), float(NOW), False, [])],
        ({"exp": NOW - 10}, "expired"),
        ({"exp": 0}, "expired"),
        ({"exp": -1}, "claim:exp:negative"),
        ({"exp": NOW + 3601}, "lifetime_too_long"),
        ({"exp": 10**15}, "lifetime_too_long"),
        ({"exp": 10**60}, "lifetime_too_long"),
        ({"iat": 0}, "lifetime_too_long"),
        ({"iat": NOW + 11, "exp": NOW + 300}, "issued_in_future"),
        ({"iat": NOW + 5, "exp": NOW + 5}, "lifetime_not_positive"),
        ({"iat": NOW + 5, "exp": NOW + 4}, "lifetime_not_positive"),
        ({"nbf": NOW + 11}, "not_yet_valid"),
        # Texts that go into logs and caches.
        *[({"jti": jti}, "claim:jti:type") for jti in (1, True, ["a"], {})],
        ({"jti": ""}, "claim:jti:blank"),
        ({"jti": "j" * 256}, "claim:jti:too_long"),
        ({"jti": "a\nb"}, "claim:jti:character"),
        ({"sub": 1}, "claim:sub:type"),
        # The claim map.
        ({"user__distinctId": None}, "missing_claim:subject"),
        *[({"user__distinctId": value}, "claim:subject:type") for value in (1, True, ["u-1"], {"id": "u-1"}, 1.5)],
        ({"user__distinctId": ""}, "claim:subject:blank"),
        ({"user__distinctId": "\u00a0"}, "claim:subject:blank"),
        ({"user__distinctId": "u" * 256}, "claim:subject:too_long"),
        *[({"user__distinctId": f"u{c}1"}, "claim:subject:character") for c in "\0\n\x1b\x7f\x85"],
        *[({"user": value}, "missing_claim:subject") for value in (None, "u-1", ["u-1"], 1, {})],
        *[({"user__role": value}, "claim:roles:type") for value in (1, True, {"admin": True}, ["explorer", 1], [["admin"]], [None])],
        ({"user__role": ["r"] * 101}, "claim:roles:too_many"),
        *[({"user__attributes": value}, "claim:attributes:type") for value in ([], "tenant=acme", 1, True, ["tenant"])],
        ({"user__attributes": None}, "attribute:tenant:missing"),
        ({"user__attributes": {}}, "attribute:tenant:missing"),
    ],
)  # fmt: skip
def test_claims_that_are_refused(identity: Identity, changes: dict[str, Any], want: str) -> None:
    assert reason(token(claims(**changes)), identity) == want


@pytest.mark.parametrize(
    ("attributes", "want"),
    [
        *[
            ({"tenant": value}, "attribute:tenant:type")
            for value in (True, 0, 1.5, {"tenant": "acme"}, ["acme"], ["acme", "globex"], [])
        ],
        ({"tenant": ""}, "attribute:tenant:blank"),
        ({"tenant": " "}, "attribute:tenant:blank"),
        ({"tenant": "a" * 65}, "attribute:tenant:too_long"),
        ({"tenant": "acme\0"}, "attribute:tenant:character"),
        *[({"regions": value}, "attribute:regions:type") for value in ("EMEA", {"EMEA": 1}, [1], [["EMEA"]], True)],
        ({"regions": [None]}, "attribute:regions:null"),
        ({"regions": ["a"] * 6}, "attribute:regions:too_many"),
        *[({"clearance": value}, "attribute:clearance:type") for value in ("1", 1.0, True, [1])],
        ({"clearance": 2**63}, "attribute:clearance:range"),
        ({"credit": "1.001"}, "attribute:credit:scale"),
        ({"credit": 1e300}, "attribute:credit:range"),
        ({"internal": 1}, "attribute:internal:type"),
        ({"valid_from": NOW}, "attribute:valid_from:type"),
        ({"valid_from": "2026-13-01"}, "attribute:valid_from:range"),
        ({"plan": "gold"}, "attribute:plan:enum"),
        ({"code": "abc"}, "attribute:code:pattern"),
    ],
)
def test_attributes_that_are_refused(identity: Identity, attributes: dict[str, Any], want: str) -> None:
    assert reason(token(with_attributes(**attributes)), identity) == want


def test_null_required_attribute_is_missing(identity: Identity) -> None:
    assert reason(token(with_attributes(tenant=None)), identity) == "attribute:tenant:missing"


def test_json_number_with_a_fraction_is_exact(identity: Identity) -> None:
    raw = json.dumps(with_attributes(credit="@")).replace('"@"', "12345678.90").encode()
    assert verify_token(token(raw), identity, now=NOW).attributes["credit"] == Decimal("12345678.9")


@pytest.mark.parametrize(
    ("role", "want"),
    [
        ("explorer", {"explorer"}),
        (["explorer", "admin"], {"explorer", "admin"}),
        ("explorer,admin", set()),  # never split
        ("Admin", set()),
        (["*"], set()),
        ([], set()),
        (None, set()),
    ],
)
def test_roles(identity: Identity, role: object, want: set[str]) -> None:
    assert verify_token(token(claims(user__role=role)), identity, now=NOW).roles == want


def test_extra_claims_mean_nothing(identity: Identity) -> None:
    """RFC 7519 section 4: claims that are not understood are ignored; none widens what may be seen."""
    extra = claims(
        admin=True, rls_disabled=True, policy="none", roles=["admin"], tenant="globex", rls=[{"clause": "1=1"}]
    )
    extra["user"]["roles"] = ["admin"]
    plain = verify_token(token(claims()), identity, now=NOW)
    assert verify_token(token(extra), identity, now=NOW) == plain


def test_clock_and_leeway(identity: Identity) -> None:
    good = token(claims(nbf=NOW))
    for now in (NOW - 10, NOW, NOW + 300, NOW + 309.9):
        assert verify_token(good, identity, now=now)
    assert reason(good, identity, NOW + 310) == "expired"
    assert reason(good, identity, NOW - 10.1) == "not_yet_valid"
    assert reason(good, identity, math.nan) == "expired"
    assert reason(good, identity, math.inf) == "expired"


def test_limits_of_an_issuer(tmp_path: Path) -> None:
    lines = "    max_lifetime: 7200\n    max_age: 60\n    leeway: 0\n    types: [at+jwt]\n    max_bytes: 400\n"
    identity = identity_for(tmp_path, extra=lines)
    good = token(claims(exp=NOW + 7200), typ="at+jwt")
    assert verify_token(good, identity, now=NOW)
    assert reason(good, identity, NOW + 60) == "too_old"
    assert reason(token(claims(exp=NOW + 7201), typ="at+jwt"), identity) == "lifetime_too_long"
    assert reason(token(claims()), identity) == "header:typ"
    # An issuer that types its tokens always does (RFC 8725 section 3.11).
    assert reason(token(claims(), typ=None), identity) == "header:typ"
    assert reason(token(claims(pad="x" * 200), typ="at+jwt"), identity) == "too_large"


def test_unknown_attributes_refused_by_declaration(tmp_path: Path) -> None:
    identity = identity_for(tmp_path, extra="unknown_attributes: refuse\n")
    assert verify_token(token(claims()), identity, now=NOW)
    assert reason(token(with_attributes(tennant="x")), identity) == "unknown_attribute"


def test_flat_claims(tmp_path: Path) -> None:
    lines = '    claims: {subject: /sub, roles: "/https:~1~1ns~1roles", attributes: ""}\n'
    identity = identity_for(tmp_path, extra=lines)
    body = {**claims(user=None), "sub": "u-9", "tenant": "acme", "https://ns/roles": ["maker"], "other": 1}
    principal = verify_token(token(body), identity, now=NOW)
    assert (principal.subject, principal.roles, dict(principal.attributes)) == ("u-9", {"maker"}, {"tenant": "acme"})
    assert principal.warnings == ()


def test_duplicates_in_signed_tokens(identity: Identity) -> None:
    """RFC 7519 section 4: a verifier that takes the first and a library that takes the last disagree on the tenant."""
    raw = json.dumps(claims())
    for changed in (
        raw.replace('"exp"', '"exp": 1, "exp"'),
        raw.replace('"tenant"', '"tenant": "globex", "tenant"'),
        raw.replace('"tenant"', '"tenant": "globex", "ten\\u0061nt"'),
    ):
        assert reason(token(changed.encode()), identity) == "duplicate_member"
    assert reason(token(claims(), b'{"alg":"none","alg":"HS256"}'), identity) == "duplicate_member"


def test_what_is_too_long_is_not_looked_at(identity: Identity, tmp_path: Path) -> None:
    """The largest of the issuers' limits, 8 KiB by default, before any parsing."""
    assert reason("{" * 8193, identity) == "too_large"
    assert reason("{" * 8192, identity) == "malformed"
    small = identity_for(tmp_path, extra="    max_bytes: 400\n")
    assert reason("{" * 401, small) == "too_large"


@pytest.mark.parametrize(
    "garbage", [None, 1, b"", "", "a.b.c", "\0", "\ud800", "é" * 100, "x" * 10_000_000, [], {}, object()]
)
def test_garbage(identity: Identity, garbage: object) -> None:
    assert reason(garbage, identity) in {"malformed", "too_large", "not_json", "not_canonical"}
