"""`rls audit replay`: a record's decision, derived again from the policies of that version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rls.cli.audit_options import hash_key_of, log_option, optional_policies
from rls.cli.options import json_option, persona_of, read_sql, read_text, read_token

if TYPE_CHECKING:
    from rls.audit.replay import Replay

__all__ = ["replay"]

FOUND = 1


@click.command()
@log_option
@optional_policies
@click.option("--as", "persona", metavar="PERSONA", help="The attributes of a persona in --policies.")
@click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE", help="Those of the token, or `-`.")
@click.option("--attributes", type=click.Path(path_type=Path), metavar="FILE", help="A JSON object of them, or `-`.")
@click.option("--sql", metavar="SQL", help="The query's text, where the record does not hold it; `-` reads it.")
@json_option
@click.argument("record", metavar="RECORD")
def replay(
    *,
    logs: tuple[Path, ...],
    policies: Path | None,
    persona: str | None,
    token_file: Path | None,
    attributes: Path | None,
    sql: str | None,
    as_json: bool,
    record: str,
) -> int:
    """Derive a record's decision again and compare (exit code 1 where it differs). Runs nothing.

    RECORD is an audit id, or how it begins. The log holds hashes of attributes, so they are taken from a persona, a
    token (which may have expired since) or a file, and must have those hashes. Where the token alone decided (it was
    rejected, a session began, the audit was read), that is needed, with --policies for the issuers' keys.
    """
    from rls.audit.read import read_records
    from rls.audit.replay import replay_record
    from rls.audit.select import Selection, select_records
    from rls.audit.snapshots import snapshots_beside

    if len(logs) != 1:
        raise click.UsageError("a record is replayed from one log")
    found = list(select_records(read_records(logs), Selection(audit_id=record)))
    if len(found) != 1:
        raise click.UsageError(f"there is no record `{record}`" if not found else f"`{record}` begins several ids")
    about_token = found[0]["outcome"] == "rejected" or found[0]["action"] in ("session", "audit")
    given = {} if about_token else _attributes(found[0], policies, persona, token_file, attributes)
    outcome = replay_record(
        found[0],
        snapshots=snapshots_beside(logs[0]),
        attributes=given,
        keyed=hash_key_of(policies),
        sql=None if sql is None else read_sql(sql),
        template=_template(found[0], logs[0]),
        token=read_token(None, token_file) if about_token and token_file is not None else None,
        keys_from=policies,
    )
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json(outcome.to_dict()))
    else:
        show(outcome)
    return 0 if outcome.same else FOUND


def _template(record: Mapping[str, Any], log: Path) -> str | None:
    """The text that the record's guarded text was made for, from the record of who sent that one."""
    from rls.audit.read import read_records

    wanted = record["template_sha256"]
    if not wanted:
        return None
    texts = (r["sql"] for r in read_records(log) if isinstance(r, dict) and r.get("sql_sha256") == wanted)
    return next(texts, None)


def _attributes(
    record: Mapping[str, Any], policies: Path | None, persona: str | None, token: Path | None, file: Path | None
) -> Mapping[str, Any]:
    sources = [source for source in (persona, token, file) if source is not None]
    if not sources and not record["attributes"]:
        return {}
    if len(sources) != 1:
        raise click.UsageError("give the principal's attributes with one of `--as`, `--token-file`, `--attributes`")
    if policies is None:
        raise click.UsageError("`--policies` says what the attributes are; give it")
    from rls.identity import load_identity
    from rls.identity.attributes import read_attributes

    if persona is not None:
        attributes: Mapping[str, Any] = persona_of(persona, policies, load_identity(policies, keys="none")).attributes
        return attributes
    if token is not None:
        from rls.identity import inspect_token

        return inspect_token(read_token(None, token), load_identity(policies, keys="none")).attributes
    assert file is not None  # noqa: S101 - one of the three
    try:
        raw = json.loads(read_text(file, "attributes"), parse_float=Decimal)
    except ValueError:
        raise click.UsageError("the attributes are not JSON") from None
    if not isinstance(raw, dict):
        raise click.UsageError("the attributes are a JSON object")
    reading = read_attributes(raw, load_identity(policies, keys="none").attributes, unknown="refuse")
    if reading.reasons:
        raise click.UsageError(f"the attributes are not as declared: {reading.reasons[0]}")
    return reading.values


def show(outcome: Replay) -> None:
    """The comparison on the terminal."""
    from rls.cli import render
    from rls.cli.audit_show import record_facts

    out = render.console()
    record_facts(out, outcome.record)
    out.print()
    if outcome.same:
        out.print(render.styled(("the same decision", "good"), f" by the policies {outcome.record['policy_version']}"))
    else:
        out.print(render.styled(("another decision", "error")))
        rows = [(d.what, d.recorded, d.derived) for d in outcome.differences]
        out.print(render.table("what", "recorded", "derived now", rows=rows))
    if outcome.attributes == "unproven":
        what = "token" if outcome.record["outcome"] == "rejected" else "attributes"
        text = (
            f"nothing proves that the {what} given is the recorded one"
            if what == "token"
            else ("the attributes could not be compared: their hash key is not there")
        )
        out.print(render.styled((text, "warning")))
    for text in outcome.not_compared:
        out.print(render.styled(("not compared: ", "warning"), text))
