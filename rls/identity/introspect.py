"""A token that verifies → whether its issuer still stands by it (RFC 7662), asked over the network.

Takes a verified token's text; returns whether the issuer says `active`. It owns the rule that anything but a clear yes
is a no: an answer that does not come, is not JSON, or is about somebody else.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote_plus, urlencode

from rls.errors import TokenRejected
from rls.identity.decode import read_json_object
from rls.identity.fetch import FetchFailed, fetch

__all__ = ["Introspection", "IntrospectionDown", "is_active"]

TIMEOUT = 3.0
MAX_ANSWER = 1 << 16


class IntrospectionDown(Exception):
    """The issuer gave no usable answer."""


def _post(url: str, *, body: bytes, headers: dict[str, str]) -> bytes:
    return fetch(url, timeout=TIMEOUT, limit=MAX_ANSWER, body=body, headers=headers)


@dataclass(frozen=True)
class Introspection:
    """Where to ask, as which client; a yes is remembered for `remember` seconds."""

    url: str
    client: str
    secret: str = field(repr=False)
    remember: int = 30
    post: Callable[..., bytes] = field(default=_post, repr=False, compare=False)


def is_active(where: Introspection, token: str, *, subject: object) -> bool:
    """Whether the token is active; `subject` is its own `sub`, which an answer may repeat but not change.

    Raises IntrospectionDown.
    """
    # RFC 6749 section 2.3.1: both parts are encoded as in a form before they are joined.
    who = base64.b64encode(f"{quote_plus(where.client)}:{quote_plus(where.secret)}".encode()).decode("ascii")
    headers = {"Authorization": f"Basic {who}", "Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode({"token": token, "token_type_hint": "access_token"}).encode("ascii")
    try:
        answer = read_json_object(where.post(where.url, body=body, headers=headers))
    except (FetchFailed, TokenRejected) as error:
        raise IntrospectionDown(str(error)) from None
    return answer.get("active") is True and answer.get("sub", subject) == subject
