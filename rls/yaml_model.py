"""A YAML document → an instance of a pydantic model, or `PolicyInvalid` at the key or value that is wrong.

Takes a `rls.yaml_source.Document` and a model; returns the instance. It owns the wording of these errors: pydantic's
own can hold the input's values and class names; ours name the key, what it must be, and a near name for a misspelt one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from rls.errors import PolicyInvalid
from rls.yaml_source import IN_BRACES, Document, NodePath

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["find_problems", "models_in", "suggest", "validate"]

ModelT = TypeVar("ModelT", bound="BaseModel")


def validate(document: Document, model: type[ModelT], *, at: NodePath = ()) -> ModelT:
    """An instance of `model` from the document's data (or from the part at `at`).

    Lists stay lists: use `list[…]` and `dict[…]` in models that are strict. Validators raise `ValueError` with a
    lower-case message that holds no secret. Raises PolicyInvalid, the first of `find_problems`.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(document.at(at))
    except ValidationError as error:
        problems = list(_translate(error, document, model, at))
        raise problems[0] from None


def find_problems(document: Document, model: type[BaseModel], *, at: NodePath = ()) -> list[PolicyInvalid]:
    """Everything that `validate` would refuse: unknown keys first, then by position."""
    from pydantic import ValidationError

    try:
        model.model_validate(document.at(at))
    except ValidationError as error:
        return list(_translate(error, document, model, at))
    return []


def suggest(name: str, known: Iterable[str]) -> str | None:
    """A hint for a misspelt name.

    >>> suggest("usng", ["using", "name"])
    'did you mean `using`?'
    """
    by_folded = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), by_folded, n=1, cutoff=0.6)
    return f"did you mean `{by_folded[close[0]]}`?" if close else None


def _translate(error: Any, document: Document, model: type[BaseModel], at: NodePath) -> Iterator[PolicyInvalid]:
    found: list[tuple[int, int, int, int, PolicyInvalid]] = []
    for item in error.errors(include_url=False, include_input=False):
        path = (*at, *_real_path(document.at(at), item["loc"]))
        # The last part of a missing key's path is not in the data, so `_real_path` stops at its mapping.
        problem = _explain(item, document, model, path)
        rank = {"policy.unknown_key": 0, "policy.missing_key": 2}.get(problem.code, 1)
        found.append((rank, problem.line, problem.column, len(found), problem))
    for *_, problem in sorted(found, key=lambda f: f[:4]):
        yield problem


def _real_path(data: Any, loc: tuple[str | int, ...]) -> NodePath:
    """The part of pydantic's location that is in the data; it also names union members and validators on the way."""
    path: list[str | int] = []
    for part in loc:
        if isinstance(data, dict) and part in data:
            data = data[str(part)]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            continue
        path.append(part)
    return tuple(path)


def _explain(item: Any, document: Document, model: type[BaseModel], path: NodePath) -> PolicyInvalid:
    kind, loc, context = item["type"], item["loc"], item.get("ctx", {})
    label = ".".join(map(str, path)) or "document"
    match kind:
        case "extra_forbidden":
            known = sorted(_known_keys(model, loc[:-1]))
            if document.at(path) is None and document.follows_comma(path):
                # `{using: x IN (a, b)}`: the comma ended the text.
                return document.invalid(
                    "policy.unknown_key", f"unknown key `{loc[-1]}`", path=path, key=True, hint=IN_BRACES
                )
            hint = suggest(str(loc[-1]), known) or (f"known keys are {', '.join(known)}" if known else None)
            return document.invalid("policy.unknown_key", f"unknown key `{loc[-1]}`", path=path, key=True, hint=hint)
        case "missing":
            where = f"`{label}`" if path else "document"
            return document.invalid("policy.missing_key", f"{where} lacks the key `{loc[-1]}`", path=path, key=True)
        case "value_error":
            return document.invalid("policy.value", str(context.get("error", "not a valid value")), path=path)
        case "literal_error" | "enum":
            return document.invalid("policy.value", f"`{label}` must be {context['expected']}", path=path)
        case _ if kind in _TYPES:
            wanted = _TYPES[kind]
            hint = "put it in quotes" if wanted == "text" and not isinstance(document.at(path), dict | list) else None
            return document.invalid("policy.type", f"`{label}` must be {wanted}", path=path, hint=hint)
        case _:
            message = item["msg"][:1].lower() + item["msg"][1:]
            return document.invalid("policy.value", f"`{label}`: {message}", path=path)


_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "decimal_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dataclass_type": "a mapping",
    "none_required": "empty",
}


def _known_keys(model: type[BaseModel], loc: tuple[str | int, ...]) -> set[str]:
    """Keys that the models at a location know; a union gives those of all its members."""
    models = models_in(model)
    for part in loc:
        deeper: set[type[BaseModel]] = set()
        for one in models:
            for name, info in one.model_fields.items():
                if part in (name, info.alias):
                    deeper |= models_in(info.annotation)
        # An index, a key of a mapping or the name of a union's member: the models are those already found.
        models = deeper or models
    return {info.alias or name for one in models for name, info in one.model_fields.items()}


def models_in(annotation: Any) -> set[type[BaseModel]]:
    """The models that a field's annotation mentions."""
    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {found for argument in get_args(annotation) for found in models_in(argument)}
