"""Personas: principals that hold nothing a token could not, and mistakes at their place."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from rls.errors import PolicyInvalid
from rls.identity import Identity, load_personas
from tests.identity.kit import identity_for


@pytest.fixture(scope="module")
def identity(tmp_path_factory) -> Identity:
    return identity_for(tmp_path_factory.mktemp("hs"))


def load(directory: Path, text: str, identity: Identity):
    path = directory / "personas.yaml"
    path.write_text(text, encoding="utf-8")
    return load_personas(path, identity)


def test_personas(tmp_path: Path, identity: Identity) -> None:
    text = """
personas:
  alice:
    description: sells in Europe
    subject: u-1
    roles: [explorer]
    attributes: {tenant: acme, regions: [EMEA], credit: 12.50, valid_from: 2026-01-01, clearance: 3, internal: false}
  nobody: {subject: u-2, attributes: {tenant: "no"}}
"""
    found = load(tmp_path, text, identity)
    alice = found["alice"]
    assert (alice.subject, alice.roles, alice.assurance, alice.issuer) == ("u-1", {"explorer"}, "persona", "")
    assert dict(alice.attributes) == {
        "tenant": "acme",
        "regions": ("EMEA",),
        "credit": Decimal("12.5"),
        "valid_from": date(2026, 1, 1),
        "clearance": 3,
        "internal": False,
    }
    assert (found["nobody"].roles, dict(found["nobody"].attributes)) == (frozenset(), {"tenant": "no"})


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("personas: {a: {subject: u, attributes: {}}}", ":1:28: the attribute `tenant` is missing"),
        ("personas: {a: {subject: u}}", ":1:12: the attribute `tenant` is missing"),
        ("personas: {a: {attributes: {tenant: t}}}", ":1:12: `personas.a` lacks the key `subject`"),
        ("personas: {a: {subject: ''}}", ":1:25: the claim `subject` is blank"),
        ("personas: {a: {subject: 1}}", ":1:25: `personas.a.subject` must be text; put it in quotes"),
        ("personas: {a: {subject: u, roles: [explore]}}", ":1:36: role `explore` is not declared; did you mean `explorer`?"),
        ("personas: {a: {subject: u, roles: explorer}}", ":1:35: `personas.a.roles` must be a list"),
        ("personas: {a: {subject: u, attributes: {tenant: 5}}}", ":1:49: the attribute `tenant` does not have the declared type; declared as string"),
        ("personas: {a: {subject: u, attributes: {tenant: t, regions: EMEA}}}", ":1:61: the attribute `regions` does not have the declared type; declared as a list of string"),
        ("personas: {a: {subject: u, attributes: {tenant: t, tenantt: EMEA}}}", ":1:52: attribute `tenantt` is not declared; did you mean `tenant`?"),
        ("personas: {a: {subject: u, attributes: {tenant: t, clearance: 1.0}}}", ":1:63: the attribute `clearance` does not have"),
        ("personas: {a: {subject: u, attributes: {tenant: t, plan: gold}}}", ":1:58: the attribute `plan` is not one of the declared values"),
        ("personas: {a: {subject: u, atributes: {}}}", ":1:28: unknown key `atributes`; did you mean `attributes`?"),
        ("personas: []", ":1:11: `personas` must be a mapping"),
        ("personas: {}\n---\npersonas: {}", ":3:1: persona file must be one document"),
        ("", ":1:1: file is empty"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, identity: Identity, text: str, want: str) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        load(tmp_path, text, identity)
    assert str(caught.value).startswith(f"{tmp_path / 'personas.yaml'}{want}")
    assert "gold" not in str(caught.value)
