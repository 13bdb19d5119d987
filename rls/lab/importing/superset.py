"""Superset's row level security rules → policies. Takes the JSON of its REST API, or a list of such rules.

There, everybody sees all rows but those that rules take away: a regular rule holds for those with its roles, a base
rule for all others; rules of one group key are ORed, groups ANDed. Here that is a permissive policy for all and a
restrictive one per group. Owns that a clause that cannot be read hides rows rather than none.
https://superset.apache.org/developer-docs/api/schemas/rlsfilter
"""

from __future__ import annotations

import re
from typing import Any, Final

from rls.lab.importing.model import Imported, NotCarried, literal, text_of
from rls.yaml_source import parse_documents

__all__ = ["read_superset"]

_TEMPLATE: Final = re.compile(r"""(['"]?)\{\{\s*(.*?)\s*\}\}\1""")
_SUBJECT: Final = ("current_username()", "current_user_id()", "current_user_email()")


def read_superset(text: str, *, file: str) -> Imported:
    """The rules of a file. Raises PolicyInvalid `policy.import` and those of the YAML reader."""
    document = parse_documents(text, file=file)[0]
    data = document.data
    rules = data.get("result", data.get("rules")) if isinstance(data, dict) else data
    if not isinstance(rules, list) or not all(isinstance(r, dict) and isinstance(r.get("clause"), str) for r in rules):
        raise document.invalid(
            "policy.import",
            "these are no rules of Superset",
            hint="give the answer of `GET /api/v1/rowlevelsecurity/`, with each rule's clause, tables and roles",
        )
    found = Imported()
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for number, rule in enumerate(rules):
        for table in _tables(rule, found, number):
            key = str(rule.get("group_key") or f"rule {number}")
            groups.setdefault((table, key), []).append(rule)
    for table, _ in groups:
        if table not in found.policies:
            found.add(table, "everything_else", "true")
            found.note(
                table, "whom no rule concerns sees every row, as in Superset: narrow `everything_else` to close that"
            )
    for (table, _), members in groups.items():
        _group(table, members, found)
    return found


def _tables(rule: dict[str, Any], found: Imported, number: int) -> list[str]:
    tables = []
    for table in rule.get("tables") or []:
        if isinstance(table, dict) and isinstance(table.get("table_name"), str):
            schema = table.get("schema")
            tables.append(text_of((str(schema), table["table_name"]) if schema else (table["table_name"],)))
        elif isinstance(table, str):
            tables.append(table)
        else:
            found.drop(_name(rule, number), f"it names a table by number ({table}): export the rule with its tables")
    if not rule.get("tables"):
        found.drop(_name(rule, number), "it names no table")
    return tables


def _group(table: str, rules: list[dict[str, Any]], found: Imported) -> None:
    name = " or ".join(dict.fromkeys(_name(r, 0) for r in rules))
    original = "\n".join(f"{_name(r, 0)} ({r.get('filter_type', 'Regular')}): {r['clause']}" for r in rules)
    applies, parts = [], []
    try:
        for rule in rules:
            holds = _applies(rule, found)
            applies.append(holds)
            parts.append(f"({holds} AND ({_clause(rule, table, found)}))")
        # To whom none of the group's rules applies, it takes nothing away.
        using = " OR ".join([*parts, f"NOT ({' OR '.join(applies)})"])
        found.add(table, name, using, kind="restrictive")
    except NotCarried as error:
        found.lose(table, name, str(error), original, kind="restrictive")


def _applies(rule: dict[str, Any], found: Imported) -> str:
    roles: list[str] = []
    for role in rule.get("roles") or []:
        name = role.get("name") if isinstance(role, dict) else role
        if not isinstance(name, str):
            raise NotCarried("it names its roles by number: export the rule with the roles' names")
        roles.append(name)
    found.roles.update(dict.fromkeys(roles))
    has = " OR ".join(f"{literal(role)} IN user.roles" for role in roles) or "false"
    match str(rule.get("filter_type", "Regular")).lower():
        case "regular":
            return f"({has})"
        case "base":
            return f"(NOT ({has}))"
        case other:
            raise NotCarried(f"filter type `{other}` is not known")


def _clause(rule: dict[str, Any], table: str, found: Imported) -> str:
    clause = str(rule["clause"])

    def attribute(match: re.Match[str]) -> str:
        call = match[2].replace(" ", "")
        if call in _SUBJECT:
            found.note(f"{table}: {_name(rule, 0)}", f"`{call}` became user.subject: is it the same there?")
            return "user.subject"
        raise NotCarried(f"the template `{match[2][:60]}` has no counterpart")

    text = _TEMPLATE.sub(attribute, clause)
    if "{%" in text or "{{" in text:
        raise NotCarried("its clause is a template")
    # By itself, before it stands in parentheses: `a) OR (b` would close them.
    found.check(text)
    return text


def _name(rule: dict[str, Any], number: int) -> str:
    return str(rule.get("name") or f"rule {rule.get('id', number)}")
