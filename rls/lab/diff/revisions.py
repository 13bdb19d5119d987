"""A directory, or `REVISION:path` of a git repository → the policies that stand there, and their personas.

Takes a text as a person writes it; returns loaded policies. Owns that a revision is read from git's objects into
a temporary directory: the working copy is neither needed nor touched.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rls.errors import PolicyInvalid
from rls.identity.personas import load_personas
from rls.identity.principal import Principal
from rls.policy.load import load_policies
from rls.policy.policy_set import PolicySet

__all__ = ["Revision", "open_policies", "open_revision"]

# A revision that begins with a dash is no option.
_VERIFY = ["rev-parse", "--verify", "--quiet", "--end-of-options"]


@dataclass(frozen=True)
class Revision:
    """Policies and the personas beside them, as they stood at `where`. `widenings` is the text of widenings.yaml."""

    where: str
    policies: PolicySet
    personas: Mapping[str, Principal]
    widenings: str | None


def open_policies(where: str, *, base: Path | None = None) -> PolicySet:
    """The policies of a directory (relative to `base`), or of `REVISION:path` in the repository that `base` is in.

    Issuers' keys are not loaded. Raises PolicyInvalid: those of `load_policies`, `policy.revision`.
    """
    with _directory_of(where, base or Path()) as directory:
        return load_policies(directory, keys="none")


def open_revision(where: str, *, base: Path | None = None) -> Revision:
    """The policies, personas and acknowledged widenings; see `open_policies`."""
    with _directory_of(where, base or Path()) as directory:
        policies = load_policies(directory, keys="none")
        personas = directory / "personas.yaml"
        widenings = directory / "widenings.yaml"
        return Revision(
            where,
            policies,
            load_personas(personas, policies.identity) if personas.is_file() else {},
            widenings.read_text(encoding="utf-8") if widenings.is_file() else None,
        )


@contextmanager
def _directory_of(where: str, start: Path) -> Iterator[Path]:
    directory = start / where
    revision, colon, path = where.partition(":")
    if directory.is_dir() or not colon or not revision:
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="rls-revision-") as folder:
        _extract(revision, path or ".", start, Path(folder))
        yield Path(folder)


def _extract(revision: str, path: str, start: Path, folder: Path) -> None:
    where = f"{revision}:{path}"
    no_directory = f"there is no directory `{where}`"
    _git(["rev-parse", "--git-dir"], start, where, f"{no_directory}, and no git repository here")
    commit = f"{revision}^{{commit}}"
    _git([*_VERIFY, commit], start, where, f"{no_directory}, and git knows no revision `{revision}`")
    tree = _git([*_VERIFY, f"{revision}:./{path}"], start, where, f"there is no `{path}` in revision `{revision}`")
    told = f"`{path}` is no directory in revision `{revision}`"
    archive = _git(["archive", "--format=tar", tree.decode().strip()], start, where, told)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files.getmembers():
            # Policy files stand in the directory itself; links and sub-directories are none.
            if not member.isfile() or "/" in member.name:
                continue
            content = files.extractfile(member)
            if content is not None:
                (folder / member.name).write_bytes(content.read())


def _git(arguments: list[str], start: Path, where: str, problem: str) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(start), *arguments], capture_output=True, check=True)  # noqa: S603, S607
    except OSError:
        raise PolicyInvalid("policy.revision", "git cannot be run here", file=where, hint="is it installed?") from None
    except subprocess.CalledProcessError:
        hint = "write a directory, or `REVISION:path` as in `main:policies`"
        raise PolicyInvalid("policy.revision", problem, file=where, hint=hint) from None
    return done.stdout
