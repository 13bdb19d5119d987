"""What may stand in `using` and `mask`, what is refused, and where the error points."""

from __future__ import annotations

import pytest

from rls.catalog import quote
from rls.policy.attributes import Attribute, attributes_by_name
from rls.policy.bind import bind
from rls.policy.expressions import Expression, read_expression
from rls.policy.parser import ExpressionInvalid
from tests.policy.cases import CATALOG, ORDERS

ATTRIBUTES = attributes_by_name({}) | {
    a.name: a
    for a in (Attribute("tenant", "string"), Attribute("regions", "string", many=True), Attribute("level", "integer"))
}


def read(text: str) -> Expression:
    return read_expression(text, ATTRIBUTES, branches=True)


def texts(text: str) -> list[str]:
    """The leaves of a condition as they stand in a guard of `orders`."""
    expression = read(text)
    holes = bind(expression, ORDERS, CATALOG, ATTRIBUTES)
    return [leaf.text(holes) for leaf in expression.root.leaves()]


REFUSED = {
    # text: (code, the part of the text that the error points at)
    "": ("policy.expression", ""),
    "tenant_id = ": ("policy.expression", ""),
    "SELECT 1": ("policy.expression", "SELECT"),
    "DELETE FROM orders": ("policy.one_expression", "DELETE"),
    "true; DROP TABLE orders": ("policy.expression", ""),
    "true;": ("policy.one_expression", ";"),
    "true, false": ("policy.one_expression", "true"),
    "true AS x": ("policy.one_expression", "true"),
    "true FROM orders": ("policy.one_expression", "true"),
    "true WHERE false": ("policy.one_expression", "true"),
    "true UNION SELECT false": ("policy.one_expression", "true"),
    "true LIMIT 1": ("policy.one_expression", "true"),
    "DISTINCT true": ("policy.one_expression", "DISTINCT"),
    "region = 'x' -- and more": ("policy.one_expression", "-- and"),
    "region = /* all */ 'x'": ("policy.one_expression", "/* all"),
    "*": ("policy.not_allowed", "*"),
    "COLUMNS('a') = 1": ("policy.not_allowed", "COLUMNS"),
    "id = $1": ("policy.not_allowed", "$1"),
    "id = ?": ("policy.not_allowed", "?"),
    "id = $tenant": ("policy.not_allowed", "$tenant"),
    "#1 = 1": ("policy.not_allowed", "#1"),
    "row_number() OVER () = 1": ("policy.not_allowed", "row_number"),
    "sum(id) > 1": ("policy.not_allowed", "sum"),
    "id IN (SELECT * FROM range(3))": ("policy.not_allowed", "range(3)"),
    "id IN (FROM 'secret.csv' SELECT id AT)": ("policy.expression", ""),
    "id IN (VALUES (1), (2))": ("policy.not_allowed", ""),
    "id IN (SELECT id FROM orders TABLESAMPLE 10%)": ("policy.not_allowed", ""),
    "id IN (SELECT id FROM orders AT (VERSION => 1))": ("policy.not_allowed", "orders"),
    "id IN (WITH x AS (DELETE FROM orders RETURNING id) SELECT id FROM x)": ("policy.not_allowed", ""),
    "EXISTS (FROM (DESCRIBE orders))": ("policy.not_allowed", ""),
    "EXISTS (FROM (PIVOT orders ON region IN ('x') USING sum(id)))": ("policy.not_allowed", ""),
    "EXISTS (SELECT * EXCLUDE (id) FROM orders)": ("policy.not_allowed", "*"),
    "EXISTS (SELECT 1 FROM orders QUALIFY row_number() OVER () = 1)": ("policy.not_allowed", ""),
    "main.lower(region) = 'x'": ("policy.not_allowed", "main.lower"),
    "region.lower() = 'x'": ("policy.not_allowed", "region.lower"),
    "CAST(region AS orders) IS NULL": ("policy.not_allowed", ""),
    "CAST(region AS main.mood) IS NULL": ("policy.not_allowed", ""),
    "region COLLATE nothing = 'x'": ("policy.not_allowed", "region"),
    "lowr(region) = 'x'": ("policy.unknown_function", "lowr"),
    "getenv('HOME') = 'x'": ("policy.unknown_function", "getenv"),
    "read_text('/etc/passwd') = 'x'": ("policy.unknown_function", "read_text"),
    "current_setting('threads') = 'x'": ("policy.forbidden_function", "current_setting"),
    "date_sub('month', DATE '2024-01-31', DATE '2024-02-29') = 0": ("policy.forbidden_function", "date_sub"),
    "time_bucket(INTERVAL '1 day', DATE '2024-01-31') = DATE '2024-01-31'": (
        "policy.forbidden_function",
        "time_bucket",
    ),
    '"="(id, region)': ("policy.forbidden_function", '"="'),
    "region LIKE 'a' ESCAPE region": ("policy.forbidden_function", ""),
    "tenant_id = user.tenat": ("policy.unknown_attribute", "user.tenat"),
    "tenant_id = user.tenant.x": ("policy.unknown_attribute", "user.tenant.x"),
    "region = user.regions": ("policy.list_attribute", "user.regions"),
    "region IN (user.regions)": ("policy.list_attribute", "user.regions"),
    "region IN ('x', user.regions)": ("policy.list_attribute", "user.regions"),
    "id BETWEEN 1 AND user.regions": ("policy.list_attribute", "user.regions"),
    "region IN user.tenant": ("policy.list_attribute", "user.tenant"),
    "region NOT IN user.tenant": ("policy.list_attribute", "user.tenant"),
    "id IN (SELECT id FROM orders AS user)": ("policy.name", "orders"),
    'id IN (WITH "User" AS (SELECT 1) SELECT 1)': ("policy.name", ""),
    "len(list_filter(tags, lambda user: user = 'x')) > 0": ("policy.name", ""),
    "region = 'a\u200bb'": ("policy.character", "\u200b"),
    "region = '\u202eb'": ("policy.character", "\u202e"),
    "region = 'x' \x00 OR true": ("policy.character", "\x00"),
    "len([x FOR x IN tags IF x = 'y']) > 0": ("policy.unstable", ""),
    "(" * 300 + "true" + ")" * 300: ("policy.expression", ""),
    "NOT " * 4000 + "true": ("policy.expression", ""),
    "true" + " AND true" * 4000: ("policy.expression", ""),
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused_with_a_code_and_a_place(text: str) -> None:
    code, part = REFUSED[text]
    with pytest.raises(ExpressionInvalid) as caught:
        read(text)
    error = caught.value
    assert error.code == code, error.message
    assert text[error.offset :].startswith(part)
    assert "\n" not in error.message
    assert error.message[:1] == error.message[:1].lower()


def test_near_names_are_suggested() -> None:
    hints = {}
    for text in ("tenant_id = user.tenat", "lowr(region) = 'x'"):
        with pytest.raises(ExpressionInvalid) as caught:
            read(text)
        hints[text] = caught.value.hint
    assert list(hints.values()) == ["did you mean `user.tenant`?", "did you mean `lower`?"]


GUARDS = {
    "tenant_id = user.tenant": ['("orders"."tenant_id" = CAST($rls_tenant AS VARCHAR))'],
    "TENANT_ID = User.Tenant": ['("orders"."tenant_id" = CAST($rls_tenant AS VARCHAR))'],
    'tenant_id = "user" . "tenant"': ['("orders"."tenant_id" = CAST($rls_tenant AS VARCHAR))'],
    "region IN user.regions": ['list_contains(CAST($rls_regions AS VARCHAR[]), "orders"."region")'],
    "'admin' IN user.roles": ["list_contains(CAST($rls_roles AS VARCHAR[]), 'admin')"],
    "id IN (1, user.level)": ['("orders"."id" IN (1, CAST($rls_level AS BIGINT)))'],
    # The engine's reading, spelled out: `->` binds looser than `=`, `.5` stays a DECIMAL(1,1), ';' is text.
    "tags->'a' = '1'": ["(\"orders\".\"tags\" -> ('a' = '1'))"],
    "amount > .5": ['("orders"."amount" > .5)'],
    "region = ';--/*'": ['("orders"."region" = \';--/*\')'],
    "region = 'hole0_'": ['("orders"."region" = \'hole0_\')'],
    "region LIKE 'a!%%' ESCAPE '!'": ["like_escape(\"orders\".\"region\", 'a!%%', '!')"],
    "current_date >= ordered": ['(current_date() >= "orders"."ordered")'],
    "user = 'x'": ['("orders"."user" = \'x\')'],
    "orders.user = 'x'": ['("orders"."user" = \'x\')'],
    "\"odd name\" = 'x'": ['("orders"."Odd Name" = \'x\')'],
    "place.city = 'x'": ['("orders"."place"."city" = \'x\')'],
    'main.orders.place."ZIP, code" = 1': ['("orders"."place"."ZIP, code" = 1)'],
    "NOT region = 'a' AND (id = 1 OR id = 2)": [
        '("orders"."region" = \'a\')',
        '("orders"."id" = 1)',
        '("orders"."id" = 2)',
    ],
}


@pytest.mark.parametrize("text", GUARDS)
def test_text_of_a_guard(text: str) -> None:
    assert texts(text) == GUARDS[text]


def test_branches_know_their_place_in_the_text() -> None:
    text = "é = 'ü' OR NOT (region IN user.regions AND tenant_id IS NULL)"
    root = read(text).root
    assert (root.kind, [b.kind for b in root.children]) == ("or", ["leaf", "not"])
    inner = root.children[1].children[0]
    assert inner.kind == "and"
    places = [text[b.start : b.end] for b in root.leaves()]
    assert places == ["é = 'ü'", "region IN user.regions", "tenant_id IS NULL"]
    assert root.attributes == {"regions"}
    assert inner.children[1].attributes == set()


def test_a_mask_is_one_leaf() -> None:
    expression = read_expression("region = 'x' AND id = 1", ATTRIBUTES, branches=False)
    assert expression.root.kind == "leaf"


def test_a_text_cannot_end_the_guard() -> None:
    """Whatever an author writes comes back as one expression or not at all."""
    for text in ("true) OR (true", "true)) --", "'", '"', "$$", "E'\\", "1) FROM orders; --", "a\\'b'"):
        with pytest.raises(ExpressionInvalid):
            read(text)


def test_quoting_of_strange_names() -> None:
    assert quote('a"b') == '"a""b"'
    expression = read('"a""b" = 1')
    assert expression.holes[0].names == ('a"b',)
