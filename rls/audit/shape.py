"""A JSON object that stands in a log → whether it has the shape of a record, however it came there.

Owns that whoever reads records (reports, exports, replays) meets no field of another kind than `AuditRecord` has:
what a hand has put into a log is shown as a torn line, and stops nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from rls.audit.record import AuditRecord

__all__ = ["is_record"]


def is_record(found: Mapping[str, Any]) -> bool:
    """Whether every field that is there is of its kind; those that an earlier version lacked may be missing, names
    that a later one has may be there."""
    return all(name in found for name in _NEEDED) and all(
        fits(found[name]) for name, fits in _FIELDS.items() if name in found
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_text_map(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e12


def _is_time(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).utcoffset() is not None
    except ValueError:
        return False


def _are_relations(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(one, dict) and _is_relation(one) for one in value.values())


def _is_relation(one: Mapping[str, Any]) -> bool:
    return (
        "kind" in one
        and "policies" in one
        and all(
            _is_texts(value) if name in ("policies", "masked", "denied") else _is_text(value)
            for name, value in one.items()
        )
    )


def _or_none(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or fits(value)


_NEEDED: Final = ("time", "audit_id", "action", "outcome")
_SPECIAL: Final[Mapping[str, Callable[[object], bool]]] = {
    "time": _is_time,
    # Words, which a later version may have more of.
    "action": _is_text,
    "outcome": _is_text,
    "sql_kept": _is_text,
    "token_id": _or_none(_is_text),
    "row_count": _or_none(_is_count),
    "byte_count": _or_none(_is_count),
    "sql_length": _is_count,
    "duration": _is_seconds,
    "timings": lambda value: isinstance(value, dict) and all(map(_is_seconds, value.values())),
    "statistics_hidden": lambda value: type(value) is bool,
    "relations": _are_relations,
}
_BY_ANNOTATION: Final[Mapping[str, Callable[[object], bool]]] = {
    "str": _is_text,
    "tuple[str, ...]": _is_texts,
    "dict[str, str]": _is_text_map,
}
_FIELDS: Final = {f.name: _SPECIAL.get(f.name) or _BY_ANNOTATION[str(f.type)] for f in fields(AuditRecord)}
