"""YAML text → data with positions: what is refused, and that every position is the one an editor shows."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rls.errors import PolicyInvalid
from rls.yaml_source import MAX_BYTES, parse_documents, read_documents


def read(text: str):
    return parse_documents(text, file="p.yaml")


def test_scalars_are_not_guessed() -> None:
    text = "[1, -2, 010, 0x1f, 1_0, 1.50, 1e3, .inf, no, on, true, ~, null, 2026-01-01, '1', \"true\", 12:30]"
    assert read(text)[0].data == [
        1, -2, "010", "0x1f", "1_0", Decimal("1.50"), "1e3", ".inf", "no", "on", True, None, None,
        "2026-01-01", "1", "true", "12:30",
    ]  # fmt: skip
    assert str(read("1.50")[0].data) == "1.50"


def test_positions_of_keys_and_values() -> None:
    first, second = read("# note\na:\n  - b: one\n    c: [x, y]\n---\nd: 1\n")
    assert first.data == {"a": [{"b": "one", "c": ["x", "y"]}]}
    assert first.position(("a",), key=True) == (2, 1)
    assert first.position(("a", 0, "b")) == (3, 8)
    assert first.position(("a", 0, "c"), key=True) == (4, 5)
    assert first.position(("a", 0, "c", 1)) == (4, 12)
    assert first.position(("a", 0, "zzz")) == (3, 5)
    assert second.position(("d",)) == (6, 4)


@pytest.mark.parametrize(
    ("text", "offset", "want"),
    [
        ("using: a = b", 4, (1, 12)),
        ("using: 'a = b'", 4, (1, 13)),
        ('using: "a = b"', 0, (1, 9)),
        ("using: |\n  a = 1\n  AND b = 2\n", 10, (3, 7)),
        ("using: |\n\n    a = 1\n      AND b\n", 9, (4, 7)),
        ("using: |-\n  a = 1\n", 0, (2, 3)),
        ("using: >\n  a =\n  b\n", 3, (1, 8)),
        ('using: "a\\n = b"', 3, (1, 8)),
        ("using: 'a = ''b'''", 9, (1, 8)),
    ],
)
def test_position_within_a_text_value(text: str, offset: int, want: tuple[int, int]) -> None:
    assert read(text)[0].position_within(("using",), offset) == want


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("", "policy.empty", 1, 1),
        ("# only a comment\n", "policy.empty", 1, 1),
        ("a: 1\n---\n---\nb: 2\n", "policy.empty", 3, 1),
        ("a: 1\nb: 2\na: 3\n", "policy.duplicate_key", 3, 1),
        ("a: {x: 1, x: 2}", "policy.duplicate_key", 1, 11),
        ("a: 1\n'a': 2", "policy.duplicate_key", 2, 1),
        ("a: &x 1\nb: *x", "policy.anchor", 1, 4),
        ("b: *x", "policy.anchor", 1, 4),
        ("a: 1\n<<: {b: 1}", "policy.anchor", 2, 1),
        ("a: !!python/object:os.system 1", "policy.tag", 1, 4),
        ("a: !!str 1", "policy.tag", 1, 4),
        ("1: a", "policy.key", 1, 1),
        ("null: a", "policy.key", 1, 1),
        ("? [a, b]\n: c", "policy.key", 1, 3),
        ("? {a: b}\n: c", "policy.key", 1, 3),
        ("a: [1, 2", "policy.yaml", 1, 9),
        ("a: b: c", "policy.yaml", 1, 5),
        ("a: 'open", "policy.yaml", 1, 9),
        ("a:\n\t- b", "policy.yaml", 2, 1),
        ("a: \x07", "policy.yaml", 1, 4),
        ("%YAML 9.9\n---\na: 1", "policy.yaml", 1, 1),
        ("[" * 100_000, "policy.too_deep", 1, 65),
        ("- " * 500_000, "policy.too_deep", 1, 129),
        ("a: 1\n" + "x" * MAX_BYTES, "policy.too_large", 1, 1),
        ("- a\n" * 50_001, "policy.too_large", 50_000, 3),
    ],
    ids=lambda v: v[:20] if isinstance(v, str) else None,
)
def test_refused_with_position(text: str, code: str, line: int, column: int) -> None:
    with pytest.raises(PolicyInvalid) as caught:
        read(text)
    assert (caught.value.code, caught.value.line, caught.value.column) == (code, line, column)
    assert caught.value.file == "p.yaml"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"a: \xff\xfe", "policy.encoding"),
        ("a: 1".encode("utf-16"), "policy.encoding"),
        (b"\xc3", "policy.encoding"),
        (b"x" * (MAX_BYTES + 1), "policy.too_large"),
        (b"", "policy.empty"),
        (b"\x00", "policy.yaml"),
    ],
)
def test_bytes_that_are_refused(tmp_path: Path, raw: bytes, code: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(raw)
    with pytest.raises(PolicyInvalid) as caught:
        read_documents(path)
    assert caught.value.code == code
    assert caught.value.file == str(path)


def test_encoding_error_has_its_position(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes("é: 1\nbü: ".encode() + b"\xff")
    with pytest.raises(PolicyInvalid) as caught:
        read_documents(path)
    assert (caught.value.line, caught.value.column) == (2, 5)


def test_unreadable_paths(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path, Path("a\0b")):
        with pytest.raises(PolicyInvalid) as caught:
            read_documents(path)
        assert caught.value.code == "policy.unreadable"


def test_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb:\r\n  - c\r\n")
    document = read_documents(path)[0]
    assert document.data == {"a": 1, "b": ["c"]}
    assert document.position(("b", 0)) == (3, 5)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=60), st.text(alphabet="ab:-[]{}'\"#&*!|>%@`?, \n\t\\", max_size=60)))
def test_any_text_gives_documents_or_policy_invalid(text: str) -> None:
    try:
        documents = read(text)
    except PolicyInvalid as error:
        assert error.line >= 1
        assert error.column >= 1
    else:
        assert all(document.position() >= (1, 1) for document in documents)
