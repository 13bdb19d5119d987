"""Bodies of JSON → lines that hold on to each other, and back. Knows no file.

A writer (one log object of one process) numbers its lines from 0 and puts into each the hash of the whole line before
it. A line without its tail is what its own `hash` is of; a `signature` of that hash, in the last line of every batch,
vouches for all lines up to it. Owns the format: what is verified is bytes, never a re-encoding.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Protocol

__all__ = ["FIRST", "Chain", "Link", "Signer", "line_hash", "read_link", "signed_text"]

FIRST = "0" * 64
"""What the first line of a writer holds in place of a hash."""

_LINE = re.compile(
    rb'(?P<body>\{.+),"chain":\{"writer":"(?P<writer>[0-9a-f]{16})","sequence":(?P<sequence>0|[1-9]\d{0,17}),'
    rb'"previous":"(?P<previous>[0-9a-f]{64})"\},"hash":"(?P<hash>[0-9a-f]{64})"'
    rb'(?:,"signature":"(?P<signature>[A-Za-z0-9+/]+={0,2})")?\}'
)


class Signer(Protocol):
    """Signs what `signed_text` gives; `name` says with which key, without telling it."""

    @property
    def name(self) -> str: ...
    def sign(self, text: bytes) -> str: ...


@dataclass(frozen=True, slots=True)
class Link:
    """A line taken apart: `hash` is what it says of itself, `own_hash` what it is, `line_hash` what the next line must
    hold. `body` is the object that was put in, without its closing brace."""

    writer: str
    sequence: int
    previous: str
    hash: str
    own_hash: str
    line_hash: str
    signature: str
    body: bytes


class Chain:
    """A writer's place: its name, the number of its next line and the hash of its last."""

    def __init__(self) -> None:
        self.writer = secrets.token_hex(8)
        self.sequence = 0
        self.head = FIRST

    def seal(self, bodies: list[str], signer: Signer | None) -> bytes:
        """The lines of a batch; each body is the text of a JSON object in ASCII, on one line, with members."""
        lines = []
        for number, body in enumerate(bodies, 1):
            text = (
                f'{body[:-1]},"chain":{{"writer":"{self.writer}","sequence":{self.sequence},"previous":"{self.head}"}}'
            )
            own = line_hash(text.encode("ascii"))
            text += f',"hash":"{own}"'
            if signer is not None and number == len(bodies):
                text += f',"signature":"{signer.sign(signed_text(own))}"'
            line = f"{text}}}".encode("ascii")
            self.head = line_hash(line)
            self.sequence += 1
            lines.append(line + b"\n")
        return b"".join(lines)


def signed_text(own_hash: str) -> bytes:
    """What a signature is of; the first words keep it from standing for anything else that the key may sign."""
    return b"rls audit line " + own_hash.encode("ascii")


def read_link(line: bytes) -> Link | None:
    """A line (without its end) taken apart, or None where it is no line of a chain."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    text = {name: found[name].decode("ascii") for name in ("writer", "previous", "hash")}
    return Link(
        **text,
        sequence=int(found["sequence"]),
        own_hash=line_hash(line[: found.start("hash") - len(b',"hash":"')]),
        line_hash=line_hash(line),
        signature=(found["signature"] or b"").decode("ascii"),
        body=found["body"],
    )


def line_hash(line: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(line).hexdigest()
