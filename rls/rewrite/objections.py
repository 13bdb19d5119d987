"""What the verifier objects to → the refusal its caller sees: one line, a stable code, a place in the caller's text.

Takes nodes of DuckDB's syntax tree, and DuckDB's own errors; owns that a refusal says nothing of policies.
"""

from __future__ import annotations

from typing import Any

from rls.errors import QueryRefused
from rls.rewrite.engine_ast import EngineParseError
from rls.rewrite.places import Places

__all__ = ["Objections"]


class Objections:
    """Refusals of one text."""

    def __init__(self, place: Places) -> None:
        self.place = place

    def to(self, tree: Any, code: str, message: str, hint: str | None = None) -> QueryRefused:
        """For a reason of its own."""
        return QueryRefused(code, message, position=self.place.of(tree), hint=hint)

    def to_function(self, tree: Any, name: str) -> QueryRefused:
        """The function is not allowed, or not like this."""
        return self.to(
            tree, "query.function", f"the function `{name[:60]}` is not allowed here", "see the reviewed function table"
        )

    def to_construct(self, tree: Any, kind: str) -> QueryRefused:
        """The kind of node is not allowed."""
        words = kind.replace("_", " ").lower()
        return self.to(tree, "query.construct", f"`{words[:60]}` is not supported in a query")

    def to_unguarded(self, tree: Any) -> QueryRefused:
        """What reads a relation is no guard, or stands where there must be none."""
        return self.to(
            tree,
            "query.unguarded",
            "a relation is named in a way that could not be guarded",
            "write schema.name, with double quotes where needed",
        )

    def to_text(self, error: EngineParseError) -> QueryRefused:
        """DuckDB does not read the text."""
        text = str(error)
        if "Max expression depth" in text or error.kind == "nesting":
            return QueryRefused(
                "query.too_nested", "the query is nested too deeply", hint="use WITH to name inner parts"
            )
        if text.startswith("Only SELECT statements"):
            return QueryRefused(
                "query.statement_kind",
                "this kind of statement is not a query that can be checked",
                hint="only SELECT, FROM, WITH, VALUES, PIVOT, UNPIVOT, SUMMARIZE and DESCRIBE run here",
            )
        return QueryRefused(
            "query.syntax",
            "the query does not parse",
            position=self.place.at(error.position),
            hint="check the syntax near there",
            detail=text,
        )
