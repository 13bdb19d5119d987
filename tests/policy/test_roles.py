"""Roles as capabilities: what identity.yaml may say of them, what several of them add up to, and what they end."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from rls.engines.limits import Limits
from rls.errors import PolicyInvalid
from rls.identity.capabilities import STATEMENTS, Capabilities, most_generous
from rls.identity.issuers import load_identity
from rls.identity.model import RoleEntry, RoleLimitsEntry
from rls.policy.check import check_policies
from rls.policy.load import load_policies
from tests.engine.kit import IDENTITY, POLICIES, WAREHOUSE, build, write_policies

EXPLORER = """
roles:
  explorer:
    limits: {seconds: 2.5, rows: 10, memory: 512MB, temporary_disk: 1.5GiB, concurrent: 2, text: 20000, nesting: 20}
    statements: [select, summarize]
    relations: [orders, finance.ledger]
    export: false
    read_policies: false
  maker: {}
  auditor: {read_audit: all, limits: {rows: 100, concurrent: 5}, statements: [values]}
"""


def identity_text(roles: str) -> str:
    return IDENTITY.replace("roles: [explorer, maker]", roles)


def directory(folder: Path, roles: str = EXPLORER, policies: str = POLICIES) -> Path:
    write_policies(folder, policies)
    (folder / "identity.yaml").write_text(identity_text(roles))
    return folder


def capabilities(folder: Path, *roles: str, text: str = EXPLORER) -> Capabilities:
    return load_identity(directory(folder, text)).capabilities(frozenset(roles))


def test_a_role_says_what_it_may_do(tmp_path: Path) -> None:
    may = capabilities(tmp_path, "explorer")
    assert may == Capabilities(
        limits={
            "seconds": 2.5, "rows": 10, "memory": 512_000_000, "temporary_disk": 3 << 29, "concurrent": 2,
            "text": 20_000, "nesting": 20,
        },
        statements=frozenset(("select", "summarize")),
        relations=frozenset((("orders",), ("finance", "ledger"))),
        export=False,
        read_policies=False,
        shared="explorer",
    )  # fmt: skip


def test_several_roles_get_the_most_generous_of_each(tmp_path: Path) -> None:
    both = capabilities(tmp_path, "explorer", "auditor")
    assert both.limits == {"rows": 100, "concurrent": 5}
    assert both.shared == "auditor"
    assert both.statements == frozenset(("select", "summarize", "values"))
    assert both.relations is None
    assert (both.export, both.read_policies, both.read_audit) == (True, True, "all")
    assert capabilities(tmp_path, "explorer", "maker") == Capabilities()


def test_without_a_role_the_engine_bounds_unless_the_file_does(tmp_path: Path) -> None:
    assert capabilities(tmp_path) == Capabilities()
    text = "roles: [explorer]\nwithout_role: {limits: {rows: 1}, statements: [select]}"
    found = capabilities(tmp_path, text=text)
    assert (found.limits, found.statements) == ({"rows": 1}, frozenset(("select",)))
    assert capabilities(tmp_path, "explorer", text=text) == Capabilities()


def test_lists_of_roles_stay_valid_and_narrow_nothing(tmp_path: Path) -> None:
    found = load_identity(directory(tmp_path, "roles: [explorer, maker]"))
    assert found.roles == {"explorer", "maker"}
    assert found.capabilities(frozenset(("explorer",))) == Capabilities()


@pytest.mark.parametrize(
    ("roles", "code", "place"),
    [
        ("roles: {explorer: {limit: {rows: 1}}}", "policy.unknown_key", 19),
        ("roles: {explorer: {limits: {rowz: 1}}}", "policy.unknown_key", 28),
        ("roles: {explorer: {limits: {rows: 0}}}", "policy.value", 34),
        ("roles: {explorer: {limits: {rows: '1'}}}", "policy.type", 34),
        ("roles: {explorer: {limits: {rows: true}}}", "policy.type", 34),
        ("roles: {explorer: {limits: {memory: 512XB}}}", "policy.value", 36),
        ("roles: {explorer: {limits: {memory: 1KB}}}", "policy.value", 36),
        ("roles: {explorer: {limits: {seconds: 0}}}", "policy.value", 37),
        ("roles: {explorer: {statements: [insert]}}", "policy.value", 32),
        ("roles: {explorer: {statements: []}}", "policy.value", 31),
        ("roles: {explorer: {statements: [select, select]}}", "policy.role", 40),
        ("roles: {explorer: {relations: []}}", "policy.value", 30),
        ("roles: {explorer: {relations: [a..b]}}", "policy.relation_name", 31),
        ("roles: {explorer: {relations: [a, A]}}", "policy.role", 34),
        ("roles: {explorer: {export: 'no'}}", "policy.type", 27),
        ("roles: {explorer: {read_audit: some}}", "policy.value", 31),
        ("roles: {explorer: [select]}", "policy.type", 18),
        ("roles: {explorer: null}", "policy.type", 18),
        ("roles: [explorer, explorer]", "policy.role", 18),
        ("roles: [explorer, {maker: {}}]", "policy.type", 18),
        ("roles: explorer", "policy.type", 7),
        ("without_role: {limits: {processes: 1}}", "policy.unknown_key", 24),
    ],
)
def test_what_is_wrong_is_refused_at_its_place(tmp_path: Path, roles: str, code: str, place: int) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        load_identity(directory(tmp_path, roles))
    line = identity_text(roles).split("\n").index(roles) + 1
    assert (caught.value.code, caught.value.line, caught.value.column - 1) == (code, line, place)


def test_capabilities_are_part_of_the_version(tmp_path: Path) -> None:
    texts = [
        "roles: [explorer]",
        "roles: {explorer: {limits: {rows: 1}}}",
        "roles: {explorer: {limits: {rows: 2}}}",
        "roles: {explorer: {limits: {columns: 2}}}",
        "roles: {explorer: {statements: [select]}}",
        "roles: {explorer: {relations: [orders]}}",
        "roles: {explorer: {export: false}}",
        "roles: {explorer: {read_policies: false}}",
        "roles: {explorer: {read_audit: all}}",
        "roles: [explorer]\nwithout_role: {export: false}",
    ]
    versions = [load_identity(directory(tmp_path, text)).version for text in texts]
    assert len(set(versions)) == len(texts)
    assert load_identity(directory(tmp_path, "roles: {explorer: {}}")).version == versions[0]


def test_names_agree_with_those_of_the_engine() -> None:
    assert set(RoleLimitsEntry.model_fields) < {each.name for each in fields(Limits)}
    annotation = str(RoleEntry.model_fields["statements"].annotation)
    assert all(f"'{kind}'" in annotation for kind in STATEMENTS)
    assert annotation.count("'") == 2 * len(STATEMENTS)


def test_the_union_is_at_least_each_part() -> None:
    parts = [
        Capabilities({"rows": 1}, frozenset(("select",)), None, False, False, "own", ""),
        Capabilities({"rows": 5, "concurrent": 1}, None, frozenset((("a",),)), True, False, "all", "x"),
    ]
    assert most_generous(parts) == most_generous(parts[::-1])
    assert most_generous(parts[:1]) == parts[0]
    assert Limits(rows=3).narrowed(most_generous(parts).limits).rows == 3


def test_check_finds_nonsense(tmp_path: Path) -> None:
    from rls.engines.duckdb import DuckDBExecutor

    roles = """
roles:
  explorer: {relations: [orders, undecided, nope], limits: {rows: 2000000}}
  maker: {}
  ghost: {}
  auditor: {read_audit: all}
"""
    executor = DuckDBExecutor.open(build(tmp_path / "w.duckdb", WAREHOUSE), limits=Limits(threads=1))
    policies = load_policies(directory(tmp_path / "p", roles))
    found = check_policies(policies, executor.catalog, limits=executor.limits)
    executor.close()
    about_roles = [(f.code, f.severity) for f in found if f.file.endswith("identity.yaml")]
    assert set(about_roles) == {
        ("policy.unknown_relation", "error"),
        ("policy.role_relation", "warning"),
        ("policy.role_limit", "warning"),
        ("policy.without_role", "warning"),
        ("policy.unused_role", "warning"),
        ("policy.unused_attribute", "warning"),
    }
    assert [f.message for f in found if f.code == "policy.unused_role"] == [
        "role `ghost` is declared and used by no policy"
    ]
