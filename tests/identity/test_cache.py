"""Remembered tokens: whatever happens to clock, keys, revocations and identity, the answer is that of a verification."""

from __future__ import annotations

import json
import math
import threading
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from rls.errors import TokenRejected
from rls.identity import Identity, Principal, cache, load_identity, verify_token
from rls.identity.cache import Verifier
from rls.identity.key_sets import RemoteKeys
from rls.identity.revocations import Revocations
from tests.identity.kit import ISSUER, NOW, SECRET, asymmetric_token, claims, identity_for, jwk, token, write_identity


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return identity_for(tmp_path)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The tokens that were really read, in order."""
    seen: list[object] = []
    monkeypatch.setattr(
        cache, "read_token", lambda text, *a, _real=cache.read_token, **k: (seen.append(text), _real(text, *a, **k))[1]
    )
    return seen


def reason(verifier: Verifier, text: object, now: float = NOW) -> str:
    with pytest.raises(TokenRejected) as caught:
        verifier.verify(text, now=now)
    return caught.value.reason


def test_verified_once(identity: Identity, read: list[object]) -> None:
    verifier, good = Verifier(identity), token(claims())
    first = verifier.verify(good, now=NOW)
    assert verifier.verify("".join(list(good)), now=NOW + 5) is first
    assert read == [good]
    assert first == verify_token(good, identity, now=NOW)
    verifier.clear()
    assert verifier.verify(good, now=NOW) == first
    assert len(read) == 2


def test_only_while_the_claims_hold(identity: Identity) -> None:
    verifier, short = Verifier(identity), token(claims(exp=NOW + 20, nbf=NOW))
    for now, want in ((NOW, ""), (NOW + 29.9, ""), (NOW + 30, "expired"), (NOW - 10.1, "not_yet_valid"), (NOW, "")):
        if want:
            assert reason(verifier, short, now) == want
        else:
            assert verifier.verify(short, now=now)
    for now in (math.nan, math.inf, -math.inf):
        assert reason(verifier, short, now) in ("expired", "not_yet_valid")


def test_looked_at_again_from_time_to_time(identity: Identity, read: list[object]) -> None:
    verifier, good = Verifier(identity), token(claims())
    for now in (NOW, NOW + 59, NOW + 60, NOW + 119, NOW + 120, NOW + 59):
        verifier.verify(good, now=now)
    assert len(read) == 4, "at the beginning, after each minute, and when the clock went back by one"


@pytest.mark.parametrize("bad", [None, 1, b"x", "", "é", "\ud800", "x" * 10_000_000, [], {}])
def test_what_is_no_token(identity: Identity, bad: object) -> None:
    assert reason(Verifier(identity), bad) in ("malformed", "too_large", "not_json")


def test_a_subclass_of_text_cannot_pose_as_another(identity: Identity) -> None:
    class Posing(str):
        def encode(self, *_: object) -> bytes:  # type: ignore[override]
            return good.encode()

        def isascii(self) -> bool:
            return True

    verifier, good = Verifier(identity), token(claims())
    verifier.verify(good, now=NOW)
    assert reason(verifier, Posing("a.b.c")) in ("malformed", "not_json", "not_canonical")


def test_refused_tokens_are_not_remembered(identity: Identity) -> None:
    verifier = Verifier(identity)
    for _ in range(3):
        assert reason(verifier, token(claims(exp=NOW - 60, iat=NOW - 100))) == "expired"
        assert reason(verifier, token(claims())[:-2] + "AA") in ("bad_signature", "not_canonical")
    assert not verifier._entries


def test_a_token_that_is_checked_again_has_the_same_principal(identity: Identity, read: list[object]) -> None:
    """What others keep by the object is not made again every minute."""
    verifier = Verifier(identity)
    good = token(claims())
    first = verifier.verify(good, now=NOW)
    assert verifier.verify(good, now=NOW + cache.RECHECK + 1) is first
    assert len(read) == 2


def test_a_sessions_token_is_hashed_once(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = Verifier(identity)
    session = verifier.admit(token(claims()), now=NOW)
    monkeypatch.setattr(cache, "sha256", None)
    assert verifier.resume(session, now=NOW) is session.principal


def test_revoked_at_once(identity: Identity) -> None:
    verifier, good, other = Verifier(identity), token(claims()), token(claims(jti="t-2"))
    verifier.verify(good, now=NOW)
    verifier.verify(other, now=NOW)
    identity.revocations.revoke_token("t-1", issuer=ISSUER, now=NOW)
    assert reason(verifier, good) == "revoked"
    assert verifier.verify(other, now=NOW)
    identity.revocations.revoke_subject("u-1", before=NOW + 1, now=NOW)
    assert reason(verifier, other) == "revoked"
    with pytest.raises(TokenRejected):
        verify_token(other, identity, now=NOW)
    assert verifier.verify(token(claims(iat=NOW + 1, jti="t-3")), now=NOW).subject == "u-1"


def test_revoked_while_it_is_verified(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked before the revocation and kept after it is worth nothing."""
    verifier, good = Verifier(identity), token(claims())

    def ask_and_revoke(*arguments: object, _real=cache.check_standing, **more: object) -> None:
        _real(*arguments, **more)
        identity.revocations.revoke_token("t-1", issuer=ISSUER, now=NOW)

    monkeypatch.setattr(cache, "check_standing", ask_and_revoke)
    assert verifier.verify(good, now=NOW)
    monkeypatch.undo()
    assert reason(verifier, good) == "revoked"


def test_revoked_by_another_process(tmp_path: Path) -> None:
    identity = identity_for(tmp_path, extra="revocation: {file: shared.sqlite}\n")
    verifier, good = Verifier(identity), token(claims())
    verifier.verify(good, now=NOW)
    Revocations(tmp_path / "shared.sqlite").revoke_token("t-1", issuer=ISSUER, now=NOW)
    assert reason(verifier, good) == "revoked"


def test_without_its_database_nobody_is_let_in(tmp_path: Path) -> None:
    identity = identity_for(tmp_path, extra="revocation: {file: shared.sqlite}\n")
    identity.revocations.close()
    for left in tmp_path.glob("shared.sqlite*"):
        if not left.name.endswith("-stamp"):
            left.unlink()
    (tmp_path / "shared.sqlite").write_text("no database, " * 100)
    assert reason(Verifier(identity), token(claims())) == "revocation_unavailable"


def test_single_use(tmp_path: Path) -> None:
    identity = identity_for(tmp_path, extra="    single_use: true\n")
    verifier, once = Verifier(identity), token(claims())
    assert verifier.verify(once, now=NOW)
    assert reason(verifier, once) == "used"
    assert reason(Verifier(identity), once) == "used"
    with pytest.raises(TokenRejected):
        verify_token(once, identity, now=NOW)
    assert reason(verifier, token(claims(jti=None))) == "missing_claim:jti"
    # A session goes on with its one use; nobody else has it, and it ends with the token.
    session = verifier.admit(token(claims(jti="t-2")), now=NOW)
    assert verifier.resume(session, now=NOW) == session.principal
    assert Verifier(identity).resume(session, now=NOW) == session.principal
    assert reason(verifier, session.token) == "used"
    identity.revocations.revoke_token("t-2", issuer=ISSUER, now=NOW)
    with pytest.raises(TokenRejected) as caught:
        verifier.resume(session, now=NOW)
    assert caught.value.reason == "revoked"
    other = verifier.admit(token(claims(jti="t-3")), now=NOW)
    with pytest.raises(TokenRejected):
        verifier.resume(other, now=NOW + 310)


def test_single_use_among_threads(tmp_path: Path) -> None:
    verifier = Verifier(identity_for(tmp_path, extra="    single_use: true\n"))
    once, outcomes = token(claims()), []

    def attempt() -> None:
        try:
            verifier.verify(once, now=NOW)
            outcomes.append(True)
        except TokenRejected:
            outcomes.append(False)

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(True) == 1


def test_what_is_remembered_is_bounded_by_its_size(identity: Identity, read: list[object]) -> None:
    """Ten thousand short tokens are little, and ten thousand with long lists in them are not."""
    short, long = token(claims()), [token(claims(jti=f"t-{number}", unused="x" * 2_000)) for number in range(8)]
    verifier = Verifier(identity, weight=3 * len(long[0]))
    for text in (short, *long):
        verifier.verify(text, now=NOW)
        assert verifier._weight == sum(entry.weight for entry in verifier._entries.values()) <= 3 * len(long[0])
    assert len(verifier._entries) == 3
    verifier.verify(long[-1], now=NOW)
    assert len(read) == 9
    verifier.verify(short, now=NOW)
    assert len(read) == 10
    verifier.clear()
    assert verifier._weight == 0
    tiny = Verifier(identity, weight=10)
    assert tiny.verify(short, now=NOW) == tiny.verify(short, now=NOW)
    assert not tiny._entries


def test_bounded(identity: Identity, read: list[object]) -> None:
    verifier = Verifier(identity, size=3)
    many = [token(claims(jti=f"t-{number}")) for number in range(5)]
    for text in many:
        verifier.verify(text, now=NOW)
    assert len(verifier._entries) == 3
    verifier.verify(many[4], now=NOW)
    assert len(read) == 5
    verifier.verify(many[0], now=NOW)
    assert len(read) == 6


def test_keys_that_are_gone(tmp_path: Path) -> None:
    published = {"keys": [jwk("ES256", kid="k1")]}
    text = f"""
issuers:
  - {{name: "{ISSUER}", audiences: [rls-warehouse], algorithms: [ES256], keys: [{{jwks: {{url: "https://a.test/k"}}}}]}}
attributes: {{tenant: {{type: string}}}}
"""
    loaded = load_identity(write_identity(tmp_path, text))
    keys = RemoteKeys(
        "https://a.test/k", ("ES256",), refresh=60, stale=60, get=lambda _: json.dumps(published).encode(), cooldown=0
    )
    issuer = replace(loaded.issuers[ISSUER], key_set=keys)
    verifier = Verifier(replace(loaded, issuers=MappingProxyType({ISSUER: issuer})))
    good = asymmetric_token("ES256", claims())
    verifier.verify(good, now=NOW)
    published["keys"] = [jwk("ES256b", kid="k2")]
    fresh = asymmetric_token("ES256", claims(jti="t-2"), kind="ES256b", kid="k2")
    assert verifier.verify(fresh, now=NOW).token_id == "t-2"
    assert reason(verifier, good) == "unknown_key"


TOKENS = {
    f"t-{number}": token(claims(jti=f"t-{number}", iat=NOW + 30 * number, exp=NOW + 30 * number + 90, user__distinctId=f"u-{number % 2}"))
    for number in range(4)
}  # fmt: skip


class Machine(RuleBasedStateMachine):
    """A verifier beside the rules in their plainest form."""

    identity: Identity

    @initialize()
    def begin(self) -> None:
        self.now = float(NOW)
        self.revoked: set[str] = set()
        self.before: dict[str, float] = {}
        self.secret = SECRET
        self.load()

    def load(self) -> None:
        """As a reload does: other keys make another version and another verifier."""
        identity = self.identity
        key = replace(identity.issuers[ISSUER].keys["k1"], material=self.secret)
        issuer = replace(identity.issuers[ISSUER], keys=MappingProxyType({"k1": key}))
        store = getattr(self, "store", None) or Revocations()
        self.store: Revocations = store
        self.verifier = Verifier(replace(identity, issuers=MappingProxyType({ISSUER: issuer}), revocations=store))

    @rule(seconds=st.sampled_from([-120, -31, -1, 0, 0.5, 1, 29, 30, 45, 59, 61, 80, 100]))
    def move_clock(self, seconds: float) -> None:
        self.now += seconds

    @rule(token_id=st.sampled_from(sorted(TOKENS)))
    def revoke(self, token_id: str) -> None:
        self.store.revoke_token(token_id, issuer=ISSUER, until=NOW + 10**6, now=NOW)
        self.revoked.add(token_id)

    @rule(subject=st.sampled_from(["u-0", "u-1"]), ago=st.sampled_from([0, 30, 60]))
    def log_out(self, subject: str, ago: float) -> None:
        self.store.revoke_subject(subject, before=self.now - ago, now=NOW)
        self.before[subject] = max(self.before.get(subject, 0), self.now - ago)

    @rule()
    def exchange_keys(self) -> None:
        self.secret = self.secret[::-1]
        self.load()

    @invariant()
    def every_answer_is_right(self) -> None:
        if not hasattr(self, "verifier"):
            return
        for number, (token_id, text) in enumerate(TOKENS.items()):
            issued, subject = NOW + 30 * number, f"u-{number % 2}"
            valid = issued - 10 <= self.now < issued + 100
            valid = valid and token_id not in self.revoked and not issued < self.before.get(subject, 0)
            valid = valid and self.secret == SECRET
            try:
                found: Principal | None = self.verifier.verify(text, now=self.now)
            except TokenRejected:
                found = None
            assert (found is not None) == valid, token_id
            assert found is None or (found.token_id, found.subject) == (token_id, subject)


def test_nothing_passes_that_would_not_pass_without(tmp_path: Path) -> None:
    Machine.identity = identity_for(tmp_path)
    run_state_machine_as_test(
        Machine, settings=settings(max_examples=40, stateful_step_count=20, deadline=None, database=None)
    )
