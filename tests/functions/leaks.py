"""Asks of a function that raises whether it raises for rows that a fenced guard has already removed.

Two ways were found in DuckDB 2.0 that no fence stops. A function not marked as fallible, with one argument that is no
constant, is run once over all values of a vector or of a compressed dictionary, whichever rows were selected. And some
functions are run on a column's minimum and maximum to derive statistics. `leak` looks for both, with the function's own
extremes: a visible row on which the call succeeds, hidden rows on which it does not.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence

from tests.functions.extremes import EXTREMES, TYPE_NUMBER
from tests.functions.worker import Worker

CONSTANTS = 5
VISIBLE = 3


def leaks(worker: Worker, template: str, types: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(query, message) for each argument position and channel that leaks; `template` has `{}` per argument."""
    for position, type_name in enumerate(types):
        if type_name not in EXTREMES:
            continue
        for constants in _constants(types, position):
            arguments = [*constants[:position], "o.v", *constants[position:]]
            yield from _leaks(worker, template.format(*arguments), type_name)


def _constants(types: Sequence[str], position: int) -> list[tuple[str, ...]]:
    others = [
        [f"CAST({value} AS {name})" for value in EXTREMES[name]] if name in EXTREMES else [name]
        for name in (*types[:position], *types[position + 1 :])
    ]
    product = list(itertools.islice(itertools.product(*others), 2000))
    return product if len(product) <= CONSTANTS else random.Random(position).sample(product, CONSTANTS)


def _leaks(worker: Worker, expression: str, type_name: str) -> Iterator[tuple[str, str]]:
    number = TYPE_NUMBER[type_name]
    values = [f"CAST({value} AS {type_name})" for value in EXTREMES[type_name]]
    if worker.ask(_query(expression, f"x{number}"))[0] != "raises":
        return
    outcomes = [worker.ask(_query(expression, f"d.x{number}_{row}"))[0] for row in range(len(values))]
    good = [row for row, outcome in enumerate(outcomes) if outcome == "ok"][:VISIBLE]
    bad = [row for row, outcome in enumerate(outcomes) if outcome == "raises"]
    for visible in good:
        sources = [f"d.x{number}"]
        for hidden in bad:
            pair = f"pair{number}_{visible}_{hidden}"
            worker.ask(
                f"CREATE TEMP TABLE IF NOT EXISTS {pair} AS "
                f"SELECT {visible} AS id, {values[visible]} AS v UNION ALL SELECT {hidden}, {values[hidden]}"
            )
            sources.append(pair)
        for source in sources:
            query = _query(expression, f"(SELECT * FROM {source} WHERE id = {visible} OFFSET 0)")
            outcome, message = worker.ask(query)
            if outcome != "ok":
                yield query, message
                return


def _query(expression: str, source: str) -> str:
    return f"SELECT bit_xor(hash({expression})) FROM {source} AS o"
