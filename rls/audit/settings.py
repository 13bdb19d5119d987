"""A policy directory's audit.yaml → how its attempts are recorded, or `PolicyInvalid` at the key that is wrong.

A directory without the file has the defaults, with keys from the environment. Owns that a key that is named must be
there: a log that was meant to be signed is never unsigned.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rls.audit.keyed import KeyedHash
from rls.audit.places import Durability
from rls.audit.record import KeptSql
from rls.audit.signing import KeyUnusable, read_signer
from rls.errors import AuditFailed
from rls.yaml_model import validate
from rls.yaml_source import Document, read_documents

if TYPE_CHECKING:
    from rls.audit.chain import Signer
    from rls.audit.model import AuditFile, KeySource

__all__ = [
    "AUDIT_FILES",
    "HASH_KEY",
    "SIGNING_KEY",
    "AuditSettings",
    "load_settings",
    "read_audit_file",
    "read_keyed",
    "signing_key",
]

AUDIT_FILES = ("audit.yaml", "audit.yml")
HASH_KEY, SIGNING_KEY = "RLS_AUDIT_HASH_KEY", "RLS_AUDIT_SIGNING_KEY"
MIN_HASH_KEY = 16
MAX_KEY_FILE = 1 << 16


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """As audit.yaml says it, its keys loaded; `keyed` is ephemeral and `signer` None where no key is configured."""

    keyed: KeyedHash
    signer: Signer | None
    sql: KeptSql = "full"
    durability: Durability = "disk"
    rotate_bytes: int = 64 << 20
    heads: tuple[int, float] = (1_000, 60.0)
    anchor: Path | None = None
    opentelemetry: bool = False


def load_settings(directory: Path, *, environment: Mapping[str, str] | None = None) -> AuditSettings:
    """The settings of a policy directory. `environment` stands in for the process's.

    Raises PolicyInvalid: those of the YAML reader, `policy.audit_key`; AuditFailed (`audit.key`) for an unusable key in
    the environment.
    """
    given = os.environ if environment is None else environment
    found = _content(directory, given)
    if found is None:
        hash_key, signing = given.get(HASH_KEY), given.get(SIGNING_KEY)
        signer = None if signing is None else _signer_of(os.fsencode(signing))
        return AuditSettings(KeyedHash.ephemeral() if hash_key is None else read_keyed(hash_key), signer)
    return _settings(*found)


def read_audit_file(directory: Path) -> AuditFile | None:
    """What a directory's audit.yaml says, without its keys; None without the file. Raises PolicyInvalid."""
    found = _content(directory, {})
    return None if found is None else found[0]


def signing_key(directory: Path | None, *, environment: Mapping[str, str] | None = None) -> bytes | None:
    """The key that a policy directory's log is signed with, or the environment's; None for none.

    Raises as `load_settings` does.
    """
    given = os.environ if environment is None else environment
    found = None if directory is None else _content(directory, given)
    if found is None:
        return os.fsencode(given[SIGNING_KEY]) if SIGNING_KEY in given else None
    content, keys = found
    return None if content.signing_key is None else keys.read("signing_key", content.signing_key)


def _content(directory: Path, environment: Mapping[str, str]) -> tuple[AuditFile, _Keys] | None:
    """What audit.yaml says, and where its keys are; None where there is no such file."""
    file = next((directory / name for name in AUDIT_FILES if (directory / name).is_file()), None)
    if file is None:
        return None
    from rls.audit.model import AuditFile

    documents = read_documents(file)
    if len(documents) > 1:
        raise documents[1].invalid("policy.value", "audit file must be one document")
    return validate(documents[0], AuditFile), _Keys(documents[0], directory, environment)


def read_keyed(text: str | bytes) -> KeyedHash:
    """Keyed hashes under a configured key. Raises AuditFailed (`audit.key`)."""
    key = os.fsencode(text).removesuffix(b"\n").removesuffix(b"\r")
    if len(key) < MIN_HASH_KEY:
        raise AuditFailed("audit.key", f"the hash key is shorter than {MIN_HASH_KEY} bytes", hint="make a random one")
    return KeyedHash(key)


@dataclass(frozen=True)
class _Keys:
    """Reads keys from where audit.yaml says they are."""

    document: Document
    base: Path
    environment: Mapping[str, str]

    def read(self, name: str, source: KeySource) -> bytes:
        if source.env is not None:
            text = self.environment.get(source.env)
            if text is None:
                hint = f"set the environment variable `{source.env}`"
                raise self.document.invalid("policy.audit_key", "the key is not set", path=(name, "env"), hint=hint)
            return os.fsencode(text)
        try:
            with (self.base / str(source.file)).open("rb") as file:
                raw = file.read(MAX_KEY_FILE + 1)
        except (OSError, ValueError):
            raise self.document.invalid(
                "policy.audit_key", f"cannot read `{source.file}`", path=(name, "file")
            ) from None
        if len(raw) > MAX_KEY_FILE:
            raise self.document.invalid("policy.audit_key", f"`{source.file}` is too large", path=(name, "file"))
        return raw


def _settings(content: AuditFile, keys: _Keys) -> AuditSettings:
    keyed, signer = KeyedHash.ephemeral(), None
    try:
        if content.hash_key is not None:
            keyed = read_keyed(keys.read("hash_key", content.hash_key))
    except AuditFailed as error:
        raise keys.document.invalid("policy.audit_key", error.message, path=("hash_key",), hint=error.hint) from None
    try:
        if content.signing_key is not None:
            signer = _signer_of(keys.read("signing_key", content.signing_key))
    except AuditFailed as error:
        raise keys.document.invalid("policy.audit_key", error.message, path=("signing_key",)) from None
    return AuditSettings(
        keyed=keyed,
        signer=signer,
        sql=content.sql,
        durability=content.durability,
        rotate_bytes=content.rotate_bytes,
        heads=(content.heads.records, float(content.heads.seconds)),
        anchor=None if content.anchor is None else keys.base / content.anchor,
        opentelemetry=content.opentelemetry,
    )


def _signer_of(material: bytes) -> Signer:
    try:
        return read_signer(material)
    except KeyUnusable as error:
        message = str(error)
    raise AuditFailed("audit.key", message)
