"""Token text → parts: one reading or none (RFC 7515, RFC 7519 section 4, RFC 8259, RFC 8725)."""

from __future__ import annotations

import base64
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rls.errors import TokenRejected
from rls.identity.decode import HARD_LIMIT, decode_token, encode_part, read_json_object
from rls.identity.reasons import REASONS
from tests.identity.kit import claims, part, token

HEADER = part({"alg": "HS256"})


def reason(text: object) -> str:
    with pytest.raises(TokenRejected) as caught:
        decode_token(text)
    assert str(caught.value) == "token rejected; ask the issuer for a new one"
    return caught.value.reason


def test_parts() -> None:
    text = token(claims(x=1.50, y=[1, {"z": None}]))
    decoded = decode_token(text)
    assert decoded.header == {"alg": "HS256", "typ": "JWT", "kid": "k1"}
    assert decoded.claims["x"] == Decimal("1.5")
    assert decoded.signed == text.rpartition(".")[0].encode()
    assert len(decoded.signature) == 32
    assert decoded.size == len(text)


@pytest.mark.parametrize(
    "text",
    [
        None, 1, b"a.b.c", ["a.b.c"], "", ".", "..", "a", "a.b", "a.b.c.d", "a.b.c.d.e", "a..c", ".b.c",
        " a.b.c", "a.b.c\n", "a.b.c ", "Bearer a.b.c", "a.b.c=", "a+.b.c", "a/.b.c", "a\0.b.c", "é.b.c", "a.b\u200b.c", "\ud800.b.c", '{"payload":"a"}',
    ],
)  # fmt: skip
def test_not_three_parts(text: object) -> None:
    assert reason(text) == "malformed"


def test_size_is_checked_first() -> None:
    assert reason("a" * (HARD_LIMIT + 1)) == "too_large"
    assert reason("\0" * 10_000_000) == "too_large"
    assert reason("a" * HARD_LIMIT) == "malformed"


@pytest.mark.parametrize("segment", [0, 1, 2])
def test_base64_is_canonical(segment: int) -> None:
    """RFC 4648 section 3.5: unused bits are zero; else many texts are one token and a deny-list misses."""
    parts = token(claims()).split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    # A length that leaves unused bits in the last character.
    if segment < 2:
        raw = base64.urlsafe_b64decode(parts[segment] + "==") + b" " * 3
        parts[segment] = part(raw[: len(raw) - len(raw) % 3 + 1] if len(raw) % 3 else raw + b" ")
    last = alphabet.index(parts[segment][-1])
    parts[segment] = parts[segment][:-1] + alphabet[last ^ 1]
    assert reason(".".join(parts)) == "not_canonical"
    parts[segment] = "A" * 5
    assert reason(".".join(parts)) == "not_canonical"


@pytest.mark.parametrize(
    ("raw", "want"),
    [
        (b"tenant=acme", "not_json"),
        (b"", "malformed"),  # an empty part
        (b"null", "not_json"),
        (b"[]", "not_json"),
        (b'"text"', "not_json"),
        (b"1", "not_json"),
        (b"{}{}", "not_json"),
        (b"{} x", "not_json"),
        (b'{"a":1,}', "not_json"),
        (b"{'a':1}", "not_json"),
        (b'{"a":01}', "not_json"),
        (b'{"a":"\x01"}', "not_json"),
        (b'\xef\xbb\xbf{"a":1}', "not_json"),
        (b'{"a":"\xff"}', "not_json"),
        (b'{"a":"\xed\xa0\x80"}', "not_json"),  # half a surrogate pair as bytes
        ('{"a":1}'.encode("utf-16"), "not_json"),
        (b'{"a":1,"a":1}', "duplicate_member"),
        (b'{"a":1,"\\u0061":2}', "duplicate_member"),
        (b'{"user":{"a":1,"a":2}}', "duplicate_member"),
        (b'{"x":[{"a":1,"a":2}]}', "duplicate_member"),
        (b'{"a":NaN}', "number"),
        (b'{"a":Infinity}', "number"),
        (b'{"a":[-Infinity]}', "number"),
        (b'{"a":' + b"9" * 65 + b"}", "number"),
        (b'{"a":' + b"9" * 5000 + b"}", "number"),
        (b'{"a":0.' + b"9" * 65 + b"}", "number"),
        (b'{"a":1e99999999999999999999}', "number"),
        (b'{"a":1e400}', "number"),
        (b'{"a":"\\ud800"}', "lone_surrogate"),
        (b'{"\\udc00":1}', "lone_surrogate"),
        (b'{"a":{"b":["\\ud83d x"]}}', "lone_surrogate"),
        (b'{"a":' + b"[" * 17 + b"]" * 17 + b"}", "too_deep"),
        (b'{"a":' * 17 + b"1" + b"}" * 17, "too_deep"),
        (b'{"a":' + b"[" * 6000, "too_deep"),
    ],
    ids=lambda v: v[:16].decode("latin-1") if isinstance(v, bytes) else None,
)
def test_payload_and_header_are_one_strict_object(raw: bytes, want: str) -> None:
    assert reason(f"{HEADER}.{part(raw)}.AAAA") == want
    assert reason(f"{part(raw)}.{part({})}.AAAA") == want


@pytest.mark.parametrize(
    ("raw", "want"),
    [
        (b' {"a" : 1 }\n', {"a": 1}),
        (b'{"a":1e300}', {"a": Decimal("1E+300")}),
        (b'{"a":"\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        ('{"é":"\u200b"}'.encode(), {"é": "\u200b"}),
        (b'{"a":"' + b"[" * 100 + b'"}', {"a": "[" * 100}),
        (b'{"a":"\\"' + b"[" * 100 + b'"}', {"a": '"' + "[" * 100}),
        (b'{"a":[' + b"[]," * 100 + b"[]]}", {"a": [[] for _ in range(101)]}),
    ],
)
def test_json_that_is_fine(raw: bytes, want: dict[str, object]) -> None:
    assert read_json_object(raw) == want


@given(st.binary(max_size=40))
def test_parts_round_trip(raw: bytes) -> None:
    text = encode_part(raw)
    assert base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) == raw


@settings(max_examples=300)
@given(
    st.one_of(
        st.text(max_size=50),
        st.binary(max_size=50),
        st.from_regex(r"[A-Za-z0-9_=-]{0,30}(\.[A-Za-z0-9_=-]{0,30}){0,5}", fullmatch=True),
        st.tuples(st.binary(max_size=30), st.binary(max_size=30), st.binary(max_size=5)).map(
            lambda t: ".".join(map(part, t))
        ),
        st.text(alphabet='{}[]",:\\u0123456789abcdefNaIntysu.e+-', max_size=60).map(
            lambda text: f"{HEADER}.{part(text.encode())}."
        ),
    )
)
@example(f"{HEADER}.{part(b'{' * 3)}.")
def test_anything_is_decoded_or_rejected_with_a_known_reason(text: object) -> None:
    try:
        decoded = decode_token(text)
    except TokenRejected as error:
        assert error.reason in REASONS
    else:
        assert isinstance(decoded.claims, dict)
