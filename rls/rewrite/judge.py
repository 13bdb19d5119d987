"""Nodes of DuckDB's syntax tree that are judged by more than their kind and keys → nothing, or a refusal.

Calls by the reviewed table, types, collations, numbers, parameters, joins, samples, and names that are a column's or a
function's. Takes one node at a time, each once; what only the whole text tells (which names are aliases) is judged at
its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any, Final

from rls.catalog import Catalog, fold
from rls.rewrite.functions import NOT_LITERAL, allowed_collation, allowed_type, bare_function, review
from rls.rewrite.objections import Objections
from rls.rewrite.unfenced import is_ever_total
from rls.rewrite.unflat import Growth

__all__ = ["JUDGED", "Judge"]

JUDGED: Final = frozenset((
    "FUNCTION", "TABLE_FUNCTION", "TYPE", "COLLATE", "VALUE_CONSTANT", "VALUE_PARAMETER", "JOIN", "SHOW_REF",
))  # fmt: skip
"""Kinds of nodes to show to `Judge.check`, beside the windows."""

_DIGITS: Final = 38  # of a whole number that surely fits 128 bits


class Judge:
    """The judge of one text.

    bound              how often each `rls_` parameter was seen
    aliases            names of select items and alias column lists, as they are found
    growth             what the text could make of stored texts
    reads_statistics   whether a function of it runs on the stored extremes of a column
    """

    def __init__(self, objections: Objections, guard_texts: Collection[str], *, fenced: bool) -> None:
        """`guard_texts`: what no string may hold."""
        self._objections, self._fenced = objections, fenced
        self._guard_texts = guard_texts
        self._shortest = min(map(len, guard_texts), default=0)
        self._odd_names: dict[str, Any] = {}
        self.bound: Counter[str] = Counter()
        self.aliases: set[str] = set()
        self.growth = Growth()
        self.reads_statistics = False

    def check(self, tree: Any, kind: str) -> Collection[Any]:
        """Judge a node of `JUDGED`, or a window; the parts to go on with. Raises `QueryRefused`."""
        match kind:
            case "FUNCTION":
                self._check_function(tree, "expression")
            case "TABLE_FUNCTION":
                function = tree["function"]
                if function.get("type") != "FUNCTION":
                    raise self._objections.to_construct(tree, kind)
                self._check_function(function, "table")
                # Its arguments only: as an expression the same name may be judged otherwise.
                return [function["arguments"], tree["sample"]]
            case "TYPE":
                self._check_type(tree)
            case "COLLATE":
                if not allowed_collation(tree["collation"]):
                    raise self._objections.to(
                        tree, "query.collation", f"the collation `{tree['collation'][:60]}` is not allowed"
                    )
            case "VALUE_CONSTANT":
                return self._check_constant(tree)
            case "VALUE_PARAMETER":
                name = fold(tree["identifier"])
                if name.startswith("rls_"):
                    self.bound[name] += 1
            case "JOIN":
                if tree["ref_type"] not in ("REGULAR", "NATURAL", "CROSS", "POSITIONAL", "ASOF", "NEAREST"):
                    raise self._objections.to_construct(tree, f"{tree['ref_type']} JOIN")
                if any(fold(name) == "rowid" for name in tree["using_columns"]):
                    self._odd_names.setdefault("rowid", tree)
            case "SHOW_REF":
                if tree["query"] is None or tree["show_type"] not in ("SUMMARY", "DESCRIBE") or tree["table_name"]:
                    raise self._objections.to_construct(tree, "SHOW")
            case _:
                self._check_function(tree, "expression")
        return tree.values()  # type: ignore[no-any-return]

    def check_sample(self, tree: Any, sample: Any) -> None:
        """By rows only: by chunks, or by a seed over stored positions, a sample tells how hidden rows lie."""
        method = sample["method"]
        if method != "Bernoulli" and not (method == "Reservoir" and not sample["repeatable"] and sample["seed"] < 0):
            raise self._objections.to(
                tree, "query.sample", "this way of sampling depends on hidden rows", "use bernoulli, or no seed"
            )

    def note_name(self, tree: Any) -> None:
        """`rowid` and `current_schema` are columns where there is one of that name, else a relation's physical row
        number and a function: judged when all is seen."""
        names = tree["column_names"]
        last = fold(names[-1])
        if last == "rowid":
            self._odd_names.setdefault(last, tree)
        elif len(names) == 1 and (function := bare_function(last)) is not None:
            found = review(function, "expression")
            if found is None or found.verdict == "forbidden":
                self._odd_names.setdefault(last, tree)

    def check_noted(self, catalog: Catalog) -> None:
        """Judge the names that were noted, when all of the text was seen. Raises `QueryRefused`."""
        if not self._odd_names:
            return
        columns = {fold(c.name) for r in catalog.relations.values() for c in r.columns}
        for name, tree in self._odd_names.items():
            if name in columns or name in self.aliases:
                continue
            if name == "rowid":
                raise self._objections.to(
                    tree,
                    "query.rowid",
                    "`rowid` counts hidden rows too",
                    "use a key, or row_number() OVER (ORDER BY …)",
                )
            raise self._objections.to_function(tree, name)

    def _check_type(self, tree: Any) -> None:
        if (
            tree["schema"]
            or tree["catalog"]
            or len(tree["qualified_name"]["path"]) != 1
            or not allowed_type(tree["type_name"])
        ):
            raise self._objections.to(tree, "query.type", f"the type `{tree['type_name'][:60]}` is not allowed")
        self.reads_statistics |= fold(tree["type_name"]) == "uhugeint"

    def _check_constant(self, tree: Any) -> Collection[Any]:
        literal = tree.get("literal")
        written = isinstance(literal, dict)
        text = str(literal.get("text") or "") if written else ""
        if written and literal.get("kind") == "INTEGER" and len(text) > _DIGITS and _is_huge(text):
            # A BIGNUM, whose casts invalidate the instance.
            raise self._objections.to(tree, "query.number", "a whole number beyond 128 bits", "write it as a DOUBLE")
        # A guard that one parser reads as a query and the other as a string would show a policy.
        if self._guard_texts and len(text) >= self._shortest and any(one in text for one in self._guard_texts):
            raise self._objections.to_unguarded(tree)
        if written and literal.keys() == {"kind", "text"} and tree.get("value") is None:
            return ()
        return tree.values()  # type: ignore[no-any-return]

    def _check_function(self, tree: Any, kind: str) -> None:
        name = tree["function_name"]
        path = tree["qualified_name"]["path"]
        found = review(name, kind)
        if not self._fenced and (found is None or not is_ever_total(found)):
            raise self._objections.to_unguarded(tree)
        if tree["catalog"] or len(path) > 2 or found is None or found.verdict == "forbidden":
            raise self._objections.to_function(tree, name)
        if tree.get("type") == "FUNCTION" and kind == "expression":
            self.growth.see(tree, "FUNCTION", found)
        if tree.get("export_state"):
            raise self._objections.to_construct(tree, "EXPORT_STATE")
        if found.condition:
            self.reads_statistics |= "statistics" in found.condition.split()
            arguments = [_literal(a.get("expression", a)) for a in tree["arguments"]]
            # `x.repeat(3)` and `main.repeat(x, 3)` are one tree: hold the condition for both readings.
            readings = [arguments] if len(path) == 1 else [arguments, [NOT_LITERAL, *arguments]]
            if not all(found.permits(reading) for reading in readings):
                raise self._objections.to_function(tree, name)


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
