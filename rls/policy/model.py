"""The shape of policy files, as strict models: unknown keys and wrong types are refused.

One file holds one or more documents; each says who sees which rows and columns of a relation, or of every table that
looks like a pattern. What needs the identity file, SQL or a catalog is checked later, by `load` and `check`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

__all__ = ["ColumnEntry", "PatternEntry", "PolicyEntry", "PolicyFile"]


def _check_name(text: str) -> str:
    # Names stand in reports and audit records, and are compared exactly.
    if not text or len(text) > 255 or text != text.strip() or not text.isprintable():
        raise ValueError("name must be 1 to 255 printable characters without spaces around")
    return text


def _condition(value: Any) -> Any:
    # `using: true` is a YAML boolean and reads like what it means.
    return str(value).lower() if isinstance(value, bool) else value


def _check_column(text: str) -> str:
    # A column may be called anything; what is no column of the relation is found by `check`.
    if not text or len(text) > 255:
        raise ValueError("a column's name must be 1 to 255 characters")
    return text


ColumnName = Annotated[str, AfterValidator(_check_column)]
Name = Annotated[str, AfterValidator(_check_name)]
Condition = Annotated[str, BeforeValidator(_condition, json_schema_input_type=str | bool)]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class PolicyEntry(Strict):
    """A policy: `using` is an SQL condition over the relation's columns and `user.<attribute>`."""

    name: Name
    kind: Literal["permissive", "restrictive"] = Field("permissive", alias="as")
    to: list[Name] | None = Field(None, min_length=1)
    using: Condition
    description: str = ""


class ColumnEntry(Strict):
    """A column: `mask` is an SQL expression shown in its place, `deny` leaves it out, `except` names roles spared."""

    mask: str | None = None
    deny: Literal[True] | None = None
    labels: Literal["public"] | None = None
    exempt: list[Name] = Field(default=[], alias="except")
    description: str = ""

    @model_validator(mode="after")
    def _one_decision(self) -> ColumnEntry:
        if self.mask is not None and self.deny is not None:
            raise ValueError("`mask` and `deny` exclude each other")
        if self.mask is None and self.deny is None and (self.labels is None or self.exempt):
            raise ValueError("a column needs `mask`, `deny: true` or `labels: public`")
        return self


class PatternEntry(Strict):
    """Tables that have all of `with_columns`, in one of `in_schemas` if given, but none of `except`."""

    with_columns: list[ColumnName] = []
    in_schemas: list[Name] = []
    exempt: list[Name] = Field(default=[], alias="except")

    @model_validator(mode="after")
    def _some_condition(self) -> PatternEntry:
        if not self.with_columns and not self.in_schemas:
            raise ValueError("a pattern needs `with_columns` or `in_schemas`")
        return self


class PolicyFile(Strict):
    """One document of a policy file. `strict`: queries read a copy of the permitted rows, so that nothing that is
    stored of the others (statistics, dictionaries, their number) can matter."""

    relation: Name | None = None
    relations: PatternEntry | None = None
    public: Literal[True] | None = None
    strict: Literal[True] | None = None
    policies: list[PolicyEntry] = []
    columns: dict[ColumnName, ColumnEntry] = {}
    description: str = ""

    @model_validator(mode="after")
    def _one_subject(self) -> PolicyFile:
        if (self.relation is None) == (self.relations is None):
            raise ValueError("a document needs either `relation` or `relations`")
        if self.public and self.policies:
            raise ValueError("`public: true` excludes `policies`: every row is visible to everybody")
        if self.public and self.relations is not None:
            raise ValueError("`public: true` needs `relation`: a pattern would publish tables nobody has looked at")
        if not self.public and not self.policies and not self.columns and not self.strict:
            raise ValueError("a document needs `policies`, `public: true`, `columns` or `strict: true`")
        return self
