"""What decided, kept beside the log: the policy files and the catalog of every version, written once.

Takes what an engine works with; writes files named by version and one event in the log with their hashes, so that a
snapshot that was changed later is found by `verify_log`. No key and no persona is ever copied.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from rls.audit.log import AuditLog
from rls.audit.places import sync_directory
from rls.audit.settings import AUDIT_FILES
from rls.catalog import Catalog, Column, Relation
from rls.errors import AuditFailed

__all__ = ["changed_snapshots", "keep_snapshots", "read_catalog_snapshot", "snapshot_files", "snapshots_beside"]

_PEOPLE = ("personas.yaml", "personas.yml")


def snapshots_beside(log: Path) -> Path:
    """The directory of a log's snapshots: inside a directory of logs, else beside the file."""
    return log / "snapshots" if log.is_dir() else log.with_name(f"{log.name}.snapshots")


def keep_snapshots(log: AuditLog, directory: Path, version: str, catalog: Catalog, *, texts: Mapping[str, str]) -> None:
    """Keep the policies of `directory`, which were loaded as `version`, and the `catalog` they decide on.

    `texts` are the policy files' texts as they were loaded, by name: if the files have changed since, they are not what
    decides. Raises `AuditFailed`: `audit.snapshot`, `audit.write`.
    """
    if log.path.exists() and not log.path.is_file() and not log.path.is_dir():
        return  # a pipe or a device has no beside
    folder = snapshots_beside(log.path)
    failure = None
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        target = folder / f"policies-{version}"
        # What is kept already decides still, whatever became of the files since.
        kept = target.is_dir()
        files = snapshot_files(target if kept else directory)
        if any(files.get(name) != text.encode() for name, text in texts.items()):
            what = (
                f"the snapshot `{target}` was changed" if kept else "the policy files were changed while they were read"
            )
            failure = AuditFailed("audit.snapshot", what, hint="take it away" if kept else "retry")
        else:
            _keep_directory(target, files)
            described = describe_catalog(catalog)
            _keep_file(folder / f"catalog-{catalog.version}.json", described)
    except OSError as error:
        failure = AuditFailed(
            "audit.snapshot",
            f"what decides cannot be kept in `{folder}`",
            hint="make it writable",
            detail=str(error),
        )
    if failure:
        raise failure
    log.note(
        "decide",
        policy_version=version,
        policies={name: _hash(content) for name, content in files.items()},
        catalog_version=catalog.version,
        catalog=_hash(described),
    )


def changed_snapshots(log: Path, events: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[str]:
    """What is wrong with the snapshots beside a log, by the `decide` events in it (with the file they stand in)."""
    seen: set[Path] = set()
    for source, event in events:
        beside = snapshots_beside(log)
        if Path(source) != log and Path(source).parent != log:
            continue
        policies, catalog = event.get("policies"), event.get("catalog")
        if not isinstance(policies, dict) or not isinstance(catalog, str):
            continue
        wanted = {beside / f"policies-{event.get('policy_version')}" / name: hash_ for name, hash_ in policies.items()}
        wanted[beside / f"catalog-{event.get('catalog_version')}.json"] = catalog
        for path, hash_ in wanted.items():
            if path in seen:
                continue
            seen.add(path)
            try:
                if _hash(path.read_bytes()) != hash_:
                    yield f"the snapshot `{path}` was changed"
            except OSError:
                yield f"the snapshot `{path}` cannot be read"


def snapshot_files(directory: Path) -> dict[str, bytes]:
    """The files of a policy directory that decide, by name. Raises OSError."""
    return {
        path.name: path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        for path in sorted(directory.iterdir())
        if path.suffix in (".yaml", ".yml")
        and path.name not in (*_PEOPLE, *AUDIT_FILES)
        and path.suffixes[-2:-1] != [".test"]
        and path.name[0] != "."
    }


def describe_catalog(catalog: Catalog) -> bytes:
    """A catalog as JSON."""
    relations = [
        {
            "schema": relation.schema,
            "name": relation.name,
            "kind": relation.kind,
            "sql": relation.sql,
            "columns": [[column.name, column.type, column.nullable] for column in relation.columns],
        }
        for _, relation in sorted(catalog.relations.items())
    ]
    engine = {"engine": catalog.engine} if catalog.engine else {}
    return json.dumps({"name": catalog.name, **engine, "relations": relations}, indent=1).encode("ascii")


def read_catalog_snapshot(path: Path) -> Catalog:
    """The catalog of a snapshot. Raises `AuditFailed` (`audit.snapshot`)."""
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        relations = [
            Relation(
                schema=tuple(entry["schema"]),
                name=entry["name"],
                columns=tuple(Column(*column) for column in entry["columns"]),
                kind=entry["kind"],
                sql=entry["sql"],
            )
            for entry in found["relations"]
        ]
        return Catalog.of(found["name"], relations, engine=found.get("engine", ""))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise AuditFailed("audit.snapshot", f"`{path}` is no snapshot of a catalog")


def _keep_directory(target: Path, files: Mapping[str, bytes]) -> None:
    """All files or none: another process may be writing the same version, and the power may fail."""
    if target.is_dir():
        return
    draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=".draft-"))
    try:
        for name, content in files.items():
            with (draft / name).open("wb") as file:
                _fill(file, content)
        sync_directory(draft)
        draft.rename(target)
        sync_directory(target.parent)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        if not target.is_dir():
            raise


def _keep_file(target: Path, content: bytes) -> None:
    if target.is_file():
        return
    # A name of its own: two threads may be writing the same version.
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".draft-", delete=False) as draft:
        try:
            _fill(draft, content)
            Path(draft.name).rename(target)
        except OSError:
            Path(draft.name).unlink()
            raise
    sync_directory(target.parent)


def _fill(file: IO[bytes], content: bytes) -> None:
    """Under its final name a file is whole, whatever happens to the machine."""
    file.write(content)
    file.flush()
    os.fsync(file.fileno())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
