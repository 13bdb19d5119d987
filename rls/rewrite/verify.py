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
from rls.rewrite.functions import NOT_LITERAL, allowed_collation, allowed_type, bare_function, review
from rls.rewrite.guarded import Guard, Splice
from rls.rewrite.nodes import CLASSES, KEYS
from rls.rewrite.places import Places
from rls.rewrite.stand_ins import NAME, Short, shorten, stand_in_tree
from rls.rewrite.unfenced import is_ever_total, last_limit, may_be_bare
from rls.rewrite.unflat import SEEN, Growth

__all__ = ["verify"]

_DIGITS: Final = 38  # of a whole number that surely fits 128 bits
_SHORT: Final = 12  # characters; shorter replacements are names, not guards

# Names of common table expressions with their places in one WITH, how many of them are visible, and those around it.
Scope = tuple[Mapping[str, int], int, "Scope | None"]
# Nodes that are judged by more than their keys.
_JUDGED: Final = frozenset((
    "BASE_TABLE", "FUNCTION", "TABLE_FUNCTION", "TYPE", "COLLATE", "VALUE_CONSTANT", "VALUE_PARAMETER", "JOIN",
    "SHOW_REF",
))  # fmt: skip


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
            _check_growth(walk.growth, guards)
        case "another":
            pass
        case _:
            raise ValueError(runs_on)
    hides = any(guard.grant.hides for guard in guards)
    return hides and (walk.reads_statistics or any(_is_unchecked(guard.relation) for guard in guards))


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
        self.place, self.catalog, self.fenced, self.stand_ins = place, catalog, fenced, stand_ins
        self.expected: dict[tuple[str, ...], list[Any]] = {}
        self.view_names: set[str] = set()
        for (statement, path), relation in statements.items():
            tree = expected_guard(statement, relation)
            self.expected.setdefault(path, []).append(tree)
            if "subquery" in tree["from_table"]:
                self.view_names.add(tree["from_table"]["alias"])
        self.found: Counter[tuple[str, ...]] = Counter()
        self.stood: set[int] = set()  # the stand-ins that were found
        self.bound: Counter[str] = Counter()
        self.reads_statistics = False
        self.growth = Growth()
        self.odd_names: dict[str, Any] = {}
        self.aliases: set[str] = set()  # of select items and alias column lists
        self.guard_texts = {s.text for s in place.splices if len(s.text) > _SHORT}
        self.shortest = min(map(len, self.guard_texts), default=0)

    def read(self, text: str) -> None:
        """Have DuckDB parse a text, and walk over its tree. Raises `QueryRefused`."""
        try:
            trees = serialize(text)
        except EngineParseError as error:
            raise _refuse_parse(error, self.place) from None
        if len(trees) != 1:
            raise QueryRefused("query.statements", "the query holds more than one statement", hint="send one at a time")
        self._walk(trees[0])

    def compare(self, wanted: Counter[tuple[str, ...]], bound: Mapping[str, int]) -> None:
        """What was found, with what there must be. Raises `QueryRefused`."""
        if self.bound.keys() != bound.keys() or Counter(bound) - self.bound:
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
        own_limit = last_limit(root)
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
                raise self._construct(tree, kind)
            if not self.fenced and not may_be_bare(tree, kind) and tree is not own_limit:
                raise self._unguarded(tree)
            if alias := tree.get("alias"):
                self.aliases.add(fold(alias))
            if kind == "COLUMN_REF":  # most of them, and nothing is below
                self._note_name(tree)
                continue
            if names := tree.get("column_name_alias"):
                self.aliases.update(map(fold, names))
            if kind == "SELECT_NODE":
                if self._is_guard(tree):
                    continue
                if self._is_view_guard(tree):
                    # Its predicate and masks are the policies'; the view's own text is walked like the caller's.
                    stack.append((tree["from_table"], scope))
                    continue
            if sample := tree.get("sample"):
                self._check_sample(tree, sample)
            if kind in SEEN:
                self.growth.see(tree, kind)
            parts: Collection[Any] = tree.values()
            if kind in _JUDGED or kind.startswith("WINDOW_"):
                parts = self._check(tree, kind, scope)
            elif "cte_map" in tree:
                parts, scope = self._enter(tree, kind, scope, stack)
            stack += [(part, scope) for part in parts if part and (type(part) is dict or type(part) is list)]
        self._check_odd_names()

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
            raise self._unguarded(location)
        self.found[path] += 1
        return True

    def _is_stand_in(self, node: Any, place: Any) -> bool:
        """Whether a SELECT that reads the stand-ins' relation is one, at a place where one was put."""
        path, fenced = self.stand_ins.get(place, ((), True))
        if not path or bare(node) != stand_in_tree(fenced=fenced):
            raise self._unguarded({})
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

    def _check(self, tree: Any, kind: str, scope: Scope | None) -> Collection[Any]:
        """Judge one of the nodes that are judged; the parts to go on with."""
        match kind:
            case "BASE_TABLE":
                self._check_base_table(tree, scope)
            case "FUNCTION" | "TABLE_FUNCTION":
                if kind == "FUNCTION":
                    self._check_function(tree, "expression")
                else:
                    function = tree["function"]
                    if function.get("type") != "FUNCTION":
                        raise self._construct(tree, kind)
                    self._check_function(function, "table")
                    # Its arguments only: as an expression the same name may be judged otherwise.
                    return [function["arguments"], tree["sample"]]
            case "TYPE":
                if (
                    tree["schema"]
                    or tree["catalog"]
                    or len(tree["qualified_name"]["path"]) != 1
                    or not allowed_type(tree["type_name"])
                ):
                    raise self._refuse(tree, "query.type", f"the type `{tree['type_name'][:60]}` is not allowed")
                self.reads_statistics |= fold(tree["type_name"]) == "uhugeint"
            case "COLLATE":
                if not allowed_collation(tree["collation"]):
                    raise self._refuse(
                        tree, "query.collation", f"the collation `{tree['collation'][:60]}` is not allowed"
                    )
            case "VALUE_CONSTANT":
                # A guard that one parser reads as a query and the other as a string would show a policy.
                literal = tree.get("literal")
                text = str(literal.get("text") or "") if isinstance(literal, dict) else ""
                if (
                    isinstance(literal, dict)
                    and literal.get("kind") == "INTEGER"
                    and len(text) > _DIGITS
                    and _is_huge(text)
                ):
                    # A BIGNUM, whose casts invalidate the instance.
                    raise self._refuse(tree, "query.number", "a whole number beyond 128 bits", "write it as a DOUBLE")
                if self.guard_texts and len(text) >= self.shortest and any(one in text for one in self.guard_texts):
                    raise self._unguarded(tree)
                if isinstance(literal, dict) and literal.keys() == {"kind", "text"} and tree.get("value") is None:
                    return []
            case "VALUE_PARAMETER":
                name = fold(tree["identifier"])
                if name.startswith("rls_"):
                    self.bound[name] += 1
            case "JOIN":
                if tree["ref_type"] not in ("REGULAR", "NATURAL", "CROSS", "POSITIONAL", "ASOF", "NEAREST"):
                    raise self._construct(tree, f"{tree['ref_type']} JOIN")
                if any(fold(name) == "rowid" for name in tree["using_columns"]):
                    self.odd_names.setdefault("rowid", tree)
            case "SHOW_REF":
                if tree["query"] is None or tree["show_type"] not in ("SUMMARY", "DESCRIBE") or tree["table_name"]:
                    raise self._construct(tree, "SHOW")
            case kind if kind.startswith("WINDOW_"):
                self._check_function(tree, "expression")
            case _:
                pass
        return tree.values()  # type: ignore[no-any-return]

    def _check_sample(self, tree: Any, sample: Any) -> None:
        """By rows only: by chunks, or by a seed over stored positions, a sample tells how hidden rows lie."""
        method = sample["method"]
        if method != "Bernoulli" and not (method == "Reservoir" and not sample["repeatable"] and sample["seed"] < 0):
            raise self._refuse(
                tree, "query.sample", "this way of sampling depends on hidden rows", "use bernoulli, or no seed"
            )

    def _check_base_table(self, tree: Any, scope: Scope | None) -> None:
        path = tree["qualified_name"]["path"]
        if tree["at_clause"] is not None:
            raise self._refuse(tree, "query.time_travel", "reading an older version of a relation is not supported")
        name = fold(path[-1])
        if len(path) == 1 or (len(path) == 2 and fold(path[0]) == "recurring"):
            while scope is not None:
                names, visible, scope = scope
                if names.get(name, visible) < visible:
                    return
        raise self._unguarded(tree)

    def _check_function(self, tree: Any, kind: str) -> None:
        name = tree["function_name"]
        path = tree["qualified_name"]["path"]
        found = review(name, kind)
        if not self.fenced and (found is None or not is_ever_total(found)):
            raise self._unguarded(tree)
        if tree["catalog"] or len(path) > 2 or found is None or found.verdict == "forbidden":
            raise self._function(tree, name)
        if tree.get("type") == "FUNCTION" and kind == "expression":
            self.growth.see(tree, "FUNCTION", found)
        if tree.get("export_state"):
            raise self._construct(tree, "EXPORT_STATE")
        if found.condition:
            self.reads_statistics |= "statistics" in found.condition.split()
            arguments = [_literal(a.get("expression", a)) for a in tree["arguments"]]
            # `x.repeat(3)` and `main.repeat(x, 3)` are one tree: hold the condition for both readings.
            readings = [arguments] if len(path) == 1 else [arguments, [NOT_LITERAL, *arguments]]
            if not all(found.permits(reading) for reading in readings):
                raise self._function(tree, name)

    def _note_name(self, tree: Any) -> None:
        """`rowid` and `current_schema` are columns where there is one of that name, else a relation's physical row
        number and a function: judged when all is seen."""
        names = tree["column_names"]
        last = fold(names[-1])
        if last == "rowid":
            self.odd_names.setdefault(last, tree)
        elif len(names) == 1 and (function := bare_function(last)) is not None:
            found = review(function, "expression")
            if found is None or found.verdict == "forbidden":
                self.odd_names.setdefault(last, tree)

    def _check_odd_names(self) -> None:
        if not self.odd_names:
            return
        columns = {fold(c.name) for r in self.catalog.relations.values() for c in r.columns}
        for name, tree in self.odd_names.items():
            if name in columns or name in self.aliases:
                continue
            if name == "rowid":
                raise self._refuse(
                    tree,
                    "query.rowid",
                    "`rowid` counts hidden rows too",
                    "use a key, or row_number() OVER (ORDER BY …)",
                )
            raise self._function(tree, name)

    def _refuse(self, tree: Any, code: str, message: str, hint: str | None = None) -> QueryRefused:
        return QueryRefused(code, message, position=self.place.of(tree), hint=hint)

    def _function(self, tree: Any, name: str) -> QueryRefused:
        return self._refuse(
            tree, "query.function", f"the function `{name[:60]}` is not allowed here", "see the reviewed function table"
        )

    def _construct(self, tree: Any, kind: str) -> QueryRefused:
        words = kind.replace("_", " ").lower()
        return self._refuse(tree, "query.construct", f"`{words[:60]}` is not supported in a query")

    def _unguarded(self, tree: Any) -> QueryRefused:
        return self._refuse(
            tree,
            "query.unguarded",
            "a relation is named in a way that could not be guarded",
            "write schema.name, with double quotes where needed",
        )


def _is_huge(text: str) -> bool:
    digits = text.replace("_", "").removeprefix("-")
    if not digits.isdigit() or len(digits) > _DIGITS + 1:
        return True
    return int(digits) > 2**127 if text.startswith("-") else int(digits) >= 2**128


def _literal(tree: Any) -> object:
    """The value of a literal argument (`-5` too), else `NOT_LITERAL`."""
    sign = 1
    if tree.get("class") == "FUNCTION" and tree["function_name"] in ("-", "+") and len(tree["arguments"]) == 1:
        sign = -1 if tree["function_name"] == "-" else 1
        tree = tree["arguments"][0]["expression"]
    if tree.get("class") != "CONSTANT" or not isinstance(tree.get("literal"), dict):
        return NOT_LITERAL
    kind, text = tree["literal"].get("kind"), tree["literal"].get("text")
    match kind:
        case "STRING":
            return text if sign == 1 else NOT_LITERAL
        case "INTEGER":
            return sign * int(text)
        case "DECIMAL" | "FLOAT" | "DOUBLE" | "NUMERIC":
            return sign * float(text)
        case _:
            return NOT_LITERAL


def _refuse_parse(error: EngineParseError, place: Places) -> QueryRefused:
    text = str(error)
    if "Max expression depth" in text or error.kind == "nesting":
        return QueryRefused("query.too_nested", "the query is nested too deeply", hint="use WITH to name inner parts")
    if text.startswith("Only SELECT statements"):
        return QueryRefused(
            "query.statement_kind",
            "this kind of statement is not a query that can be checked",
            hint="only SELECT, FROM, WITH, VALUES, PIVOT, UNPIVOT, SUMMARIZE and DESCRIBE run here",
        )
    return QueryRefused(
        "query.syntax",
        "the query does not parse",
        position=place.at(error.position),
        hint="check the syntax near there",
        detail=text,
    )
