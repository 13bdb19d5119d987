"""personas.yaml → named principals for tests and explanations, with assurance `persona`.

Takes a file and the declared identity; returns principals by name, or raises PolicyInvalid at the wrong key. It owns
the rule that a persona can hold nothing a token could not: attributes are read by the same code.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rls.errors import PolicyInvalid
from rls.identity.attributes import read_attributes
from rls.identity.checks import check_text
from rls.identity.declared import Identity
from rls.identity.principal import Principal
from rls.identity.reasons import describe_reason
from rls.yaml_model import suggest, validate
from rls.yaml_source import Document, NodePath, read_documents

if TYPE_CHECKING:
    from rls.identity.model import PersonaEntry

__all__ = ["load_personas", "read_persona"]


def load_personas(path: Path | str, identity: Identity) -> dict[str, Principal]:
    """The personas of a file, by name. Raises PolicyInvalid, codes `policy.*`."""
    documents = read_documents(Path(path))
    if len(documents) > 1:
        raise documents[1].invalid("policy.value", "persona file must be one document")
    from rls.identity.model import PersonaFile

    file = validate(documents[0], PersonaFile)
    return {
        name: read_persona(entry, documents[0], identity, at=("personas", name))
        for name, entry in file.personas.items()
    }


def read_persona(entry: PersonaEntry, document: Document, identity: Identity, *, at: NodePath) -> Principal:
    """The principal that the entry at `at` of a document describes. Raises PolicyInvalid, codes `policy.*`."""
    for reason in check_text("subject", entry.subject):
        raise document.invalid("policy.persona", describe_reason(reason), path=(*at, "subject"))
    for number, role in enumerate(entry.roles):
        if role not in identity.roles:
            hint = suggest(role, identity.roles) or f"declared in {identity.file}"
            raise document.invalid(
                "policy.role", f"role `{role}` is not declared", path=(*at, "roles", number), hint=hint
            )
    reading = read_attributes(entry.attributes, identity.attributes, unknown="refuse")
    for reason in reading.reasons:
        raise _attribute_invalid(reason, entry, document, identity, at)
    if entry.agent is not None:
        for reason in check_text("act", entry.agent):
            raise document.invalid("policy.persona", describe_reason(reason), path=(*at, "agent"))
    return Principal(
        entry.subject,
        frozenset(entry.roles),
        reading.values,
        assurance="persona",
        agent=entry.agent,
        actors=() if entry.agent is None else (entry.agent,),
    )


def _attribute_invalid(
    reason: str, entry: PersonaEntry, document: Document, identity: Identity, at: NodePath
) -> PolicyInvalid:
    if reason == "unknown_attribute":
        name = next(name for name in entry.attributes if name not in identity.attributes)
        return document.invalid(
            "policy.attribute",
            f"attribute `{name}` is not declared",
            path=(*at, "attributes", name),
            key=True,
            hint=suggest(name, identity.attributes) or f"declared in {identity.file}",
        )
    name = reason.split(":")[1]
    declared = identity.attributes[name]
    hint = f"declared as {'a list of ' if declared.list else ''}{declared.type}" if reason.endswith(":type") else None
    return document.invalid(
        "policy.attribute",
        describe_reason(reason),
        path=(*at, "attributes", name),
        key=name not in entry.attributes,
        hint=hint,
    )
