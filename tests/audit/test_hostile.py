"""Audit logs in hostile hands: whatever is done to the files, `verify` finds it, and nothing that reads them stops."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rls.audit.anchors import Anchor
from rls.audit.export import FORMATS
from rls.audit.log import AuditLog
from rls.audit.read import TornLine, read_records
from rls.audit.record import AuditRecord
from rls.audit.report import make_report
from rls.audit.report_html import report_html
from rls.audit.select import Selection, query_records, select_records
from rls.audit.shape import is_record
from rls.audit.signing import read_signer, read_verifier
from rls.audit.verify import verify_log
from tests.audit.test_verify import Lines, bare, hashed_again, record

KEY = b"0123456789abcdef0123456789abcdef"


def write(place: Path, source: random.Random) -> None:
    """Two writers, in turn, who refer to each other."""
    logs = [AuditLog(place, signer=read_signer(KEY), durability="process", heads=(5, 1e9)) for _ in range(2)]
    for number in range(24):
        source.choice(logs).write(record(number))
    for log in logs:
        log.close()


def contents(place: Path) -> Counter[str]:
    return Counter(json.dumps(r, sort_keys=True) for r in read_records(place) if isinstance(r, dict))


def read_all(place: Path) -> None:
    """Everything that reads records, over whatever there is."""
    records = list(select_records(read_records(place), Selection(relation="", text="select")))
    records = list(select_records(read_records(place), Selection()))
    assert report_html(make_report(records))
    query_records(records, "SELECT outcome, count(*) FROM records GROUP BY 1")
    for each in records:
        for form in FORMATS.values():
            json.dumps(form(each))


def _edit(lines: Lines, at: int, source: random.Random) -> None:
    line = bytearray(lines[at])
    line[source.randrange(len(line))] = source.choice(b'a0"\\{},\n ')
    lines[at] = bytes(line)


def _hash_again(lines: Lines, at: int, source: random.Random) -> None:
    lines[at] = lines[at].replace(b'"allowed"', b'"refused"')
    try:
        lines[:] = hashed_again(lines, at, signatures=source.random() < 0.5)
    except (ValueError, KeyError):
        lines.reverse()


def _other_signature(lines: Lines, at: int, source: random.Random) -> None:
    known = re.findall(rb'"signature":"([^"]+)"', b"".join(lines))
    if known:
        lines[at] = re.sub(rb'"signature":"[^"]+"', b'"signature":"' + source.choice(known) + b'"', lines[at])


def _replace(old: bytes, new: bytes) -> Callable[[Lines, int, random.Random], None]:
    def tamper(lines: Lines, at: int, _: random.Random) -> None:
        lines[at] = lines[at].replace(old, new, 1)

    return tamper


def _put(*texts: bytes) -> Callable[[Lines, int, random.Random], None]:
    return lambda lines, at, source: lines.insert(at, source.choice(texts))


def _swap(lines: Lines, at: int, source: random.Random) -> None:
    other = source.randrange(len(lines))
    lines[at], lines[other] = lines[other], lines[at]


def _set(new: Callable[[bytes, random.Random], bytes]) -> Callable[[Lines, int, random.Random], None]:
    def tamper(lines: Lines, at: int, source: random.Random) -> None:
        lines[at] = new(lines[at], source)

    return tamper


TAMPERINGS: dict[str, Callable[[Lines, int, random.Random], object]] = {
    "drop": lambda lines, at, _: lines.pop(at),
    "repeat": lambda lines, at, source: lines.insert(source.randrange(len(lines) + 1), lines[at]),
    "swap": _swap,
    "cut": lambda lines, at, _: lines.__delitem__(slice(at, None)),
    "empty": lambda lines, *_: lines.clear(),
    "part of a line": _set(lambda line, source: line[: source.randrange(1, len(line))]),
    "no signature": _set(lambda line, _: bare(line)),
    "no line end": _set(lambda line, _: line.rstrip(b"\n")),
    "more after it": _set(lambda line, _: line.rstrip(b"\n") + b" {}\n"),
    "edit": _edit,
    "hashed again": _hash_again,
    "another signature": _other_signature,
    "member twice": _replace(b'"outcome":"allowed"', b'"outcome":"allowed","outcome":"denied"'),
    "space": _replace(b",", b", "),
    "other line end": _replace(b"\n", b"\r\n"),
    "hidden as an event": _replace(b'{"time"', b'{"event":"heads","time"'),
    "lines of nobody": _put(
        b'{"time":"2026","audit_id":"f","outcome":"allowed"}\n', b'{"event":"close"}\n', b"\n", b"[]\n", b"\xff\xfe\n",
        b'{"a":' + b"[" * 2000 + b"\n", b'{"time":1,"audit_id":[],"action":{},"outcome":null,"relations":[]}\n',
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ["audit.jsonl", "audit"])
def test_any_tampering_that_changes_a_record_is_found(tmp_path: Path, name: str) -> None:
    """Hundreds of them, alone and together, with lines of another log under the same key as well; a log that `verify`
    finds sound holds exactly the records that were written."""
    source, place, other = random.Random(name), tmp_path / name, tmp_path / "other.jsonl"
    write(other, source)
    foreign = other.read_bytes().splitlines(keepends=True)
    write(place, source)
    files = [place] if place.is_file() else sorted(place.glob("*.jsonl"))
    whole = {file: file.read_bytes() for file in files}
    before = verify_log([place], verifiers=[read_verifier(KEY)])
    assert before.findings == ()
    anchors = [Anchor(writer, *head, "earlier") for writer, head in before.heads.items()]
    truth, found = contents(place), Counter[bool]()
    kinds = {**TAMPERINGS, "of another log": lambda lines, at, source: lines.insert(at, source.choice(foreign))}
    for _ in range(160):
        changed = {file: text.splitlines(keepends=True) for file, text in whole.items()}
        done = []
        for _ in range(source.randint(1, 3)):
            file, kind = source.choice(files), source.choice(list(kinds))
            if changed[file]:
                kinds[kind](changed[file], source.randrange(len(changed[file])), source)
                done.append(kind)
        for file in files:
            file.write_bytes(b"".join(changed[file]))
        sound = verify_log([place], verifiers=[read_verifier(KEY)], anchors=anchors).ok
        assert not sound or contents(place) == truth, done
        found[sound] += 1
        read_all(place)
    assert found[False] > 140


def test_a_log_that_is_put_back_to_what_it_was_is_found_by_an_anchor(tmp_path: Path) -> None:
    """An old copy of the whole log, taken when it was sound, is sound; but not the log of today."""
    place = tmp_path / "audit.jsonl"
    write(place, random.Random(1))
    old = place.read_bytes()
    write(place, random.Random(2))
    heads = verify_log([place], verifiers=[read_verifier(KEY)]).heads
    place.write_bytes(old)
    assert verify_log([place], verifiers=[read_verifier(KEY)]).ok
    anchors = [Anchor(writer, *head, "elsewhere") for writer, head in heads.items()]
    found = verify_log([place], verifiers=[read_verifier(KEY)], anchors=anchors)
    assert {(f.severity, f.code) for f in found.findings} == {("error", "cut_off")}


GOOD = json.loads(AuditRecord(time="2026-01-01T00:00:00.000+00:00", audit_id="a", action="query", outcome="allowed").to_json())  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("time", ""), ("time", "2026"), ("time", "2026-01-01T00:00:00"), ("time", 5), ("time", None),
        ("audit_id", None), ("action", ["query"]), ("outcome", {}), ("roles", "explorer"), ("roles", [1]),
        ("roles", None), ("attributes", []), ("attributes", {"a": 1}), ("sql", None), ("sql_length", -1),
        ("row_count", True), ("row_count", 1.5), ("row_count", 1 << 63), ("byte_count", "1"), ("duration", float("nan")),
        ("duration", float("inf")), ("duration", -1), ("duration", "1"), ("timings", {"rest": None}),
        ("statistics_hidden", 0), ("token_id", 5), ("relations", []), ("relations", {"orders": []}),
        ("relations", {"orders": {"kind": "always"}}), ("relations", {"orders": {"policies": []}}),
        ("relations", {"orders": {"kind": "always", "policies": "own"}}),
        ("relations", {"orders": {"kind": 1, "policies": []}}),
    ],
)  # fmt: skip
def test_what_a_hand_has_put_into_a_log_is_a_torn_line(tmp_path: Path, name: str, value: Any) -> None:
    place = tmp_path / "audit.jsonl"
    lines = [
        GOOD,
        {**GOOD, name: value},
        {k: v for k, v in GOOD.items() if k in ("time", "audit_id", "action", "outcome")},
    ]
    place.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert is_record(GOOD)
    assert not is_record({**GOOD, name: value})
    assert [isinstance(line, TornLine) for line in read_records(place)] == [False, True, False]
    read_all(place)


def test_records_of_later_versions_are_read(tmp_path: Path) -> None:
    place = tmp_path / "audit.jsonl"
    later = {**GOOD, "action": "listen", "outcome": "postponed", "more": [1]}
    place.write_text(json.dumps(later) + "\n", encoding="utf-8")
    assert is_record(later)
    read_all(place)
