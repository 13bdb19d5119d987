"""A directory of policy files → `PolicySet`, or `PolicyInvalid` with file, line and column.

Takes every `*.yaml` and `*.yml` of the directory but `identity.yaml`, `personas.yaml`, `audit.yaml`, `invariants.yaml`,
`widenings.yaml` and `*.test.yaml`; returns a frozen set. It owns the rule that a directory is read as a whole or not at
all: one file that is wrong, or half written, stops it, because the policy in it may be the one that restricts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rls.catalog import fold, parse_path
from rls.errors import PolicyInvalid
from rls.policy.attributes import Attribute, attributes_by_name
from rls.policy.expressions import Expression, read_expressions
from rls.policy.parser import ExpressionInvalid
from rls.policy.policy_set import PolicySet
from rls.policy.rules import ColumnRule, Pattern, Place, Policy, Rules
from rls.yaml_model import suggest, validate
from rls.yaml_source import Document, NodePath, read_documents

if TYPE_CHECKING:
    from rls.identity.declared import Identity
    from rls.policy.model import ColumnEntry, PolicyEntry, PolicyFile

    _Content = tuple[Document, PolicyFile]
    # A document, by its identity, and where in it.
    _Place = tuple[int, NodePath]

__all__ = ["load_policies", "parse_path", "policy_files"]

_NOT_POLICIES = frozenset(
    f"{name}.{suffix}"
    for name in ("identity", "personas", "audit", "invariants", "widenings")
    for suffix in ("yaml", "yml")
)


def load_policies(
    directory: str | Path, *, keys: Literal["load", "none"] = "load", keys_from: str | Path | None = None
) -> PolicySet:
    """The policies of a directory, with the identity file beside them.

    `keys="none"` loads no issuer's key, for checking and testing policies where the secrets are not; `keys_from` is
    where they are, for a copy of a directory. Raises PolicyInvalid at the first thing that is wrong: those of the YAML
    reader and of the identity file, `policy.unreadable`, `policy.relation_name`, `policy.duplicate_relation`,
    `policy.duplicate_name`, `policy.duplicate_column`, `policy.unknown_role`, and those of `read_expressions`.
    """
    from rls.identity.issuers import load_identity
    from rls.policy.model import PolicyFile

    folder = Path(directory)
    identity = load_identity(folder, keys=keys, keys_from=keys_from)
    attributes = attributes_by_name(identity.attributes)
    contents: list[_Content] = []
    version = hashlib.sha256(identity.version.encode())
    for path in policy_files(folder):
        documents = read_documents(path)
        contents += [(document, validate(document, PolicyFile)) for document in documents]
        version.update(repr((path.name, documents[0].text)).encode())
    reader = _Loader(identity, attributes, contents)
    rules = [reader.read(document, content) for document, content in contents]
    _refuse_second_document(rules)
    return PolicySet(
        rules=tuple(rules),
        identity=identity,
        attributes=attributes,
        version=version.hexdigest()[:16],
        # Wherever the process goes, they are read again from here.
        directory=str(folder.absolute()),
    )


def policy_files(directory: Path) -> list[Path]:
    """The policy files of a directory, sorted by name; raises PolicyInvalid `policy.unreadable`."""
    try:
        found = sorted(p for p in directory.iterdir() if p.suffix in (".yaml", ".yml"))
    except OSError as error:
        reason = (error.strerror or "not a directory").lower()
        raise PolicyInvalid("policy.unreadable", f"cannot read the directory: {reason}", file=str(directory)) from None
    return [p for p in found if p.name not in _NOT_POLICIES and p.suffixes[-2:-1] != [".test"] and p.name[0] != "."]


def _read_all(
    contents: list[_Content], attributes: dict[str, Attribute]
) -> Iterator[tuple[_Place, Expression | ExpressionInvalid]]:
    """Every expression of the directory by its place. They are read together: DuckDB is not asked for each."""
    conditions: dict[_Place, str] = {}
    masks: dict[_Place, str] = {}
    for document, content in contents:
        for index, policy in enumerate(content.policies):
            conditions[id(document), ("policies", index, "using")] = policy.using
        for name, column in content.columns.items():
            if column.mask is not None:
                masks[id(document), ("columns", name, "mask")] = column.mask
    for texts, branches in ((conditions, True), (masks, False)):
        yield from zip(texts, read_expressions(list(texts.values()), attributes, branches=branches), strict=True)


class _Loader:
    """Turns validated documents into rules; holds what their texts are checked against, and their expressions."""

    def __init__(self, identity: Identity, attributes: dict[str, Attribute], contents: list[_Content]) -> None:
        self.identity = identity
        self.expressions = dict(_read_all(contents, attributes))

    def read(self, document: Document, content: PolicyFile) -> Rules:
        return Rules(
            target=self._target(content, document),
            public=content.public is True,
            policies=self._policies(content.policies, document),
            columns=self._columns(content.columns, document),
            place=Place(document, ("relation",) if content.relation is not None else ("relations",)),
            strict=content.strict is True,
        )

    def _target(self, content: PolicyFile, document: Document) -> tuple[str, ...] | Pattern:
        if content.relation is not None:
            return self._path(content.relation, document, ("relation",))
        assert content.relations is not None  # noqa: S101 - the model has looked
        entry = content.relations
        schemas = [self._path(s, document, ("relations", "in_schemas", i)) for i, s in enumerate(entry.in_schemas)]
        exempt = [self._path(r, document, ("relations", "except", i)) for i, r in enumerate(entry.exempt)]
        folded = tuple(tuple(map(fold, schema)) for schema in schemas)
        return Pattern(tuple(entry.with_columns), folded, tuple(exempt))

    def _path(self, text: str, document: Document, at: NodePath) -> tuple[str, ...]:
        path = parse_path(text)
        if path is None:
            raise document.invalid(
                "policy.relation_name",
                f"`{text}` is not a relation's name",
                path=at,
                hint='write `schema.name`; a part with a dot or quote in it in double quotes, as `"a.b"`',
            )
        return path

    def _policies(self, entries: list[PolicyEntry], document: Document) -> tuple[Policy, ...]:
        seen: dict[str, int] = {}
        policies = []
        for index, entry in enumerate(entries):
            at: NodePath = ("policies", index)
            first = seen.setdefault(entry.name, index)
            if first != index:
                line, _ = document.position(("policies", first, "name"))
                raise document.invalid(
                    "policy.duplicate_name",
                    f"policy `{entry.name}` is given twice, first on line {line}",
                    path=(*at, "name"),
                    hint="names tell policies apart in reports: choose another",
                )
            roles = None if entry.to is None else self._roles(entry.to, document, (*at, "to"))
            using = self._expression(document, (*at, "using"))
            place = Place(document, (*at, "using"))
            policies.append(Policy(entry.name, entry.kind, roles, using, place, entry.description))
        return tuple(policies)

    def _columns(self, entries: dict[str, ColumnEntry], document: Document) -> tuple[ColumnRule, ...]:
        seen: dict[str, str] = {}
        rules = []
        for name, entry in entries.items():
            at: NodePath = ("columns", name)
            if fold(name) in seen:
                raise document.invalid(
                    "policy.duplicate_column",
                    f"column `{name}` is given twice: DuckDB does not tell it from `{seen[fold(name)]}`",
                    path=at,
                    key=True,
                )
            seen[fold(name)] = name
            exempt = self._roles(entry.exempt, document, (*at, "except"))
            mask = None
            if entry.mask is not None:
                mask = self._expression(document, (*at, "mask"))
            place = Place(document, at if mask is None else (*at, "mask"))
            rules.append(ColumnRule(name, entry.deny is True, mask, entry.labels is not None, exempt, place))
        return tuple(rules)

    def _roles(self, names: list[str], document: Document, at: NodePath) -> frozenset[str]:
        for index, name in enumerate(names):
            if name not in self.identity.roles:
                raise document.invalid(
                    "policy.unknown_role",
                    f"role `{name}` is not declared in the identity file",
                    path=(*at, index),
                    hint=suggest(name, sorted(self.identity.roles)) or "declare it under `roles`",
                )
        return frozenset(names)

    def _expression(self, document: Document, at: NodePath) -> Expression:
        found = self.expressions[id(document), at]
        if isinstance(found, ExpressionInvalid):
            raise Place(document, at).invalid_expression(found)
        return found


def _refuse_second_document(rules: list[Rules]) -> None:
    """One relation, one document: what it permits is read in one place."""
    seen: dict[tuple[str, ...], Rules] = {}
    for rule in rules:
        if isinstance(rule.target, Pattern):
            continue
        key = tuple(map(fold, rule.target))
        first = seen.setdefault(key, rule)
        if first is not rule:
            raise rule.place.invalid(
                "policy.duplicate_relation",
                f"relation `{'.'.join(rule.target)}` is decided twice, first in {first.place.file}:{first.place.line}",
                hint="put both into one document",
            )
