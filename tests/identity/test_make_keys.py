"""New keys are usable and private; a set's keys are exchanged without a token refused."""

from __future__ import annotations

import json

import pytest

from rls.errors import TokenRejected
from rls.identity import generate_key, load_identity, mint_token, verify_token
from rls.identity.keys import read_jwk_set, read_private_pem, sign
from rls.identity.make_keys import KeysRefused, add_to_set, public_jwk, retire_from_set
from tests.identity.kit import NOW, claims, part, private_pem, public_pem, write_identity

ALGORITHMS = ["ES256", "ES384", "ES512", "EdDSA", "Ed25519", "RS256", "PS512", "HS256", "HS512"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_new_key_signs_what_its_public_part_verifies(tmp_path, algorithm: str) -> None:
    made, other = generate_key(algorithm, kid="k1"), generate_key("ES256")
    assert made.kid == "k1"
    assert made.private not in repr(made)
    assert other.kid != generate_key("ES256").kid
    key = "{kid: k1, secret: {file: key, encoding: base64}}"
    (tmp_path / "key").write_text((made.public or made.private).rstrip("\n") if made.public is None else made.public)
    if made.public is not None:
        key = "{kid: k1, file: key}"
    text = f"issuers: [{{name: i, audiences: [a], algorithms: [{algorithm}], keys: [{key}]}}]"
    identity = load_identity(write_identity(tmp_path, text))
    minted = mint_token(identity, subject="u-1", key=made.private if made.public else None, now=NOW)
    assert verify_token(minted, identity, now=NOW).subject == "u-1"


@pytest.mark.parametrize("algorithm", ["none", "HS1", "ES256K", "", "A256GCM"])
def test_no_key_for_what_does_not_exist(algorithm: str) -> None:
    with pytest.raises(KeysRefused) as caught:
        generate_key(algorithm)
    assert caught.value.code == "keys.algorithm"


def test_an_exchange(tmp_path) -> None:
    """Add, sign with the new one, retire: at each step every token that is valid is accepted."""
    old, new = generate_key("ES256", kid="old"), generate_key("ES256", kid="new")
    text = "issuers: [{name: i, audiences: [a], algorithms: [ES256], keys: [{jwks: {file: set.json}}]}]"
    file = tmp_path / "set.json"

    def tokens(*makers) -> list[str]:
        found = []
        for made in makers:
            signing = read_private_pem(made.private.encode(), ["ES256"])
            body = {**claims(iss="i", aud="a", user__attributes=None)}
            signed = f"{part({'alg': 'ES256', 'kid': made.kid})}.{part(body)}"
            found.append(f"{signed}.{part(sign(signing, 'ES256', signed.encode()))}")
        return found

    def accepted(text_: str) -> bool:
        try:
            return bool(verify_token(text_, load_identity(write_identity(tmp_path, text)), now=NOW))
        except TokenRejected:
            return False

    before, after = tokens(old, new)
    file.write_text(add_to_set(None, public_jwk(old.public, kid="old", algorithm="ES256")))
    assert (accepted(before), accepted(after)) == (True, False)
    file.write_text(add_to_set(file.read_text(), public_jwk(new.public, kid="new", algorithm="ES256")))
    assert (accepted(before), accepted(after)) == (True, True)
    file.write_text(retire_from_set(file.read_text(), ["old"]))
    assert (accepted(before), accepted(after)) == (False, True)
    assert old.private not in file.read_text()
    assert '"d"' not in file.read_text()


def test_a_jwk_says_what_it_is_for() -> None:
    made = public_jwk(public_pem("ES256").decode(), kid="k", algorithm="ES256")
    assert (made["kid"], made["use"], made["alg"], made["kty"]) == ("k", "sig", "ES256", "EC")
    assert [key.kid for key in read_jwk_set(json.dumps({"keys": [made]}).encode(), ["ES256"])] == ["k"]
    for pem in (private_pem("ES256").decode(), public_pem("ES384").decode(), "", "x"):
        with pytest.raises(KeysRefused):
            public_jwk(pem, kid="k", algorithm="ES256")


def test_sets_that_are_refused() -> None:
    member = public_jwk(public_pem("ES256").decode(), kid="k", algorithm="ES256")
    text = add_to_set(None, member)
    with pytest.raises(KeysRefused, match="already"):
        add_to_set(text, member)
    with pytest.raises(KeysRefused, match="no key `x`"):
        retire_from_set(text, ["x"])
    with pytest.raises(KeysRefused, match="no key would be left"):
        retire_from_set(text, ["k"])
    for bad in ("", "[]", '{"keys": [1]}', json.dumps({"keys": [{**member, "d": "AAAA"}]})):
        with pytest.raises(KeysRefused):
            add_to_set(bad, {**member, "kid": "other"})
