"""A persona and a relation or query → what the engine answers, and the grants behind it; each thing is asked once.

Takes a `World`; every answer comes from an engine session like any user's. Where a column that names rows is masked or
denied, the rows are told apart by the grant's own predicate over the rows as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from rls.catalog import Relation, fold, quote
from rls.errors import RlsError
from rls.lab.world.raw import Rows
from rls.lab.world.world import World
from rls.policy.grant import Grant
from rls.result import Result

__all__ = ["QueryView", "RelationView", "filter_sql", "key_condition", "renamed_filter"]


def filter_sql(grant: Grant | None) -> str:
    """Which rows a grant leaves, as SQL over the relation."""
    match grant:
        case None:
            return "FALSE"
        case Grant(kind="always"):
            return "TRUE"
        case Grant(kind="conditional"):
            return f"({grant.predicate})"
        case _:
            return "FALSE"


def renamed_filter(grant: Grant | None, prefix: str) -> tuple[str, dict[str, object]]:
    """A grant's rows as SQL whose parameters begin with `prefix`, so that several grants fit one statement."""
    if grant is None or grant.kind != "conditional":
        return filter_sql(grant), {}
    text = re.sub(r"\$rls_(?=\w)", f"${prefix}_", filter_sql(grant))
    return text, {re.sub(r"^rls_", f"{prefix}_", name): value for name, value in grant.parameters.items()}


def key_condition(
    rows: Rows, relation: Relation, key: Sequence[str], keys: Sequence[Sequence[Any]]
) -> tuple[str, dict[str, Any]]:
    """The rows with these keys, as SQL for `rows` and its parameters; values are read as the columns' types."""
    parts, parameters = [], {}
    for number, values in enumerate(keys):
        tests = []
        for index, (name, value) in enumerate(zip(key, values, strict=True)):
            column = relation.column(name)
            kind = column.type if column is not None else "VARCHAR"
            bound = f"key_{number}_{index}"
            test, parameters[bound] = rows.equal(f"{quote(relation.name)}.{quote(name)}", kind, bound, value)
            tests.append(test)
        parts.append(f"({' AND '.join(tests)})")
    return f"({' OR '.join(parts)})" if parts else "FALSE", parameters


@dataclass
class RelationView:
    """A relation as a persona sees it. Methods raise `RlsError` as a session does."""

    world: World
    persona: str
    relation: Relation
    _answers: dict[str, Result] = field(default_factory=dict)
    _keys: dict[tuple[str, ...], list[tuple[Any, ...]]] = field(default_factory=dict)

    @classmethod
    def of(cls, world: World, persona: str, relation: Relation) -> RelationView:
        """The view of a world: cases that ask the same thing share its answers, since neither rows nor time move."""
        found = world.views.setdefault((persona, relation.key), cls(world, persona, relation))
        assert isinstance(found, cls)  # noqa: S101 - nothing else is put there
        return found

    @cached_property
    def grant(self) -> Grant | None:
        return self.world.grant(self.persona, self.relation)

    @property
    def name(self) -> str:
        """The relation's name as SQL."""
        return ".".join(map(quote, (*self.relation.schema, self.relation.name)))

    def ask(self, what: str, clauses: str = "") -> Result:
        """`SELECT what FROM the relation`, through the engine."""
        sql = f"SELECT {what} FROM {self.name} {clauses}".rstrip()
        if sql not in self._answers:
            self._answers[sql] = self.world.session(self.persona).query(sql)
        return self._answers[sql]

    def refusal(self, key: tuple[str, ...] = ()) -> RlsError | None:
        """Why the relation cannot be read at all; None where it can. With a `key`, its keys are what is asked for."""
        try:
            if key:
                self.keys(key)
            else:
                self.count  # noqa: B018
        except RlsError as error:
            return error
        return None

    @property
    def count(self) -> int:
        """Visible rows."""
        for keys in self._keys.values():
            return len(keys)
        return int(self.ask("count(*)").rows[0][0])

    @cached_property
    def total(self) -> int:
        """All rows. A view has no rows of its own to compare with: those that its text gives."""
        return self.world.total(self.relation)

    def keys(self, key: tuple[str, ...]) -> list[tuple[Any, ...]]:
        """The keys of the visible rows."""
        if key not in self._keys:
            self._keys[key] = self._read_keys(key)
        return self._keys[key]

    def _read_keys(self, key: tuple[str, ...]) -> list[tuple[Any, ...]]:
        grant = self.grant
        picked = ", ".join(map(quote, key))
        hidden = {fold(name) for name in (() if grant is None else (*grant.masks, *grant.denied))}
        if grant is None or not any(fold(name) in hidden for name in key):
            return self.ask(picked).rows
        source = self.world.raw.source(self.relation)
        return self.world.raw.rows(f"SELECT {picked} FROM {source} WHERE {filter_sql(grant)}", grant.parameters)


@dataclass
class QueryView:
    """A query's answer for a persona."""

    world: World
    persona: str
    sql: str
    parameters: Mapping[str, Any]

    @cached_property
    def result(self) -> Result:
        return self.world.session(self.persona).query(self.sql, dict(self.parameters))

    @cached_property
    def _refusal(self) -> RlsError | None:
        try:
            self.result  # noqa: B018
        except RlsError as error:
            return error
        return None

    def refusal(self) -> RlsError | None:
        """Why it was refused; None where it ran."""
        return self._refusal

    @cached_property
    def grants(self) -> Mapping[str, Grant]:
        """What it reads, by label."""
        return self.world.session(self.persona).explain(self.sql).grants
