"""A policy set and a catalog → documentation of who sees what, in Markdown or HTML: rows and columns by role.

Takes policies, never data; returns text. Owns that it says what holds and not what a file says: policies of patterns
stand at every table they match, and a table that nobody decided on is in it.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from rls.catalog import Catalog, Relation
from rls.policy.policy_set import PolicySet, rules_for
from rls.policy.rules import Bound

__all__ = ["Described", "describe_policies", "html_document", "markdown_document"]


@dataclass(frozen=True, slots=True)
class Line:
    """A policy: who it is for, its condition, and where it stands."""

    name: str
    who: str
    condition: str
    place: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table: what opens it, what narrows it, and what becomes of its columns (column, what, spared roles)."""

    label: str
    state: str
    permissive: tuple[Line, ...]
    restrictive: tuple[Line, ...]
    columns: tuple[tuple[str, str, str], ...]


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
    if bound is None:
        rules = rules_for(policies, relation, catalog)
        why = "only columns are decided" if rules else "nobody decided on it"
        return Table(relation.label, f"{why}: every query of it is refused", (), (), ())
    lines: dict[str, list[Line]] = {"permissive": [], "restrictive": []}
    for each in bound.policies:
        policy = each.policy
        who = "everybody" if policy.roles is None else ", ".join(sorted(policy.roles))
        condition = " ".join(policy.using.text.split())
        place = f"{policy.place.file.rpartition('/')[2]}:{policy.place.line}"
        lines[policy.kind].append(Line(policy.name, who, condition, place))
    return Table(
        relation.label, _state(bound), tuple(lines["permissive"]), tuple(lines["restrictive"]), tuple(_columns(bound))
    )


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
    lines += ["| table | |", "|---|---|", *(_row((t.label, t.state)) for t in described.tables), ""]
    for table in described.tables:
        lines += [f"## {_cell(table.label)}", "", f"{table.state.capitalize()}."]
        for title, policies in _parts(table):
            lines += ["", title, "", "| for | where | policy | |", "|---|---|---|---|"]
            lines += [_row((p.who, f"`{p.condition}`", p.name, p.place)) for p in policies]
        if table.columns:
            lines += ["", "| column | | except for |", "|---|---|---|", *(_row(c) for c in table.columns)]
        lines.append("")
    return "\n".join(lines)


def html_document(described: Described) -> str:
    """The document as one page that needs nothing else."""
    body = [
        f"<h1>Who sees what of {_text(described.name)}</h1>",
        f"<p>Policy version <code>{described.version}</code>.",
    ]
    body.append(f"Roles: {_text(', '.join(described.roles) or 'none')}.</p>")
    body.append(_html_table(("attribute", "type", ""), described.attributes))
    body.append("<nav><ul>")
    body += [f'<li><a href="#t{n}">{_text(t.label)}</a> {_text(t.state)}</li>' for n, t in enumerate(described.tables)]
    body.append("</ul></nav>")
    for number, table in enumerate(described.tables):
        body.append(f'<h2 id="t{number}">{_text(table.label)}</h2><p>{_text(table.state)}</p>')
        for title, policies in _parts(table):
            rows = [(p.who, p.condition, p.name, p.place) for p in policies]
            body += [f"<p>{title}</p>", _html_table(("for", "where", "policy", ""), rows, code=1)]
        if table.columns:
            body.append(_html_table(("column", "", "except for"), table.columns))
    title = f"<title>Who sees what of {_text(described.name)}</title>"
    head = f'<!doctype html><html lang="en"><meta charset="utf-8">{title}<style>{_STYLE}</style>'
    return head + "\n" + "\n".join(body) + "</html>\n"


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


def _text(text: str) -> str:
    return html.escape(text)


def _html_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, code: int | None = None) -> str:
    cells = [
        "".join(f"<td><code>{_text(c)}</code></td>" if n == code else f"<td>{_text(c)}</td>" for n, c in enumerate(row))
        for row in rows
    ]
    titles = "".join(f"<th>{_text(h)}</th>" for h in head)
    return f"<table><tr>{titles}</tr>" + "".join(f"<tr>{c}</tr>" for c in cells) + "</table>"


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}"
    "table{border-collapse:collapse;margin:.5rem 0;width:100%}th,td{text-align:left;padding:.25rem .75rem .25rem 0;"
    "border-bottom:1px solid #ddd;vertical-align:top}th{color:#666;font-weight:600}h2{margin-top:2.5rem}"
    "code{font-size:13px;white-space:pre-wrap;overflow-wrap:anywhere}"
    "@media(prefers-color-scheme:dark){body{background:#161616;color:#e6e6e6}th,td{border-color:#383838}a{color:#8ab4f8}}"
)
