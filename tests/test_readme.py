"""The README does what it says: its commands and code run in order in an empty directory, with the outputs it shows.

A fenced block is known by its language and by the comment above it:

    sh        a set-up line, `set up, then: X`: X is run here; making the environment is the business of `.ci/run`
    python    run; all Python blocks share nothing but the directory
    ipython   a notebook's cell; all of them run in one shell, in order, and print what a cell's output is as text
    yaml      written to the file that its comment names
    console   `$ command` lines (continued by `> `) run in one shell, each followed by what it prints
    text      `prints`: what the Python block before it prints; without a comment, a picture

A note `on PostgreSQL` says that a block needs a server, which the test starts if it can. In outputs `…` stands for anything within a line; spaces at a line's end do not count.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engines.postgres.kit import start

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
MARK = "-- next command --"
ON_POSTGRES = "on PostgreSQL"
# Runs cells in one shell and prints what the last of them gives.
IPYTHON = """
import contextlib, io, sys
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
for cell in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()):
        done = shell.run_cell(cell)
    done.raise_error()
if done.result is not None:
    print(shell.display_formatter.format(done.result)[0]["text/plain"])
"""


@dataclass(frozen=True)
class Block:
    language: str
    note: str
    text: str
    line: int


BLOCKS = [
    Block(b["language"], b["note"] or "", b["text"], README.count("\n", 0, b.start()) + 1)
    for b in BLOCK.finditer(README)
]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """An empty directory, and an environment in which `rls` and `python` are this project's."""
    place = tmp_path_factory.mktemp("readme")
    programs = tmp_path_factory.mktemp("bin")
    for name, command in (("rls", "-m rls"), ("python", "")):
        script = programs / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
        script.chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RLS_") and k != "SHOP_SECRET"}
    path = {"PATH": f"{programs}{os.pathsep}{kept['PATH']}", "PYTHONPATH": str(ROOT)}
    return place, {**kept, **path, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}


def test_every_block_is_of_a_known_kind() -> None:
    kinds = {(b.language, re.sub(r":.*", "", b.note)) for b in BLOCKS}
    assert kinds == {
        ("sh", "set up, then"),
        ("python", ""),
        ("python", ON_POSTGRES),
        ("ipython", ""),
        ("yaml", "file"),
        ("console", ""),
        ("console", ON_POSTGRES),
        ("text", "prints"),
        ("text", ""),
    }


def test_set_up_commands_name_what_the_project_has() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    first, second = (b.text for b in BLOCKS if b.language == "sh")
    assert "rls" in project["scripts"]
    assert first.rstrip().endswith("pip install -q -e . && .venv/bin/rls demo")
    assert "dev" in project["optional-dependencies"]
    assert second.rstrip().endswith("pip install -q -e '.[dev]' && .venv/bin/python -m pytest")


def test_readme_does_what_it_shows(shell: tuple[Path, dict[str, str]]) -> None:
    walk([block for block in BLOCKS if block.note != ON_POSTGRES], *shell)


def test_readme_on_postgresql(shell: tuple[Path, dict[str, str]]) -> None:
    place, environment = shell
    cluster = start()
    try:
        if not (place / "shop" / "live.test.yaml").exists():
            # This test alone: what it goes on from.
            walk([block for block in BLOCKS if block.note != ON_POSTGRES], place, environment)
        servers = {"PGHOST": str(cluster.directory), "PGUSER": "owner"}
        walk([block for block in BLOCKS if block.note == ON_POSTGRES], place, {**environment, **servers})
    finally:
        cluster.stop()


def walk(blocks: list[Block], place: Path, environment: dict[str, str]) -> None:
    """Run blocks one after the other in a directory."""
    printed = ""
    cells: list[str] = []
    for block in blocks:
        match block.language, block.note.partition(": ")[::2]:
            case "sh", (_, "rls demo"):
                printed = run_shell("rls demo", place, environment)
            case "sh", (_, "pytest"):
                continue  # this very suite
            case "python", _:
                printed = run([sys.executable, "-c", block.text], place, environment)
            case "ipython", _:
                cells.append(block.text)
                printed = run([sys.executable, "-c", IPYTHON, *cells], place, environment)
            case "yaml", ("file", name):
                (place / name).parent.mkdir(exist_ok=True)
                (place / name).write_text(block.text, encoding="utf-8")
            case "console", _:
                compare_console(block, place, environment)
            case "text", ("prints", _):
                compare(block.text, printed, f"README line {block.line}")
            case "text", _:
                continue


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def compare_console(block: Block, place: Path, environment: dict[str, str]) -> None:
    """Run a block's commands in one shell and compare what each prints."""
    commands: list[str] = []
    expected: list[str] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            commands.append(line[2:])
            expected.append("")
        elif line.startswith("> ") and not expected[-1]:
            commands[-1] += "\n" + line[2:]
        else:
            expected[-1] += line + "\n"
    script = "".join(f"{command}\necho '{MARK}'\n" for command in commands)
    printed = run_shell(script, place, environment).split(f"{MARK}\n")
    for command, wanted, got in zip(commands, expected, printed, strict=False):
        compare(wanted, got, f"README line {block.line}: {command}")


def run_shell(script: str, place: Path, environment: dict[str, str]) -> str:
    return run(["bash", "-c", f"exec 2>&1\n{script}"], place, environment)


def run(command: list[str], place: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compare(wanted: str, got: str, where: str) -> None:
    """Line by line, `…` for anything; the whole is shown when a line differs."""
    pattern = "\n".join(".*".join(map(re.escape, line.rstrip().split("…"))) for line in wanted.strip("\n").splitlines())
    shown = "\n".join(line.rstrip() for line in got.strip("\n").splitlines())
    assert re.fullmatch(pattern, shown), f"{where}\nwanted:\n{wanted}\ngot:\n{shown}"
