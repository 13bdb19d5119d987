"""A policy directory and a database's catalog → a seeded suite beside the policies, run and measured before it stays.

No row of the database is read. Owns that the file holds what it says: it is read back, run against the policies and
measured; what it does not meet is named, and a case that fails is told, never left out.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from rls.catalog import Catalog, Relation, fold
from rls.errors import EngineInvalid, PolicyInvalid
from rls.identity.principal import Principal
from rls.lab.coverage.measure import Coverage, Point, measure_coverage
from rls.lab.seed.board import Board, BoardFailed
from rls.lab.seed.choose import Choice, choose
from rls.lab.seed.draft import draft_suite
from rls.lab.seed.goals import Goal, Near, find_goals, find_near
from rls.lab.seed.limit import SECONDS, TIME_IS_UP, Limit
from rls.lab.seed.meet import Eye, Met, look, told
from rls.lab.seed.neighbours import add_neighbours, seen_rows
from rls.lab.seed.oracle import see
from rls.lab.seed.people import choose_base, try_people
from rls.lab.seed.pools import Pools
from rls.lab.seed.reach import Reached, reach
from rls.lab.seed.rows import Rows, add_rows, try_rows
from rls.lab.seed.shorten import shorten
from rls.lab.seed.solutions import place_solutions
from rls.lab.seed.spots import Spots, attribute_spot, column_spot, find_naming, find_spots
from rls.lab.seed.stage import Stage
from rls.lab.seed.wall import Wall, find_wall
from rls.lab.seed.write import suite_text
from rls.lab.suites.reader import directory_personas, read_suite
from rls.lab.suites.run import Run, run_suites
from rls.lab.suites.suite import Suite
from rls.lab.world.world import primary_keys_of
from rls.policy.check_usage import attributes_read
from rls.policy.load import load_policies
from rls.policy.policy_set import PolicySet, rules_for
from rls.policy.rules import Bound

__all__ = ["FILE", "Seed", "make_seed"]

FILE: Final = "seeded.test.yaml"
MOST_SOLVED: Final = 6  # rows of a relation that others are made beside
OnStep = Callable[[str, int, int], None]
Seen = dict[tuple[str, ...], list[dict[str, object]]]


@dataclass(frozen=True)
class Seed:
    """What was written: `file`, its text, the people and rows in it, how the suite runs and what it covers.

    `unreached` are points of coverage that it does not meet, each with why; `over` are personas left out of the probe
    because they see other tenants' rows nearly everywhere; `left_out` are relations it does not speak of, with why;
    `cut_short` is what was not done since the time was up.
    """

    file: Path
    text: str
    personas: int
    rows: int
    run: Run
    coverage: Coverage
    unreached: tuple[tuple[Point, str], ...]
    wall: Wall | None
    over: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    cut_short: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "file": str(self.file),
            "personas": self.personas,
            "rows": self.rows,
            "cases": len(self.run.outcomes),
            "failed": [o.to_dict() for o in self.run.failed],
            "coverage": round(self.coverage.percent, 2),
            "unreached": [{**point.to_dict(), "why": why} for point, why in self.unreached],
            "tenant_attribute": None if self.wall is None else self.wall.attribute,
            "not_probed": list(self.over),
            "left_out": [{"relation": label, "why": why} for label, why in self.left_out],
            "cut_short": list(self.cut_short),
            "seconds": round(self.seconds, 3),
        }


def make_seed(
    directory: Path,
    database: Path | str,
    catalog: Catalog,
    *,
    file: Path | None = None,
    now: float | None = None,
    replace_file: bool = False,
    seconds: float = SECONDS,
    on_step: OnStep | None = None,
) -> Seed:
    """Write a suite for the policies of a directory.

    database      its constraints name the rows of tables; no row is read
    file          where to; default `seeded.test.yaml` in the directory
    now           the suite's frozen moment, Unix time in seconds; default: noon of today
    replace_file  write over a file that is there
    seconds       how long to look: what is left to do then is left out, and told

    Raises PolicyInvalid where policies cannot be read, EngineInvalid `engine.directory` where the file is there.
    """
    started = time.perf_counter()
    target = directory / FILE if file is None else file
    if target.exists() and not replace_file:
        raise EngineInvalid("engine.directory", f"`{target}` is there already", hint="--force writes over it")
    policies = load_policies(directory, keys="none")
    moment = datetime.fromtimestamp(now, UTC) if now is not None else _noon()
    work = _Work(directory, policies, database, catalog, moment, on_step or (lambda *_: None), Limit(seconds))
    suite = work.make()
    otherwise = TIME_IS_UP if work.limit.left_out else ""
    unreached = tuple((p, work.never.get(_point_key(p)) or otherwise or _why(p)) for p in suite.coverage.open)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(suite.text, encoding="utf-8")
    return Seed(
        target,
        suite.text,
        suite.personas,
        suite.rows,
        suite.run,
        suite.coverage,
        unreached,
        suite.wall,
        suite.over,
        tuple(work.left_out.items()),
        tuple(work.limit.left_out),
        time.perf_counter() - started,
    )


def _noon() -> datetime:
    today = datetime.now(UTC).date()
    return datetime(today.year, today.month, today.day, 12, tzinfo=UTC)


def _point_key(point: Point) -> tuple[object, ...]:
    return point.kind, point.subject, point.part, point.state, point.place.file, point.start, point.end


def _why(point: Point) -> str:
    if point.kind not in ("branch", "item"):
        return "no persona for it was found"
    from importlib.util import find_spec

    if find_spec("z3") is None:
        return "no row was found; with `pip install 'rls[prove]'` a solver looks, too"
    return "neither the rows that were tried nor the solver meet it"


@dataclass
class _Suite:
    text: str
    personas: int
    rows: int
    run: Run
    coverage: Coverage
    wall: Wall | None
    over: tuple[str, ...]


@dataclass
class _Work:
    """What all rounds share."""

    directory: Path
    policies: PolicySet
    database: Path | str
    catalog: Catalog
    moment: datetime
    on_step: OnStep
    limit: Limit
    left_out: dict[str, str] = field(default_factory=dict)
    never: dict[tuple[object, ...], str] = field(default_factory=dict)  # by `_point_key`
    keys: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)  # primary ones, by relation

    def relations(self) -> list[Relation]:
        """The tables that somebody decided on."""
        found = []
        for relation in sorted(self.catalog.relations.values(), key=lambda r: r.label):
            deciding = any(r.decides_rows for r in rules_for(self.policies, relation, self.catalog))
            if relation.kind == "view" and deciding:
                self.left_out[relation.label] = "a view: its rows are those of the tables it reads"
            elif deciding:
                found.append(relation)
            elif relation.kind == "table":
                self.left_out[relation.label] = "nobody decided on it"
        return found

    def make(self, reached: Reached | None = None, seen: Seen | None = None) -> _Suite:
        """Candidates, choice, expectations, and the suite that comes of it: with what the solver found (`reached`) for
        what a first round did not meet, and beside the rows that somebody saw in it (`seen`)."""
        seen = {} if seen is None else seen
        self.on_step("trying rows" if reached is None else "trying what the solver found", 1, 4)
        existing = directory_personas(self.directory, self.policies.identity)
        with self._board() as board:
            bounds = self._bounds(board)
            spots = find_spots(self.policies, board.catalog, list(bounds.values()), board.constant)
            relations = [b.relation for b in bounds.values()]
            read = [r for r in spots.read.values() if r.kind == "table"]
            relations += [r for r in read if r.key not in bounds]
            self._find_keys(relations)
            spots.naming = find_naming(spots, self.policies, board.catalog, self.keys)
            wall = find_wall(spots, [b.relation for b in bounds.values()])
            attribute = None if wall is None else wall.attribute
            base = choose_base(existing, attribute)
            today = self.moment.date()
            people, pools = self._people(spots, base, attribute, today)
            # Rows are made for the others: whom the solver found brings rows of their own.
            twins = _twins(bounds, spots, wall)
            tried = self._rows([r for r in relations if r.key not in twins], spots, pools, people, wall)
            if reached is not None:
                found, rows, shown = place_solutions(reached.solutions, spots, pools, people, wall, named=tried.keys)
                people |= found
                add_rows(tried, rows)
                for key, listed in shown.items():
                    seen.setdefault(key, []).extend(listed[:MOST_SOLVED])
                known = {key: listed for key, listed in seen.items() if key in tried.rows}
                add_neighbours(tried, known, spots, pools, walls={} if wall is None else wall.columns)
            for key, listed in tried.rows.items():
                tried.rows[key] = self._put(board, tried.relations[key], listed)
            firsts = {key: bound for key, bound in bounds.items() if key not in twins}
            stage = Stage(self.policies, bounds, spots, wall, people, existing, tried)
            some = replace(stage, bounds=firsts)
            self.on_step("choosing", 2, 4)
            eye = Eye(board, self.policies)
            choice, mets = self._choose(eye, some, base)
            if reached is None:
                missing = self._measure(self._draft(board, some, choice)[0]).open
                goals: list[Goal | Near] = [*find_goals(firsts.values(), choice.points)]
                goals += find_near(eye, firsts.values(), choice.points)
                self.on_step("asking the solver", 3, 4)
                reached = reach(
                    missing, goals, self.policies, self.catalog, self.relations(), keys=self.keys, limit=self.limit
                )
                self.never = {_point_key(missing[n]): reason for n, reason in reached.never.items()}
                return self.make(reached, seen_rows(mets, tried))
            texts = told(eye.texts, choice.points, yes=True)
            tables = (r for r in read if r.key in tried.rows)
            shorten(
                board,
                self.policies,
                choice,
                people,
                bounds=firsts,
                read=tables,
                rows=tried.rows,
                limit=self.limit,
                texts=texts,
            )
            self._copy(board, {bounds[twin].relation: first for twin, first in twins.items()}, tried, choice)
            text, over = self._draft(board, stage, choice)
        with self._read(text) as suite:
            run, coverage = run_suites([suite], self.policies), measure_coverage(self.policies, [suite])
        rows_told = sum(len(choice.rows.get(key, ())) for key in tried.rows)
        return _Suite(text, len(choice.people), rows_told, run, coverage, wall, over)

    def _put(self, board: Board, relation: Relation, rows: list[dict[str, object]]) -> list[dict[str, object]]:
        """Put rows on the board; those that DuckDB cannot hold are left out."""
        try:
            board.put(relation, rows)
        except BoardFailed:
            kept, problem = [], ""
            for row in rows:
                try:
                    board.put(relation, [row])
                    kept.append(row)
                except BoardFailed as error:
                    problem = str(error)
            if not kept:
                self.left_out[relation.label] = f"no rows could be made: {problem}"
            return kept
        return rows

    def _draft(self, board: Board, stage: Stage, choice: Choice) -> tuple[str, tuple[str, ...]]:
        """The suite's text, and who sees all tenants."""
        sights = {
            name: {key: see(board, self.policies, bound, stage.people[name]) for key, bound in stage.bounds.items()}
            for name in choice.people
        }
        schema = (self.directory / ".schemas").is_dir()
        draft, over = draft_suite(stage, choice.people, choice.rows, sights, now=self.moment, schema=schema)
        return suite_text(draft), over

    @contextmanager
    def _board(self) -> Iterator[Board]:
        tables = [r for r in self.catalog.relations.values() if r.kind == "table"]
        board = Board(self.catalog, tables, now=self.moment.timestamp())
        try:
            yield board
        finally:
            board.close()

    def _bounds(self, board: Board) -> dict[tuple[str, ...], Bound]:
        found = {}
        for relation in self.relations():
            try:
                bound = self.policies.bound(relation, board.catalog)
            except PolicyInvalid as error:
                self.left_out[relation.label] = f"a policy does not fit it: {error.message}"
                continue
            if bound is not None:
                found[relation.key] = bound
        return found

    def _people(
        self, spots: Spots, base: Mapping[str, Principal], wall: str | None, today: date
    ) -> tuple[dict[str, Principal], Pools]:
        """Everybody who is tried, and the values that rows are made of: subjects are those of these people."""
        identity = self.policies.identity
        arguments: dict[str, Any] = {
            "declared": identity.attributes,
            "roles": sorted(identity.roles),
            "today": today,
        }
        read = attributes_read(self.policies)
        first = Pools.of(spots, list(base.values()), **arguments)
        people = try_people(identity, read, base, first, wall=wall)
        pools = Pools.of(spots, list(people.values()), **arguments)
        if wall is not None:
            # A tenant whose name differs in case only is another tenant.
            values = pools.values(attribute_spot(wall))
            odd = [v.swapcase() for v in values[:1] if isinstance(v, str) and v.swapcase() not in values]
            pools.set(attribute_spot(wall), [*values, *odd])
        return people, pools

    def _find_keys(self, relations: Sequence[Relation]) -> None:
        found = primary_keys_of(self.database, self.catalog)
        self.keys |= {r.key: key for r in relations if (key := found.get(r.key))}

    def _rows(
        self,
        relations: Sequence[Relation],
        spots: Spots,
        pools: Pools,
        people: Mapping[str, Principal],
        wall: Wall | None,
    ) -> Rows:
        walled = {} if wall is None else wall.columns
        extra = {r.key: [column_spot(r, walled[r.key])] for r in relations if r.key in walled}
        return try_rows(relations, spots, pools, list(people.values()), primary=self.keys, extra=extra)

    @staticmethod
    def _copy(board: Board, twins: Mapping[Relation, tuple[str, ...]], tried: Rows, choice: Choice) -> None:
        """The rows that were chosen for a relation, for those that are like it."""
        for relation, first in twins.items():
            rows = [tried.rows[first][n] for n in sorted(choice.rows.get(first, ()))]
            tried.relations[relation.key], tried.rows[relation.key] = relation, rows
            tried.keys[relation.key] = tried.keys[first]
            choice.rows[relation.key] = set(range(len(rows)))
            board.put(relation, rows)

    def _choose(
        self, eye: Eye, stage: Stage, base: Mapping[str, Principal]
    ) -> tuple[Choice, dict[tuple[str, tuple[str, ...]], Met]]:
        wall, rows = stage.wall, stage.tried.rows
        first = _always(stage.people, base, wall)
        found: dict[str, dict[tuple[str, tuple[str, ...]], Met]] = {}
        for name in dict.fromkeys([*first, *stage.people]):
            if len(found) == len(first):
                # Those who are chosen in any case have told of most of it: that is not asked of everybody.
                points = set().union(*(p for f in found.values() for m in f.values() for p in m.rows.values()))
                eye = replace(eye, texts=told(eye.texts, points, yes=False))
            # Those who are there look in any case, so that there is a suite.
            if name in base or not self.limit.is_over("some people were not tried"):
                person = stage.people[name]
                found[name] = {(name, key): look(eye, bound, person) for key, bound in stage.bounds.items()}
        mets = {who: met for name in stage.people for who, met in found.get(name, {}).items()}
        wanted: dict[tuple[str, ...], set[int]] = {}
        for key, bound in stage.bounds.items():
            if wall is not None and key in wall.columns:
                wanted[key] = _one_per_tenant(rows[key], wall.columns[key], _visible(mets, key))
            elif bound.public:
                wanted[key] = set(range(min(2, len(rows[key]))))
        return choose(mets, always=[name for name in first if name in found], wanted=wanted), mets

    def _measure(self, text: str) -> Coverage:
        with self._read(text) as suite:
            return measure_coverage(self.policies, [suite])

    @contextmanager
    def _read(self, text: str) -> Iterator[Suite]:
        identity = self.policies.identity
        with tempfile.TemporaryDirectory(prefix="rls-seed-") as folder:
            file = Path(folder) / FILE
            file.write_text(text, encoding="utf-8")
            yield replace(read_suite(file, identity, directory_personas(self.directory, identity)), name="seeded")


def _twins(
    bounds: Mapping[tuple[str, ...], Bound], spots: Spots, wall: Wall | None
) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Relations to which the same policies say the same, as of a pattern → the first of them, whose rows will do."""
    firsts: dict[object, tuple[str, ...]] = {}
    twins = {}
    for key, bound in bounds.items():
        named = {s[2:] for group in (spots.used, spots.shown) for s in group.get(key, {})}
        walled = None if wall is None else wall.columns.get(key)
        names = {n[0] for n in named} | {"id"} | ({fold(walled)} if walled else set())
        columns = tuple(c for c in bound.relation.columns if fold(c.name) in names)
        rules = (*(id(b.policy) for b in bound.policies), *(id(c.rule) for c in bound.columns), bound.public)
        alike = (rules, columns, tuple(sorted(named)), walled)
        first = firsts.setdefault(alike, key)
        if first != key and key not in spots.read and first not in spots.read and bound.policies:
            twins[key] = first
    return twins


def _always(people: Mapping[str, Principal], base: Mapping[str, Principal], wall: Wall | None) -> list[str]:
    """One person for each role, who has no other, then for two of them a twin of another tenant."""
    found: dict[object, str] = {}
    for name, person in people.items():
        if len(person.roles) < 2:
            found.setdefault(person.roles, name)
    chosen = list(found.values())
    if wall is None:
        return chosen
    twins = [n for n in people if n not in base and any(n.startswith(f"{c}_of_") for c in chosen)]
    return [*chosen, *twins]


def _visible(mets: Mapping[tuple[str, tuple[str, ...]], Met], key: tuple[str, ...]) -> set[int]:
    """The rows of a relation that anybody sees."""
    return {
        number
        for (_, asked), met in mets.items()
        if asked == key
        for number, points in met.rows.items()
        if any(p[0] == "visible" and p[-1] is True for p in points)
    }


def _one_per_tenant(rows: Sequence[Mapping[str, object]], column: str, visible: set[int]) -> set[int]:
    """A row of each tenant, one that somebody sees where there is one: others would tell nothing of the wall."""
    first: dict[object, int] = {}
    for number, row in sorted(enumerate(rows), key=lambda pair: pair[0] not in visible):
        if row.get(column) is not None:
            first.setdefault(row[column], number)
    # Two tenants, a third, and those whose names differ from one of them in case only.
    some = list(first)[:3]
    folded = {value.casefold() for value in some if isinstance(value, str)}
    return {first[v] for v in first if v in some or (isinstance(v, str) and v.casefold() in folded)}
