"""Hostile token texts, signed correctly, and what must become of each, decided by a second, plain reading.

    python -m tests.identity.hostile_tokens --tokens 100000 --seed 7

`hostile` draws a header and claims and spoils them: odd values at every place, members twice, names in escapes, other
encodings, text around. `expected` is written from the RFCs and the identity of `identity_kit` alone, and shares no code
with the library. Whoever differs is wrong.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import sys
import tempfile
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

from rls.errors import TokenRejected
from rls.identity import Identity, Verifier, inspect_token, lint_token, verify_token
from rls.identity.reasons import REASONS, describe_reason
from tests.identity.kit import ISSUER, NOW, identity_for, token

Expected = tuple[str, frozenset[str], dict[str, Any]]

# JSON texts, most of them not what the place is for; some are no JSON.
ODD = (
    "null", "true", "false", "0", "1", "-1", "1.0", "1e3", "-0", "1E400", "1e99999", "NaN", "Infinity", "-Infinity",
    "01", "1.", ".5", "+1", "0x10", "1_000", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
    "1" + "0" * 63, "1" + "0" * 64, "1" * 400, "0." + "0" * 70 + "1", '""', '" "', '"x"', '"é"', '"e\\u0301"',
    '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\uD800\\uDC00"', '"\u200b"', '"\u202e"',
    '"\x7f"', '"\x85"', '"\ufeff"', '"a\tb"', '"a\nb"', "'x'", "undefined", '"*"', '"1"', "[]", "{}", "[null]", "[[]]",
    "[true]", '["a"]', "[1]", "[1.5]", '[1,"1"]', "[true,1]", "[9223372036854775807]", '["a","b","c","d","e","f"]',
    '{"a":1}', "[1,]", '{"a":1,}', "[" * 15 + "]" * 15, "[" * 17 + "]" * 17, '{"a":' * 14 + "1" + "}" * 14,
    '"acme"', '"ac\\u006de"', '"explorer"', '["explorer","admin"]', '["explorer",null]', '"admin,maker"', '"pro "',
    '"FREE"', '"2024-02-30"', '"2024-1-1"', '"20240101"', '"\uff12\uff10\uff12\uff14-01-01"', '"ABC"', '"ABC\\n"', '"AB\\u0043"',
    str(NOW), f'"{NOW + 300}"', f"{NOW + 300}.0", f"{NOW}e0", f"[{NOW + 300}]",
    *(str(NOW + seconds) for seconds in (-11, -10, -9, 9, 10, 11, 300, 3600, 3601)),
    '"rls-warehouse"', '["x","rls-warehouse"]', '["rls-warehouse",5]', '[["rls-warehouse"]]', '"RLS-WAREHOUSE"',
    '"rls\\u002dwarehouse"', '"https://app.example/"', '"HTTPS://app.example"', '"https:\\/\\/app.example"',
    '{"sub":"bot"}', '{"sub":"bot","act":{"sub":"x"}}', '{"sub":1}', '"k1"', '"K1"', '"k1\\u0000"', '["k1"]',
    '"HS256"', '"hs256"', '"none"', '["HS256"]', '"JWT"', '"application/jwt"', '"at+jwt"',
    *(f'"{letter * length}"' for letter in "aé" for length in (64, 65, 255, 256, 257)),
)  # fmt: skip
HEADERS = (
    "alg", "kid", "typ", "cty", "crit", "b64", "jku", "jwk", "x5u", "x5c", "x5t", "zip", "enc", "p2c", "iss", "exp",
    "ALG", "\\u0061lg", "\\u006bid", "__proto__",
)  # fmt: skip
CLAIMS = (
    "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "act", "user", "type", "is\\u0073", "e\\u0078p", "EXP", "roles",
    "attributes", "__proto__", "cnf",
)  # fmt: skip
MEMBERS = ("distinctId", "role", "attributes", "distinct\\u0049d", "admin")
ATTRIBUTES = (
    "tenant", "regions", "clearance", "internal", "levels", "plan", "code", "valid_from", "unknown", "ten\\u0061nt",
    "Tenant", "__class__",
)  # fmt: skip
GOOD = {
    "regions": '["EMEA"]', "clearance": "3", "internal": "true", "levels": "[1,2]", "plan": '"pro"', "code": '"ABC"',
    "valid_from": '"2024-01-01"',
}  # fmt: skip
REFUSED_HEADERS = ("crit", "jku", "jwk", "x5u", "x5c", "zip", "enc", "b64")

Pairs = list[tuple[str, str]]


def hostile(source: random.Random) -> tuple[bytes, bytes]:
    """The bytes of a header and of claims."""
    header = [("alg", '"HS256"'), ("typ", '"JWT"'), ("kid", '"k1"')]
    claims = [("iss", f'"{ISSUER}"'), ("aud", '"rls-warehouse"'), ("iat", str(NOW)), ("exp", str(NOW + 300))]
    claims.append(("jti", '"t"'))
    user = [("distinctId", '"u-1"'), ("role", '"explorer"')]
    attributes = [("tenant", '"acme"'), *((k, v) for k, v in GOOD.items() if source.random() < 0.25)]
    for _ in range(source.choice((1, 1, 1, 2, 3))):
        match source.choice("hcccuaaa"):
            case "h":
                header = _spoil(header, HEADERS, source)
            case "c":
                claims = _spoil(claims, CLAIMS, source)
            case "u":
                user = _spoil(user, MEMBERS, source)
            case _:
                attributes = _spoil(attributes, ATTRIBUTES, source)
    if all(name != "attributes" for name, _ in user):
        user.append(("attributes", _object(attributes)))
    if all(name != "user" for name, _ in claims):
        claims.append(("user", _object(user)))
    head, body = _object(header), _object(claims)
    chance = source.random()
    head = _around(head, source) if chance < 0.05 else head
    body = _around(body, source) if 0.05 <= chance < 0.12 else body
    raw = body.encode("utf-8", "surrogatepass")
    if chance > 0.98:
        raw = body.encode(source.choice(("utf-16", "latin-1", "utf-32")), "replace")
    elif chance > 0.97:
        raw = raw.replace(b"u-1", source.choice((b"\xed\xa0\x80", b"\xc0\x80", b"\xff", b"\xf4\x90\x80\x80")))
    return head.encode("utf-8", "surrogatepass"), raw


def expected(head: bytes, body: bytes) -> Expected | None:
    """Subject, declared roles and attributes of the principal at `NOW`; None where the token must be refused."""
    try:
        return _expected(_read(head), _read(body))
    except _Refused:
        return None


class _Refused(Exception):
    pass


def _refuse(*_: object) -> NoReturn:
    raise _Refused


def _need(truth: bool) -> None:
    if not truth:
        raise _Refused


def _expected(header: dict[str, Any], claims: dict[str, Any]) -> Expected:
    _need(header.get("alg") == "HS256" and header.get("kid", "k1") == "k1")
    kind, content = header.get("typ", "JWT"), header.get("cty", "")
    _need(type(kind) is str and kind.lower() in ("jwt", "application/jwt"))
    _need(type(content) is str and content.lower() not in ("jwt", "application/jwt"))
    _need(not any(name in header for name in REFUSED_HEADERS))
    audience = claims.get("aud")
    audience = [audience] if isinstance(audience, str) else audience
    _need(isinstance(audience, list) and all(type(one) is str for one in audience) and "rls-warehouse" in audience)
    _need(type(claims.get("iss")) is str and claims["iss"] == ISSUER)
    for name in ("exp", "iat", *(["nbf"] if "nbf" in claims else [])):
        _need(type(claims.get(name)) is int and claims[name] >= 0)
    _need(claims["exp"] + 10 > NOW and claims["iat"] - 10 <= NOW and claims.get("nbf", 0) - 10 <= NOW)
    _need(0 < claims["exp"] - claims["iat"] <= 3600)
    _need("jti" not in claims or _is_name(claims["jti"]))
    _need(type(claims.get("sub", "")) is str)
    actor, depth = claims, 0
    while "act" in actor:
        actor, depth = actor["act"], depth + 1
        _need(isinstance(actor, dict) and _is_name(actor.get("sub")) and depth <= 4)
    user = claims.get("user")
    _need(isinstance(user, dict) and _is_name(user.get("distinctId")))
    assert isinstance(user, dict)
    roles = user.get("role")
    roles = [] if roles is None else [roles] if isinstance(roles, str) else roles
    _need(isinstance(roles, list) and all(type(role) is str for role in roles) and len(roles) <= 100)
    attributes = {} if user.get("attributes") is None else user["attributes"]
    _need(isinstance(attributes, dict))
    found = {n: _value(n, v) for n, v in sorted(attributes.items()) if v is not None and (n == "tenant" or n in GOOD)}
    _need("tenant" in found)
    return user["distinctId"], frozenset(roles) & {"explorer", "maker", "admin"}, found


def _value(name: str, raw: Any) -> Any:
    match name:
        case "tenant":
            return _text(raw, 64)
        case "regions":
            _need(isinstance(raw, list) and len(raw) <= 5)
            return tuple(_text(each, 256) for each in raw)
        case "clearance":
            return _whole(raw)
        case "levels":
            _need(isinstance(raw, list) and len(raw) <= 256)
            return tuple(map(_whole, raw))
        case "internal":
            _need(type(raw) is bool)
        case "plan":
            _need(type(raw) is str and raw in ("free", "pro"))
        case "code":
            _need(type(raw) is str and re.fullmatch("[A-Z]{3}", raw) is not None)
        case "valid_from":
            _need(type(raw) is str and re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", raw) is not None)
            try:
                return date(*map(int, raw.split("-")))
            except ValueError:
                _refuse()
    return raw


def _text(raw: Any, longest: int) -> str:
    _need(type(raw) is str and raw.strip() != "" and len(raw) <= longest and "\0" not in raw)
    return str(raw)


def _whole(raw: Any) -> int:
    _need(type(raw) is int and -(2**63) <= raw < 2**63)
    return int(raw)


def _is_name(raw: Any) -> bool:
    return (
        type(raw) is str
        and raw.strip() != ""
        and len(raw) <= 255
        and not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in raw)
    )


def _read(raw: bytes) -> dict[str, Any]:
    """One JSON object, by the letter."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        _need(len({name for name, _ in pairs}) == len(pairs))
        return dict(pairs)

    def number(text: str) -> Any:
        _need(len(text) <= 64 and math.isfinite(float(text)))
        return int(text) if text.lstrip("-").isdigit() else float(text)

    try:
        text = raw.decode("utf-8")
        _need(_depth(text) <= 16)
        found = json.loads(
            text, object_pairs_hook=members, parse_int=number, parse_float=number, parse_constant=_refuse
        )
        _need(isinstance(found, dict) and not re.search("[\ud800-\udfff]", json.dumps(found, ensure_ascii=False)))
    except (ValueError, RecursionError):
        _refuse()
    return dict(found)


def _depth(text: str) -> int:
    depth = deepest = 0
    inside = escaped = False
    for letter in text:
        if inside:
            inside = letter != '"' or escaped
            escaped = letter == "\\" and not escaped
        elif letter == '"':
            inside = True
        else:
            depth += (letter in "[{") - (letter in "]}")
            deepest = max(deepest, depth)
    return deepest


def _object(pairs: Pairs) -> str:
    return "{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}"


def _spoil(pairs: Pairs, names: tuple[str, ...], source: random.Random) -> Pairs:
    pairs, chance = list(pairs), source.random()
    place = source.randrange(len(pairs) + 1)
    if chance < 0.45 and pairs:
        place = source.randrange(len(pairs))
        pairs[place] = (pairs[place][0], source.choice(ODD))
    elif chance < 0.6 and pairs:
        pairs.pop(source.randrange(len(pairs)))
    elif chance < 0.9 or not pairs:
        pairs.insert(place, (source.choice(names), source.choice(ODD)))
    else:
        pairs.insert(place, source.choice(pairs))
    return pairs


def _around(text: str, source: random.Random) -> str:
    ways = (
        "\ufeff" + text, f" \n\t{text} \r\n", text + "\0", text + " {}", text[:-1], f"[{text}]", text.replace('"', "'"),
        "/*x*/" + text, text.replace(",", ",\x0b", 1), text.replace(":", " : ", 2),
    )  # fmt: skip
    return source.choice(ways)


def judge(
    identity: Identity, count: int, seed: int, verifier: Verifier | None = None
) -> tuple[list[str], Counter[str]]:
    """What is wrong with the library's answers to so many tokens, in words, and how often it answered what."""
    source, wrong, outcomes = random.Random(seed), list[str](), Counter[str]()
    verifier = verifier or Verifier(identity)
    for number in range(count):
        head, body = hostile(source)
        text = token(body, head)
        wanted = expected(head, body)
        try:
            principal = verify_token(text, identity, now=NOW)
        except TokenRejected as error:
            found, why = None, error.reason
            if why not in REASONS and describe_reason(why) == why:
                wrong.append(f"{number}: there are no words for `{why}`")
        else:
            values = {n: v for n, v in sorted(principal.attributes.items()) if n == "tenant" or n in GOOD}
            found, why = (principal.subject, principal.roles, values), "accepted"
        outcomes[why.partition(":")[0]] += 1
        if repr(found) != repr(wanted):
            wrong.append(f"{number}: {why}, wanted {wanted}: {head!r} {body!r}")
        seen = [finding.reason for finding in inspect_token(text, identity, now=NOW).findings]
        if (seen or ["accepted"])[0] != why:
            wrong.append(f"{number}: {why}, and inspected {seen}: {head!r} {body!r}")
        lint_token(text, identity, used={"tenant"}, now=NOW)
        try:
            same = verifier.verify(text, now=NOW).subject == (found or ("",))[0]
        except TokenRejected as error:
            same = error.reason == why
        if not same:
            wrong.append(f"{number}: the cache says something else: {head!r} {body!r}")
    return wrong, outcomes


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.identity.hostile_tokens", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wrong, outcomes = judge(identity_for(Path(folder)), options.tokens, options.seed)
    for sentence in wrong:
        print(sentence)
    print(f"{dict(outcomes.most_common())}")
    print(f"{options.tokens - len(wrong)} passed, {len(wrong)} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
