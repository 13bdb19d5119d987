"""A policy's expression → a `Term`: what it gives on a row nobody has seen, for a principal nobody knows.

Takes DuckDB's tree of an expression whose names are bound; returns formulas in SQL's three-valued logic. Owns that
what is not modelled is left open, as a function of the names in it that may be any function: a statement proved with it
holds for the real one, and `Scene.open_parts` says that a counterexample may rest on it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import z3

from rls.catalog import Catalog, Relation, fold, quote
from rls.lab.prove.terms import (
    DAY,
    FALSE,
    TRUE,
    Term,
    all_of,
    any_of,
    common,
    constant,
    digits_of,
    element_type,
    kind_of,
    negated,
    sort_of,
    truth,
)
from rls.lab.prove.types import TypeOracle
from rls.policy.expressions import span_of
from rls.policy.parser import Tree, character_offset
from rls.policy.reader import NO_POSITION, attribute_name

__all__ = ["Encoder", "Scene"]

_LIST_CONTAINS = frozenset(("contains", "list_contains", "array_contains", "list_has", "array_has"))
_LIST_ANY = frozenset(("list_has_any", "array_has_any", "&&"))
_LIST_ALL = frozenset(("list_has_all", "array_has_all", "@>"))


@dataclass
class Scene:
    """What all principals and rows of one statement share: the data base as it is at that moment.

    `known` are facts about single values, `rules` facts about what was left open; `open_parts` are those pieces of SQL;
    `witnesses` rows of mapping tables, each with when it is needed; `patterns` what LIKE patterns stand for;
    `ordered` whether anything asks for the order of texts. `guessing`: a counterexample is looked for, and what the
    rules leave out does not matter.
    """

    catalog: Catalog
    oracle: TypeOracle
    known: list[Any] = field(default_factory=list)
    rules: list[Any] = field(default_factory=list)
    open_parts: dict[str, None] = field(default_factory=dict)
    witnesses: list[tuple[Any, Relation, Mapping[str, Term]]] = field(default_factory=list)
    patterns: dict[str, Any] = field(default_factory=dict)
    ordered: bool = False
    guessing: bool = False
    numbers: Any = field(default_factory=lambda: count(1))

    def assume(self, fact: Any) -> None:
        self.known.append(fact)


@dataclass
class Encoder:
    """Encodes expressions of one text about one row, for one principal.

    `texts` are the bound holes by the place of their name in `text`; `resolve_inner` finds the columns of a sub-query's
    own tables, `queries` has the CTEs in sight by name, as `shown` needs them.
    """

    scene: Scene
    relation: Relation
    text: str
    texts: Mapping[int, str]
    columns: Mapping[str, Term]
    attributes: Mapping[str, Term]
    resolve_inner: Callable[[Sequence[str]], Term | None] = lambda _: None
    queries: Mapping[str, Any] = field(default_factory=dict)

    def term(self, node: Tree) -> Term:
        """What an expression gives."""
        if self.scene.oracle.is_constant(node):
            found = self._constant(node)
            return self.open(node) if found is None else found
        match node["class"]:
            case "COLUMN_REF":
                return self.reference(node)
            case "COMPARISON":
                return self._comparison(node, node["type"], self.term(node["left"]), self.term(node["right"]))
            case "CONJUNCTION":
                terms = [self.condition(child) for child in node["children"]]
                return all_of(terms) if node["type"] == "CONJUNCTION_AND" else any_of(terms)
            case "BETWEEN":
                value, low, high = (self.term(node[part]) for part in ("input", "lower", "upper"))
                if low.kind != high.kind:
                    return self.open(node)
                return all_of(
                    [
                        self._comparison(node, "COMPARE_GREATERTHANOREQUALTO", value, low),
                        self._comparison(node, "COMPARE_LESSTHANOREQUALTO", value, high),
                    ]
                )
            case "OPERATOR":
                return self._operator(node)
            case "CASE":
                return self._case(node)
            case "CAST":
                return self._cast(node)
            case "FUNCTION":
                found = self._function(node)
                return self.open(node) if found is None else found
            case "SUBQUERY":
                from rls.lab.prove.subqueries import encode_subquery

                return encode_subquery(self, node)
            case _:
                return self.open(node)

    def condition(self, node: Tree) -> Term:
        """An expression that stands where a condition does."""
        found = self.term(node)
        match found.kind:
            case "boolean":
                return found
            case "null":
                return truth(FALSE, FALSE)
            case _:
                return self.open(node, type_="BOOLEAN")

    # -- names ---------------------------------------------------------------------------------------------------

    def reference(self, node: Tree) -> Term:
        name = attribute_name(node)
        if name is not None:
            return self.attributes[name]
        inner = self.resolve_inner(node["column_names"])
        if inner is not None:
            return inner
        text = self._bound_text(node)
        column = self._column_of(text)
        if column is not None:
            return self.columns[column]
        return self.open(node)

    def _bound_text(self, node: Tree) -> str:
        return self.texts.get(character_offset(self.text, node["query_location"]), "")

    def _column_of(self, text: str) -> str | None:
        """The relation's column that a bound name is, without fields of a struct."""
        prefix = f"{quote(self.relation.name)}."
        found = (c.name for c in self.relation.columns if text == prefix + quote(c.name))
        return next(found, None)

    # -- what is left open ---------------------------------------------------------------------------------------

    def open(self, node: Tree, *, type_: str | None = None) -> Term:
        """Any function of the names inside, the same one wherever the same text stands over the same names."""
        arguments: list[Term] = []
        key = json.dumps(self._canonical(node, arguments), sort_keys=True)
        found = self.scene.oracle.type_of(node, self._named, self.relation) if type_ is None else type_
        if self.scene.oracle.is_volatile(node) or not self._all_placed(node):
            key = f"{key} #{next(self.scene.numbers)}"
        self.scene.open_parts.setdefault(self._author(node))
        kind = kind_of(found)
        if kind == "null":
            kind, found = "opaque", "unknown"
        plain = [part for term in arguments for part in (term.plain, term.null)]
        sorts = [part.sort() for part in plain]
        value = z3.Function(f"{key} of {found}", *sorts, sort_of(found))(*plain)
        null = z3.Function(f"{key} is null", *sorts, z3.BoolSort())(*plain)
        identity = z3.Function(f"{key} as such", *sorts, z3.IntSort())(*plain) if kind == "list" else None
        return Term(kind, value, null, found, digits_of(found), identity=identity)

    def _all_placed(self, node: Any) -> bool:
        """Whether every name has the place by which it was bound; else nothing is known of what it means."""
        if isinstance(node, list):
            return all(map(self._all_placed, node))
        if not isinstance(node, dict):
            return True
        if node.get("class") == "COLUMN_REF" and node.get("query_location", NO_POSITION) >= NO_POSITION:
            return False
        return all(map(self._all_placed, node.values()))

    def _author(self, node: Tree) -> str:
        start, end = span_of(node, self.text)
        return " ".join(self.text[start:end].split()) or " ".join(self.text.split())

    def _canonical(self, node: Any, arguments: list[Term]) -> Any:
        """The tree without places, its outer names as numbers of `arguments`, its tables by their full names."""
        if isinstance(node, list):
            return [self._canonical(item, arguments) for item in node]
        if not isinstance(node, dict):
            return node
        if node.get("class") == "COLUMN_REF":
            return self._canonical_name(node, arguments)
        if node.get("type") == "BASE_TABLE":
            return {"table": self._bound_text(node) or node["qualified_name"]["path"], "alias": fold(node["alias"])}
        plain = {k: v for k, v in node.items() if not k.startswith("query_location")}
        return {k: self._canonical(v, arguments) for k, v in plain.items()}

    def _canonical_name(self, node: Tree, arguments: list[Term]) -> Any:
        name = attribute_name(node)
        term = self.attributes[name] if name is not None else self.resolve_inner(node["column_names"])
        fields = ""
        if term is None:
            text = self._bound_text(node)
            for column in self.relation.columns:
                start = f"{quote(self.relation.name)}.{quote(column.name)}"
                if text == start or text.startswith(start + "."):
                    term, fields = self.columns[column.name], text[len(start) :]
        if term is None:
            return {"name": [fold(part) for part in node["column_names"]]}
        for number, known in enumerate(arguments):
            if known is term:
                return {"argument": number, "fields": fields}
        arguments.append(term)
        return {"argument": len(arguments) - 1, "fields": fields}

    def _named(self, node: Tree) -> str:
        """How a name is written where DuckDB is asked for a type; an attribute is a NULL of its type."""
        name = attribute_name(node)
        if name is not None:
            return f"CAST(NULL AS {self.attributes[name].type})"
        return self._bound_text(node)

    # -- operators -----------------------------------------------------------------------------------------------

    def _constant(self, node: Tree) -> Term | None:
        value, type_ = self.scene.oracle.value_of(node)
        return None if type_ is None else constant(value, type_)

    def _comparison(self, node: Tree, operator: str, left: Term, right: Term) -> Term:
        left, right = self.fitted(left, right), self.fitted(right, left)
        values = common(left, right)
        if values is None:
            return self.open(node, type_="BOOLEAN")
        some_null = z3.Or(left.null, right.null)
        a, b = values
        match operator:
            case "COMPARE_DISTINCT_FROM" | "COMPARE_NOT_DISTINCT_FROM":
                same = z3.And(left.null == right.null, z3.Or(left.null, a == b))
                return Term("boolean", same if operator == "COMPARE_NOT_DISTINCT_FROM" else z3.Not(same))
            case "COMPARE_EQUAL":
                return Term("boolean", a == b, some_null)
            case "COMPARE_NOTEQUAL":
                return Term("boolean", a != b, some_null)
            case _ if (left.type + right.type).find("ENUM(") >= 0:
                return self.open(node, type_="BOOLEAN")  # by the order of the labels, or of their letters
            case _ if a.sort() == z3.BoolSort():
                a, b = (z3.If(v, z3.IntVal(1), z3.IntVal(0)) for v in values)
            case _:
                pass
        self.scene.ordered = self.scene.ordered or left.kind == "text"
        match operator:
            case "COMPARE_LESSTHAN":
                return Term("boolean", a < b, some_null)
            case "COMPARE_LESSTHANOREQUALTO":
                return Term("boolean", a <= b, some_null)
            case "COMPARE_GREATERTHAN":
                return Term("boolean", b < a, some_null)
            case "COMPARE_GREATERTHANOREQUALTO":
                return Term("boolean", b <= a, some_null)
            case _:
                return self.open(node, type_="BOOLEAN")

    def fitted(self, term: Term, other: Term) -> Term:
        """A literal text beside a number or date is one of those: `ordered >= '2024-01-01'`."""
        if not isinstance(term.literal, str) or term.kind != "text" or other.kind in ("text", "null", "list", "opaque"):
            return term
        value, type_ = self.scene.oracle.cast(term.literal, other.type)
        found = None if type_ is None else constant(value, type_)
        return term if found is None else found

    def _operator(self, node: Tree) -> Term:
        children = node["children"]
        match node["type"]:
            case "OPERATOR_NOT":
                return negated(self.condition(children[0]))
            case "OPERATOR_IS_NULL":
                return Term("boolean", self.term(children[0]).null)
            case "OPERATOR_IS_NOT_NULL":
                return Term("boolean", z3.Not(self.term(children[0]).null))
            case "COMPARE_IN" | "COMPARE_NOT_IN":
                terms = [self.term(child) for child in children]
                # DuckDB casts all of them to one type: `id IN (1.5, '2')` is not `id = '2'`.
                if len({t.kind for t in terms[1:] if t.kind != "null"}) > 1:
                    return self.open(node, type_="BOOLEAN")
                found = any_of([self._comparison(node, "COMPARE_EQUAL", terms[0], t) for t in terms[1:]])
                return found if node["type"] == "COMPARE_IN" else negated(found)
            case "OPERATOR_COALESCE":
                return self._chosen(node, [(z3.Not(t.null), t) for t in map(self.term, children)])
            case _:
                return self.open(node)

    def _case(self, node: Tree) -> Term:
        choices = [(self.condition(c["when_expr"]).true, self.term(c["then_expr"])) for c in node["case_checks"]]
        return self._chosen(node, [*choices, (TRUE, self.term(node["else_expr"]))])

    def _chosen(self, node: Tree, choices: Sequence[tuple[Any, Term]]) -> Term:
        """The first term whose condition holds, NULL if none does; all of one kind and sort, or it is left open."""
        typed = [t for _, t in choices if t.kind != "null"]
        if not typed or any(t.kind != typed[0].kind or t.kind in ("list", "opaque") for t in typed):
            return self.open(node)
        if any(t.value.sort() != typed[0].value.sort() for t in typed):
            return self.open(node)
        value, null = typed[0].value, TRUE
        for condition, term in reversed(choices):
            if term.kind == "null":
                null = z3.If(condition, TRUE, null)
            else:
                value, null = z3.If(condition, term.value, value), z3.If(condition, term.null, null)
        first = typed[0]
        digits = (max(t.digits[0] for t in typed), max(t.digits[1] for t in typed))
        return Term(first.kind, value, null, first.type, digits)

    def _cast(self, node: Tree) -> Term:
        term = self.term(node["child"])
        if term.kind == "boolean" and node["type_expr"].get("type_name") == "BOOLEAN":
            return term  # `IS NOT FALSE` is written with it
        type_ = self.scene.oracle.type_of(node, self._named, self.relation)
        kind = kind_of(type_)
        same = term.type == type_ or term.kind == kind == "boolean"
        if same or (term.kind == kind == "text" and not type_.startswith("ENUM(")):
            return Term(kind, term.value, term.null, type_, term.digits, term.literal, term.identity)
        if term.kind == "date" and kind == "timestamp":
            return Term(kind, term.value * DAY, term.null, type_)
        whole = term.kind == kind == "number" and not term.digits[1] and "DECIMAL" not in type_ + term.type
        if whole and not node["try_cast"]:
            # Too large a number raises, and then there is no answer to speak of.
            return Term(kind, term.value, term.null, type_, term.digits)
        return self.open(node)

    def _function(self, node: Tree) -> Term | None:
        """A function that is modelled; None for the others."""
        from rls.lab.prove.functions import apply

        if node["filter"] is not None or node["distinct"]:
            return None
        name = str(node["function_name"])
        arguments = [argument["expression"] for argument in node["arguments"]]
        if name in ("if",) and len(arguments) == 3:
            condition = self.condition(arguments[0]).true
            return self._chosen(node, [(condition, self.term(arguments[1])), (TRUE, self.term(arguments[2]))])
        terms = [self.term(argument) for argument in arguments]
        if name in _LIST_CONTAINS and len(terms) == 2 and terms[0].kind == "list":
            return self._member(terms[0], terms[1])
        if name in _LIST_ANY and len(terms) == 2:
            return self._sets(terms[0], terms[1], any_=True)
        if name in _LIST_ALL and len(terms) == 2:
            return self._sets(terms[0], terms[1], any_=False)
        if name == "<@" and len(terms) == 2:
            return self._sets(terms[1], terms[0], any_=False)
        found = apply(name, terms)
        # A beginning is a range of texts.
        self.scene.ordered = self.scene.ordered or (found is not None and found.kind == "boolean")
        if found is None and name in ("~~", "!~~") and [t.kind for t in terms] == ["text", "text"]:
            found = self._like(node, terms[0], terms[1], name)
        return found

    def _like(self, node: Tree, text: Term, pattern: Term, name: str) -> Term | None:
        """A pattern that is left open, but for the texts whose answer is known: the literal ones."""
        if not isinstance(pattern.literal, str):
            return None
        self.scene.open_parts.setdefault(self._author(node))
        likes = z3.Function(f"like {pattern.literal}", z3.IntSort(), z3.BoolSort())
        self.scene.patterns.setdefault(pattern.literal, likes)
        found = Term("boolean", likes(text.value), text.null, "BOOLEAN")
        return found if name == "~~" else negated(found)

    # -- lists ---------------------------------------------------------------------------------------------------

    def _member(self, items: Term, item: Term) -> Term | None:
        if item.kind == "null":
            return truth(FALSE, FALSE)
        element = self._element(items)
        item = self.fitted(item, element)
        if item.value.sort() != items.value.sort().domain() or common(item, element) is None:
            return None
        return Term("boolean", z3.Select(items.value, item.value), z3.Or(items.null, item.null))

    def _sets(self, left: Term, right: Term, *, any_: bool) -> Term | None:
        if left.kind != "list" or right.kind != "list" or left.value.sort() != right.value.sort():
            return None
        if common(self._element(left), self._element(right)) is None:
            return None
        # An element that shows it: in both, or in the right one only. It is what a counterexample's lists are made of.
        shown = z3.Const(f"element {next(self.scene.numbers)}", left.value.sort().domain())
        in_left, in_right = z3.Select(left.value, shown), z3.Select(right.value, shown)
        nothing = z3.K(left.value.sort().domain(), FALSE)
        if any_:
            value = z3.SetIntersect(left.value, right.value) != nothing
            self.scene.rules.append(z3.Implies(value, z3.And(in_left, in_right)))
        else:
            value = z3.IsSubset(right.value, left.value)
            self.scene.rules.append(z3.Implies(z3.Not(value), z3.And(in_right, z3.Not(in_left))))
        return Term("boolean", value, z3.Or(left.null, right.null))

    def _element(self, items: Term) -> Term:
        type_ = element_type(items.type)
        return Term(kind_of(type_), z3.Const("an element", sort_of(type_)), FALSE, type_, digits_of(type_))
