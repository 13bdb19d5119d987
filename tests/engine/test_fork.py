"""An engine belongs to the process that opened it: a fork's child is told so, and disturbs nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rls.engines.limits import Limits
from tests.engine.kit import WAREHOUSE, build, write_policies

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

LEAK_REPORT = re.compile("nanobind: | - (leaked|\\.\\.\\.) |See https")
# Prints what each process gets, one JSON document a line, and ends as programs do, so that what is to be closed at the
# end is closed.
SCRIPT = """
import json, os, sys
import rls
from tests.engine.test_engine import token

place, isolation = sys.argv[1:]
SQL = "SELECT count(*) FROM orders"

def opened(log):
    return rls.Engine.open(place + "/w.duckdb", policies=place + "/policies", audit=place + "/" + log, isolation=isolation)

def asked(engine, work):
    try:
        return work(engine)
    except rls.RlsError as error:
        return f"{type(error).__name__} {error.code}"

def say(who, found):
    print(json.dumps([who, found]), flush=True)

engine = opened("log")
token = token(engine)
query = lambda engine: engine.query(token, SQL).rows[0][0]
session = engine.session(token)
workers = lambda: sorted(worker.pid for worker in getattr(engine._executor, "_workers", ()))
before = workers()
say("before", asked(engine, query))
if os.fork() == 0:
    say("child", [
        asked(engine, query),
        asked(engine, lambda _: session.query(SQL).rows),
        asked(engine, lambda engine: engine.guard(token, SQL).sql),
        asked(engine, lambda engine: str(engine.explain(token, SQL))),
    ])
    with opened("log") as own:
        say("child's own", asked(own, query))
    engine.close()
    sys.exit()
os.wait()
say("parent", asked(engine, query))
say("same workers", before == workers())
engine.close()
say("closed", asked(engine, query))
"""


@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_a_forked_child_opens_an_engine_of_its_own(tmp_path: Path, isolation: str) -> None:
    build(tmp_path / "w.duckdb", WAREHOUSE)
    write_policies(tmp_path / "policies")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), isolation], capture_output=True, text=True, check=False
    )
    said: dict[str, Any] = dict(map(json.loads, done.stdout.splitlines()))
    # An instance of DuckDB in this process cannot be closed in a child; its bindings say so at the child's end.
    assert not [line for line in done.stderr.splitlines() if isolation == "process" or not LEAK_REPORT.match(line)]
    assert said.pop("child") == ["EngineInvalid engine.forked"] * 4
    count = said["before"]
    assert isinstance(count, int)
    assert said == {
        "before": count,
        "child's own": count,
        "parent": count,
        "same workers": True,
        "closed": "EngineInvalid engine.closed",
    }
    assert done.returncode == 0
    outcomes = [
        json.loads(line)["outcome"]
        for file in sorted((tmp_path / "log").glob("*.jsonl"))
        for line in file.read_text().splitlines()
        if "outcome" in line
    ]
    assert sorted(outcomes) == ["allowed"] * 4 + ["failed"] * 5


ORPHANS = """
import os, sys, time
import rls

place = sys.argv[1]
engine = rls.Engine.open(place + "/w.duckdb", policies=place + "/policies", audit=place + "/log")
workers, parent = [worker.pid for worker in engine._executor._workers], os.getpid()
if os.fork():
    os._exit(0)
while os.getppid() == parent or any(os.path.exists(f"/proc/{pid}/stat") for pid in workers):
    time.sleep(0.01)
print("ended", len(workers))
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")
def test_worker_processes_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    """A child that lives on has no hold on them."""
    build(tmp_path / "w.duckdb", WAREHOUSE)
    write_policies(tmp_path / "policies")
    done = subprocess.run(
        [sys.executable, "-c", ORPHANS, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.stdout.strip(), done.stderr) == (f"ended {Limits().processes}", "")
