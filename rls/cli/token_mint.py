"""`rls token mint`: sign a token, where the signing key is."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from rls.cli.options import json_option, persona_of, policies_option, read_text

__all__ = ["mint"]


@click.command()
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
@click.option("--agent", metavar="NAME", help="Who will use the token for the subject; default: the persona's.")
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
    agent: str | None,
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
        agent = agent or principal.agent
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
        agent=agent,
        lifetime=lifetime,
    )
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json({"token": minted, "subject": who["subject"], "lifetime": lifetime}))
        return
    click.echo(minted)


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
