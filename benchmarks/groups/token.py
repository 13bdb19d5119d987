"""What verifying a token costs, beside PyJWT's own decoding of the same token with a key that is loaded already."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_public_key

import fixtures
from benchmarks.answers import WrongAnswer
from benchmarks.cases import read_case_file
from benchmarks.measure import Measurement, time_in_turn
from benchmarks.options import Options
from rls.identity import load_identity, load_personas, mint_token, verify_token

__all__ = ["measure_token"]

FLOOR, VERIFY = "PyJWT decode", "verify_token"


def measure_token(options: Options) -> Iterator[Measurement]:
    """One token per family of algorithms. Raises `WrongAnswer` unless the principal is who the token was made for."""
    identity = load_identity(fixtures.POLICIES)
    person = load_personas(fixtures.POLICIES / "personas.yaml", identity)["bob"]
    for case in read_case_file("token")["token"]:
        secret = (fixtures.KEYS / case["private"]).read_text(encoding="ascii")
        issuer = identity.issuers[case["issuer"]]
        token = mint_token(
            identity,
            subject=person.subject,
            roles=sorted(person.roles),
            attributes=person.attributes,
            issuer=issuer.name,
            audience=issuer.audiences[0],
            key=secret if case["algorithm"] != "HS256" else None,
        )
        found = verify_token(token, identity, now=time.time())
        if (found.subject, found.roles) != (person.subject, person.roles):
            raise WrongAnswer(f"{case['algorithm']}: the token says {found.subject}")
        calls: dict[str, Callable[[], object]] = {
            FLOOR: _decoding(token, case, issuer.name, issuer.audiences[0]),
            VERIFY: lambda token=token: verify_token(token, identity, now=time.time()),
        }
        timings = time_in_turn(calls, rounds=options.rounds * 3, seconds=options.seconds)
        yield Measurement.of("token", case["algorithm"], timings, what=VERIFY, floor=FLOOR, checked="principal")


def _decoding(token: str, case: dict[str, Any], issuer: str, audience: str) -> Callable[[], object]:
    material = (fixtures.KEYS / Path(case["public"])).read_bytes()
    key: Any = material.strip() if case["algorithm"] == "HS256" else load_pem_public_key(material)
    algorithms = [case["algorithm"]]
    return lambda: jwt.decode(token, key, algorithms=algorithms, audience=audience, issuer=issuer)
