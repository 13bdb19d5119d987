"""The key set at an issuer's URL → its keys, now: fetched in the background, kept for a bounded time when it is down.

Takes a URL and the issuer's algorithms; returns keys by `kid`. It owns three promises: a key that the set no longer has
is gone with the next answer, a known key costs no request a wait while the set can be had, and nobody makes us ask the
server more often than every `COOLDOWN` seconds, whatever key ids tokens name.

PyJWT's client is not used: it holds its lock while it fetches, has no bound for the answer's size, forgets the keys
when they expire while the server is down, and lets a redirect or a plain http address name the keys.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Mapping
from types import MappingProxyType

from rls.forks import after_fork
from rls.identity.fetch import FetchFailed, fetch
from rls.identity.keys import Key, KeyUnfit, jwk_members, read_jwk

__all__ = ["KeySetDown", "RemoteKeys", "read_published_set", "remote_keys"]

TIMEOUT = 3.0
COOLDOWN = 2.0
# How long a token may wait for its key: until the next fetch may start, and for that fetch.
PATIENCE = COOLDOWN + TIMEOUT
MAX_WAITING = 32
MAX_ANSWER = 1 << 18
MAX_KEYS = 100
# A fetch that has not come back by then never will (a name server that hangs).
ABANDONED = 60.0

_NONE: Mapping[str, Key] = MappingProxyType({})


class KeySetDown(Exception):
    """There are no keys: never fetched, or too old to be used still."""


class RemoteKeys:
    """The keys at `url` for some algorithms. `refresh` is how old, in seconds, an answer may be before a request waits
    for a new one; from half of that on it is asked for in the background. For `stale` seconds more the last good answer
    is used while there is no other. Safe to share between threads, and between identities that declare the same."""

    def __init__(
        self,
        url: str,
        algorithms: tuple[str, ...],
        *,
        refresh: float,
        stale: float,
        get: Callable[[str], bytes] | None = None,
        clock: Callable[[], float] = time.monotonic,
        patience: float = PATIENCE,
        cooldown: float = COOLDOWN,
    ) -> None:
        self.url, self.algorithms, self.refresh, self.stale = url, algorithms, refresh, stale
        self._get, self._clock, self._patience, self._cooldown = get or _get, clock, patience, cooldown
        # The last good answer and when it was asked for: one value, for readers without the lock.
        self._good: tuple[Mapping[str, Key], float] = (_NONE, float("-inf"))
        self._started = float("-inf")
        self._problem: str | None = None
        self._failing = float("-inf")  # since when, while there is a problem
        self._busy = False
        # Counts answers that changed anything: what was verified with the keys of another is to be verified again.
        self.generation = 0
        self._after_fork()
        _ALL.add(self)

    def __repr__(self) -> str:
        # It goes into the identity's version: what is declared, not what was fetched.
        return f"RemoteKeys({self.url!r}, {self.algorithms!r}, refresh={self.refresh}, stale={self.stale})"

    @property
    def problem(self) -> str | None:
        """Why the last fetch failed; None where it did not."""
        return self._problem

    def current(self, kid: str | None = None) -> Mapping[str, Key]:
        """The keys by `kid`; one that is not among them is asked for before this gives up on it.

        Waits for the server only where the keys are missing, too old, or lack `kid`. Raises KeySetDown.
        """
        (keys, asked), now = self._good, self._clock()
        if now - asked < self.refresh / 2 and (kid is None or kid in keys):
            return keys
        with self._changed:
            usable = self._usable(now)
            known = usable is not None and (kid is None or kid in usable)
            if usable is not None and known:
                self._start(now)
                if self._age(now) < self.refresh or self._problem is not None:
                    return usable
            self._wait(None if known else kid, now)
            usable = self._usable(self._clock())
        if usable is None:
            raise KeySetDown(self._problem or "no answer yet")
        return usable

    def prefetch(self) -> None:
        """Begin to fetch, if that is due, without waiting."""
        with self._changed:
            now = self._clock()
            if self._age(now) >= self.refresh / 2:
                self._start(now)

    def _age(self, now: float) -> float:
        return now - self._good[1]

    def _usable(self, now: float) -> Mapping[str, Key] | None:
        return self._good[0] if self._age(now) < self.refresh + self.stale else None

    def _wait(self, kid: str | None, arrived: float) -> None:
        """Until there is `kid` (without one: an answer that is not old), or an answer asked for after `arrived` lacks
        it, or patience is at its end. A server that has been down for longer than that gets one chance only."""
        if self._waiting >= MAX_WAITING and self._usable(arrived) is not None:
            # Tokens with made-up key ids hold that many threads and no more. Without any keys, everybody waits.
            return
        self._waiting += 1
        try:
            end = arrived + self._patience
            while (now := self._clock()) < end:
                if self._age(now) < self.refresh and (kid is None or kid in self._good[0]):
                    return
                hiccup = self._problem is not None and now - self._failing <= self._patience
                stale_will_do = kid is None and self._usable(now) is not None
                if self._started >= arrived and not self._busy and (stale_will_do or not hiccup):
                    return
                self._start(now)
                until = end if self._busy else min(end, self._started + self._cooldown)
                self._changed.wait(max(0.001, until - now))
        finally:
            self._waiting -= 1

    def _start(self, now: float) -> None:
        """Begin a fetch unless one is under way or has just been. Called with the lock held."""
        if self._busy and now - self._started < ABANDONED:
            return
        if now - self._started < self._cooldown:
            return
        self._busy, self._started = True, now
        try:
            threading.Thread(target=self._fetch, args=(now,), name="rls-key-set", daemon=True).start()
        except RuntimeError:
            # There can be no more threads for now, or the program is ending. The keys at hand stay in use.
            self._settle(now, None, "no thread can be started to ask the server")

    def _fetch(self, started: float) -> None:
        found, problem = None, None
        try:
            found = read_published_set(self._get(self.url), self.algorithms)
        except (FetchFailed, KeyUnfit) as error:
            problem = str(error)
        except Exception:  # noqa: BLE001  (whatever a server made of it, the keys at hand stay in use)
            problem = "the answer cannot be read"
        with self._changed:
            if started == self._started:  # else it was abandoned, and a later one is under way
                self._settle(started, found, problem)

    def _settle(self, started: float, found: Mapping[str, Key] | None, problem: str | None) -> None:
        """A fetch has come to an end. Called with the lock held."""
        if problem is not None and self._problem is None:
            self._failing = started
        self._busy, self._problem = False, problem
        if found is not None:
            if found != self._good[0]:
                self.generation += 1
            self._good = (found, started)
        self._changed.notify_all()

    def _after_fork(self) -> None:
        # The child has neither the thread that fetches nor the one that may hold the lock.
        self._changed = threading.Condition()
        self._busy = False
        self._waiting = 0


def read_published_set(text: bytes, algorithms: tuple[str, ...]) -> Mapping[str, Key]:
    """The usable keys of a set that somebody else publishes; raises KeyUnfit where the answer is no such set.

    One bad key does not spoil the others (RFC 7517 section 5), and is never used itself: damaged or weak, a private key
    (which everybody has now), or one of two different keys under one `kid`. A set without any key is a fault of its
    server, not the end of all its keys; a set that has lost its private keys to the public is.
    """
    found: dict[str, Key] = {}
    refused: set[str] = set()
    members = jwk_members(text)
    if len(members) > MAX_KEYS:
        raise KeyUnfit("key", f"key set has more than {MAX_KEYS} keys")
    exposed = False
    for member in members:
        try:
            key = _read_member(member, algorithms)
        except KeyUnfit as error:
            exposed = exposed or error.code == "private_key"
            key = None
            refused.add(str(member.get("kid")))
        if key is not None and found.setdefault(key.kid, key) != key:
            refused.add(key.kid)
    found = {kid: key for kid, key in found.items() if kid not in refused}
    if not found and not exposed:
        raise KeyUnfit("key", f"key set has no usable key for {', '.join(algorithms)}")
    return MappingProxyType(found)


def _read_member(member: dict[str, object], algorithms: tuple[str, ...]) -> Key | None:
    if "kid" in member:
        return read_jwk(member, algorithms)
    # Without a name it can still be the only one, for tokens that name none.
    key = read_jwk({**member, "kid": "?"}, algorithms)
    return None if key is None else Key(f"?{key.fingerprint}", key.algorithms, key.fingerprint, key.material)


def remote_keys(url: str, algorithms: tuple[str, ...], *, refresh: int, stale: int) -> RemoteKeys:
    """The one `RemoteKeys` of a declaration in this process: keys outlive a reload of the identity file."""
    with _SHARING:
        known = (url, algorithms, refresh, stale)
        found = _SHARED.get(known)
        if found is None:
            found = _SHARED[known] = RemoteKeys(url, algorithms, refresh=refresh, stale=stale)
        return found


def _get(url: str) -> bytes:
    return fetch(url, timeout=TIMEOUT, limit=MAX_ANSWER)


_SHARING = threading.Lock()
_SHARED: weakref.WeakValueDictionary[object, RemoteKeys] = weakref.WeakValueDictionary()
_ALL: weakref.WeakSet[RemoteKeys] = weakref.WeakSet()


@after_fork
def _renew_locks() -> None:
    global _SHARING  # noqa: PLW0603
    _SHARING = threading.Lock()
    for each in list(_ALL):
        each._after_fork()
