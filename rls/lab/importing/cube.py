"""Cube's access policies → policies: each is permissive for its groups, row filters become conditions.

Takes a data model in YAML; returns `Imported`. Cubes' members are taken for columns of the table, or for what a
dimension's `sql` names. Owns that what depends on Cube's own language (templates, computed dimensions) is lost.
https://cube.dev/docs/reference/data-model/data-access-policies
"""

from __future__ import annotations

import re
from typing import Any, Final

from rls.lab.importing.filters import condition
from rls.lab.importing.model import Imported, NotCarried, literal, name_sql
from rls.yaml_source import parse_documents

__all__ = ["read_cube"]

_CONTEXT: Final = re.compile(r"\{\s*(?:securityContext|userAttributes|user_attributes)\.([\w.]+)\s*\}")
_COLUMN: Final = re.compile(r"(?:\{CUBE\}\.)?\"?([A-Za-z_]\w*)\"?")
_TABLE: Final = re.compile(r"[\w.\"]+")


def read_cube(text: str, *, file: str) -> Imported:
    """The access policies of a model. Raises PolicyInvalid `policy.import` and those of the YAML reader."""
    document = parse_documents(text, file=file)[0]
    data = document.data if isinstance(document.data, dict) else {}
    cubes = data.get("cubes")
    if not isinstance(cubes, list) or not all(isinstance(c, dict) and "name" in c for c in cubes):
        raise document.invalid("policy.import", "there is no list `cubes` in this model")
    found = Imported()
    for view in data.get("views") or []:
        if isinstance(view, dict) and view.get("access_policy"):
            found.drop(
                f"view {view.get('name')}", "policies of Cube's views are not carried over: only tables are guarded"
            )
    for cube in cubes:
        _cube(cube, found)
    return found


def _cube(cube: dict[str, Any], found: Imported) -> None:
    name = str(cube["name"])
    policies = cube.get("access_policy")
    if not policies:
        found.note(name, "it has no access policy, so Cube shows all of it; here nobody sees it until a file says so")
        return
    table = str(cube.get("sql_table") or name)
    if not _TABLE.fullmatch(table):
        found.drop(name, f"`{table[:60]}` is no table's name")
        return
    relation = re.sub(r"^(public|main)\.", "", table.replace('"', ""))
    columns = _columns(cube)
    for number, policy in enumerate(policies):
        groups = _groups(policy)
        title = f"{'everyone' if groups is None else '_'.join(groups)}_{number + 1}"
        try:
            found.add(relation, title, _using(policy, columns, found), roles=groups)
        except NotCarried as error:
            found.lose(relation, title, str(error), str(policy))
    _members(relation, cube, policies, columns, found)


def _groups(policy: dict[str, Any]) -> tuple[str, ...] | None:
    given = policy.get("groups", policy.get("group", policy.get("role", [])))
    groups = given if isinstance(given, list) else [given]
    return None if "*" in groups else tuple(map(str, groups))


def _columns(cube: dict[str, Any]) -> dict[str, str | None]:
    """Dimension → column, None where it is computed."""
    found: dict[str, str | None] = {}
    for dimension in cube.get("dimensions") or []:
        sql = str(dimension.get("sql", dimension.get("name")))
        column = _COLUMN.fullmatch(sql.strip())
        found[str(dimension.get("name"))] = None if column is None else column[1]
    return found


def _using(policy: dict[str, Any], columns: dict[str, str | None], found: Imported) -> str:
    unknown = policy.keys() - {"group", "groups", "role", "conditions", "member_level", "row_level", "member_masking"}
    if unknown:
        raise NotCarried(f"`{min(unknown)}` is not known")
    if "member_masking" in policy:
        raise NotCarried("its masks are Cube's own: write them under `columns`")
    parts = [_gate(gate, found) for gate in policy.get("conditions") or []]
    rows = policy.get("row_level")
    if isinstance(rows, dict):
        if rows.keys() - {"filters", "allow_all"}:
            raise NotCarried("a key in `row_level` that is not known")
        filters = rows.get("filters") or []
        if rows.get("allow_all") is False or (not filters and rows.get("allow_all") is not True):
            return "false"
        parts += [] if rows.get("allow_all") is True else [_filter(each, columns, found) for each in filters]
    return " AND ".join(parts) or "true"


def _gate(gate: Any, found: Imported) -> str:
    text = str(gate.get("if")) if isinstance(gate, dict) else ""
    match = _CONTEXT.fullmatch(text.strip())
    if match is None:
        raise NotCarried(f"the condition `{text[:60]}` is not known to mean the same here")
    return found.attribute(match[1].rpartition(".")[2], "boolean")


def _filter(each: Any, columns: dict[str, str | None], found: Imported) -> str:
    if not isinstance(each, dict):
        raise NotCarried("a filter that is no mapping")
    for word in ("or", "and"):
        if word in each:
            parts = [_filter(inner, columns, found) for inner in each[word]]
            return "(" + f" {word.upper()} ".join(parts) + ")"
    if each.keys() - {"member", "operator", "values"} or "member" not in each:
        raise NotCarried("a filter with a key that is not known")
    member = str(each["member"]).rpartition(".")[2]
    column = columns.get(member, member)
    if column is None:
        raise NotCarried(f"dimension `{member}` is computed: write its condition by hand")
    operator = str(each.get("operator", ""))
    values, many = _values(each.get("values"), found)
    if len(values) > 1 and operator not in ("equals", "notEquals", "contains", "notContains", "startsWith", "endsWith"):
        raise NotCarried(f"operator `{operator}` with several values")
    # Cube adds `OR … IS NULL` to its negative operators, and looks for texts without regard to case.
    return condition(operator, name_sql(column), values, many=many, nulls=True, fold=True)


def _values(given: Any, found: Imported) -> tuple[list[str], bool]:
    if given is None:
        return [], False
    if isinstance(given, str):
        match = _CONTEXT.fullmatch(given.strip())
        if match is None:
            raise NotCarried(f"`{given[:60]}` is not an attribute")
        return [found.attribute(match[1].rpartition(".")[2], many=True)], True
    if not isinstance(given, list):
        raise NotCarried("values that are no list; put `{ securityContext.… }` in quotes")
    values = []
    for value in given:
        match = _CONTEXT.fullmatch(value.strip()) if isinstance(value, str) else None
        if match is None and isinstance(value, str) and "{" in value:
            raise NotCarried(f"`{value[:60]}` is a template")
        values.append(literal(value) if match is None else found.attribute(match[1].rpartition(".")[2]))
    return values, False


def _members(
    relation: str, cube: dict[str, Any], policies: list[Any], columns: dict[str, str | None], found: Imported
) -> None:
    """Dimensions that not every group sees: denied columns, but for the groups that do."""
    levels = [(_groups(p), p.get("member_level")) for p in policies]
    if all(level is None for _, level in levels):
        return
    if cube.get("measures"):
        found.note(relation, "which measures a group sees is not carried over: columns are decided, not sums of them")
    for name, column in columns.items():
        seen = [groups for groups, level in levels if _includes(level, name)]
        if None in seen:
            continue
        spared = tuple(sorted({group for groups in seen for group in groups or ()}))
        if column is None:
            found.note(relation, f"dimension `{name}` is computed and hidden from some: deny the columns it reads")
        elif spared != tuple(sorted({g for groups, _ in levels for g in groups or ()})) or None in dict(levels):
            found.denied.setdefault(relation, {})[column] = spared


def _includes(level: Any, name: str) -> bool:
    if not isinstance(level, dict):
        return True
    includes, excludes = level.get("includes", "*"), level.get("excludes", [])
    return (includes == "*" or name in includes) and excludes != "*" and name not in excludes
