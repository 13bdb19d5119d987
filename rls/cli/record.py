"""`rls record`: an audit record → a regression test, as a suite file."""

from __future__ import annotations

from pathlib import Path

import click

from rls.cli.audit_options import log_option
from rls.cli.options import policies_option, write_text

__all__ = ["record"]


@click.command()
@click.argument("audit_id", metavar="RECORD")
@log_option
@policies_option
@click.option("--as", "persona", metavar="PERSONA", help="Who asked; default: the persona of that subject and roles.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write here (NAME.test.yaml), not to stdout."
)
def record(*, audit_id: str, logs: tuple[Path, ...], policies: Path, persona: str | None, out: Path | None) -> None:
    """Make a regression test of an audit record.

    RECORD is an audit id, or how it begins. The test says who asked what, and what came of it: the refusal's code, no
    rows, or how many rows by which policies. It reads no data.
    """
    from rls.audit.read import read_records
    from rls.audit.select import Selection, select_records
    from rls.lab.diff.revisions import open_revision
    from rls.lab.suites.record import find_persona, suite_of_record
    from rls.yaml_model import suggest

    found = list(select_records(read_records(logs), Selection(audit_id=audit_id)))
    if len(found) != 1:
        raise click.UsageError(f"there is no record `{audit_id}`" if not found else f"`{audit_id}` begins several ids")
    personas = open_revision(str(policies)).personas
    if persona is not None and persona not in personas:
        raise click.UsageError(f"there is no persona `{persona}`; {suggest(persona, personas) or 'see personas.yaml'}")
    text = suite_of_record(found[0], persona or find_persona(found[0], personas))
    if out is None:
        click.echo(text, nl=False)
    elif out.exists():
        raise click.UsageError(f"`{out}` is there already")
    else:
        write_text(out, text)
