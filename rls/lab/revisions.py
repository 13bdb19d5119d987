"""A directory, or `REVISION:path` of a git repository → the policies that stand there.

Takes a text as a person writes it; returns a loaded `PolicySet`. Owns that a revision is read from git's objects into
a temporary directory: the working copy is neither needed nor touched.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from pathlib import Path

from rls.errors import PolicyInvalid
from rls.policy.load import load_policies
from rls.policy.policy_set import PolicySet

__all__ = ["open_policies"]


def open_policies(where: str, *, base: Path | None = None) -> PolicySet:
    """The policies of a directory (relative to `base`), or of `REVISION:path` in the repository that `base` is in.

    Issuers' keys are not loaded. Raises PolicyInvalid: those of `load_policies`, `policy.revision`.
    """
    start = base or Path()
    directory = start / where
    revision, colon, path = where.partition(":")
    if directory.is_dir() or not colon or not revision:
        return load_policies(directory, keys="none")
    with tempfile.TemporaryDirectory(prefix="rls-revision-") as folder:
        _extract(revision, path or ".", start, Path(folder))
        return load_policies(Path(folder), keys="none")


def _extract(revision: str, path: str, start: Path, folder: Path) -> None:
    where = f"{revision}:{path}"
    # `--` and `--end-of-options` keep a revision that begins with a dash from being an option.
    tree = _git(["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}:./{path}"], start, where)
    archive = _git(["archive", "--format=tar", tree.decode().strip()], start, where)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files.getmembers():
            # Policy files stand in the directory itself; links and sub-directories are none.
            if not member.isfile() or "/" in member.name:
                continue
            content = files.extractfile(member)
            if content is not None:
                (folder / member.name).write_bytes(content.read())


def _git(arguments: list[str], start: Path, where: str) -> bytes:
    try:
        done = subprocess.run(["git", "-C", str(start), *arguments], capture_output=True, check=True)  # noqa: S603, S607
    except (OSError, subprocess.CalledProcessError):
        raise PolicyInvalid(
            "policy.revision",
            "there is neither such a directory nor such a path in a git revision",
            file=where,
            hint="write a directory, or `REVISION:path` as in `main:policies`",
        ) from None
    return done.stdout
