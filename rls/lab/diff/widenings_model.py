"""The shape of widenings.yaml, as strict models: unknown keys and wrong types are refused."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["WideningEntry", "WideningsFile"]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class WideningEntry(_Strict):
    """A widening somebody answers for."""

    relation: str = Field(min_length=1)
    personas: list[str] = []
    reason: str = Field(min_length=3)
    until: str | None = None


class WideningsFile(_Strict):
    """The file."""

    widenings: list[WideningEntry] = Field(min_length=1)
