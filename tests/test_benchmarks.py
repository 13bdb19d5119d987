"""The benchmarks run, and a wrong answer ends them. No test looks at a time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from benchmarks.__main__ import GROUPS, main
from benchmarks.measure import time_in_turn
from benchmarks.running import WrongAnswer, measure_running
from benchmarks.warehouse import load_queries, set_up

SCALE = 0.002


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benchmarks")


def test_every_group_measures_and_says_what_it_checked(directory: Path) -> None:
    arguments = ["--json", "--rounds", "1", "--scale", str(SCALE), "--dir", str(directory), "--query", "sleeping"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)["measurements"]
    assert {m["group"] for m in found} == set(GROUPS)
    assert {m["case"] for m in found if m["group"] != "start"} == {"sleeping customers"}
    assert {m["what"]: m["checked"] for m in found if m["group"] == "run"} == {"copy": "4 rows", "engine": "4 rows"}
    assert all(m["ratio"] > 0 for m in found)
    table = CliRunner().invoke(
        main, [a for a in arguments if a != "--json"] + ["--group", "rewrite"], terminal_width=80
    )
    assert "geometric mean" in table.output


def test_every_query_answers_like_the_copy(directory: Path) -> None:
    setting = set_up(directory, scale=SCALE)
    queries = load_queries()
    checked = {m.case: m.checked for m in measure_running(setting, queries, rounds=1)}
    assert list(checked) == [q.name for q in queries]


def test_a_wrong_answer_is_found(directory: Path, tmp_path: Path) -> None:
    setting = set_up(directory, scale=SCALE)
    wrong = tmp_path / setting.copy.name
    wrong.write_bytes(setting.copy.read_bytes())
    with duckdb.connect(str(wrong)) as connection:
        connection.execute("DELETE FROM customers WHERE id = (SELECT min(id) FROM customers)")
    queries = [q for q in load_queries() if q.name == "customer distribution"]
    with pytest.raises(WrongAnswer, match="customer distribution"):
        list(measure_running(replace(setting, copy=wrong), queries, rounds=1))


def test_alternatives_take_turns() -> None:
    seen: list[str] = []
    best = time_in_turn({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, rounds=3)
    assert seen == ["a", "b"] * 3
    assert set(best) == {"a", "b"}
    assert all(cpu >= 0 and wall > 0 for cpu, wall in best.values())
