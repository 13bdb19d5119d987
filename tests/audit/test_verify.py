"""What a chain shows: every kind of tampering, and nothing where there was none."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from rls.audit.anchors import anchor_lines, read_anchors
from rls.audit.chain import FIRST, Chain, line_hash
from rls.audit.log import AuditLog
from rls.audit.read import read_records
from rls.audit.record import AuditRecord
from rls.audit.signing import KeyUnusable, read_signer, read_verifier
from rls.audit.verify import Verification, verify_log
from rls.errors import AuditFailed
from tests.audit.torture import Plan, torture

KEY = Ed25519PrivateKey.generate()
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
SECRET = b"thirty-two bytes that nobody sees"

Lines = list[bytes]


def record(number: int, **changes: object) -> AuditRecord:
    time = f"2026-01-01T00:00:{number % 60:02}.000+00:00"
    given = {"time": time, "audit_id": f"{number:032x}", "action": "query", "outcome": "allowed", **changes}
    return AuditRecord(**given)  # type: ignore[arg-type]


def write(path: Path, numbers: range, *, key: bytes | None = PEM, close: bool = True, **options: object) -> AuditLog:
    signer = None if key is None else read_signer(key)
    log = AuditLog(path, signer=signer, durability="process", **options)  # type: ignore[arg-type]
    for number in numbers:
        log.write(record(number))
    if close:
        log.close()
    return log


def verify(*paths: Path, key: bytes | None = PUBLIC, **options: object) -> Verification:
    verifiers = [] if key is None else [read_verifier(key)]
    return verify_log(paths, verifiers=verifiers, **options)  # type: ignore[arg-type]


def codes(found: Verification) -> list[tuple[str, str]]:
    return [(f.severity, f.code) for f in found.findings]


@pytest.mark.parametrize("name", ["audit.jsonl", "audit", "audit.sqlite"])
@pytest.mark.parametrize("key", [PEM, SECRET, None])
def test_what_nobody_touched_is_sound(tmp_path: Path, name: str, key: bytes | None) -> None:
    for part in (range(5), range(5, 9)):
        write(tmp_path / name, part, key=key)
    found = verify(tmp_path / name, key=PUBLIC if key == PEM else key)
    assert found.ok
    assert found.findings == ()
    assert found.records == 9
    assert [c.vouched for c in found.chains] == ([5, 4] if key else [0, 0])
    assert found.signatures == ("checked" if key else "none")
    assert len(found.heads) == 2
    assert [r["audit_id"] for r in read_records(tmp_path / name) if isinstance(r, dict)] == [
        f"{n:032x}" for n in range(9)
    ]


def changed(lines: Lines, at: int, old: bytes, new: bytes) -> Lines:
    assert old in lines[at]
    return [*lines[:at], lines[at].replace(old, new), *lines[at + 1 :]]


def hashed_again(lines: Lines, start: int, *, signatures: bool = True) -> Lines:
    """What somebody without the key can do best: hash everything again from a line on."""
    chain = Chain()
    made = lines[:start]
    for line in lines[start:]:
        entry = json.loads(line)
        chain.writer, chain.sequence = entry.pop("chain")["writer"], len(made)
        chain.head = line_hash(made[-1][:-1]) if made else FIRST
        signature = entry.pop("signature", "")
        del entry["hash"]
        sealed = chain.seal([json.dumps(entry, separators=(",", ":"))], None)
        if signatures and signature:
            sealed = sealed[:-2] + f',"signature":"{signature}"}}\n'.encode()
        made.append(sealed)
    return made


def spoiled(line: bytes) -> bytes:
    """The line with another signature."""
    return line.replace(b'"signature":"', b'"signature":"AAAA')


def bare(line: bytes) -> bytes:
    """The line without its signature."""
    text, signature, _ = line.partition(b',"signature"')
    return text + b"}\n" if signature else line


# Line 0 opens the chain; record n is line n + 1; line 11 closes it.
TAMPERED: dict[str, tuple[Callable[[Lines], Lines], str]] = {
    "a value": (lambda x: changed(x, 4, b'"allowed"', b'"refused"'), "changed"),
    "a value in the first line": (lambda x: changed(x, 0, b'"format"', b'"formal"'), "changed"),
    "a value in the last line": (lambda x: changed(x, 11, b'"close"', b'"clean"'), "changed"),
    "a number": (lambda x: changed(x, 4, b'"sequence":4', b'"sequence":44'), "changed"),
    "a hash": (lambda x: changed(x, 4, b'"hash":"', b'"hash":"0'), "dropped"),
    "a signature": (lambda x: [*x[:4], spoiled(x[4]), *x[5:]], "broken"),
    "the last signature": (lambda x: [*x[:11], spoiled(x[11])], "signature"),
    "a value, hashed again": (lambda x: hashed_again(changed(x, 4, b'"allowed"', b'"refused"'), 4), "signature"),
    "the last line, hashed again": (lambda x: hashed_again(changed(x, 11, b"close", b"clean"), 11), "signature"),
    "the last line, hashed again, no signature": (
        lambda x: hashed_again(changed(x, 11, b"close", b"clean"), 11, signatures=False),
        "unsigned_end",
    ),
    "no signature on the last line": (lambda x: [*x[:11], bare(x[11])], "unsigned_end"),
    "no signatures at all": (lambda x: hashed_again([bare(line) for line in x], 0), "unsigned_end"),
    "no signatures and none said": (
        lambda x: hashed_again(changed([bare(y) for y in x], 0, x[0].split(b'"signing":')[1].split(b",")[0], b'""'), 0),
        "unsigned",
    ),
    "a record dropped": (lambda x: [*x[:4], *x[5:]], "dropped"),
    "a record dropped, hashed again": (lambda x: hashed_again([*x[:4], *x[5:]], 4), "signature"),
    "the first line dropped": (lambda x: x[1:], "dropped"),
    "two records swapped": (lambda x: [*x[:4], x[5], x[4], *x[6:]], "moved"),
    "a record twice": (lambda x: [*x[:5], x[4], *x[5:]], "repeated"),
    "two records of a number": (lambda x: [*x[:5], *changed([x[4]], 0, b"allowed", b"refused"), *x[5:]], "repeated"),
    "a record of no chain": (lambda x: [*x[:5], b'{"outcome":"allowed"}\n', *x[5:]], "unchained"),
    "a record after the end": (lambda x: hashed_again([*x, x[10]], 12), "added"),
    "a line made unreadable": (lambda x: [*x[:4], b"?" * len(x[4][:-1]) + b"\n", *x[5:]], "dropped"),
    "part of a line": (lambda x: [*x[:4], x[4][:50] + b"\n", *x[5:]], "dropped"),
}


@pytest.mark.parametrize("name", TAMPERED)
@pytest.mark.parametrize("place", ["audit.jsonl", "audit"])
def test_tampering_is_found(tmp_path: Path, name: str, place: str) -> None:
    write(tmp_path / place, range(10))
    file = tmp_path / place if place == "audit.jsonl" else next((tmp_path / place).glob("*.jsonl"))
    lines = file.read_bytes().splitlines(keepends=True)
    tamper, code = TAMPERED[name]
    file.write_bytes(b"".join(tamper(lines)))
    found = verify(tmp_path / place)
    assert not found.ok
    assert ("error", code) in codes(found)
    # One place, few words: the rest of the log is still vouched for.
    assert len(found.findings) <= 4
    if code in ("changed", "dropped", "repeated", "moved") and "hashed" not in name:
        assert found.chains[0].vouched >= 9


def test_every_byte_counts(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    write(file, range(2))
    whole = file.read_bytes()
    for at in [*range(0, len(whole) - 700, 17), *range(len(whole) - 700, len(whole) - 1, 3)]:
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert not verify(file).ok, at


def test_without_a_key_accidents_are_found_and_forgeries_are_not(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    write(file, range(10), key=None)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(changed(lines, 4, b'"allowed"', b'"refused"')))
    assert ("error", "changed") in codes(verify(file, key=None))
    file.write_bytes(b"".join(hashed_again(changed(lines, 4, b'"allowed"', b'"refused"'), 4)))
    forged = verify(file, key=None)
    assert forged.ok
    assert forged.signatures == "none"
    assert ("error", "unsigned") in codes(verify(file))


def test_another_key_is_not_the_key(tmp_path: Path) -> None:
    write(tmp_path / "audit.jsonl", range(3), key=SECRET)
    assert ("error", "signature") in codes(verify(tmp_path / "audit.jsonl"))
    assert verify(tmp_path / "audit.jsonl", key=None).signatures == "unchecked"
    two = [read_verifier(PUBLIC), read_verifier(SECRET)]
    assert verify_log([tmp_path / "audit.jsonl"], verifiers=two).ok


def cut(file: Path, keep: int) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:keep]))


def test_a_cut_off_end_is_a_warning_by_itself(tmp_path: Path) -> None:
    """It looks like a process that was ended by force: nothing in the log can tell."""
    file = tmp_path / "audit.jsonl"
    write(file, range(10))
    cut(file, 6)
    found = verify(file)
    assert codes(found) == [("warning", "open_end")]
    assert found.records == 5


def test_a_cut_off_end_is_found_by_what_refers_to_it(tmp_path: Path) -> None:
    """Another writer, an anchor, a caller's id, what was noted down from an earlier verification."""
    folder, anchors = tmp_path / "audit", tmp_path / "elsewhere"
    write(folder, range(10), anchor=anchors)
    noted = verify(folder)
    assert noted.ok
    first = next(folder.glob("*.jsonl"))
    whole = first.read_bytes()
    cut(first, 8)
    assert ("error", "missing_record") in codes(verify(folder, expected=[f"{9:032x}"]))
    assert ("error", "cut_off") in codes(verify(folder, anchors=read_anchors(anchors)))
    first.write_bytes(whole)
    write(folder, range(10, 12), heads=(1, 1e9), anchor=anchors)
    cut(first, 8)
    assert ("error", "cut_off") in codes(verify(folder))
    # Without the file as a whole, too.
    first.unlink()
    found = verify(folder)
    assert ("error", "cut_off") in codes(found)
    assert "the whole chain" in next(f.message for f in found.findings if f.code == "cut_off")
    last = next(folder.glob("*.jsonl"))
    cut(last, 2)
    assert ("error", "cut_off") in codes(verify(last, anchors=read_anchors(anchors)))


def test_a_rewritten_end_is_found_by_what_refers_to_it(tmp_path: Path) -> None:
    """Somebody who has the key, too, cannot change what was noted down elsewhere."""
    file = tmp_path / "audit.jsonl"
    write(file, range(5))
    anchor = tmp_path / "anchor"
    anchor.write_text(anchor_lines(verify(file).heads))
    file.unlink()
    write(file, range(4))
    assert ("error", "cut_off") in codes(verify(file, anchors=read_anchors(anchor)))


def test_rotated_files_are_one_chain(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    write(folder, range(100), rotate_bytes=10_000)
    files = sorted(folder.glob("*.jsonl"))
    assert len(files) > 5
    assert verify(folder).findings == ()
    assert verify(folder).records == 100
    files[2].unlink()
    assert ("error", "dropped") in codes(verify(folder))


def test_a_database_that_was_changed(tmp_path: Path) -> None:
    path = tmp_path / "audit.sqlite"
    write(path, range(10))
    with sqlite3.connect(path) as connection:
        counted = connection.execute("SELECT outcome, count(*) FROM records GROUP BY outcome").fetchall()
        assert counted == [("allowed", 10)]
        connection.execute("UPDATE lines SET line = replace(line, 'allowed', 'refused') WHERE sequence = 4")
        connection.execute("DELETE FROM lines WHERE sequence = 7")
    found = verify(path)
    assert ("error", "changed") in codes(found)
    assert ("error", "dropped") in codes(found)


def test_what_a_crash_leaves_is_told_from_tampering(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    write(file, range(3), close=False)
    with file.open("ab") as torn:
        torn.write(b'{"time":"2026-01-01T00:0')
    assert codes(verify(file)) == [("warning", "torn"), ("warning", "open_end")]
    write(file, range(3, 5))
    found = verify(file)
    assert found.ok
    assert found.records == 5
    assert sorted(codes(found)) == [("warning", "open_end"), ("warning", "torn")]


def test_a_file_that_was_moved_away_is_not_written_to_any_more(tmp_path: Path) -> None:
    log = write(tmp_path / "audit.jsonl", range(3), close=False)
    (tmp_path / "audit.jsonl").rename(tmp_path / "old.jsonl")
    log.write(record(3))
    log.close()
    assert [r["audit_id"] for r in read_records(tmp_path / "audit.jsonl") if isinstance(r, dict)] == [f"{3:032x}"]
    assert verify(tmp_path / "old.jsonl", tmp_path / "audit.jsonl").findings == ()
    assert ("error", "dropped") in codes(verify(tmp_path / "audit.jsonl"))


def test_a_forked_process_writes_a_chain_of_its_own(tmp_path: Path) -> None:
    log = write(tmp_path / "audit", range(3), close=False)
    child = os.fork()
    if child == 0:
        log.write(record(3))
        log.close()
        os._exit(0)
    os.waitpid(child, 0)
    log.write(record(4))
    log.close()
    found = verify(tmp_path / "audit")
    assert found.findings == ()
    assert [c.records for c in found.chains] == [4, 1]


def test_much_of_a_kind_is_counted(tmp_path: Path) -> None:
    write(tmp_path / "audit", range(100))
    file = next((tmp_path / "audit").glob("*.jsonl"))
    (tmp_path / "audit" / "z.jsonl").write_bytes(file.read_bytes())
    found = verify(tmp_path / "audit")
    assert len(found.findings) == 21
    assert found.findings[-1].message == "and 82 more of this kind"
    assert not found.ok


def test_a_number_far_away_costs_nothing(tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    write(file, range(3))
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(changed(lines, 2, b'"sequence":2', b'"sequence":99999999999999999')))
    assert ("error", "dropped") in codes(verify(file))


def test_keys_of_the_wrong_kind() -> None:
    for bad in (b"", b"short", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", PUBLIC):
        with pytest.raises(KeyUnusable):
            read_signer(bad)
    with pytest.raises(KeyUnusable):
        read_verifier(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----")
    assert read_signer(PEM).name == read_verifier(PUBLIC).name == read_verifier(PEM).name
    assert read_signer(SECRET + b"\n").name == read_verifier(SECRET).name


def test_what_is_not_there_or_no_log(tmp_path: Path) -> None:
    with pytest.raises(AuditFailed) as caught:
        verify(tmp_path / "nothing.jsonl")
    assert caught.value.code == "audit.unreadable"
    (tmp_path / "noise.sqlite").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(AuditFailed):
        verify(tmp_path / "noise.sqlite")
    (tmp_path / "noise.jsonl").write_bytes(os.urandom(5000) + b"[" * 5000 + b"\n{}\n" + b'"x"\n')
    assert {code for _, code in codes(verify(tmp_path / "noise.jsonl"))} <= {"torn", "unchained", "damaged"}
    (tmp_path / "empty").mkdir()
    assert verify(tmp_path / "empty").records == 0


@pytest.mark.parametrize("name", ["audit", "audit.jsonl", "audit.sqlite"])
def test_processes_that_are_killed_lose_nothing_that_was_acknowledged(tmp_path: Path, name: str) -> None:
    plan = Plan(records=600, processes=2, threads=2, durability="process", rotate=100_000, tamperings=18)
    outcome = torture(tmp_path / name, plan)
    assert outcome.wrong == []
    assert outcome.acknowledged >= 600
    assert outcome.killed >= 2
    assert outcome.bytes > 0
