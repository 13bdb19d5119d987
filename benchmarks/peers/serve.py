"""The peer's side: questions on standard input, answers on standard output. Needs nothing but Python."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable


def serve(rewrite: Callable[[str, list[str]], str]) -> None:
    """Answer until the input ends; times are of the rewrite alone."""
    for line in sys.stdin:
        question = json.loads(line)
        began, started = time.process_time(), time.perf_counter()
        try:
            text = rewrite(question["sql"], question["relations"])
        except Exception as error:  # noqa: BLE001 (whatever a peer says no with)
            answer: dict[str, object] = {"error": type(error).__name__}
        else:
            ended, stopped = time.process_time(), time.perf_counter()
            answer = {"sql": text, "cpu": (ended - began) * 1000, "wall": (stopped - started) * 1000}
        print(json.dumps(answer), flush=True)
