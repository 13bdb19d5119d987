"""A persona's queries, asked of copies that look the same to it → the queries whose answers differ.

Takes a database, policies, a persona and queries; returns `Findings`. A difference counts as a leak unless SQL leaves
the answer open: then it shows as well without guards, over visible rows alone that are stored in another order.
Owns that a leak is reported with the smallest query found that shows it.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from rls.catalog import Catalog, quote
from rls.engines.lockdown import IGNORE_EXTREMES
from rls.engines.zone import reckon_in_utc
from rls.errors import PolicyInvalid, RlsError
from rls.identity.principal import Principal
from rls.lab.leaks.copies import Plan, make_copy, plan_copies, same_view
from rls.lab.leaks.questions import generate_queries
from rls.lab.leaks.shrink import shrink
from rls.lab.world.observe import filter_sql
from rls.lab.world.values import canonical_row, show
from rls.lab.world.world import World, open_file, open_live
from rls.policy.grant import Grant
from rls.policy.policy_set import PolicySet

__all__ = ["Findings", "Leak", "find_leaks"]

# Of time and space the README promises nothing.
_BOUNDS: Final = ("run.timeout", "run.memory", "run.busy", "run.interrupted", "run.restarted", "run.rows")
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Leak:
    """A query that answers otherwise though only hidden rows differ. `smallest` shows it too; `answers` are the two."""

    persona: str
    query: str
    smallest: str
    answers: tuple[str, str]
    round: int

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "persona": self.persona,
            "query": self.query,
            "smallest": self.smallest,
            "answers": list(self.answers),
            "round": self.round,
        }


@dataclass(frozen=True)
class Findings:
    """What was asked and found. `asked` counts queries times rounds; `open` are queries whose answer SQL leaves open,
    `refused` those that were refused (everywhere the same), `unchanged` tables whose hidden rows could not be changed,
    since policies read them."""

    leaks: tuple[Leak, ...]
    asked: int
    refused: int
    open: tuple[str, ...]
    unchanged: tuple[str, ...]
    hidden_tables: tuple[str, ...]


def find_leaks(
    database: Path,
    policies: PolicySet,
    persona: tuple[str, Principal],
    *,
    queries: Sequence[str] | None = None,
    rounds: int = 3,
    rows: int = 2000,
    seed: int = 1,
    on_step: Callable[[str, int, int], None] | None = None,
) -> Findings:
    """Ask `queries` (None: generated from the catalog) of pairs of copies.

    rounds   pairs of copies
    rows     visible and hidden rows copied of each table, at most
    """
    name, principal = persona
    with open_live(database, policies, {name: principal}) as world:
        catalog = world.catalog.attached_as("copied").from_schema(("main",))
        grants = {r.key: _grant(policies, r, principal, catalog) for r in world.tables()}
    asked = list(queries) if queries is not None else generate_queries(catalog, grants)
    work = _Work(database, policies, name, principal, catalog, grants, rows)
    leaks: dict[str, Leak] = {}
    refused, unsettled, unchanged, hidden = 0, dict[str, None](), dict[str, None](), dict[str, None]()
    for number in range(rounds):
        with work.pair(f"{seed}/{number}") as pair:
            unchanged.update(dict.fromkeys(pair.unchanged))
            hidden.update(dict.fromkeys(pair.hidden))
            for done, query in enumerate(asked):
                if on_step is not None:
                    on_step(f"{name}, copies {number + 1} of {rounds}", number * len(asked) + done, rounds * len(asked))
                if query in leaks:
                    continue
                match pair.judge(query):
                    case "leak":
                        smallest = shrink(query, lambda text: pair.judge(text) == "leak", attempts=150, seconds=15.0)
                        answers = (pair.describe(0, smallest), pair.describe(1, smallest))
                        leaks[query] = Leak(name, query, smallest, answers, number)
                    case "open":
                        unsettled[query] = None
                    case "refused":
                        refused += number == 0
                    case _:
                        pass
    return Findings(
        tuple(leaks.values()), len(asked) * rounds, refused, tuple(unsettled), tuple(unchanged), tuple(sorted(hidden))
    )


def _grant(policies: PolicySet, relation: Any, principal: Principal, catalog: Catalog) -> Grant | None:
    try:
        return policies.grant(relation, principal, catalog)
    except PolicyInvalid:
        return None


@dataclass(frozen=True)
class _Work:
    database: Path
    policies: PolicySet
    name: str
    principal: Principal
    catalog: Catalog
    grants: dict[tuple[str, ...], Grant | None]
    rows: int

    @contextlib.contextmanager
    def pair(self, seed: str) -> Iterator[_Pair]:
        """Two copies that look the same, and what is visible alone, forwards and backwards."""
        with tempfile.TemporaryDirectory(prefix="rls-leaks-") as folder, contextlib.ExitStack() as stack:
            plan, paths, modes = self._copies(Path(folder), seed)
            worlds = [
                stack.enter_context(
                    open_file(path, self.policies, {self.name: self.principal}, name=self.database.stem, now=None)
                )
                for path in paths
            ]
            plain = [stack.enter_context(_visible_only(plan, paths[0], backwards=b)) for b in (False, True)]
            kept = [r.label for r in plan.catalog.relations.values() if r.key in plan.frozen]
            yield _Pair(worlds, plain, self.name, tuple(kept), tuple(modes))

    def _copies(self, folder: Path, seed: str) -> tuple[Plan, list[Path], dict[str, str]]:
        for keep in (False, True):
            plan = plan_copies(
                self.database, self.catalog, self.policies, self.grants, rows=self.rows, keep_mapping_tables=keep
            )
            paths = [folder / f"{side}{keep}" / f"{self.database.stem}.duckdb" for side in ("a", "b")]
            modes: dict[str, str] = {}
            for side, path in zip(("a", "b"), paths, strict=True):
                path.parent.mkdir()
                modes |= make_copy(plan, path, seed=f"{seed}{side}")
            if keep or not same_view(plan, paths):
                break
        return plan, paths, modes


@dataclass
class _Pair:
    worlds: list[World]
    plain: list[duckdb.DuckDBPyConnection]
    persona: str
    unchanged: tuple[str, ...]
    hidden: tuple[str, ...]

    def judge(self, query: str) -> str:
        """`same`, `refused`, `bounded`, `open` or `leak`."""
        first, second = self._ask(0, query), self._ask(1, query)
        if any(a[0] == "error" and a[1].startswith(_BOUNDS) for a in (first, second)):
            return "bounded"
        # What is shown of them are the rows that happened to come first.
        if first[:4] == second[:4]:
            return "refused" if first[0] == "error" and first[1].startswith("query.") else "same"
        return "open" if self._is_open(query) else "leak"

    def describe(self, which: int, query: str) -> str:
        """An answer in a line."""
        answer = self._ask(which, query)
        if answer[0] == "error":
            return str(answer[1])
        return f"{answer[3]} rows: {answer[4]}" if answer[3] != 1 else str(answer[4])

    def _ask(self, which: int, query: str) -> tuple[Any, ...]:
        try:
            result = self.worlds[which].session(self.persona).query(query)
        except RlsError as error:
            return ("error", f"{error.code}: {error.message}")
        rows = [canonical_row(row) for row in result.rows]
        # Rows of a query that does not order them come in any order.
        found = sorted(rows, key=repr)
        shown = "; ".join(", ".join(map(show, row)) for row in result.rows[:_SHOWN])
        return ("rows", tuple(result.columns), tuple(map(repr, found)), len(rows), shown[:200])

    def _is_open(self, query: str) -> bool:
        """Whether the answer depends on how visible rows are stored, or one of them may fail."""
        answers = []
        for connection in self.plain:
            try:
                found = connection.sql(query)
                answers.append(sorted(map(repr, map(canonical_row, found.fetchall()))) if found is not None else None)
            except (duckdb.Error, ValueError, OverflowError):
                return True
        return answers[0] != answers[1]


@contextlib.contextmanager
def _visible_only(plan: Plan, copy: Path, *, backwards: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    """The rows and columns the persona sees, in a database of their own, without its optimizer if `backwards`."""
    connection = duckdb.connect(":memory:", config={"threads": 1})
    try:
        reckon_in_utc(connection)
        connection.execute(IGNORE_EXTREMES)
        location = str(copy).replace("'", "''")
        connection.execute(f"ATTACH '{location}' AS copied (READ_ONLY, TYPE duckdb)")
        connection.execute(f"ATTACH ':memory:' AS {quote(plan.catalog.name)}")
        connection.execute(f"USE {quote(plan.catalog.name)}")
        for relation in plan.catalog.relations.values():
            grant = plan.grants.get(relation.key)
            if relation.kind != "table" or grant is None:
                continue
            columns = []
            for column in relation.columns:
                if column.name not in grant.denied:
                    text = grant.masks.get(column.name) or f"{quote(relation.name)}.{quote(column.name)}"
                    columns.append(f"{text} AS {quote(column.name)}")
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {'.'.join(map(quote, relation.schema))}")
            order = "ORDER BY rowid DESC" if backwards else ""
            used = {k: v for k, v in grant.parameters.items() if f"${k}" in filter_sql(grant) + "".join(columns)}
            source = f"(SELECT *, rowid FROM {plan.catalog.source(relation)} {order}) AS {quote(relation.name)}"
            connection.execute(
                f"CREATE TABLE {'.'.join(map(quote, (*relation.schema, relation.name)))} AS"
                f" SELECT {', '.join(columns) or '1'} FROM {source} WHERE {filter_sql(grant)}",
                used or None,
            )
        if backwards:
            connection.execute("PRAGMA disable_optimizer")
        yield connection
    finally:
        connection.close()
