"""An expression's tree from DuckDB's parser → the same tree with a numbered hole for every name, or a refusal.

Takes the tree and the declared attributes; returns marked trees and their holes with the scope each name is looked up
in. It owns invariant (closed) for policy text: every node class, node field, function, type and collation is allowed
by name, and a field this release does not know is refused too.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final

from rls.catalog import fold
from rls.policy.allowed import LITERALS, OPERATORS, describe, known_fields
from rls.policy.attributes import Attribute
from rls.policy.parser import ExpressionInvalid, Tree, character_offset
from rls.policy.scopes import Hole, Scope, Source

__all__ = ["USER", "Reader", "attribute_name"]

USER: Final = "user"
NO_POSITION: Final = 2**63
MOST_NAMED: Final = 8  # attributes that a hint lists


def attribute_name(tree: Tree) -> str | None:
    """The folded name of the attribute that a tree is (`user.tenant`), or None."""
    names = tree.get("column_names") or []
    return fold(names[1]) if len(names) == 2 and fold(names[0]) == USER else None


class Reader(ABC):
    """Reads the expressions of one policy text, parsed to `tree`; `holes` grows with them. One text, one thread."""

    def __init__(self, text: str, tree: Tree, attributes: Mapping[str, Attribute]) -> None:
        self.text, self.attributes = text, attributes
        self.prefix = _free_prefix(tree)
        self.holes: list[Hole] = []
        self._depth = 0  # sub-queries around the place being read

    def read(self, tree: Tree) -> Tree:
        """A copy of an expression's tree with its names replaced by `<prefix><number>_`.

        Raises ExpressionInvalid (`policy.not_allowed`, `policy.unknown_function`, `policy.forbidden_function`,
        `policy.unknown_attribute`, `policy.list_attribute`, `policy.name`).
        """
        return self.expression(tree, Scope(), {})

    # -- expressions ---------------------------------------------------------------------------------------------

    def expression(self, node: Tree, scope: Scope, ctes: Mapping[str, Source]) -> Tree:
        kind = str(node.get("class"))
        self.known_fields(node, kind)

        def read(child: Any) -> Any:
            return None if child is None else self.expression(child, scope, ctes)

        match kind:
            case "CONSTANT":
                if node["literal"].get("kind") not in LITERALS:
                    raise self.refused(node, "this literal")
                return node
            case "COLUMN_REF":
                return self._column(node, scope)
            case "COMPARISON":
                self._no_list([node["left"], node["right"]])
                return {**node, "left": read(node["left"]), "right": read(node["right"])}
            case "CONJUNCTION":
                return {**node, "children": [read(c) for c in node["children"]]}
            case "OPERATOR" if node["type"] in OPERATORS:
                if node["type"] in ("COMPARE_IN", "COMPARE_NOT_IN"):
                    self._no_list(node["children"])
                return {**node, "children": [read(c) for c in node["children"]]}
            case "BETWEEN":
                self._no_list([node["input"], node["lower"], node["upper"]])
                return {**node, **{k: read(node[k]) for k in ("input", "lower", "upper")}}
            case "CASE":
                checks = [
                    {"when_expr": read(c["when_expr"]), "then_expr": read(c["then_expr"])} for c in node["case_checks"]
                ]
                return {**node, "case_checks": checks, "else_expr": read(node["else_expr"])}
            case "CAST":
                self._type(node["type_expr"])
                return {**node, "child": read(node["child"])}
            case "COLLATE":
                from rls.rewrite.functions import allowed_collation

                if not allowed_collation(node["collation"]):
                    raise self.refused(node, f"collation `{node['collation']}`")
                return {**node, "child": read(node["child"])}
            case "FUNCTION":
                return self._function(node, scope, ctes)
            case "LAMBDA":
                return self._lambda(node, scope, ctes)
            case "SUBQUERY":
                return self._subquery(node, scope, ctes)
            case _:
                raise self.refused(node, describe(kind))

    def _column(self, node: Tree, scope: Scope) -> Tree:
        names = tuple(node["column_names"])
        offset, length = self.place(node)
        if fold(names[0]) != USER or len(names) == 1:
            return self._hole(node, Hole("column", names, offset, length, scope))
        attribute = self.attributes.get(fold(names[1]))
        if attribute is None or len(names) > 2:
            written = ".".join(names)
            raise ExpressionInvalid(
                "policy.unknown_attribute",
                f"`{written}` is not declared in the identity file",
                offset=offset,
                length=length,
                hint=self._nearest(names[1]),
            )
        return self._hole(node, Hole("attribute", (fold(attribute.name),), offset, length, scope))

    def _nearest(self, name: str) -> str:
        from rls.yaml_model import suggest

        near = suggest(name, [a.name for a in self.attributes.values()])
        if near:
            return near.replace("`", "`user.", 1)
        known = [f"user.{a.name}" for a in self.attributes.values()][:MOST_NAMED]
        return f"declare it under `attributes`; there are {', '.join(known)}"

    def _function(self, node: Tree, scope: Scope, ctes: Mapping[str, Source]) -> Tree:
        from rls.rewrite.extremes import is_misled
        from rls.rewrite.functions import NOT_LITERAL, review

        name = str(node["function_name"])
        arguments = node["arguments"]
        if node["schema"] or node["catalog"] or len(node["qualified_name"]["path"]) != 1:
            raise self.refused(node, f"`{'.'.join(node['qualified_name']['path'])}`: a qualified function or a method")
        if node["export_state"] or node["order_bys"]["orders"]:
            raise self.refused(node, "`ORDER BY` inside a function call")
        reviewed = review(name, "expression")
        offset, length = self.place(node)
        if reviewed is None:
            raise ExpressionInvalid(
                "policy.unknown_function",
                f"function `{name}` is not known",
                offset=offset,
                length=length,
                hint=_near_function(name),
            )
        values = [_literal(a["expression"], NOT_LITERAL) for a in arguments]
        if not reviewed.permits(values):
            raise ExpressionInvalid(
                "policy.forbidden_function",
                f"function `{name}` is not allowed in policies: {reviewed.reason}",
                offset=offset,
                length=length,
            )
        if "scalar" in reviewed.kinds and is_misled(name):
            # It would take rows away that the policy shows, or show what it hides, and below every fence.
            raise ExpressionInvalid(
                "policy.forbidden_function",
                f"function `{name}` is not allowed in policies: DuckDB skips rows by wrong bounds of it",
                hint="compare with a time before or after by an interval",
                offset=offset,
                length=length,
            )
        if self._depth == 0 and not {"scalar", "macro", "syntax"} & set(reviewed.kinds):
            raise self.refused(node, f"`{name}`: an aggregate outside a sub-query")
        if name == "contains":
            node = self._membership(node)
        read = [{**a, "expression": self.expression(a["expression"], scope, ctes)} for a in node["arguments"]]
        kept = None if node["filter"] is None else self.expression(node["filter"], scope, ctes)
        return {**node, "arguments": read, "filter": kept}

    def _membership(self, node: Tree) -> Tree:
        """`x IN y` is `contains(y, x)` to DuckDB, and that means *sub-string* where `y` is text."""
        name = attribute_name(node["arguments"][0]["expression"]) if node["arguments"] else None
        attribute = self.attributes.get(name) if name is not None else None
        if attribute is None:
            return node
        if not attribute.many:
            offset, length = self.place(node)
            raise ExpressionInvalid(
                "policy.list_attribute",
                f"`user.{attribute.name}` is one value, not a list",
                offset=offset,
                length=length,
                hint=f"write `= user.{attribute.name}`, or declare the attribute with `list: true`",
            )
        return {**node, "function_name": "list_contains", "qualified_name": {"path": ["list_contains"]}}

    def _lambda(self, node: Tree, scope: Scope, ctes: Mapping[str, Source]) -> Tree:
        if node["syntax_type"] != "LAMBDA_KEYWORD":
            # `x -> 'a'` reads JSON; as a lambda the arrow is an error in DuckDB 2.0.
            left = self.expression(node["lhs"], scope, ctes)
            return {**node, "lhs": left, "expr": self.expression(node["expr"], scope, ctes)}
        left = node["lhs"]
        parameters = [left] if left["class"] == "COLUMN_REF" else [a["expression"] for a in left.get("arguments", ())]
        names = []
        for parameter in parameters:
            if parameter.get("class") != "COLUMN_REF" or len(parameter["column_names"]) != 1:
                raise self.refused(node, "this lambda")
            names.append(self.name(parameter["column_names"][0], node))
        inner = Scope(names=frozenset(names), outer=scope)
        return {**node, "expr": self.expression(node["expr"], inner, ctes)}

    def _subquery(self, node: Tree, scope: Scope, ctes: Mapping[str, Source]) -> Tree:
        child = None if node["child"] is None else self.expression(node["child"], scope, ctes)
        statement = node["subquery"]
        if set(statement) - {"node", "named_param_map"} or statement.get("named_param_map"):
            raise self.refused(node, "a parameter")
        self._depth += 1
        query = self.query(statement["node"], scope, ctes)
        self._depth -= 1
        return {**node, "child": child, "subquery": {**statement, "node": query}}

    def _type(self, node: Tree) -> None:
        from rls.rewrite.functions import allowed_type

        if node.get("class") == "CONSTANT":
            return
        self.known_fields(node, "TYPE")
        if len(node["qualified_name"]["path"]) != 1 or not allowed_type(node["type_name"]):
            raise self.refused(node, f"type `{node['type_name']}`")
        for child in node["children"]:
            self._type(child)

    @abstractmethod
    def query(self, node: Tree, outer: Scope, ctes: Mapping[str, Source]) -> Tree:
        """A query node with holes; `QueryReader` knows how."""

    # -- names, places, refusals ---------------------------------------------------------------------------------

    def name(self, name: str, node: Tree) -> str:
        if fold(name) == USER:
            offset, length = self.place(node)
            raise ExpressionInvalid(
                "policy.name",
                "nothing in a policy may be called `user`",
                offset=offset,
                length=length,
                hint="`user.<attribute>` is the principal's; choose another alias",
            )
        return fold(name)

    def _no_list(self, operands: list[Tree]) -> None:
        """A list attribute among scalar operands: `region = user.regions`, `region IN (user.regions)`."""
        for operand in operands:
            name = attribute_name(operand) if operand.get("class") == "COLUMN_REF" else None
            attribute = self.attributes.get(name) if name is not None else None
            if attribute is not None and attribute.many:
                offset, length = self.place(operand)
                raise ExpressionInvalid(
                    "policy.list_attribute",
                    f"`user.{attribute.name}` is a list, compared with one value",
                    offset=offset,
                    length=length,
                    hint=f"write `IN user.{attribute.name}`, without parentheses",
                )

    def _hole(self, node: Tree, hole: Hole) -> Tree:
        return {**node, "column_names": [self.mark(hole)]}

    def mark(self, hole: Hole) -> str:
        self.holes.append(hole)
        return f"{self.prefix}{len(self.holes) - 1}_"

    def known_fields(self, node: Tree, kind: str) -> None:
        if not known_fields(node, kind):
            raise self.refused(node, describe(kind))

    def place(self, node: Tree) -> tuple[int, int]:
        start, length = node.get("query_location", NO_POSITION), node.get("query_location_length", 0)
        if start >= NO_POSITION:
            return 0, len(self.text)
        offset = character_offset(self.text, start)
        return offset, max(1, character_offset(self.text, start + length) - offset)

    def refused(self, node: Tree, what: str) -> ExpressionInvalid:
        offset, length = self.place(node)
        return ExpressionInvalid(
            "policy.not_allowed", f"{what} is not allowed in policies", offset=offset, length=length
        )


def _free_prefix(tree: Tree) -> str:
    # Of the tree, not of the author's text: there `E'\\x68ole0_'` does not look like what it means.
    prefix, folded = "hole", fold(json.dumps(tree, ensure_ascii=False))
    while prefix in folded:
        prefix += "x"
    return prefix


def _near_function(name: str) -> str | None:
    from rls.rewrite.functions import reviews
    from rls.yaml_model import suggest

    return suggest(name, [r.name for r in reviews() if r.verdict != "forbidden" and "scalar" in r.kinds])


def _literal(node: Tree, otherwise: object) -> object:
    if node.get("class") != "CONSTANT":
        return otherwise
    literal = node["literal"]
    match literal["kind"]:
        case "STRING":
            return literal["text"]
        case "INTEGER":
            return int(literal["text"])
        case _:
            return otherwise
