"""Row rules of other systems: what is carried over means the same, and what is not never widens."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rls.cli.app import run
from rls.errors import PolicyInvalid
from rls.lab.importing import import_rules
from rls.lab.importing.filters import condition
from rls.lab.importing.model import Imported, NotCarried
from rls.lab.importing.write import write_policies
from rls.policy.load import load_policies
from tests.policy.cases import write_policies as write_directory


def usings(found: Imported, relation: str = "orders") -> dict[str, str]:
    return {p.name: p.using for p in found.policies.get(relation, [])}


def loaded(found: Imported, tmp_path: Path) -> None:
    """The written file is one that the loader takes, with the declarations it asks for."""
    attributes = {a.name: {"type": a.kind, "list": a.many} for a in found.attributes.values()}
    issuer = {
        "name": "https://app.test",
        "audiences": ["x"],
        "algorithms": ["RS256"],
        "keys": [{"kid": "k", "file": "x"}],
    }
    identity = {"issuers": [issuer], "roles": list(found.roles) or ["any"], "attributes": attributes}
    directory = write_directory(
        tmp_path, {"p.yaml": write_policies(found, source="a\ntest")}, identity=json.dumps(identity)
    )
    names = {p.name for rules in load_policies(directory, keys="none").rules for p in rules.policies}
    assert {p.name for policies in found.policies.values() for p in policies} <= names


ENABLED = "ALTER TABLE orders ENABLE ROW LEVEL SECURITY;\n"


@pytest.mark.parametrize(
    ("using", "ours"),
    [
        ("tenant_id = current_setting('app.tenant', true)", "tenant_id = user.tenant"),
        ("tenant_id = current_setting('app.tenant', true)::text", "tenant_id = user.tenant"),
        ("amount < current_setting('app.limit', true)::int", 'amount < user."limit"'),
        ("(SELECT auth.uid()) = user_id", "user.subject = user_id"),
        ("(SELECT auth.uid() AS uid) = user_id", "user.subject = user_id"),
        ("tenant_id = auth.jwt() ->> 'orgId'", "tenant_id = user.org_id"),
        ("tenant_id = auth.jwt() -> 'app_metadata' ->> 'org'", "tenant_id = user.org"),
        ("tenant_id = current_setting('request.jwt.claims', true)::json ->> 'tenant'", "tenant_id = user.tenant"),
        ("r = ANY (string_to_array(current_setting('app.regions', true), ','))", "r IN user.regions"),
        ("r = ANY (ARRAY['a', 'b'])", "r IN ('a', 'b')"),
        ("note = '\"user\".x' AND active", "note = '\"user\".x' AND active"),
        ("id IN (SELECT m.id FROM public.managers m JOIN x ON x.a = m.a WHERE m.u = auth.uid())",
         "id IN (SELECT m.id FROM managers AS m JOIN x ON x.a = m.a WHERE m.u = user.subject)"),
    ],
)  # fmt: skip
def test_conditions_of_postgresql(tmp_path: Path, using: str, ours: str) -> None:
    found = import_rules(f"{ENABLED}CREATE POLICY p ON orders USING ({using})", format="postgres", file="x.sql")
    assert (usings(found), found.lost) == ({"p": ours}, [])
    loaded(found, tmp_path)


@pytest.mark.parametrize(
    "using",
    [
        "code ~ '^a'", "random() < 0.5", "a / b > 1", "current_user = owner", "tenant_id = auth.jwt() -> 'user_metadata' ->> 'x'",
        "name LIKE 'a\\_%'", "id IN (SELECT id FROM orders)", "id IN (SELECT max(id) FROM t GROUP BY x)", "has_access(id)",
        "true GROUP BY 1", "x::numeric(3,1) = 1", "t.*", "x ILIKE 'a'", "r = ANY (other)", "tenant_id = current_setting('search_path')",
    ],
)  # fmt: skip
def test_what_may_mean_something_else_is_lost_and_never_widens(tmp_path: Path, using: str) -> None:
    text = (
        f"{ENABLED}CREATE POLICY p ON orders USING ({using});\nCREATE POLICY r ON orders AS RESTRICTIVE USING ({using})"
    )
    found = import_rules(text, format="postgres", file="x.sql")
    assert usings(found) == {"r": "false"}
    assert [r.where for r in found.lost] == ["orders: p", "orders: r"]
    written = write_policies(found, source="x.sql")
    assert f"# CREATE POLICY p ON orders USING ({using})" in written
    loaded(found, tmp_path)


def test_headers_of_postgresql(tmp_path: Path) -> None:
    text = (
        'CREATE POLICY "Odd: name" ON ONLY "Sales"."Order Lines" AS RESTRICTIVE FOR SELECT TO explorer, "Maker" USING (true);\n'
        "CREATE POLICY i ON orders FOR INSERT WITH CHECK (x = 1);\n"
        "CREATE POLICY c ON orders TO public USING (a = ')') WITH CHECK (b);\n"
        "CREATE POLICY u ON orders TO current_user USING (true);\n"
        "DROP POLICY c ON orders; ALTER POLICY c ON orders USING (true);\n"
        "ALTER TABLE secrets ENABLE ROW LEVEL SECURITY; SELECT 1;"
    )
    found = import_rules(text, format="postgres", file="x.sql")
    (odd,) = found.policies["Sales.Order Lines"]
    assert (odd.name, odd.kind, odd.roles) == ("Odd: name", "restrictive", ("explorer", "Maker"))
    assert usings(found) == {"c": "a = ')'"}
    assert len(found.lost) == 4  # u, DROP, ALTER, the table without policies
    assert "for INSERT" in " ".join(r.message for r in found.remarks)
    loaded(found, tmp_path)


def test_superset_groups_are_ored_and_anded(tmp_path: Path) -> None:
    rules = [
        {"name": "own", "clause": "owner = '{{ current_username() }}'", "filter_type": "Regular", "roles": [{"name": "Gamma"}], "tables": [{"schema": "public", "table_name": "orders"}]},
        {"name": "a", "clause": "dept = 'a' OR dept = 'b'", "filter_type": "Regular", "group_key": "d", "roles": [{"name": "A"}], "tables": [{"table_name": "orders"}]},
        {"name": "b", "clause": "dept = 'c'", "filter_type": "Base", "group_key": "d", "roles": [{"name": "Admin"}], "tables": [{"table_name": "orders"}]},
    ]  # fmt: skip
    found = import_rules(json.dumps({"result": rules}), format="superset", file="x.json")
    assert usings(found) == {
        "everything_else": "true",
        "own": "(('Gamma' IN user.roles) AND (owner = user.subject)) OR NOT (('Gamma' IN user.roles))",
        "a or b": "(('A' IN user.roles) AND (dept = 'a' OR dept = 'b')) OR ((NOT ('Admin' IN user.roles)) AND (dept = 'c'))"
        " OR NOT (('A' IN user.roles) OR (NOT ('Admin' IN user.roles)))",
    }
    assert [p.kind for p in found.policies["orders"]] == ["permissive", "restrictive", "restrictive"]
    loaded(found, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"clause": "x = {{ url_param('x') }}"},
        {"clause": "{% if 1 %}x{% endif %}"},
        {"roles": [3]},
        {"filter_type": "Odd"},
        {"clause": "a = 1) OR (1 = 1"},
    ],
)
def test_a_superset_rule_that_is_lost_hides_rows(tmp_path: Path, change: dict[str, object]) -> None:
    rule = {"name": "own", "clause": "a = 1", "roles": [{"name": "G"}], "tables": [{"table_name": "orders"}]}
    found = import_rules(json.dumps([{**rule, **change}]), format="superset", file="x.json")
    assert usings(found)["own"] == "false"
    assert found.policies["orders"][1].roles is None
    loaded(found, tmp_path)


CUBE = """
cubes:
  - name: orders
    sql_table: public.orders
    dimensions:
      - {name: id, sql: id}
      - {name: country, sql: "{CUBE}.country_code"}
      - {name: year, sql: "EXTRACT(year FROM created)"}
      - {name: margin, sql: margin}
    access_policy:
      - group: manager
        conditions: [{if: "{ securityContext.active }"}]
        member_level: {includes: "*"}
        row_level:
          filters:
            - {member: country, operator: equals, values: ["{ userAttributes.country }"]}
            - or:
                - {member: "orders.id", operator: gte, values: [10]}
                - {member: id, operator: notSet}
      - groups: [analyst]
        member_level: {excludes: [margin]}
        row_level: {filters: [{member: country, operator: notEquals, values: ["US", "FR"]}]}
      - group: boss
        row_level: {allow_all: true}
      - group: "*"
        member_level: {includes: [id]}
        row_level: {allow_all: false}
  - name: open_to_all
"""


def test_cube_policies(tmp_path: Path) -> None:
    found = import_rules(CUBE, format="cube", file="x.yaml")
    assert usings(found) == {
        "manager_1": "user.active AND country_code = user.country AND (id >= 10 OR id IS NULL)",
        "analyst_2": "(NOT (country_code IN ('US', 'FR')) OR country_code IS NULL)",
        "boss_3": "true",
        "everyone_4": "false",
    }
    assert found.lost == []
    assert found.denied == {"orders": {"country_code": ("analyst", "boss", "manager"), "margin": ("boss", "manager")}}
    assert {r.where for r in found.remarks} >= {"open_to_all"}
    loaded(found, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        ("operator: notSet", "operator: inDateRange, values: [a]"), ("member: id, operator: notSet", "member: year, operator: set"),
        ("{ securityContext.active }", "{ 1 > 0 }"), ("includes: \"*\"}\n        row_level", "includes: \"*\"}\n        masks: 1\n        row_level"),
    ],
)  # fmt: skip
def test_what_is_cubes_own_is_lost(change: tuple[str, str]) -> None:
    found = import_rules(CUBE.replace(*change), format="cube", file="x.yaml")
    assert "manager_1" not in usings(found)
    assert len(found.lost) == 1


TOUCAN = """
tables:
  - table: orders
    match: all
    rules:
      - {column: tenant_id, operator: "=", attribute: tenant}
      - match: any
        rules:
          - {column: region, operator: in, attribute: regions}
          - {column: amount, operator: "<", value: 100}
          - {column: closed, operator: not set}
          - {column: day, operator: later than, attribute: since, type: date}
"""


def test_operator_rules(tmp_path: Path) -> None:
    found = import_rules(TOUCAN, format="toucan", file="x.yaml")
    wanted = (
        "(tenant_id = user.tenant AND (region IN user.regions OR amount < 100 OR closed IS NULL OR day > user.since))"
    )
    assert usings(found) == {"operator_rules": wanted}
    assert (found.attributes["regions"].many, found.attributes["since"].kind) == (True, "date")
    loaded(found, tmp_path)
    lost = import_rules(TOUCAN.replace("not set", "sounds like"), format="toucan", file="x.yaml")
    assert (usings(lost), len(lost.lost)) == ({}, 1)
    loaded(lost, tmp_path)


@pytest.mark.parametrize(
    ("operator", "values", "wanted"),
    [
        ("≠", ["1"], "NOT (a = 1)"),
        ("not in", ["1", "2"], "NOT (a IN (1, 2))"),
        ("contains", ["'x'"], "contains(a, 'x')"),
        ("≥", ["1"], "a >= 1"),
        ("set", [], "a IS NOT NULL"),
    ],
)
def test_operators(operator: str, values: list[str], wanted: str) -> None:
    assert condition(operator, "a", values, many=False, nulls=False, fold=False) == wanted


@pytest.mark.parametrize("operator", ["like", "", "in"])
def test_operators_that_are_not_known_are_refused(operator: str) -> None:
    with pytest.raises(NotCarried):
        condition(operator, "a", [], many=False, nulls=False, fold=False)


@pytest.mark.parametrize("format_", ["superset", "cube", "toucan"])
def test_another_format_is_refused(format_: str) -> None:
    with pytest.raises(PolicyInvalid):
        import_rules("a: 1", format=format_, file="x")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.sql").write_text(
        f"{ENABLED}CREATE POLICY p ON orders USING (a = 1);\nCREATE POLICY q ON orders USING (f(a))"
    )
    assert run(["import", "postgres", str(tmp_path / "x.sql"), "--out", str(tmp_path / "p.yaml")]) == 1
    assert 'using: "a = 1"' in (tmp_path / "p.yaml").read_text()
    assert "lost orders: q" in capsys.readouterr().err
    assert run(["import", "postgres", str(tmp_path / "x.sql"), "--out", str(tmp_path / "p.yaml")]) == 2
    capsys.readouterr()
    assert run(["import", "postgres", str(tmp_path / "x.sql"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["policies"]["orders"][0]["using"] == "a = 1"


@pytest.mark.parametrize(
    ("format_", "text", "says"),
    [
        ("postgres", "", "nothing to import: no CREATE POLICY"),
        ("postgres", "SELECT 1; CREATE TABLE t (a int);", "nothing to import: no CREATE POLICY"),
        ("postgres", "CREATE POLICY p ON t USING (" + "(" * 3000 + "a" + ")" * 3000 + ");", "nested too deeply"),
        ("superset", "[]", "nothing to import: no rule"),
        ("superset", '[{"clause": 5, "tables": ["t"]}]', "no rules of Superset"),
        ("superset", "{", "not valid YAML"),
        ("superset", "", "file is empty"),
        ("cube", "cubes: 3", "no list `cubes`"),
        ("cube", "[[[[" * 20, "nested deeper"),
        ("toucan", "tables: []", "nothing to import: no table"),
        ("toucan", "tables: [{table: {a: 1}, rules: 3}]", "no list `tables`"),
        ("toucan", "a: &a [*a]", "anchors are not allowed"),
    ],
)
def test_a_file_that_says_nothing_is_one_clear_error(format_: str, text: str, says: str) -> None:
    with pytest.raises(PolicyInvalid, match=re.escape(says)) as raised:
        import_rules(text, format=format_, file="given")
    assert str(raised.value).startswith("given:")
