"""Policy directories: what loads, and where each error points (file, line, column)."""

from __future__ import annotations

from pathlib import Path

import pytest

from rls.errors import PolicyInvalid
from rls.policy.load import load_policies, parse_path, policy_files
from tests.policy.cases import IDENTITY, policy_set, write_policies

GOOD = """\
relation: orders
policies:
  - name: own_tenant
    as: restrictive
    to: [explorer, maker]
    using: tenant_id = user.tenant
  - {name: all, to: [maker], using: true}
columns:
  region: {mask: "'***'", except: [maker]}
  status: {labels: public}
---
relations: {with_columns: [tenant_id], in_schemas: [finance], except: [finance.old]}
policies:
  - name: some
    using: |
      tenant_id = user.tenant
        AND id > 0
---
relation: products
public: true
"""


def test_a_directory_is_read_whole(tmp_path: Path) -> None:
    policies = policy_set(tmp_path, GOOD)
    orders, pattern, products = policies.rules
    assert orders.target == ("orders",)
    assert [(p.name, p.kind, p.roles) for p in orders.policies] == [
        ("own_tenant", "restrictive", {"explorer", "maker"}),
        ("all", "permissive", {"maker"}),
    ]
    assert orders.policies[1].using.text == "true"
    assert [(c.column, c.labels_public, c.exempt) for c in orders.columns] == [
        ("region", False, {"maker"}),
        ("status", True, frozenset()),
    ]
    assert pattern.policies[0].place.line == 15
    assert products.public
    assert policies.readable == {"tenant", "regions"}
    assert policies.attribute_parameter("Regions") == "CAST($rls_regions AS VARCHAR[])"


def test_version_follows_every_file(tmp_path: Path) -> None:
    first = policy_set(tmp_path / "a", GOOD).version
    assert policy_set(tmp_path / "b", GOOD).version == first
    assert policy_set(tmp_path / "c", GOOD.replace("id > 0", "id > 1")).version != first
    assert policy_set(tmp_path / "d", GOOD, identity=IDENTITY.replace("admin]", "root]")).version != first
    files = {"0.yaml": GOOD, "1.yml": "relation: employees\npublic: true\n"}
    assert load_policies(write_policies(tmp_path / "e", files), keys="none").version != first


def test_files_that_are_no_policies_are_left_alone(tmp_path: Path) -> None:
    names = ["b.yaml", "a.yml", "personas.yaml", "orders.test.yaml", "notes.txt", ".hidden.yaml", "A.test.yml"]
    write_policies(tmp_path, dict.fromkeys(names, "nonsense"))
    assert [p.name for p in policy_files(tmp_path)] == ["a.yml", "b.yaml"]


def test_a_relations_name() -> None:
    assert parse_path(' "a.b" . c d ') == ("a.b", "c d")
    assert parse_path('"say ""x"""') == ('say "x"',)
    assert [parse_path(t) for t in ("", ".", "a.", 'a"b', '"a', '""', 'a "b"')] == [None] * 7


# text → code, line, column, a part of the message or hint
INVALID = {
    "relation: orders\npolicies:\n  - {name: a, using: tenant_id = user.tenat}\n": (
        "policy.unknown_attribute", 3, 34, "did you mean `user.tenant`?",
    ),
    "relation: orders\npolicies:\n  - name: a\n    using: |\n      id = 1\n        AND lowr(region) = 'x'\n": (
        "policy.unknown_function", 6, 13, "did you mean `lower`?",
    ),
    "relation: orders\npolicies:\n  - {name: a, using: \"id = = 1\"}\n": ("policy.expression", 3, 28, "syntax error"),
    "relation: orders\npolicies:\n  - name: a\n    using: >\n      id = 1 -- one\n      AND false\n": (
        "policy.one_expression", 4, 12, "comment",
    ),
    "relation: orders\npolicies:\n  - {name: a, to: [explorer, makr], using: true}\n": (
        "policy.unknown_role", 3, 30, "did you mean `maker`?",
    ),
    "relation: orders\npolicies:\n  - {name: a, to: [], using: true}\n": ("policy.value", 3, 19, "to"),
    "relation: orders\npolicies:\n  - {name: a, usng: true}\n": ("policy.unknown_key", 3, 15, "did you mean `using`?"),
    "relation: orders\npolicies:\n  - {name: a, using: id IN (1, 2)}\n": ("policy.unknown_key", 3, 32, "in quotes"),
    "relation: orders\npolicies:\n  - {name: a, using: region IN ['x', 'y']}\n": ("policy.yaml", 3, 32, "in quotes"),
    "relation: orders\npolicies:\n  - {name: a}\n": ("policy.missing_key", 3, 5, "using"),
    "relation: orders\npolicies:\n  - {name: a, as: restricting, using: true}\n": ("policy.value", 3, 19, "restrictive"),
    "relation: orders\npolicies:\n  - {name: a, using: 1}\n": ("policy.type", 3, 22, "text"),
    "relation: orders\npolicies:\n  - {name: a, using: true}\n  - {name: a, using: false}\n": (
        "policy.duplicate_name", 4, 12, "line 3",
    ),
    "relation: orders\npublic: true\n---\nrelation: ORDERS\npublic: true\n": ("policy.duplicate_relation", 4, 11, ":1"),
    "relation: orders\npublic: true\npolicies:\n  - {name: a, using: true}\n": ("policy.value", 1, 1, "public"),
    "relation: orders\npublic: false\n": ("policy.value", 2, 9, "public"),
    "relation: orders\n": ("policy.value", 1, 1, "policies"),
    "policies:\n  - {name: a, using: true}\n": ("policy.value", 1, 1, "relation"),
    "relation: a\nrelations: {with_columns: [x]}\npublic: true\n": ("policy.value", 1, 1, "relation"),
    "relations: {with_columns: [x]}\npublic: true\n": ("policy.value", 1, 1, "public"),
    "relations: {except: [x]}\npolicies:\n  - {name: a, using: true}\n": ("policy.value", 1, 12, "with_columns"),
    "relation: a..b\npublic: true\n": ("policy.relation_name", 1, 11, "schema.name"),
    "relations: {with_columns: [a], except: [x, 'y\"']}\npolicies: [{name: a, using: true}]\n": (
        "policy.relation_name", 1, 44, "relation's name",
    ),
    "relation: orders\ncolumns:\n  region: {mask: \"'x\"}\n": ("policy.expression", 3, 0, ""),
    "relation: orders\ncolumns:\n  region: {mask: \"'x'\", deny: true}\n": ("policy.value", 3, 11, "exclude"),
    "relation: orders\ncolumns:\n  region: {except: [maker]}\n": ("policy.value", 3, 11, "mask"),
    "relation: orders\ncolumns:\n  region: {deny: false}\n": ("policy.value", 3, 18, "deny"),
    "relation: orders\ncolumns:\n  a: {deny: true}\n  A: {deny: true}\n": ("policy.duplicate_column", 4, 3, "twice"),
    "relation: orders\ncolumns:\n  a: {deny: true, except: [mkr]}\n": ("policy.unknown_role", 3, 28, "maker"),
    "relation: orders\nrelation: products\npublic: true\n": ("policy.duplicate_key", 2, 1, "line 1"),
    "relation: [orders\n": ("policy.yaml", 2, 1, ""),
    "": ("policy.empty", 1, 1, "empty"),
}  # fmt: skip


@pytest.mark.parametrize("text", INVALID)
def test_errors_point_at_what_is_wrong(tmp_path: Path, text: str) -> None:
    code, line, column, part = INVALID[text]
    with pytest.raises(PolicyInvalid) as caught:
        policy_set(tmp_path, text)
    error = caught.value
    assert (error.code, error.line) == (code, line), str(error)
    assert column in (0, error.column)
    assert part in str(error)
    assert error.file == str(tmp_path / "0.yaml")


def test_one_wrong_file_stops_the_whole_directory(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        policy_set(tmp_path, GOOD, GOOD.replace("orders", "x").replace("products", "y")[:-20])
    assert caught.value.file.endswith("1.yaml")


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        load_policies(tmp_path / "nothing")
    assert caught.value.code == "policy.unreadable"
