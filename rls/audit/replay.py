"""A record, the principal's attributes and the snapshots of that version → the decision derived again, and compared.

Nothing is run. Owns that a replay never guesses: attributes must have the hashes that the record holds, the text its
hash; what cannot be compared (a key nobody has any more) is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from rls.audit.attempt import relations_of
from rls.audit.keyed import KeyedHash, plain_text
from rls.audit.snapshots import read_catalog_snapshot
from rls.catalog import Catalog
from rls.errors import AuditFailed, QueryRefused
from rls.identity.principal import AttributeValue, Principal
from rls.rewrite.guarded import NO_TIME, TOO_SLOW, GuardedQuery
from rls.rewrite.port.target import Target

__all__ = ["Difference", "Replay", "replay_record"]

Record = Mapping[str, Any]

# Refusals of a call whose text nobody looked at, or whose parameters, which no record holds, were wrong.
_BEFORE_THE_TEXT: Final = frozenset(
    ("query.export_not_allowed", "query.fetch", "query.parameter", "query.parameter_value", "query.parameters",
     "query.text", "query.too_long", "run.busy", "run.fault", "run.interrupted")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that was recorded and comes out otherwise now."""

    what: str
    recorded: str
    derived: str


@dataclass(frozen=True)
class Replay:
    """What became of it. `same` where nothing differs; `attributes` says whether the principal (for a decision on a
    token: that one) is the recorded one for sure; `guarded` is None where the text or the token is refused again, with
    `code`, and where there was no text."""

    record: Record
    differences: tuple[Difference, ...]
    attributes: Literal["proven", "unproven"]
    not_compared: tuple[str, ...]
    guarded: GuardedQuery | None
    code: str

    @property
    def same(self) -> bool:
        return not self.differences

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "audit_id": self.record["audit_id"],
            "same": self.same,
            "attributes": self.attributes,
            "not_compared": list(self.not_compared),
            "differences": [{"what": d.what, "recorded": d.recorded, "derived": d.derived} for d in self.differences],
            "outcome": self.record["outcome"],
            "code": self.code,
            "relations": relations_of(self.guarded) if self.guarded else {},
            "policy_version": self.record["policy_version"],
        }


def replay_record(
    record: Record,
    *,
    snapshots: Path,
    attributes: Mapping[str, AttributeValue],
    keyed: KeyedHash | None,
    sql: str | None = None,
    template: str | None = None,
    token: str | None = None,
    keys_from: Path | None = None,
) -> Replay:
    """Derive the decision of a record again, from the policies and the catalog as they were.

    snapshots   the directory beside the log (`snapshots_beside`)
    attributes  of the principal, as they were: a persona's, a token's, or given
    keyed       of the key that hashed them; None where there is none any more
    sql         the caller's text, where the record does not hold it
    template    the earlier text that the guarded one was made for, where the record's `template_sha256` names one
    token       for what was decided by the token alone: it was rejected, a session began, the audit was read
    keys_from   the policy directory that the issuers' keys are in, for these

    Raises `AuditFailed`: `audit.replay` for a record of another engine's query, or a token, attributes or a text that
    are not the recorded ones, `audit.snapshot`; `PolicyInvalid` for a snapshot that this version cannot read.
    """
    from rls.policy.load import load_policies
    from rls.rewrite.templates import Templates

    if record["outcome"] == "rejected" or record["action"] in ("session", "audit"):
        return _replay_token(record, snapshots, token=token, keys_from=keys_from, keyed=keyed)
    if not record["subject"] or not record["policy_version"]:
        raise AuditFailed("audit.replay", "nothing was decided: the attempt ended before", hint="take another record")
    policies = load_policies(_snapshot(record, snapshots), keys="none")
    if not record["final_sha256"] and record["code"] in _BEFORE_THE_TEXT:
        may = policies.identity.capabilities(frozenset(record["roles"]))
        return _replay_call(record, may_export=may.export)
    text = _text(record, sql, keyed)
    proven = _check_attributes(record, attributes, keyed)
    catalog = read_catalog_snapshot(snapshots / f"catalog-{record['catalog_version']}.json")
    principal = Principal(
        subject=record["subject"],
        roles=frozenset(record["roles"]),
        attributes=attributes,
        issuer=record["issuer"],
        token_id=record["token_id"],
        agent=record["agent"] or None,
        actors=tuple(record["actors"]),
    )
    # What was handed out was perhaps made of this text in another spelling.
    plain = record["action"] == "guard" and record["template_sha256"] == record["sql_sha256"]
    # As the engine does it: literals are bound where it runs the text itself.
    templates = Templates(
        policies,
        catalog,
        for_engine=record["action"] in ("query", "explain"),
        plain=plain,
        target=_target(catalog, record["engine_version"]),
    )
    guarded, code = None, ""
    try:
        if record.get("dialect"):
            from rls.rewrite.native import read_native

            text = read_native(text, record["dialect"])
        if plain:
            guarded = templates.guard_plain(text, principal)
        else:
            guarded = templates.guard(text, principal, record["parameter_types"])
    except QueryRefused as error:
        code = error.code
    not_compared = []
    # An explanation's text names the database otherwise than one that runs, and binds no literals.
    final = None if record["action"] == "explain" and guarded else _final_hash(record, guarded, keyed)
    if guarded is not None and record["template_sha256"] and not plain:
        # It ran in the words of an earlier text; made for this principal, they must give the recorded text.
        if template is None or _hash(record, template, keyed) != record["template_sha256"]:
            final = None
            not_compared.append("the guarded text: the earlier text that it was made for is not there")
        else:
            final = _final_hash(record, templates.guard(template, principal), keyed)
    if catalog.version != record["catalog_version"]:
        not_compared.append("the catalog's version: its snapshot was changed")
    if record["sql_kept"] != "full" and keyed is None:
        not_compared.append("the guarded text: its hash is under a key that is not there")
    found = list(_differences(record, guarded, code, final))
    if guarded is not None and not {NO_TIME, TOO_SLOW}.isdisjoint((record["fence_reason"], guarded.fence_reason)):
        # How much of a barrier there is, which decides on no row, was left to what time there was.
        found = [one for one in found if not one.what.endswith((": barrier", "statistics_hidden", "guarded text"))]
        not_compared.append("the barrier and the guarded text: there was no time to judge what may stand below")
    return Replay(
        record=record,
        differences=tuple(found),
        attributes="proven" if proven else "unproven",
        not_compared=tuple(not_compared),
        guarded=guarded,
        code=code,
    )


def _replay_token(
    record: Record, snapshots: Path, *, token: str | None, keys_from: Path | None, keyed: KeyedHash | None
) -> Replay:
    from rls.audit.replay_token import derive_admission

    if token is None or keys_from is None:
        raise AuditFailed(
            "audit.replay", "the token alone decided here, and no record holds it", hint="give it with `--token-file`"
        )
    folder = _snapshot(record, snapshots)
    found = derive_admission(record, token, snapshot=folder, keys_from=keys_from, keyed=keyed)
    return Replay(
        record=record,
        differences=tuple(Difference(*each) for each in found.differences),
        attributes="proven" if found.proven else "unproven",
        not_compared=found.not_compared,
        guarded=None,
        code=found.code,
    )


def _replay_call(record: Record, *, may_export: bool) -> Replay:
    """A call that was refused for something else than its text."""
    code = record["code"]
    if code != "query.export_not_allowed":
        not_compared = (f"the refusal `{code}`: no record holds what it was for",)
        return Replay(record, (), "proven", not_compared, None, code)
    found = (Difference("decision", f"refused, {code}", "results may leave"),) if may_export else ()
    return Replay(record, found, "proven", (), None, code)


def _snapshot(record: Record, snapshots: Path) -> Path:
    folder = snapshots / f"policies-{record['policy_version']}"
    if not folder.is_dir():
        raise AuditFailed("audit.snapshot", f"there is no snapshot of the policies {record['policy_version']}")
    return folder


def _target(catalog: Catalog, engine: str) -> Target | None:
    """What the text was made for; an engine that this version does not know is none."""
    found: Target | None = None
    try:
        found = Target.read(catalog.engine)
    except (ValueError, KeyError, TypeError):
        known = False
    else:
        known = engine.startswith("duckdb " if found is None else found.engine)
    if not known:
        raise AuditFailed(
            "audit.replay",
            "the record is of an engine that is not known here",
            hint="take another record",
        )
    return found


def _text(record: Record, sql: str | None, keyed: KeyedHash | None) -> str:
    """The caller's text, which must be the recorded one."""
    text = record["sql"] if sql is None else sql
    known = _hash(record, text, keyed)
    if known == record["sql_sha256"]:
        return str(text)
    if sql is None and record["sql_kept"] == "full" and len(text) == record["sql_length"]:
        raise AuditFailed("audit.replay", "the record's text is not what was recorded", hint="run `rls audit verify`")
    if sql is None:
        raise AuditFailed("audit.replay", "the record does not hold the whole text", hint="give it with `--sql`")
    if known is None:
        return text
    raise AuditFailed("audit.replay", "the text is not the recorded one", hint="its hash is another")


def _check_attributes(record: Record, attributes: Mapping[str, AttributeValue], keyed: KeyedHash | None) -> bool:
    """Whether the attributes are the recorded ones for sure; raises where they are not."""
    recorded: Mapping[str, str] = record["attributes"]
    missing, more = sorted(recorded.keys() - attributes.keys()), sorted(attributes.keys() - recorded.keys())
    if missing or more:
        said = [f"lack `{name}`" for name in missing] + [f"have `{name}` besides" for name in more]
        raise AuditFailed("audit.replay", f"the attributes are not the recorded ones: they {', '.join(said)}")
    if keyed is None or keyed.name != record["hash_key"]:
        return not recorded
    other = [name for name, hash_ in recorded.items() if keyed.value(name, attributes[name]) != hash_]
    if other:
        names = ", ".join(f"`{name}`" for name in sorted(other))
        raise AuditFailed("audit.replay", f"the attributes are not the recorded ones: other values of {names}")
    return True


def _final_hash(record: Record, guarded: GuardedQuery | None, keyed: KeyedHash | None) -> str | None:
    """The hash of the derived text as the record's is made; None where it cannot be."""
    return "" if guarded is None else _hash(record, guarded.sql, keyed)


def _hash(record: Record, text: str, keyed: KeyedHash | None) -> str | None:
    """The hash of a text as the record's are made."""
    if record["sql_kept"] == "full":
        return plain_text(text)
    return keyed.text(text) if keyed else None


def _differences(record: Record, guarded: GuardedQuery | None, code: str, final: str | None) -> Iterator[Difference]:
    # A text that was guarded and then refused by the engine, or ended, was guarded all the same.
    before = "guarded" if record["final_sha256"] else f"refused, {record['code']}"
    now = "guarded" if guarded is not None else f"refused, {code}"
    if before != now:
        yield Difference("decision", before, now)
        return
    if guarded is None:
        return
    derived = relations_of(guarded)
    for label in sorted(record["relations"].keys() | derived.keys()):
        yield from _relation_differences(label, record["relations"].get(label), derived.get(label))
    for name, value in (
        ("attributes_read", list(guarded.attributes_read)),
        ("statistics_hidden", guarded.hide_statistics),
    ):
        if record[name] != value:
            yield Difference(name, _shown(record[name]), _shown(value))
    if final is not None and final != record["final_sha256"]:
        yield Difference("guarded text", f"hash {record['final_sha256'][:16]}", f"hash {final[:16]}")


def _relation_differences(
    label: str, before: Mapping[str, Any] | None, now: Mapping[str, Any] | None
) -> Iterator[Difference]:
    if before is None or now is None:
        yield Difference(label, "read" if before else "not read", "read" if now else "not read")
        return
    for name in ("kind", "policies", "grant", "barrier", "masked", "denied"):
        if before.get(name) != now.get(name):
            yield Difference(f"{label}: {name}", _shown(before.get(name)), _shown(now.get(name)))


def _shown(value: object) -> str:
    match value:
        case list():
            return ", ".join(map(str, value)) or "none"
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)
