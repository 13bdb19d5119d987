"""Other rewriters of SQL, installed on request, each in its own environment and run there as a process.

A peer is asked to filter the same relations of the same text with a predicate of one column: the least a policy can be.
It measures itself, so that what it takes to ask it is not counted.
"""

from __future__ import annotations

import json
import subprocess
import venv
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.answers import WrongAnswer
from benchmarks.cases import read_case_file
from benchmarks.options import Options

__all__ = ["Peer", "install_peer", "known_peers", "open_peers"]

HERE = Path(__file__).parent


class Peer:
    """A running peer. Its process takes a line of JSON per question and gives one per answer."""

    def __init__(self, name: str, python: Path) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [str(python), "-W", "ignore", str(HERE / f"adapt_{name}.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def rewrite(self, sql: str, relations: list[str]) -> dict[str, object]:
        """`{"sql", "cpu", "wall"}` (milliseconds), or `{"error"}`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"sql": sql, "relations": relations}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the peer {self.name} ended; install it again: python -m benchmarks peers {self.name}")
        found: dict[str, object] = json.loads(answer)
        return found

    def rewriting(self, sql: str, relations: list[str]) -> Callable[[], tuple[float, float]] | None:
        """What measures one rewrite, for `time_in_turn`; None if it refuses.

        Raises `WrongAnswer` if it did not filter.
        """
        first = self.rewrite(sql, relations)
        if "error" in first:
            return None
        if relations and "slot" not in str(first["sql"]):
            raise WrongAnswer(f"peer {self.name}: no filter in its answer")

        def sample() -> tuple[float, float]:
            self.rewrite(sql, relations)  # as before other samples: the one that counts finds its caches warm
            found = self.rewrite(sql, relations)
            return float(str(found["cpu"])), float(str(found["wall"]))

        return sample

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


def known_peers() -> dict[str, dict[str, str]]:
    """Name → `what` it is and the `requirement` to install."""
    found: dict[str, dict[str, str]] = read_case_file("peers")
    return found


def install_peer(name: str, directory: Path) -> None:
    """Make its environment in `directory`; hundreds of megabytes for some. Raises CalledProcessError."""
    home = _home(name, directory)
    venv.create(home, with_pip=True, clear=True)
    subprocess.run([str(_python(home)), "-m", "pip", "install", "-q", known_peers()[name]["requirement"]], check=True)


@contextmanager
def open_peers(options: Options) -> Iterator[list[Peer]]:
    """Those that are installed; of the others it is noted that they are not."""
    with ExitStack() as closed:
        peers = []
        for name in known_peers():
            python = _python(_home(name, options.directory))
            if python.exists():
                peers.append(Peer(name, python))
                closed.callback(peers[-1].close)
            else:
                options.skipped.append(f"peer {name} is not installed: python -m benchmarks peers {name}")
        yield peers


def _home(name: str, directory: Path) -> Path:
    return directory / "peers" / name


def _python(home: Path) -> Path:
    return home / "bin" / "python"
