"""`rls audit`: the commands that read an audit log. One file per command."""

from __future__ import annotations

import click

from rls.cli.audit_export import export
from rls.cli.audit_query import query
from rls.cli.audit_replay import replay
from rls.cli.audit_report import report
from rls.cli.audit_tail import tail
from rls.cli.audit_verify import verify

__all__ = ["audit"]


@click.group()
def audit() -> None:
    """Read, verify, export and replay the audit log."""


for command in (tail, query, verify, report, replay, export):
    audit.add_command(command)
