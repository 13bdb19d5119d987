"""MotleyAI/slayer: `apply_session_policy` with a column's value, the simplest it has. Runs in its environment."""

from __future__ import annotations

from serve import serve
from slayer.core.policy import ColumnFilterRuleset, SessionPolicy
from slayer.sql.session_policy import apply_session_policy

POLICY = SessionPolicy(ruleset=ColumnFilterRuleset(column="slot", value=3, on_unapplicable="pass"))


def rewrite(sql: str, relations: list[str]) -> str:
    filtered = set(relations)
    return apply_session_policy(
        sql, dialect="duckdb", policy=POLICY, has_column=lambda table, _column: table.name in filtered
    )


serve(rewrite)
