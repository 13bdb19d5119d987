"""apache/superset: `SQLStatement.apply_rls` with sub-queries, as its SQL Lab and charts do. Runs in its environment."""

from __future__ import annotations

from serve import serve
from superset.sql.parse import RLSMethod, SQLStatement, Table


def rewrite(sql: str, relations: list[str]) -> str:
    statement = SQLStatement(sql, engine="duckdb")
    predicates = {Table(name, "main", "data"): [statement.parse_predicate("slot = 3")] for name in relations}
    statement.apply_rls("data", "main", predicates, RLSMethod.AS_SUBQUERY)
    return str(statement.format())


serve(rewrite)
