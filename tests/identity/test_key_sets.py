"""Key sets from a URL: a real server on this machine that rotates, hangs, lies and dies. Times are short, never judged:
what counts is which keys are there, and what waited."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from jwt.algorithms import RSAAlgorithm

from rls.identity.fetch import FetchFailed, check_url, fetch
from rls.identity.key_sets import KeySetDown, RemoteKeys, read_published_set, remote_keys
from rls.identity.keys import KeyUnfit
from tests.identity.kit import jwk, private_key

Respond = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """Answers with `keys`, or does what `behave` does."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = [jwk("ES256", kid="a")]
        self.behave: Respond | None = None
        self.requests = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                if outer.behave is not None:
                    with contextlib.suppress(OSError):
                        outer.behave(self)
                else:
                    answer(self, json.dumps({"keys": outer.keys}).encode())

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/keys"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def die(self) -> None:
        self.http.shutdown()
        self.http.server_close()


def answer(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.behave = None
    with contextlib.suppress(OSError):
        made.die()


def keys_of(server: Server, **more: Any) -> RemoteKeys:
    given = {"refresh": 60.0, "stale": 60.0, "patience": 5.0, "cooldown": 0.02, **more}
    return RemoteKeys(server.url, ("ES256",), get=lambda url: fetch(url, timeout=5, limit=1 << 14), **given)


@contextlib.contextmanager
def impatient(keys: RemoteKeys) -> Iterator[None]:
    """For as long as nothing good is expected from the server."""
    before = keys._get, keys._patience
    keys._get, keys._patience = lambda url: fetch(url, timeout=0.1, limit=1 << 14), 0.15
    yield
    keys._get, keys._patience = before


def expect(keys: RemoteKeys, kid: str | None, *found: str) -> None:
    assert set(keys.current(kid)) == set(found)


def _age(keys: RemoteKeys, seconds: float) -> None:
    """Let the last good answer be older than it is."""
    found, asked = keys._good
    keys._good = (found, asked - seconds)
    keys._started -= seconds


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    assert condition()


def test_fetched_once_and_kept(server: Server) -> None:
    keys = keys_of(server)
    for _ in range(5):
        expect(keys, "a", "a")
    assert (server.requests, keys.generation, keys.problem) == (1, 1, None)


def test_rotation_without_a_refusal(server: Server) -> None:
    """New keys are there with the first token that names them, and old ones go with the answer that lacks them."""
    keys = keys_of(server)
    expect(keys, "a", "a")
    for number in range(5):
        server.keys = [*server.keys[-1:], jwk("ES256" if number % 2 else "ES256b", kid=f"k{number}")]
        assert f"k{number}" in keys.current(f"k{number}")
    expect(keys, None, "k3", "k4")
    assert keys.generation == 6


def test_refreshed_in_the_background(server: Server) -> None:
    keys = keys_of(server, refresh=20)
    expect(keys, None, "a")
    server.keys = [jwk("ES256b", kid="b")]
    release = threading.Event()
    server.behave = lambda handler: (release.wait(5), answer(handler, json.dumps({"keys": server.keys}).encode()))[1]
    _age(keys, 11)
    expect(keys, "a", "a")
    assert keys._busy, "it asks, and does not wait for the answer"
    release.set()
    until(lambda: "b" in keys._good[0])
    expect(keys, "b", "b")


def test_an_idle_service_does_not_start_with_old_keys(server: Server) -> None:
    """A key that was taken away while nobody asked is gone for the first token afterwards."""
    keys = keys_of(server, refresh=0.05)
    expect(keys, "a", "a")
    server.keys = [jwk("ES256b", kid="b")]
    time.sleep(0.06)
    expect(keys, "a", "b")


def test_stale_keys_for_a_bounded_time(server: Server) -> None:
    now = [100.0]
    keys = keys_of(server, refresh=10, stale=50, clock=lambda: now[0] + time.monotonic())
    expect(keys, "a", "a")
    server.die()
    now[0] += 11
    expect(keys, "a", "a")
    assert keys.problem is not None
    now[0] += 40
    expect(keys, "a", "a")
    now[0] += 20
    with impatient(keys), pytest.raises(KeySetDown):
        keys.current("a")


def test_down_from_the_start(server: Server) -> None:
    server.die()
    keys = keys_of(server)
    for _ in range(3):
        with impatient(keys), pytest.raises(KeySetDown):
            keys.current("a")
    assert keys.problem is not None


def test_back_again(server: Server) -> None:
    server.behave = lambda handler: answer(handler, b"down", 503)
    keys = keys_of(server)
    with impatient(keys), pytest.raises(KeySetDown):
        keys.current("a")
    server.behave = None
    expect(keys, "a", "a")
    assert keys.problem is None


def _endless_headers(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(100):
        handler.wfile.write(b"X-%d: y\r\n" % number)
        time.sleep(0.05)


def _endless_body(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        time.sleep(0.05)


def _body(raw: bytes, status: int = 200, **headers: str) -> Respond:
    return lambda handler: answer(handler, raw, status, **headers)


def _set(*members: Any) -> Respond:
    return _body(json.dumps({"keys": members}).encode())


PRIVATE = {**RSAAlgorithm.to_jwk(private_key("RS256"), as_dict=True), "kid": "a"}
FAULTS: dict[str, Respond] = {
    "hangs": lambda handler: time.sleep(1),
    "drips headers": _endless_headers,
    "drips the body": _endless_body,
    "500": _body(b'{"keys": []}', 500),
    "404": _body(b"not here", 404),
    "201": _set(jwk("ES256b", kid="evil")),
    "redirect": lambda handler: answer(handler, b"", 302, Location="http://127.0.0.1:1/keys"),
    "empty": _body(b""),
    "web page": _body(b"<html>login</html>", Content_Type="text/html"),
    "text": _body(b'"keys"'),
    "number": _body(b"1"),
    "list": _body(b"[]"),
    "null": _body(b"null"),
    "no keys": _set(),
    "keys of wrong type": _body(b'{"keys": {"a": 1}}'),
    "a key of wrong type": _body(b'{"keys": ["a"]}'),
    "duplicate member": _body(b'{"keys": [], "keys": []}'),
    "not UTF-8": _body(b'{"keys": [{"kid": "\xff"}]}'),
    "deep": _body(b"[" * 10_000),
    "huge": _body(b" " * 40_000 + b'{"keys": []}'),
    "more announced than sent": lambda handler: answer(handler, b'{"keys": []}', Content_Length="200"),
    "compressed": _body(b'{"keys": []}', Content_Encoding="gzip"),
    "only secrets": _set({"kty": "oct", "kid": "a", "k": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}),
    "other algorithm": _set(jwk("ES256b", kid="evil", alg="ES384")),
    "other curve": _set(jwk("ES384", kid="evil")),
    "for encryption": _set(jwk("ES256b", kid="evil", use="enc")),
    "a point off the curve": _set({**jwk("ES256b", kid="evil"), "x": "AAAA"}),
    "no point": _set({"kty": "EC", "crv": "P-256", "kid": "evil", "x": 1, "y": None}),
    "too many": _set(*[jwk("ES256", kid=f"k{number}") for number in range(101)]),
    "another protocol": lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
}
FAULTS["201"] = _body(json.dumps({"keys": [jwk("ES256b", kid="evil")]}).encode(), 201)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_changes_nothing(server: Server, fault: str) -> None:
    """Neither a key that should not be there nor the loss of one that should."""
    keys = keys_of(server)
    expect(keys, "a", "a")
    server.behave = FAULTS[fault]
    with impatient(keys):
        expect(keys, "evil", "a")
        until(lambda: keys.problem is not None)
    assert keys.generation == 1
    server.behave = None
    server.keys.append(jwk("ES256b", kid="b"))
    until(lambda: "b" in keys.current("b"))


def test_a_hiccup_refuses_nobody(server: Server) -> None:
    """A key that is published while its server fails for a moment is waited for."""
    keys = keys_of(server)
    expect(keys, "a", "a")
    server.keys.append(jwk("ES256b", kid="b"))
    server.behave = FAULTS["500"]
    threading.Timer(0.2, lambda: setattr(server, "behave", None)).start()
    expect(keys, "b", "a", "b")


def test_a_server_that_is_down_for_long_holds_nobody_up(server: Server) -> None:
    keys = keys_of(server)
    expect(keys, "a", "a")
    server.behave = FAULTS["500"]
    with impatient(keys):
        expect(keys, "b", "a")
        until(lambda: keys.problem is not None)
    keys._patience = 30
    keys._failing -= 60
    before = time.monotonic()
    expect(keys, "b", "a")
    assert time.monotonic() - before < 10


@pytest.mark.parametrize("refused", [
    jwk("ES256b", kid="bad", d="AAAA"),
    {**jwk("ES256b", kid="bad"), "y": "AAAA"},
    {**jwk("ES256b"), "kid": 7},
    jwk("ES384", kid="bad"),
    jwk("RS256", kid="bad"),
    {"kty": "oct", "k": "AAAA", "kid": "bad"},
    {"kty": ["EC"], "kid": "bad"},
    {"kty": "EC", "kid": {"a": 1}, "crv": [], "x": {}, "key_ops": 7},
    {},
])  # fmt: skip
def test_one_bad_key_does_not_spoil_the_others(refused: dict[str, Any]) -> None:
    raw = json.dumps({"keys": [refused, jwk("ES256", kid="a")]}).encode()
    assert set(read_published_set(raw, ("ES256",))) == {"a"}


def test_two_keys_of_one_name_are_none() -> None:
    one, other = jwk("ES256", kid="a"), jwk("ES256b", kid="a")
    raw = json.dumps({"keys": [one, other, jwk("ES256b", kid="b")]}).encode()
    assert set(read_published_set(raw, ("ES256",))) == {"b"}
    twice = json.dumps({"keys": [one, one]}).encode()
    assert set(read_published_set(twice, ("ES256",))) == {"a"}


def test_a_published_private_key_is_used_no_more(server: Server) -> None:
    keys = keys_of(server, refresh=0.05)
    expect(keys, "a", "a")
    private = private_key("ES256").private_numbers().private_value.to_bytes(32, "big")
    server.keys = [jwk("ES256", kid="a", d=private.hex())]
    time.sleep(0.06)
    expect(keys, "a")


def test_a_key_without_a_name() -> None:
    raw = json.dumps({"keys": [jwk("ES256")]}).encode()
    (kid,) = read_published_set(raw, ("ES256",))
    assert kid.startswith("?")
    with pytest.raises(KeyUnfit):
        read_published_set(json.dumps({"keys": [jwk("ES384")]}).encode(), ("ES256",))


def test_made_up_key_ids_ask_seldom_and_hold_nobody_up(server: Server) -> None:
    keys = keys_of(server, cooldown=30, patience=1)
    expect(keys, "a", "a")
    asked = server.requests
    strangers = [threading.Thread(target=keys.current, args=(f"x{n}",), daemon=True) for n in range(50)]
    for stranger in strangers:
        stranger.start()
    for _ in range(100):
        expect(keys, "a", "a")
    assert any(stranger.is_alive() for stranger in strangers)
    for stranger in strangers:
        stranger.join()
    assert server.requests == asked
    assert keys._waiting == 0


def test_a_hanging_server_holds_no_known_key_up(server: Server) -> None:
    keys = keys_of(server, refresh=20, stale=100)
    expect(keys, "a", "a")
    server.behave = FAULTS["hangs"]
    keys._get = lambda url: fetch(url, timeout=0.3, limit=1 << 14)
    for older in (11, 50):
        _age(keys, older)
        keys.current("a")
        until(lambda: keys.problem is not None)
        # Old by now, and known to be down: used at once, while the next attempt hangs.
        time.sleep(0.02)
        expect(keys, "a", "a")
        assert keys._busy
        until(lambda: not keys._busy)


def test_many_threads_one_request(server: Server) -> None:
    keys = keys_of(server)
    server.behave = lambda handler: (time.sleep(0.1), answer(handler, json.dumps({"keys": server.keys}).encode()))[1]
    found: list[set[str]] = []
    threads = [threading.Thread(target=lambda: found.append(set(keys.current("a")))) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [{"a"}] * 60
    assert server.requests == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_fetches_for_itself(server: Server) -> None:
    keys = keys_of(server)
    with keys._changed:  # the moment a fork would copy a held lock
        keys._busy = True
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                code = 0 if "a" in keys.current("a") else 2
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_shared_by_those_who_declare_the_same() -> None:
    one = remote_keys("https://a.test/keys", ("ES256",), refresh=300, stale=3600)
    assert remote_keys("https://a.test/keys", ("ES256",), refresh=300, stale=3600) is one
    assert remote_keys("https://a.test/keys", ("ES256",), refresh=301, stale=3600) is not one


@pytest.mark.parametrize("url", [
    "", "keys", "http://a.test/keys", "ftp://a.test/keys", "file:///etc/passwd", "https://", "https:///keys",
    "https://user@a.test/k", "https://user:pw@a.test/k", "https://a.test/k#x", "https://a.test:99999/k",
    "https://a.test:0/k", "https://a.test/a b", "https://a.test/\r\nX: y", "http://localhost.a.test/k",
    "http://127.0.0.1.a.test/k", "https://[::1/k", "http://2130706433/k",
])  # fmt: skip
def test_urls_that_are_not_fetched(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|must"):
        check_url(url)


@pytest.mark.parametrize("url", ["https://a.test/k?x=1", "https://a.test", "http://localhost:1/k", "http://[::1]:8/k", "http://127.1.2.3/k"])  # fmt: skip
def test_urls_that_are_fetched(url: str) -> None:
    assert check_url(url).hostname


def test_a_server_that_closes_at_once() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def accept() -> None:
            listening.accept()[0].close()

        threading.Thread(target=accept, daemon=True).start()
        with pytest.raises(FetchFailed):
            fetch(f"http://127.0.0.1:{listening.getsockname()[1]}/", timeout=1, limit=10)


def test_where_no_thread_can_be_started_the_keys_at_hand_stay_in_use(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    keys = RemoteKeys(server.url, ("ES256",), refresh=100, stale=100, clock=lambda: now[0])
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_more_threads)
        keys.prefetch()
        assert keys.problem == "no thread can be started to ask the server"
    now[0] = 10.0
    keys.prefetch()
    while not keys._good[0]:
        time.sleep(0.005)
    now[0] = 70.0
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_more_threads)
        assert set(keys.current("a")) == {"a"}


def _no_more_threads(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
