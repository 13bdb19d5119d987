"""What a query would become and why, for people. A value object; making one touches no data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rls.policy.grant import Grant
from rls.rewrite.guarded import GuardedQuery, Splice

__all__ = ["Explanation", "describe_barrier", "explain_guarded"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """For the author of policies, not for the caller: it shows policy text.

    `original` and `sql` are the text before and after, `splices` the places where they differ (offsets in `original`).
    `grants` maps each relation that is read to its grant; `masked` and `denied` name its columns that are shown
    changed, or not at all. `parameters` are bound when it runs: attribute values of this principal.

    `fingerprint` is that of the text as the engine would run it; for a cache ask `Engine.guard`.

    `fence_reason` says why the guards hold a fence ("" where there is none: nothing in the query could tell of a hidden
    row), `copied` the caller's own conditions below the fences, by relation, `hide_statistics` whether DuckDB runs it
    without looking at stored extremes.
    """

    original: str
    sql: str
    splices: tuple[Splice, ...]
    grants: Mapping[str, Grant]
    masked: Mapping[str, tuple[str, ...]]
    denied: Mapping[str, tuple[str, ...]]
    parameters: Mapping[str, object]
    attributes_read: tuple[str, ...]
    fingerprint: str
    policy_version: str
    fence_reason: str = ""
    hide_statistics: bool = False
    copied: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def references(self) -> tuple[str, ...]:
        """Labels of the relations that are read, those inside views included."""
        return tuple(self.grants)

    def without_policies(self) -> Explanation:
        """What may be known without reading policies: which relations are read, and which columns are masked."""
        return replace(
            self,
            sql="",
            splices=(),
            grants={label: grant.without_policies() for label, grant in self.grants.items()},
            denied=dict.fromkeys(self.denied, ()),
            parameters={},
        )

    def _repr_html_(self) -> str:
        """Before and after and why, in a notebook."""
        from rls.notebook.views import explanation_html

        return explanation_html(self)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, for `--json`; values of attributes are left out."""
        return {
            "original": self.original,
            "sql": self.sql,
            "relations": {
                label: {
                    "kind": grant.kind,
                    "strict": grant.strict,
                    "filter": grant.predicate,
                    "policies": list(grant.policies),
                    "reasons": list(grant.reasons),
                    "masked": list(self.masked[label]),
                    "denied": list(self.denied[label]),
                }
                for label, grant in self.grants.items()
            },
            "barrier": {
                "fenced": bool(self.fence_reason),
                "reason": self.fence_reason,
                "hide_statistics": self.hide_statistics,
                "copied": {label: list(conditions) for label, conditions in self.copied.items()},
            },
            "parameters": sorted(self.parameters),
            "attributes_read": list(self.attributes_read),
            "fingerprint": self.fingerprint,
            "policy_version": self.policy_version,
        }


def explain_guarded(guarded: GuardedQuery) -> Explanation:
    """The explanation that a guarded query already holds."""
    return Explanation(
        original=guarded.original,
        sql=guarded.sql,
        # What another engine runs shares no part with the caller's text.
        splices=guarded.splices if guarded.dialect == "duckdb" else (Splice(0, len(guarded.original), guarded.sql),),
        grants=guarded.grants,
        masked={label: tuple(sorted(grant.masks)) for label, grant in guarded.grants.items()},
        denied={label: tuple(sorted(grant.denied)) for label, grant in guarded.grants.items()},
        parameters=guarded.parameters,
        attributes_read=guarded.attributes_read,
        fingerprint=guarded.fingerprint,
        policy_version=guarded.policy_version,
        fence_reason=guarded.fence_reason,
        hide_statistics=guarded.hide_statistics,
        copied={
            label: tuple(
                dict.fromkeys(c for one in guarded.guards if one.relation.label == label for c in one.conjuncts)
            )
            for label in guarded.grants
            if any(one.conjuncts for one in guarded.guards if one.relation.label == label)
        },
    )


def describe_barrier(explanation: Explanation) -> list[str]:
    """How hidden rows are kept from being observed, in words; the first line says what the others are about."""
    if all(grant.kind == "always" for grant in explanation.grants.values()):
        hidden = ["DuckDB does not look at stored extremes"] if explanation.hide_statistics else []
        return ["none: no row is hidden", *hidden]
    if not explanation.fence_reason and explanation.hide_statistics:
        return ["none: what may raise is evaluated on rows of the answer only"]
    if not explanation.fence_reason:
        return ["none: nothing in the query could tell of a hidden row"]
    lines = [f"fence: {explanation.fence_reason}"]
    for label, conditions in explanation.copied.items():
        lines += [f"below it in {label}: {condition}" for condition in conditions]
    if explanation.hide_statistics:
        lines.append("DuckDB does not look at stored extremes")
    return lines
