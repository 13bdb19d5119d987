"""Bounds that DuckDB derives wrongly from stored extremes, hidden rows' included: no answer and no error follows them.
Databases that are one to the user, each query with the answer that its visible rows give."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from rls.engine import Engine
from tests.attacks.kit import opened, token_of

SETUP = """CREATE TABLE c AS SELECT if(i % 2 = 0, 'a', 'b') AS tenant, i::INTEGER AS id,
        if(i % 2 = 0, TIMESTAMP '2020-01-30 13:00', {t}) AS t, if(i % 2 = 0, TIMESTAMP '2000-03-30 23:00', {b}) AS b,
        if(i % 2 = 0, if(i % 4 = 0, '-inf', 'inf')::DOUBLE, {f}) AS f,
        if(i % 2 = 0, if(i % 16 = 0, NULL, 'x' || i % 3), {s}) AS s,
        {{'a': if(i % 2 = 0, if(i % 8 = 0, NULL, 'x'), {s})}} AS st FROM range(1000) r(i);
    CREATE TABLE named AS SELECT tenant, s FROM c;
    CREATE TABLE named_alike AS SELECT tenant, s, id, st FROM c;
    CREATE VIEW v AS SELECT id FROM c WHERE date_sub('month', t, TIMESTAMP '2020-02-29 12:30') = 0;
    CREATE TABLE z AS SELECT 'u' AS subj, 'a' AS tenant"""
HIDDEN = {
    "like the visible": {
        "t": "TIMESTAMP '2020-01-30 13:30'",
        "b": "TIMESTAMP '2000-03-30 22:30'",
        "f": "1.0::DOUBLE",
        "s": "'x1'",
    },
    "turned around": {
        "t": "TIMESTAMP '2020-01-31 12:00'",
        "b": "TIMESTAMP '2000-03-31 01:00'",
        "f": "'nan'::DOUBLE",
        "s": "'y'",
    },
    "wide": {
        "t": "if(i % 4 = 1, TIMESTAMP '2020-01-01', TIMESTAMP '2020-01-31 12:30')",
        "b": "if(i % 4 = 1, TIMESTAMP '2000-03-29', TIMESTAMP '2000-03-31 01:00')",
        "f": "NULL",
        "s": "NULL",
    },
}
POLICIES = {
    "attribute": "tenant = user.tenant",
    "mapping": "tenant IN (SELECT z.tenant FROM z WHERE z.subj = user.subject)",
}
NAMED = """
---
relation: v
public: true
---
relation: named_alike
policies:
  - {name: own, as: restrictive, using: "tenant = user.tenant"}
  - {name: alike, using: "s LIKE 'x%' OR id < 3"}
---
relation: named
policies:
  - {name: own, as: restrictive, using: "tenant = user.tenant"}
  - {name: but_one, using: "CASE WHEN s = 'x0' THEN NULL ELSE s END LIKE 'x%'"}
"""
NOT_FIRST = sum(i % 16 != 0 and i % 3 != 0 for i in range(0, 1000, 2))
MONTHS = "date_sub('month', t, TIMESTAMP '2020-02-29 12:30')"
BUCKET = "time_bucket(INTERVAL '1 hour', b, INTERVAL '1 month')"


@pytest.fixture(scope="module", params=[(policy, hidden) for policy in POLICIES for hidden in HIDDEN], ids=str)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    policy, hidden = request.param
    folder = tmp_path_factory.mktemp("extremes")
    text = f'relation: c\npolicies:\n  - {{name: own, using: "{POLICIES[policy]}"}}\n{NAMED}'
    with opened(folder, SETUP.format(**HIDDEN[hidden]), text) as engine:
        yield engine


@pytest.fixture
def ask(engine: Engine) -> Callable[[str], object]:
    token = token_of(engine)
    return lambda sql: engine.query(token, sql).rows


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT median(f) > 'inf'::DOUBLE FROM c", True),
        ("SELECT median(f) = 'nan'::DOUBLE FROM c", True),
        ("SELECT quantile_cont(f, 0.5) > 'inf'::DOUBLE FROM c", True),
        ("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY f) > 'inf'::DOUBLE FROM c", True),
        ("SELECT count(*) FROM (SELECT tenant FROM c GROUP BY tenant HAVING median(f) > 'inf'::DOUBLE)", 1),
        (f"SELECT DISTINCT {MONTHS} FROM c", 0),
        (f"SELECT count(*) FROM c WHERE {MONTHS} = 0", 500),
        (f"SELECT count(*) FROM c WHERE {MONTHS} < 1 AND id < 2000", 500),
        (f"SELECT count(*) FROM c x JOIN c y USING (id) WHERE {MONTHS.replace('t,', 'x.t,')} = 0", 500),
        (f"SELECT count(*) FROM c WHERE {MONTHS.replace('date_sub', 'datesub')} = 0", 500),
        (f"SELECT count(*) FROM c WHERE {MONTHS.replace('t,', 't::TIMESTAMPTZ,')} = 0", 500),
        (f"SELECT bool_and({BUCKET} > '2000-03-29 12:00') FROM c", True),
        (f"SELECT count(*) FROM c WHERE {BUCKET} > '2000-03-29 12:00'", 500),
        ("SELECT count(*) FROM c WHERE CASE WHEN s = 'x0' THEN NULL ELSE s END LIKE 'x%'", NOT_FIRST),
        ("SELECT count(*) FROM c WHERE starts_with(nullif(s, 'x0'), 'x')", NOT_FIRST),
        ("SELECT count(*) FROM c WHERE left(CASE s WHEN 'x0' THEN NULL ELSE s END, 1) = 'x' OR s = 'q'", NOT_FIRST),
        (
            "SELECT count(*) FROM c x JOIN c y ON x.id = y.id AND CASE WHEN y.s <> 'x0' THEN y.s END LIKE 'x%'",
            NOT_FIRST,
        ),
        ("SELECT count(*) FROM (SELECT CASE WHEN s <> 'x0' THEN s END AS o FROM c) q WHERE o LIKE 'x%'", NOT_FIRST),
        ("SELECT count(*) FROM named", NOT_FIRST),
        ("SELECT count(*) FROM c WHERE st.a LIKE 'x%'", 375),
        ("SELECT count(*) FROM (SELECT upper(st.a) AS name, id FROM c) q WHERE starts_with(name, 'X')", 375),
    ],
)
def test_no_answer_follows_wrong_bounds(ask: Callable[[str], object], sql: str, expected: object) -> None:
    assert ask(sql) == [(expected,)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT avg(f) FROM c",
        "SELECT count(*) FROM c WHERE t < '2020-02-01'",
        "SELECT s, count(CASE WHEN id > 9 THEN s END) FROM c WHERE s LIKE 'x%' GROUP BY s",
        "SELECT id FROM c WHERE CASE WHEN id > 9 THEN 'late' ELSE 'early' END = 'late'",
    ],
)
def test_other_queries_keep_statistics(engine: Engine, sql: str) -> None:
    assert not engine.explain(token_of(engine), sql).hide_statistics


# A row whose field is NULL is no row that the policy shows, whether or not all the other fields, hidden ones included, are.
FIELDS = (
    "st.a IN ('x', 'y')", "st.a LIKE 'x%'", "st.b", "st.n IN (1, 2)", "contains(st.a, 'x')", "struct_extract(st, 'b')",
    "st.n::BIGINT IN (1, 2)", "list_contains(['x', 'q'], st.a)", "coalesce(st.b, st.b)", "CASE WHEN id < 9999 THEN st.b END",
    "CASE WHEN s = 'x0' THEN NULL ELSE s END LIKE 'x%'", "s IN ('x0', 'x1') AND st.b",
)  # fmt: skip
ROWS = {"like the visible": "{'a': 'x', 'n': 1, 'b': true}", "unlike": "{'a': 'q', 'n': 7, 'b': false}"}


def _relations(*, strict: bool) -> str:
    return "---\n".join(
        f"relation: t{number}\n{'strict: true' if strict else ''}\npolicies:\n"
        f'  - {{name: own, as: restrictive, using: "tenant = user.tenant"}}\n  - {{name: field, using: "{text}"}}\n'
        for number, text in enumerate(FIELDS)
    )


@pytest.fixture(scope="module", params=[(hidden, strict) for hidden in ROWS for strict in (False, True)], ids=str)
def fields(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    hidden, strict = request.param
    setup = f"""CREATE TABLE t0 AS SELECT i AS id, if(i % 2 = 0, 'a', 'b') AS tenant, if(i % 4 = 0, 'x0', 'x1') AS s,
        if(i % 2 = 1, {ROWS[hidden]}, if(i % 4 = 0, {ROWS["like the visible"]}, {{'a': NULL, 'n': NULL, 'b': NULL}})) AS st
        FROM range(8) r(i);"""
    setup += "".join(f"CREATE TABLE t{number} AS FROM t0;" for number in range(1, len(FIELDS)))
    folder = tmp_path_factory.mktemp("fields")
    with opened(folder, setup, _relations(strict=strict)) as engine:
        yield engine


@pytest.mark.parametrize("number", range(len(FIELDS)), ids=FIELDS)
def test_a_field_may_be_null_by_itself(fields: Engine, number: int) -> None:
    expected = [2, 6] if "CASE WHEN s" in FIELDS[number] else [0, 4]
    token = token_of(fields)
    for sql in (f"SELECT * FROM t{number}", f"SELECT id, st, s FROM t{number}"):
        assert sorted(row[0] for row in fields.query(token, sql).rows) == expected


# Conditions of callers over masks, which are made of fields without a guard's CASE around the struct; conditions of
# views, which stand below their fences.
BEHIND = """CREATE TABLE p AS SELECT i AS id, if(i % 2 = 0, 'a', 'b') AS tenant,
        if(i % 2 = 1, struct_extract({hidden}, 'a'), if(i % 4 = 0, 'x0', 'x1')) AS s,
        if(i % 2 = 1, {hidden}, if(i % 4 = 0, {like}, {{'a': NULL, 'n': NULL, 'b': NULL}})) AS st FROM range(8) r(i);
    CREATE TABLE m AS SELECT *, '' AS a, 0 AS n, true AS b, {like} AS all_of_it FROM p;
    CREATE VIEW fields AS SELECT id, tenant, st.a, st.n, st.b, st <> {{'a': 'z', 'n': 1, 'b': true}} AS other FROM p;
    CREATE VIEW texts AS SELECT id, tenant, s FROM p;
    CREATE VIEW chosen AS FROM texts WHERE CASE WHEN s = 'x0' THEN NULL ELSE s END LIKE 'x%'"""
BEHIND_POLICIES = """
relation: m
policies: [{name: own, using: "tenant = user.tenant"}]
columns:
  st: {deny: true}
  a: {mask: st.a}
  n: {mask: st.n}
  b: {mask: st.b}
  all_of_it: {mask: "coalesce(st, st)"}
---
relation: p
public: true
---
relation: texts
public: true
---
relation: fields
policies:
  - {name: own, as: restrictive, using: "tenant = user.tenant"}
  - {name: shown, using: b}
---
relation: chosen
policies: [{name: own, using: "tenant = user.tenant"}]
"""


@pytest.fixture(scope="module", params=ROWS)
def behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    setup = BEHIND.format(hidden=ROWS[request.param], like=ROWS["like the visible"])
    with opened(tmp_path_factory.mktemp("behind"), setup, BEHIND_POLICIES) as engine:
        yield engine


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT id, all_of_it FROM m WHERE b", [0, 4]),
        ("SELECT id, all_of_it FROM m WHERE n IN (1, 2)", [0, 4]),
        ("SELECT id, all_of_it FROM m WHERE a LIKE 'x%'", [0, 4]),
        ("SELECT * FROM fields WHERE a LIKE 'x%'", [0, 4]),
        ("SELECT *, row_number() OVER (ORDER BY id) FROM fields", [0, 4]),
        ("SELECT * FROM fields ORDER BY id LIMIT 5", [0, 4]),
        ("SELECT *, row_number() OVER (ORDER BY id) FROM chosen", [2, 6]),
        ("SELECT * FROM chosen ORDER BY id LIMIT 5", [2, 6]),
    ],
)
def test_masks_and_views_are_not_misled(behind: Engine, sql: str, expected: list[int]) -> None:
    assert sorted(row[0] for row in behind.query(token_of(behind), sql).rows) == expected


def test_policies_without_such_a_field_keep_statistics(engine: Engine) -> None:
    assert not engine.explain(token_of(engine), "SELECT s, id FROM named_alike").hide_statistics
