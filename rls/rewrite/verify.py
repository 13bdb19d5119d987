"""Final text → nothing, or a refusal: the second parser reads what the first one's splices made.

Takes the text that will run and what may be in it; walks DuckDB's own syntax tree. Owns invariants (closed) and, with
`guard`, (guarded). It shares no code with `guard`: what a guard must look like is written here a second time, and
compared tree by tree. Every node class, key, function, type and parameter is allowed by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from rls.catalog import Catalog, Relation, fold
from rls.errors import Position, QueryRefused
from rls.rewrite.engine_ast import EngineParseError, bare, serialize
from rls.rewrite.functions import NOT_LITERAL, allowed_collation, allowed_type, bare_function, review
from rls.rewrite.guarded import Guard, Splice

__all__ = ["verify"]

_EXPRESSION = {"class", "type", "alias", "query_location", "query_location_length"}
_TABLE = {"type", "alias", "sample", "query_location", "query_location_length"}
_NODE = {"type", "modifiers", "cte_map"}
_WINDOW = _EXPRESSION | {
    "function_name", "schema", "catalog", "arguments", "partitions", "orders", "start", "end", "start_expr",
    "end_expr", "offset_expr", "default_expr", "ignore_nulls", "has_ignore_nulls", "filter_expr", "exclude_clause",
    "distinct", "arg_orders", "qualified_name",
}  # fmt: skip

# Node type → the keys it may have. A type or a key that is not here is refused: a new DuckDB release shows at once.
_ALLOWED: Final[dict[str, set[str]]] = {
    "SELECT_NODE": _NODE
    | {
        "select_list", "from_table", "where_clause", "group_expressions", "group_sets", "aggregate_handling",
        "having", "sample", "qualify",
    },
    "SET_OPERATION_NODE": _NODE | {"setop_type", "setop_all", "left", "right", "children"},
    "RECURSIVE_CTE_NODE": _NODE | {"cte_name", "union_all", "left", "right", "aliases", "key_targets"},
    "BASE_TABLE": _TABLE
    | {"schema_name", "table_name", "column_name_alias", "catalog_name", "at_clause", "qualified_name"},
    "SUBQUERY": _TABLE | _EXPRESSION | {"subquery", "column_name_alias", "subquery_type", "child", "comparison_type"},
    "JOIN": _TABLE
    | {
        "left", "right", "condition", "join_type", "ref_type", "using_columns", "delim_flipped",
        "duplicate_eliminated_columns", "is_implicit", "nearest_approx", "nearest_count", "nearest_order_type",
        "ranking_expression",
    },
    "EMPTY": _TABLE,
    "EXPRESSION_LIST": _TABLE | {"expected_names", "expected_types", "values"},
    "TABLE_FUNCTION": _TABLE | {"function", "column_name_alias", "with_ordinality"},
    "PIVOT": _TABLE
    | {"source", "aggregates", "unpivot_names", "pivots", "groups", "column_name_alias", "include_nulls"},
    "SHOW_REF": _TABLE | {"table_name", "query", "show_type", "catalog_name", "schema_name", "qualified_name"},
    "LIMIT_MODIFIER": {"type", "limit", "offset", "limit_type"},
    "ORDER_MODIFIER": {"type", "orders"},
    "DISTINCT_MODIFIER": {"type", "distinct_on_targets"},
    "ORDER_DEFAULT": {"type", "null_order", "expression"},
    "ASCENDING": {"type", "null_order", "expression"},
    "DESCENDING": {"type", "null_order", "expression"},
    "COMPARE_BETWEEN": _EXPRESSION | {"input", "lower", "upper"},
    "CASE_EXPR": _EXPRESSION | {"case_checks", "else_expr"},
    "OPERATOR_CAST": _EXPRESSION | {"child", "try_cast", "type_expr"},
    "COLLATE": _EXPRESSION | {"child", "collation"},
    "COLUMN_REF": _EXPRESSION | {"column_names"},
    "CONJUNCTION_AND": _EXPRESSION | {"children"},
    "CONJUNCTION_OR": _EXPRESSION | {"children"},
    "VALUE_CONSTANT": _EXPRESSION | {"literal", "value"},
    "FUNCTION": _EXPRESSION
    | {
        "function_name", "schema", "catalog", "arguments", "filter", "order_bys", "distinct", "is_operator",
        "export_state", "qualified_name",
    },
    "LAMBDA": _EXPRESSION | {"lhs", "expr", "syntax_type"},
    "VALUE_PARAMETER": _EXPRESSION | {"identifier"},
    "POSITIONAL_REFERENCE": _EXPRESSION | {"index"},
    "STAR": _EXPRESSION
    | {"relation_name", "exclude_list", "replace_list", "columns", "expr", "qualified_exclude_list", "rename_list"},
    "TYPE": _EXPRESSION | {"type_name", "schema", "catalog", "children", "qualified_name"},
}  # fmt: skip
for _name in (
    "COMPARE_EQUAL", "COMPARE_NOTEQUAL", "COMPARE_LESSTHAN", "COMPARE_GREATERTHAN", "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_GREATERTHANOREQUALTO", "COMPARE_DISTINCT_FROM", "COMPARE_NOT_DISTINCT_FROM",
):  # fmt: skip
    _ALLOWED[_name] = _EXPRESSION | {"left", "right"}
for _name in (
    "ARRAY_CONSTRUCTOR", "ARRAY_EXTRACT", "ARRAY_SLICE", "COMPARE_IN", "COMPARE_NOT_IN", "GROUPING_FUNCTION",
    "OPERATOR_COALESCE", "OPERATOR_IS_NOT_NULL", "OPERATOR_IS_NULL", "OPERATOR_NOT", "OPERATOR_NULLIF",
    "OPERATOR_TRY", "STRUCT_EXTRACT", "OPERATOR_UNPACK",
):  # fmt: skip
    _ALLOWED[_name] = _EXPRESSION | {"children"}
for _name in (
    "WINDOW_AGGREGATE", "WINDOW_RANK", "WINDOW_RANK_DENSE", "WINDOW_NTILE", "WINDOW_PERCENT_RANK",
    "WINDOW_CUME_DIST", "WINDOW_ROW_NUMBER", "WINDOW_FIRST_VALUE", "WINDOW_LAST_VALUE", "WINDOW_LEAD",
    "WINDOW_LAG", "WINDOW_NTH_VALUE", "WINDOW_FILL",
):  # fmt: skip
    _ALLOWED[_name] = _WINDOW

_DIGITS: Final = 38  # of a whole number that surely fits 128 bits
_SHORT: Final = 12  # characters; shorter replacements are names, not guards
_CLASSES: Final = {
    None, "BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION",
    "LAMBDA", "OPERATOR", "PARAMETER", "POSITIONAL_REFERENCE", "STAR", "SUBQUERY", "TYPE", "WINDOW",
}  # fmt: skip

Scope = tuple[frozenset[str], "Scope | None"]


def verify(
    text: str,
    *,
    catalog: Catalog,
    guards: Sequence[Guard],
    bound: Mapping[str, int],
    original: str = "",
    splices: Sequence[Splice] = (),
) -> bool:
    """Check the final text: one query, every base relation inside its expected guard, nothing that is not allowed.

    `guards` lists every guard that the text must hold, once for each time; `bound` how often the
    text binds each `rls_` parameter outside the guards (`user.<attribute>`); other parameters are the caller's own.
    `original` and `splices` only serve to point into the caller's text.
    Returns whether the text must run with statistics hidden: DuckDB would run a function of it on the stored extremes
    of a column, or choose unchecked arithmetic by them.
    Raises `QueryRefused`: `query.syntax`, `.statements`, `.statement_kind`, `.construct`, `.function`, `.type`,
    `.collation`, `.parameter`, `.number`, `.sample`, `.rowid`, `.unguarded`.
    """
    place = _Places(text, original, splices)
    try:
        trees = serialize(text)
    except EngineParseError as error:
        raise _refuse_parse(error, place) from None
    if len(trees) != 1:
        raise QueryRefused("query.statements", "the query holds more than one statement", hint="send one at a time")
    expected: dict[tuple[str, ...], list[Any]] = {}
    for guard in guards:
        trees_of = expected.setdefault(_path(catalog, guard.relation), [])
        tree = _expected_guard(guard, catalog)
        if tree not in trees_of:
            trees_of.append(tree)
    walk = _Walk(place, expected, catalog)
    found = walk.run(trees[0])
    if walk.bound.keys() != bound.keys() or Counter(bound) - walk.bound:
        raise QueryRefused("query.parameter", "parameters that start with `rls_` are reserved", hint="rename them")
    wanted = Counter(_path(catalog, guard.relation) for guard in guards)
    # At least: DuckDB copies a named window to its users and the operand of a CASE to its branches. One too few means
    # that a guard stands where the engine reads no query.
    if wanted - found:
        raise QueryRefused(
            "query.unguarded",
            "the query could not be shown to read only what is permitted",
            hint="simplify it; this is worth a bug report",
            detail=f"guards found {dict(found)}, expected {dict(wanted)}",
        )
    hides_rows = any(guard.grant.kind != "always" for guard in guards)
    return hides_rows and (walk.reads_statistics or any(_is_unchecked(guard.relation) for guard in guards))


def _is_unchecked(relation: Relation) -> bool:
    return any("UHUGEINT" in column.type for column in relation.columns)


class _Walk:
    """One pass over a tree with an explicit stack: text nests deeper than Python's."""

    def __init__(
        self,
        place: _Places,
        expected: dict[tuple[str, ...], list[Any]],
        catalog: Catalog,
    ) -> None:
        self.place, self.expected, self.catalog = place, expected, catalog
        self.view_names = {
            tree["from_table"]["alias"]
            for trees in expected.values()
            for tree in trees
            if "subquery" in tree["from_table"]
        }
        self.found: Counter[tuple[str, ...]] = Counter()
        self.bound: Counter[str] = Counter()
        self.reads_statistics = False
        self.odd_names: dict[str, Any] = {}
        self.aliases: set[str] = set()  # of select items and alias column lists

    def run(self, root: Any) -> Counter[tuple[str, ...]]:
        stack: list[tuple[Any, Scope | None]] = [(root, None)]
        while stack:
            tree, scope = stack.pop()
            if isinstance(tree, list):
                stack.extend((item, scope) for item in tree if isinstance(item, dict | list))
                continue
            kind = tree.get("type")
            if not isinstance(kind, str):
                # A structural record (argument, key and value, sample size): its parts are judged on their own.
                stack.extend((v, scope) for k, v in tree.items() if isinstance(v, dict | list) and k != "type")
                continue
            allowed = _ALLOWED.get(kind)
            if allowed is None or not tree.keys() <= allowed or tree.get("class") not in _CLASSES:
                raise self._construct(tree, kind)
            if tree.get("alias"):
                self.aliases.add(fold(tree["alias"]))
            self.aliases.update(map(fold, tree.get("column_name_alias") or ()))
            if kind == "SELECT_NODE":
                if self._is_guard(tree):
                    continue
                if self._is_view_guard(tree):
                    # Its predicate and masks are the policies'; the view's own text is walked like the caller's.
                    stack.append((tree["from_table"], scope))
                    continue
            if tree.get("sample"):
                self._check_sample(tree, tree["sample"])
            children = self._check(tree, kind, scope)
            if children is None:
                ctes = tree.get("cte_map")
                if ctes:
                    scope = self._enter(ctes["map"], scope, stack)
                if kind == "RECURSIVE_CTE_NODE":
                    inner = (frozenset((fold(tree["cte_name"]),)), scope)
                    stack.append((tree["right"], inner))
                    children = [v for k, v in tree.items() if k not in ("right", "cte_map", "type")]
                else:
                    children = [v for k, v in tree.items() if k not in ("cte_map", "type")]
            stack.extend((child, scope) for child in children if isinstance(child, dict | list))
        self._check_odd_names()
        return self.found

    def _enter(self, ctes: list[Any], scope: Scope | None, stack: list[tuple[Any, Scope | None]]) -> Scope | None:
        """Each body sees the names before it; the query sees all."""
        for entry in ctes:
            stack.append((entry["value"], scope))
            scope = (frozenset((fold(entry["key"]),)), scope)
        return scope

    def _is_guard(self, node: Any) -> bool:
        """Whether a SELECT is the expected guard of the relation it reads; its inside is then the policies', not the
        caller's. Anything that reads a data relation and is not exactly that is refused."""
        table = node["from_table"]
        if table["type"] != "BASE_TABLE":
            return False
        path = tuple(fold(part) for part in table["qualified_name"]["path"])
        if path[0] != fold(self.catalog.attached) or len(path) < 3:
            return False
        if bare(node) not in self.expected.get(path, ()):
            raise self._unguarded(table)
        self.found[path] += 1
        return True

    def _is_view_guard(self, node: Any) -> bool:
        """Whether a SELECT is the expected guard of a view that has policies of its own: compared as an outline,
        without its source."""
        table = node["from_table"]
        if table["type"] != "SUBQUERY" or table["alias"] not in self.view_names:
            return False
        outline = bare({**node, "from_table": {**table, "subquery": None}})
        for path, trees in self.expected.items():
            if outline in trees:
                self.found[path] += 1
                return True
        return False

    def _check(self, tree: Any, kind: str, scope: Scope | None) -> list[Any] | None:
        """Judge one node; the children to go on with, or None for all of them."""
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
            case "COLUMN_REF":
                self._note_name(tree)
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
                if text and any(s.text in text for s in self.place.splices if len(s.text) > _SHORT):
                    raise self._unguarded(tree)
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
        return None

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
                if name in scope[0]:
                    return
                scope = scope[1]
        raise self._unguarded(tree)

    def _check_function(self, tree: Any, kind: str) -> None:
        name = tree["function_name"]
        path = tree["qualified_name"]["path"]
        found = review(name, kind)
        if tree["catalog"] or len(path) > 2 or found is None or found.verdict == "forbidden":
            raise self._function(tree, name)
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


def _path(catalog: Catalog, relation: Relation) -> tuple[str, ...]:
    prefix = ("view",) if relation.kind == "view" else ()
    return (*prefix, fold(catalog.attached), *relation.key)


def _expected_guard(guard: Guard, catalog: Catalog) -> Any:
    """The tree a guard must have, written out here again from its grant."""
    relation, grant = guard.relation, guard.grant
    names = [column.name for column in relation.columns]
    hidden = [n for n in names if fold(n) in {fold(d) for d in grant.denied}]
    shown: list[tuple[str, str]] = []
    for column in relation.columns:
        if column.name in hidden:
            continue
        mask = next((text for name, text in grant.masks.items() if fold(name) == fold(column.name)), None)
        if mask is not None:
            shown.append((column.name, mask))
            continue
        shape = "{0}"
        if "ENUM(" in column.type and fold(column.name) not in {fold(x) for x in grant.labels}:
            shape = f"CAST({{0}} AS {_without_labels(column.type)})"
        if "STRUCT(" in column.type and grant.kind != "always":
            shape = f"CASE WHEN {{0}} IS NOT NULL THEN {shape} END"
        if shape != "{0}":
            shown.append((column.name, shape.replace("{0}", _quoted(column.name))))
    stars = "*"
    if hidden:
        stars += " EXCLUDE (" + ", ".join(map(_quoted, hidden)) + ")"
    if shown:
        stars += " REPLACE (" + ", ".join(f"{text} AS {_quoted(name)}" for name, text in shown) + ")"
    path = (catalog.attached, *relation.schema, relation.name)
    source = "(SELECT 1)" if relation.kind == "view" else ".".join(map(_quoted, path))
    statement = f"SELECT {stars} FROM {source} AS {_quoted(relation.name)}"
    if grant.kind == "conditional":
        statement += f" WHERE ({grant.predicate})" if guard.conjuncts else f" WHERE {grant.predicate}"
        for conjunct in guard.conjuncts:
            if not _is_harmless(conjunct):
                raise QueryRefused("query.unguarded", "a condition could not be shown to be harmless", detail=conjunct)
            statement += f" AND ({conjunct})"
        statement += " OFFSET 0"
    elif grant.kind != "always":
        statement += " WHERE false OFFSET 0"
    return _tree_of(statement, relation.kind == "view")


@lru_cache(maxsize=4096)
def _is_harmless(conjunct: str) -> bool:
    """Whether a condition that stands below a fence compares columns with literals, and nothing else."""
    node = serialize(f"SELECT {conjunct}")[0]
    stack = list(node["select_list"])
    if node["from_table"]["type"] != "EMPTY" or len(stack) != 1:
        return False
    while stack:
        tree = stack.pop()
        kind = tree["type"]
        match kind:
            case "VALUE_CONSTANT":
                continue
            case "COLUMN_REF" if len(tree["column_names"]) == 2:
                continue
            case "OPERATOR_CAST" if tree["child"]["type"] == "VALUE_CONSTANT" and not tree["try_cast"]:
                continue
            case "FUNCTION" if tree["function_name"] == "-" and len(tree["arguments"]) == 1:
                stack.append(tree["arguments"][0]["expression"])
            case "COMPARE_BETWEEN":
                stack += (tree["input"], tree["lower"], tree["upper"])
            case "COMPARE_IN" | "OPERATOR_IS_NULL" | "OPERATOR_IS_NOT_NULL":
                stack += tree["children"]
            case _ if tree["class"] == "COMPARISON":
                stack += (tree["left"], tree["right"])
            case _:
                return False
    return True


@lru_cache(maxsize=4096)
def _tree_of(statement: str, view: bool) -> Any:
    tree = bare(serialize(statement)[0])
    if view:
        tree["from_table"]["subquery"] = None
    return tree


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _without_labels(type_text: str) -> str:
    """A type's text with every ENUM(…) replaced by VARCHAR, by counting quotes rather than by pattern."""
    out, i = "", 0
    while i < len(type_text):
        if type_text.startswith("ENUM(", i):
            i += len("ENUM(")
            quoted = False
            while quoted or type_text[i] != ")":
                quoted ^= type_text[i] == "'"
                i += 1
            out += "VARCHAR"
        else:
            out += type_text[i]
        i += 1
    return out


class _Places:
    """Byte offsets in the final text → positions in the caller's text."""

    def __init__(self, text: str, original: str, splices: Sequence[Splice]) -> None:
        self.text, self.original, self.splices = text, original, splices

    def of(self, tree: Any) -> Position | None:
        location = tree.get("query_location")
        return self.at(location) if isinstance(location, int) else None

    def at(self, byte_offset: int | None) -> Position | None:
        if byte_offset is None or not self.original or byte_offset > 4 * len(self.text):
            return None
        offset = len(self.text.encode()[:byte_offset].decode(errors="ignore"))
        shift = 0  # final minus original
        for splice in self.splices:
            start = splice.start + shift
            if offset < start:
                break
            if offset < start + len(splice.text):
                return Position.at(self.original, splice.start, max(1, splice.end - splice.start))
            shift += len(splice.text) - (splice.end - splice.start)
        return Position.at(self.original, offset - shift)


def _refuse_parse(error: EngineParseError, place: _Places) -> QueryRefused:
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
