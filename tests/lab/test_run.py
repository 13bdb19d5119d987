"""Suites: what passes, what fails and with which words, and what cannot be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rls.errors import PolicyInvalid
from rls.lab.suites.run import Filters, Run, run_directory
from tests.lab.kit import DATA, ORDERS, SEES, write_database, write_shop


def run(folder: Path, suite: str = DATA + SEES, **options: object) -> Run:
    return run_directory(write_shop(folder / "shop", suite=suite), **options)  # type: ignore[arg-type]


def test_a_matrix_passes_and_covers_every_persona_and_table(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert [o.to_dict()["failures"] for o in done.failed] == []
    assert {(o.case.persona, o.case.relation) for o in done.outcomes} == {
        (persona, table) for persona in ("eve", "max") for table in ("orders", "people", "products")
    }


def test_what_is_not_listed_is_expected_to_be_invisible(tmp_path: Path) -> None:
    done = run(tmp_path, DATA + "\nsees:\n  eve: {orders: [1], people: [u-1], products: all}\n")
    assert [(o.case.persona, o.case.relation) for o in done.failed] == [
        ("max", "orders"), ("max", "people"), ("max", "products")
    ]  # fmt: skip
    orders = done.failed[0].failures[0]
    assert (orders.kind, orders.message) == ("extra_rows", "3 rows visible, none expected")
    assert [row.values["id"] for row in orders.rows] == [1, 2, 4]
    assert orders.rows[0].why == ("all_regions is TRUE",)
    assert done.failed[2].failures[0].rows[0].why == ("the relation is public",)


def test_a_live_matrix_covers_all_tables(tmp_path: Path) -> None:
    database = write_database(tmp_path / "shop.duckdb")
    done = run(tmp_path, "sees:\n  eve: {orders: [1]}\nonly: {personas: eve}\n", database=database)
    assert [(o.case.relation, o.status) for o in done.outcomes] == [
        ("orders", "passed"), ("people", "failed"), ("products", "failed")
    ]  # fmt: skip


def test_given_rows_take_their_types_from_the_database(tmp_path: Path) -> None:
    suite = "data: {orders: [{id: 7, tenant_id: acme, region: EMEA, placed: 2026-02-01}]}\n"
    suite += "tests:\n  - {name: t, as: eve, relation: orders, expect: {rows: [{id: 7, placed: 2026-02-01}]}}\n"
    suite += "  - {name: empty, as: eve, relation: products, expect: {rows: none}}\n"
    assert run(tmp_path, suite, database=write_database(tmp_path / "shop.duckdb")).failed == ()


TESTS = """
tests:
  - name: columns
    as: eve
    relation: orders
    expect:
      rows: 1
      columns: [id, tenant_id, region, amount, email, placed]
      masked: [email]
      absent: [margin]
      values: {email: ["***@post.test"], placed: [2026-01-01]}
      sums: {amount: 10.5}
      because: [own_tenant, own_regions]
      includes: [1]
      excludes: [2, 3]
  - {name: where, as: max, relation: orders, expect: {where: "tenant_id = 'acme'", masked: [], absent: []}}
  - {name: refused, as: eve, query: SELECT margin FROM orders, expect: {refused: query.unknown_column}}
  - name: revenue
    as: max
    query: SELECT region, sum(amount) AS revenue FROM orders WHERE amount > $least GROUP BY ALL ORDER BY revenue
    parameters: {least: 1}
    expect: {rows: [[null, 5], [EMEA, 10.5], [APAC, 20]], ordered: true, columns: [region, revenue], sums: {revenue: 35.5}}
  - {name: same, as: eve, relation: products, expect: {same_as: max}}
  - {name: same answer, as: eve, query: FROM products, expect: {same_as: max, because: []}}
  - {name: nobody, as: nil, relation: orders, expect: {denied: true}}
personas:
  nil: {subject: u-9, attributes: {tenant: acme}}
"""


def test_every_kind_of_expectation_can_be_met(tmp_path: Path) -> None:
    done = run(tmp_path, DATA + TESTS)
    assert [(o.case.id, [f.message for f in o.failures]) for o in done.failed] == []
    assert len(done.outcomes) == 7


DIFFERENCES = [
    ("as: eve, relation: orders, expect: {keys: [2]}", "1 row visible that should not be"),
    ("as: eve, relation: orders, expect: {keys: [1, 2]}", "1 row expected and not visible"),
    ("as: eve, relation: orders, expect: {keys: [1, 77]}", "`orders` has no row with id 77 (expected)"),
    ("as: eve, relation: orders, expect: {excludes: [77]}", "`orders` has no row with id 77 (excludes)"),
    ("as: max, relation: orders, expect: {excludes: [1]}", "1 row visible that should not be"),
    ("as: max, relation: orders, expect: {rows: all}", "3 of 4 rows visible, all expected"),
    ("as: max, relation: orders, expect: {rows: 4}", "3 rows visible, 4 expected"),
    (
        "as: max, relation: orders, expect: {where: region = 'EMEA'}",
        "2 rows visible for which `region = 'EMEA'` is not true",
    ),
    ("as: max, relation: orders, expect: {where: 'true'}", "1 row hidden for which `true` is true"),
    ("as: eve, relation: orders, expect: {masked: []}", "masked columns are email; not expected: email"),
    ("as: max, relation: orders, expect: {absent: [margin]}", "absent columns are none; missing: margin"),
    (
        "as: eve, relation: orders, expect: {columns: [id]}",
        "columns are id, tenant_id, region, amount, email, placed; not expected: tenant_id, region, amount, email, placed",
    ),
    (
        "as: eve, relation: orders, expect: {values: {region: [APAC]}}",
        "values of `region`: not expected: EMEA; missing: APAC",
    ),
    ("as: eve, relation: orders, expect: {sums: {amount: 11}}", "sum of `amount` is 10.50, 11 expected"),
    ("as: eve, relation: orders, expect: {sums: {margin: 11}}", "there is no column `margin` to sum"),
    (
        "as: eve, relation: orders, expect: {because: [all_regions]}",
        "deciding policies are own_regions, own_tenant; not expected: own_regions, own_tenant; missing: all_regions",
    ),
    ("as: eve, relation: orders, expect: {denied: true}", "not denied: policies let rows through"),
    (
        "as: eve, relation: orders, expect: {refused: query.unknown_relation}",
        "it ran, but `query.unknown_relation` was expected",
    ),
    ("as: eve, relation: orders, expect: {same_as: max}", "2 rows hidden that `max` sees"),
    ("as: max, relation: orders, expect: {same_as: eve}", "2 rows visible that `eve` does not see"),
    ("as: eve, query: SELECT margin FROM orders, expect: {rows: 1}", r"refused: `query.unknown_column`"),
    (
        "as: eve, query: SELECT nope FROM orders, expect: {refused: query.x}",
        "refused with `query.unknown_column`, but `query.x` was expected",
    ),
    ("as: eve, query: SELECT id FROM orders, expect: {rows: [[2]]}", "1 row should not be there"),
    (
        "as: eve, query: SELECT id FROM orders, expect: {rows: [{ident: 2}]}",
        "the answer has no column `ident`, it has id",
    ),
    ("as: eve, query: SELECT id FROM orders, expect: {rows: [[1, 2]]}", "2 values per row expected, the answer has id"),
    (
        "as: max, query: SELECT id FROM orders ORDER BY id, expect: {rows: [[2], [1], [4]], ordered: true}",
        "the rows are there in another order: row 1 is [1], [2] expected",
    ),
    ("as: eve, query: FROM orders, expect: {denied: true}", "not denied: policies let rows of orders through"),
    (
        "as: eve, query: FROM orders, expect: {same_as: max}",
        "`max` gets the columns id, tenant_id, region, amount, email, margin, placed",
    ),
]


@pytest.fixture(scope="module")
def differences(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All of them in one suite, which is run once."""
    tests = "".join(f"  - {{name: t{number}, {test}}}\n" for number, (test, _) in enumerate(DIFFERENCES))
    return run(tmp_path_factory.mktemp("differences"), DATA + "tests:\n" + tests)


@pytest.mark.parametrize("number", range(len(DIFFERENCES)), ids=[message[:40] for _, message in DIFFERENCES])
def test_a_difference_is_told_in_one_line(differences: Run, number: int) -> None:
    outcome = differences.outcomes[number]
    assert outcome.status == "failed"
    assert any(f.message.startswith(DIFFERENCES[number][1]) for f in outcome.failures), outcome.failures


@pytest.mark.parametrize(
    ("suite", "error"),
    [
        ("sees: {evi: {}}", r"1:8: there is no persona `evi`; did you mean `eve`\?"),
        ("sees: {eve: {orders: al}}", r"must be 'all', 'none' or 'denied'"),
        ("sees: {eve: {orders: {masked: [email]}}}", "this cell does not say which rows are visible"),
        ("tests: [{name: t, as: eve, relation: orders}]", r"lacks the key `expect`"),
        ("tests: [{name: t, as: eve, relation: orders, expct: {}}]", r"unknown key `expct`; did you mean `expect`\?"),
        (
            "tests: [{name: t, as: eve, relation: orders, expect: {keys: [1], rows: 1}}]",
            "both say which rows: keep one",
        ),
        ("tests: [{name: t, as: eve, query: SELECT 1, expect: {keys: [1]}}]", "`keys` is for a `relation`"),
        (
            "tests: [{name: t, as: eve, query: SELECT 1, relation: r, expect: {rows: 1}}]",
            "either `relation` or `query`",
        ),
        ("tests: [{name: t, as: eve, relation: orders, expect: {refused: x, rows: 1}}]", "`refused` stands alone"),
        ("tests: [{name: t, as: eve, relation: orders, expect: {same_as: eve}}]", "`eve` is compared with itself"),
        ("now: noon\nsees: {}", "`now` is not a time"),
        ("data: {}", "a suite needs `sees` or `tests`"),
        ("personas: {eve: {subject: x}}\nsees: {}", "persona `eve` is also in personas.yaml"),
        ("data: {orders: [1]}\nsees: {}", "a row must be a list of values or a mapping of columns"),
    ],
)
def test_a_suite_that_says_nothing_clear_is_an_error_at_its_place(tmp_path: Path, suite: str, error: str) -> None:
    with pytest.raises(PolicyInvalid, match=error) as caught:
        run(tmp_path, suite)
    assert caught.value.file.endswith("shop.test.yaml")


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        ("sees: {}", "this suite is about a live database; give --database, or rows under `data`"),
        ("data: {orders: [{id: 1}]}\nsees: {}", "the columns of `orders` are not known"),
        ("data: {orders: {columns: {id: INTEGER}, rows: [[one]]}}\nsees: {}", "this row does not fit `orders`"),
        ("data: {orders: {columns: {id: INTEGER}, rows: [[1, 2]]}}\nsees: {}", "this row has 2 values"),
        ("data: {orders: {columns: {id: INTEGER}, rows: [{ident: 1}]}}\nsees: {}", "has no column `ident`"),
        ("data: {orders: {columns: {id: NUMBR}, rows: []}}\nsees: {}", "the columns of `orders` cannot be made"),
        (DATA + "sees: {eve: {ordrs: none}}", "there is no relation `ordrs` in these data; did you mean `orders`?"),
        (DATA + "tests: [{name: t, as: eve, relation: ordrs, expect: {rows: none}}]", "no relation `ordrs`"),
        (DATA + "tests: [{name: t, as: eve, relation: orders, expect: {where: nope}}]", "DuckDB: Binder Error"),
        (DATA + "keys: {orders: ident}\ntests: [{name: t, as: eve, relation: orders, expect: {keys: []}}]", "`ident`"),
    ],
)
def test_a_case_that_cannot_be_asked_is_an_error_not_a_pass(tmp_path: Path, suite: str, message: str) -> None:
    (outcome,) = run(tmp_path, suite).outcomes
    assert outcome.status == "error"
    assert message in outcome.failures[0].message


def test_a_policy_that_does_not_fit_is_an_error_even_where_nothing_is_expected(tmp_path: Path) -> None:
    broken = ORDERS.replace("region IN user.regions", "regoin IN user.regions")
    done = run_directory(write_shop(tmp_path / "shop", suite=DATA + "sees: {}\n", orders=broken))
    orders = [o for o in done.outcomes if o.case.relation == "orders"]
    assert {o.status for o in orders} == {"error"}
    assert re.search(r"orders\.yaml:\d+:\d+: .*regoin", orders[0].failures[0].message)


def test_the_clock_stands_still_for_policies_and_queries(tmp_path: Path) -> None:
    recent = ORDERS.replace("region IN user.regions", "placed > current_date - INTERVAL 1 DAY")
    suite = "now: 2026-01-03T00:30:00+01:00\n" + DATA + """
tests:
  - {name: policy, as: eve, relation: orders, expect: {keys: [2]}}
  - {name: query, as: eve, query: "SELECT current_date, today(), now()", expect: {rows: [[2026-01-02, 2026-01-02, "2026-01-02T23:30:00Z"]]}}
"""  # fmt: skip
    done = run_directory(write_shop(tmp_path / "shop", suite=suite, orders=recent))
    assert [(o.case.id, o.failures) for o in done.failed] == []


def test_filters_choose_cases(tmp_path: Path) -> None:
    def kept(**chosen: object) -> list[str]:
        return [o.case.id for o in run(tmp_path, DATA + SEES + TESTS, filters=Filters(**chosen)).outcomes]  # type: ignore[arg-type]

    assert kept(words=("revenue",)) == ["shop.test.yaml::revenue[max]"]
    assert len(kept(persona="e*", relation="people")) == 1
    assert kept(relation="products", persona="eve", words=("SAME",)) == [
        "shop.test.yaml::same[eve]", "shop.test.yaml::same answer[eve]"
    ]  # fmt: skip


def test_keys_may_be_masked_or_have_several_columns(tmp_path: Path) -> None:
    suite = (
        DATA
        + "keys: {orders: [email, id]}\nsees:\n  eve: {orders: [[ada@post.test, 1]]}\nonly: {personas: eve, relations: orders}\n"
    )
    assert [o.status for o in run(tmp_path, suite).outcomes] == ["passed"]


def test_a_key_that_is_null_in_the_first_row_is_still_of_its_type(tmp_path: Path) -> None:
    suite = """
data:
  people:
    columns: {user_id: VARCHAR, name: VARCHAR, until: DATE}
    rows: [[u-1, a, null], [u-1, b, 2026-02-14]]
keys: {people: [user_id, until]}
only: {personas: [eve]}
sees: {eve: {people: [[u-1, null], [u-1, 2026-02-14]]}}
"""
    assert run(tmp_path, suite).failed == ()
