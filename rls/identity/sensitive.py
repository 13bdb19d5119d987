"""What must not be in a signed token: it is readable by everyone who holds it.

Takes an attribute's name and value; returns why it is refused, or None. It owns the lists of names and shapes. Only
what is never an attribute is refused; what merely looks personal (an e-mail) is for a lint to say.
"""

from __future__ import annotations

import re

__all__ = ["find_sensitive"]

# fmt: off
_WORDS = frozenset((
    "accesstoken", "apikey", "cardnumber", "creditcard", "cvc", "cvv", "iban", "idtoken", "passphrase", "passwd",
    "password", "pin", "privatekey", "pwd", "refreshtoken", "secret", "sessiontoken", "socialsecuritynumber", "ssn",
))
# fmt: on
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]+-----")
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){1,3}")


def find_sensitive(name: str, value: object) -> str | None:
    """Why an attribute may not be put into a token; never with its value.

    >>> find_sensitive("api_key", "x")
    'its name says that it is a secret'
    >>> find_sensitive("region", "EMEA") is None
    True
    """
    if re.sub(r"[^a-z0-9]", "", name.lower()) in _WORDS:
        return "its name says that it is a secret"
    texts = [text for text in (value if isinstance(value, list | tuple) else [value]) if isinstance(text, str)]
    if any(_PEM.search(text) for text in texts):
        return "it holds a key or certificate"
    if any(_TOKEN.search(text) for text in texts):
        return "it holds a token"
    return None
