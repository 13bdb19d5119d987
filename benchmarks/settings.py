"""A policy directory, a database and one person → what guarding needs: engine, token, principal, catalog.

The suites of published benchmarks are rewritten over empty relations: rewriting reads no rows. The warehouse has rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import duckdb

import fixtures
from benchmarks.cases import CASES, Case, load_cases, read_case_file
from rls.audit.record import AuditRecord
from rls.catalog import Catalog, Relation
from rls.engine import Engine
from rls.engines.limits import Limits
from rls.engines.parameters import parameter_types
from rls.identity import load_personas, mint_token
from rls.identity.principal import Principal
from rls.policy.grant import Grant
from rls.policy.load import load_policies
from rls.policy.policy_set import PolicySet
from rls.rewrite.barrier import lower
from rls.rewrite.guard import draft
from rls.rewrite.guard_text import guard_text
from rls.rewrite.guarded import FENCED, GuardedQuery
from rls.rewrite.splice import apply_splices

__all__ = [
    "SUITES", "GrantOf", "Setting", "drop_record", "guard_as_engine", "known_grants", "open_suite",
    "warehouse_setting", "write_checked", "write_unchecked",
]  # fmt: skip

GrantOf = Callable[[Relation], Grant | None]
SUITES = ("tpch", "tpcds", "clickbench", "warehouse")
# Of the fixtures: the issuer whose key is at hand.
WAREHOUSE_ISSUER, WAREHOUSE_KEY = "https://app.example", "rs256.private.pem"
TOKEN_SECONDS = 3600


@dataclass(frozen=True)
class Setting:
    """`issuer` and `key` sign tokens (`key` None: the issuer's own secret)."""

    database: Path
    policies_directory: Path
    person: str
    issuer: str | None = None
    key: str | None = None

    @cached_property
    def policies(self) -> PolicySet:
        return load_policies(self.policies_directory)

    @cached_property
    def principal(self) -> Principal:
        return load_personas(self.policies_directory / "personas.yaml", self.policies.identity)[self.person]

    @cached_property
    def token(self) -> str:
        return self.token_for(self.principal)

    def token_for(self, principal: Principal) -> str:
        """A token for somebody of this identity."""
        return mint_token(
            self.policies.identity,
            subject=principal.subject,
            roles=sorted(principal.roles),
            attributes=principal.attributes,
            issuer=self.issuer,
            key=self.key,
            lifetime=TOKEN_SECONDS,
        )

    def open(
        self,
        *,
        isolation: Literal["thread", "process"] = "thread",
        limits: Limits | None = None,
        slices: bool = False,
    ) -> Engine:
        """An engine whose audit records cost nothing to keep."""
        return Engine.open(
            self.database,
            policies=self.policies_directory,
            audit=drop_record,
            isolation=isolation,
            limits=limits or Limits(threads=1),
            slices=slices,
        )


@contextmanager
def open_suite(name: str, directory: Path, *, scale: float) -> Iterator[tuple[Setting, Engine, Catalog, list[Case]]]:
    """One of `SUITES`: who asks, an engine, the catalog that callers see, the queries."""
    if name == "warehouse":
        setting, cases = warehouse_setting(directory, scale=scale), load_cases("warehouse")
    else:
        person = "clustered" if name == "tpch" else "explorer"
        setting = Setting(_empty_database(name, directory), CASES / name / "policies", person)
        cases = load_cases(f"{name}/queries")
    with setting.open() as engine:
        yield setting, engine, engine.catalog, cases


def warehouse_setting(directory: Path, *, scale: float) -> Setting:
    """The fixtures' warehouse and the person of `cases/warehouse.toml`."""
    database = directory / f"warehouse-{scale:g}.duckdb"
    if not database.is_file():
        fixtures.build(database, scale)
    key = (fixtures.KEYS / WAREHOUSE_KEY).read_text(encoding="ascii")
    person = read_case_file("warehouse")["person"]["name"]
    return Setting(database, fixtures.POLICIES, person, WAREHOUSE_ISSUER, key)


def guard_as_engine(
    sql: str,
    principal: Principal,
    policies: PolicySet,
    catalog: Catalog,
    *,
    parameters: Mapping[str, object] = MappingProxyType({}),
    grant_of: GrantOf | None = None,
) -> GuardedQuery:
    """What the engine makes of a text it has not seen: guards with as little of a barrier as is safe."""
    return lower(draft(sql, principal, policies, catalog, grant_of), parameter_types(parameters), for_engine=True)


def write_unchecked(
    sql: str, principal: Principal, policies: PolicySet, catalog: Catalog, *, grant_of: GrantOf | None = None
) -> str:
    """The rewrite alone, before DuckDB is asked anything: parse, resolve, grants, splice. Never run what it returns."""
    written = draft(sql, principal, policies, catalog, grant_of).write(
        lambda one, _, source: (one, guard_text(one, source=source))
    )
    return apply_splices(sql, written.splices)


def write_checked(
    sql: str, principal: Principal, policies: PolicySet, catalog: Catalog, *, grant_of: GrantOf | None = None
) -> GuardedQuery:
    """The same with every guard fenced, after DuckDB's parser has read what came out and agrees."""
    return draft(sql, principal, policies, catalog, grant_of).finish(FENCED)


def known_grants(principal: Principal, policies: PolicySet, catalog: Catalog) -> GrantOf:
    """Gives a principal's grants as the engine has them: each is made once, whatever the texts."""
    known: dict[tuple[str, ...], Grant | None] = {}

    def grant_of(relation: Relation) -> Grant | None:
        if relation.key not in known:
            known[relation.key] = policies.grant(relation, principal, catalog)
        return known[relation.key]

    return grant_of


def drop_record(_: AuditRecord) -> None:
    """A place for audit records that costs nothing; what records cost is measured by itself."""


def _empty_database(name: str, directory: Path) -> Path:
    target = directory / f"{name}-empty.duckdb"
    if not target.is_file():
        with duckdb.connect(str(target)) as connection:
            connection.execute((CASES / name / "tables.sql").read_text(encoding="utf-8"))
    return target
