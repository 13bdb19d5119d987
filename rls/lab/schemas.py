"""The models of the YAML files → JSON Schemas, so that editors complete keys, explain them and mark what is wrong.

Takes nothing; returns a schema per kind of file, made from the very models that read the files. Owns that the lines
of a model's docstring become the descriptions of its keys.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

__all__ = ["KINDS", "json_schema", "write_schemas"]

# kind → (its model, its file's name beside the policies)
KINDS: Final = {
    "policies": ("rls.policy.model:PolicyFile", "policies.schema.json"),
    "identity": ("rls.identity.model:IdentityFile", "identity.schema.json"),
    "personas": ("rls.identity.model:PersonaFile", "personas.schema.json"),
    "suite": ("rls.lab.suites.model:SuiteFile", "suite.schema.json"),
    "invariants": ("rls.lab.prove.model:InvariantFile", "invariants.schema.json"),
    "audit": ("rls.audit.model:AuditFile", "audit.schema.json"),
}
_KEY_LINE = re.compile(r"^ *`?(\w+)`? {2,}(\S.*)$", re.MULTILINE)


def json_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a kind of `KINDS`. Raises KeyError for another."""
    import importlib

    module, _, name = KINDS[kind][0].partition(":")
    model = getattr(importlib.import_module(module), name)
    schema: dict[str, Any] = model.model_json_schema(by_alias=True, mode="validation")
    aliases = {
        field: info.alias
        for each in _models(model)
        for field, info in each.model_fields.items()
        if info.alias is not None
    }
    for part in (schema, *schema.get("$defs", {}).values()):
        _describe_keys(part, aliases)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def write_schemas(directory: Path) -> list[Path]:
    """Write all of them to a directory; returns the files."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for kind, (_, name) in KINDS.items():
        file = directory / name
        file.write_text(json.dumps(json_schema(kind), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(file)
    return written


def _describe_keys(schema: dict[str, Any], aliases: dict[str, str]) -> None:
    properties = schema.get("properties", {})
    for name, text in _KEY_LINE.findall(schema.get("description", "")):
        key = name if name in properties else aliases.get(name, name)
        if key in properties:
            properties[key].setdefault("description", text)


def _models(model: Any) -> set[Any]:
    """A model and those in it."""
    from rls.yaml_model import models_in

    found, pending = set(), [model]
    while pending:
        one = pending.pop()
        if one not in found:
            found.add(one)
            pending += [inner for info in one.model_fields.values() for inner in models_in(info.annotation)]
    return found
