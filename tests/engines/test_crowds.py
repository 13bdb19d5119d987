"""However many hidden rows there are, an answer is the same answer; that there is one is not promised, and README says so.

How often there is none: `python -m tests.engines.crowds`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engines.crowds import Crowds, draw


@pytest.fixture(scope="module", params=["duckdb", "postgres"])
def crowds(request: Any) -> Iterator[Crowds]:
    with Crowds(request.param) as made:
        yield made


def test_answers_do_not_depend_on_how_many_rows_are_hidden(crowds: Crowds) -> None:
    found: Counter[str] = Counter()
    for number in range(60):
        sql = draw(f"test/{number}")
        verdict, told = crowds.ask(sql)
        assert verdict not in ("other rows", "refused"), (sql, told)
        found[verdict] += 1
    # They are worth asking: both come.
    assert found["same rows"] > 5
    assert found["same error"] > 5
