"""`rls schema`: JSON Schemas of the YAML files, for editors."""

from __future__ import annotations

from pathlib import Path

import click

from rls.cli.options import json_option

__all__ = ["schema"]


@click.command()
@click.argument(
    "kind", type=click.Choice(["policies", "identity", "personas", "suite", "invariants", "audit"]), required=False
)
@click.option("--write", type=click.Path(path_type=Path), metavar="DIR", help="Write all of them to a directory.")
@json_option
def schema(*, kind: str | None, write: Path | None, as_json: bool) -> None:
    """JSON Schemas of the YAML files, for editors.

    With the first line `# yaml-language-server: $schema=FILE` in a YAML file, editors with the YAML language server
    use it.
    """
    from rls.cli.as_json import dump_json
    from rls.lab.schemas import json_schema, write_schemas

    if (kind is None) == (write is None):
        raise click.UsageError("give a kind to print, or --write DIR for all of them")
    if kind is not None:
        click.echo(dump_json(json_schema(kind)))
        return
    assert write is not None  # noqa: S101 - looked at above
    written = [str(file) for file in write_schemas(write)]
    click.echo(dump_json({"files": written}) if as_json else "\n".join(written))
