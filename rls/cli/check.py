"""`rls check`: a policy directory and a database → findings, each at its place in a file. Reads the catalog, no row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rls.cli.options import database_option, json_option

if TYPE_CHECKING:
    from rls.policy.findings import Finding

__all__ = ["check"]

FOUND = 1


@click.command()
@click.argument("policies", metavar="DIR", type=click.Path(path_type=Path), envvar="RLS_POLICIES")
@database_option
@click.option("--strict", is_flag=True, help="Warnings are findings too (exit code 1).")
@click.option("--keys", is_flag=True, help="Load the issuers' keys as well, as the engine does.")
@json_option
def check(*, policies: Path, database: Path | str, strict: bool, keys: bool, as_json: bool) -> int:
    """Check policies, suites and settings against a database.

    Exit code 1 if there are errors, 3 if a file of DIR cannot be read as policies at all. Warnings are shown and
    accepted.
    """
    from rls.audit.settings import load_settings, read_audit_file
    from rls.cli.failures import pointing_into_file
    from rls.cli.opening import open_catalog
    from rls.lab.prove.invariants import check_invariants
    from rls.lab.suites.reader import read_suites
    from rls.policy.check import check_policies
    from rls.policy.load import load_policies, policy_files

    with pointing_into_file():
        rules = load_policies(policies, keys="load" if keys else "none")
        read_suites(policies, rules.identity)
        if keys:
            load_settings(policies)
        else:
            read_audit_file(policies)
        catalog = open_catalog(database)
        check_invariants(rules, catalog)
    findings = check_policies(rules, catalog)
    errors = sum(f.severity == "error" for f in findings)
    warnings = len(findings) - errors
    if as_json:
        from rls.cli.as_json import dump_json

        versions = {"policy_version": rules.version, "catalog_version": catalog.version}
        found = [f.to_dict() for f in findings]
        click.echo(dump_json({"errors": errors, "warnings": warnings, "findings": found, **versions}))
    else:
        tables = sum(r.kind == "table" for r in catalog.relations.values())
        show(findings, files=len(policy_files(policies)), tables=tables)
    return FOUND if errors or (strict and warnings) else 0


def show(findings: list[Finding], *, files: int, tables: int) -> None:
    """The findings on the terminal, each with its line of the file, and a summary."""
    from rls.cli import render
    from rls.cli.failures import file_excerpt

    out = render.console()
    for finding in findings:
        # A finding on a whole directory (a table that nobody decided on) has no line.
        place = (
            _shown(finding.file) if Path(finding.file).is_dir() else f"{finding.file}:{finding.line}:{finding.column}"
        )
        out.print(
            render.styled((place, "place"), " ", (finding.severity, finding.severity), " ", (finding.code, "code")),
            soft_wrap=True,
        )
        message = f"{finding.message}; {finding.hint}" if finding.hint else finding.message
        out.print(render.indented(render.styled(message)))
        excerpt = file_excerpt(finding.file, finding.line, finding.column)
        if excerpt:
            out.print(render.indented(render.styled((excerpt[0], "note"), "\n", (excerpt[1], finding.severity)), 4))
    errors = sum(f.severity == "error" for f in findings)
    scope = (f"  ({_count(files, 'file')}, {_count(tables, 'table')})", "note")
    if not findings:
        out.print(render.styled(("nothing to report", "good"), scope))
        return
    out.print()
    told = (_count(errors, "error"), "error" if errors else "good")
    out.print(render.styled(told, ", ", (_count(len(findings) - errors, "warning"), "warning"), scope))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _shown(directory: str) -> str:
    """A directory as seen from here, where it is below."""
    path = Path(directory)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else directory
