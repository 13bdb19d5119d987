"""`rls audit export`: records as other systems store them, one JSON object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from rls.cli.audit_options import log_option, optional_policies, selected, selection_options
from rls.cli.options import json_option

__all__ = ["export"]


@click.command()
@log_option
@click.option(
    "--format",
    "form",
    default="ocsf",
    show_default=True,
    type=click.Choice(["ocsf", "ecs", "json"]),
    help="OCSF Datastore Activity, Elastic Common Schema, or the records as they are.",
)
@selection_options
@optional_policies
@json_option
def export(*, logs: tuple[Path, ...], form: str, given: dict[str, Any], policies: Path | None, as_json: bool) -> None:
    """Print records for another system: one JSON object a line, or one JSON list with --json."""
    from rls.audit.export import FORMATS
    from rls.audit.read import read_records
    from rls.audit.select import select_records

    made = (FORMATS[form](record) for record in select_records(read_records(logs), selected(given, policies)))
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json(list(made)))
        return
    for event in made:
        click.echo(json.dumps(event))
