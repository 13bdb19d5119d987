"""What an analyst waits for: the matrix of 50 personas and 40 relations over ten million rows, a diff over two million,
a suite of 500 cases.

Beside it stands what anybody would write: a count per persona and relation, each a query of its own. Two sets of
policies: conditions on columns, and a mapping table that says which customers are whose.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb

from benchmarks.answers import WrongAnswer
from benchmarks.many import COLUMNS, make_policies, make_principal
from benchmarks.measure import Measurement, time_in_turn
from benchmarks.options import Options
from rls.identity.principal import Principal
from rls.lab.diff.compare import Diff, compute_diff
from rls.lab.matrix.compute import Matrix, compute_matrix
from rls.lab.suites.reader import read_suite
from rls.lab.suites.run import Run, run_suites
from rls.lab.world.observe import renamed_filter
from rls.lab.world.world import World, open_live
from rls.policy.load import load_policies
from rls.policy.policy_set import PolicySet

__all__ = ["measure_lab"]

RELATIONS, PERSONAS, ROLES = 40, 50, 25
DIFF_PERSONAS = 25
SUITE_RELATIONS, SUITE_ROWS = 10, 10_000
MATRIX, DIFF, SUITE = "matrix", "diff", "suite"
COUNTS, THREE = "a count each", "three counts each"
TENANTS = ("acme", "globex", "initech", "umbrella", "hooli", "stark", "wayne", "wonka")
MAPPED = """relation: table_{number}
policies:
  - {{name: own_tenant, as: restrictive, using: tenant_id = user.tenant{more}}}
  - name: managed
    using: customer_id IN (SELECT customer_id FROM managers WHERE user_id = user.subject)
  - {{name: small, to: [role_1], using: amount < 100}}
"""
MANAGERS = "relation: managers\npolicies: [{name: own, using: user_id = user.subject}]\n"


def measure_lab(options: Options) -> Iterator[Measurement]:
    """Ten times the largest series' rows, half of them in one relation. Raises `WrongAnswer` where counts differ."""
    rows = options.largest * 10
    large = _database(options.directory / f"lab-{rows}.duckdb", relations=RELATIONS, first=rows // 2, all_rows=rows)
    columns = make_policies(options.directory, relations=RELATIONS, per_relation=10, role_count=ROLES)
    mapped = _mapped(options.directory / "lab-mapped", columns, more="")
    personas = _personas(PERSONAS)
    for name, directory in (("columns", columns), ("mapping table", mapped)):
        policies = load_policies(directory, keys="none")
        case = f"{name}: {PERSONAS} personas, {RELATIONS} relations, {rows:,} rows"
        with open_live(large, policies, personas) as world:
            found: list[Matrix] = []
            calls = {
                MATRIX: lambda world=world, found=found: found.append(compute_matrix(world)),
                COUNTS: lambda world=world: _counts(world),
            }
            timings = time_in_turn(calls, rounds=min(options.rounds, 3), seconds=options.seconds)
            _check(found[-1], _counts(world))
        yield Measurement.of("lab", case, timings, what=MATRIX, floor=COUNTS, checked="same counts")

    rows = options.largest * 2
    one = _database(options.directory / f"lab-one-{rows}.duckdb", relations=1, first=rows, all_rows=rows)
    wider = {
        "columns": (columns, _wider(options.directory / "lab-wider", columns)),
        "mapping table": (mapped, _mapped(options.directory / "lab-mapped-wider", columns, more=" OR region = 'EMEA'")),
    }
    personas = _personas(DIFF_PERSONAS)
    for name, directories in wider.items():
        old, new = (load_policies(directory, keys="none") for directory in directories)
        case = f"{name}: {DIFF_PERSONAS} personas, {rows:,} rows"
        with open_live(one, new, personas) as world:
            diffs: list[Diff] = []
            calls = {
                DIFF: lambda world=world, old=old, new=new, diffs=diffs: diffs.append(compute_diff(world, old, new)),
                THREE: lambda world=world, old=old, new=new: _three_counts(world, old, new),
            }
            timings = time_in_turn(calls, rounds=min(options.rounds, 3), seconds=options.seconds)
            told = {c.persona: (c.gained, c.lost, c.unchanged) for c in diffs[-1].changes if c.relation == "table_0"}
            counted = {who: three for who, three in _three_counts(world, old, new).items() if three[:2] != (0, 0)}
            if told != counted or not told:
                raise WrongAnswer(f"lab, {name}: the diff's counts are not those of single queries")
        yield Measurement.of("lab", case, timings, what=DIFF, floor=THREE, checked="same counts")
    yield _suite(options, columns)


def _suite(options: Options, columns: Path) -> Measurement:
    """A case for each of 50 personas and 10 relations, each through a token and the engine, on two threads."""
    small = _database(
        options.directory / "lab-suite.duckdb",
        relations=SUITE_RELATIONS,
        first=SUITE_ROWS // SUITE_RELATIONS,
        all_rows=SUITE_ROWS,
    )
    policies, personas = load_policies(columns, keys="none"), _personas(PERSONAS)
    with open_live(small, policies, personas) as world:
        counted = {key: n for key, n in _counts(world).items() if key[1].startswith("table_")}
        file = options.directory / "lab.test.yaml"
        cases = [
            f"  - {{name: {who} in {relation}, as: {who}, relation: {relation}, expect: {{rows: {n}}}}}\n"
            for (who, relation), n in counted.items()
        ]
        file.write_text("tests:\n" + "".join(cases), encoding="utf-8")
        suite = read_suite(file, policies.identity, personas)
        runs: list[Run] = []
        calls = {
            SUITE: lambda: runs.append(run_suites([suite], policies, database=small)),
            COUNTS: lambda: _counts(world),
        }
        timings = time_in_turn(calls, rounds=min(options.rounds, 3), seconds=options.seconds)
    if runs[-1].failed or len(runs[-1].outcomes) != len(counted):
        raise WrongAnswer("lab: a case of the suite fails")
    case = f"suite: {len(counted)} cases, {SUITE_ROWS:,} rows"
    return Measurement.of("lab", case, timings, what=SUITE, floor=COUNTS, checked="all pass")


def _counts(world: World) -> dict[tuple[str, str], int]:
    """Every persona and relation by a query of its own."""
    found = {}
    for relation in world.tables():
        for persona in world.personas:
            text, parameters = renamed_filter(world.grant(persona, relation), "p")
            sql = f"SELECT count(*) FROM {world.raw.source(relation)} WHERE {text}"
            found[persona, relation.label] = int(world.raw.rows(sql, parameters)[0][0])
    return found


def _three_counts(world: World, old: PolicySet, new: PolicySet) -> dict[str, tuple[int, int, int]]:
    """Rows gained, lost and kept by every persona, each by a query of its own."""
    relation = next(r for r in world.tables() if r.name == "table_0")
    before, after = world.with_policies(old), world.with_policies(new)
    found = {}
    for persona in world.personas:
        was, first = renamed_filter(before.grant(persona, relation), "before")
        is_, second = renamed_filter(after.grant(persona, relation), "after")
        conditions = (f"{is_} AND ({was}) IS NOT TRUE", f"{was} AND ({is_}) IS NOT TRUE", f"{was} AND {is_}")
        texts = [f"SELECT count(*) FROM {world.raw.source(relation)} WHERE {condition}" for condition in conditions]
        gained, lost, kept = (int(world.raw.rows(text, {**first, **second})[0][0]) for text in texts)
        found[persona] = (gained, lost, kept)
    return found


def _check(matrix: Matrix, counted: dict[tuple[str, str], int]) -> None:
    told = {(who, row.label): cell.visible for row in matrix.rows for who, cell in row.cells.items()}
    if told != counted or not any(told.values()):
        raise WrongAnswer("lab: the matrix's counts are not those of single queries")


def _database(path: Path, *, relations: int, first: int, all_rows: int) -> Path:
    """Relations as `make_policies` writes policies for, and a mapping table; what is there already is used again."""
    if path.is_file():
        return path
    half_done = path.with_suffix(".new")
    half_done.unlink(missing_ok=True)
    names = ", ".join(c.name for c in COLUMNS)
    with duckdb.connect(str(half_done)) as connection:
        for number in range(relations):
            rows = first if number == 0 else (all_rows - first) // (relations - 1)
            connection.execute(f"""
                CREATE TABLE table_{number} AS SELECT {names} FROM (SELECT i AS id,
                    {list(TENANTS)}[1 + i % {len(TENANTS)}] AS tenant_id,
                    ['EMEA', 'APAC', 'AMER', 'LATAM'][1 + (i // 8) % 4] AS region,
                    (i * 7919) % 100000 AS customer_id, CAST((i * 31) % 1000000 AS DECIMAL(15,2)) / 100 AS amount,
                    DATE '2023-01-01' + CAST((i * 13) % 1200 AS INTEGER) AS day,
                    'user' || (i % 5000) || '@mail.test' AS email FROM range({rows}) t(i))""")
        connection.execute("""
            CREATE TABLE managers AS SELECT 'user-' || (i % 50) AS user_id, (i * 37) % 100000 AS customer_id
            FROM range(50000) t(i)""")
    return half_done.rename(path)


def _mapped(directory: Path, like: Path, *, more: str) -> Path:
    """Policies that follow the mapping table, under the identity of another directory."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    shutil.copy(like / "identity.yaml", directory)
    documents = [MAPPED.format(number=number, more=more) for number in range(RELATIONS)]
    (directory / "relations.yaml").write_text("---\n".join([*documents, MANAGERS]), encoding="utf-8")
    return directory


def _wider(directory: Path, like: Path) -> Path:
    """The same policies, some with a condition less."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(like, directory)
    for file in directory.glob("relations_*.yaml"):
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("tenant_id = user.tenant AND ", "").replace("amount < ", "amount < 10"))
    return directory


def _personas(count: int) -> dict[str, Principal]:
    regions = (("EMEA",), ("APAC", "AMER"), ("EMEA", "LATAM"))
    return {
        f"p{n:02}": replace(
            make_principal(
                role=f"role_{n % ROLES}",
                customers=range(n * 10, n * 10 + 20),
                tenant=TENANTS[n % len(TENANTS)],
                regions=regions[n % len(regions)],
            ),
            subject=f"user-{n}",
        )
        for n in range(count)
    }
