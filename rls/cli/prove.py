"""`rls prove`: a statement about all rows and all principals → proved, or who sees what that refutes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rls.cli.options import database_option, json_option

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console, RenderableType

    from rls.identity.principal import Principal
    from rls.lab.prove.results import Counterexample, Result

__all__ = ["prove", "show_results"]

FOUND = 1
_STYLES = {"proved": "good", "refuted": "error", "undecided": "warning", "defect": "error"}
_VACUOUS = "  since these principals see no row of it at all"
_COLUMN = 13


@click.command()
@click.argument("policies", metavar="DIR", type=click.Path(path_type=Path), envvar="RLS_POLICIES")
@click.argument("statements", metavar="[STATEMENT]...", nargs=-1)
@database_option
@click.option("--about", multiple=True, metavar="RELATION", help="Only this relation; may be given again.")
@click.option("--only", multiple=True, metavar="ROLE", help="Only principals with this role; may be given again.")
@click.option("--unless", multiple=True, metavar="ROLE", help="Not principals with this role; may be given again.")
@click.option("--timeout", default=10.0, show_default=True, metavar="SECONDS", help="For each relation.")
@json_option
def prove(
    *,
    policies: Path,
    statements: tuple[str, ...],
    database: Path | str,
    about: tuple[str, ...],
    only: tuple[str, ...],
    unless: tuple[str, ...],
    timeout: float,
    as_json: bool,
) -> int:
    """Prove statements about all rows and all principals.

    Without a STATEMENT, those of DIR/invariants.yaml. The database gives the catalog; no row of it is read.

    \b
      isolated by tenant             no two principals of different tenants
                                     both see a row
      never visible where amount > 9 no principal sees such a row
      visible implies tenant_id = user.tenant
      policy A implies policy B      also: is equivalent to, is disjoint from
      always denied without clearance
      not wider than DIR             or REVISION:DIR of a git repository

    The database's primary keys are taken for granted. What refutes a statement is shown after the engine itself
    confirmed it. Exit code 1 unless all is proved.
    """
    from rls.cli.failures import pointing_into_file
    from rls.cli.opening import open_catalog
    from rls.lab.prove.available import require_solver
    from rls.lab.prove.invariants import FILE, prove_text, run_invariants
    from rls.lab.world.world import primary_keys_of
    from rls.policy.load import load_policies

    require_solver()
    with pointing_into_file():
        rules = load_policies(policies, keys="none")
        for role in (*only, *unless):
            if role not in rules.identity.roles:
                known = ", ".join(sorted(rules.identity.roles))
                raise click.UsageError(f"role `{role}` is not declared; there are {known}")
        catalog = open_catalog(database)
        keys = primary_keys_of(database, catalog)
        if not statements:
            if about or only or unless:
                raise click.UsageError("--about, --only and --unless are for a STATEMENT; invariants say it themselves")
            if not (policies / FILE).is_file():
                raise click.UsageError(f"give a STATEMENT: there is no `{policies / FILE}`")
            results = run_invariants(rules, catalog, seconds=timeout, keys=keys)
        else:
            from rls.lab.prove.claims import Limits
            from rls.lab.prove.prover import proving

            with proving(rules, catalog, seconds=timeout, keys=keys) as prover:
                results = [
                    result
                    for statement in statements
                    for result in prove_text(statement, prover, about=about, limits=Limits(only, unless))
                ]
    proved = sum(r.passed for r in results)
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json({"proved": proved, "of": len(results), "results": [r.to_dict() for r in results]}))
    else:
        from rls.cli import render

        show_results(render.console(), results)
    return 0 if proved == len(results) else FOUND


def show_results(out: Console, results: list[Result]) -> None:
    """Results on the terminal, each statement once with its relations below."""
    from rls.cli import render

    for number, (name, group) in enumerate(_by_name(results)):
        if number:
            out.print()
        statement = group[0].statement
        out.print(render.styled(*([(name, "title")] if name == statement else [(name, "title"), f"  {statement}"])))
        plain = [r.relation for r in group if r.passed and not r.vacuous]
        if plain:
            out.print(_line("proved", ", ".join(plain)))
        for result in group:
            if result.vacuous:
                out.print(_line("proved", result.relation, _VACUOUS))
            elif not result.passed:
                out.print(_line(result.verdict, result.relation))
                for part in _failure(result):
                    out.print(render.indented(part, _COLUMN))
    out.print()
    proved = sum(r.passed for r in results)
    told = (f"{proved} of {len(results)} proved", "good" if proved == len(results) else "error")
    scope = "  for all rows and all principals"
    keyed = sorted({label for r in results if r.passed for label in r.by_keys})
    if keyed:
        scope += f", as the primary keys of {', '.join(keyed)} hold"
    out.print(render.styled(told, (scope, "note")))


def _by_name(results: list[Result]) -> list[tuple[str, list[Result]]]:
    """Results of one statement together, in the order of the statements."""
    found: dict[tuple[str, int], list[Result]] = {}
    for result in results:
        found.setdefault((result.name, result.line), []).append(result)
    return [(name, group) for (name, _), group in found.items()]


def _line(verdict: str, relations: str, remark: str = "") -> RenderableType:
    from rls.cli import render

    return render.labelled(
        (f"  {verdict}", _STYLES[verdict]), render.styled((relations, "name"), (remark, "warning")), _COLUMN
    )


def _failure(result: Result) -> list[RenderableType]:
    from rls.cli import render

    parts: list[RenderableType] = [render.styled((f"claimed: {result.reading}", "note"))]
    if result.reason:
        parts.append(render.styled(result.reason))
    if result.counterexample is not None:
        parts.append(_example(result.counterexample))
    return parts


def _example(example: Counterexample) -> RenderableType:
    from rich.console import Group

    from rls.cli import render

    lines = []
    one = len(example.principals) == 1
    for name, principal in example.principals.items():
        lines.append(("principal" if one else name, render.styled(_principal(principal))))
    for name, row in example.rows.items():
        lines.append((name, render.styled(_row(row))))
    for label, row in example.others:
        lines.append((f"row of {label}", render.styled(_row(row))))
    for name, policies in example.policies.items():
        who = "seen by" if one else f"{name} sees by"
        lines.append((who, render.styled(", ".join(policies) or "the relation being public")))
    return Group(render.facts(lines), render.styled(("confirmed by the engine", "note")))


def _principal(principal: Principal) -> str:
    roles = ", ".join(sorted(principal.roles)) or "no role"
    attributes = "".join(f", {name} = {_value(value)}" for name, value in principal.attributes.items())
    return f"{principal.subject}, {roles}{attributes}"


def _row(row: Mapping[str, object]) -> str:
    return ", ".join(f"{name} = {_value(value)}" for name, value in row.items()) or "any"


def _value(value: object) -> str:
    from rls.lab.world.values import show

    return show(value)
