"""Apache Spark itself, for the slow run: a standalone master, workers and a Connect server on loopback.

    SPARK_HOME=… python -m tests.engines.spark.cluster [suite|attacks|fuzz|witness|measure ...] [--rows N ...] [--workers N ...]
                                               [--directory DIR] [--json FILE]

SPARK_HOME is an unpacked Spark 4.2, or `pyspark` in a directory of its own (`pip install --target DIR pyspark==4.2.0`; beside
the light client of the tests it would be in its way). Java 17 or newer is needed. `measure` makes a table of events
(`--directory` keeps it), and tells what guarded queries take beside bare ones, by rows and by workers.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest

import rls
from tests.engine.kit import write_policies
from tests.engines.spark.kit import SailServer, Server, free_port, start, wait_for

__all__ = ["ClusterServer", "main", "start_cluster"]

POLICIES = """
relation: events
policies:
  - {name: own_tenant, as: restrictive, using: tenant_id = user.tenant OR user.tenant = 'all'}
  - {name: real_events, using: duration_ms >= 0}
"""
WAYS = ("bare", "all", "tenant")
# By name: what is asked, and the same in Spark's SQL. The last one may raise, so its guard has a fence.
QUERIES = {
    "count": ("SELECT count(*) AS n FROM events", "SELECT count(*) AS n FROM events"),
    "group": (
        "SELECT region, count(*) AS n, sum(revenue) AS s, max(event_date) AS m FROM events GROUP BY region",
        "SELECT region, count(*) AS n, sum(revenue) AS s, max(event_date) AS m FROM events GROUP BY region",
    ),
    "month": (
        "SELECT date_trunc('month', event_date) AS m, type, avg(score) AS a FROM events "
        "WHERE event_date >= '2024-07-01' GROUP BY ALL",
        "SELECT date_trunc('MONTH', event_date) AS m, type, avg(score) AS a FROM events "
        "WHERE event_date >= '2024-07-01' GROUP BY 1, 2",
    ),
    "users": (
        "SELECT tenant_id, count(DISTINCT user_id) AS n FROM events GROUP BY tenant_id",
        "SELECT tenant_id, count(DISTINCT user_id) AS n FROM events GROUP BY tenant_id",
    ),
    "fenced": (
        "SELECT region, max(duration_ms * 2 + user_id) AS m FROM events WHERE duration_ms * 2 > 1000 GROUP BY region",
        "SELECT region, max(duration_ms * 2 + user_id) AS m FROM events WHERE duration_ms * 2 > 1000 GROUP BY region",
    ),
}


class ClusterServer(SailServer):
    """Apache Spark as the judges see it (`tests.judging.judge.Server`)."""

    def begin(self) -> Server:
        """The server to be asked."""
        return start_cluster()


class Cluster(Server):
    """A Connect server with the master and the workers behind it."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], others: list[subprocess.Popen[bytes]]) -> None:
        super().__init__(port, process)
        self.others = others

    def stop(self) -> None:
        """End all of them."""
        super().stop()
        for one in self.others:
            Server(0, one).stop()


def start_cluster(workers: int = 2) -> Cluster:
    """A master, workers of one core each, and a Connect server. Skips where there is no Spark or no Java."""
    home = os.environ.get("SPARK_HOME")
    if not home or not (Path(home) / "bin" / "spark-class").exists():
        pytest.skip("no Apache Spark: set SPARK_HOME")
    if shutil.which("java") is None:
        pytest.skip("no Java: apt-get install openjdk-17-jre-headless")
    scratch = tempfile.mkdtemp(prefix="rls-spark-")
    master, others = free_port(), []
    url = f"spark://127.0.0.1:{master}"
    try:
        arguments = ["--host", "127.0.0.1", "--port", str(master), "--webui-port", str(free_port())]
        others.append(_launch(home, scratch, "spark-class", "org.apache.spark.deploy.master.Master", *arguments))
        wait_for(master, others[0])
        for _ in range(workers):
            arguments = ["--cores", "1", "--memory", "3g", "--webui-port", str(free_port()), "-d", scratch, url]
            others.append(_launch(home, scratch, "spark-class", "org.apache.spark.deploy.worker.Worker", *arguments))
        port = free_port()
        settings = {
            "spark.executor.memory": "2g", "spark.driver.memory": "2g", "spark.ui.enabled": "false",
            "spark.connect.grpc.binding.port": str(port), "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.sql.shuffle.partitions": "8", "spark.sql.warehouse.dir": f"{scratch}/warehouse",
            "spark.driver.host": "127.0.0.1",
        }  # fmt: skip
        options = [one for key, value in settings.items() for one in ("--conf", f"{key}={value}")]
        connect = "org.apache.spark.sql.connect.service.SparkConnectServer"
        process = _launch(
            home, scratch, "spark-submit", "--class", connect, "--master", url, *options, "spark-internal"
        )
        wait_for(port, process, 120.0)
    except BaseException:
        for one in others:
            Server(0, one).stop()
        raise
    return Cluster(port, process, others)


def _launch(home: str, scratch: str, program: str, *arguments: str) -> subprocess.Popen[bytes]:
    with (Path(scratch) / "log").open("ab") as log:
        return subprocess.Popen(
            [str(Path(home) / "bin" / program), *arguments],
            stdout=log,
            stderr=log,
            cwd=scratch,
            env={**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": home},
            start_new_session=True,
        )


def make_events(rows: int, directory: Path) -> Path:
    """A directory with the relation `events` of so many rows, made where there is none yet."""
    target = directory / f"{rows}" / "events.parquet"
    if target.exists():
        return target.parent
    unfinished = directory / f"{rows}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with duckdb.connect(config={"memory_limit": "4GB", "threads": 2, "preserve_insertion_order": False}) as connection:
        connection.execute(
            f"""COPY (
                SELECT i AS id, 'tenant-' || (hash(i * 7) % 20)::VARCHAR AS tenant_id,
                    ['EMEA', 'AMER', 'APAC', 'LATAM'][1 + (hash(i * 3) % 4)::INTEGER] AS region,
                    DATE '2024-01-01' + (i * 730 // {rows})::INTEGER AS event_date,
                    ['view', 'click', 'buy', 'return'][1 + (hash(i * 5) % 4)::INTEGER] AS type,
                    (hash(i) % 1000000)::INTEGER AS user_id,
                    ((hash(i * 11) % 100000) / 100)::DECIMAL(12, 2) AS revenue,
                    (hash(i * 13) % 60000)::INTEGER AS duration_ms, hash(i * 17) / 18446744073709551615.0 AS score
                FROM range({rows}) t(i)
            ) TO '{unfinished / "events.parquet"}' (FORMAT parquet, FILE_SIZE_BYTES '128MB', COMPRESSION zstd)"""
        )
    unfinished.rename(target.parent)
    return target.parent


def measure(
    server: Server, directory: Path, queries: Sequence[str], *, rounds: int, ways: Sequence[str] = WAYS
) -> dict[str, dict[str, float]]:
    """Seconds by query: the least of some rounds, guarded for who sees everything (`all`), guarded for one tenant in
    twenty (`tenant`), and bare; in turns, so that all have the same company on the machine."""
    from pyspark.sql.connect.session import SparkSession

    session = SparkSession.builder.remote(f"sc://127.0.0.1:{server.port}").create()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    session.read.parquet(str(directory / "events.parquet")).createOrReplaceTempView("events")
    with tempfile.TemporaryDirectory(prefix="rls-measure-") as made:
        policies = write_policies(Path(made) / "policies", POLICIES)
        limits = rls.Limits(seconds=600)
        with rls.Engine.open(
            server.url(directory), policies=policies, audit=lambda _: None, limits=limits, name="big"
        ) as engine:
            identity = rls.load_identity(policies)

            def ask(sql: str, tenant: str) -> Any:
                # A token of its own, which no slow machine outlives.
                token = rls.mint_token(identity, subject="eve", roles=["maker"], attributes={"tenant": tenant})
                return engine.query(token, sql, fetch="arrow").to_arrow()

            figures = {}
            for name in queries:
                asked, bare = QUERIES[name]
                asking: dict[str, Callable[[], Any]] = {
                    "bare": partial(_bare, session, bare),
                    "all": partial(ask, asked, "all"),
                    "tenant": partial(ask, asked, "tenant-3"),
                }
                figures[name] = _least({way: asking[way] for way in WAYS if way in ways}, rounds)
                shown = "  ".join(f"{key} {value:.3f}" for key, value in figures[name].items())
                print(f"{directory.name:>11} rows  {name:<7} {shown}", flush=True)
    session.client.close()
    return figures


def _bare(session: Any, sql: str) -> Any:
    return session.sql(sql).toArrow()


def _least(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {way: [] for way in ways}
    counts = {}
    for number in range(rounds + 1):
        for way, ask in ways.items():
            started = time.perf_counter()
            counts[way] = ask().num_rows
            if number:  # the first one warms up
                times[way].append(time.perf_counter() - started)
    found = {way: min(some) for way, some in times.items()}
    if not {"all", "bare"} <= ways.keys():
        return found
    if counts["all"] != counts["bare"]:
        raise RuntimeError(f"not the same answer: {counts}")
    found["ratio"] = found["all"] / found["bare"]
    found["ratio_of_medians"] = statistics.median(times["all"]) / statistics.median(times["bare"])
    return found


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    stages = ["suite", "attacks", "fuzz", "witness", "measure"]
    parser.add_argument("stages", nargs="*", choices=[*stages, []], default=[])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000, 100_000_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--queries", nargs="+", choices=list(QUERIES), default=list(QUERIES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--sail", action="store_true", help="measure Sail instead")
    parser.add_argument("--directory", type=Path, help="where tables of events are kept")
    parser.add_argument("--minutes", type=float, default=5.0, help="time for each set of the suite and the fuzzer")
    parser.add_argument("--json", type=Path, help="write what was measured here")
    options = parser.parse_args(arguments)
    failed = 0
    for stage in options.stages or stages:
        print(f"=== {stage}", flush=True)
        match stage:
            case "suite":
                from tests.engines.suite import main as suite

                failed += suite(["spark", "goldens", "tpch", "--minutes", str(options.minutes)])
            case "attacks":
                from tests.engines.attacks import main as attacks

                root = Path(os.environ.get("RLS_SHARED", "shared"))
                failed += attacks(["spark", str(root / "attacks")])
            case "fuzz":
                from tests.engines.fuzz import main as fuzz

                failed += fuzz(["spark", "--minutes", str(options.minutes)])
            case "witness":
                environment = {**os.environ, "RLS_SPARK": "spark"}
                files = [f"tests/engines/spark/test_{one}.py" for one in ("fences", "witness", "catalog")]
                command = [sys.executable, "-m", "pytest", "-q", *files]
                failed += subprocess.run(command, env=environment, check=False).returncode
            case _:
                failed += _measure_all(options)
    return 1 if failed else 0


def _measure_all(options: argparse.Namespace) -> int:
    found = {}
    with tempfile.TemporaryDirectory(prefix="rls-events-") as made:
        directory = options.directory or Path(made)
        for workers in options.workers:
            try:
                server = start() if options.sail else start_cluster(workers)
            except pytest.skip.Exception as reason:
                print(reason)
                return 0
            try:
                for rows in options.rows:
                    print(f"{workers} workers")
                    events = make_events(rows, directory)
                    found[f"{workers} workers, {rows} rows"] = measure(
                        server, events, options.queries, rounds=options.rounds, ways=options.ways
                    )
                    if options.json:
                        options.json.write_text(json.dumps(found, indent=1) + "\n")
            finally:
                server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
