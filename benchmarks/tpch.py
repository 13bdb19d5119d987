"""TPC-H's data in a directory.

Rows come from tpchgen-cli, a port of TPC's own generator, so that joins and selectivities are the specification's.
"""

from __future__ import annotations

import subprocess
import sysconfig
import tempfile
from pathlib import Path

import duckdb

from benchmarks.cases import CASES
from benchmarks.options import Unavailable

__all__ = ["TPCHMissing", "build_tpch"]


class TPCHMissing(Unavailable):
    """There is no generator for the data."""


def build_tpch(directory: Path, *, scale: float) -> Path:
    """The database file, made unless it is there already (scale 1: 6 million lines, half a minute).

    Raises `TPCHMissing` without tpchgen-cli.
    """
    target = directory / f"tpch-{scale:g}.duckdb"
    if target.is_file():
        return target
    command = Path(sysconfig.get_path("scripts")) / "tpchgen-cli"
    if not command.is_file():
        raise TPCHMissing("TPC-H's rows are made by tpchgen-cli: pip install 'rls[bench]'")
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        parquet, made = Path(scratch) / "parquet", Path(scratch) / "tpch.duckdb"
        arguments = ["parquet", "--scale-factor", f"{scale:g}", "--output-dir", str(parquet)]
        subprocess.run([str(command), *arguments], check=True, capture_output=True)
        with duckdb.connect(str(made)) as connection:
            for name in ("tables.sql", "rows.sql"):
                text = (CASES / "tpch" / name).read_text(encoding="utf-8")
                connection.execute(text.replace("{parquet}", str(parquet).replace("'", "''")))
        made.rename(target)
    return target
