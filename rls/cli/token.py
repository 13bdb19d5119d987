"""`rls token`: mint tokens where the signing key is, and look into tokens without trusting them."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rls.cli.options import json_option, persona_of, policies_option, read_text, read_token

if TYPE_CHECKING:
    from rls.identity.inspect import Inspection

__all__ = ["token"]

REJECTED = 4


@click.group()
def token() -> None:
    """Mint and inspect tokens."""


@token.command()
@policies_option
@click.option("--as", "persona", metavar="PERSONA", help="Mint for a persona of personas.yaml.")
@click.option(
    "--claims",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help='Mint for {"subject": …, "roles": […], "attributes": {…}} in a JSON file, or `-`.',
)
@click.option(
    "--key", type=click.Path(path_type=Path), metavar="FILE", help="Private key in PEM; not for issuers with a secret."
)
@click.option("--issuer", metavar="NAME", help="Which declared issuer signs; default: the one that is declared.")
@click.option("--audience", metavar="NAME", help="Default: the one that the issuer declares.")
@click.option("--kid", metavar="ID", help="Default: the declared key that fits.")
@click.option("--lifetime", default=300, show_default=True, type=click.IntRange(min=1), help="In seconds.")
@json_option
def mint(
    *,
    policies: Path,
    persona: str | None,
    claims: Path | None,
    key: Path | None,
    issuer: str | None,
    audience: str | None,
    kid: str | None,
    lifetime: int,
    as_json: bool,
) -> None:
    """Sign a token for a persona or for claims, and print it."""
    if (persona is None) == (claims is None):
        raise click.UsageError("give one of `--as` and `--claims`")
    from rls.identity import load_identity, mint_token

    identity = load_identity(policies)
    if persona is not None:
        principal = persona_of(persona, policies, identity)
        who = {"subject": principal.subject, "roles": sorted(principal.roles), "attributes": principal.attributes}
    else:
        assert claims is not None  # noqa: S101 - looked at above
        who = _read_claims(read_text(claims, "claims"))
    minted = mint_token(
        identity,
        **who,
        key=None if key is None else read_text(key, "key"),
        issuer=issuer,
        audience=audience,
        kid=kid,
        lifetime=lifetime,
    )
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json({"token": minted, "subject": who["subject"], "lifetime": lifetime}))
        return
    click.echo(minted)


@token.command()
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
    facts += [(f"user.{name}", _shown(plain(value))) for name, value in sorted(inspection.attributes.items())]
    out.print(render.table("token", "", rows=facts))
    for title, part in (("header", inspection.header), ("claims", inspection.claims)):
        if part:
            out.print(render.styled((title, "title")))
            out.print(render.styled(json.dumps(plain(part), ensure_ascii=False, indent=2)))


def _read_claims(text: str) -> dict[str, Any]:
    """The keyword arguments of `mint_token`; a number with a point stays what is written."""
    try:
        claims = json.loads(text, parse_float=Decimal)
    except ValueError:
        raise click.UsageError("the claims are not JSON") from None
    known = {"subject", "roles", "attributes"}
    if not isinstance(claims, dict) or "subject" not in claims or set(claims) - known:
        raise click.UsageError("the claims are an object with `subject`, `roles` and `attributes`")
    if not isinstance(claims["subject"], str) or not isinstance(claims.get("attributes", {}), dict):
        raise click.UsageError("in the claims, `subject` is a text and `attributes` an object")
    roles = claims.get("roles", [])
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise click.UsageError("in the claims, `roles` is a list of texts")
    return claims


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
