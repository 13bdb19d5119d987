"""Where clocks go back past midnight, the hours of a zone come down while time goes on, and DuckDB's bounds of them are
wrong. A machine in such a zone answers as one in UTC does, whatever the hidden rows hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ASK = """
import sys
from pathlib import Path
from tests.attacks.kit import opened, token_of
hidden, folder = sys.argv[1], Path(sys.argv[2])
setup = f'''CREATE TABLE c AS SELECT if(i % 2 = 0, 'a', 'b') AS tenant, if(i % 2 = 0, if(i % 4 = 0,
    TIMESTAMPTZ '2010-11-07 02:30:00+00', TIMESTAMPTZ '2010-11-07 02:31:00+00'), {hidden}) AS t FROM range(1000) r(i)'''
with opened(folder, setup, 'relation: c\\npolicies:\\n  - {name: own, using: "tenant = user.tenant"}\\n') as engine:
    found = engine.query(token_of(engine), '''SELECT t::DATE, date_trunc('hour', t)::VARCHAR, count(*)
        FROM c WHERE date_trunc('day', t) = TIMESTAMPTZ '2010-11-07 00:00:00+00' GROUP BY ALL''')
    print(found.rows)
"""
HIDDEN = ["TIMESTAMPTZ '2010-11-07 02:30:30+00'", "TIMESTAMPTZ '2010-11-07 03:29:00+00'"]


@pytest.mark.parametrize("hidden", HIDDEN, ids=["between", "after"])
def test_the_machines_zone_decides_nothing(hidden: str, tmp_path: Path) -> None:
    told = {**os.environ, "TZ": "America/St_Johns"}
    command = [sys.executable, "-c", ASK, hidden, str(tmp_path)]
    found = subprocess.run(command, check=False, env=told, capture_output=True, text=True, timeout=120)
    assert found.stdout.strip() == "[(datetime.date(2010, 11, 7), '2010-11-07 02:00:00+00', 500)]", found.stderr[-2000:]
