"""What was chosen and what everybody should see of it → the text of a suite, to be read and edited by a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rls.catalog import Relation, fold, quote
from rls.identity.principal import Principal
from rls.lab.yaml_flow import yaml_flow

__all__ = ["Cell", "Draft", "Probe", "suite_text"]

_WIDTH = 116


@dataclass(frozen=True)
class Cell:
    """What a persona sees of a relation: keys (None: all rows), and its columns where some are masked or denied."""

    keys: Sequence[Sequence[object]] | None
    masked: Sequence[str] | None = None
    absent: Sequence[str] | None = None
    values: Mapping[str, Sequence[object]] = field(default_factory=dict)


@dataclass(frozen=True)
class Probe:
    """No row with these keys is for these people, whatever the policies say."""

    people: Sequence[str]
    tenant: object
    relation: Relation
    keys: Sequence[Sequence[object]]


@dataclass
class Draft:
    """A suite to be written. `own` are personas that are not in personas.yaml; `keys` are the columns that
    name a relation's rows; `notes` stand in the file's head."""

    now: str
    own: Mapping[str, Principal]
    relations: Sequence[Relation]
    rows: Mapping[tuple[str, ...], Sequence[Mapping[str, object]]]
    keys: Mapping[tuple[str, ...], Sequence[str]]
    only: Sequence[str]
    sees: Mapping[str, Mapping[tuple[str, ...], Cell]]
    probes: Sequence[Probe]
    notes: Sequence[str] = ()
    schema: bool = False


def suite_text(draft: Draft) -> str:
    """The file."""
    head = [
        "Seeded by `rls seed`: check these. Rows and personas that make every part of the policies true, false and",
        "NULL. What each persona sees was worked out from the policies as they were: a mistake in them is in here,",
        "too, until somebody has read it. The tests called `two tenants` ask no policy.",
        *draft.notes,
    ]
    lines = ["# yaml-language-server: $schema=.schemas/suite.schema.json"] if draft.schema else []
    lines += [f"# {line}" for line in head]
    lines += [f"now: {draft.now}", ""]
    if draft.own:
        lines.append("personas:")
        lines += [f"  {yaml_flow(name)}: {_persona(persona)}" for name, persona in draft.own.items()]
        lines.append("")
    lines.append("data:")
    for relation in draft.relations:
        lines += _data(relation, draft)
    named = [r for r in draft.relations if list(draft.keys[r.key]) != ["id"]]
    if named:
        lines += ["", "keys:"]
        lines += [f"  {_path(r)}: {yaml_flow(list(draft.keys[r.key]))}" for r in named]
    lines += ["", "only:", *_wrapped("  personas: ", map(yaml_flow, draft.only), "[]")]
    lines += ["", "sees: # what is not listed is invisible"]
    by_key = {r.key: r for r in draft.relations}
    if not any(draft.sees.values()):
        lines[-1] = "sees: {}"
    for name, cells in draft.sees.items():
        if cells:
            lines.append(f"  {yaml_flow(name)}:")
            lines += [f"    {_path(by_key[key])}: {_cell(cell)}" for key, cell in cells.items()]
    if draft.probes:
        lines += ["", "tests: # no policy was asked for these: a row of another tenant is nobody else's"]
    for probe in draft.probes:
        lines.append(f"  - name: {yaml_flow(f'two tenants: {probe.relation.label} for {probe.tenant}')}")
        lines += _wrapped("    as: ", map(yaml_flow, probe.people), "[]")
        lines.append(f"    relation: {_path(probe.relation)}")
        lines.append(f"    expect: {{excludes: {_keys(probe.keys)}}}")
    return "\n".join(lines) + "\n"


def _data(relation: Relation, draft: Draft) -> Iterable[str]:
    # All columns, so that a policy which asks for another one tomorrow finds it.
    names = [c.name for c in relation.columns]
    rows = draft.rows.get(relation.key, ())
    # What cannot be NULL in the database cannot be NULL here; a column that nobody filled stays free of that.
    empty = {name for name in names if all(row.get(name) is None for row in rows)}
    filled = {name for name in names if all(row.get(name) is not None for row in rows)}
    types = {c.name: c.type if c.nullable or c.name not in filled else f"{c.type} NOT NULL" for c in relation.columns}
    columns = [f"{yaml_flow(n)}: {yaml_flow(types[n])}" for n in names]
    yield f"  {_path(relation)}:"
    yield from _wrapped("    columns: ", columns, "{}")
    if not rows:
        yield "    rows: []"
        return
    yield "    rows:"
    for row in rows:
        given = {name: row.get(name) for name in names if name not in empty}
        yield f"      - {yaml_flow(given or dict.fromkeys(names[:1]))}"


def _wrapped(begin: str, items: Iterable[str], brackets: str) -> list[str]:
    """A list or mapping in its brackets over as many lines as it takes; an item stays on one line."""
    indent = " " * (len(begin) - len(begin.lstrip()) + 2)
    lines, listed = [begin + brackets[0]], list(items)
    for number, item in enumerate(listed):
        part = item + ("," if number + 1 < len(listed) else brackets[1])
        if len(lines[-1]) + 1 + len(part) > _WIDTH and lines[-1].strip():
            lines.append(indent + part)
        else:
            lines[-1] += part if lines[-1].endswith(brackets[0]) else f" {part}"
    return lines if listed else [begin + brackets]


def _persona(persona: Principal) -> str:
    parts = [f"subject: {yaml_flow(persona.subject)}", f"roles: {yaml_flow(sorted(persona.roles))}"]
    if persona.attributes:
        parts.append(f"attributes: {yaml_flow(dict(persona.attributes))}")
    if persona.agent is not None:
        parts.append(f"agent: {yaml_flow(persona.agent)}")
    return "{" + ", ".join(parts) + "}"


def _cell(cell: Cell) -> str:
    rows = "all" if cell.keys is None else _keys(cell.keys)
    if cell.masked is None and cell.absent is None:
        return rows
    parts = [f"rows: {rows}" if cell.keys is None else f"keys: {rows}"]
    for word, names in (("masked", cell.masked), ("absent", cell.absent)):
        if names is not None:
            parts.append(f"{word}: {yaml_flow(list(names))}")
    if cell.values:
        parts.append(f"values: {yaml_flow(cell.values)}")
    return "{" + ", ".join(parts) + "}"


def _keys(keys: Sequence[Sequence[object]]) -> str:
    return yaml_flow([key[0] if len(key) == 1 else list(key) for key in keys])


def _path(relation: Relation) -> str:
    schema = () if tuple(map(fold, relation.schema)) == ("main",) else relation.schema
    return yaml_flow(".".join(quote(p) if "." in p or '"' in p else p for p in (*schema, relation.name)))
