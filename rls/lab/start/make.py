"""A database → a new policy directory, ready for `rls check` and `rls test`.

Reads the catalog and, unless told not to, two values of the tenant column, so that the personas are of tenants that
exist. Owns that nothing of somebody else's is overwritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rls.catalog import Catalog, quote
from rls.errors import EngineInvalid
from rls.lab.schemas import write_schemas
from rls.lab.start.look import Plan, plan_start, tenant_candidates
from rls.lab.start.write import start_files
from rls.lab.world.raw import Raw
from rls.lab.world.world import primary_keys_of

__all__ = ["Start", "make_start"]

_PLACEHOLDERS: Sequence[object] = ("tenant-a", "tenant-b")


@dataclass(frozen=True, slots=True)
class Start:
    """What was written: the plan, the files by name, and the tenants of the personas. `candidates` are columns (with
    how many tables have them) that may be the tenant column, where none was found."""

    directory: Path
    plan: Plan
    files: tuple[str, ...]
    tenants: tuple[object, ...]
    candidates: tuple[tuple[str, int], ...] = ()


def make_start(directory: Path, catalog: Catalog, *, tenant: str | None = None, rows_of: Path | None) -> Start:
    """Write the directory. `tenant` names the tenant column, `rows_of` is the DuckDB file for a look at its values
    (None: no look, and made-up tenants).

    Raises EngineInvalid: `engine.directory` where `directory` holds something, `engine.tenant` where no table has the
    column.
    """
    if directory.exists() and any(directory.iterdir()):
        raise EngineInvalid("engine.directory", f"`{directory}` is not empty", hint="choose another directory")
    plan = plan_start(catalog, tenant=tenant)
    if tenant is not None and not plan.tenant:
        raise EngineInvalid("engine.tenant", f"no table has a column `{tenant}`", hint="see `rls init --help`")
    tenants = _tenants(plan, rows_of, catalog) if rows_of is not None and plan.tenant else []
    tenants = [*tenants, *_placeholders(plan)][:2]
    keys = {} if rows_of is None else primary_keys_of(rows_of, catalog)
    files = start_files(plan, tenants, database=catalog.name, keys=keys)
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
    write_schemas(directory / ".schemas")
    return Start(directory, plan, tuple(files), tuple(tenants), () if plan.tenant else tenant_candidates(catalog))


def _placeholders(plan: Plan) -> Sequence[object]:
    return (1, 2) if plan.tenant_type == "integer" else _PLACEHOLDERS


def _tenants(plan: Plan, database: Path, catalog: Catalog) -> list[object]:
    """The two tenants with most rows in the first table that has rows of any."""
    raw = Raw(database.resolve(), catalog)
    try:
        for table in plan.tables:
            column = table.relation.column(plan.tenant)
            if table.decision != "wall" or column is None:
                continue
            name = quote(column.name)
            found = raw.rows(
                f"SELECT {name if plan.tenant_type == 'integer' else f'CAST({name} AS VARCHAR)'} AS tenant"
                f" FROM {raw.source(table.relation)} WHERE {name} IS NOT NULL GROUP BY ALL"
                " ORDER BY count(*) DESC, tenant LIMIT 2"
            )
            # The empty text is no tenant of a token.
            values = [row[0] for row in found if str(row[0]).strip()]
            if values:
                return values
    finally:
        raw.close()
    return []
