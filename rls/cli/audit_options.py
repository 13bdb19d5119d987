"""Options that the audit commands share: which log, which of its records."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rls.audit.keyed import KeyedHash
    from rls.audit.select import Selection

__all__ = ["SELECTING", "hash_key_of", "log_option", "optional_policies", "selected", "selection_options", "time_of"]

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

log_option: Decorator = click.option(
    "--audit",
    "logs",
    type=click.Path(path_type=Path),
    required=True,
    multiple=True,
    envvar="RLS_AUDIT",
    show_envvar=True,
    metavar="LOG",
    help="The log: a file, a directory or an .sqlite database; may be given several times.",
)

optional_policies: Decorator = click.option(
    "--policies",
    type=click.Path(path_type=Path),
    envvar="RLS_POLICIES",
    show_envvar=True,
    metavar="DIR",
    help="Policy directory: its audit.yaml names the keys.",
)

OUTCOMES = ("allowed", "denied", "refused", "rejected", "limited", "failed")
SELECTING = (
    click.option("--since", metavar="TIME", help="ISO 8601 in UTC, or an age: 30m, 12h, 7d, 2w."),
    click.option("--until", metavar="TIME", help="Likewise."),
    click.option("--id", "audit_id", default="", metavar="ID", help="An audit id, or how it begins."),
    click.option("--subject", default="", metavar="NAME", help="Who asked."),
    click.option("--agent", default="", metavar="NAME", help="Who acted for them."),
    click.option("--role", default="", metavar="NAME"),
    click.option(
        "--outcome", "outcomes", multiple=True, type=click.Choice(OUTCOMES), help="May be given several times."
    ),
    click.option("--code", default="", metavar="CODE", help="An error's code, such as query.function."),
    click.option("--relation", default="", metavar="NAME", help="Read by the query."),
    click.option("--policy", default="", metavar="NAME", help="Decided on it."),
    click.option("--text", default="", metavar="TEXT", help="In the caller's SQL."),
    click.option("--trace", "trace_id", default="", metavar="ID"),
    click.option("--attribute", metavar="NAME=VALUE", help="Of the principal; needs the hash key (--policies)."),
)


def selection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options that choose records, as one argument `given` for `selected`."""

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> Any:
        names = ("since", "until", "audit_id", "subject", "agent", "role", "outcomes", "code", "relation", "policy")
        given = {name: arguments.pop(name) for name in (*names, "text", "trace_id", "attribute")}
        return command(given=given, **arguments)

    for option in reversed(SELECTING):
        wrapped = option(wrapped)
    return wrapped


def selected(given: dict[str, Any], policies: Path | None) -> Selection:
    """What the options ask for."""
    from rls.audit.select import Selection

    wanted = dict(given)
    attribute = wanted.pop("attribute")
    wanted["since"], wanted["until"] = time_of(wanted["since"]), time_of(wanted["until"])
    wanted["outcomes"] = frozenset(wanted["outcomes"])
    if attribute is not None:
        wanted["attribute"] = _attribute(attribute, policies)
    return Selection(**wanted)


def time_of(text: str | None) -> str:
    """A time as records write it; "" for none."""
    from rls.audit.select import parse_time

    if text is None:
        return ""
    try:
        return parse_time(text, now=datetime.now(UTC))
    except ValueError:
        raise click.UsageError(
            f"`{text}` is no time; write 2026-01-31, 2026-01-31T12:00 or an age such as 12h"
        ) from None


def hash_key_of(policies: Path | None) -> KeyedHash | None:
    """The configured key of the keyed hashes, if there is one."""
    from rls.audit.settings import load_settings

    keyed = load_settings(policies or Path("/nonexistent")).keyed
    return None if keyed.is_ephemeral else keyed


def _attribute(text: str, policies: Path | None) -> tuple[str, str]:
    from rls.identity import load_identity
    from rls.identity.attributes import read_attributes

    name, equals, value = text.partition("=")
    keyed = hash_key_of(policies)
    if not equals or policies is None or keyed is None:
        raise click.UsageError("`--attribute` takes NAME=VALUE, and needs `--policies` with a hash key in audit.yaml")
    identity = load_identity(policies, keys="none")
    if name not in identity.attributes:
        raise click.UsageError(f"there is no attribute `{name}`")
    raw: Any = value
    declared = identity.attributes[name]
    if declared.type != "string" or declared.list:
        import json

        try:
            raw = json.loads(value)
        except ValueError:
            raw = value
    reading = read_attributes({name: raw}, {name: declared}, unknown="refuse")
    if reading.reasons:
        raise click.UsageError(f"that is no value of the attribute `{name}`")
    return name, keyed.value(name, reading.values[name])
