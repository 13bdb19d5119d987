"""A log, and what else is known of it → everything in it that is not as it was written.

Takes files or directories, keys, anchors from elsewhere and ids that callers were given; returns findings. Owns what a
chain can show: a line that was changed, dropped, moved or added is an error, wherever it stood; an end that was cut off
is one where anything refers to it (another chain, an anchor, a caller's id, the writer's own last word), else it cannot
be told from a crash and is a warning.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from rls.audit.anchors import Anchor
from rls.audit.chain import Link, read_link
from rls.audit.chain_state import ChainState
from rls.audit.places import place_kind
from rls.audit.read import Line, read_lines, sources
from rls.audit.signing import Verifier
from rls.audit.snapshots import changed_snapshots

__all__ = ["ChainSummary", "Finding", "Verification", "verify_log"]


_LISTED = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it was written. `source` and `line` (from 1) say where; `writer`, `sequence` which."""

    severity: Literal["error", "warning"]
    code: str
    message: str
    source: str = ""
    line: int = 0
    writer: str = ""
    sequence: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class ChainSummary:
    """One writer's chain: `lines` found, `records` among them, `vouched` records up to its last good signature,
    `closed` by its writer or not, `signing` as it says itself; `head` is its last line's hash."""

    writer: str
    lines: int
    records: int
    vouched: int
    closed: bool
    signing: str
    last: int
    head: str
    host: str
    process: int
    began: str


@dataclass(frozen=True, slots=True)
class Verification:
    """`ok` where there is no error. `signatures`: `checked`, `unchecked` (no key given), `none` (there are none)."""

    findings: tuple[Finding, ...]
    chains: tuple[ChainSummary, ...]
    signatures: Literal["checked", "unchecked", "none"]
    files: int

    @property
    def ok(self) -> bool:
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def records(self) -> int:
        return sum(chain.records for chain in self.chains)

    @property
    def heads(self) -> dict[str, tuple[int, str]]:
        """The ends of all chains, to be kept elsewhere as anchors."""
        return {chain.writer: (chain.last, chain.head) for chain in self.chains if chain.head}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "ok": self.ok,
            "records": self.records,
            "files": self.files,
            "signatures": self.signatures,
            "findings": [finding.to_dict() for finding in self.findings],
            "chains": [{n: getattr(c, n) for n in c.__dataclass_fields__} for c in self.chains],
        }


@dataclass
class _Work:
    verifiers: dict[str, Verifier]
    findings: list[Finding] = field(default_factory=list)
    states: dict[str, ChainState] = field(default_factory=dict)
    references: list[Anchor] = field(default_factory=list)
    snapshots: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    missing_ids: set[str] = field(default_factory=set)
    signed: bool = False
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def report(self, finding: Finding) -> None:
        """One more finding; of a kind and a chain the first few are listed, and the rest counted."""
        self.counts[finding.code, finding.writer] += 1
        if self.counts[finding.code, finding.writer] <= _LISTED:
            self.findings.append(finding)

    def more(self) -> Iterator[Finding]:
        """What was counted only."""
        for (code, writer), count in self.counts.items():
            if count > _LISTED:
                severity = next(f.severity for f in self.findings if (f.code, f.writer) == (code, writer))
                yield Finding(severity, code, f"and {count - _LISTED:,} more of this kind", writer=writer)


def verify_log(
    paths: Sequence[Path],
    *,
    verifiers: Sequence[Verifier] = (),
    anchors: Iterable[Anchor] = (),
    expected: Iterable[str] = (),
) -> Verification:
    """Look at every line of a log.

    verifiers  keys that may have signed; with any, a chain that is not signed by one of them is an error
    anchors    lines that were there once, as `read_anchors` or an earlier verification's `heads` give them
    expected   audit ids that callers hold: each must be in the log

    Raises `AuditFailed` (`audit.unreadable`). Cost: see the benchmarks; some 150 bytes of memory a line.
    """
    work = _Work({verifier.name: verifier for verifier in verifiers})
    work.references += anchors
    work.missing_ids |= set(expected)
    read: dict[Path, tuple[int, int]] = {}
    _read_on(paths, read, work)
    if _unmet(work):
        # Somebody may be writing: a file that was read late refers to lines that one read early did not have yet. What
        # was referred to by then is there now; what the new lines refer to is for the next time.
        told = list(work.references)
        _read_on(paths, read, work)
        work.references = told
    missing = [f"there is no record `{audit_id[:40]}`" for audit_id in sorted(work.missing_ids)]
    changed = [text for path in paths for text in changed_snapshots(path, work.snapshots)]
    for finding in (
        *(finding for state in work.states.values() for finding in _ended(state, work)),
        *_unmet(work),
        *(Finding("error", "missing_record", text) for text in missing),
        *(Finding("error", "snapshot", text) for text in changed),
    ):
        work.report(finding)
    work.findings += list(work.more())
    return Verification(
        findings=tuple(work.findings),
        chains=tuple(_summary(state) for state in work.states.values()),
        signatures="checked" if work.verifiers else "unchecked" if work.signed else "none",
        files=len(read),
    )


def _read_on(paths: Sequence[Path], read: dict[Path, tuple[int, int]], work: _Work) -> None:
    """Look at what has not been `read` yet: up to which line, and where that ends, by file."""
    for source in sources(paths):
        number, end = read.get(source, (0, 0))
        numbered = place_kind(source) == "sqlite"
        last: Line | None = None
        for line in read_lines(source, after=end):
            last = line if numbered else replace(line, number=number + line.number)
            _look_at(last, work)
            if line.whole:
                read[source] = last.number, line.end
        read.setdefault(source, (0, 0))
        if last is not None and last.whole and work.findings:
            torn = work.findings[-1]
            if (torn.code, torn.source, torn.line) == ("torn", last.source, last.number):
                # Nobody ends a line that a crash has left but who writes another one after it.
                work.findings[-1] = Finding("error", "damaged", "a line that cannot be read", last.source, last.number)


def _look_at(line: Line, work: _Work) -> None:
    link = read_link(line.text) if line.whole else None
    if link is None:
        work.report(_no_link(line))
        return
    state = work.states.get(link.writer)
    if state is None:
        state = work.states[link.writer] = ChainState(link.writer, work.verifiers)
    for code, message in state.take(link):
        work.report(Finding("error", code, message, line.source, line.number, link.writer, link.sequence))
    work.signed = work.signed or bool(link.signature)
    content = _content(link)
    if "event" not in content:
        state.records += 1
        work.missing_ids.discard(str(content.get("audit_id", "")))
        return
    state.note(content)
    place = f"line {line.number} of `{line.source}`"
    heads = content.get("heads")
    for writer, reference in heads.items() if isinstance(heads, dict) else ():
        if isinstance(reference, list) and len(reference) == 2 and isinstance(reference[0], int):
            work.references.append(Anchor(str(writer), reference[0], str(reference[1]), place))
    if content["event"] == "decide":
        work.snapshots.append((line.source, content))


def _no_link(line: Line) -> Finding:
    """A line that belongs to no chain. What a chain lacks because of it is found there."""
    try:
        plain = isinstance(json.loads(line.text), dict) if line.whole else False
    except (ValueError, RecursionError):
        plain = False
    if plain:
        return Finding("error", "unchained", "a line that is in no chain", line.source, line.number)
    return Finding(
        "warning", "torn", "a piece of a line: what a crash in the middle of a write leaves", line.source, line.number
    )


def _content(link: Link) -> dict[str, Any]:
    try:
        found = json.loads(link.body + b"}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _ended(state: ChainState, work: _Work) -> list[Finding]:
    """What the end of a chain, and what is missing in it, say."""
    found: list[tuple[Literal["error", "warning"], str, str]] = []
    found += [("error", code, message) for code, message in state.check_signature()]
    for first, last in state.gaps():
        which = f"line {first} is" if first == last else f"lines {first} to {last} are"
        found.append(("error", "dropped", f"{which} missing"))
    found += [("error", code, message) for code, message in state.unsigned(required=bool(work.verifiers))]
    if not state.closed:
        found.append(("warning", "open_end", "not closed by its writer: still running, ended by force, or cut off"))
    return [Finding(kind, code, text, writer=state.writer, sequence=state.last) for kind, code, text in found]


def _unmet(work: _Work) -> list[Finding]:
    """References to lines that are not there, or not the same; one per writer says enough."""
    found: dict[tuple[str, str], Finding] = {}
    for reference in work.references:
        state = work.states.get(reference.writer)
        known = state.hash_at(reference.sequence) if state else None
        if known == reference.hash:
            continue
        code = "changed_end" if known else "cut_off"
        what = "is another" if known else "is missing" if state else "is missing, with the whole chain"
        message = f"line {reference.sequence} {what}; it was there according to {reference.source}"
        previous = found.get((reference.writer, code))
        if previous is None or (previous.sequence or 0) < reference.sequence:
            found[reference.writer, code] = Finding(
                "error", code, message, writer=reference.writer, sequence=reference.sequence
            )
    return list(found.values())


def _summary(state: ChainState) -> ChainSummary:
    opening = state.opening
    return ChainSummary(
        writer=state.writer,
        lines=state.lines,
        records=state.records,
        vouched=state.vouched,
        closed=state.closed,
        signing=str(opening.get("signing", "")),
        last=state.last,
        head=state.head,
        host=str(opening.get("host", "")),
        process=opening["process"] if isinstance(opening.get("process"), int) else 0,
        began=str(opening.get("time", "")),
    )
