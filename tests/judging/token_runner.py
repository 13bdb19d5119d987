"""Runs the public token corpus through an engine: what is accepted shows its own rows, what is not is rejected.

    python -m tests.judging.token_runner FOLDER

It takes the corpus folder, makes every token with the corpus' own `make_tokens.py` and asks a query with it; the rows
of an accepted token are compared with those that the token's own claims select in plain SQL. Exits with 1 on a fault.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb

from tests.judging.attack_runner import POLICIES
from tests.judging.driver import Driver, Refusal
from tests.judging.oracle import Answer, answer

__all__ = ["main", "run"]

_ASKED = "SELECT id FROM customers ORDER BY id"
# How a token travels is the host application's choice; the library is given its text.
_TRANSPORT = {"query-string"}


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    faults, total = run(parser.parse_args(arguments).folder)
    for fault in faults:
        print(fault)
    print(f"{total - len(faults)} passed, {len(faults)} failed")
    return 1 if faults else 0


def run(folder: Path) -> tuple[list[str], int]:
    """Faults in words, and the number of cases."""
    cases = [json.loads(line) for line in (folder / "tokens.jsonl").read_text(encoding="utf-8").splitlines()]
    cases = [case for case in cases if case["spec"].get("how_sent") not in _TRANSPORT]
    maker = _maker(folder)
    keys = maker.Keys()
    with tempfile.TemporaryDirectory(prefix="rls-tokens-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        database = directory / "warehouse.duckdb"
        with duckdb.connect(str(database)) as connection:
            connection.execute((folder / "schema.sql").read_text(encoding="utf-8"))
        policies = Path(shutil.copytree(POLICIES, directory / "policies"))
        (policies / "k1.pub.pem").write_bytes(keys.pem)
        with Driver(database, policies, token="") as driver, duckdb.connect() as plain:
            plain.execute(f"ATTACH '{database}' AS plain (READ_ONLY)")
            faults = [_judge(case, maker.build(case["spec"], keys), driver, plain) for case in cases]
    return [fault for fault in faults if fault], len(cases)


def _maker(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("make_tokens", folder / "make_tokens.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(folder / "make_tokens.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _judge(case: dict[str, Any], token: str, driver: Driver, plain: duckdb.DuckDBPyConnection) -> str | None:
    outcome = driver.ask(_ASKED, token=token)
    what = f"{case['id']} {case['how']}"
    if isinstance(outcome, Refusal):
        return f"{what}: the query was refused ({outcome.code})"
    if outcome.error is not None:
        if not outcome.error.startswith("token.rejected"):
            return f"{what}: {outcome.error}"
        return None if "reject" in (case["expect"], case.get("also_ok")) else f"{what}: rejected"
    if "accept" not in (case["expect"], case.get("also_ok")):
        return f"{what}: accepted"
    allowed = _rows_of_claims(token, plain)
    return None if outcome.rows == allowed.rows else f"{what}: rows {outcome.rows}, its claims select {allowed.rows}"


def _rows_of_claims(token: str, plain: duckdb.DuckDBPyConnection) -> Answer:
    """The rows that the claims select, taken literally: a list selects by membership, anything else by equality."""
    body = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    tenant, region = claims.get("tenant_id"), claims.get("region")
    regions = [each for each in (region if isinstance(region, list) else [region]) if isinstance(each, str)]
    sql = "SELECT id FROM plain.customers WHERE tenant_id = $1 AND list_contains($2::VARCHAR[], region) ORDER BY id"
    return answer(plain, sql, parameters=[tenant if isinstance(tenant, str) else None, regions])


if __name__ == "__main__":
    sys.exit(main())
