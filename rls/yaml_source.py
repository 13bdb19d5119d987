"""YAML text → plain data with a position for every key and value; what is not plain → `PolicyInvalid` at its position.

Takes a file written by a person and returns documents (one file may hold several); `rls.yaml_model` makes model
instances of them. It owns the rule that a file says one thing only: duplicate keys, anchors, aliases, merge keys, tags,
keys that are not text, and files that are empty, too large, too deep or not UTF-8 are refused.

Data is built from the parser's events, not by a YAML constructor, because constructors guess: `no` and `2026-01-01`
stay text here, numbers with a fraction are `Decimal` (exact), `010` is text and not 8 or 10.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from rls.errors import PolicyInvalid, Position

__all__ = ["IN_BRACES", "MAX_BYTES", "Document", "NodePath", "parse_documents", "read_documents"]

NodePath = tuple[str | int, ...]

IN_BRACES = 'between braces, put text with a comma, colon, quote or bracket in it in quotes: `using: "…"`'
MAX_BYTES = 1 << 20
MAX_DEPTH = 64
# Values in a file. The parser takes some 20 µs for each, and no person writes more.
MAX_VALUES = 50_000

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,37})")
_FRACTION = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,37})\.[0-9]{1,38}")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def read_documents(path: Path) -> list[Document]:
    """The YAML documents of a file, in order; never an empty list.

    Raises PolicyInvalid: `policy.unreadable`, `policy.too_large`, `policy.encoding`, and those of `parse_documents`.
    """
    try:
        with path.open("rb") as source:
            raw = source.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise PolicyInvalid("policy.unreadable", f"cannot read the file: {reason.lower()}", file=str(path)) from None
    if len(raw) > MAX_BYTES:
        raise PolicyInvalid("policy.too_large", f"file is larger than {MAX_BYTES} bytes", file=str(path))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = Position.at(raw[: error.start].decode("utf-8-sig", "replace"), error.start)
        raise PolicyInvalid(
            "policy.encoding",
            "file is not UTF-8 text",
            file=str(path),
            line=place.line,
            column=place.column,
            hint="save it as UTF-8",
        ) from None
    return parse_documents(text, file=str(path))


def parse_documents(text: str, *, file: str) -> list[Document]:
    """The YAML documents of a text; `file` is its name in errors.

    Raises PolicyInvalid: `policy.yaml` (syntax), `policy.empty`, `policy.duplicate_key`, `policy.key`,
    `policy.anchor`, `policy.tag`, `policy.too_deep`, `policy.too_large`.

    >>> parse_documents("a: [1, two]", file="x.yaml")[0].position(("a", 1))
    (1, 8)
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError, YAMLStreamError

    if len(text) > MAX_BYTES:
        raise PolicyInvalid("policy.too_large", f"file is larger than {MAX_BYTES} bytes", file=file)
    builder = _Builder(text, file)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.take(event)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join((error.problem or error.context or "not valid").split())
        at = mark.index if mark else 0
        hint = IN_BRACES if _is_in_braces(text, at) else None
        raise builder.invalid("policy.yaml", f"not valid YAML: {problem}", at, hint=hint) from None
    except (YAMLError, YAMLStreamError) as error:
        raise builder.invalid("policy.yaml", "not valid YAML", getattr(error, "position", 0) or 0) from None
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError, AssertionError):
        # The parser is not hardened against every input; half a document is worth nothing.
        raise builder.invalid("policy.yaml", "not valid YAML", 0) from None
    if not builder.documents:
        raise builder.invalid("policy.empty", "file is empty", 0)
    return builder.documents


def _is_in_braces(text: str, at: int) -> bool:
    """Whether a place comes after a brace on its line that nothing has closed."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line.count("{") > line.count("}")


@dataclass(frozen=True, slots=True)
class _Span:
    """Where a value stands: offsets into the text; `key` is its key's (or its own) start, `style` as YAML wrote it."""

    key: int
    start: int
    end: int
    style: str | None = None


@dataclass(frozen=True)
class Document:
    """One YAML document: `data` is dict, list, str, int, Decimal, bool or None; `file` is the name shown in errors."""

    file: str
    text: str = field(repr=False)
    data: Any
    _spans: Mapping[NodePath, _Span] = field(repr=False, compare=False)

    def at(self, path: NodePath) -> Any:
        """The data at a path; raises LookupError where there is none."""
        found = self.data
        for part in path:
            found = found[part]
        return found

    def position(self, path: NodePath = (), *, key: bool = False) -> tuple[int, int]:
        """Line and column (from 1) of the value at `path`, or of its key.

        A path that leads nowhere gives the position of the nearest value above it.
        """
        span = self._nearest(path)
        return self._line_column(span.key if key else span.start)

    def position_within(self, path: NodePath, offset: int) -> tuple[int, int]:
        """Line and column in the file of character `offset` of the text value at `path`.

        Exact for plain and quoted text on one line and for `|` blocks; where YAML folded or unescaped the text, the
        position of the value.
        """
        span, value = self._nearest(path), self._text_at(path)
        written = self.text[span.start : span.end]
        if span.style == "|":
            body = written.partition("\n")[2].split("\n")
            first = next((line for line in body if line.strip(" ")), "")
            value_first = next((line for line in value.split("\n") if line.strip(" ")), "")
            indent = len(first) - len(value_first)
            before = value[:offset]
            line, _ = self._line_column(span.start)
            return line + 1 + before.count("\n"), indent + offset - (before.rfind("\n") + 1) + 1
        lead = 0 if span.style is None else 1
        if written[lead : lead + len(value)] == value and "\n" not in value:
            return self._line_column(span.start + lead + max(0, min(offset, len(value))))
        return self._line_column(span.start)

    def follows_comma(self, path: NodePath) -> bool:
        """Whether a key stands behind a comma, as it does between braces."""
        return self.text[: self._nearest(path).key].rstrip().endswith(",")

    def invalid(
        self,
        code: str,
        message: str,
        *,
        path: NodePath = (),
        key: bool = False,
        offset: int | None = None,
        hint: str | None = None,
    ) -> PolicyInvalid:
        """A PolicyInvalid for the value (or key) at `path`, or for character `offset` inside that text value."""
        where = self.position(path, key=key) if offset is None else self.position_within(path, offset)
        return PolicyInvalid(code, message, file=self.file, line=where[0], column=where[1], hint=hint)

    def _nearest(self, path: NodePath) -> _Span:
        while path and path not in self._spans:
            path = path[:-1]
        return self._spans[path]

    def _text_at(self, path: NodePath) -> str:
        try:
            value = self.at(path)
        except (LookupError, TypeError):
            return ""
        return value if isinstance(value, str) else ""

    def _line_column(self, offset: int) -> tuple[int, int]:
        place = Position.at(self.text, offset)
        return place.line, place.column


@dataclass(slots=True)
class _Open:
    """A mapping or sequence being read; `key` is the pending key of a mapping with its offset."""

    value: dict[str, Any] | list[Any]
    path: NodePath
    key: str | None = None
    key_start: int = 0


class _Builder:
    """Builds documents from parser events; a stack, not recursion, so that depth is bounded here and nowhere else."""

    def __init__(self, text: str, file: str) -> None:
        self.text, self.file = text, file
        self.documents: list[Document] = []
        self._stack: list[_Open] = []
        self._spans: dict[NodePath, _Span] = {}
        self._data: Any = None
        self._count = 0

    def invalid(self, code: str, message: str, offset: int, *, hint: str | None = None) -> PolicyInvalid:
        place = Position.at(self.text, offset)
        return PolicyInvalid(code, message, file=self.file, line=place.line, column=place.column, hint=hint)

    def take(self, event: Any) -> None:
        start, end = event.start_mark.index, event.end_mark.index
        match type(event).__name__:
            case "StreamStartEvent" | "StreamEndEvent":
                pass
            case "DocumentStartEvent":
                self._spans, self._data = {}, None
            case "DocumentEndEvent":
                if self._data is None:
                    raise self.invalid("policy.empty", "document is empty", min(start, len(self.text)))
                self.documents.append(Document(self.file, self.text, self._data, self._spans))
            case "AliasEvent":
                raise self.invalid("policy.anchor", "aliases are not allowed", start, hint="write the value out")
            case "MappingStartEvent" | "SequenceStartEvent" as kind:
                self._refuse_properties(event, start)
                self._open({} if kind.startswith("Map") else [], start, end)
            case "MappingEndEvent" | "SequenceEndEvent":
                self._stack.pop()
            case "ScalarEvent":
                self._refuse_properties(event, start)
                self._scalar(event, start, end)
            case _:
                raise self.invalid("policy.yaml", "this YAML is not supported", start)

    def _refuse_properties(self, event: Any, start: int) -> None:
        if event.anchor is not None:
            raise self.invalid("policy.anchor", "anchors are not allowed", start, hint="write the value out")
        if event.tag is not None:
            raise self.invalid("policy.tag", "tags are not allowed", start, hint="write the plain value")

    def _open(self, value: dict[str, Any] | list[Any], start: int, end: int) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise self.invalid("policy.too_deep", f"nested deeper than {MAX_DEPTH} levels", start)
        path = self._place(value, start, end, None)
        self._stack.append(_Open(value, path))

    def _scalar(self, event: Any, start: int, end: int) -> None:
        plain = event.style is None
        value = _resolve(event.value) if plain else event.value
        top = self._stack[-1] if self._stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self._key(top, value, event, start)
        else:
            self._place(value, start, end, event.style)

    def _key(self, top: _Open, value: Any, event: Any, start: int) -> None:
        if not isinstance(value, str):
            raise self.invalid("policy.key", f"key `{event.value}` is not text", start, hint="put it in quotes")
        if value == "<<" and event.style is None:
            raise self.invalid("policy.anchor", "merge keys are not allowed", start, hint="write the keys out")
        if value in top.value:
            first = Position.at(self.text, self._spans[(*top.path, value)].key).line
            raise self.invalid("policy.duplicate_key", f"key `{value}` is given twice, first on line {first}", start)
        top.key, top.key_start = value, start

    def _place(self, value: Any, start: int, end: int, style: str | None) -> NodePath:
        """Put a value where it belongs and remember where it stood."""
        self._count += 1
        if self._count > MAX_VALUES:
            raise self.invalid("policy.too_large", f"file has more than {MAX_VALUES} values", start)
        if not self._stack:
            self._data = value
            self._spans[()] = _Span(start, start, end, style)
            return ()
        top = self._stack[-1]
        path: NodePath
        if isinstance(top.value, list):
            path = (*top.path, len(top.value))
            top.value.append(value)
            self._spans[path] = _Span(start, start, end, style)
            return path
        if top.key is None:
            raise self.invalid("policy.key", "a key must be text", start)
        path = (*top.path, top.key)
        top.value[top.key] = value
        self._spans[path] = _Span(top.key_start, start, end, style)
        top.key = None
        return path


def _resolve(plain: str) -> str | int | Decimal | bool | None:
    """A plain scalar's value by the core schema of YAML 1.2, without its octal, hexadecimal and infinite numbers."""
    if plain in _WORDS:
        return _WORDS[plain]
    if _INTEGER.fullmatch(plain):
        return int(plain)
    if _FRACTION.fullmatch(plain):
        return Decimal(plain)
    return plain
