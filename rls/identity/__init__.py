"""Token → Principal: who asks, proven. Names are loaded when first used, so importing this package is free."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rls.identity.attributes import Attribute
    from rls.identity.declared import Identity, Issuer
    from rls.identity.inspect import Finding, Inspection, inspect_token
    from rls.identity.issuers import load_identity
    from rls.identity.mint import MintRefused, mint_token
    from rls.identity.personas import load_personas
    from rls.identity.principal import Principal
    from rls.identity.reasons import describe_reason
    from rls.identity.verify import verify_token

__all__ = [
    "Attribute",
    "Finding",
    "Identity",
    "Inspection",
    "Issuer",
    "MintRefused",
    "Principal",
    "describe_reason",
    "inspect_token",
    "load_identity",
    "load_personas",
    "mint_token",
    "verify_token",
]

_HOMES = {
    "Attribute": "attributes",
    "Finding": "inspect",
    "Identity": "declared",
    "Inspection": "inspect",
    "Issuer": "declared",
    "MintRefused": "mint",
    "Principal": "principal",
    "describe_reason": "reasons",
    "inspect_token": "inspect",
    "load_identity": "issuers",
    "load_personas": "personas",
    "mint_token": "mint",
    "verify_token": "verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
