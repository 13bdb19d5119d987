"""The benchmarks measure, a wrong answer ends them, and what is made of a run is right. No test looks at a time."""

from __future__ import annotations

import doctest
import json
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from benchmarks import cases, show, suite, texts, tpch
from benchmarks.answers import WrongAnswer, compare_rows
from benchmarks.cases import Case, load_cases, read_case_file
from benchmarks.commands import main
from benchmarks.compare import compare_runs
from benchmarks.groups import growth
from benchmarks.groups.run import make_copy, measure_run
from benchmarks.measure import Measurement, cpu_with_children, run_process
from benchmarks.options import Options
from benchmarks.peers import Peer, known_peers, open_peers
from benchmarks.settings import SUITES, open_suite
from benchmarks.suite import GROUPS, Run, measure_all
from benchmarks.summary import summarise
from benchmarks.texts import NearMisses, new_text
from benchmarks.thresholds import Threshold, check_thresholds, load_thresholds
from benchmarks.tpch import build_tpch
from tests.engines.postgres import kit as postgres_kit
from tests.engines.postgres.kit import server_binaries

SCALE = 0.002
# Group → cases that are measured here, all of them quick.
QUICK = {
    "rewrite": ("one order", "q06"),
    "barrier": ("one order", "q06"),
    "lookups": ("point, cast shown",),
    "run": ("one order",),
    "isolation": ("1 row",),
    "audit": ("one order",),
    "throughput": ("one order",),
    "postgres": ("q06",),
    "growth": ("IN list", "policies", "attribute length", "rows"),
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benchmarks")


def options(directory: Path, *wanted: str) -> Options:
    return Options(directory, rounds=1, scale=SCALE, tpch_scale=0.001, wanted=wanted, largest=10_000, principals=1_000)


def line(ratio: float, *, case: str = "tpch: q1", floor: str = "parse", **changes: object) -> Measurement:
    made = Measurement("rewrite", case, "guard", ratio, ratio, ratio, ratio, ratio, floor, 1.0)
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_measures_and_says_what_it_checked(
    group: str, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine is at the moment.
    monkeypatch.setattr(growth, "POINT_SECONDS", math.inf)
    asked = options(directory, *QUICK.get(group, ()))
    if group == "postgres" and server_binaries() is None:
        pytest.skip("no PostgreSQL server binaries")
    run = measure_all((group,), asked, on_step=lambda *_: None)
    assert run.measurements
    assert {m.group for m in run.measurements} == {group}
    assert all((m.ratio > 0 and m.cpu <= m.p99) or group == "throughput" for m in run.measurements)
    assert not [reason for reason in run.skipped if not reason.startswith("peer ")]
    if group in ("barrier", "lookups", "run", "isolation", "audit", "token", "throughput"):
        assert all(m.checked for m in run.measurements)
    again = suite.read_run(_written(run, directory / f"{group}.json"))
    assert [m.key for m in again.measurements] == [m.key for m in run.measurements]


def _written(run: Run, file: Path) -> Path:
    file.write_text(run.to_json(), encoding="utf-8")
    return file


@pytest.mark.parametrize("name", SUITES)
def test_every_query_of_every_suite_can_be_guarded(name: str, directory: Path) -> None:
    with open_suite(name, directory, scale=SCALE) as (setting, engine, _, queries):
        assert len(queries) > 10
        filtered = [engine.guard(setting.token, query.sql).grants.values() for query in queries]
    assert sum(any(grant.predicate for grant in grants) for grants in filtered) > len(queries) / 2


def test_every_query_answers_like_the_copy(directory: Path) -> None:
    found = list(measure_run(options(directory)))
    assert list(dict.fromkeys(m.case for m in found)) == [case.name for case in load_cases("warehouse")]


def test_a_wrong_answer_ends_the_run(directory: Path, tmp_path: Path) -> None:
    asked = options(tmp_path, "customer distribution")
    list(measure_run(options(directory, "customer distribution")))
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    with duckdb.connect(str(make_copy(tmp_path / f"warehouse-{SCALE:g}.duckdb"))) as connection:
        connection.execute("DELETE FROM customers WHERE id = (SELECT min(id) FROM customers)")
    with pytest.raises(WrongAnswer, match="customer distribution"):
        list(measure_run(asked))
    done = CliRunner().invoke(
        main, ["--group", "run", "--query", "customer d", "--scale", str(SCALE), "--dir", str(tmp_path)]
    )
    assert done.exit_code == 1
    assert "wrong answer: customer distribution" in done.output


def test_answers_are_multisets_of_rows() -> None:
    assert compare_rows("x", [(1, "a"), (2, [3])], [(2, [3]), (1, "a")]) == "2 rows"
    assert compare_rows("x", [(0.1 + 0.2,)], [(0.3,)]) == "1 row"
    with pytest.raises(WrongAnswer, match="x: 1 rows that should not be there, 0 missing"):
        compare_rows("x", [(1,), (1,)], [(1,)])
    with pytest.raises(WrongAnswer, match="0 rows that should not be there, 1 missing"):
        compare_rows("x", [], [(None,)])


def test_without_a_generator_a_group_is_skipped_and_says_so(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tpch.sysconfig, "get_path", lambda _: str(tmp_path))
    asked = replace(options(directory, "nothing"), tpch_scale=0.0005)
    run = measure_all(("lookups",), asked, on_step=lambda *_: None)
    assert run.measurements == []
    assert run.skipped == ["lookups: TPC-H's rows are made by tpchgen-cli: pip install 'rls[bench]'"]


def test_without_a_server_postgresql_is_skipped_and_says_so(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_kit, "server_binaries", lambda: None)
    run = measure_all(("postgres",), options(directory), on_step=lambda *_: None)
    assert run.measurements == []
    assert run.skipped == ["postgres: no PostgreSQL server binaries: apt-get install postgresql"]


def test_a_tenth_of_the_rows_is_visible(directory: Path) -> None:
    with duckdb.connect(str(build_tpch(directory, scale=0.001)), read_only=True) as connection:
        for variant in read_case_file("tpch/barrier")["variant"]:
            if variant["name"] == "clustered":
                continue  # its bounds are for scale 1
            for relation, predicate in variant["hand"].items():
                text = cases.as_written(f"SELECT count(*) FILTER ({predicate}) / count(*) FROM {relation}")
                assert 0.03 < connection.execute(text.replace("FILTER (", "FILTER (WHERE ")).fetchall()[0][0] < 0.25


def test_near_misses_differ_in_literals_and_spaces_only() -> None:
    near = NearMisses("SELECT 1, x FROM t WHERE a = 7 AND b <> 'x' AND c < 0.5 AND d IN (1) LIMIT 3")
    assert near.has_literals
    assert near() == "SELECT 1, x FROM t WHERE a = 8 AND b <> 'x1' AND c < 0.5 AND d IN (1) LIMIT 3\t"
    assert len({near() for _ in range(100)}) == 100
    spaces = NearMisses("SELECT a FROM t")
    assert not spaces.has_literals
    assert len({spaces() for _ in range(100)}) == 100
    assert new_text("SELECT 1") != new_text("SELECT 1")


@pytest.mark.parametrize("module", [cases, growth, show, texts], ids=lambda m: m.__name__)
def test_examples(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert found.attempted
    assert not found.failed


def test_a_child_counts() -> None:
    began = cpu_with_children()
    run_process(["-c", "sum(range(1_000_000))"])
    assert cpu_with_children() > began


def test_a_line_for_each_kind_of_measurement() -> None:
    found = summarise([line(1.0), line(4.0, case="tpch: q2"), line(9.0, case="tpcds: q1"), line(3.0, floor="print")])
    assert [(one.suite, one.floor, one.cases, round(one.mean, 6), one.worst, one.worst_case) for one in found] == [
        ("tpch", "parse", 2, 2.0, 4.0, "q2"),
        ("tpcds", "parse", 1, 9.0, 9.0, "q1"),
        ("tpch", "print", 1, 3.0, 3.0, "q1"),
    ]


def test_thresholds_are_about_what_is_measured() -> None:
    thresholds = load_thresholds()
    assert {one.group for one in thresholds} <= set(GROUPS)
    assert len({one.name for one in thresholds}) == len(thresholds)
    assert all(one.at_most > 0 for one in thresholds)


@pytest.mark.parametrize(
    ("statistic", "at_most", "found", "state"),
    [
        ("mean", 2.0, 2.0, "holds"),
        ("mean", 1.9, 2.0, "missed"),
        ("loss", 2.0, 2.0, "holds"),
        ("worst", 4.0, 4.0, "holds"),
        ("worst", 3.9, 4.0, "missed"),
    ],
)
def test_thresholds_hold_or_are_missed(statistic: str, at_most: float, found: float, state: str) -> None:
    one = Threshold("x", "rewrite", statistic, at_most, cases="tpch: *", what="guard", floor="parse")  # type: ignore[arg-type]
    gain = [line(0.5, case="tpch: q3")] if statistic == "loss" else []
    lines = [
        line(1.0),
        line(8.0 if gain else 4.0, case="tpch: q2"),
        *gain,
        line(99.0, case="tpcds: q1"),
        line(99.0, floor="print"),
    ]
    (verdict,) = check_thresholds(lines, [one])
    assert verdict.found == pytest.approx(found)
    assert verdict.state == state


def test_thresholds_of_growth_and_of_what_was_not_measured() -> None:
    points = [line(1.0, size=10.0), line(10.0, size=100.0), line(1000.0, size=1000.0)]
    grows = Threshold("x", "rewrite", "exponent", 1.5)
    assert check_thresholds(points, [grows])[0].found == pytest.approx(2.0)
    assert check_thresholds(points[:1], [grows])[0].state == "not measured"
    assert check_thresholds([], [grows])[0].state == "not measured"
    peers = Threshold("x", "rewrite", "mean", 0.5, floor="peer *")
    found = check_thresholds([line(0.1, floor="peer a"), line(0.7, floor="peer b")], [peers])
    assert found[0].found == pytest.approx(0.7)


def test_two_runs_are_compared_by_ratio() -> None:
    before = Run({}, [line(2.0), line(5.0, case="gone"), line(1.0, size=10.0)])
    after = Run({}, [line(4.0, floor_cpu=4.0), line(7.0, case="new"), line(1.0, size=10.0)])
    found = compare_runs(before, after)
    assert [(one.case, one.factor) for one in found.changes] == [("tpch: q1", 0.5), ("tpch: q1 10", 1.0)]
    assert (found.only_before, found.only_after) == (1, 1)
    assert found.means()["rewrite", "guard", "parse"] == pytest.approx(0.5**0.5)


def test_the_command_line_runs_checks_compares_and_reports(tmp_path: Path) -> None:
    def invoke(*arguments: str, exit_code: int = 0) -> str:
        done = CliRunner().invoke(main, [*arguments])
        assert done.exit_code == exit_code, done.output
        return done.output

    where = ("--dir", str(tmp_path))
    document = json.loads(invoke("--group", "token", "--rounds", "1", "--json", *where))
    assert {m["group"] for m in document["measurements"]} == {"token"}
    assert "HS256" in invoke("run", "--group", "token", "--rounds", "1", "--every-case", *where)

    file = tmp_path / "made.json"
    series = [line(r, group="growth", case="rows", size=s) for r, s in ((1.0, 10.0), (2.0, 100.0))]
    many = [line(1.0 + n, case=f"tpch: q{n}", what="guard, checked", floor="sqlglot parse") for n in range(1, 6)]
    tail = [line(1.0, group="throughput", case=f"{n}", size=n, checked="9 queries/s") for n in (1.0, 2.0)]
    run = Run({"duckdb": "2"}, [*many, *series, *tail], ["<peer> is not installed"])
    _written(run, file)
    judged = json.loads(invoke("check", str(file), "--json"))
    assert {one["name"]: one["state"] for one in judged}["cold with DuckDB's check, TPC-H"] == "holds"
    slower = tmp_path / "slower.json"
    _written(Run({}, [replace(m, cpu=m.cpu * 3) for m in run.measurements]), slower)
    assert "missed" in invoke("check", str(slower), exit_code=1)
    assert "3.00" in invoke("compare", str(file), str(slower))
    invoke("compare", str(file), str(slower), "--worse", "2", exit_code=1)
    invoke("compare", str(slower), str(file), "--worse", "2")

    report = tmp_path / "report.html"
    invoke("report", str(file), "--output", str(report), *where)
    page = report.read_text(encoding="utf-8")
    assert page.count("<svg") == 4
    assert "&lt;peer&gt; is not installed" in page
    assert "http" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    ).replace("https://matplotlib.org", "")

    file.write_text("[]", encoding="utf-8")
    assert "is no run of this suite" in invoke("check", str(file), exit_code=2)
    assert "there is no peer `nobody`" in invoke("peers", "nobody", exit_code=2)
    assert "superset" in invoke("peers")


ADAPTER = """
from serve import serve

def rewrite(sql, relations):
    if "refuse" in sql:
        raise ValueError(sql)
    return sql if "forget" in sql else f"{sql} WHERE slot = 3"

serve(rewrite)
"""


def test_peers_answer_from_a_process_of_their_own(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(Path(sys.modules["benchmarks.peers"].__file__ or "").with_name("serve.py"), tmp_path)
    (tmp_path / "adapt_slayer.py").write_text(ADAPTER, encoding="utf-8")
    monkeypatch.setattr("benchmarks.peers.HERE", tmp_path)
    peer = Peer("slayer", Path(sys.executable))
    try:
        sample = peer.rewriting("SELECT 1 FROM t", ["t"])
        assert sample is not None
        assert min(sample()) >= 0
        assert peer.rewriting("refuse", ["t"]) is None
        with pytest.raises(WrongAnswer, match="no filter"):
            peer.rewriting("forget", ["t"])
    finally:
        peer.close()
    asked = options(directory)
    with open_peers(asked) as found:
        assert found == []
    assert len(asked.skipped) == len(known_peers())


def test_texts_by_hand_name_everything_in_full() -> None:
    case = Case("", "SELECT * FROM {orders} JOIN {lines l} ON true")
    assert case.sql == "SELECT * FROM orders JOIN lines l ON true"
    assert case.by_hand({"orders": "SELECT * FROM {orders} WHERE a IN (SELECT b FROM {other})"}, "d") == (
        'SELECT * FROM (SELECT * FROM "d".main.orders AS orders WHERE a IN (SELECT b FROM "d".main.other AS other)) '
        'AS orders JOIN "d".main.lines AS l ON true'
    )
