"""`rls token lint`: what should be otherwise in a token, and in how its issuers are declared."""

from __future__ import annotations

import os
from pathlib import Path

import click

from rls.cli.options import json_option, policies_option, read_token

__all__ = ["lint"]

FOUND = 1
_STYLES = {"refused": "error", "warning": "warning", "note": "note"}


@click.command()
@policies_option
@click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE", help="A file with the token, or `-`.")
@click.option("--strict", is_flag=True, help="Notes count too (exit code 1).")
@json_option
@click.argument("text", metavar="[TOKEN]", required=False)
def lint(*, policies: Path, token_file: Path | None, strict: bool, as_json: bool, text: str | None) -> int:
    """Advice on a token (also RLS_TOKEN), on the issuers' declarations and on their keys.

    Without a token, on the declarations only. Exit code 1 if there is a warning, or anything that would be refused.
    """
    from rls.cli.failures import pointing_into_file
    from rls.identity import lint_identity, lint_token
    from rls.policy.check_usage import attributes_read
    from rls.policy.load import load_policies

    with pointing_into_file():
        rules = load_policies(policies)
    advice = lint_identity(rules.identity)
    if text is None and token_file is None:
        text = os.environ.get("RLS_TOKEN")
    if text is not None or token_file is not None:
        given = read_token(text, token_file)
        advice = [*lint_token(given, rules.identity, used=attributes_read(rules)), *advice]
    bad = [one for one in advice if strict or one.severity != "note"]
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json({"advice": [one.to_dict() for one in advice]}))
        return FOUND if bad else 0
    from rls.cli import render

    out = render.console()
    for one in advice:
        out.print(render.styled((one.severity, _STYLES[one.severity]), " ", (one.code, "code")))
        out.print(render.indented(render.styled(f"{one.message}; {one.hint}")))
    if not advice:
        out.print(render.styled(("nothing to report", "good")))
    return FOUND if bad else 0
