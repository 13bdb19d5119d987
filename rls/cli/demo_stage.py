"""A directory → the demo's props in it: the warehouse, copies of the fixture policies and keys, three tokens.

Takes the directory and a scale; returns what was made and where. Owns that it touches no directory that is not its
own: one that is neither empty nor made by an earlier demo is refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rls.cli.demo_script import CAST, ISSUER, KEY

if TYPE_CHECKING:
    from rls.identity.principal import Principal

__all__ = ["Stage", "ask_unguarded", "rows_read", "set_stage"]

_NOTE = "README.txt"
_NOTE_TEXT = """Made by `rls demo` at scale {scale:g}. All of it is invented, and the keys are public.
Edit a file in policies/ and run `rls demo` again: what you changed stays, and the numbers follow.
`rls demo --fresh` begins anew; delete the directory when you like.
"""
LIFETIME = 3600


@dataclass(frozen=True)
class Stage:
    """Where everything is. `tokens` and `personas` by name, `rows` by label of the table; `built` if just now."""

    directory: Path
    rows: Mapping[str, int]
    tokens: Mapping[str, str]
    personas: Mapping[str, Principal]
    built: bool

    @property
    def database(self) -> Path:
        return self.directory / "warehouse.duckdb"

    @property
    def policies(self) -> Path:
        return self.directory / "policies"

    @property
    def audit(self) -> Path:
        return self.directory / "audit.jsonl"

    def token_file(self, name: str) -> Path:
        return self.directory / "tokens" / f"{name}.jwt"


def set_stage(directory: Path, *, scale: float, fresh: bool, on_step: Callable[[str, int, int], None]) -> Stage:
    """Build or reuse what is in `directory`. Raises a usage error for a directory that is somebody else's."""
    from fixtures import KEYS, POLICIES, build

    text = _NOTE_TEXT.format(scale=scale)
    note = directory / _NOTE
    _refuse_foreign(directory, note)
    if fresh or not note.is_file() or note.read_text(encoding="utf-8") != text:
        _clear(directory)
    built = not (directory / "warehouse.duckdb").is_file()
    directory.mkdir(parents=True, exist_ok=True)
    note.write_text(text, encoding="utf-8")
    for source in (POLICIES, KEYS):
        if not (directory / source.name).is_dir():
            shutil.copytree(source, directory / source.name)
    if built:
        try:
            build(directory / "warehouse.duckdb", scale, on_step=on_step)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    stage = Stage(directory, _count(directory / "warehouse.duckdb"), {}, {}, built)
    return _with_tokens(stage)


def ask_unguarded(stage: Stage, sql: str) -> dict[str, Any]:
    """What DuckDB as it is answers: the number of rows read, or the first line of its error."""
    import duckdb

    with duckdb.connect(str(stage.database), read_only=True) as connection:
        try:
            found = connection.execute(sql)
            return {"rows_read": rows_read([c[0] for c in found.description or ()], found.fetchall())}
        except duckdb.Error as error:
            return {"error": str(error).split("\n", 1)[0]}


def rows_read(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> int | None:
    """The sum of the column `rows_read`, if there is one."""
    if "rows_read" not in columns:
        return None
    at = list(columns).index("rows_read")
    return sum(int(row[at]) for row in rows)


def _refuse_foreign(directory: Path, note: Path) -> None:
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return
    if note.is_file() and note.read_text(encoding="utf-8", errors="replace").startswith("Made by `rls demo`"):
        return
    raise click.UsageError(f"`{directory}` is there already and is not a demo's; choose another place with --dir")


def _clear(directory: Path) -> None:
    for name in ("policies", "keys", "tokens"):
        shutil.rmtree(directory / name, ignore_errors=True)
    for name in ("warehouse.duckdb", "audit.jsonl"):
        (directory / name).unlink(missing_ok=True)


def _count(database: Path) -> dict[str, int]:
    import duckdb

    from fixtures import count_rows

    with duckdb.connect(str(database), read_only=True) as connection:
        return count_rows(connection)


def _with_tokens(stage: Stage) -> Stage:
    """What the application's server does when somebody logs in: sign who they are, with their attributes."""
    from rls.identity import load_identity, load_personas, mint_token

    identity = load_identity(stage.policies)
    personas = load_personas(stage.policies / "personas.yaml", identity)
    key = (stage.directory / "keys" / KEY).read_text(encoding="ascii")
    (stage.directory / "tokens").mkdir(exist_ok=True)
    tokens = {}
    for name in CAST:
        if name not in personas:
            raise click.UsageError(f"the persona `{name}` is gone from the demo's policies; --fresh brings it back")
        who = personas[name]
        tokens[name] = mint_token(
            identity,
            subject=who.subject,
            roles=sorted(who.roles),
            attributes=who.attributes,
            issuer=ISSUER,
            key=key,
            lifetime=LIFETIME,
        )
        file = stage.token_file(name)
        file.touch(mode=0o600)
        file.write_text(tokens[name] + "\n", encoding="ascii")
    return Stage(stage.directory, stage.rows, tokens, {name: personas[name] for name in CAST}, stage.built)
