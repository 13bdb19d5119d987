"""What commands of the laboratory print as JSON, of a server and of a file with the same rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rls.cli import run

__all__ = ["said", "same", "timeless"]


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    """The exit code of a command, and what it prints as JSON."""
    code = run([*map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def timeless(found: Any) -> Any:
    """Without what differs from run to run."""
    match found:
        case dict():
            return {key: timeless(value) for key, value in found.items() if key not in ("seconds", "audit_id")}
        case list():
            return [timeless(one) for one in found]
        case _:
            return found


def same(capsys: pytest.CaptureFixture[str], url: str, file: Path, *arguments: object) -> tuple[int, Any]:
    """The exit code and what a command says of a server, once it was looked at that it says the same of the file."""
    code, found = said(capsys, *arguments, "--database", url)
    expected, wanted = said(capsys, *arguments, "--database", file)
    assert timeless(found) == timeless(wanted)
    assert code == expected
    return code, found
