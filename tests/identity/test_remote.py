"""Tokens whose keys or standing are asked for over the network, and tokens of agents."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm, get_default_algorithms

from rls.errors import PolicyInvalid, TokenRejected
from rls.identity import Identity, inspect_token, load_identity, load_personas, mint_token, verify_token
from rls.identity.cache import Verifier
from rls.identity.fetch import fetch
from rls.identity.key_sets import RemoteKeys
from tests.identity.kit import ISSUER, NOW, asymmetric_token, claims, identity_for, jwk, part, token, write_identity
from tests.identity.test_key_sets import FAULTS, Server, answer

KEY_SET = """
issuers:
  - name: https://app.example
    audiences: [rls-warehouse]
    algorithms: [ES256]
    keys: [{{jwks: {{url: "{url}"{more}}}}}]
attributes: {{tenant: {{type: string}}}}
"""


@pytest.fixture
def server() -> Any:
    made = Server()
    made.keys = [jwk("ES256", kid="k1")]
    yield made
    made.behave = None
    made.http.shutdown()
    made.http.server_close()


def reason(text: str, identity: Identity, now: float = NOW) -> str:
    with pytest.raises(TokenRejected) as caught:
        Verifier(identity).verify(text, now=now)
    assert str(caught.value) == "token rejected; ask the issuer for a new one"
    return caught.value.reason


def test_keys_from_a_url(tmp_path: Path, server: Server) -> None:
    identity = load_identity(write_identity(tmp_path, KEY_SET.format(url=server.url, more=", refresh: 10, stale: 0")))
    assert server.requests == 0, "loading needs no server"
    assert identity.issuers[ISSUER].key_set is not None
    identity.issuers[ISSUER].key_set._cooldown = 0.02
    verifier = Verifier(identity)
    assert verifier.verify(asymmetric_token("ES256", claims()), now=NOW).subject == "u-1"
    server.keys.append(jwk("ES256b", kid="k2"))
    rotated = asymmetric_token("ES256", claims(), kind="ES256b", kid="k2")
    assert verifier.verify(rotated, now=NOW).subject == "u-1"
    assert reason(asymmetric_token("ES256", claims(), kind="ES256b"), identity) == "bad_signature"
    assert inspect_token(rotated, identity, now=NOW).accepted
    # A token without a `kid` needs one key only, and there are two by now.
    assert reason(asymmetric_token("ES256", claims(), kid=1), identity) == "header:kid"
    # Reloaded, the keys are still there.
    server.behave = lambda handler: answer(handler, b"", 500)
    again = load_identity(tmp_path)
    assert again.version == identity.version
    assert verify_token(rotated, again, now=NOW).subject == "u-1"


def test_rotation_under_load_and_faults(tmp_path: Path, server: Server) -> None:
    """A new key every moment, a server that lies, fails and hangs in between, and several threads that always have
    tokens of the newest keys: no good token is refused, and no other is accepted."""
    signer = get_default_algorithms()["ES256"]
    identity = load_identity(write_identity(tmp_path, KEY_SET.format(url=server.url, more="")))
    key_set = RemoteKeys(
        server.url, ("ES256",), refresh=0.2, stale=30, patience=20, cooldown=0.01,
        get=lambda url: fetch(url, timeout=0.3, limit=1 << 16),
    )  # fmt: skip
    issuer = replace(identity.issuers[ISSUER], key_set=key_set)
    verifier = Verifier(replace(identity, issuers=MappingProxyType({ISSUER: issuer})))

    def sign(private: Any, kid: str) -> str:
        signed = f"{part({'alg': 'ES256', 'typ': 'JWT', 'kid': kid})}.{part(claims(jti=kid))}"
        return f"{signed}.{part(signer.sign(signed.encode(), private))}"

    stranger = ec.generate_private_key(ec.SECP256R1())
    good = [asymmetric_token("ES256", claims())]
    problems: list[str] = []
    accepted = [0]
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            for text in good[-3:]:
                try:
                    verifier.verify(text, now=NOW)
                    accepted[0] += 1
                except TokenRejected as error:
                    problems.append(error.reason)
            with contextlib.suppress(TokenRejected):
                verifier.verify(sign(stranger, f"n{len(good) - 1}" if len(good) > 1 else "k1"), now=NOW)
                problems.append("a stranger's signature was accepted")

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    faults = [None, *(FAULTS[name] for name in ("500", "web page", "no keys", "hangs", "redirect", "huge"))]
    for number in range(1, 20):
        private = ec.generate_private_key(ec.SECP256R1())
        public = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
        server.keys = [*server.keys, {**public, "kid": f"n{number}"}][-50:]
        good.append(sign(private, f"n{number}"))
        server.behave = faults[number % len(faults)]
        done.wait(0.05)
        server.behave = None
        done.wait(0.02)
    done.set()
    for client in clients:
        client.join()
    assert problems == []
    assert accepted[0] > len(good)


def test_minting_for_keys_at_a_url(tmp_path: Path, server: Server) -> None:
    from tests.identity.kit import private_pem

    identity = load_identity(write_identity(tmp_path, KEY_SET.format(url=server.url, more="")))
    minted = mint_token(identity, subject="u-1", key=private_pem("ES256"), now=NOW)
    assert verify_token(minted, identity, now=NOW).subject == "u-1"


def test_no_keys_to_be_had(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.behave = lambda handler: answer(handler, b"", 500)
    identity = load_identity(write_identity(tmp_path, KEY_SET.format(url=server.url, more="")))
    issuer = identity.issuers[ISSUER]
    assert issuer.key_set is not None
    monkeypatch.setattr(issuer.key_set, "_patience", 0.1)
    good = asymmetric_token("ES256", claims())
    assert reason(good, identity) == "keys_unavailable"
    assert [f.reason for f in inspect_token(good, identity, now=NOW).findings] == ["keys_unavailable"]
    # Nobody is asked for the keys of a token that is refused anyhow.
    assert reason(asymmetric_token("ES384", claims()), identity) == "algorithm_not_allowed"


@pytest.mark.parametrize(
    ("change", "want"),
    [
        (('url: "https://a.test/k"', 'url: "http://a.test/k"'), "must begin with `https://`"),
        (('url: "https://a.test/k"', 'url: "https://u:p@a.test/k"'), "no user, password"),
        (('url: "https://a.test/k"', 'url: "keys"'), "is not a URL"),
        (('url: "https://a.test/k"', 'url: "https://a.test/k", file: x'), "nothing beside it"),
        (('url: "https://a.test/k"', "refresh: 60"), "needs a `file`"),
        (('url: "https://a.test/k"', "file: x, stale: 60"), "needs a `file`"),
        (('url: "https://a.test/k"', 'url: "https://a.test/k", refresh: 1'), "greater than or equal to 10"),
        (("{jwks:", "{kid: a, jwks:"), "nothing beside it"),
        (("[ES256]", "[HS256]"), "for public keys"),
        (("keys: [", 'keys: [{jwks: {url: "https://b.test/k"}}, '), "one key set at a URL"),
    ],
)
def test_declarations_that_are_refused(tmp_path: Path, change: tuple[str, str], want: str) -> None:
    text = KEY_SET.format(url="https://a.test/k", more="").replace(*change)
    with pytest.raises(PolicyInvalid, match=want) as caught:
        load_identity(write_identity(tmp_path, text))
    assert caught.value.line == 6


# --- introspection ----------------------------------------------------------------------------------------------------


def asked(tmp_path: Path, url: str) -> Identity:
    (tmp_path / "client").write_text("s/ecret", encoding="utf-8")
    lines = f'    introspection: {{url: "{url}", client: "an app", secret: {{file: client}}, remember: 20}}\n'
    return identity_for(tmp_path, extra=lines)


def test_asked_and_remembered(tmp_path: Path, server: Server) -> None:
    """RFC 7662 section 2.1: the token in a form, the client by Basic authentication."""
    seen: list[tuple[str, dict[str, list[str]]]] = []

    def say(handler: Any) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"])).decode()
        seen.append((handler.headers["Authorization"], parse_qs(body)))
        answer(handler, b'{"active": true, "exp": 1}')

    server.behave = say
    verifier, good = Verifier(asked(tmp_path, server.url)), token(claims())
    for now in (NOW, NOW + 19, NOW + 20, NOW + 39):
        assert verifier.verify(good, now=now).subject == "u-1"
    assert len(seen) == 2
    who, form = seen[0]
    assert base64.b64decode(who.removeprefix("Basic ")) == b"an+app:s%2Fecret"
    assert form["token"] == [good]


@pytest.mark.parametrize(
    ("body", "want"),
    [
        (b'{"active": false}', "inactive"),
        (b'{"active": "true"}', "inactive"),
        (b'{"active": 1}', "inactive"),
        (b"{}", "inactive"),
        (b'{"active": true, "sub": "somebody else"}', "inactive"),
        (b'{"active": false, "active": true}', "introspection_unavailable"),
        (b"true", "introspection_unavailable"),
        (b"<html>", "introspection_unavailable"),
        (b" " * 100_000, "introspection_unavailable"),
    ],
)
def test_anything_but_a_clear_yes_is_a_no(tmp_path: Path, server: Server, body: bytes, want: str) -> None:
    server.behave = lambda handler: answer(handler, body)
    assert reason(token(claims()), asked(tmp_path, server.url)) == want


def test_nobody_is_asked_about_a_bad_token(tmp_path: Path, server: Server) -> None:
    server.behave = lambda handler: answer(handler, b'{"active": true}')
    identity = asked(tmp_path, server.url)
    assert reason(token(claims(exp=NOW - 60, iat=NOW - 100)), identity) == "expired"
    assert reason(token(claims(), key=b"x" * 40), identity) == "bad_signature"
    assert server.requests == 0


def test_an_issuer_that_hangs_holds_up_its_own(tmp_path: Path, server: Server) -> None:
    release = threading.Event()
    server.behave = lambda handler: (release.wait(1), answer(handler, b'{"active": true}'))[1]
    identity = asked(tmp_path, server.url)
    verifier = Verifier(identity)
    slow = threading.Thread(target=verifier.verify, args=(token(claims()),), kwargs={"now": NOW})
    slow.start()
    plain = replace(identity, issuers={ISSUER: replace(identity.issuers[ISSUER], introspection=None)})
    assert Verifier(plain).verify(token(claims(jti="t-2")), now=NOW)
    release.set()
    slow.join()
    assert len(verifier._entries) == 1


# --- agents -----------------------------------------------------------------------------------------------------------


def test_an_agent_for_a_user(tmp_path: Path) -> None:
    """RFC 8693 section 4.1: the outermost actor is the one who acts now."""
    identity = identity_for(tmp_path)
    chain = {"sub": "assistant", "iss": "https://x", "act": {"sub": "scheduler"}}
    principal = verify_token(token(claims(act=chain)), identity, now=NOW)
    assert (principal.subject, principal.agent, principal.actors) == ("u-1", "assistant", ("assistant", "scheduler"))
    alone = verify_token(token(claims()), identity, now=NOW)
    assert (alone.agent, alone.actors) == (None, ())
    assert inspect_token(token(claims(act=chain)), identity, now=NOW).actors == ("assistant", "scheduler")
    minted = mint_token(identity, subject="u-1", attributes={"tenant": "acme"}, agent="assistant", now=NOW)
    assert verify_token(minted, identity, now=NOW).actors == ("assistant",)


def nested(depth: int) -> dict[str, Any]:
    return {"sub": f"a{depth}", **({"act": nested(depth - 1)} if depth > 1 else {})}


@pytest.mark.parametrize(
    ("act", "want"),
    [
        *[(act, "claim:act:type") for act in ("assistant", ["assistant"], True, 1, {}, {"sub": 1}, {"sub": ["a"]}, {"client_id": "a"})],
        *[({"sub": "a", "act": act}, "claim:act:type") for act in (None, "b", [], {})],
        ({"sub": ""}, "claim:act:blank"),
        ({"sub": "a" * 256}, "claim:act:too_long"),
        ({"sub": "a\n"}, "claim:act:character"),
        (nested(5), "claim:act:too_many"),
    ],
)  # fmt: skip
def test_actors_that_are_refused(tmp_path: Path, act: Any, want: str) -> None:
    assert reason(token(claims(act=act)), identity_for(tmp_path)) == want


def test_null_is_no_actor(tmp_path: Path) -> None:
    raw = json.dumps({**claims(), "act": None}).encode()
    assert reason(token(raw), identity_for(tmp_path)) == "claim:act:type"


def test_personas_of_agents(tmp_path: Path) -> None:
    identity = identity_for(tmp_path)
    file = tmp_path / "personas.yaml"
    file.write_text("personas: {bot: {subject: u-1, agent: assistant, attributes: {tenant: acme}}}")
    assert load_personas(file, identity)["bot"].agent == "assistant"
    file.write_text("personas: {bot: {subject: u-1, agent: '', attributes: {tenant: acme}}}")
    with pytest.raises(PolicyInvalid, match="blank"):
        load_personas(file, identity)
