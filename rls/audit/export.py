"""A record → an event as other systems store it: OCSF (Datastore Activity) or ECS. Pure.

Source: OCSF 1.9.0, class 6005 with the profiles `security_control` and `ai_operation`; Elastic Common Schema 8.17.
What has no place there keeps its name, under `unmapped` (OCSF) or `rls` (ECS).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import rls

__all__ = ["FORMATS", "to_ecs", "to_ocsf"]

Record = Mapping[str, Any]

OCSF_VERSION: Final = "1.9.0"
ECS_VERSION: Final = "8.17.0"
_CLASS, _CATEGORY = 6005, 6
# Ours → OCSF's activity (4 Query, 3 Connect), and its caption.
_ACTIVITIES: Final = {
    "query": (4, "Query"),
    "guard": (4, "Query"),
    "explain": (4, "Query"),
    "session": (3, "Connect"),
    "audit": (1, "Read"),
}
# Ours → status (1 Success, 2 Failure), action (1 Allowed, 2 Denied; the disposition goes with it), severity (1
# Informational, 2 Low, 3 Medium).
_OUTCOMES: Final = {
    "allowed": (1, 1, 1),
    "denied": (1, 1, 1),
    "refused": (2, 2, 2),
    "rejected": (2, 2, 3),
    "limited": (2, 2, 2),
    "failed": (2, 1, 1),
}
_STATUS: Final = {1: "Success", 2: "Failure"}
_ACTION: Final = {1: "Allowed", 2: "Denied"}
_DISPOSITION: Final = {1: "Allowed", 2: "Blocked"}
_SEVERITY: Final = {1: "Informational", 2: "Low", 3: "Medium"}
_ECS_OUTCOMES: Final = {"allowed": "success", "denied": "success"}
_MAPPED: Final = frozenset(
    "time audit_id action code subject roles agent issuer token_id sql byte_count duration trace_id".split()  # noqa: SIM905
)

_ECS_MAPPED: Final = frozenset(("time", "audit_id", "action", "trace_id"))


def to_ocsf(record: Record) -> dict[str, Any]:
    """A Datastore Activity event.

    The source endpoint is the service that asked the engine, not the user's device, which a record does not know.
    """
    activity, caption = _ACTIVITIES.get(record["action"], (99, "Other"))
    status, action, severity = _OUTCOMES.get(record["outcome"], (2, 2, 2))
    user: dict[str, Any] = {"type_id": 1, "type": "User"}
    user["uid"] = record["subject"] or "unknown"
    if record["roles"]:
        user["groups"] = [{"name": role} for role in record["roles"]]
    actor: dict[str, Any] = {"user": user}
    if record["issuer"]:
        actor["session"] = {"issuer": record["issuer"], **_given("uid", record["token_id"])}
    if record["agent"]:
        actor["app_name"] = record["agent"]
    return {
        "activity_id": activity,
        "activity_name": caption,
        "category_uid": _CATEGORY,
        "category_name": "Application Activity",
        "class_uid": _CLASS,
        "class_name": "Datastore Activity",
        "type_uid": _CLASS * 100 + activity,
        "type_name": f"Datastore Activity: {caption}",
        "time": _milliseconds(record["time"]),
        "duration": round(record["duration"] * 1000),
        "severity_id": severity,
        "severity": _SEVERITY[severity],
        "status_id": status,
        "status": _STATUS[status],
        **_given("status_code", record["code"]),
        **_given("status_detail", record["detail"]),
        "action_id": action,
        "action": _ACTION[action],
        "disposition_id": action,
        "disposition": _DISPOSITION[action],
        "metadata": {
            "version": OCSF_VERSION,
            "uid": record["audit_id"],
            "profiles": ["security_control", *(["ai_operation"] if record["agent"] else [])],
            "product": {"name": "rls", "vendor_name": "rls", "version": rls.__version__},
            "log_name": "audit",
            "original_time": record["time"],
            **_given("correlation_uid", record["trace_id"]),
        },
        "actor": actor,
        **({"ai_agent": {"uid": record["agent"], "name": record["agent"]}} if record["agent"] else {}),
        "src_endpoint": {"svc_name": "rls"},
        "type_id": 1,
        "type": "Database",
        "database": {"uid": record["catalog_version"] or "unknown", "type": record["engine_version"]},
        **({"table": {"name": next(iter(record["relations"]))}} if record["relations"] else {}),
        "query_info": {
            "uid": record["sql_sha256"],
            "query_string": record["sql"],
            **_given("bytes", record["byte_count"]),
        },
        "authorizations": [
            {
                "decision": relation["kind"],
                "policy": {"name": ", ".join(relation["policies"]) or label, "version": record["policy_version"]},
            }
            for label, relation in record["relations"].items()
        ],
        "unmapped": {name: value for name, value in record.items() if name not in _MAPPED},
    }


def to_ecs(record: Record) -> dict[str, Any]:
    """An event of the Elastic Common Schema."""
    rejected = record["outcome"] == "rejected"
    refused = record["outcome"] in ("refused", "rejected", "limited")
    return {
        "@timestamp": record["time"],
        "ecs": {"version": ECS_VERSION},
        "event": {
            "id": record["audit_id"],
            "kind": "event",
            "category": ["authentication" if rejected else "database"],
            "type": ["start"] if rejected else ["access", "denied" if refused else "allowed"],
            "action": record["action"],
            "outcome": _ECS_OUTCOMES.get(record["outcome"], "failure"),
            "duration": round(record["duration"] * 1e9),
            "dataset": "rls.audit",
            "module": "rls",
            "provider": "rls",
            **_given("reason", record["code"]),
        },
        "user": {**_given("id", record["subject"]), **_given("roles", list(record["roles"]))},
        **({"error": {"code": record["code"]}} if record["code"] else {}),
        **({"trace": {"id": record["trace_id"]}} if record["trace_id"] else {}),
        **({"rule": _ecs_rule(record)} if record["relations"] else {}),
        **({"related": {"user": [record["subject"]]}} if record["subject"] else {}),
        "rls": {name: value for name, value in record.items() if name not in _ECS_MAPPED},
    }


FORMATS: Final[Mapping[str, Callable[[Record], dict[str, Any]]]] = {"ocsf": to_ocsf, "ecs": to_ecs, "json": dict}


def _ecs_rule(record: Record) -> dict[str, Any]:
    names = sorted({name for relation in record["relations"].values() for name in relation["policies"]})
    return {**_given("name", names), "version": record["policy_version"], "ruleset": "rls"}


def _given(name: str, value: Any) -> dict[str, Any]:
    """The member, where there is something to say."""
    return {} if value in (None, "", [], ()) else {name: value}


def _milliseconds(time: str) -> int:
    return round(datetime.fromisoformat(time).timestamp() * 1000)
