"""Suite files (`*.test.yaml`) → `Suite`, or `PolicyInvalid` with file, line and column.

Takes the directory (or files) and the loaded policies; returns suites whose personas exist and whose names can be
names. What needs a catalog (relations, columns) is looked at when the suite runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rls.errors import PolicyInvalid
from rls.identity.personas import load_personas, read_persona
from rls.lab.suites.suite import Case, Given, Listed, Suite
from rls.policy.load import parse_path
from rls.policy.rules import Place
from rls.yaml_model import suggest, validate
from rls.yaml_source import Document, NodePath, read_documents

if TYPE_CHECKING:
    from rls.identity.declared import Identity
    from rls.identity.principal import Principal
    from rls.lab.suites.model import Expect, SuiteFile

__all__ = ["directory_personas", "read_suite", "read_suites", "suite_files"]


def suite_files(directory: Path) -> list[Path]:
    """The suite files of a policy directory and of the directories in it, sorted."""
    return sorted(p for ending in ("yaml", "yml") for p in directory.rglob(f"*.test.{ending}") if p.name[0] != ".")


def read_suites(directory: Path, identity: Identity) -> list[Suite]:
    """All suites of a policy directory. Raises PolicyInvalid at the first thing that is wrong."""
    personas = directory_personas(directory, identity)
    return [read_suite(file, identity, personas) for file in suite_files(directory)]


def directory_personas(directory: Path, identity: Identity) -> dict[str, Principal]:
    """The personas of the directory's personas.yaml; none if there is no such file."""
    file = directory / "personas.yaml"
    return load_personas(file, identity) if file.is_file() else {}


def read_suite(file: Path, identity: Identity, personas: Mapping[str, Principal]) -> Suite:
    """One suite; `personas` are those it shares with others.

    Raises PolicyInvalid: those of the YAML reader, of `validate` and of personas; `policy.suite_persona`,
    `policy.suite_relation`, `policy.suite_test`, `policy.suite_time`, `policy.suite_cell`.
    """
    from rls.lab.suites.model import SuiteFile

    documents = read_documents(file)
    if len(documents) > 1:
        raise documents[1].invalid("policy.value", "suite file must be one document")
    reader = _Reader(documents[0], validate(documents[0], SuiteFile), file)
    return reader.read(identity, personas)


class _Reader:
    """One suite file's content and document, from which every part takes its place."""

    def __init__(self, document: Document, content: SuiteFile, file: Path) -> None:
        self.document, self.content, self.file = document, content, file
        self.name = content.name or file.name.removesuffix(".yaml").removesuffix(".yml").removesuffix(".test")
        self.personas: dict[str, Principal] = {}

    def read(self, identity: Identity, shared: Mapping[str, Principal]) -> Suite:
        content = self.content
        self.personas = dict(shared)
        for name, entry in content.personas.items():
            if name in shared:
                message = f"persona `{name}` is also in personas.yaml"
                raise self.document.invalid("policy.suite_persona", message, path=("personas", name), key=True)
            self.personas[name] = read_persona(entry, self.document, identity, at=("personas", name))
        chosen = content.only.personas or list(self.personas)
        for number, name in enumerate(chosen):
            self._persona(name, ("only", "personas", number))
        relations = content.only.relations
        return Suite(
            name=self.name,
            file=self.file,
            now=self._now(),
            personas=self.personas,
            data=self._data(),
            keys={self._path(name, ("keys", name), key=True): tuple(cols) for name, cols in content.keys.items()},
            tests=tuple(self._tests()),
            matrix=self._matrix(chosen),
            only_personas=tuple(chosen),
            only_relations=None
            if relations is None
            else tuple(self._path(name, ("only", "relations", n)) for n, name in enumerate(relations)),
            place=Place(self.document, ("sees",) if content.sees is not None else ()),
        )

    def _now(self) -> float | None:
        text = self.content.now
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            hint = "write it as 2026-01-31T12:00:00Z"
            raise self.document.invalid("policy.suite_time", "`now` is not a time", path=("now",), hint=hint) from None
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()

    def _data(self) -> tuple[Given, ...] | None:
        from rls.lab.suites.model import GivenRows

        if self.content.data is None:
            return None
        found: dict[tuple[str, ...], Given] = {}
        for name, entry in self.content.data.items():
            path = self._path(name, ("data", name), key=True)
            given = entry if isinstance(entry, GivenRows) else GivenRows(rows=entry)
            at: NodePath = ("data", name, "rows") if isinstance(entry, GivenRows) else ("data", name)
            for number, row in enumerate(given.rows):
                if not isinstance(row, list | dict):
                    message = "a row must be a list of values or a mapping of columns"
                    raise self.document.invalid("policy.type", message, path=(*at, number))
            found[path] = Given(path, dict(given.columns), tuple(given.rows), Place(self.document, at))
        return tuple(found.values())

    def _tests(self) -> list[Case]:
        cases: list[Case] = []
        names: set[str] = set()
        for number, test in enumerate(self.content.tests):
            at: NodePath = ("tests", number)
            if test.name in names:
                message = f"test `{test.name}` is given twice"
                raise self.document.invalid("policy.suite_test", message, path=(*at, "name"))
            names.add(test.name)
            if test.relation is not None:
                self._path(test.relation, (*at, "relation"))
            for index, persona in enumerate(test.who):
                self._persona(persona, (*at, "as", index))
                self._same_as(test.expect, persona, (*at, "expect"))
                identifier = f"{self.file.name}::{test.name}[{persona}]"
                place = Place(self.document, (*at, "expect"))
                subject = (test.relation, test.query, test.parameters)
                cases.append(Case(identifier, self.name, test.name, persona, *subject, test.expect, place))
        return cases

    def _matrix(self, chosen: list[str]) -> tuple[Listed, ...] | None:
        from rls.lab.suites.model import Expect

        if self.content.sees is None:
            return None
        found: list[Listed] = []
        for persona, cells in self.content.sees.items():
            at: NodePath = ("sees", persona)
            self._persona(persona, at, key=True)
            if persona not in chosen:
                message = f"persona `{persona}` is not one of `only`"
                raise self.document.invalid("policy.suite_persona", message, path=at, key=True)
            for name, cell in cells.items():
                where = (*at, name)
                if isinstance(cell, Expect):
                    self._same_as(cell, persona, where)
                    if not cell.says_rows:
                        hint = "add rows, keys, where, denied, refused or same_as"
                        message = "this cell does not say which rows are visible"
                        raise self.document.invalid("policy.suite_cell", message, path=where, key=True, hint=hint)
                found.append(Listed(persona, self._path(name, where, key=True), cell, Place(self.document, where)))
        return tuple(found)

    def _persona(self, name: str, at: NodePath, *, key: bool = False) -> None:
        if name not in self.personas:
            hint = suggest(name, self.personas) or "define it in personas.yaml, or under `personas` here"
            message = f"there is no persona `{name}`"
            raise self.document.invalid("policy.suite_persona", message, path=at, key=key, hint=hint)

    def _same_as(self, expect: Expect, persona: str, at: NodePath) -> None:
        other = expect.same_as
        if other is not None:
            self._persona(other, (*at, "same_as"))
            if other == persona:
                message = f"`{persona}` is compared with itself"
                raise self.document.invalid("policy.suite_persona", message, path=(*at, "same_as"))

    def _path(self, name: Any, at: NodePath, *, key: bool = False) -> tuple[str, ...]:
        found = parse_path(name) if isinstance(name, str) else None
        if found is None:
            hint = 'write `schema.name`; a part with a dot or quote in it in double quotes, as `"a.b"`'
            message = f"`{name}` is not a relation's name"
            raise self.document.invalid("policy.suite_relation", message, path=at, key=key, hint=hint)
        return found


def no_suites(directory: Path) -> PolicyInvalid:
    """The error for a directory without suites."""
    hint = "write `*.test.yaml` files beside the policies; `rls init` writes a first one"
    return PolicyInvalid("policy.no_suite", "there is no suite in this directory", file=str(directory), hint=hint)
