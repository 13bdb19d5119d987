"""The shape of suite files (`*.test.yaml`), as strict models: unknown keys and wrong types are refused.

What an expectation means together with policies, personas and a catalog is `reader`'s and `judge`'s to say.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from rls.identity.model import PersonaEntry

__all__ = ["Cell", "Expect", "GivenRows", "Only", "SuiteFile", "TestEntry"]

ROW_KEYS = ("rows", "keys", "where", "includes", "excludes", "denied", "refused", "same_as")


def _listed(value: Any) -> Any:
    # `as: eve` reads better than `as: [eve]`.
    return [value] if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=str | list[str]), Field(min_length=1)]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Expect(Strict):
    """What a persona gets. Only what is written is compared, but each part is compared exactly.

    rows      `all`, `none`, a number of rows, or the rows themselves (lists, or mappings of some columns)
    ordered   rows are compared in order
    keys      exactly these rows of the relation, by their key
    includes  these rows among others
    excludes  not these rows
    where     exactly the rows for which this SQL condition is true, policies apart
    columns   exactly these columns exist, in any order; for a query: in this order
    values    column: its distinct values
    sums      column: its sum
    masked    exactly these columns are masked
    absent    exactly these columns are denied: they do not exist
    denied    it runs, and no policy lets any row through
    refused   the code of the refusal
    same_as   the same answer as another persona gets
    because   exactly these policies decided
    """

    rows: Literal["all", "none"] | Annotated[int, Field(ge=0)] | list[Any] | None = None
    ordered: bool = False
    keys: list[Any] | None = None
    includes: Annotated[list[Any], Field(min_length=1)] | None = None
    excludes: Annotated[list[Any], Field(min_length=1)] | None = None
    where: str | None = None
    columns: list[str] | None = None
    values: dict[str, list[Any]] | None = None
    sums: dict[str, Any] | None = None
    masked: list[str] | None = None
    absent: list[str] | None = None
    denied: Literal[True] | None = None
    refused: str | None = None
    same_as: str | None = None
    because: list[str] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Expect:
        given = [name for name in type(self).model_fields if name != "ordered" and getattr(self, name) is not None]
        if not given:
            raise ValueError("an expectation needs at least one of rows, keys, where, columns, values, refused, …")
        if self.refused is not None and len(given) > 1:
            raise ValueError("`refused` stands alone: what is refused has no rows and no columns")
        exact = [name for name in ("rows", "keys", "where", "denied") if getattr(self, name) is not None]
        if len(exact) > 1:
            raise ValueError(f"`{exact[0]}` and `{exact[1]}` both say which rows: keep one")
        if self.ordered and not isinstance(self.rows, list):
            raise ValueError("`ordered` needs `rows` as a list")
        return self

    @property
    def says_rows(self) -> bool:
        """Whether it says anything about which rows are visible."""
        return any(getattr(self, name) is not None for name in ROW_KEYS)


Cell = Literal["all", "none", "denied"] | Annotated[int, Field(ge=0)] | list[Any] | Expect


class GivenRows(Strict):
    """Rows of a relation.

    columns  name: type, as DuckDB writes types; needed where no database says what there is
    rows     lists of values in that order, or mappings of some columns (the others are NULL)
    """

    columns: dict[str, str] = {}
    rows: list[Any]


class TestEntry(Strict):
    """A test: each persona reads a relation, or runs a query, and gets what is expected.

    name         what it shows, for people
    as           a persona, or a list of them
    relation     the relation to read, or
    query        the SQL to run
    parameters   values of the query's `$name`s
    expect       what each of them gets
    description  for people
    """

    __test__ = False  # for pytest, which collects classes of this name

    name: str
    who: Names = Field(alias="as")
    relation: str | None = None
    query: str | None = None
    parameters: dict[str, Any] = {}
    expect: Expect
    description: str = ""

    @model_validator(mode="after")
    def _one_subject(self) -> TestEntry:
        if (self.relation is None) == (self.query is None):
            raise ValueError("a test needs either `relation` or `query`")
        if self.parameters and self.query is None:
            raise ValueError("`parameters` are for a `query`")
        of_relation = [n for n in ("keys", "includes", "excludes", "where") if getattr(self.expect, n) is not None]
        if self.query is not None and of_relation:
            raise ValueError(f"`{of_relation[0]}` is for a `relation`; write `rows` for a query")
        return self


class Only(Strict):
    """What the matrix of `sees` covers: without it, all personas and every table that has rows.

    personas   these personas
    relations  these relations
    """

    personas: Names | None = None
    relations: Names | None = None


class SuiteFile(Strict):
    """A suite file: personas, rows, and what each persona is to see of them.

    name         what reports call it; the file's name without one
    description  for people
    now          the moment at which everything happens, as 2026-01-31T12:00:00Z; without it, that of the run
    personas     personas of this suite only, written as in personas.yaml
    data         relation: rows; without it, the rows of the live database
    keys         relation: the columns that name a row; without it the primary key, `id` or the first column
    only         what the matrix covers, where that is not everybody and everything
    sees         persona: relation: which rows. What is not listed is expected to be invisible
    tests        single expectations: columns, masks, values, queries
    """

    name: str | None = None
    description: str = ""
    now: str | None = None
    personas: dict[str, PersonaEntry] = {}
    data: dict[str, list[Any] | GivenRows] | None = None
    keys: dict[str, Names] = {}
    only: Only = Only()
    sees: dict[str, dict[str, Cell]] | None = None
    tests: list[TestEntry] = []

    @model_validator(mode="after")
    def _tests_something(self) -> SuiteFile:
        if self.sees is None and not self.tests:
            raise ValueError("a suite needs `sees` or `tests`")
        return self
