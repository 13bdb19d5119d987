"""Row-level security for analytics SQL: a verified token and a line of SQL go in, the rows that user may see come out.

>>> import rls
>>> engine = rls.Engine.open("warehouse.duckdb", policies="policies/", audit="audit.jsonl")  # doctest: +SKIP
>>> engine.query(token, "SELECT region, sum(amount) FROM orders GROUP BY region").rows  # doctest: +SKIP

Names are loaded when first used: importing this package imports no database, no parser and no cryptography.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rls.audit.log import AuditLog
    from rls.audit.read import read_records
    from rls.audit.record import AuditRecord
    from rls.audit.sinks import AuditSink
    from rls.audit.trace import traced
    from rls.audit.verify import verify_log
    from rls.catalog import Catalog, Column, Relation
    from rls.engine import Engine, Session
    from rls.engines.limits import Limits
    from rls.errors import (
        AuditFailed,
        EngineInvalid,
        PolicyInvalid,
        Position,
        QueryFailed,
        QueryRefused,
        RlsError,
        TokenRejected,
    )
    from rls.explanation import Explanation
    from rls.identity.cache import Verifier
    from rls.identity.declared import Identity
    from rls.identity.inspect import Inspection, inspect_token
    from rls.identity.issuers import load_identity
    from rls.identity.lint import lint_identity, lint_token
    from rls.identity.make_keys import generate_key
    from rls.identity.mint import mint_token
    from rls.identity.personas import load_personas
    from rls.identity.principal import Principal
    from rls.identity.verify import verify_token
    from rls.policy.check import check_policies
    from rls.policy.grant import Grant
    from rls.policy.load import load_policies
    from rls.policy.policy_set import PolicySet
    from rls.result import Result
    from rls.rewrite.guard import guard
    from rls.rewrite.guarded import GuardedQuery

__version__ = "0.1.0"

__all__ = [
    "AuditFailed",
    "AuditLog",
    "AuditRecord",
    "AuditSink",
    "Catalog",
    "Column",
    "Engine",
    "EngineInvalid",
    "Explanation",
    "Grant",
    "GuardedQuery",
    "Identity",
    "Inspection",
    "Limits",
    "PolicyInvalid",
    "PolicySet",
    "Position",
    "Principal",
    "QueryFailed",
    "QueryRefused",
    "Relation",
    "Result",
    "RlsError",
    "Session",
    "TokenRejected",
    "Verifier",
    "check_policies",
    "generate_key",
    "guard",
    "inspect_token",
    "lint_identity",
    "lint_token",
    "load_identity",
    "load_personas",
    "load_policies",
    "mint_token",
    "read_records",
    "traced",
    "verify_log",
    "verify_token",
]

_HOMES = {
    "AuditFailed": "errors",
    "AuditLog": "audit.log",
    "AuditRecord": "audit.record",
    "AuditSink": "audit.sinks",
    "Catalog": "catalog",
    "Column": "catalog",
    "Engine": "engine",
    "EngineInvalid": "errors",
    "Explanation": "explanation",
    "Grant": "policy.grant",
    "GuardedQuery": "rewrite.guarded",
    "Identity": "identity.declared",
    "Inspection": "identity.inspect",
    "Limits": "engines.limits",
    "PolicyInvalid": "errors",
    "PolicySet": "policy.policy_set",
    "Position": "errors",
    "Principal": "identity.principal",
    "QueryFailed": "errors",
    "QueryRefused": "errors",
    "Relation": "catalog",
    "Result": "result",
    "RlsError": "errors",
    "Session": "engine",
    "TokenRejected": "errors",
    "Verifier": "identity.cache",
    "check_policies": "policy.check",
    "generate_key": "identity.make_keys",
    "guard": "rewrite.guard",
    "inspect_token": "identity.inspect",
    "lint_identity": "identity.lint",
    "lint_token": "identity.lint",
    "load_identity": "identity.issuers",
    "load_personas": "identity.personas",
    "load_policies": "policy.load",
    "mint_token": "identity.mint",
    "read_records": "audit.read",
    "traced": "audit.trace",
    "verify_log": "audit.verify",
    "verify_token": "identity.verify",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("rls.errors")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(ipython: Any) -> None:
    """`%load_ext rls` in a notebook: the magics `%rls` and `%%rls`, for queries as a persona sees them."""
    from rls.notebook.magic import install

    install(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """`%unload_ext rls`."""
    from rls.notebook.magic import remove

    remove(ipython)
