"""`rls audit verify`: is the log as it was written?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rls.cli.audit_options import log_option, optional_policies
from rls.cli.options import json_option, read_text

if TYPE_CHECKING:
    from rls.audit.signing import Verifier
    from rls.audit.verify import Verification

__all__ = ["verify"]

FOUND = 1


@click.command()
@log_option
@click.option(
    "--key",
    "keys",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="What may have signed: an Ed25519 public key in PEM, or the secret. Default: the key of audit.yaml.",
)
@optional_policies
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Ends of chains that were noted elsewhere: they must be there.",
)
@click.option(
    "--expect", type=click.Path(path_type=Path), metavar="FILE", help="Audit ids, one a line: they must be there."
)
@click.option("--heads", is_flag=True, help="Print the ends of the chains, to be kept elsewhere as anchors.")
@json_option
def verify(
    *,
    logs: tuple[Path, ...],
    keys: tuple[Path, ...],
    policies: Path | None,
    anchors: tuple[Path, ...],
    expect: Path | None,
    heads: bool,
    as_json: bool,
) -> int:
    """Look at every line of the log: changed, dropped, moved and added ones are found (exit code 1).

    Lines cut off at the end are found where anything refers to them: another process's lines, an anchor, an id that a
    caller holds. Without any of these a cut-off end looks like a crash, and is a warning.
    """
    from rls.audit.anchors import anchor_lines, read_anchors
    from rls.audit.verify import verify_log

    found = verify_log(
        logs,
        verifiers=_verifiers(keys, policies),
        anchors=[anchor for file in anchors for anchor in read_anchors(file)],
        expected=[] if expect is None else read_text(expect, "id").split(),
    )
    if heads:
        click.echo(anchor_lines(found.heads), nl=False)
    elif as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json(found.to_dict()))
    else:
        show(found)
    return 0 if found.ok else FOUND


def _verifiers(keys: tuple[Path, ...], policies: Path | None) -> list[Verifier]:
    from rls.audit.settings import signing_key
    from rls.audit.signing import KeyUnusable, read_verifier

    material = [_read(file) for file in keys]
    if not material:
        configured = signing_key(policies)
        material = [] if configured is None else [configured]
    try:
        return [read_verifier(one) for one in material]
    except KeyUnusable as error:
        raise click.UsageError(str(error)) from None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise click.UsageError(f"cannot read the key file `{file}`: {(error.strerror or 'error').lower()}") from None


def show(found: Verification) -> None:
    """The findings on the terminal, and what was looked at."""
    from rls.cli import render
    from rls.cli.audit_show import counted

    out = render.console()
    for finding in found.findings:
        place = f"{finding.source}:{finding.line} " if finding.line else ""
        chain = f" (chain {finding.writer})" if finding.writer else ""
        out.print(
            render.styled(
                (place, "place"),
                (finding.severity, finding.severity),
                " ",
                (finding.code, "code"),
                f" {finding.message}",
            ).append(chain, "note"),
            soft_wrap=not out.is_terminal,
        )
    if found.findings:
        out.print()
    errors = sum(f.severity == "error" for f in found.findings)
    verdict = (
        ("as it was written", "good") if found.ok else (f"not as it was written: {counted(errors, 'error')}", "error")
    )
    closed = sum(chain.closed for chain in found.chains)
    out.print(render.styled(verdict))
    vouched = sum(chain.vouched for chain in found.chains)
    signed = {
        "checked": f"checked, {counted(vouched, 'record')} vouched for",
        "unchecked": "signed; not checked, give --key",
        "none": "not signed: whoever may write the files could have rewritten them",
    }[found.signatures]
    rows = [
        ("records", f"{found.records:,}"),
        ("chains", f"{len(found.chains):,}, {closed:,} closed"),
        ("signatures", signed),
    ]
    out.print(render.facts((name, render.styled(text)) for name, text in rows))
