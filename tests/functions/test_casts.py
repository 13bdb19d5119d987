"""The reviewed casts against the running DuckDB: complete, and right where they matter."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from rls.rewrite.casts import COMPARISON, cast_reviews, cast_verdict, compares, is_total_cast, kind_of
from rls.rewrite.functions import SHORT
from tests.functions.cast_review import KINDS, TARGETS, measure, statements
from tests.functions.extremes import EXTREMES
from tests.functions.worker import CHECKED, Worker

# No column holds them.
WITHOUT_VALUES = {"NULL", "TYPE"}


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    started = Worker(settings=CHECKED, seconds=60)
    yield started
    started.close()


def test_every_built_in_type_has_extremes_and_a_row() -> None:
    with duckdb.connect() as connection:
        query = "SELECT DISTINCT logical_type, type_name FROM duckdb_types() WHERE database_name = 'system'"
        found = {
            "JSON" if name == "JSON" else SHORT.get(kind, kind) for kind, name in connection.execute(query).fetchall()
        }
    assert found - WITHOUT_VALUES == set(KINDS) == {row.source for row in cast_reviews()}


def test_every_pair_has_one_verdict() -> None:
    pairs = [(row.source, target) for row in cast_reviews() for target in row.targets]
    assert len(pairs) == len(set(pairs))
    missing = {(a, b) for a in KINDS for b in (*TARGETS, COMPARISON) if a != b} - set(pairs)
    assert not missing, "measure these: `python -m tests.functions.cast_review TYPE --print`"
    for row in cast_reviews():
        assert row.verdict in ("total", "raises", "magnitude", "parts", "refused", "forbidden"), row
        assert row.reason, row


def test_no_total_cast_raises(worker: Worker) -> None:
    """One form of each pair; `python -m tests.functions.cast_review` tries all of them."""
    for row in cast_reviews():
        for target in row.targets if row.verdict == "total" else ():
            for source in KINDS[row.source]:
                for named in (source,) if target == COMPARISON else TARGETS[target]:
                    tried = list(statements(source, named))
                    outcome, message = worker.ask(tried[len(source + named) % len(tried)])
                    assert outcome == "ok", (source, named, message)


def test_witnesses_raise(worker: Worker) -> None:
    for row in cast_reviews():
        # What depends on the zone, and what ends the instance, is measured by the tool.
        if row.verdict != "raises" or not row.witness or "zone" in row.reason:
            continue
        source = next(name for name in KINDS[row.source] if row.witness in EXTREMES[name])
        for target in row.targets[:: max(1, len(row.targets) // 3)]:
            texts = [
                f"SELECT CAST(v AS {t}) FROM (SELECT CAST({row.witness} AS {source}) AS v OFFSET 0)"
                for t in TARGETS[target]
            ]
            assert "raises" in [worker.ask(text)[0] for text in texts], (row.source, target)


def test_the_session_time_zone_decides(worker: Worker) -> None:
    assert measure(worker, "TIMESTAMP", "TIMESTAMPTZ").verdict == cast_verdict("TIMESTAMP", "TIMESTAMPTZ") == "raises"
    assert measure(worker, "TIMESTAMPTZ", "DATE").verdict == cast_verdict("TIMESTAMPTZ", "DATE") == "total"


def described(type_: str) -> dict[str, object]:
    """A type as plans write it."""
    import json

    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE x (v {type_})")
        row = connection.execute("SELECT json_serialize_plan('SELECT v FROM x')").fetchone()
    assert row
    found: dict[str, object] = json.loads(row[0])["plans"][0]["children"][0]["returned_types"][0]
    return found


@pytest.mark.parametrize(
    ("source", "target", "total"),
    [
        ("INTEGER", "BIGINT", True),
        ("BIGINT", "INTEGER", False),
        ("DECIMAL(9,2)", "DECIMAL(11,3)", True),
        ("DECIMAL(9,2)", "DECIMAL(9,3)", False),
        ("BOOLEAN", "DECIMAL(1,1)", False),
        ("BOOLEAN", "DECIMAL(2,1)", True),
        ("INTEGER[]", "BIGINT[]", True),
        ("BIGINT[]", "INTEGER[]", False),
        ("INTEGER[][]", "VARCHAR", True),
        ("INTEGER[2]", "DOUBLE[]", True),
        ("INTEGER[]", "INTEGER[2]", False),
        ("STRUCT(a INTEGER, b DATE)", "STRUCT(a BIGINT, b VARCHAR)", True),
        ("STRUCT(a INTEGER, b DATE)", "STRUCT(b INTEGER, a VARCHAR)", False),
        ("STRUCT(a INTEGER)", "STRUCT(a TINYINT)", False),
        ("STRUCT(a INTEGER)", "STRUCT(a INTEGER, b INTEGER)", False),
        ("VARCHAR", "JSON", False),
        ("JSON", "VARCHAR", True),
        ("JSON", "INTEGER", False),
        ("ENUM('a')", "VARCHAR", True),
        ("VARCHAR", "ENUM('a')", False),
        ("MAP(INTEGER, INTEGER)", "MAP(INTEGER, BIGINT)", False),
        ("UNION(a INTEGER)", "VARCHAR", True),
    ],
)
def test_parametrised_types_follow_rules(source: str, target: str, total: bool) -> None:
    assert is_total_cast(described(source), described(target)) is total


def test_try_cast_is_total_where_cast_is_not_forbidden() -> None:
    assert is_total_cast(described("VARCHAR"), described("JSON"), attempt=True)
    assert is_total_cast(described("VARCHAR[]"), described("INTEGER[]"), attempt=True)
    assert not is_total_cast(described("BIGNUM"), described("INTEGER"), attempt=True)
    assert not is_total_cast({"id": "NEW"}, described("VARCHAR"), attempt=True)


def test_comparisons() -> None:
    assert all(compares(described(type_)) for type_ in ("VARCHAR", "INTEGER[]", "STRUCT(a DATE[], b JSON)", "INTERVAL"))
    assert not compares({"id": "LIST", "type_info": {"child_type": {"id": "NEW"}}})
    assert not compares({"id": "STRUCT", "type_info": None})
    assert kind_of({"id": "INTEGER", "type_info": {"alias": "cents"}}) == "cents"
