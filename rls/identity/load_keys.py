"""The keys an identity file names → loaded keys, with every error at the entry that caused it.

Takes the document and the place of an issuer in it; returns its keys by `kid` or raises PolicyInvalid. It owns where
key material may come from: files beside the identity file, and the environment.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from rls.identity.keys import Key, KeyUnfit, read_jwk_set, read_public_pem, read_secret

if TYPE_CHECKING:
    from rls.identity.model import IssuerEntry, KeyEntry, SecretSource
    from rls.yaml_source import Document, NodePath

__all__ = ["KeyLoader"]

MAX_KEY_FILE = 1 << 16


class KeyLoader:
    """Reads keys from where the identity file says they are."""

    def __init__(self, document: Document, base: Path, environment: Mapping[str, str]) -> None:
        self.document, self.base, self.environment = document, base, environment

    def load(self, entry: IssuerEntry, at: NodePath) -> Mapping[str, Key]:
        """The keys of the issuer declared at `at`, by `kid`; raises PolicyInvalid."""
        keys: dict[str, Key] = {}
        for number, declared in enumerate(entry.keys):
            where = (*at, "keys", number)
            try:
                found = self._read(declared, entry.algorithms, where)
            except KeyUnfit as error:
                raise self.document.invalid(f"policy.{error.code}", str(error), path=where, hint=error.hint) from None
            for key in found:
                if key.kid in keys:
                    raise self.document.invalid("policy.key", f"key `{key.kid}` is given twice", path=where)
                keys[key.kid] = key
        return MappingProxyType(keys)

    def _read(self, entry: KeyEntry, algorithms: list[str], at: NodePath) -> list[Key]:
        match entry:
            case _ if sum(source is not None for source in (entry.file, entry.secret, entry.jwks)) != 1:
                raise KeyUnfit("key", "a key needs one of `file`, `secret`, `jwks`")
            case _ if entry.jwks is not None and entry.kid is None:
                return read_jwk_set(self._file(entry.jwks.file, (*at, "jwks", "file")), algorithms)
            case _ if entry.jwks is not None:
                raise KeyUnfit("key", "a key set names its keys itself", hint="take the `kid` away")
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
