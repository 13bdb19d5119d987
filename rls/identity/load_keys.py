"""The keys an identity file names → loaded keys, with every error at the entry that caused it.

Takes the document and the place of an issuer in it; returns the issuer with its keys or raises PolicyInvalid. It owns
where key material may come from: files beside the identity file, the environment, and for public keys a URL.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from rls.identity.fetch import check_url
from rls.identity.key_sets import RemoteKeys, remote_keys
from rls.identity.keys import (
    Key,
    KeyUnfit,
    family_of,
    read_encryption_secret,
    read_jwk_set,
    read_public_pem,
    read_secret,
)

if TYPE_CHECKING:
    from rls.identity.declared import Issuer
    from rls.identity.introspect import Introspection
    from rls.identity.model import IntrospectionEntry, IssuerEntry, KeyEntry, KeySetSource, SecretSource
    from rls.yaml_source import Document, NodePath

__all__ = ["KeyLoader"]

MAX_KEY_FILE = 1 << 16
# In seconds: how old a key set from a URL may be, and how much longer it is used while its server is down.
REFRESH = 300
STALE = 3600


class KeyLoader:
    """Reads keys from where the identity file says they are."""

    def __init__(self, document: Document, base: Path, environment: Mapping[str, str]) -> None:
        self.document, self.base, self.environment = document, base, environment

    def load(self, issuer: Issuer, entry: IssuerEntry, at: NodePath) -> Issuer:
        """The issuer declared at `at` with its keys; raises PolicyInvalid."""
        keys: dict[str, Key] = {}
        key_set: RemoteKeys | None = None
        for number, declared in enumerate(entry.keys or ()):
            where = (*at, "keys", number)
            with self._pointing(where):
                if declared.jwks is not None and declared.jwks.url is not None:
                    if key_set is not None:
                        raise KeyUnfit("key", "an issuer has one key set at a URL")
                    key_set = _read_key_set(declared, declared.jwks, issuer.algorithms)
                    continue
                found = self._read(declared, issuer.algorithms, where)
                _add(keys, found)
        encryption = self._encryption(entry, at)
        if {k.fingerprint for k in keys.values()} & {k.fingerprint for k in encryption.values()}:
            message = "a secret is for signatures or for encryption"
            raise self.document.invalid("policy.key", message, path=(*at, "encryption"), hint="use another one")
        return replace(
            issuer,
            keys=MappingProxyType(keys),
            key_set=key_set,
            encryption=encryption,
            introspection=self._introspection(entry.introspection, (*at, "introspection")),
        )

    def _encryption(self, entry: IssuerEntry, at: NodePath) -> Mapping[str, Key]:
        keys: dict[str, Key] = {}
        if entry.encryption is not None:
            from rls.identity.decrypt import require_joserfc

            require_joserfc()
            for number, declared in enumerate(entry.encryption.keys):
                where = (*at, "encryption", "keys", number)
                with self._pointing(where):
                    if declared.kid is None or declared.secret is None or declared.file or declared.jwks:
                        raise KeyUnfit("key", "a key for encryption is a `secret` with a `kid`")
                    raw = self._secret(declared.secret, (*where, "secret"))
                    _add(keys, [read_encryption_secret(declared.kid, raw, entry.encryption.algorithm)])
        return MappingProxyType(keys)

    def _introspection(self, entry: IntrospectionEntry | None, at: NodePath) -> Introspection | None:
        if entry is None:
            return None
        from rls.identity.introspect import Introspection

        with self._pointing((*at, "url")):
            _check_url(entry.url)
        with self._pointing((*at, "secret")):
            try:
                secret = self._secret(entry.secret, (*at, "secret")).decode("utf-8")
            except UnicodeDecodeError:
                raise KeyUnfit("key", "secret is not text") from None
        return Introspection(entry.url, entry.client, secret, entry.remember)

    @contextmanager
    def _pointing(self, where: NodePath) -> Iterator[None]:
        try:
            yield
        except KeyUnfit as error:
            raise self.document.invalid(f"policy.{error.code}", str(error), path=where, hint=error.hint) from None

    def _read(self, entry: KeyEntry, algorithms: tuple[str, ...], at: NodePath) -> list[Key]:
        match entry:
            case _ if sum(source is not None for source in (entry.file, entry.secret, entry.jwks)) != 1:
                raise KeyUnfit("key", "a key needs one of `file`, `secret`, `jwks`")
            case _ if entry.jwks is not None and entry.kid is not None:
                raise KeyUnfit("key", "a key set names its keys itself", hint="take the `kid` away")
            case _ if entry.jwks is not None:
                if entry.jwks.file is None or entry.jwks.refresh is not None or entry.jwks.stale is not None:
                    raise KeyUnfit("key", "a key set needs a `file`, or a `url` with `refresh` and `stale` if need be")
                return read_jwk_set(self._file(entry.jwks.file, (*at, "jwks", "file")), algorithms)
            case _ if entry.kid is None:
                raise KeyUnfit("key", "a key needs a `kid`", hint="the token's header names it")
            case _ if entry.file is not None:
                return [read_public_pem(entry.kid, self._file(entry.file, (*at, "file")), algorithms)]
            case _ if entry.secret is not None:
                return [read_secret(entry.kid, self._secret(entry.secret, (*at, "secret")), algorithms)]
            case _:
                raise KeyUnfit("key", "this key is not supported")

    def _file(self, name: str, at: NodePath) -> bytes:
        try:
            with (self.base / name).open("rb") as source:
                raw = source.read(MAX_KEY_FILE + 1)
        except (OSError, ValueError) as error:
            reason = (getattr(error, "strerror", None) or "not a usable path").lower()
            raise self.document.invalid("policy.key", f"cannot read `{name}`: {reason}", path=at) from None
        if len(raw) > MAX_KEY_FILE:
            raise self.document.invalid("policy.key", f"`{name}` is larger than {MAX_KEY_FILE} bytes", path=at)
        return raw

    def _secret(self, source: SecretSource, at: NodePath) -> bytes:
        if (source.env is None) == (source.file is None):
            raise KeyUnfit("key", "a secret needs one of `env`, `file`")
        if source.env is not None:
            text = self.environment.get(source.env)
            if text is None:
                hint = f"set the environment variable `{source.env}`"
                raise self.document.invalid("policy.key", "secret is not set", path=(*at, "env"), hint=hint)
            raw = os.fsencode(text)
        else:
            # Editors end a file with a line break that nobody means as part of the secret.
            raw = self._file(str(source.file), (*at, "file")).removesuffix(b"\n").removesuffix(b"\r")
        if source.encoding == "text":
            return raw
        try:
            return base64.b64decode(raw, validate=True)
        except binascii.Error:
            raise KeyUnfit("key", "secret is not base64") from None


def _add(keys: dict[str, Key], found: list[Key]) -> None:
    for key in found:
        if key.kid in keys:
            raise KeyUnfit("key", f"key `{key.kid}` is given twice")
        keys[key.kid] = key


def _read_key_set(entry: KeyEntry, source: KeySetSource, algorithms: tuple[str, ...]) -> RemoteKeys:
    """A key set at a URL; its keys are fetched when they are needed, so that no server must be up for loading."""
    if source.file is not None or entry.kid is not None or entry.file is not None or entry.secret is not None:
        raise KeyUnfit("key", "a key set at a URL has nothing beside it")
    if family_of(algorithms) == "HS":
        raise KeyUnfit("key", "a key set at a URL is for public keys", hint="give the shared secret as `secret`")
    url = _check_url(source.url or "")
    refresh = REFRESH if source.refresh is None else source.refresh
    return remote_keys(url, algorithms, refresh=refresh, stale=STALE if source.stale is None else source.stale)


def _check_url(url: str) -> str:
    try:
        check_url(url)
    except ValueError as error:
        raise KeyUnfit("key", f"the address {error}") from None
    return url
