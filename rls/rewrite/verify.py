"""Final text → nothing, or a refusal: the second parser reads what the first one's splices made.

Takes the text that will run and what may be in it; walks DuckDB's own syntax tree. Owns invariants (closed) and, with
`guard`, (guarded). It shares no code with `guard`: what a guard must look like is written a second time in
`expected`, and compared tree by tree. Every node class, key, function, type and parameter is allowed by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final, Literal

from rls.catalog import Catalog, Relation, fold
from rls.errors import QueryRefused
from rls.rewrite.engine_ast import EngineParseError, bare, serialize
from rls.rewrite.expected import expected_guard, expected_statement, guard_path
from rls.rewrite.guarded import Guard, Splice
from rls.rewrite.judge import JUDGED, Judge
from rls.rewrite.nodes import CLASSES, KEYS
from rls.rewrite.objections import Objections
from rls.rewrite.places import Places
from rls.rewrite.stand_ins import NAME, Short, shorten, stand_in_tree
from rls.rewrite.unfenced import last_limit, may_be_bare
from rls.rewrite.unflat import SEEN, Growth

__all__ = ["verify"]

_SHORT: Final = 12  # characters; shorter replacements are names, not guards

# Names of common table expressions with their places in one WITH, how many of them are visible, and those around it.
Scope = tuple[Mapping[str, int], int, "Scope | None"]


def verify(
    text: str,
    *,
    catalog: Catalog,
    guards: Sequence[Guard],
    bound: Mapping[str, int],
    original: str = "",
    splices: Sequence[Splice] = (),
    runs_on: Literal["duckdb", "another"] = "duckdb",
) -> bool:
    """Check the final text: one query, every base relation inside its expected guard, nothing that is not allowed.

    `guards` lists every guard that the text must hold, once for each time; `bound` how often the
    text binds each `rls_` parameter outside the guards (`user.<attribute>`); other parameters are the caller's own.
    `original` and `splices` only serve to point into the caller's text. An engine that is not DuckDB runs another text,
    made of this one, and has no dictionaries.
    Returns whether the text must run with statistics hidden: DuckDB would run a function of it on the stored extremes
    of a column, or choose unchecked arithmetic by them.
    Raises `QueryRefused`: `query.syntax`, `.statements`, `.statement_kind`, `.construct`, `.function`, `.type`,
    `.collation`, `.parameter`, `.number`, `.sample`, `.rowid`, `.unguarded`.
    """
    wanted: Counter[tuple[str, ...]] = Counter()
    statements: dict[tuple[str, tuple[str, ...]], Relation] = {}
    seen: set[object] = set()
    for guard in guards:
        path = guard_path(catalog, guard.relation)
        wanted[path] += 1
        written = (path, id(guard.grant), guard.conjuncts, guard.fenced)
        if written not in seen:
            seen.add(written)
            statements[expected_statement(guard, catalog), path] = guard.relation
    fenced = all(guard.fenced or guard.grant.kind == "always" for guard in guards)

    def read(short: Short | None) -> _Walk:
        place = Places(text, original, splices)
        walk = _Walk(place, statements, catalog, fenced=fenced, stand_ins=short.guards if short else {})
        walk.read(short.text if short else text)
        walk.compare(wanted, bound)
        return walk

    short = shorten(text, [one for one, relation in statements.items() if relation.kind == "table"])
    try:
        walk = read(short)
    except QueryRefused:
        if short is None:
            raise
        # What is wrong, and where, is told of the text itself.
        walk = read(None)
    match runs_on:
        case "duckdb":
            _check_growth(walk.judge.growth, guards)
        case "another":
            pass
        case _:
            raise ValueError(runs_on)
    hides = any(guard.grant.hides for guard in guards)
    return hides and (walk.judge.reads_statistics or any(_is_unchecked(guard.relation) for guard in guards))


def _check_growth(growth: Growth, guards: Sequence[Guard]) -> None:
    """What makes much of stored texts runs on rows that passed a filter: above a fence, and without a dictionary."""
    for guard in guards:
        if not guard.grant.hides:
            continue
        if growth.of_many if guard.fenced and not guard.flat else growth.of_one and not guard.fenced:
            raise QueryRefused(
                "query.unguarded",
                "the query could make much of texts in rows that it may not see",
                hint="simplify it; this is worth a bug report",
            )


def _is_unchecked(relation: Relation) -> bool:
    return any("UHUGEINT" in column.type for column in relation.columns)


class _Walk:
    """One pass over a tree with an explicit stack: text nests deeper than Python's."""

    def __init__(
        self,
        place: Places,
        statements: Mapping[tuple[str, tuple[str, ...]], Relation],
        catalog: Catalog,
        *,
        fenced: bool,
        stand_ins: Mapping[int, tuple[tuple[str, ...], bool]],
    ) -> None:
        """`statements`: those that guards may be, with their relations; `stand_ins` as `Short.guards`."""
        self.catalog, self.fenced, self.stand_ins = catalog, fenced, stand_ins
        self.objections = Objections(place)
        texts = {splice.text for splice in place.splices if len(splice.text) > _SHORT}
        self.judge = Judge(self.objections, texts, fenced=fenced)
        self.expected: dict[tuple[str, ...], list[Any]] = {}
        self.view_names: set[str] = set()
        for (statement, path), relation in statements.items():
            tree = expected_guard(statement, relation)
            self.expected.setdefault(path, []).append(tree)
            if "subquery" in tree["from_table"]:
                self.view_names.add(tree["from_table"]["alias"])
        self.found: Counter[tuple[str, ...]] = Counter()
        self.stood: set[int] = set()  # the stand-ins that were found

    def read(self, text: str) -> None:
        """Have DuckDB parse a text, and walk over its tree. Raises `QueryRefused`."""
        try:
            trees = serialize(text)
        except EngineParseError as error:
            raise self.objections.to_text(error) from None
        if len(trees) != 1:
            raise QueryRefused("query.statements", "the query holds more than one statement", hint="send one at a time")
        self._walk(trees[0])

    def compare(self, wanted: Counter[tuple[str, ...]], bound: Mapping[str, int]) -> None:
        """What was found, with what there must be. Raises `QueryRefused`."""
        if self.judge.bound.keys() != bound.keys() or Counter(bound) - self.judge.bound:
            raise QueryRefused("query.parameter", "parameters that start with `rls_` are reserved", hint="rename them")
        # At least: DuckDB copies a named window to its users and the operand of a CASE to its branches. One too few
        # means that a guard stands where the engine reads no query; of stand-ins, each must have been read.
        if wanted - self.found or self.stood != self.stand_ins.keys():
            raise QueryRefused(
                "query.unguarded",
                "the query could not be shown to read only what is permitted",
                hint="simplify it; this is worth a bug report",
                detail=f"guards found {dict(self.found)}, expected {dict(wanted)}",
            )

    def _walk(self, root: Any) -> None:
        stack: list[tuple[Any, Scope | None]] = [(root, None)]
        own_limit, judge = last_limit(root), self.judge
        while stack:
            tree, scope = stack.pop()
            if type(tree) is list:
                stack += [(item, scope) for item in tree if type(item) is dict or type(item) is list]
                continue
            kind = tree.get("type")
            if type(kind) is not str:
                # A structural record (argument, key and value, sample size): its parts are judged on their own.
                stack += [(v, scope) for k, v in tree.items() if (type(v) is dict or type(v) is list) and k != "type"]
                continue
            allowed = KEYS.get(kind)
            if allowed is None or not tree.keys() <= allowed or tree.get("class") not in CLASSES:
                raise self.objections.to_construct(tree, kind)
            if not self.fenced and not may_be_bare(tree, kind) and tree is not own_limit:
                raise self.objections.to_unguarded(tree)
            if alias := tree.get("alias"):
                judge.aliases.add(fold(alias))
            if kind == "COLUMN_REF":  # most of them, and nothing is below
                judge.note_name(tree)
                continue
            if names := tree.get("column_name_alias"):
                judge.aliases.update(map(fold, names))
            if kind == "SELECT_NODE":
                if self._is_guard(tree):
                    continue
                if self._is_view_guard(tree):
                    # Its predicate and masks are the policies'; the view's own text is walked like the caller's.
                    stack.append((tree["from_table"], scope))
                    continue
            if sample := tree.get("sample"):
                judge.check_sample(tree, sample)
            if kind in SEEN:
                judge.growth.see(tree, kind)
            parts: Collection[Any] = tree.values()
            if kind in JUDGED or kind.startswith("WINDOW_"):
                parts = judge.check(tree, kind)
            elif kind == "BASE_TABLE":
                self._check_base_table(tree, scope)
            elif "cte_map" in tree:
                parts, scope = self._enter(tree, kind, scope, stack)
            stack += [(part, scope) for part in parts if part and (type(part) is dict or type(part) is list)]
        judge.check_noted(self.catalog)

    def _enter(
        self, tree: Any, kind: str, scope: Scope | None, stack: list[tuple[Any, Scope | None]]
    ) -> tuple[Collection[Any], Scope | None]:
        """Put a query's common table expressions on the stack: each body sees the names before it. Returns what is
        left of the query, and the scope with all names, which that sees."""
        left = {key: value for key, value in tree.items() if key != "cte_map"}
        if (ctes := tree["cte_map"]) and ctes["map"]:
            names: dict[str, int] = {}
            for place, entry in enumerate(ctes["map"]):
                stack.append((entry["value"], (names, place, scope)))
                names.setdefault(fold(entry["key"]), place)
            scope = (names, place + 1, scope)
        if kind == "RECURSIVE_CTE_NODE":
            # The right side of its UNION sees the name of the whole.
            stack.append((left.pop("right"), ({fold(tree["cte_name"]): 0}, 1, scope)))
        return left.values(), scope

    def _is_guard(self, node: Any) -> bool:
        """Whether a SELECT is the expected guard of the relation it reads; its inside is then the policies', not the
        caller's. Anything that reads a data relation and is not exactly that is refused."""
        table = node["from_table"]
        if table["type"] != "BASE_TABLE":
            return False
        path = tuple(fold(part) for part in table["qualified_name"]["path"])
        if self.stand_ins and path == (NAME,):
            return self._is_stand_in(node, table.get("query_location"))
        if path[0] != fold(self.catalog.attached) or len(path) < 3:
            return False
        location = {"query_location": table.get("query_location")}
        if bare(node) not in self.expected.get(path, ()):
            raise self.objections.to_unguarded(location)
        self.found[path] += 1
        return True

    def _is_stand_in(self, node: Any, place: Any) -> bool:
        """Whether a SELECT that reads the stand-ins' relation is one, at a place where one was put."""
        path, fenced = self.stand_ins.get(place, ((), True))
        if not path or bare(node) != stand_in_tree(fenced=fenced):
            raise self.objections.to_unguarded({})
        if place not in self.stood:  # DuckDB copies some
            self.stood.add(place)
            self.found[path] += 1
        return True

    def _is_view_guard(self, node: Any) -> bool:
        """Whether a SELECT is the expected guard of a view that has policies of its own: compared as an outline,
        without its source."""
        table = node["from_table"]
        if table["type"] != "SUBQUERY" or table["alias"] not in self.view_names:
            return False
        outline = bare(deepcopy({**node, "from_table": {**table, "subquery": None}}))
        for path, trees in self.expected.items():
            if outline in trees:
                self.found[path] += 1
                return True
        return False

    def _check_base_table(self, tree: Any, scope: Scope | None) -> None:
        path = tree["qualified_name"]["path"]
        if tree["at_clause"] is not None:
            raise self.objections.to(
                tree, "query.time_travel", "reading an older version of a relation is not supported"
            )
        name = fold(path[-1])
        if len(path) == 1 or (len(path) == 2 and fold(path[0]) == "recurring"):
            while scope is not None:
                names, visible, scope = scope
                if names.get(name, visible) < visible:
                    return
        raise self.objections.to_unguarded(tree)
