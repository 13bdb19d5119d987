"""What the guard costs on Sail or Apache Spark: TPC-H guarded, as a ratio to the bare query and to the same filters without fences.

    python -m tests.engines.spark.cost [sail|spark] [--scale 0.05] [--figures FILE]

All texts are the server's own SQL, run by its own client on Parquet files; in turns; the best run counts.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import rls
from benchmarks.cases import load_cases
from benchmarks.tpch import build_tpch
from rls.engines.spark.executor import SparkExecutor
from rls.engines.spark.values import places_of
from rls.identity.personas import load_personas
from rls.policy.load import load_policies
from rls.rewrite.templates import Templates
from tests.engines.cost import in_turns, ratios
from tests.engines.spark.cluster import start_cluster
from tests.engines.spark.kit import start, write_parquet
from tests.engines.tpch_site import PERSONAS, POLICIES
from tests.policy.cases import person

__all__ = ["main", "measure"]

_FENCE = re.compile(r" LIMIT 9223372036854775807\b| TABLESAMPLE \(100 PERCENT\) REPEATABLE \(0\)")


def measure(executor: SparkExecutor, directory: Path, scale: float) -> dict[str, Any]:
    """By persona, the ratios of `tests.engines.cost`."""
    identity = rls.load_identity(POLICIES)
    personas = dict(load_personas(POLICIES / "personas.yaml", identity))
    shares = {"last_order": int(6_000_000 * scale / 10), "last_customer": int(150_000 * scale / 10)}
    personas["clustered"] = replace(personas["clustered"], attributes=shares)
    (directory / "identity.yaml").write_text((POLICIES / "identity.yaml").read_text(encoding="utf-8"))
    names = sorted(relation.name for relation in executor.catalog.relations.values())
    (directory / "all.yaml").write_text("\n---\n".join(f"{{relation: {name}, public: true}}" for name in names))
    guarding, showing = (
        Templates(load_policies(str(folder), keys="none"), executor.catalog, target=executor.target)
        for folder in (POLICIES, directory)
    )
    found: dict[str, Any] = {}
    with executor._sessions.take() as session:
        for name in PERSONAS:
            times = {}
            for case in load_cases("tpch/queries"):
                guarded = guarding.guard(case.sql, personas[name], {})
                values = places_of(guarded.binds, guarded.parameters)
                texts = (
                    (guarded.sql, values),
                    (showing.guard(case.sql, person(), {}).sql, {}),
                    (_FENCE.sub("", guarded.sql), values),
                )
                times[case.name] = in_turns([partial(_run, session, text, bound) for text, bound in texts], rounds=3)
                print(name, case.name, *(f"{one:.3f}" for one in times[case.name]), flush=True)
            found[name] = {"bare": ratios(times, 1), "by hand": ratios(times, 2)}
    return found


def _run(session: Any, text: str, values: dict[str, object]) -> None:
    session.sql(text, args=values).toArrow()


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engine", nargs="?", choices=["sail", "spark"], default="sail")
    parser.add_argument("--scale", type=float, default=0.05)
    parser.add_argument("--figures", type=Path)
    options = parser.parse_args(arguments)
    try:
        server = start() if options.engine == "sail" else start_cluster()
    except pytest.skip.Exception as reason:
        print(reason)
        return 0
    try:
        with tempfile.TemporaryDirectory(prefix="rls-cost-") as made:
            files = write_parquet(build_tpch(Path(made), scale=options.scale), Path(made) / "parquet")
            executor = SparkExecutor.open(server.url(files), isolation="thread", name="tpch")
            (Path(made) / "public").mkdir()
            found = measure(executor, Path(made) / "public", options.scale)
            executor.close()
    finally:
        server.stop()
    print(json.dumps(found, indent=1))
    if options.figures:
        known = json.loads(options.figures.read_text(encoding="utf-8")) if options.figures.exists() else {}
        options.figures.write_text(
            json.dumps({**known, "cost": {"scale": options.scale, **found}}, indent=1, ensure_ascii=False) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
