"""Personas → tokens that the engine verifies, signed by an issuer which exists only here.

Takes the loaded policies; returns the same policies with one throw-away issuer, and tokens for personas. Owns that a
test goes the way a user's query goes, verification included, without any key of a real issuer: the laboratory's key
is random, and its issuer is declared nowhere else.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from types import MappingProxyType

from rls.identity.declared import ClaimMap, Identity, Issuer
from rls.identity.decode import HARD_LIMIT
from rls.identity.keys import read_secret
from rls.identity.mint import mint_token
from rls.identity.principal import Principal
from rls.policy.policy_set import PolicySet

__all__ = ["LIFETIME", "lab_policies", "token_for"]

ISSUER = "https://lab.invalid"
LIFETIME = 86_400


def lab_policies(policies: PolicySet) -> PolicySet:
    """The same policies and declarations, with the laboratory's issuer in place of the declared ones."""
    key = read_secret("lab", secrets.token_bytes(64), ("HS256",))
    issuer = Issuer(
        name=ISSUER,
        audiences=("lab",),
        algorithms=("HS256",),
        claims=ClaimMap(("user", "distinctId"), ("user", "role"), ("user", "attributes")),
        max_lifetime=LIFETIME,
        max_age=None,
        leeway=0,
        types=("jwt",),
        max_bytes=HARD_LIMIT,
        keys=MappingProxyType({"lab": key}),
    )
    identity: Identity = replace(policies.identity, issuers=MappingProxyType({ISSUER: issuer}))
    return replace(policies, identity=identity)


def token_for(policies: PolicySet, persona: Principal, *, now: float) -> str:
    """A token that says what the persona is; `policies` as `lab_policies` made them. Raises MintRefused."""
    return mint_token(
        policies.identity,
        subject=persona.subject,
        roles=sorted(persona.roles),
        attributes=dict(persona.attributes),
        issuer=ISSUER,
        now=now,
        lifetime=LIFETIME,
        agent=persona.agent,
    )
