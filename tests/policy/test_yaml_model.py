"""Model errors: the key or value that is wrong, in words for the author of the file."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from rls.errors import PolicyInvalid
from rls.yaml_model import find_problems, suggest, validate
from rls.yaml_source import parse_documents


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Rule(Strict):
    name: str = Field(min_length=1)
    kind: Literal["permissive", "restrictive"] = Field("permissive", alias="as")
    using: str

    @field_validator("using")
    @classmethod
    def no_semicolon(cls, value: str) -> str:
        if ";" in value:
            raise ValueError("one expression only")
        return value


class Mask(Strict):
    mask: str


class Deny(Strict):
    deny: bool


class File(Strict):
    relation: str
    size: int = 1
    policies: list[Rule] = []
    columns: dict[str, Mask | Deny] = {}


def problem(text: str) -> PolicyInvalid:
    with pytest.raises(PolicyInvalid) as caught:
        validate(parse_documents(text, file="p.yaml")[0], File)
    return caught.value


def test_valid_data_becomes_the_model() -> None:
    text = "relation: orders\npolicies: [{name: a, as: restrictive, using: x = 1}]\ncolumns: {m: {deny: true}}"
    file = validate(parse_documents(text, file="p.yaml")[0], File)
    assert file.policies[0].kind == "restrictive"
    assert file.columns == {"m": Deny(deny=True)}


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("relaton: x", "p.yaml:1:1: unknown key `relaton`; did you mean `relation`?"),
        ("relation: x\nzzz: 1", "p.yaml:2:1: unknown key `zzz`; known keys are columns, policies, relation, size"),
        ("size: 1", "p.yaml:1:1: document lacks the key `relation`"),
        ("relation: x\npolicies:\n  - name: a\n", "p.yaml:3:5: `policies.0` lacks the key `using`"),
        (
            "relation: x\npolicies:\n  - name: a\n    usng: b",
            "p.yaml:4:5: unknown key `usng`; did you mean `using`?",
        ),
        ("relation: 5", "p.yaml:1:11: `relation` must be text; put it in quotes"),
        ("relation: [a]", "p.yaml:1:11: `relation` must be text"),
        ("relation: x\nsize: '1'", "p.yaml:2:7: `size` must be a whole number"),
        ("relation: x\nsize: true", "p.yaml:2:7: `size` must be a whole number"),
        ("relation: x\nsize: 1.5", "p.yaml:2:7: `size` must be a whole number"),
        ("relation: x\npolicies: {}", "p.yaml:2:11: `policies` must be a list"),
        ("relation: x\npolicies: [a]", "p.yaml:2:12: `policies.0` must be a mapping"),
        ("[a]", "p.yaml:1:1: `document` must be a mapping"),
        (
            "relation: x\npolicies: [{name: a, as: other, using: b}]",
            "p.yaml:2:26: `policies.0.as` must be 'permissive' or 'restrictive'",
        ),
        ("relation: x\npolicies: [{name: a, using: a;b}]", "p.yaml:2:29: one expression only"),
        (
            "relation: x\npolicies: [{name: '', using: a}]",
            "p.yaml:2:19: `policies.0.name`: string should have at least 1 character",
        ),
        ("relation: x\ncolumns: {m: {msk: a}}", "p.yaml:2:15: unknown key `msk`; did you mean `mask`?"),
        ("relation: x\ncolumns: {m: 5}", "p.yaml:2:14: `columns.m` must be a mapping"),
    ],
)
def test_message_and_position(text: str, want: str) -> None:
    assert str(problem(text)) == want


def test_all_problems_unknown_keys_first_then_by_position() -> None:
    text = "size: x\npolicies:\n  - {nme: a}\n"
    found = find_problems(parse_documents(text, file="p.yaml")[0], File)
    assert [f.code for f in found] == [
        "policy.unknown_key", "policy.type", "policy.missing_key", "policy.missing_key", "policy.missing_key",
    ]  # fmt: skip
    assert find_problems(parse_documents("relation: x", file="p.yaml")[0], File) == []


def test_part_of_a_document() -> None:
    document = parse_documents("a:\n  b: {relation: 1}", file="p.yaml")[0]
    with pytest.raises(PolicyInvalid) as caught:
        validate(document, File, at=("a", "b"))
    assert (caught.value.line, caught.value.column) == (2, 17)
    assert "`a.b.relation` must be text" in str(caught.value)


def test_values_are_not_told() -> None:
    assert "s3cret" not in str(problem("relation: x\nsize: s3cret"))


def test_suggest() -> None:
    assert suggest("RELATON", ["relation", "size"]) == "did you mean `relation`?"
    assert suggest("zzz", ["relation"]) is None
