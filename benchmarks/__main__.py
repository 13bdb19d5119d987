"""`python -m benchmarks`. Exit codes: 0 ok, 1 a wrong answer or a missed threshold, 2 usage."""

from __future__ import annotations

import sys

from benchmarks.commands import main

if __name__ == "__main__":
    sys.exit(main(prog_name="python -m benchmarks"))
