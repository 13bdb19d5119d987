"""The `claims` of an issuer → its claim map: from a preset of a known system, from JSON pointers, or from both.

Takes the entry of the identity file; returns a ClaimMap, or raises ValueError that says what is wrong. It owns what is
known of other systems' tokens; where one of them lets its users edit claims, the preset reads those it does not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rls.identity.declared import ClaimMap

if TYPE_CHECKING:
    from rls.identity.model import ClaimEntry

__all__ = ["claim_map"]

_HASURA = "https://hasura.io/jwt/claims"


def claim_map(entry: ClaimEntry) -> ClaimMap:
    """The claim map of an entry; its own pointers stand before those of its preset."""
    found = _preset(entry.preset, entry.namespace)
    if entry.subject is not None:
        found = replace(found, subject=_pointer(entry.subject))
    if entry.roles is not None:
        found = replace(found, roles=_pointer(entry.roles))
    if entry.attributes is not None:
        found = replace(found, attributes=_pointer(entry.attributes), prefix="", dashes=False, others=frozenset())
    return found


def _preset(name: str, namespace: str | None) -> ClaimMap:
    match name, namespace:
        case "toucan", None:
            return ClaimMap(("user", "distinctId"), ("user", "role"), ("user", "attributes"))
        case "supabase", None:
            # `user_metadata` can be edited by the user; only what the server sets counts.
            return ClaimMap(("sub",), ("role",), ("app_metadata",))
        case "superset", None:
            # Guest tokens carry SQL, which is nobody's to send: it is ignored, and said so.
            sql = ("rls_rules", "rls")
            return ClaimMap(("user", "username"), ("user", "roles"), ("user", "attributes"), ignored_sql=sql)
        case "hasura", _:
            # One role acts at a time there, and ours add up: so the default one, not all that are allowed.
            top = namespace or _HASURA
            others = frozenset(("x-hasura-user-id", "x-hasura-default-role", "x-hasura-allowed-roles", "x-hasura-role"))
            return ClaimMap(
                (top, "x-hasura-user-id"),
                (top, "x-hasura-default-role"),
                (top,),
                prefix="x-hasura-",
                dashes=True,
                others=others,
            )
        case "cube", None:
            return ClaimMap(("sub",), ("roles",), ())
        case "cube", str():
            return ClaimMap(("sub",), (namespace, "roles"), (namespace,))
        case "auth0", str():
            return ClaimMap(("sub",), (f"{namespace}roles",), (), prefix=namespace)
        case "auth0", None:
            raise ValueError("preset `auth0` needs the `namespace` that its claims begin with")
        case _:
            raise ValueError(f"preset `{name}` has no `namespace`")


def _pointer(text: str) -> tuple[str, ...]:
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])
