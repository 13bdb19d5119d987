"""A bound condition → PostgreSQL's SQL that is TRUE for the same rows and principals.

Follows `rls.policy.evaluate`: a policy that needs a missing attribute is false, unless another branch has settled it by
what is known of the principal. Owns which expressions mean the same in both systems: they are allowed by name.
"""

from __future__ import annotations

from typing import Any, Final

import sqlglot
from sqlglot import exp

from rls.catalog import Catalog, Relation, fold, quote
from rls.lab.truth.settling import settles
from rls.policy.attributes import Attribute
from rls.policy.expressions import Branch
from rls.policy.policy_set import PolicySet
from rls.policy.reader import attribute_name
from rls.policy.rules import BoundPolicy

__all__ = ["Lost", "Translator"]

_MARK: Final = "rls attribute "
_SAME: Final = (
    exp.Column, exp.Identifier, exp.Literal, exp.Null, exp.Boolean, exp.Paren, exp.And, exp.Or, exp.Not, exp.EQ,
    exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.In, exp.Between, exp.Coalesce, exp.Case, exp.If, exp.Neg,
    exp.Add, exp.Sub, exp.NullSafeEQ, exp.NullSafeNEQ, exp.CurrentDate, exp.Select, exp.From, exp.Join, exp.Where,
    exp.Table, exp.TableAlias, exp.Subquery, exp.Cast, exp.DataType, exp.DataTypeParam, exp.Like, exp.With, exp.CTE,
    exp.Union, exp.Any, exp.Alias, exp.Anonymous, exp.Nullif, exp.Collate, exp.Var, exp.Trim, exp.Array, exp.Interval,
)  # fmt: skip
_ORDER: Final = (exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between)
_TYPES: Final = {
    "string": "text",
    "integer": "bigint",
    "decimal": "numeric",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
}


class Lost(Exception):
    """A condition that PostgreSQL would answer differently, or might; the text says why."""


class Translator:
    """Translates the conditions of one policy set."""

    def __init__(self, policies: PolicySet, catalog: Catalog) -> None:
        self._policies, self._catalog = policies, catalog.from_schema(("main",))

    def table(self, relation: Relation) -> str:
        """A table's name in PostgreSQL: `main` is its `public`."""
        schema = ["public" if fold(s) == "main" else s for s in relation.schema]
        if len(schema) > 1:
            raise Lost("a schema inside a schema")
        return ".".join(map(quote, (*schema, relation.name)))

    def condition(self, bound: BoundPolicy, relation: Relation, *, prefix: str, functions: list[str]) -> str:
        """The text of USING. Sub-queries are added to `functions`, named after `prefix`. Raises Lost."""
        holes = []
        for hole, text in zip(bound.policy.using.holes, bound.holes, strict=True):
            match hole.kind:
                case "attribute":
                    holes.append(quote(_MARK + hole.names[0]))
                case "relation":
                    found = self._catalog.find(hole.names)
                    if found is None:
                        raise Lost(f"`{'.'.join(hole.names)}` is not there")
                    holes.append(self.table(found))
                case "column":
                    holes.append(text)
        return _Branches(self, relation, tuple(holes), prefix, functions).passes(bound.policy.using.root)

    def attribute(self, name: str) -> str:
        """An attribute's value, NULL where the session does not say it."""
        attribute = self._policies.attributes[fold(name)]
        return f"nullif(current_setting('rls.{fold(attribute.name)}', true), '')::{_type(attribute)}"

    def type_of(self, name: str) -> str:
        """An attribute's type in DuckDB."""
        return self._policies.attributes[fold(name)].type

    def is_text(self, name: str) -> bool:
        return self._policies.attributes[fold(name)].kind == "string"


def _type(attribute: Attribute) -> str:
    digits = f"({attribute.precision},{attribute.scale})" if attribute.kind == "decimal" else ""
    return _TYPES[attribute.kind] + digits + ("[]" if attribute.many else "")


class _Branches:
    """The branches of one condition. None stands for `never` where a text says when something is so."""

    def __init__(
        self, translator: Translator, relation: Relation, holes: tuple[str, ...], prefix: str, functions: list[str]
    ) -> None:
        self._translator, self._relation, self._holes = translator, relation, holes
        self._prefix, self._functions = prefix, functions
        self._written: dict[int, str] = {}

    def passes(self, branch: Branch) -> str:
        """It is TRUE, and nothing that it needs is missing."""
        missing = self._missing(branch)
        if missing is None:
            return self._value(branch)
        match branch.kind:
            case "leaf":
                return f"({self._present(branch)} AND {self._value(branch)})"
            case "and":
                return "(" + " AND ".join(map(self.passes, branch.children)) + ")"
            case _:
                plain = f"(NOT {missing} AND {self._value(branch)})"
                settled = self._settled(branch, wanted=True)
                return plain if settled is None else f"({settled} OR {plain})"

    def _value(self, branch: Branch) -> str:
        """SQL's own value of a branch, where nothing is missing."""
        match branch.kind:
            case "leaf":
                if id(branch) not in self._written:
                    self._written[id(branch)] = self._leaf(branch)
                return self._written[id(branch)]
            case "not":
                return f"(NOT {self._value(branch.children[0])})"
            case kind:
                return "(" + f" {kind.upper()} ".join(map(self._value, branch.children)) + ")"

    def _missing(self, branch: Branch) -> str | None:
        match branch.kind:
            case "leaf":
                if not branch.attributes or _is_presence(branch):
                    return None
                return f"(NOT {self._present(branch)})"
            case "not":
                return self._missing(branch.children[0])
            case kind:
                found = [m for m in map(self._missing, branch.children) if m is not None]
                if not found:
                    return None
                any_ = "(" + " OR ".join(found) + ")"
                settled = self._settled(branch, wanted=kind == "or")
                return any_ if settled is None else f"(NOT {settled} AND {any_})"

    def _settled(self, branch: Branch, *, wanted: bool) -> str | None:
        """When who asks alone decides that the branch is TRUE (or FALSE). Never NULL."""
        match branch.kind:
            case "leaf":
                types = {name: self._translator.type_of(name) for name in branch.attributes}
                if not settles(branch, types, holes=len(self._holes)):
                    return None
                value = f"({self._value(branch)}) IS {'TRUE' if wanted else 'FALSE'}"
                return f"({value})" if _is_presence(branch) else f"({self._present(branch)} AND {value})"
            case "not":
                return self._settled(branch.children[0], wanted=not wanted)
            case kind:
                found = [self._settled(child, wanted=wanted) for child in branch.children]
                if (kind == "or") is wanted:
                    some = [f for f in found if f is not None]
                    return "(" + " OR ".join(some) + ")" if some else None
                return None if None in found else "(" + " AND ".join(f or "" for f in found) + ")"

    def _present(self, branch: Branch) -> str:
        tests = [f"{self._translator.attribute(name)} IS NOT NULL" for name in sorted(branch.attributes)]
        return "(" + " AND ".join(tests or ["TRUE"]) + ")"

    def _leaf(self, branch: Branch) -> str:
        try:
            tree = sqlglot.parse_one(f"SELECT {branch.text(self._holes)}", dialect="duckdb").expressions[0]
        except sqlglot.errors.SqlglotError:
            raise Lost("it cannot be read") from None
        root = exp.Paren(this=tree.unnest())
        root = root.transform(self._list_membership).transform(self._attribute).transform(self._text_order)
        for node in root.walk():
            _refuse_others(node)
        self._own_rights(root)
        return str(root.sql(dialect="postgres"))

    def _list_membership(self, node: Any) -> Any:
        if isinstance(node, exp.ArrayContains | exp.ArrayContainsAll):
            items, item = node.this, node.expression
            if not isinstance(items, exp.Column) or not items.name.startswith(_MARK):
                raise Lost("it looks into a list that is no attribute")
            return exp.Paren(this=exp.EQ(this=item, expression=exp.Any(this=exp.Paren(this=items))))
        return node

    def _attribute(self, node: Any) -> Any:
        if isinstance(node, exp.Column) and node.name.startswith(_MARK):
            value = sqlglot.parse_one(self._translator.attribute(node.name.removeprefix(_MARK)), dialect="postgres")
            # For `_text_order`, which comes after this.
            value.meta["text"] = self._translator.is_text(node.name.removeprefix(_MARK))
            return value
        return node

    def _text_order(self, node: Any) -> Any:
        """Texts are ordered by code points, as DuckDB orders them, whatever the column's collation."""
        if isinstance(node, _ORDER) and any(map(self._is_text, node.walk())):
            by_code_point = exp.to_identifier("C", quoted=True)
            node.set("this", exp.Collate(this=exp.Paren(this=node.this), expression=by_code_point))
        return node

    def _is_text(self, node: Any) -> bool:
        """A literal beside a date is a date; so columns and attributes say what is compared."""
        if isinstance(node, exp.Column):
            column = self._relation.column(node.name)
            return column is None or column.type == "VARCHAR" or column.type.startswith("ENUM(")
        return bool(node.meta.get("text"))

    def _own_rights(self, root: Any) -> None:
        """Sub-queries → functions with their owner's rights: who asks has no rights on mapping tables."""
        for node in list(root.find_all(exp.Subquery, exp.In, exp.Any)):
            if isinstance(node, exp.Subquery) and isinstance(node.parent, exp.Any | exp.In):
                continue  # looked at with what it belongs to
            query = node.args.get("query") if isinstance(node, exp.In) else node.this
            query = query.this if isinstance(query, exp.Subquery) else query
            if not isinstance(query, exp.Select | exp.Union) or query.find_ancestor(exp.Select, exp.Union):
                continue
            if not isinstance(node, exp.In | exp.Any):
                raise Lost("a sub-query that is not behind IN")
            if any(c.table == self._relation.name for c in query.find_all(exp.Column)) and not _names(
                query, self._relation.name
            ):
                raise Lost("a sub-query that reads a column of the row")
            name = f"rls_rights.{quote(f'{self._prefix}_{len(self._functions)}'[:60])}"
            self._functions.append(
                f"CREATE OR REPLACE FUNCTION {name}() RETURNS SETOF {self._column_type(query)} LANGUAGE sql STABLE"
                f" SECURITY DEFINER SET search_path = pg_catalog AS $rls$ {query.sql(dialect='postgres')} $rls$;"
            )
            call = sqlglot.parse_one(f"SELECT {name}()", dialect="postgres")
            if isinstance(node, exp.In):
                node.set("query", exp.Subquery(this=call))
            else:
                node.set("this", exp.Subquery(this=call))

    def _column_type(self, query: Any) -> str:
        """The type of a sub-query's one column, from the catalog."""
        select = query
        while isinstance(select, exp.Union):
            select = select.this
        column = select.expressions[0]
        column = column.this if isinstance(column, exp.Alias) else column
        for table in query.find_all(exp.Table):
            schema = "main" if table.db in ("", "public") else table.db
            relation = self._translator._catalog.relations.get((fold(schema), fold(table.name)))
            found = None if relation is None or not isinstance(column, exp.Column) else relation.column(column.name)
            if found is not None:
                kind = exp.DataType.build(found.type, dialect="duckdb").sql(dialect="postgres")
                return "text" if found.type.startswith("ENUM(") else str(kind)
        raise Lost("the type of its sub-query's column is not known")


def _names(query: Any, name: str) -> bool:
    return any((t.alias or t.name) == name for t in query.find_all(exp.Table))


def _refuse_others(node: Any) -> None:
    if not isinstance(node, _SAME):
        raise Lost(f"`{node.sql(dialect='duckdb')[:60]}` is not known to mean the same in PostgreSQL")
    match node:
        case exp.Anonymous() if node.name.lower() != "current_setting":
            raise Lost(f"function `{node.name}` is not known to mean the same in PostgreSQL")
        case exp.Trim() if not isinstance(node.expression, exp.Literal):
            raise Lost("trimming without the letters that go")  # white space is more to DuckDB
        case exp.Like() if "\\" in node.expression.name:
            raise Lost("a backslash in a LIKE pattern is a letter here and an escape there")
        case exp.Join() if node.args.get("using") or node.args.get("method"):
            raise Lost("a join that is not by ON")
        case _:
            pass


def _is_presence(branch: Branch) -> bool:
    tree = branch.tree
    tested = tree["class"] == "OPERATOR" and tree["type"] in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL")
    return tested and attribute_name(tree["children"][0]) is not None
