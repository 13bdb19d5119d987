"""Policies, personas and rows → a `World`: the engine as users meet it, beside the rows as they are.

Takes loaded policies and either a live database, a file or a server's, or a suite's rows; gives sessions for personas,
grants and unguarded rows, all at one moment of a clock that stands still (on a server nothing can ask for the time).
Owns what it opened: close it, or use it in a `with` block.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rls.audit.sinks import CallableSink
from rls.catalog import Catalog, Relation
from rls.engine import Engine, Session
from rls.engines.base import Executor
from rls.engines.duckdb import DuckDBExecutor
from rls.engines.limits import Limits
from rls.engines.opening import is_server, open_server, read_keys_of
from rls.errors import PolicyInvalid
from rls.identity.personas import load_personas
from rls.identity.principal import Principal
from rls.lab.suites.suite import Given
from rls.lab.world.clock import clock_macros
from rls.lab.world.given import build_given
from rls.lab.world.principals import lab_policies, token_for
from rls.lab.world.raw import Raw, Rows
from rls.lab.world.server import ServerRows
from rls.policy.grant import Grant
from rls.policy.load import load_policies
from rls.policy.policy_set import PolicySet

__all__ = ["World", "database_at", "open_directory", "open_file", "open_given", "open_live", "primary_keys_of"]

_LIMITS = Limits(seconds=600.0, memory=8 << 30)


class World:
    """A database under policies, and everybody who may ask. Thread-safe."""

    def __init__(
        self,
        executor: Executor,
        rows: Callable[[Catalog], Rows],
        policies: PolicySet,
        personas: Mapping[str, Principal],
        *,
        now: float,
    ) -> None:
        """Of an executor, which becomes the world's own, and what reads its `rows` by the catalog; `now` is Unix time
        in seconds. The functions below are the usual way."""
        self.personas, self.now = personas, now
        self.policies = lab_policies(policies)
        self._executor = executor
        with contextlib.ExitStack() as closing:
            closing.callback(executor.close)
            self.engine = Engine(executor, self.policies, CallableSink(_forget), clock=lambda: self.now)
            self.catalog: Catalog = self.engine.catalog
            self.raw = rows(self.catalog)
            closing.callback(self.raw.close)
            self._closing = closing.pop_all()
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, ...], int] = {}
        self.views: dict[tuple[str, tuple[str, ...]], object] = {}  # what `RelationView` remembers

    def session(self, persona: str) -> Session:
        """The persona's way into the engine."""
        with self._lock:
            if persona not in self._sessions:
                token = token_for(self.policies, self.personas[persona], now=self.now)
                self._sessions[persona] = self.engine.session(token)
            return self._sessions[persona]

    def grant(self, persona: str, relation: Relation) -> Grant | None:
        """What policies give a persona of a relation, with names as `raw` knows them; None if nobody decided.

        Raises PolicyInvalid where a policy does not fit the relation.
        """
        return self.policies.grant(relation, self.personas[persona], self.raw.catalog)

    def tables(self) -> list[Relation]:
        """The tables, sorted by label."""
        return sorted((r for r in self.catalog.relations.values() if r.kind == "table"), key=lambda r: r.label)

    def total(self, relation: Relation) -> int:
        """All rows of a relation."""
        with self._lock:
            if relation.key not in self._counts:
                self._counts[relation.key] = self.raw.count(relation)
            return self._counts[relation.key]

    def with_policies(self, policies: PolicySet) -> World:
        """The same rows and personas under other policies; it shares what this one opened, so close this one only."""
        other = object.__new__(World)
        other.__dict__.update(self.__dict__)
        other.policies = replace(policies, identity=self.policies.identity)
        other.engine = Engine(self._executor, other.policies, CallableSink(_forget), clock=lambda: self.now)
        other._sessions, other.views, other._closing = {}, {}, contextlib.ExitStack()
        return other

    def close(self) -> None:
        self._closing.close()

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_directory(directory: Path, database: Path | str, *, now: float | None = None) -> World:
    """A policy directory with its personas, over the rows of a DuckDB file, or of a server by its URL. Issuers' keys
    are not needed.

    Raises PolicyInvalid (`policy.no_personas` where nobody is named), EngineInvalid `engine.*`.
    """
    policies = load_policies(directory, keys="none")
    file = directory / "personas.yaml"
    if not file.is_file():
        hint = "write `personas: {eve: {subject: u-1, roles: [explorer], attributes: {tenant: acme}}}`"
        raise PolicyInvalid("policy.no_personas", "nobody is named to ask as", file=str(file), hint=hint)
    return open_live(database, policies, load_personas(file, policies.identity), now=now)


def open_live(
    database: Path | str, policies: PolicySet, personas: Mapping[str, Principal], *, now: float | None = None
) -> World:
    """The rows of a DuckDB file, which is opened read-only, or of a server: `postgresql://…` or `spark://…` as
    `rls.Engine.open` takes it. Raises EngineInvalid `engine.*`."""
    if isinstance(database, str):
        executor = open_server(database, limits=_LIMITS)
        moment = time.time() if now is None else now
        return World(executor, lambda _: ServerRows(executor), policies, personas, now=moment)
    # Opened as the engine opens it, so that what is wrong with the file is said in the engine's words.
    DuckDBExecutor.open(database).close()
    return open_file(database, policies, personas, name=database.stem, now=now)


def open_file(
    path: Path, policies: PolicySet, personas: Mapping[str, Principal], *, name: str, now: float | None
) -> World:
    """The rows of a DuckDB file that is known to be one, which callers call `name`."""
    moment = time.time() if now is None else now
    executor = DuckDBExecutor(path.resolve(), name=name, limits=_LIMITS, prepare=tuple(clock_macros(moment)))
    return World(executor, lambda catalog: Raw(path.resolve(), catalog, now=moment), policies, personas, now=moment)


@contextmanager
def open_given(
    data: Sequence[Given],
    catalog: Catalog | None,
    policies: PolicySet,
    personas: Mapping[str, Principal],
    *,
    now: float | None = None,
) -> Iterator[World]:
    """A suite's own rows, in a temporary database that is gone afterwards. Raises like `build_given`."""
    folder = Path(tempfile.mkdtemp(prefix="rls-lab-"))
    name = "given" if catalog is None else catalog.name
    try:
        # Views may spell the database's name, so the file has the name of the live one.
        path = folder / f"{name}.duckdb"
        build_given(path, data, catalog)
        with open_file(path, policies, personas, name=name, now=now) as world:
            yield world
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def database_at(place: str | Path) -> Path | str:
    """A database as users name it: a server's URL as it is, else a file's path, in which `~` is the home directory."""
    return str(place) if is_server(place) else Path(place).expanduser()


def primary_keys_of(database: Path | str, catalog: Catalog) -> Mapping[tuple[str, ...], tuple[str, ...]]:
    """The columns of a database's primary keys, of a file or a server's, by the table's key. No row is read."""
    if isinstance(database, str):
        return read_keys_of(database)
    with contextlib.closing(Raw(database.resolve(), catalog)) as raw:
        return raw.primary_keys()


def _forget(_: object) -> None:
    """Records of tests are kept by nobody."""
