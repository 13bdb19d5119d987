"""`%load_ext rls` → the magics `%rls` and `%%rls`: a notebook's cell as a persona sees it.

Takes a cell's line and SQL; returns a `Result`, an `Explanation`, a `QueryWhy` or a `Matrix`, which show themselves.
Owns that nothing stays open between cells: policies and database are read as they are when the cell runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rls.errors import RlsError
from rls.notebook.options import HELP, Options, OptionsWrong, parse_line

if TYPE_CHECKING:
    from rls.lab.world.world import World

__all__ = ["Magic", "install", "remove"]

_KEPT = ("policies", "database", "as")
_VARIABLES = {"policies": "RLS_POLICIES", "database": "RLS_DATABASE"}
_TRY = {"policies": "%rls --policies DIR", "database": "%rls --database FILE"}


def install(ipython: Any) -> None:
    """Make `%rls` and `%%rls` known to an IPython shell."""
    from rls.notebook import plain

    plain.install(ipython)
    ipython.register_magic_function(Magic(ipython).run, magic_kind="line_cell", magic_name="rls")


def remove(ipython: Any) -> None:
    """Forget them again."""
    for kind in ("line", "cell"):
        ipython.magics_manager.magics[kind].pop("rls", None)


class Magic:
    """The magics of one shell, and what its cells need not say again."""

    def __init__(self, ipython: Any) -> None:
        self._ipython = ipython
        self._kept: dict[str, str] = {}

    def run(self, line: str, cell: str | None = None) -> Any:
        from IPython.core.error import UsageError

        try:
            options = parse_line(line)
            if cell is not None and options.sql:
                raise OptionsWrong(f"SQL begins on the line after %%rls; `{options.sql.split()[0]}` is no option")
            given = {name: self._ipython.var_expand(value) for name, value in options.given.items()}
            options = replace(options, given=given)
            sql = options.sql if cell is None else cell.rstrip()
            found = self._act(options, sql)
        except OptionsWrong as error:
            raise UsageError(f"%rls: {error}") from None
        except RlsError as error:
            # The cell fails, with what is wrong with its SQL or with the policies, and without this library's frames.
            shown = error_lines(error, sql)
            error._render_traceback_ = lambda: shown  # type: ignore[attr-defined]
            raise error from None
        name = options.given.get("out")
        if name is None:
            return found
        self._ipython.user_ns[name] = found
        return None

    # IPython would put variables into the text of a line. Into the options they may go, into SQL values are bound.
    run._ipython_magic_no_var_expand = True  # type: ignore[attr-defined]
    run.__doc__ = f"Queries as a persona sees them.\n\n{HELP}"

    def _act(self, options: Options, sql: str) -> Any:
        if options.action == "help":
            print(HELP)
            return None
        settings = {name: os.environ[variable] for name, variable in _VARIABLES.items() if os.environ.get(variable)}
        settings |= self._kept | options.given
        if options.action != "matrix" and not sql.strip():
            given = {name: value for name, value in options.given.items() if name in _KEPT}
            if options.action != "query" or not given or "out" in options.given:
                raise OptionsWrong("there is no SQL; %rls --help shows what to write")
            self._keep(given, settings)
            return None
        if options.action == "matrix" and sql.strip():
            raise OptionsWrong("--matrix is about whole tables: leave the SQL out")
        with _open(settings) as world:
            if options.action == "matrix":
                from rls.lab.matrix.compute import compute_matrix

                return compute_matrix(world)
            persona = _persona(settings.get("as"), world.personas)
            return _ask(world, persona, sql, options, self._bound(options))

    def _keep(self, given: Mapping[str, str], settings: Mapping[str, str]) -> None:
        """Remember settings, once they are known to work."""
        if "policies" in settings and "database" in settings:
            with _open(settings) as world:
                if "as" in given:
                    _persona(given["as"], world.personas)
        self._kept |= given

    def _bound(self, options: Options) -> dict[str, Any]:
        missing = [name for name in options.bind if name not in self._ipython.user_ns]
        if missing:
            raise OptionsWrong(f"there is no variable `{missing[0]}` to bind")
        return {name: self._ipython.user_ns[name] for name in options.bind}


def error_lines(error: RlsError, sql: str) -> list[str]:
    """An error as a cell shows it: code and message, the place, and what was added to it."""
    from rls.cli.failures import caret_lines, file_excerpt
    from rls.errors import PolicyInvalid, QueryRefused

    lines = [f"{type(error).__name__} {error.code}: {error}"]
    match error:
        case PolicyInvalid():
            lines += file_excerpt(error.file, error.line, error.column) or ()
        case QueryRefused() if error.position is not None:
            lines += caret_lines(sql, error.position)
    return lines


def _open(settings: Mapping[str, str]) -> World:
    from rls.lab.world.world import database_at, open_directory

    for name, write in _TRY.items():
        if name not in settings:
            raise OptionsWrong(f"no {name}: write `{write}` first, or set {_VARIABLES[name]}")
    # As a shell would, so that `~` is the home directory.
    return open_directory(Path(settings["policies"]).expanduser(), database_at(settings["database"]))


def _persona(name: str | None, personas: Mapping[str, object]) -> str:
    from rls.yaml_model import suggest

    if name is None:
        raise OptionsWrong(f"who asks? --as PERSONA: {', '.join(personas)}")
    if name not in personas:
        hint = suggest(name, personas) or f"there are {', '.join(personas)}"
        raise OptionsWrong(f"there is no persona `{name}`; {hint}")
    return name


def _ask(world: World, persona: str, sql: str, options: Options, bound: Mapping[str, Any]) -> Any:
    match options.action:
        case "explain":
            return world.engine.explain(world.personas[persona], sql)
        case "why":
            from rls.lab.why.query import why_query

            if bound:
                raise OptionsWrong("--why takes no --bind: write the values into the SQL")
            return why_query(world, persona, sql)
        case _:
            return world.session(persona).query(sql, bound)
