"""`check_policies`: every planted fault is found, at its place; sound policies give no finding."""

from __future__ import annotations

from pathlib import Path

import pytest

from rls.catalog import Catalog, Column, Relation
from rls.policy.check import check_policies
from rls.policy.findings import Finding
from tests.policy.cases import CATALOG, IDENTITY, policy_set

# Uses every role and attribute, decides on every table.
SOUND = """
relations: {with_columns: [tenant_id]}
policies:
  - {name: own_tenant, as: restrictive, to: [explorer, maker], using: tenant_id = user.tenant}
  - {name: admin_sees_all, to: [admin], using: true}
---
relation: orders
policies:
  - name: mine
    to: [explorer]
    using: >-
      (region IN user.regions AND amount <= user.limit) OR customer_id IN user.ids
      OR customer_id IN (SELECT customer_id FROM account_managers WHERE employee = user.subject)
  - name: recent
    as: restrictive
    using: user.since IS NULL OR ordered >= user.since
  - {name: cleared, to: [maker], using: 'user.clearance >= 2 AND (status = ''open'' OR user.flag)'}
  - {name: seen, to: [maker], using: ordered < user.seen}
columns:
  region: {mask: "'***'", except: [maker]}
  amount: {mask: CASE WHEN customer_id IN user.ids THEN amount END}
  status: {mask: "'x'"}
  margin: {deny: true}
---
relation: employees
policies:
  - name: below_me
    to: [explorer]
    using: >-
      id IN (WITH RECURSIVE below AS (SELECT id FROM employees WHERE email = user.subject
             UNION SELECT e.id FROM employees e JOIN below b ON e.manager_id = b.id) SELECT id FROM below)
---
relation: finance.ledger
policies: [{name: own, to: [explorer], using: id = user.clearance}]
---
relation: account_managers
policies: [{name: own, using: employee = user.subject}]
---
relation: products
public: true
"""


def check(directory: Path, *texts: str, catalog: Catalog = CATALOG, identity: str = IDENTITY) -> list[Finding]:
    return check_policies(policy_set(directory, *texts, identity=identity), catalog)


def test_sound_policies_give_no_finding(tmp_path: Path) -> None:
    assert check(tmp_path, SOUND) == []


def codes(findings: list[Finding]) -> set[str]:
    return {f.code for f in findings}


def using(condition: str, *, kind: str = "permissive") -> str:
    """The sound policies with one more for `orders`; its condition starts on line 6, column 7."""
    lines = condition.replace("\n", "\n      ")
    return f"relations: {{with_columns: [margin]}}\npolicies:\n  - name: new\n    as: {kind}\n    using: |\n      {lines}\n"


# condition → code, severity, column on line 6, a part of the message
CONDITIONS = {
    "tenant_id = user.clearance": ("policy.type_mismatch", "error", 19, "`user.clearance` is BIGINT, compared with VARCHAR"),
    "user.clearance = tenant_id": ("policy.type_mismatch", "error", 7, "compared with VARCHAR"),
    "id IN user.regions": ("policy.type_mismatch", "error", 13, "`user.regions` is VARCHAR[], compared with INTEGER"),
    "id IN (1, user.tenant)": ("policy.type_mismatch", "error", 17, "compared with INTEGER"),
    "id BETWEEN 0 AND user.tenant": ("policy.type_mismatch", "error", 24, "compared with INTEGER"),
    "ordered > user.tenant": ("policy.type_mismatch", "error", 17, "compared with DATE"),
    "customer_id IN (SELECT customer_id FROM account_managers WHERE employee = user.clearance)": (
        "policy.type_mismatch", "error", 81, "compared with VARCHAR",
    ),
    "tags = user.tenant": ("policy.type_mismatch", "error", 14, "compared with VARCHAR[]"),
    "region IN tenant_id": ("policy.in_text", "error", 17, "every part of the text"),
    "id = 'x'": ("policy.type", "error", 7, "could not convert"),
    "ordered > 5": ("policy.type", "error", 7, "cannot compare"),
    "region": ("policy.not_a_condition", "error", 7, "`region` is VARCHAR"),
    "region AND id = 1": ("policy.not_a_condition", "error", 7, "`region` is VARCHAR"),
    "user.clearance": ("policy.not_a_condition", "error", 7, "`user.clearance` is BIGINT"),
    "rigion = 'x'": ("policy.unknown_column", "error", 7, "did you mean `region`?"),
    "id IN (FROM employes)": ("policy.unknown_relation", "error", 19, "did you mean `employees`?"),
    "tenant_id = user.tenant OR 1 = 1": ("policy.always_true", "warning", 34, "`1 = 1`"),
    "tenant_id = user.tenant AND 1 = 2": ("policy.always_false", "warning", 35, "`1 = 2`"),
    "tenant_id = user.tenant OR id = id": ("policy.always_true", "warning", 34, "`id = id`"),
    "id IS NULL": ("policy.always_false", "warning", 7, "`id IS NULL`"),
    "amount > 10 OR amount <= 10 OR amount IS NULL": ("policy.always_true", "warning", 7, "always true"),
    "amount > 10 AND amount < 3": ("policy.always_false", "warning", 7, "never true"),
    "region <> 'a' OR region <> 'b' OR region IS NULL": ("policy.always_true", "warning", 7, "always true"),
    "status = 'closed'": ("policy.always_false", "warning", 7, "never true"),
    "false": ("policy.always_false", "warning", 7, "never true"),
    "region = NULL": ("policy.always_false", "warning", 7, "never true"),
    "region NOT IN user.regions": ("policy.empty_list_opens", "warning", 7, "empty list"),
    "coalesce(user.clearance, 9) > id": ("policy.default_unused", "warning", 7, "without user.clearance it is false"),
    "region = 'x' OR id = 1 AND amount = 2": ("policy.mixed_and_or", "warning", 23, "binds first"),
    "id IN (SELECT customer_id FROM account_managers WHERE employee = 'x' OR employee = 'y' AND customer_id > 2)": (
        "policy.mixed_and_or", "warning", 94, "binds first",
    ),
    "id IN (SELECT customer_id FROM account_managers WHERE employee = employee)": (
        "policy.always_true", "warning", 61, "with itself",
    ),
    "coalesce(region, 'x') = 'x'": ("policy.null_opens", "warning", 7, "without `region`"),
    "NOT coalesce(amount > 3, false) AND coalesce(customer_id, 3) >= 3": (
        "policy.null_opens", "warning", 43, "without `customer_id`",
    ),
    "id IN (SELECT p.id FROM products p JOIN employees e ON e.id = p.id WHERE id = user.clearance)": (
        "policy.type", "error", 7, "ambiguous",
    ),
}  # fmt: skip


@pytest.mark.parametrize("condition", CONDITIONS)
def test_faults_of_a_condition(tmp_path: Path, condition: str) -> None:
    code, severity, column, part = CONDITIONS[condition]
    findings = check(tmp_path, SOUND, using(condition))
    found = [f for f in findings if f.code == code]
    places = {(f.severity, Path(f.file).name, f.line, f.column) for f in found if part in str(f)}
    assert (severity, "1.yaml", 6, column) in places, findings


@pytest.mark.parametrize(
    "condition",
    [
        "length(region) > 300",
        "region LIKE '%x'",
        "id = 1 OR (region = 'x' AND amount = 2)",
        "id IN (SELECT customer_id FROM account_managers WHERE (employee = 'a' OR employee = 'b') AND customer_id > 2)",
        "id IN (SELECT customer_id FROM account_managers WHERE customer_id BETWEEN 1 AND 2 OR employee = 'OR x AND y')",
        "region IS NULL OR region IN user.regions",
        "contains(region, 'x')",
        "user.tenant IN ('a', 'b')",
        "user.tenant IS NULL",
        "place.city = user.tenant",
        "status IN ('open', 'shipped')",
        "margin > user.limit",
        "amount * 2 > user.clearance",
        "EXISTS (FROM products WHERE id = orders.id)",
        "len(user.regions) > 0 AND NOT (region = 'x')",
        "coalesce(region, '') = 'x' AND coalesce(customer_id, 0) >= 3",
        "true",
    ],
)
def test_sound_conditions(tmp_path: Path, condition: str) -> None:
    assert check(tmp_path, SOUND, using(condition)) == []


def test_nobody_is_a_decision_with_a_reason(tmp_path: Path) -> None:
    (told,) = check(tmp_path, SOUND, using("false"))
    assert "description" in str(told)
    with_reason = using("false").replace("    as: permissive", "    as: permissive\n    description: a job reads it")
    assert check(tmp_path, SOUND, with_reason) == []


def test_a_restriction_that_restricts_nothing(tmp_path: Path) -> None:
    assert codes(check(tmp_path, SOUND, using("true", kind="restrictive"))) == {"policy.always_true"}


FILES = {
    "relation: ordres\npublic: true\n": ("policy.unknown_relation", "error", 1, 11, "did you mean `orders`?"),
    "relations: {with_columns: [tenantid]}\npolicies: [{name: p, using: true}]\n": (
        "policy.empty_pattern", "error", 1, 12, "did you mean `tenant_id`?",
    ),
    "relations: {in_schemas: [finance2]}\npolicies: [{name: p, using: true}]\n": ("policy.empty_pattern", "error", 1, 12, ""),
    "relations: {in_schemas: [finance], except: [finance.legder]}\npolicies: [{name: p, using: true}]\n": (
        "policy.unknown_relation", "warning", 1, 45, "did you mean `finance.ledger`?",
    ),
    "relations: {in_schemas: [finance]}\ncolumns: {amont: {deny: true}}\n": (
        "policy.unknown_column", "warning", 2, 11, "no table of the pattern",
    ),
    "relations: {in_schemas: [finance]}\ncolumns: {tenant_id: {mask: '1'}}\n": (
        "policy.mask_type", "warning", 2, 29, "INTEGER, the column VARCHAR",
    ),
    "relations: {in_schemas: [finance]}\ncolumns: {tenant_id: {mask: email}}\n": (
        "policy.unknown_column", "error", 2, 29, "no column `email`",
    ),
    "relations: {in_schemas: [finance]}\ncolumns: {tenant_id: {mask: CASE WHEN tenant_id = user.clearance THEN 'x' END}}\n": (
        "policy.type_mismatch", "error", 2, 51, "BIGINT",
    ),
    "relations: {in_schemas: [finance]}\npolicies: [{name: own, using: true}]\n": (
        "policy.duplicate_name", "warning", 34, 47, "are called `own`",
    ),
    "relations: {with_columns: [name]}\npolicies: [{name: p, as: restrictive, using: id > 5}]\n": (
        "policy.public", "warning", 39, 11, "still hides rows",
    ),
    "relations: {with_columns: [margin]}\ncolumns: {region: {mask: \"'other'\"}}\n": (
        "policy.ambiguous_mask", "error", 20, 18, "another mask",
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", FILES)
def test_faults_of_a_file(tmp_path: Path, text: str) -> None:
    code, severity, line, column, part = FILES[text]
    found = [f for f in check(tmp_path, text, SOUND) if f.code == code]
    assert found
    assert part in str(found[0])
    assert (found[0].severity, found[0].line, found[0].column) == (severity, line, column)


def test_a_table_nobody_decided_on(tmp_path: Path) -> None:
    new = Relation(("main",), "new_table", (Column("id", "INTEGER"),))
    view = Relation(("main",), "new_view", (Column("id", "INTEGER"),), "view", "SELECT 1 AS id")
    catalog = Catalog.of("shop", [*CATALOG.relations.values(), new, view])
    findings = check(tmp_path, SOUND, catalog=catalog)
    assert [(f.code, f.severity, f.relation) for f in findings] == [("policy.undecided", "error", "new_table")]
    # A file that names it without a policy is the place to mend.
    named = check(tmp_path, f"{SOUND}---\nrelation: new_table\ncolumns: {{id: {{deny: true}}}}\n", catalog=catalog)
    assert [(f.code, Path(f.file).suffix) for f in named] == [("policy.undecided", ".yaml")]


def test_a_column_shown_by_a_pattern_is_one_finding(tmp_path: Path) -> None:
    tables = [Relation(("main",), f"t{n}", (Column("id", "INTEGER"), Column("memo", "VARCHAR"))) for n in range(4)]
    catalog = Catalog.of("shop", [*CATALOG.relations.values(), *tables])
    text = f"""{SOUND}---
relation: t0
policies: [{{name: all, using: "id > 0"}}]
columns: {{memo: {{mask: "'***'"}}}}
---
relations: {{with_columns: [memo], except: [t0]}}
policies: [{{name: all, using: "id > 0"}}]
"""
    told = [f for f in check(tmp_path, text, catalog=catalog) if f.code == "policy.unmasked"]
    assert len(told) == 1 and "`t1` and 2 more" in told[0].message


def test_a_column_beside_a_masked_one_that_may_hold_the_same(tmp_path: Path) -> None:
    columns = [
        Column(name, "VARCHAR") for name in ("id", "iban", "payer_iban", "iban2", "urban", "IbanOld", "kind_iban")
    ]
    catalog = Catalog.of("shop", [*CATALOG.relations.values(), Relation(("main",), "bills", tuple(columns))])
    text = f"""{SOUND}---
relation: bills
policies: [{{name: all, to: [maker], using: "id <> 'x' AND kind_iban = 'DE'"}}]
columns: {{iban: {{mask: "'***'", except: [maker]}}}}
"""
    told = [f for f in check(tmp_path, text, catalog=catalog) if f.code == "policy.unmasked"]
    assert sorted(f.message.split("`")[5] for f in told) == ["IbanOld", "iban2", "payer_iban"]
    assert all(f.message.startswith("`iban` of `bills` is masked or denied, and ") for f in told)


def test_a_role_spared_a_mask_that_sees_no_row(tmp_path: Path) -> None:
    catalog = Catalog.of(
        "shop", [*CATALOG.relations.values(), Relation(("main",), "bills", (Column("iban", "VARCHAR"),))]
    )
    text = f"""{SOUND}---
relation: bills
policies: [{{name: all, to: [maker], using: "length(iban) > 3"}}]
columns: {{iban: {{mask: "'***'", except: [maker, explorer]}}}}
"""
    (told,) = check(tmp_path, text, catalog=catalog)
    assert told.code == "policy.spared_unseen" and "`explorer`" in told.message and told.relation == "bills"
    assert check(tmp_path, text.replace("to: [maker], ", ""), catalog=catalog) == []


def test_a_relation_with_restrictions_only(tmp_path: Path) -> None:
    text = SOUND.replace(
        "{name: own, to: [explorer], using: id = user.clearance}", "{name: own, as: restrictive, using: id > 5}"
    )
    text = text.replace("[tenant_id]}", "[tenant_id], except: [finance.ledger]}")
    assert codes(check(tmp_path, text)) == {"policy.restrictive_only"}


def test_a_column_rule_of_a_named_relation_must_fit(tmp_path: Path) -> None:
    findings = check(tmp_path, SOUND.replace("margin: {deny", "margins: {deny"))
    assert [(f.code, f.line, f.column) for f in findings] == [("policy.unknown_column", 23, 3)]
    assert findings[0].hint == "did you mean `margin`?"


def test_leftovers_in_the_identity_file(tmp_path: Path) -> None:
    identity = (
        IDENTITY.replace("admin]", "admin, auditor]")
        + "  quota: {type: integer}\n  city: {type: string, readable: true}\n"
    )
    findings = check(tmp_path, SOUND, identity=identity)
    assert [(f.code, f.severity, Path(f.file).name) for f in findings] == [
        ("policy.unused_role", "warning", "identity.yaml"),
        ("policy.unused_attribute", "warning", "identity.yaml"),
    ]
    assert "`auditor`" in findings[0].message
    assert "`quota`" in findings[1].message
    used = using("'auditor' IN user.roles AND id > user.quota")
    assert check(tmp_path / "used", SOUND, used, identity=identity) == []


def test_one_finding_for_a_pattern_that_is_wrong_everywhere(tmp_path: Path) -> None:
    text = "relations: {with_columns: [id]}\npolicies: [{name: p, using: id = user.clearance OR 1 = 1}]\n"
    found = [f for f in check(tmp_path, text, SOUND) if f.code == "policy.always_true" and "`1 = 1`" in f.message]
    assert len(found) == 1


def test_a_type_this_duckdb_does_not_know(tmp_path: Path) -> None:
    strange = Relation(("main",), "places", (Column("id", "INTEGER"), Column("shape", "NO_SUCH_TYPE")))
    catalog = Catalog.of("shop", [*CATALOG.relations.values(), strange])
    text = "relation: places\npolicies: [{name: p, using: id = user.clearance}]\n"
    assert codes(check(tmp_path, SOUND, text, catalog=catalog)) == {"policy.unknown_type"}


def test_a_finding_as_text_and_as_data(tmp_path: Path) -> None:
    finding = check(tmp_path, SOUND, using("rigion = 'x'"))[0]
    assert str(finding).endswith("1.yaml:6:7: error: `orders` has no column `rigion`; did you mean `region`?")
    assert finding.to_dict()["hint"] == "did you mean `region`?"
