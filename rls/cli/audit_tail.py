"""`rls audit tail`: the latest records, and those to come."""

from __future__ import annotations

import json
import time
from collections import deque
from pathlib import Path
from typing import Any

import click

from rls.cli.audit_options import log_option, optional_policies, selected, selection_options
from rls.cli.options import json_option

__all__ = ["tail"]

POLL_SECONDS = 0.5


@click.command()
@log_option
@click.option("-n", "--lines", "count", default=10, show_default=True, type=click.IntRange(min=0), help="How many.")
@click.option("-f", "--follow", is_flag=True, help="Wait for more; with --json one record a line.")
@selection_options
@optional_policies
@json_option
def tail(
    *, logs: tuple[Path, ...], count: int, follow: bool, given: dict[str, Any], policies: Path | None, as_json: bool
) -> None:
    """Show the latest records."""
    from rls.audit.read import FollowedLogs, read_records
    from rls.audit.select import select_records

    selection = selected(given, policies)
    followed = FollowedLogs(logs) if follow else None
    latest = list(deque(select_records(read_records(logs), selection), maxlen=count))
    if as_json and not follow:
        from rls.cli.as_json import dump_json

        click.echo(dump_json(latest))
        return
    _show(latest, as_json=as_json)
    # What came in between was shown already.
    shown = {record["audit_id"] for record in latest}
    while followed is not None:
        time.sleep(POLL_SECONDS)
        new = [record for record in followed.more() if record.get("audit_id") not in shown]
        _show(list(select_records(new, selection)), as_json=as_json)


def _show(records: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for record in records:
            click.echo(json.dumps(record))
        return
    from rls.cli import render
    from rls.cli.audit_show import record_lines

    record_lines(render.console(), records)
