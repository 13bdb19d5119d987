"""Tokens that were verified a moment ago → their principals, at the price of a hash and a look-up.

Takes tokens; returns what `verify` would, or raises TokenRejected like it. It owns the promise that nothing passes from
the cache which would not pass without it: an entry holds only between the times its claims hold, under the keys and the
revocations it was verified under, and for `RECHECK` seconds at most. An identity is never exchanged: whoever loads
another one makes another `Verifier`.

The key is the SHA-256 of the token's bytes. The token itself as a key would be half a microsecond cheaper, and would
keep live tokens in memory for as long as they are valid; a hash cannot be replayed. Looking it up needs no comparison
in constant time: who could learn bits of stored hashes from the time it takes still has no token with such a hash.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from hashlib import sha256

from rls.errors import TokenRejected
from rls.identity.declared import Identity
from rls.identity.key_sets import RemoteKeys
from rls.identity.principal import Principal
from rls.identity.verify import Verified, check_standing, read_token, use_up

__all__ = ["Admission", "Verifier"]

SIZE = 10_000
# Characters of all tokens that are remembered: a principal takes some five times its token, which may hold lists of ten
# thousand values.
WEIGHT = 20_000_000
# In seconds: what no change of keys or revocations announces (a key set that is too old by now) is noticed after that.
RECHECK = 60


@dataclass(frozen=True, slots=True)
class Admission:
    """A token that a `Verifier` has let in, kept by a session; made by nobody else. `key` is by what it is found."""

    token: str
    principal: Principal
    key: bytes


@dataclass(frozen=True, slots=True)
class _Entry:
    principal: Principal
    since: float
    until: float
    revocations: bytes
    key_set: RemoteKeys | None
    generation: int
    weight: int


class Verifier:
    """Verifies tokens against one identity and remembers them. Safe to share between threads; hits take no lock."""

    def __init__(self, identity: Identity, *, size: int = SIZE, weight: int = WEIGHT) -> None:
        """`size` bounds the tokens that are remembered, `weight` their characters together."""
        self.identity = identity
        self._size, self._most, self._longest = size, weight, identity.max_bytes
        self._entries: dict[bytes, _Entry] = {}
        self._weight = 0
        self._stamp = identity.revocations.stamp
        self._adding = threading.Lock()
        for issuer in identity.issuers.values():
            if issuer.key_set is not None:
                issuer.key_set.prefetch()

    def verify(self, token: object, *, now: float) -> Principal:
        """The principal of a token at `now` (Unix time in seconds); see `verify_token`. Raises TokenRejected."""
        if type(token) is str and len(token) <= self._longest and token.isascii():
            key = _key(token)
            return self._remembered(key, now) or self._verify(token, key, now)
        # Raises: there is no such token.
        return read_token(token, self.identity, now=now).principal

    def admit(self, token: object, *, now: float) -> Admission:
        """Let a token in for a session: verify it, and take its use if it has only one. Raises TokenRejected."""
        principal = self.verify(token, now=now)
        return Admission(str(token), principal, _key(str(token)))

    def resume(self, admission: Admission, *, now: float) -> Principal:
        """The principal of a session's token for its next query; raises TokenRejected once the token is not valid.

        The admission may be another verifier's, of an identity that was reloaded since.
        """
        # A token with long lists takes longer to hash than all the rest of a warm query.
        if (found := self._remembered(admission.key, now)) is not None:
            return found
        try:
            return self.verify(admission.token, now=now)
        except TokenRejected as error:
            if error.reason != "used":
                raise
        # Its one use was this session's.
        verified = read_token(admission.token, self.identity, now=now)
        check_standing(verified, self.identity, token=admission.token)
        return verified.principal

    def clear(self) -> None:
        """Forget everything."""
        with self._adding:
            self._entries.clear()
            self._weight = 0

    def _remembered(self, key: bytes, now: float) -> Principal | None:
        entry = self._entries.get(key)
        # A time that is no number is neither before nor after anything, and so passes nothing.
        if (
            entry is not None
            and entry.since <= now < entry.until
            and entry.revocations == self._stamp()
            and (entry.key_set is None or entry.generation == entry.key_set.generation)
        ):
            return entry.principal
        return None

    def _verify(self, token: str, key: bytes, now: float) -> Principal:
        # Before the token is read: what changes meanwhile makes the entry worthless, not valid.
        stamp = self._stamp()
        generations = {
            name: issuer.key_set.generation
            for name, issuer in self.identity.issuers.items()
            if issuer.key_set is not None
        }
        verified = read_token(token, self.identity, now=now)
        check_standing(verified, self.identity, token=token)
        use_up(verified, self.identity, now=now)
        if not verified.issuer.single_use:
            since, until = _times(verified, now)
            key_set, generation = verified.issuer.key_set, generations.get(verified.issuer.name, 0)
            before = self._entries.get(key)
            # The same object as before its last check: what others have worked out of it still holds.
            if before is not None and before.principal == verified.principal:
                verified = replace(verified, principal=before.principal)
            self._keep(key, _Entry(verified.principal, since, until, stamp, key_set, generation, weight=len(token)))
        return verified.principal

    def _keep(self, key: bytes, entry: _Entry) -> None:
        with self._adding:
            self._drop(key)
            while self._entries and (len(self._entries) >= self._size or self._weight + entry.weight > self._most):
                # The oldest: who makes many tokens drops many, and costs everybody else a verification each.
                self._drop(next(iter(self._entries)))
            if entry.weight <= self._most:
                self._entries[key] = entry
                self._weight += entry.weight

    def _drop(self, key: bytes) -> None:
        dropped = self._entries.pop(key, None)
        if dropped is not None:
            self._weight -= dropped.weight


def _key(token: str) -> bytes:
    return sha256(token.encode()).digest()


def _times(verified: Verified, now: float) -> tuple[float, float]:
    """Between which times an entry holds."""
    introspection = verified.issuer.introspection
    longest = RECHECK if introspection is None else min(RECHECK, introspection.remember)
    # A clock that is set back must not make the entry last longer.
    return max(verified.since, now - longest), min(verified.until, now + longest)
