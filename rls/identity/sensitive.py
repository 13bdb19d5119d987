"""What must not be in a signed token: it is readable by everyone who holds it.

Takes a name and a value; returns why it is refused (`find_sensitive`) or advised against (`find_personal`), or None.
It owns the lists of names and shapes. Only what is never an attribute is refused: what is merely personal may be meant.
"""

from __future__ import annotations

import re

__all__ = ["find_personal", "find_sensitive", "looks_like_mail"]

# fmt: off
_WORDS = frozenset((
    "accesstoken", "apikey", "cardnumber", "creditcard", "cvc", "cvv", "iban", "idtoken", "passphrase", "passwd",
    "password", "pin", "privatekey", "pwd", "refreshtoken", "secret", "sessiontoken", "socialsecuritynumber", "ssn",
))
_PERSONAL = frozenset((
    "address", "birthdate", "birthday", "city", "dateofbirth", "dob", "email", "emailaddress", "familyname",
    "firstname", "fullname", "gender", "givenname", "lastname", "mail", "mobile", "nationality", "passport",
    "phone", "phonenumber", "picture", "postalcode", "religion", "salary", "street", "surname", "taxid", "zip",
    "zipcode",
))
# fmt: on
_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+")
_PHONE = re.compile(r"\+[0-9][0-9 ()./-]{6,20}[0-9]")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_CARD = re.compile(r"[0-9](?:[ -]?[0-9]){12,18}")
LONG_TEXT = 256
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


def find_personal(name: str, value: object) -> str | None:
    """Why something looks personal, or too much for a token; never with its value.

    >>> find_personal("contact", "ada@post.test")
    'it holds an e-mail address'
    >>> find_personal("card_or_so", "4111 1111 1111 1111")
    'it holds the number of a payment card'
    >>> find_personal("tenant", "acme") is None
    True
    """
    texts = [text for text in (value if isinstance(value, list | tuple) else [value]) if isinstance(text, str)]
    for found, why in (
        (looks_like_mail, "it holds an e-mail address"),
        (_looks_like_card, "it holds the number of a payment card"),
        (_looks_like_iban, "it holds the number of a bank account"),
        (lambda text: bool(_PHONE.fullmatch(text)), "it holds a telephone number"),
        (lambda text: len(text) > LONG_TEXT, f"it holds more than {LONG_TEXT} characters"),
    ):
        if any(found(text) for text in texts):
            return why
    if texts and re.sub(r"[^a-z0-9]", "", name.lower()) in _PERSONAL:
        return "its name says so"
    return None


def looks_like_mail(text: str) -> bool:
    """Whether a text has the form of an e-mail address."""
    return _MAIL.fullmatch(text) is not None


def _looks_like_card(text: str) -> bool:
    """ISO/IEC 7812: 13 to 19 digits with Luhn's check digit."""
    if not _CARD.fullmatch(text):
        return False
    digits = [int(character) for character in reversed(text) if character.isdigit()]
    return sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2]) in range(0, 400, 10)


def _looks_like_iban(text: str) -> bool:
    """ISO 13616: the country's and the check digits moved to the end, letters as numbers, leave 1 by 97."""
    packed = text.replace(" ", "")
    return bool(_IBAN.fullmatch(packed)) and int("".join(str(int(c, 36)) for c in packed[4:] + packed[:4])) % 97 == 1
