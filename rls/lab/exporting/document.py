"""A policy set and a catalog → documentation of who sees what, in Markdown or HTML: rows and columns by role.

Takes policies, never data; returns text. Owns that it says what holds and not what a file says: policies of patterns
stand at every table they match, and a table that nobody decided on is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rls.catalog import Catalog, Relation
from rls.lab.html import Html, page, table, tag
from rls.policy.policy_set import PolicySet, rules_for
from rls.policy.rules import Bound

__all__ = ["Described", "describe_policies", "html_document", "markdown_document"]


_SEEN = {"all": "all rows", "some": "some rows", "none": "no rows", "refused": "refused"}
_WORDS = {"all": "all", "some": "some", "none": "·", "refused": "refused"}


@dataclass(frozen=True, slots=True)
class Line:
    """A policy: who it is for, its condition, and where it stands."""

    name: str
    who: str
    condition: str
    place: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What a role alone sees of a table: rows, and how many columns are masked or absent."""

    rows: Literal["all", "some", "none", "refused"]
    columns: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """A table: what opens it, what narrows it, what becomes of its columns (column, what, spared roles), and what each
    role sees of it."""

    label: str
    state: str
    permissive: tuple[Line, ...]
    restrictive: tuple[Line, ...]
    columns: tuple[tuple[str, str, str], ...]
    seen: Mapping[str, Seen]


@dataclass(frozen=True, slots=True)
class Described:
    """Everything the documents say."""

    name: str
    version: str
    roles: tuple[str, ...]
    attributes: tuple[tuple[str, str, str], ...]
    tables: tuple[Table, ...]


def describe_policies(policies: PolicySet, catalog: Catalog) -> Described:
    """What holds for every table. Raises PolicyInvalid where a policy does not fit a relation."""
    tables = [r for r in catalog.relations.values() if r.kind == "table"]
    declared = policies.identity.attributes
    attributes = tuple(
        (
            f"user.{name}",
            f"list of {attribute.type}" if attribute.list else attribute.type,
            "always there" if attribute.required else "may be missing: then policies that need it are false",
        )
        for name, attribute in declared.items()
    )
    return Described(
        catalog.name,
        policies.version,
        tuple(sorted(policies.identity.roles)),
        attributes,
        tuple(_table(r, policies, catalog) for r in sorted(tables, key=lambda r: r.label)),
    )


def _table(relation: Relation, policies: PolicySet, catalog: Catalog) -> Table:
    bound = policies.bound(relation, catalog)
    roles = policies.identity.roles
    if bound is None:
        seen = dict.fromkeys(roles, Seen("refused"))
        rules = rules_for(policies, relation, catalog)
        why = "only columns are decided" if rules else "nobody decided on it"
        return Table(relation.label, f"{why}: every query of it is refused", (), (), (), seen)
    lines: dict[str, list[Line]] = {"permissive": [], "restrictive": []}
    for each in bound.policies:
        policy = each.policy
        who = "everybody" if policy.roles is None else ", ".join(sorted(policy.roles))
        condition = " ".join(policy.using.text.split())
        place = f"{policy.place.file.rpartition('/')[2]}:{policy.place.line}"
        lines[policy.kind].append(Line(policy.name, who, condition, place))
    return Table(
        relation.label,
        _state(bound),
        tuple(lines["permissive"]),
        tuple(lines["restrictive"]),
        tuple(_columns(bound)),
        {role: _seen(bound, role) for role in roles},
    )


def _seen(bound: Bound, role: str) -> Seen:
    mine = [b.policy for b in bound.policies if b.policy.applies_to(frozenset((role,)))]
    opening = [" ".join(p.using.text.split()).lower() for p in mine if p.kind == "permissive"]
    columns = sum(1 for c in bound.columns if (c.rule.denied or c.rule.mask is not None) and role not in c.rule.exempt)
    if not bound.public and not opening:
        return Seen("none", columns)
    whole = (bound.public or "true" in opening) and not any(p.kind == "restrictive" for p in mine)
    return Seen("all" if whole else "some", columns)


def _state(bound: Bound) -> str:
    permissive = [b.policy for b in bound.policies if b.policy.kind == "permissive"]
    if bound.public:
        return "public: every row for everybody"
    if not permissive:
        return "no policy opens it: nobody sees a row"
    who = sorted({role for p in permissive for role in p.roles or ()})
    return "rows for everybody, by policy" if any(p.roles is None for p in permissive) else f"rows for {', '.join(who)}"


def _columns(bound: Bound) -> list[tuple[str, str, str]]:
    found = []
    for column in bound.columns:
        rule = column.rule
        mask = "" if rule.mask is None else " ".join(rule.mask.text.split())
        what = "does not exist" if rule.denied else f"shown as {mask}" if mask else "labels are public"
        found.append((column.column, what, ", ".join(sorted(rule.exempt)) or "nobody"))
    return found


def markdown_document(described: Described) -> str:
    """The document as Markdown."""
    lines = [f"# Who sees what of `{described.name}`", "", f"Policy version `{described.version}`."]
    lines += ["", f"Roles: {', '.join(described.roles) or 'none'}.", ""]
    lines += ["| attribute | type | |", "|---|---|---|", *(_row(a) for a in described.attributes), ""]
    lines += [_row(("table", *described.roles)), "|---" * (len(described.roles) + 1) + "|"]
    for one in described.tables:
        lines.append(_row((one.label, *(_words(one.seen[role]) for role in described.roles))))
    lines.append("")
    for one in described.tables:
        lines += [f"## {_cell(one.label)}", "", f"{one.state.capitalize()}."]
        for title, policies in _parts(one):
            lines += ["", title, "", "| for | where | policy | |", "|---|---|---|---|"]
            lines += [_row((p.who, f"`{p.condition}`", p.name, p.place)) for p in policies]
        if one.columns:
            lines += ["", "| column | | except for |", "|---|---|---|", *(_row(c) for c in one.columns)]
        lines.append("")
    return "\n".join(lines)


def html_document(described: Described) -> str:
    """The document as one page that needs nothing else."""
    roles = ", ".join(described.roles) or "none"
    body = [
        tag("h1", f"Who sees what of {described.name}"),
        tag("p", f"roles: {roles}; policies {described.version}", _class="soft"),
        _picture(described),
        tag("h2", "Attributes"),
        table(("attribute", "type", ""), described.attributes),
    ]
    for number, one in enumerate(described.tables):
        body += [tag("h2", one.label, id=f"t{number}"), tag("p", one.state, _class="soft")]
        for title, policies in _parts(one):
            rows = [(p.who, tag("code", p.condition), p.name, tag("span", p.place, _class="soft")) for p in policies]
            body += [tag("p", title), table(("for", "where", "policy", ""), rows)]
        if one.columns:
            body += [tag("p", "Columns:"), table(("column", "", "except for"), one.columns)]
    return page(f"Who sees what of {described.name}", *body)


def _picture(described: Described) -> Html:
    """Tables and roles: all, some or no rows, and how many columns are not shown as they are."""
    head = tag("tr", *(tag("th", name) for name in ("", *described.roles)))
    rows = []
    for number, one in enumerate(described.tables):
        cells = []
        for role in described.roles:
            seen = one.seen[role]
            columns = tag("small", Html("<br>"), f"{seen.columns} col") if seen.columns and seen.rows != "none" else ""
            title = f"{role}, {one.label}: {_SEEN[seen.rows]}"
            heat = {"all": "1", "some": "0.45"}.get(seen.rows)
            style = None if heat is None else f"--heat:{heat}"
            kind = "heat" if heat else "error" if seen.rows == "refused" else "blank"
            cells.append(tag("td", tag("b", _WORDS[seen.rows]), columns, _class=kind, style=style, title=title))
        name = tag("th", tag("a", one.label, href=f"#t{number}"), _class="row")
        rows.append(tag("tr", name, *cells))
    legend = "who has one role and no other; “2 col” are columns that are masked or absent"
    grid = tag("div", tag("table", head, *rows, _class="grid"), _class="scroll")
    return Html(grid + tag("p", legend, _class="soft legend"))


def _words(seen: Seen) -> str:
    columns = f", {seen.columns} columns changed" if seen.columns and seen.rows in ("all", "some") else ""
    return _SEEN[seen.rows] + columns.replace("1 columns", "1 column")


def _parts(table: Table) -> list[tuple[str, tuple[Line, ...]]]:
    parts = [
        ("A row is seen where one of these holds", table.permissive),
        ("and every one of these", table.restrictive),
    ]
    return [(f"{title}:", policies) for title, policies in parts if policies]


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(text: str) -> str:
    plain = " ".join(text.split()).replace("|", "\\|")
    # Between backticks everything stands for itself.
    return plain if plain.startswith("`") else plain.replace("<", "&lt;")
