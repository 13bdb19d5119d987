"""Arguments → exit code. Takes what stands after `rls`, runs one command and returns how it ended.

A command's module is imported when that command runs, never for `rls --help`: the table below holds the help lines.
Owns the exit codes: 0 ok, 1 findings, 2 usage, 3 policy invalid, 4 token rejected, 5 query refused, 6 engine,
7 a widening that nobody acknowledged.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

import rls

__all__ = ["COMMANDS", "LazyGroup", "cli", "main", "run"]

# name → (where the command is, its line in `rls --help`)
COMMANDS = {
    "demo": ("rls.cli.demo:demo", "See it work: a warehouse, three people, five questions, two attacks."),
    "init": ("rls.cli.init:init", "Write a first policy directory for a database."),
    "check": ("rls.cli.check:check", "Check a policy directory against a database."),
    "seed": ("rls.cli.seed:seed", "Write a first suite: rows and personas that meet every part of the policies."),
    "test": ("rls.cli.test:test", "Run the suites (*.test.yaml) of a policy directory."),
    "matrix": ("rls.cli.matrix:matrix", "Show how many rows of every table each persona sees, and why none."),
    "coverage": ("rls.cli.coverage:coverage", "Measure which parts of the policies the suites have met."),
    "mutate": ("rls.cli.mutate:mutate", "Change the policies in small ways and see whether the suites notice."),
    "prove": ("rls.cli.prove:prove", "Prove statements about all rows and all principals, not just samples."),
    "diff": ("rls.cli.diff:diff", "Compare what personas see under two sets of policies, on the rows of a database."),
    "leaks": (
        "rls.cli.leaks:leaks",
        "Look for leaks: change hidden rows only, and see whether anything visible changes.",
    ),
    "record": ("rls.cli.record:record", "Make a regression test of an audit record."),
    "import": ("rls.cli.importing:import_command", "Turn another system's row rules into a policy file."),
    "export": ("rls.cli.exporting:export", "Write policies for PostgreSQL, or a document of who sees what."),
    "explain": ("rls.cli.explain:explain", "Show what a query becomes for a persona, and why; reads no data."),
    "why": ("rls.cli.why:why", "Tell why a row is visible or not, or where the rows of a query go."),
    "bench": ("rls.cli.bench:bench", "Measure what guarding costs a query of yours, beside the query as it is."),
    "query": ("rls.cli.query:query", "Run a query as the holder of a token."),
    "schema": ("rls.cli.schema:schema", "JSON Schemas of the YAML files, so that editors complete and check them."),
    "audit": ("rls.cli.audit:audit", "Read, verify, export and replay the audit log."),
    "token": ("rls.cli.token:token", "Mint, verify, inspect and revoke tokens; make and exchange their keys."),
}

DEFECT = 6


class LazyGroup(click.Group):
    """A group whose commands are imported when one is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"the commands are {', '.join(COMMANDS)}"
            raise click.UsageError(f"there is no command `{args[0]}`; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(rls.__version__, message="rls %(version)s")
def cli() -> None:
    """Row-level security for analytics SQL: a signed token and a query go in, an answer that holds only what that user
    may see comes out.

    Every command takes --json. Exit codes: 0 ok, 1 findings, 2 usage, 3 policy invalid, 4 token rejected, 5 query
    refused, 6 engine or audit, 7 a widening that nobody acknowledged.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code, prints errors as one line (or as JSON under `--json`)."""
    from rls.errors import RlsError

    as_json = "--json" in arguments
    try:
        # Commands return their exit code, or None for 0; click itself returns codes for --help and --version.
        outcome: Any = cli.main(list(arguments) or ["--help"], prog_name="rls", standalone_mode=False)
        return outcome if isinstance(outcome, int) else 0
    except click.ClickException as error:
        from rls.cli.failures import report_usage

        return report_usage(error, as_json=as_json)
    except RlsError as error:
        from rls.cli.failures import report

        return report(error, as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        # `rls query … | head`: the reader has enough. What Python still holds for it goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        if os.environ.get("RLS_TRACEBACK"):
            raise
        from rls.cli.failures import report_defect

        report_defect(as_json=as_json)
        return DEFECT


def main() -> NoReturn:
    """The `rls` script."""
    sys.exit(run(sys.argv[1:]))
