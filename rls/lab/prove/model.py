"""The shape of invariants.yaml, as strict models: unknown keys and wrong types are refused."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["InvariantEntry", "InvariantFile", "TablesWith"]


def _some_text(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text


Text = Annotated[str, AfterValidator(_some_text)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class TablesWith(_Strict):
    """Tables that have all of these columns."""

    with_columns: list[Text] = Field(min_length=1)


class InvariantEntry(_Strict):
    """One invariant.

    name         what reports call it; the statement without one
    prove        the statement: isolated by tenant, visible implies …, never visible where …, not wider than DIR, …
    about        the relations it is made for, or {with_columns: […]}; without it, every table with policies
    only         principals with one of these roles are meant
    unless       principals with one of these roles are not meant
    description  for people
    """

    name: str = ""
    prove: Text
    about: list[Text] | TablesWith | None = None
    only: list[Text] = []
    unless: list[Text] = []
    description: str = ""


class InvariantFile(_Strict):
    """The file."""

    invariants: list[InvariantEntry] = Field(min_length=1)
