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

__all__ = ["COMMANDS", "GROUPS", "LazyGroup", "cli", "main", "run"]

# title → name → (where the command is, its line in `rls --help`)
GROUPS = {
    "Begin": {
        "demo": ("rls.cli.demo:demo", "See it work: three people, five questions, two attacks."),
        "init": ("rls.cli.init:init", "Write a first policy directory for a database."),
        "import": ("rls.cli.importing:import_command", "Turn another system's row rules into a policy file."),
        "schema": ("rls.cli.schema:schema", "JSON Schemas of the YAML files, for editors."),
    },
    "Test policies": {
        "check": ("rls.cli.check:check", "Check policies, suites and settings against a database."),
        "seed": ("rls.cli.seed:seed", "Write a suite that meets every part of the policies."),
        "test": ("rls.cli.test:test", "Run suites (*.test.yaml) and invariants of a directory."),
        "coverage": ("rls.cli.coverage:coverage", "Measure which parts of the policies the suites met."),
        "mutate": ("rls.cli.mutate:mutate", "Change policies a little: do the suites notice?"),
        "prove": ("rls.cli.prove:prove", "Prove statements about all rows and all principals."),
        "leaks": ("rls.cli.leaks:leaks", "Change hidden rows only: does anything visible change?"),
        "record": ("rls.cli.record:record", "Make a regression test of an audit record."),
    },
    "See what they do": {
        "matrix": ("rls.cli.matrix:matrix", "Rows of every table that each persona sees; why none."),
        "why": ("rls.cli.why:why", "Why a row is visible or not; where a query's rows go."),
        "explain": ("rls.cli.explain:explain", "What a query becomes for a persona; reads no row."),
        "diff": ("rls.cli.diff:diff", "Who sees more or less under two sets of policies."),
        "export": ("rls.cli.exporting:export", "Policies for PostgreSQL; documents of who sees what."),
    },
    "Run": {
        "query": ("rls.cli.query:query", "Run a query as the holder of a token."),
        "token": ("rls.cli.token:token", "Mint, verify, inspect and revoke tokens; their keys."),
        "audit": ("rls.cli.audit:audit", "Read, verify, export and replay the audit log."),
        "bench": ("rls.cli.bench:bench", "Measure what guarding costs a query of yours."),
    },
}
COMMANDS = {name: told for group in GROUPS.values() for name, told in group.items()}

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
        for title, commands in GROUPS.items():
            with formatter.section(title):
                # As wide in every group, so that the lines stand below each other.
                formatter.write_dl([(f"{name:<8}", line) for name, (_, line) in commands.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(rls.__version__, message="rls %(version)s")
def cli() -> None:
    """Row-level security for analytics SQL: a signed token and a query go in, an answer that holds only what that user
    may see comes out.

    Every command takes --json; `rls COMMAND --help` tells more. Exit codes: 0 ok, 1 findings, 2 usage, 3 policy
    invalid, 4 token rejected, 5 query refused, 6 engine or audit, 7 a widening that nobody acknowledged.
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
