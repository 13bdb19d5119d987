"""`rls token verify`: yes or no, as the engine would say, and for the operator also why."""

from __future__ import annotations

from pathlib import Path

import click

from rls.cli.options import json_option, policies_option, read_token
from rls.cli.token_inspect import as_dict

__all__ = ["verify"]

REJECTED = 4


@click.command()
@policies_option
@click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE", help="A file with the token, or `-`.")
@json_option
@click.argument("text", metavar="[TOKEN]", required=False, envvar="RLS_TOKEN")
def verify(*, policies: Path, token_file: Path | None, as_json: bool, text: str | None) -> int:
    """Say whether a token is accepted (exit code 4: no), and why not; `inspect` shows what is in it.

    The same rules as the engine's, revocation included. A single-use token is not used up; an issuer that is to be
    asked about its tokens is not asked.
    """
    from rls.identity import inspect_token, load_identity

    inspection = inspect_token(read_token(text, token_file), load_identity(policies))
    if as_json:
        from rls.cli.as_json import dump_json

        told = as_dict(inspection)
        for part in ("signature", "size", "header", "claims"):
            del told[part]
        click.echo(dump_json(told))
        return 0 if inspection.accepted else REJECTED
    from rls.cli import render

    out = render.console()
    if not inspection.accepted:
        first = inspection.findings[0]
        out.print(render.styled(("rejected", "error"), "  ", (first.reason, "code"), f"  {first.message}"))
        return REJECTED
    left = inspection.seconds_left or 0
    roles = ", ".join(sorted(inspection.roles)) or "no role"
    through = f", through {inspection.actors[0]}" if inspection.actors else ""
    out.print(render.styled(("accepted", "good"), f"  {inspection.subject}{through}, {roles}, for {left:,.0f} s"))
    for warning in inspection.warnings:
        out.print(render.styled("  ", (warning, "warning")))
    return 0
