"""The command line: one file per command, all of them thin over the library's own calls.

Nothing here decides who sees what. `app` finds commands without importing them, `failures` turns errors into one line
and an exit code, `render` is the only place that imports rich.
"""

from rls.cli.app import main, run

__all__ = ["main", "run"]
