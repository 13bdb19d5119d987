"""Properties: no changed token verifies; what is minted verifies to what was given."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rls.errors import TokenRejected
from rls.identity import Identity, mint_token, verify_token
from tests.identity.kit import NOW, asymmetric_token, claims, identity_for, token

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest.fixture(scope="module")
def identities(tmp_path_factory) -> dict[str, tuple[Identity, str]]:
    """Per algorithm: the identity and a token that it accepts."""
    found = {}
    for algorithm in ("HS256", "RS256", "ES256", "EdDSA"):
        identity = identity_for(tmp_path_factory.mktemp(algorithm), algorithm)
        good = token(claims()) if algorithm == "HS256" else asymmetric_token(algorithm, claims())
        assert verify_token(good, identity, now=NOW)
        found[algorithm] = (identity, good)
    return found


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_changed_token_never_verifies(identities: dict[str, tuple[Identity, str]], data: st.DataObject) -> None:
    identity, good = identities[data.draw(st.sampled_from(sorted(identities)))]
    place = data.draw(st.integers(0, len(good) - 1))
    match data.draw(st.sampled_from(["replace", "insert", "delete", "cut", "swap", "double"])):
        case "replace":
            changed = (
                good[:place] + data.draw(st.sampled_from([*ALPHABET, "=", ".", "+", "\0", "é"])) + good[place + 1 :]
            )
        case "insert":
            changed = good[:place] + data.draw(st.sampled_from([*ALPHABET, "=", ".", " ", "\n"])) + good[place:]
        case "delete":
            changed = good[:place] + good[place + 1 :]
        case "cut":
            changed = good[:place]
        case "swap":
            parts = good.split(".")
            other = data.draw(st.permutations(parts))
            changed = ".".join(other)
        case _:
            changed = good + good[place:]
    if changed == good:
        return
    with pytest.raises(TokenRejected):
        verify_token(changed, identity, now=NOW)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_token_of_another_algorithm_never_verifies(
    identities: dict[str, tuple[Identity, str]], data: st.DataObject
) -> None:
    one, other = data.draw(st.permutations(sorted(identities)))[:2]
    with pytest.raises(TokenRejected):
        verify_token(identities[one][1], identities[other][0], now=NOW)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20).filter(
    str.strip
)
ATTRIBUTES: dict[str, st.SearchStrategy[Any]] = {
    "regions": st.lists(TEXT, max_size=5),
    "clearance": st.integers(-(2**63), 2**63 - 1),
    "credit": st.decimals("-99999999.99", "99999999.99", places=2),
    "internal": st.booleans(),
    "valid_from": st.dates(),
    "seen": st.datetimes(),
    "plan": st.sampled_from(["free", "pro"]),
    "code": st.from_regex(r"[A-Z]{3}", fullmatch=True),
    "levels": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5),
}


@settings(max_examples=100, deadline=None)
@given(
    st.fixed_dictionaries({"tenant": TEXT}, optional=ATTRIBUTES),
    st.sets(st.sampled_from(["explorer", "maker", "admin"])),
    st.integers(1, 3600),
)
def test_what_is_minted_verifies_to_what_was_given(
    identities: dict[str, tuple[Identity, str]], attributes: dict[str, Any], roles: set[str], lifetime: int
) -> None:
    identity, _ = identities["HS256"]
    if any("eyJ" in text for text in (attributes["tenant"], *attributes.get("regions", []))):
        return  # looks like a token and is refused
    text = mint_token(identity, subject="u-1", roles=roles, attributes=attributes, lifetime=lifetime, now=NOW)
    principal = verify_token(text, identity, now=NOW + lifetime - 1)
    want = {name: tuple(value) if isinstance(value, list) else value for name, value in attributes.items()}
    assert dict(principal.attributes) == want
    for name, value in principal.attributes.items():
        assert type(value) in (str, int, bool, Decimal, date, datetime, tuple), name
    assert (principal.roles, principal.expires_at) == (roles, NOW + lifetime)
    with pytest.raises(TokenRejected):
        verify_token(text, identity, now=NOW + lifetime + 10)
