"""TPC-H's data and queries, a tenth of it visible, in a directory.

Rows come from tpchgen-cli, a port of TPC's own generator, so that joins and selectivities are the specification's.
"""

from __future__ import annotations

import re
import subprocess
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path

import duckdb

from benchmarks.cases import CASES

__all__ = ["POLICIES", "TPCHMissing", "as_written", "build_tpch", "by_hand"]

POLICIES = CASES / "tpch" / "policies"
_RELATION = re.compile(r"\{(\w+)(?: (\w+))?\}")


class TPCHMissing(Exception):
    """There is no generator for the data."""


def as_written(text: str) -> str:
    """A case's text as a caller writes it.

    >>> as_written("SELECT * FROM {orders o}, {nation}")
    'SELECT * FROM orders o, nation'
    """
    return _RELATION.sub(lambda m: " ".join(filter(None, m.groups())), text)


def by_hand(text: str, predicates: Mapping[str, str], database: str) -> str:
    """A case's text with sub-queries for the relations that have a predicate, and all names in full.

    >>> print(by_hand("SELECT * FROM {orders o}, {nation}", {"orders": "id < 7"}, "data"))
    SELECT * FROM (SELECT * FROM "data".main.orders WHERE id < 7) AS o, "data".main.nation AS nation
    """

    def full(name: str) -> str:
        return f'"{database}".main.{name}'

    def written(found: re.Match[str]) -> str:
        name, alias = found.group(1), found.group(2) or found.group(1)
        if name not in predicates:
            return f"{full(name)} AS {alias}"
        predicate = _RELATION.sub(lambda m: full(m.group(1)), predicates[name])
        return f"(SELECT * FROM {full(name)} WHERE {predicate}) AS {alias}"

    return _RELATION.sub(written, text)


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
