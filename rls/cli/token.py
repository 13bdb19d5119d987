"""`rls token`: the commands for tokens, their keys and their end. One file per command."""

from __future__ import annotations

import click

from rls.cli.token_inspect import inspect
from rls.cli.token_keys import keys
from rls.cli.token_lint import lint
from rls.cli.token_mint import mint
from rls.cli.token_revoke import revoke
from rls.cli.token_verify import verify

__all__ = ["token"]


@click.group()
def token() -> None:
    """Mint, verify, inspect and revoke tokens; their keys."""


for command in (mint, inspect, verify, lint, keys, revoke):
    token.add_command(command)
