"""A plan → the texts of a first policy directory, with a comment beside everything that a person may want to change.

Returns files by name, writes nothing. Owns that the start is closed: a table about which nothing could be guessed is
visible to nobody, by a policy that says so, and `rls check` names it until somebody has decided.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from rls.catalog import Relation, fold, quote
from rls.lab.start.look import ColumnPlan, Plan, TablePlan

__all__ = ["ROLES", "is_denied", "start_files"]

ROLES = ("explorer", "maker")
_RESERVED = frozenset(("identity", "personas", "tenancy", "start", "invariants", "widenings", "audit"))
_WORDS = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))
# Words that no column may be written as in SQL without quotes.
_SQL_WORDS = re.compile(
    "all|and|any|array|as|asc|between|by|case|cast|check|column|constraint|create|cross|default|desc|distinct|do|else|"
    "end|except|exists|false|fetch|for|foreign|from|full|group|having|in|inner|intersect|into|is|join|lateral|left|"
    "like|limit|natural|not|null|offset|on|or|order|outer|primary|references|returning|right|select|similar|some|"
    "table|then|to|trailing|true|union|unique|user|using|when|where|window|with",
    re.IGNORECASE,
)


def start_files(
    plan: Plan, tenants: list[object], *, database: str, keys: Mapping[tuple[str, ...], tuple[str, ...]]
) -> dict[str, str]:
    """File name → text. `tenants` are one or two values of the tenant column, `database` the file's name for people,
    `keys` primary keys by the table's key."""
    files = {"identity.yaml": _identity(plan, database), "personas.yaml": _personas(plan, tenants)}
    if plan.tenant and any(t.decision == "wall" for t in plan.tables):
        files["tenancy.yaml"] = _tenancy(plan)
    for table in plan.tables:
        files[_file_name(table.relation.label, set(files))] = _table(table, plan)
    files["start.test.yaml"] = _suite(plan, tenants)
    if "tenancy.yaml" in files:
        files["invariants.yaml"] = _invariants(plan, keys)
    return files


def _invariants(plan: Plan, keys: Mapping[tuple[str, ...], tuple[str, ...]]) -> str:
    # Where the column that leads there is no primary key, two tenants may have a row of one number: not to be proved.
    others = [
        _text(_path(t.relation))
        for t in plan.tables
        if t.decision == "own_row" or (t.parent is not None and keys.get(t.parent.key) == (t.key,))
    ]
    more = f"""  - name: nor in tables that lead to theirs
    about: [{", ".join(others)}]
    prove: isolated by tenant
"""
    return (
        _header("invariants", "What must hold of every row and every user: `rls prove`, and `rls test --database`.")
        + f"""
invariants:
  - name: tenants never meet
    about: {{with_columns: [{_text(plan.tenant)}]}}
    # unless: [admin]                    # a role that is meant to see all tenants
    prove: isolated by tenant
{more if others else ""}"""
    )


def _header(kind: str, *lines: str) -> str:
    return f"# yaml-language-server: $schema=.schemas/{kind}.schema.json\n" + "".join(f"# {line}\n" for line in lines)


def _identity(plan: Plan, database: str) -> str:
    audience = re.sub(r"[^A-Za-z0-9-]+", "-", database.rpartition(".")[0] or database).strip("-") or "app"
    tenant = f"  tenant: {{type: {plan.tenant_type}, required: true, readable: true}}\n" if plan.tenant else ""
    return (
        _header(
            "identity",
            "Who may sign tokens, and what a token's claims become. What is not declared here does not exist.",
        )
        + f"""
issuers:
  - name: https://app.example            # TO DECIDE: the `iss` of your tokens
    audiences: [{audience}]
    algorithms: [HS256]                  # or RS256, ES256, EdDSA with `file: app.public.pem`
    keys:
      - {{kid: app-1, secret: {{env: RLS_SECRET}}}}
    claims: {{subject: /user/distinctId, roles: /user/role, attributes: /user/attributes}}

roles: [{", ".join(ROLES)}]               # explorers look at dashboards, makers build them

# What policies may know of a user, besides user.subject and user.roles. `readable`: queries may use it, too.
attributes:{"" if tenant else " {}"}
{tenant}  # regions: {{type: string, list: true, readable: true}}
  # department: {{type: string}}
"""
    )


def _personas(plan: Plan, tenants: list[object]) -> str:
    entries = []
    for number, tenant in enumerate(tenants):
        name = _tenant_name(number)
        attributes = f", attributes: {{tenant: {_value(tenant, plan)}}}" if plan.tenant else ""
        entries += [
            f"  {role}_{name}: {{subject: {role}-{name}, roles: [{role}]{attributes}}}\n"
            for role in (ROLES if number == 0 else ROLES[:1])
        ]
        if number == 0:
            entries.append("  # Signed in, but nobody gave them a role.\n")
            entries.append(f"  nobody_{name}: {{subject: nobody-{name}{attributes}}}\n")
    text = "Named principals to try policies with: `rls explain --as NAME`, `rls matrix`, `rls test`. No token needed."
    return _header("personas", text) + "\npersonas:\n" + "".join(entries)


def _tenant_name(number: int) -> str:
    return "ab"[number]


def _tenancy(plan: Plan) -> str:
    named = ", ".join(t.relation.label for t in plan.tables if t.decision == "wall")
    column = _sql_name(plan.tenant)
    return (
        _header(
            "policies",
            f"The wall between tenants, for every table with `{plan.tenant}`, also those that are added next year.",
            "Restrictive: it is ANDed with what a table's own file permits, and by itself permits nothing.",
            f"Now: {named}.",
        )
        + f"""
relations: {{with_columns: [{_text(plan.tenant)}]}}
policies:
  - name: own_tenant
    as: restrictive
    using: {_text(_compare(column, plan))}
"""
    )


def _compare(column: str, plan: Plan) -> str:
    return f"CAST({column} AS VARCHAR) = user.tenant" if plan.cast else f"{column} = user.tenant"


def _table(table: TablePlan, plan: Plan) -> str:
    label, count = table.relation.label, len(table.relation.columns)
    head = f"{label}: {count} column{'' if count == 1 else 's'}."
    roles = f"[{', '.join(ROLES)}]"
    match table.decision:
        case "wall":
            head += f" `{plan.tenant}` keeps tenants apart (tenancy.yaml)."
            policy = f"""  # Within a tenant, both roles see every row. Narrow it by a column of the table:
  #   using: region IN user.regions      (and declare `regions` in identity.yaml)
  - name: whole_tenant
    to: {roles}
    using: "true"
"""
        case "own_row":
            head += " The list of tenants."
            policy = f"""  - name: own_row
    to: {roles}
    using: {_text(_compare(_sql_name(table.key), plan))}
"""
        case "through":
            assert table.parent is not None  # noqa: S101 - the plan has looked
            parent, key = _sql_path(table.parent), _sql_name(table.key)
            head += f" No `{plan.tenant}`; `{table.via}` leads to {table.parent.label}, which has it."
            where = _compare(_sql_name(plan.tenant), plan)
            condition = f"{_sql_name(table.via)} IN (SELECT {key} FROM {parent} WHERE {where})"
            policy = f"""  # A row is visible with the row of {table.parent.label} that it belongs to.
  # The sub-query reads with the policy's rights, so it repeats what keeps tenants apart.
  - name: own_tenant
    to: {roles}
    using: >-
      {condition}
"""
        case _:
            wall = f"no `{plan.tenant}`" if plan.tenant else "no column that keeps tenants apart"
            head += f" TO DECIDE: it has {wall}, so nobody sees it yet."
            policy = """  # Take one of these instead:
  #   a catalogue that everybody may see: replace `policies` by `public: true`
  #   rows of one's own:                  using: user_id = user.subject
  #   rows through another table:         using: order_id IN (SELECT id FROM orders WHERE …)
  #   for one role:                       to: [maker] and using: "true"
  - name: nobody_yet
    using: "false"
"""
    names = ", ".join(c.name for c in table.relation.columns)
    columns = "".join(map(_column, table.columns))
    enums = "".join(
        f"  # `{name}` is an ENUM, shown as text; what labels there are stays a secret, unless you write\n"
        f"  # {_text(name)}: {{labels: public}}\n"
        for name in table.enums
    )
    shown = f"columns:\n{columns}{enums}" if columns else enums.replace("  # ", "# ")
    return (
        _header("policies", head, *_wrapped(f"Columns: {names}"))
        + f"\nrelation: {_text(_path(table.relation))}\npolicies:\n{policy}{shown}"
    )


def _column(plan: ColumnPlan) -> str:
    name, sql = _text(plan.column.name), _sql_name(plan.column.name)
    # Where a mask of text would change the column's type, the column is left out.
    spared = "{deny: true, except: [maker]}"
    match plan.treatment:
        case "secret":
            why, rule = "Looks like a secret: for nobody.", "{deny: true}"
        case "email" if not is_denied(plan):
            mask = json.dumps(f"'***@' || split_part({sql}, '@', 2)", ensure_ascii=False)
            why, rule = "Looks like an e-mail address: the domain is enough.", f"{{mask: {mask}, except: [maker]}}"
        case "personal" if not is_denied(plan):
            why, rule = "Looks personal.", "{mask: \"'***'\", except: [maker]}"
        case "email" | "personal":
            why, rule = "Looks personal.", spared
        case _:
            why, rule = "Looks like something that not everybody should know.", spared
    return f"  # {why}\n  {name}: {rule}\n"


def _suite(plan: Plan, tenants: list[object]) -> str:
    """For the live database: who sees what, said once more without policies."""
    lines = [
        "Who sees what, said once more and without policies: `where` is plain SQL over all rows. What is not listed is",
        "expected to be invisible. Runs against the database: rls test --database FILE",
    ]
    text = _header("suite", *lines) + "\nsees:\n"
    some = False
    for number, tenant in enumerate(tenants):
        for role in ROLES if number == 0 else ROLES[:1]:
            cells = [
                f"    {_text(_path(t.relation))}: {_cell(t, plan, tenant, role)}\n"
                for t in plan.tables
                if t.decision != "undecided"
            ]
            if cells:
                text += f"  {role}_{_tenant_name(number)}:\n" + "".join(cells)
                some = True
    if not some:
        return text.replace("\nsees:\n", "\nsees: {}\n")
    text += "  # nobody_a is not listed, and neither are tables that are still to be decided on: nothing is visible.\n"
    return text


def _cell(table: TablePlan, plan: Plan, tenant: object, role: str) -> str:
    literal = str(tenant) if plan.tenant_type == "integer" else "'" + str(tenant).replace("'", "''") + "'"
    column = _sql_name(plan.tenant)
    compared = f"CAST({column} AS VARCHAR) = {literal}" if plan.cast else f"{column} = {literal}"
    match table.decision:
        case "wall":
            where = compared
        case "own_row":
            key = _sql_name(table.key)
            where = f"CAST({key} AS VARCHAR) = {literal}" if plan.cast else f"{key} = {literal}"
        case _:
            assert table.parent is not None  # noqa: S101 - the plan has looked
            source = _sql_path(table.parent)
            where = f"{_sql_name(table.via)} IN (SELECT {_sql_name(table.key)} FROM {source} WHERE {compared})"
    absent = [c.column.name for c in table.columns if is_denied(c) and (c.treatment == "secret" or role != "maker")]
    masked = [c.column.name for c in table.columns if not is_denied(c) and role != "maker"]
    said = [f"where: {json.dumps(where, ensure_ascii=False)}"]
    for word, names in (("masked", masked), ("absent", absent)):
        if names:
            said.append(f"{word}: [{', '.join(map(_text, names))}]")
    return "{" + ", ".join(said) + "}"


def is_denied(plan: ColumnPlan) -> bool:
    """Whether the column is left out for some; a mask of text would change another column's type."""
    return plan.treatment in ("secret", "sensitive") or plan.column.type != "VARCHAR"


def _value(tenant: object, plan: Plan) -> str:
    return str(tenant) if plan.tenant_type == "integer" else _text(str(tenant), numbers=False)


def _file_name(label: str, taken: set[str]) -> str:
    stem = re.sub(r"\W+", "_", label).strip("_").lower() or "table"
    stem = f"table_{stem}" if stem in _RESERVED or not stem[0].isalpha() else stem
    name, number = f"{stem}.yaml", 2
    while name in taken:
        name, number = f"{stem}_{number}.yaml", number + 1
    return name


def _path(relation: Relation) -> str:
    """A relation's name as policies write it."""
    schema = () if tuple(map(fold, relation.schema)) == ("main",) else relation.schema
    return ".".join(quote(p) if "." in p or '"' in p else p for p in (*schema, relation.name))


def _sql_path(relation: Relation) -> str:
    schema = () if tuple(map(fold, relation.schema)) == ("main",) else relation.schema
    return ".".join(map(_sql_name, (*schema, relation.name)))


def _sql_name(name: str) -> str:
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and not _SQL_WORDS.fullmatch(name)
    return name if plain else quote(name)


def _text(value: str, *, numbers: bool = True) -> str:
    """A text in YAML: plain where it stays text, else in double quotes."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.() =-]*", value) and value.lower() not in _WORDS
    return (
        value
        if plain and numbers | (not value[0].isdigit()) and value == value.strip()
        else json.dumps(value, ensure_ascii=False)
    )


def _wrapped(text: str, width: int = 110) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width, subsequent_indent="  ")
