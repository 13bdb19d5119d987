"""A URL → the bytes of its answer, within bounds: for key sets and introspection, whose servers may be slow or lie.

Takes an https URL (http for loopback only), a time and a size; returns the body of a 200 answer, or raises FetchFailed.
It owns the bounds: one host as declared (no redirect, no proxy of the environment), one deadline for connecting,
headers and body together, a body no larger than allowed, no content encoding.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

__all__ = ["FetchFailed", "check_url", "fetch"]

_CHUNK = 1 << 14


class FetchFailed(Exception):
    """There is no usable answer; the text says why, for the operator."""


def check_url(url: str) -> SplitResult:
    """The parts of a URL that may be fetched; raises ValueError that says what it must be.

    >>> check_url("http://127.0.0.1:8080/keys").port
    8080
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if not url.isascii() or not url.isprintable() or " " in url or not parts.hostname or port == 0:
        raise ValueError("is not a URL")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("must have no user, password or fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        raise ValueError("must begin with `https://`")
    return parts


def fetch(
    url: str, *, timeout: float, limit: int, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> bytes:
    """The body of a GET (of a POST, if there is a `body`); `timeout` in seconds for everything, `limit` in bytes."""
    parts = check_url(url)
    deadline = time.monotonic() + timeout
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    connection.response_class = _response_within(deadline)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent = {"Accept": "application/json", "Accept-Encoding": "identity", "Connection": "close", **(headers or {})}
    try:
        connection.request("GET" if body is None else "POST", path, body=body, headers=sent)
        with contextlib.closing(connection.getresponse()) as response:
            if response.status != 200:
                # A redirect too: who may name the keys is declared, not told by a server.
                raise FetchFailed(f"the server answered {response.status}")
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise FetchFailed("the answer is compressed")
            return _read(response, limit)
    except FetchFailed:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchFailed(f"no answer: {_short(error)}") from None
    finally:
        connection.close()


def _read(response: http.client.HTTPResponse, limit: int) -> bytes:
    found = bytearray()
    while len(found) <= limit:
        part = response.read(min(_CHUNK, limit + 1 - len(found)))
        if not part:
            if response.length:
                raise FetchFailed("the answer ends too early")
            return bytes(found)
        found += part
    raise FetchFailed(f"the answer is larger than {limit} bytes")


def _response_within(deadline: float) -> Any:
    """A response that reads from its socket until the deadline: a socket's own timeout is for each single read, and a
    server that sends a byte a second would never meet it."""

    def respond(sock: socket.socket, *arguments: Any, **more: Any) -> http.client.HTTPResponse:
        return http.client.HTTPResponse(_Within(sock, deadline), *arguments, **more)  # type: ignore[arg-type]

    return respond


class _Within:
    """What `HTTPResponse` needs of a socket."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(_Stream(self._sock, self._deadline))


class _Stream(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: float) -> None:
        # The connection closes its socket after the headers; this keeps it open for the body.
        self._file = sock.makefile("rb", buffering=0)
        self._sock, self._deadline = sock, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _short(error: Exception) -> str:
    """One line without the address of anything."""
    text = getattr(error, "strerror", None) or str(error) or "connection lost"
    return " ".join(str(text).split())[:100].lower()
