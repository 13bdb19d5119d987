"""`rls why`: why a row is visible to a persona or not, or why a query has no rows. For who writes policies."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rls.cli.options import json_option, live_option, read_sql

if TYPE_CHECKING:
    from rich.console import Console

    from rls.catalog import Column, Relation
    from rls.lab.why.query import QueryWhy, Step
    from rls.lab.why.row import NodeWhy, PolicyWhy, RowWhy
    from rls.lab.world.world import World

__all__ = ["why"]

_TRUTH = {True: ("TRUE", "good"), False: ("FALSE", "error"), None: ("NULL", "warning")}


@click.command()
@click.argument("path", metavar="DIR|SUITE", type=click.Path(path_type=Path), envvar="RLS_POLICIES")
@click.argument("sql", required=False)
@live_option
@click.option("--as", "persona", required=True, metavar="PERSONA", help="A name from personas.yaml, or of the suite.")
@click.option("--relation", metavar="NAME", help="The relation of the row; with --key.")
@click.option("--key", "keys", multiple=True, metavar="VALUE", help="The row's key; `column=value` names the column.")
@json_option
def why(
    *,
    path: Path,
    sql: str | None,
    database: Path | str | None,
    persona: str,
    relation: str | None,
    keys: tuple[str, ...],
    as_json: bool,
) -> None:
    """Why a row is visible or not; where a query's rows go.

    With --relation and --key: what every policy says of that row, down to its conditions and the values in them. With
    SQL: the rows of each relation, after each policy, and after each of the query's own conditions.
    """
    from rls.cli import render
    from rls.cli.failures import pointing_into, pointing_into_file
    from rls.cli.matrix import open_world
    from rls.errors import QueryFailed
    from rls.lab.why.query import why_query
    from rls.lab.why.row import why_row
    from rls.lab.world.raw import RawFailed

    if (sql is None) == (relation is None) or (relation is None) != (not keys):
        raise click.UsageError("give a query, or --relation NAME with --key VALUE")
    with ExitStack() as stack, pointing_into_file():
        world = open_world(stack, path, database)
        if persona not in world.personas:
            from rls.yaml_model import suggest

            hint = suggest(persona, world.personas) or f"there are {', '.join(world.personas)}"
            raise click.UsageError(f"there is no persona `{persona}`; {hint}")
        found: RowWhy | QueryWhy
        try:
            if relation is not None:
                found = why_row(world, persona, *_row_of(world, relation, keys))
            else:
                text = read_sql(sql or "")
                with pointing_into(text):
                    found = why_query(world, persona, text)
        except RawFailed as error:
            raise QueryFailed("run.failed", f"what the policies say of these rows cannot be asked: {error}") from None
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json(found.to_dict()))
        return
    from rls.lab.why.row import RowWhy as Row

    out = render.console()
    if isinstance(found, Row):
        show_row(out, found)
    else:
        show_query(out, found)


def _row_of(world: World, name: str, keys: tuple[str, ...]) -> tuple[Relation, list[str], list[Any]]:
    """The relation, the columns that name the row, and their values."""
    from rls.policy.load import parse_path
    from rls.yaml_model import suggest

    path = parse_path(name)
    relation = None if path is None else world.catalog.find(path)
    if relation is None or relation.kind != "table":
        hint = suggest(name, [r.label for r in world.tables()]) or "views have no rows of their own"
        raise click.UsageError(f"there is no table `{name}`; {hint}")
    named = [key.partition("=") for key in keys]
    found = [relation.column(column) if mark else None for column, mark, _ in named]
    if all(found):
        return relation, *_fitting([c for c in found if c is not None], [v for _, _, v in named])
    from rls.lab.suites.plan import default_key

    columns = default_key(relation, world.raw.primary_key(relation))
    if len(columns) != len(keys):
        raise click.UsageError(f"the rows of `{relation.label}` are named by {', '.join(columns)}: give as many --key")
    named_by = [c for name in columns if (c := relation.column(name)) is not None]
    return relation, *_fitting(named_by, list(keys))


def _fitting(columns: list[Column], values: list[str]) -> tuple[list[str], list[Any]]:
    """The names of columns and their values, which are of the columns' types."""
    from rls.lab.world.raw import ask_duckdb

    for column, value in zip(columns, values, strict=True):
        if ask_duckdb(f"SELECT TRY_CAST($value AS {column.type}) IS NULL", {"value": value}):
            hint = "name another column as `--key column=value`"
            raise click.UsageError(f"`{value}` is not a value of `{column.name}`, which is {column.type}; {hint}")
    return [c.name for c in columns], values


def show_row(out: Console, found: RowWhy) -> None:
    """The truth table of a row."""
    from rls.cli import render
    from rls.lab.world.values import show

    key = ", ".join(f"{name} {show(value)}" for name, value in found.key.items())
    verdict = ("visible", "good") if found.visible else ("not visible", "error")
    out.print(
        render.styled(
            (found.relation, "name"), f" {key} for ", (found.persona, "name"), ": ", verdict, f", {found.reason}"
        )
    )
    for policy in found.policies:
        out.print()
        out.print(_policy_line(policy))
        if policy.applies:
            _print_node(out, policy.root, 0)
    changed = [n for n in found.shown if found.shown[n] != found.values[n]]
    absent = [n for n in found.values if n not in found.shown] if found.visible else []
    if changed or absent:
        out.print()
        told = [
            (name, render.styled(f"{show(found.values[name])} is shown as {show(found.shown[name])}"))
            for name in changed
        ]
        told += [(name, render.styled(("absent", "error"))) for name in absent]
        out.print(render.facts(told))


def _policy_line(policy: PolicyWhy) -> Any:
    from rls.cli import render

    place = (f"  {policy.policy.place.file}:{policy.policy.place.line}", "place")
    name: tuple[str, str] = (policy.policy.name, "name")
    kind = f" ({policy.policy.kind}) "
    if not policy.applies:
        roles = ", ".join(sorted(policy.policy.roles or ()))
        return render.styled(name, kind, (f"is for {roles}", "note"), place)
    if policy.missing:
        needs = f"is FALSE without user.{', user.'.join(policy.missing)}"
        return render.styled(name, kind, (needs, "error"), place)
    word, style = _TRUTH[policy.root.value]
    return render.styled(name, kind, "is ", (word, style), place)


def _print_node(out: Console, node: NodeWhy, depth: int) -> None:
    from rls.cli import render
    from rls.lab.world.values import show

    text = node.text if node.kind == "leaf" else {"and": "all of", "or": "any of", "not": "not"}[node.kind]
    word, style = ("missing", "error") if node.missing else _TRUTH[node.value]
    out.print(render.indented(render.labelled((word, style), render.styled(text), 8), 4 + 2 * depth))
    values = ", ".join(f"{name} = {show(value)}" for name, value in node.values)
    if node.missing:
        values = f"{values}, no user.{', no user.'.join(node.missing)}".lstrip(", ")
    if values:
        out.print(render.indented(render.styled((values, "note")), 12 + 2 * depth))
    for child in node.children:
        _print_node(out, child, depth + 1)


def show_query(out: Console, found: QueryWhy) -> None:
    """Where the rows go."""
    from rls.cli import render

    for relation in found.relations:
        out.print(render.styled((relation.label, "name")))
        rows: list[tuple[str, int | None]] = [("rows", relation.total)]
        rows += [(step.what, step.rows) for step in relation.steps]
        rows.append((f"visible to {found.persona}", relation.visible))
        out.print(render.indented(_counts(rows)))
        for reason in relation.reasons if not relation.visible else ():
            out.print(render.indented(render.styled((reason, "warning"))))
        out.print()
    out.print(render.styled(("the query", "name")))
    steps: tuple[Step, ...] = found.steps
    answer = "row of the answer" if found.rows == 1 else "rows of the answer"
    out.print(render.indented(_counts([*((s.what, s.rows) for s in steps), (answer, found.rows)])))
    if found.lost_at:
        out.print()
        out.print(render.styled((found.lost_at, "warning")))
    if not steps and found.relations:
        out.print(render.styled(("a query of this shape is not taken apart", "note")))


def _counts(rows: list[tuple[str, int | None]]) -> Any:
    from rls.cli import render

    told = []
    for what, count in rows:
        number = "?" if count is None else f"{count:,}"
        told.append((render.styled((number, "error" if count == 0 else "good")), render.styled(what)))
    return render.counts(told)
