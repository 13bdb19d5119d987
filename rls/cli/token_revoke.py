"""`rls token revoke`: refuse one token, or all that a subject has, from now on and in every process."""

from __future__ import annotations

import time
from pathlib import Path

import click

from rls.cli.options import json_option, policies_option

__all__ = ["revoke"]


@click.command()
@policies_option
@click.option(
    "--id", "token_id", metavar="JTI", help="The token with this `jti`; needs `--issuer` if there are several."
)
@click.option("--subject", metavar="ID", help="All tokens of this subject that were issued before now.")
@click.option("--before", type=float, metavar="TIME", help="Unix time, with `--subject`; default: now.")
@click.option("--issuer", metavar="NAME", help="Of this issuer; with `--subject` the default is all.")
@json_option
def revoke(
    *,
    policies: Path,
    token_id: str | None,
    subject: str | None,
    before: float | None,
    issuer: str | None,
    as_json: bool,
) -> None:
    """Refuse a token, or a subject's tokens, in every process that shares the identity file's revocation database."""
    from rls.errors import EngineInvalid
    from rls.identity import load_identity
    from rls.identity.revocations import RevocationsDown

    if (token_id is None) == (subject is None) or (before is not None and subject is None):
        raise click.UsageError("give one of `--id` and `--subject`; `--before` goes with `--subject`")
    identity = load_identity(policies)
    if not identity.revocations.shared:
        raise click.UsageError(
            "revoked tokens are kept in memory; declare `revocation: {file: …}` in identity.yaml to share them"
        )
    if issuer is None and token_id is not None and len(identity.issuers) == 1:
        issuer = next(iter(identity.issuers))
    if issuer not in identity.issuers and not (issuer is None and subject is not None):
        raise click.UsageError(f"`--issuer` is one of {', '.join(identity.issuers)}")
    now = time.time()
    try:
        if token_id is not None:
            identity.revocations.revoke_token(token_id, issuer=str(issuer), now=now)
        else:
            identity.revocations.revoke_subject(str(subject), before=before, issuer=issuer, now=now)
    except RevocationsDown as error:
        failure = EngineInvalid("engine.revocations", "the database of revoked tokens cannot be written")
        failure.detail = str(error)
        raise failure from None
    told = {"id": token_id, "subject": subject, "issuer": issuer, "before": (before or now) if subject else None}
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json({"revoked": told}))
        return
    click.echo(f"revoked: {'token ' + token_id if token_id else 'the tokens of ' + str(subject)}")
