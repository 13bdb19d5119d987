"""The golden queries on another engine than DuckDB: an outcome for each of them and each persona.

The oracle is what it is for DuckDB, on the same tables without the columns that the other engine has no type for; what
reads those is refused there.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import duckdb

from tests.judging.driver import Driver, sign
from tests.judging.judge import Outcome, Server, compare
from tests.judging.oracle import ORDERS, Answer, answer, build, reduce_database
from tests.rewrite.test_goldens import GOLDEN, PERSONAS, records, rule_of, with_values

__all__ = ["golden_outcomes"]


def golden_outcomes(server: Server, directory: Path, personas: Collection[str] = ()) -> Iterator[Outcome]:
    """Every golden query as every persona, or as those that are named."""
    (directory / "engine").mkdir()
    database = build(directory / "engine" / "warehouse.duckdb", [(GOLDEN / "schema.sql").read_text(encoding="utf-8")])
    server.strip(database)
    policies = Path(shutil.copytree(GOLDEN / "policies", directory / "policies"))
    secret, now = (policies / "secret.txt").read_text(encoding="utf-8"), int(time.time())
    base = {"iss": "https://golden.test", "aud": "rls-golden", "iat": now, "exp": now + 3000}
    url = server.load(database)
    with Driver(url, policies, token="", name="warehouse", audit=directory / "audit.jsonl") as driver:
        for name, persona in PERSONAS.items():
            if personas and name not in personas:
                continue
            token = sign(base | persona["claims"], secret)
            copies = _copies(database, persona["rules"], directory / name)
            for record in records("legal.jsonl"):
                asked = with_values(record["sql"], persona["claims"]["attributes"])
                expected, again = answer(copies["kept"], asked), answer(copies["kept"], asked)
                actual = driver.ask(record["sql"], token=token)
                status, code, detail = compare(
                    expected,
                    again,
                    actual,
                    copies["kept"],
                    asked,
                    reason=None,
                    others=lambda copies=copies, asked=asked: _stored_otherwise(copies, asked),
                )
                if status == "both fail":
                    # Every golden query is legal: what fails here asks for what the engine has no type for.
                    status, code = "refused", "what the engine cannot store"
                yield Outcome("goldens", record["id"], name, status, record["sql"], code, detail)
            for copy in copies.values():
                copy.close()


def _copies(database: Path, rules: dict[str, Any], directory: Path) -> dict[str, duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(database), read_only=True) as connection:
        found = {
            (schema, table)
            for schema, table in connection.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall()
        }
    made = {}
    known = {tuple(path.split(".")): rule_of(rule) for path, rule in rules.items()}
    for order in ORDERS:
        (directory / order).mkdir(parents=True)
        target = directory / order / "warehouse.duckdb"
        kept = {path: rule for path, rule in known.items() if path in found}
        made[order] = duckdb.connect(str(reduce_database(database, kept, target=target, order=order)), read_only=True)
    return made


def _stored_otherwise(copies: dict[str, duckdb.DuckDBPyConnection], sql: str) -> Iterator[Answer]:
    return (answer(copies[order], sql) for order in ORDERS if order != "kept")
