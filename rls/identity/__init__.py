"""Token → Principal: who asks, proven. Names are loaded when first used, so importing this package is free."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rls.identity.attributes import Attribute
    from rls.identity.cache import Admission, Verifier
    from rls.identity.declared import Identity, Issuer
    from rls.identity.inspect import Finding, Inspection, inspect_token
    from rls.identity.issuers import load_identity
    from rls.identity.lint import Advice, lint_identity, lint_token
    from rls.identity.make_keys import NewKey, generate_key
    from rls.identity.mint import MintRefused, mint_token
    from rls.identity.personas import load_personas
    from rls.identity.principal import Principal
    from rls.identity.reasons import describe_reason
    from rls.identity.revocations import Revocations
    from rls.identity.verify import verify_token

__all__ = [
    "Admission",
    "Advice",
    "Attribute",
    "Finding",
    "Identity",
    "Inspection",
    "Issuer",
    "MintRefused",
    "NewKey",
    "Principal",
    "Revocations",
    "Verifier",
    "describe_reason",
    "generate_key",
    "inspect_token",
    "lint_identity",
    "lint_token",
    "load_identity",
    "load_personas",
    "mint_token",
    "verify_token",
]

_HOMES = {
    "Admission": "cache",
    "Advice": "lint",
    "Attribute": "attributes",
    "Finding": "inspect",
    "Identity": "declared",
    "Inspection": "inspect",
    "Issuer": "declared",
    "MintRefused": "mint",
    "NewKey": "make_keys",
    "Principal": "principal",
    "Revocations": "revocations",
    "Verifier": "cache",
    "describe_reason": "reasons",
    "generate_key": "make_keys",
    "inspect_token": "inspect",
    "lint_identity": "lint",
    "lint_token": "lint",
    "load_identity": "issuers",
    "load_personas": "personas",
    "mint_token": "mint",
    "verify_token": "verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
