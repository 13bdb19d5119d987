"""Inspection: everything that is wrong at once, for any input, by the same rules as verification."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rls.errors import TokenRejected
from rls.identity import Identity, describe_reason, inspect_token, verify_token
from rls.identity.reasons import PROBLEMS, REASONS
from tests.identity.kit import ISSUER, NOW, SECRET, claims, identity_for, part, token


@pytest.fixture(scope="module")
def identity(tmp_path_factory) -> Identity:
    return identity_for(tmp_path_factory.mktemp("hs"))


def reasons(text: object, identity: Identity, now: float = NOW) -> list[str]:
    return [finding.reason for finding in inspect_token(text, identity, now=now).findings]


def test_good_token(identity: Identity) -> None:
    found = inspect_token(token(claims()), identity, now=NOW)
    assert found.accepted
    assert (found.issuer, found.signature, found.seconds_left) == (ISSUER, "valid", 300)
    assert (found.subject, found.roles, dict(found.attributes)) == ("u-1", {"explorer"}, {"tenant": "acme"})
    assert found.header["alg"] == "HS256"
    assert found.claims["jti"] == "t-1"
    assert dataclasses.asdict(found)["size"] == len(token(claims()))


def test_everything_wrong_is_told(identity: Identity) -> None:
    body = claims(
        exp=NOW - 4000, iat="x", aud="other", user__distinctId=None, user__role=[1], user__attributes={"tenant": 1}
    )
    text = token(body, typ="x", jku="https://evil.test", key=SECRET[::-1])
    assert reasons(text, identity) == [
        "header:jku",
        "header:typ",
        "bad_signature",
        "claim:iat:type",
        "expired",
        "wrong_audience",
        "missing_claim:subject",
        "claim:roles:type",
        "attribute:tenant:type",
    ]


def test_stops_where_nothing_more_is_known(identity: Identity) -> None:
    assert reasons("x", identity) == ["malformed"]
    found = inspect_token(token(claims(iss="https://other")), identity, now=NOW)
    assert [finding.reason for finding in found.findings] == ["unknown_issuer"]
    assert (found.issuer, found.signature, found.subject) == (None, "not checked", "")
    assert found.claims["iss"] == "https://other"
    assert inspect_token(token(claims(), alg="none"), identity, now=NOW).signature == "not checked"
    assert inspect_token(token(claims(), kid="k9"), identity, now=NOW).signature == "not checked"


def test_clock_is_used_by_default(identity: Identity) -> None:
    found = inspect_token(token(claims(iat=1, exp=2)), identity)
    assert "expired" in [finding.reason for finding in found.findings]


def test_every_reason_has_a_sentence() -> None:
    for reason in (
        *REASONS,
        "missing_claim:exp",
        "header:jku",
        *(f"{kind}:x:{problem}" for kind in ("claim", "attribute") for problem in PROBLEMS),
    ):
        sentence = describe_reason(reason)
        assert sentence != reason
        assert sentence[0].islower()
        assert "\n" not in sentence
    assert describe_reason("something:else") == "something:else"


@given(
    st.one_of(
        st.none(),
        st.text(max_size=30),
        st.binary(max_size=30),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["iss", "aud", "exp", "iat", "nbf", "jti", "user", "role", "attributes", "x"]),
                    inner,
                )
            ),
        ).map(lambda body: token({**claims(), **body} if isinstance(body, dict) else body)),
        st.dictionaries(
            st.sampled_from(["alg", "kid", "typ", "cty", "crit", "jwk"]),
            st.none()
            | st.booleans()
            | st.integers()
            | st.sampled_from(["HS256", "k1", "JWT", ""])
            | st.lists(st.integers()),
        ).map(lambda head: token(claims(), part(head) and head)),
    )
)
def test_inspection_and_verification_agree(identity: Identity, text: object) -> None:
    found = inspect_token(text, identity, now=NOW)
    for finding in found.findings:
        assert finding.message != finding.reason
    try:
        principal = verify_token(text, identity, now=NOW)
    except TokenRejected as error:
        assert error.reason in [finding.reason for finding in found.findings]
    else:
        assert found.accepted
        assert dict(found.attributes) == dict(principal.attributes)
