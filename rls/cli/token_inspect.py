"""`rls token inspect`: what a token says, without trusting it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rls.cli.options import json_option, policies_option, read_token

if TYPE_CHECKING:
    from rls.identity.inspect import Inspection

__all__ = ["as_dict", "inspect"]

REJECTED = 4


@click.command()
@policies_option
@click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE", help="A file with the token, or `-`.")
@json_option
@click.argument("text", metavar="[TOKEN]", required=False, envvar="RLS_TOKEN")
def inspect(*, policies: Path, token_file: Path | None, as_json: bool, text: str | None) -> int:
    """Show what a token says, without trusting it, and everything for which it would be refused (exit code 4)."""
    from rls.identity import inspect_token, load_identity

    inspection = inspect_token(read_token(text, token_file), load_identity(policies))
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json(as_dict(inspection)))
    else:
        show(inspection)
    return 0 if inspection.accepted else REJECTED


def as_dict(inspection: Inspection) -> dict[str, Any]:
    """The inspection as plain data."""
    return {
        "accepted": inspection.accepted,
        "findings": [{"reason": f.reason, "message": f.message} for f in inspection.findings],
        "warnings": inspection.warnings,
        "issuer": inspection.issuer,
        "signature": inspection.signature,
        "seconds_left": None if inspection.seconds_left is None else round(inspection.seconds_left),
        "size": inspection.size,
        "subject": inspection.subject,
        "roles": inspection.roles,
        "attributes": inspection.attributes,
        "actors": inspection.actors,
        "header": inspection.header,
        "claims": inspection.claims,
    }


def show(inspection: Inspection) -> None:
    """The inspection on the terminal."""
    from rls.cli import render
    from rls.cli.as_json import plain

    out = render.console()
    verdict = ("would be accepted", "good") if inspection.accepted else ("would be refused", "error")
    out.print(render.styled(verdict, ("  (read without trusting it)", "note")))
    for finding in inspection.findings:
        out.print(render.styled("  ", (finding.reason, "code"), f"  {finding.message}"))
    for warning in inspection.warnings:
        out.print(render.styled("  ", (warning, "warning")))
    if not inspection.claims:
        return
    left = inspection.seconds_left
    facts = [
        ("issuer", inspection.issuer or "not declared"),
        ("signature", inspection.signature),
        ("expires", "not said" if left is None else f"in {left:,.0f} s" if left > 0 else f"{-left:,.0f} s ago"),
        ("size", f"{inspection.size:,} bytes"),
        ("subject", inspection.subject),
        ("roles", ", ".join(sorted(inspection.roles)) or "none"),
    ]
    if inspection.actors:
        facts.append(("through", " for ".join(inspection.actors)))
    facts += [(f"user.{name}", _shown(plain(value))) for name, value in sorted(inspection.attributes.items())]
    out.print(render.table("token", "", rows=facts))
    for title, part in (("header", inspection.header), ("claims", inspection.claims)):
        if part:
            out.print(render.styled((title, "title")))
            out.print(render.styled(json.dumps(plain(part), ensure_ascii=False, indent=2)))


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
