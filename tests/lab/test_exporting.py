"""Policies for PostgreSQL, and documents: nothing widens, nothing is silently missing."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from rls.cli.app import run
from rls.lab.exporting.document import describe_policies, html_document, markdown_document
from rls.lab.exporting.postgres import Exported, export_postgres, settings_of
from tests.policy.cases import CATALOG, person, policy_set

SHOP = CATALOG.attached_as("shop")
TENANT = "NULLIF(CURRENT_SETTING('rls.tenant', TRUE), '')"


def export(tmp_path: Path, *usings: str) -> Exported:
    lines = [f"  - {{name: p{n}, {using}}}" for n, using in enumerate(usings)]
    text = "relation: orders\npolicies:\n" + "\n".join(lines) + "\n"
    return export_postgres(policy_set(tmp_path, text), SHOP)


def policy(made: Exported, name: str) -> str:
    return next(line for line in made.statements if line.startswith(f'CREATE POLICY "{name}"'))


def test_a_policy_needs_its_attribute(tmp_path: Path) -> None:
    text = policy(export(tmp_path, "using: tenant_id = user.tenant"), "p0")
    assert f'"orders"."tenant_id" = CAST({TENANT} AS TEXT)' in text
    assert "nullif(current_setting('rls.tenant', true), '')::text IS NOT NULL" in text


def test_roles_kinds_and_lists(tmp_path: Path) -> None:
    made = export(
        tmp_path, "to: [maker], using: 'true'", "as: restrictive, to: [explorer], using: region IN user.regions"
    )
    assert (
        "AS PERMISSIVE FOR SELECT USING (nullif(current_setting('rls.roles', true), '')::text[] && ARRAY['maker']"
        in policy(made, "p0")
    )
    restrictive = policy(made, "p1")
    # Whom a restrictive policy is not for, it does not narrow.
    assert "ARRAY['explorer']::text[]) IS NOT TRUE OR" in restrictive
    assert "\"region\" = ANY(CAST(NULLIF(CURRENT_SETTING('rls.regions', TRUE), '') AS TEXT[]))" in restrictive


def test_sub_queries_are_read_with_the_owners_rights(tmp_path: Path) -> None:
    using = "using: customer_id IN (SELECT customer_id FROM account_managers WHERE employee = user.subject)"
    made = export(tmp_path, using)
    (function,) = [line for line in made.statements if "CREATE OR REPLACE FUNCTION" in line]
    assert "RETURNS SETOF INT LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog" in function
    assert 'FROM "public"."account_managers"' in function
    assert '= ANY (SELECT rls_rights."main_orders_p0_0"())' in policy(made, "p0")


@pytest.mark.parametrize(
    "using",
    [
        "lower(region) = 'emea'", "region LIKE 'a\\\\b%'", "amount / 2 > 1", "list_contains(tags, user.tenant)", "md5(region) = 'x'",
        "id IN (SELECT customer_id FROM account_managers WHERE employee = tenant_id)", "EXISTS (SELECT 1 FROM account_managers)",
    ],
)  # fmt: skip
def test_what_may_mean_something_else_is_lost_and_never_widens(tmp_path: Path, using: str) -> None:
    made = export(tmp_path, f'using: "{using}"', f'as: restrictive, using: "{using}"')
    assert 'CREATE POLICY "p0"' not in made.sql
    assert policy(made, "p1").endswith("AS RESTRICTIVE FOR SELECT USING (false);")
    assert [where for where, _ in made.lost] == ["orders: p0", "orders: p1"]


def test_texts_are_ordered_by_code_points(tmp_path: Path) -> None:
    assert '("orders"."region") COLLATE "C" > \'m\'' in policy(export(tmp_path, "using: region > 'm'"), "p0")


def test_a_literal_beside_a_date_is_no_text(tmp_path: Path) -> None:
    assert "COLLATE" not in policy(export(tmp_path, "using: ordered > '2024-01-01'"), "p0")


def test_what_needs_no_attribute_beside_what_does(tmp_path: Path) -> None:
    text = policy(export(tmp_path, "using: true OR (tenant_id = user.tenant AND amount > 1)"), "p0")
    assert "()" not in text
    assert "((TRUE)) IS TRUE" in text


def test_every_table_is_closed(tmp_path: Path) -> None:
    made = export(tmp_path, "using: 'true'")
    tables = [r for r in SHOP.relations.values() if r.kind == "table"]
    assert made.sql.count("ENABLE ROW LEVEL SECURITY;") == len(tables)
    assert made.sql.count("Nobody decided on this table") == len(tables) - 1


def test_settings_say_who_asks(tmp_path: Path) -> None:
    policies = policy_set(tmp_path, "relation: orders\npolicies: [{name: p, using: 'true'}]\n")
    found = settings_of(person("maker", regions=('a"b', "c,d"), flag=True), policies.attributes)
    assert found["rls.regions"] == '{"a\\"b","c,d"}'
    assert (found["rls.roles"], found["rls.flag"], found["rls.tenant"]) == ('{"maker"}', "true", "")


def test_documents_say_who_sees_what(tmp_path: Path) -> None:
    text = (
        "relation: orders\npolicies:\n"
        "  - {name: own, as: restrictive, using: tenant_id = user.tenant AND region <> '<b>|'}\n"
        "  - {name: all, to: [maker], using: 'true'}\n"
        "columns:\n  margin: {deny: true, except: [maker]}\n  region: {mask: \"'***'\"}\n"
    )
    described = describe_policies(policy_set(tmp_path, text), SHOP)
    markdown, page = markdown_document(described), html_document(described)
    assert "| table | admin | explorer | maker |" in markdown
    # The restrictive policy is everybody's, so that maker's `true` opens some rows.
    assert "| orders | no rows | no rows | some rows, 1 column changed |" in markdown
    assert "| ledger" not in markdown
    assert "| finance.ledger | refused | refused | refused |" in markdown
    assert "Nobody decided on it: every query of it is refused." in markdown
    assert "| margin | does not exist | maker |" in markdown
    assert "region <> '<b>\\|'`" in markdown
    assert "region &lt;&gt; &#x27;&lt;b&gt;|&#x27;" in page
    assert "'<b>" not in page


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy_set(tmp_path / "p", "relation: orders\npolicies: [{name: p, using: lower(a) = 'x'}]\n")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute("CREATE TABLE orders (a VARCHAR)")
    place = [str(tmp_path / "p"), "--database", str(tmp_path / "shop.duckdb")]
    assert run(["export", "postgres", *place, "--out", str(tmp_path / "x.sql")]) == 1
    assert "lost orders: p" in capsys.readouterr().err
    assert "NOT CARRIED OVER" in (tmp_path / "x.sql").read_text()
    assert run(["export", "markdown", *place]) == 0
    assert "lower(a) = 'x'" in capsys.readouterr().out
    assert run(["export", "html", *place]) == 0
    capsys.readouterr()
    assert run(["export", "postgres", *place, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["format"], told["lost"][0]["where"]) == ("postgres", "orders: p")
