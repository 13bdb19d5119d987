"""Toucan-style operator rules → policies: per table, groups of operator(column, attribute) joined by AND or OR.

Their rules are made in an editor and have no published file format, so they are taken as a person copies them:

    tables:
      - table: orders
        match: all                    # or `any`
        rules:
          - {column: tenant_id, operator: "=", attribute: tenant}
          - match: any
            rules:
              - {column: region, operator: in, attribute: regions, type: string}
              - {column: amount, operator: "<", value: 100}

Owns that a rule which cannot be read loses its whole table: a group without one of its parts is another rule.
"""

from __future__ import annotations

import json
from typing import Any

from rls.lab.importing.filters import condition
from rls.lab.importing.model import Imported, NotCarried, literal, name_sql
from rls.yaml_source import parse_documents

__all__ = ["read_toucan"]

_KINDS = {
    "string": "string",
    "integer": "integer",
    "numeric": "decimal",
    "decimal": "decimal",
    "boolean": "boolean",
    "date": "date",
}
_LISTS = ("in", "not in", "not_in", "one of")


def read_toucan(text: str, *, file: str) -> Imported:
    """The rules of a file. Raises PolicyInvalid `policy.import` and those of the YAML reader."""
    document = parse_documents(text, file=file)[0]
    tables = document.data.get("tables") if isinstance(document.data, dict) else None
    if not isinstance(tables, list) or not all(isinstance(t, dict) and isinstance(t.get("table"), str) for t in tables):
        raise document.invalid(
            "policy.import", "there is no list `tables` of tables with rules", hint="see `rls import --help`"
        )
    found = Imported()
    for table in tables:
        name = str(table["table"])
        try:
            found.add(name, "operator_rules", _group(table, found))
        except NotCarried as error:
            found.lose(
                name, "operator_rules", str(error), json.dumps(table.get("rules"), ensure_ascii=False, default=str)
            )
            continue
        found.note(name, "without one of its attributes a user sees no row here, whatever the rule's operator")
    return found


def _group(group: dict[str, Any], found: Imported) -> str:
    rules, match = group.get("rules"), str(group.get("match", "all")).lower()
    unknown = group.keys() - {"table", "match", "rules"}
    if unknown or not isinstance(rules, list) or not rules:
        raise NotCarried(f"`{min(unknown)}` is not known" if unknown else "a group without rules")
    if match not in ("all", "any", "and", "or"):
        raise NotCarried(f"match `{match}` is neither all nor any")
    parts = [_group(rule, found) if "rules" in rule else _rule(rule, found) for rule in rules]
    return parts[0] if len(parts) == 1 else "(" + (" AND " if match in ("all", "and") else " OR ").join(parts) + ")"


def _rule(rule: Any, found: Imported) -> str:
    if not isinstance(rule, dict) or not isinstance(rule.get("column"), str) or "operator" not in rule:
        raise NotCarried("a rule without column or operator")
    unknown = rule.keys() - {"column", "operator", "attribute", "value", "values", "type"}
    if unknown:
        raise NotCarried(f"`{min(unknown)}` is not known")
    operator = str(rule["operator"])
    many = False
    if "attribute" in rule:
        kind = str(rule.get("type", "string")).lower()
        if kind not in _KINDS:
            raise NotCarried(f"type `{kind}` is not known")
        many = operator.strip().lower() in _LISTS
        values = [found.attribute(str(rule["attribute"]), _KINDS[kind], many=many)]
    else:
        given = rule.get("values", [rule["value"]] if "value" in rule else [])
        values = [literal(value) for value in (given if isinstance(given, list) else [given])]
    return condition(operator, name_sql(rule["column"]), values, many=many, nulls=False, fold=False)
