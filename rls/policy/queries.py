"""The queries inside a policy's expression (mapping tables, hierarchies): the other half of `reader`.

Takes query nodes of DuckDB's tree; returns them with holes and keeps the account of which columns each FROM item, CTE
and sub-query offers, which is what decides where a name in them is found. Only queries that read are known: SELECT,
UNION, EXCEPT, INTERSECT, and recursive ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rls.catalog import fold
from rls.policy.allowed import JOINS, SET_OPERATIONS, describe
from rls.policy.parser import Tree
from rls.policy.reader import Reader, attribute_name
from rls.policy.scopes import Hole, Item, Scope, Source

__all__ = ["QueryReader"]


class QueryReader(Reader):
    """A reader of expressions that may hold sub-queries."""

    def query(self, node: Tree, outer: Scope, ctes: Mapping[str, Source]) -> Tree:
        return self._query(node, outer, ctes)[0]

    def _query(self, node: Tree, outer: Scope, ctes: Mapping[str, Source]) -> tuple[Tree, tuple[Item, ...]]:
        """A query node with holes, and its output columns."""
        kind = str(node.get("type"))
        self.known_fields(node, kind if kind.endswith("_NODE") else "no query")
        node, ctes = self._ctes(node, outer, ctes)
        match kind:
            case "SELECT_NODE":
                return self._select(node, outer, ctes)
            case "SET_OPERATION_NODE":
                if node["setop_type"] not in SET_OPERATIONS or node["left"] is not None or node["right"] is not None:
                    raise self.refused(node, "this set operation")
                read = [self._query(child, outer, ctes) for child in node["children"]]
                items = read[0][1]
                node = {**node, "children": [child for child, _ in read]}
                return self._modifiers(node, Scope(outer=outer), items, ctes), items
            case _:
                raise self.refused(node, "this kind of query")

    def _ctes(self, node: Tree, outer: Scope, ctes: Mapping[str, Source]) -> tuple[Tree, Mapping[str, Source]]:
        entries = node["cte_map"]["map"]
        names = [self.name(entry["key"], node) for entry in entries]
        visible = dict(ctes)
        read = []
        for name, entry in zip(names, entries, strict=True):
            value = entry["value"]
            if value["key_targets"] or value["payload_aggregates"]:
                raise self.refused(node, "`USING KEY`")
            # An entry sees those before it; a name that only a later one takes is a table's.
            renamed = _folded(value["aliases"])
            query, items = self._cte_query(value["query_node"], Source(name, renamed=renamed), outer, visible)
            visible[name] = Source(name, items=items, renamed=renamed)
            read.append({**entry, "value": {**value, "query_node": query}})
        return {**node, "cte_map": {**node["cte_map"], "map": read}}, visible

    def _cte_query(
        self, query: Tree, itself: Source, outer: Scope, visible: Mapping[str, Source]
    ) -> tuple[Tree, tuple[Item, ...]]:
        if query.get("type") != "RECURSIVE_CTE_NODE":
            return self._query(query, outer, visible)
        self.known_fields(query, "RECURSIVE_CTE_NODE")
        if query["key_targets"] or query["cte_map"]["map"] or query["modifiers"]:
            raise self.refused(query, "this recursive query")
        left, items = self._query(query["left"], outer, visible)
        itself = Source(itself.name, items=items, renamed=itself.renamed)
        right, _ = self._query(query["right"], outer, {**visible, itself.name: itself})
        return {**query, "left": left, "right": right}, items

    def _select(self, node: Tree, outer: Scope, ctes: Mapping[str, Source]) -> tuple[Tree, tuple[Item, ...]]:
        if node["sample"] is not None or node["qualify"] is not None:
            raise self.refused(node, "`SAMPLE` or `QUALIFY`")
        table, sources = self._from(node["from_table"], (), outer, ctes)
        scope = Scope(sources, outer=outer)
        items: list[Item] = []
        selected = []
        for item in node["select_list"]:
            if item.get("class") == "STAR":
                items.extend(self._star(item, sources))
                selected.append(item)
            else:
                selected.append(self.expression(item, scope, ctes))
                items.append(self._output_name(item))

        def read(child: Any) -> Any:
            return None if child is None else self.expression(child, scope, ctes)

        node = {
            **node,
            "select_list": selected,
            "from_table": table,
            "where_clause": read(node["where_clause"]),
            "group_expressions": [read(g) for g in node["group_expressions"]],
            "having": read(node["having"]),
        }
        columns = tuple(items)
        return self._modifiers(node, scope, columns, ctes), columns

    def _modifiers(self, node: Tree, scope: Scope, items: tuple[Item, ...], ctes: Mapping[str, Source]) -> Tree:
        # ORDER BY may name an output column, but only by itself: in `ORDER BY total + 1` DuckDB looks further out.
        output = Scope(scope.sources, frozenset(i for i in items if isinstance(i, str)), scope.outer)
        read: list[Tree] = []
        for modifier in node["modifiers"]:
            match modifier["type"]:
                case "ORDER_MODIFIER":
                    orders = []
                    for order in modifier["orders"]:
                        by = order["expression"]
                        seen = output if by.get("class") == "COLUMN_REF" else scope
                        orders.append({**order, "expression": self.expression(by, seen, ctes)})
                    read.append({**modifier, "orders": orders})
                case "LIMIT_MODIFIER" if all(
                    modifier[k] is None or modifier[k].get("class") == "CONSTANT" for k in ("limit", "offset")
                ):
                    read.append(modifier)
                case "DISTINCT_MODIFIER":
                    targets = [self.expression(t, scope, ctes) for t in modifier["distinct_on_targets"]]
                    read.append({**modifier, "distinct_on_targets": targets})
                case _:
                    raise self.refused(node, "this kind of `LIMIT`")
        return {**node, "modifiers": read}

    def _from(
        self, node: Tree, left: tuple[Source, ...], outer: Scope, ctes: Mapping[str, Source]
    ) -> tuple[Tree, tuple[Source, ...]]:
        """A FROM item with holes, and its sources; `left` are those that a lateral sub-query sees."""
        kind = str(node.get("type"))
        self.known_fields(node, "FROM_SUBQUERY" if kind == "SUBQUERY" else kind)
        if node["sample"] is not None:
            raise self.refused(node, "`SAMPLE`")
        match kind:
            case "EMPTY":
                return node, ()
            case "BASE_TABLE":
                return self._base_table(node, outer, ctes)
            case "SUBQUERY":
                name = self.name(node["alias"], node) if node["alias"] else ""
                statement = node["subquery"]
                inner = Scope(left, outer=outer) if left else outer
                query, items = self._query(statement["node"], inner, ctes)
                source = Source(name, items=items, renamed=_folded(node["column_name_alias"]), aliased=True)
                return {**node, "subquery": {**statement, "node": query}}, (source,)
            case "JOIN":
                return self._join(node, left, outer, ctes)
            case _:
                raise self.refused(node, describe(kind))

    def _base_table(self, node: Tree, scope: Scope, ctes: Mapping[str, Source]) -> tuple[Tree, tuple[Source, ...]]:
        path = tuple(node["qualified_name"]["path"])
        name = self.name(node["alias"] or path[-1], node)
        renamed = _folded(node["column_name_alias"])
        if node["at_clause"] is not None:
            raise self.refused(node, "time travel")
        if len(path) == 1 and fold(path[0]) in ctes:
            cte = ctes[fold(path[0])]
            return node, (Source(name, items=(cte,), renamed=renamed, aliased=True),)
        offset, length = self.place(node)
        source = Source(name, path=path, renamed=renamed, aliased=bool(node["alias"]))
        marker = self.mark(Hole("relation", path, offset, length, scope))
        read = {
            **node,
            "catalog_name": "",
            "schema_name": "",
            "table_name": marker,
            "qualified_name": {"path": [marker]},
        }
        return read, (source,)

    def _join(
        self, node: Tree, left: tuple[Source, ...], outer: Scope, ctes: Mapping[str, Source]
    ) -> tuple[Tree, tuple[Source, ...]]:
        odd = node["duplicate_eliminated_columns"] or node["ranking_expression"] is not None or node["delim_flipped"]
        if node["ref_type"] not in JOINS or node["alias"] or odd:
            raise self.refused(node, "this join")
        first, mine = self._from(node["left"], left, outer, ctes)
        second, others = self._from(node["right"], (*left, *mine), outer, ctes)
        sources = (*mine, *others)
        condition = node["condition"]
        if condition is not None:
            condition = self.expression(condition, Scope(sources, outer=outer), ctes)
        return {**node, "left": first, "right": second, "condition": condition}, sources

    def _star(self, node: Tree, sources: tuple[Source, ...]) -> tuple[Item, ...]:
        self.known_fields(node, "STAR")
        lists = ("exclude_list", "replace_list", "qualified_exclude_list", "rename_list")
        if node["columns"] or node["expr"] is not None or any(node[k] for k in lists):
            raise self.refused(node, "`COLUMNS`, `EXCLUDE`, `REPLACE` or `RENAME`")
        wanted = fold(node["relation_name"])
        found = tuple(s for s in sources if not wanted or s.name == wanted)
        if not found:
            raise self.refused(node, "`*` without `FROM`")
        return found

    def _output_name(self, item: Tree) -> str | None:
        if item["alias"]:
            return self.name(item["alias"], item)
        if item["class"] == "COLUMN_REF" and attribute_name(item) is None:
            return fold(item["column_names"][-1])
        return None


def _folded(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(fold(n) for n in names)
