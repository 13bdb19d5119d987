"""`rls test`: suites beside the policies → what passes and what does not, on the terminal and as files for CI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rls.cli.options import json_option, live_option, write_text

if TYPE_CHECKING:
    from rls.lab.suites.run import Filters, Run

__all__ = ["policies_of", "test"]

FOUND = 1


@click.command()
@click.argument("path", metavar="[DIR | SUITE]", type=click.Path(path_type=Path), envvar="RLS_POLICIES")
@live_option
@click.option("-k", "words", multiple=True, metavar="TEXT", help="Only cases with this in their name; repeatable.")
@click.option("--persona", metavar="NAME", help="Only this persona; `*` stands for anything.")
@click.option("--relation", metavar="NAME", help="Only this relation; `*` stands for anything.")
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1, 64), help="Cases that run at once.")
@click.option("--watch", is_flag=True, help="Run again whenever a file changes, until Ctrl-C.")
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write JUnit XML.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write one HTML page.")
@click.option("--github", is_flag=True, help="Print annotations for GitHub Actions.")
@click.option("-v", "--verbose", is_flag=True, help="List every case.")
@json_option
def test(
    *,
    path: Path,
    database: Path | str | None,
    words: tuple[str, ...],
    persona: str | None,
    relation: str | None,
    jobs: int,
    watch: bool,
    junit: Path | None,
    html: Path | None,
    github: bool,
    verbose: bool,
    as_json: bool,
) -> int:
    """Run suites (*.test.yaml) and invariants of a directory.

    Every persona goes through the engine with a token of its own. What a suite does not list is expected to be
    invisible. With --database, the statements of DIR/invariants.yaml are proved as well. Exit code 1 if a case fails,
    3 if policies or suites cannot be read.
    """
    from rls.lab.suites.run import Filters

    directory, only = policies_of(path)
    filters = Filters(words, persona, relation)
    files = {"junit": junit, "html": html}
    if watch:
        return _watch(directory, database, only, filters, jobs=jobs, verbose=verbose, files=files)
    run = _run(directory, database, only, filters, jobs=jobs, quiet=as_json)
    _write(run, files)
    if as_json:
        from rls.cli.as_json import dump_json

        click.echo(dump_json(run.to_dict()))
    else:
        from rls.cli import render, test_show

        test_show.show(render.console(), run, verbose=verbose)
    if github:
        from rls.lab.suites.report import github_annotations

        click.echo(github_annotations(run), nl=False, err=as_json)
    return FOUND if run.failed else 0


def policies_of(path: Path) -> tuple[Path, list[Path] | None]:
    """The policy directory of a path, and the suite if the path is one: the nearest directory with identity.yaml."""
    if path.is_dir() or not path.exists():
        return path, None
    folder = next((p for p in path.resolve().parents if (p / "identity.yaml").is_file()), None)
    if folder is None:
        raise click.UsageError(f"there is no identity.yaml in a directory above `{path}`")
    here = Path.cwd()
    return (folder.relative_to(here) if folder.is_relative_to(here) else folder), [path]


def _run(
    directory: Path, database: Path | str | None, only: list[Path] | None, filters: Filters, *, jobs: int, quiet: bool
) -> Run:
    from rls.cli import render
    from rls.cli.failures import pointing_into_file
    from rls.lab.suites.reader import no_suites
    from rls.lab.suites.run import run_directory

    with pointing_into_file(), render.progress(render.console(stderr=quiet), "testing") as on_step:

        def on_case(outcome: Any, done: int, total: int) -> None:
            on_step(outcome.case.suite, done, total)

        run = run_directory(directory, database=database, only=only, filters=filters, jobs=jobs, on_case=on_case)
    if not run.suites and not run.outcomes and not run.unproved:
        raise no_suites(directory)
    if not run.outcomes and not run.unproved:
        raise click.UsageError(f"none of {run.left_out:,} cases is left by -k, --persona and --relation")
    return run


def _write(run: Run, files: dict[str, Path | None]) -> None:
    from rls.lab.suites.report import html_report, junit_xml

    for name, make in (("junit", junit_xml), ("html", html_report)):
        file = files[name]
        if file is not None:
            write_text(file, make(run))


def _watch(
    directory: Path,
    database: Path | str | None,
    only: list[Path] | None,
    filters: Filters,
    *,
    jobs: int,
    verbose: bool,
    files: dict[str, Path | None],
) -> int:
    from rls.cli import render, test_show
    from rls.cli.failures import report
    from rls.errors import RlsError
    from rls.lab.suites.watch import changes

    out = render.console()
    # Nobody sees from here that rows of a server change.
    pause = changes([directory, *([database] if isinstance(database, Path) else [])])
    while True:
        if out.is_terminal:
            out.clear()
        try:
            run = _run(directory, database, only, filters, jobs=jobs, quiet=False)
            _write(run, files)
            test_show.show(out, run, verbose=verbose)
        except RlsError as error:
            # Half-written files are the rule while somebody types.
            report(error, as_json=False)
        out.print(render.styled(("waiting for a change; Ctrl-C ends", "note")))
        next(pause)
