"""Spots → the values that are tried: what policies and personas mention, the neighbours of that, and strangers.

Takes `Spots` and what personas already have; returns values per group of spots, the most telling first. Owns that
values of one group meet each other, and that each says by its text what it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import zip_longest
from typing import Any, Final

from rls.catalog import fold
from rls.identity.attributes import Attribute
from rls.identity.principal import Principal
from rls.lab.seed.spots import Spot, Spots, kind_of

__all__ = ["Pools", "plain_value"]

MOST: Final = 16
MOST_PARTED: Final = 3
_AROUND: Final = (("x", ""), ("", "x"))
_ROOMY: Final = frozenset(("VARCHAR", "INTEGER", "BIGINT", "HUGEINT", "UINTEGER", "UBIGINT", "UHUGEINT"))


@dataclass
class Pools:
    """Values per group of spots. `personas` lend theirs; `declared` are the identity file's attributes."""

    spots: Spots
    personas: Sequence[Principal]
    declared: Mapping[str, Attribute]
    roles: Sequence[str]
    today: date
    _made: dict[Spot, list[Any]]

    @classmethod
    def of(
        cls,
        spots: Spots,
        personas: Sequence[Principal],
        *,
        declared: Mapping[str, Attribute],
        roles: Sequence[str],
        today: date,
    ) -> Pools:
        return cls(spots, personas, declared, roles, today, {})

    def values(self, spot: Spot) -> list[Any]:
        """What is tried in a spot, never NULL."""
        group = self.spots.group(spot)
        if group not in self._made:
            self._made[group] = self._make(group)
        return [v for v in self._made[group] if _fits(v, self.spots.types[spot])]

    def set(self, spot: Spot, values: list[Any]) -> None:
        """Give a spot's whole group other values: the keys that its own table has."""
        self._made[self.spots.group(spot)] = values

    def is_key(self, spot: Spot) -> bool:
        """Whether a spot's group has whole numbers or texts that mean nothing but themselves, and room for more."""
        types = {self.spots.types[member] for member in self.spots.members(self.spots.group(spot))}
        return self.is_free(spot) and types <= _ROOMY

    def is_free(self, spot: Spot) -> bool:
        """Whether nothing but columns meets in a spot's group: no attribute, and no constant."""
        return not self.spots.constants(self.spots.group(spot)) and self.is_of_columns(spot)

    def is_of_columns(self, spot: Spot) -> bool:
        """Whether no attribute is in a spot's group."""
        return all(s[0] == "column" for s in self.spots.members(self.spots.group(spot)))

    def _make(self, group: Spot) -> list[Any]:
        members = self.spots.members(group)
        type_ = next((self.spots.types[s] for s in members if "ENUM(" in self.spots.types[s]), self.spots.types[group])
        kind = kind_of(type_)
        word = _word(members)
        found: dict[Any, None] = {}
        for spot in members:
            if spot[0] == "attribute":
                found.update(dict.fromkeys(self._of_attribute(spot[1])))
        # The constants themselves first: beside many, their neighbours are what there is no room for.
        listed = [_neighbours(value, kind, type_) for value in self.spots.constants(group)]
        found.update(dict.fromkeys(value for turn in zip_longest(*listed) for value in turn if value is not None))
        if "ENUM(" in type_:
            labels = [label.replace("''", "'") for label in re.findall(r"'((?:[^']|'')*)'", type_)]
            return [*dict.fromkeys([*(v for v in found if v in labels), *labels])][:6]
        if kind == "text" and self.spots.parted & set(members):
            # What holds a text, and does not begin or end with it.
            whole = [*found][:MOST_PARTED] or [f"{word}-1"]
            found.update(dict.fromkeys(whole))
            found.update(dict.fromkeys(f"{before}{value}{after}" for value in whole for before, after in _AROUND))
        if ("attribute", "roles") not in members:
            for value in self._strangers(kind, word):
                if len(found) < 2 or value not in found:
                    found.setdefault(value)
        kept = list(found)
        # Strangers are at the end, and one must be among those that are kept.
        return kept if len(kept) <= MOST else [*kept[: MOST - 1], kept[-1]]

    def _of_attribute(self, name: str) -> list[Any]:
        if name == "roles":
            return list(self.roles)
        if name == "subject":
            return list(dict.fromkeys(p.subject for p in self.personas))
        values: dict[Any, None] = {}
        for persona in self.personas:
            for key, value in persona.attributes.items():
                if fold(key) == name:
                    values.update(dict.fromkeys(value if isinstance(value, tuple) else (value,)))
        declared = next((a for key, a in self.declared.items() if fold(key) == name), None)
        if declared is not None and declared.enum is not None:
            return list(dict.fromkeys([*values, *declared.enum]))[:6]
        return list(values)[: None if name in self.spots.naming else 4]

    def _strangers(self, kind: str, word: str) -> list[Any]:
        match kind:
            case "text":
                return [f"{word}-1", f"{word}-2", f"other {word}"]
            # The first is what most rows hold: something is below it, and something above.
            case "integer":
                return [2, 1, 900]
            case "decimal":
                return [Decimal("2.00"), Decimal("1.00"), Decimal("250.00")]
            case "double" | "float":
                return [2.0, 1.0, 250.0]
            case "date":
                return [self.today, self.today - timedelta(days=400), self.today + timedelta(days=30)]
            case "timestamp":
                noon = datetime(self.today.year, self.today.month, self.today.day, 12)
                return [noon, noon - timedelta(days=400), noon + timedelta(days=30)]
            case "boolean":
                return [True, False]
            case "uuid":
                return [f"00000000-0000-0000-0000-00000000000{n}" for n in (1, 2, 3)]
            case _:
                return []


def plain_value(type_: str, name: str, number: int) -> Any:
    """A value for a column that no condition looks at, so that a mask has something to hide; None if none fits."""
    match kind_of(type_):
        case _ if type_.endswith("[]"):
            return None
        case "text" if "ENUM(" in type_:
            found = re.search(r"'((?:[^']|'')*)'", type_)
            return None if found is None else found[1].replace("''", "'")
        case "text" if "mail" in fold(name):
            return f"person{number}@mail.test"
        case "text":
            return f"{fold(name).replace(' ', '_')}-{number}"
        case "integer":
            return number % _beyond(type_)
        case "decimal":
            return Decimal(number % _beyond(type_))
        case "double" | "float":
            return float(number)
        case "date":
            return date(2026, 1, 1) + timedelta(days=number % 300)
        case "timestamp":
            return datetime(2026, 1, 1, 12) + timedelta(days=number % 300)
        case "boolean":
            return True
        case _:
            return None


def _word(members: Sequence[Spot]) -> str:
    """What the values of a group are called: the attribute, else the first column."""
    named = next((s for s in members if s[0] == "attribute" and s[1] not in ("subject", "roles")), members[0])
    return re.sub(r"(?<=.)_(id|key|code)$", "", named[-1]) or "value"


def _fits(value: Any, type_: str) -> bool:
    """Whether a value of a group is one of this spot's type: an ENUM has its labels only, a number its digits."""
    if "ENUM(" in type_:
        return str(value) in [x.replace("''", "'") for x in re.findall(r"'((?:[^']|'')*)'", type_)]
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return bool(-_beyond(type_) < value < _beyond(type_))
    return True


def _beyond(type_: str) -> int:
    """The first whole number that is too large for a type."""
    digits = re.search(r"DECIMAL\((\d+),\s*(\d+)\)", type_)
    if digits is not None:
        return int(10 ** (int(digits[1]) - int(digits[2])))
    return {"TINYINT": 100, "UTINYINT": 200, "SMALLINT": 30_000, "USMALLINT": 60_000}.get(type_, 1_000_000_000)


def _neighbours(value: Any, kind: str, type_: str) -> list[Any]:
    """A constant that something is compared with, and the values beside it, as values of a kind."""
    match kind, value:
        case "text", str():
            plain = value.replace("%", "x").replace("_", "y")
            if plain == value:
                return [value, *([value.swapcase()] if value.swapcase() != value else [])]
            # Of a pattern: what it is like, with something beside it, one letter of it, two for one.
            inner = value.strip("%")
            ends = [f"{inner[0]}x", f"x{inner[-1]}"] if len(inner) > 1 else []
            spread = plain.replace("y", "yy") if "_" in value else plain
            return [plain, value, f"x{plain}", f"{plain}x", *ends, spread, plain.swapcase()]
        case "text", bool() | date():
            return []
        case "text", int() if 0 < value <= 64:
            return ["x" * (value - 1), "x" * value, "x" * (value + 1)][value == 1 :]
        case "integer", int() if not isinstance(value, bool):
            return [value, value - 1, value + 1]
        case "integer", Decimal() | float() if value == int(value):
            return [int(value), int(value) - 1, int(value) + 1]
        case "integer", Decimal() | float():
            return [int(value), int(value) + 1]
        case "decimal", int() | Decimal() | float() if not isinstance(value, bool):
            scale = re.search(r",\s*(\d+)\)", type_)
            step = Decimal(1).scaleb(-int(scale[1])) if scale else Decimal(1)
            whole = Decimal(str(value))
            return [whole, whole - step, whole + step]
        case (("double" | "float"), int() | Decimal() | float()) if not isinstance(value, bool):
            return [float(value), float(value) - 0.5, float(value) + 0.5]
        case "date", int() if 1900 <= value <= 2200:
            return [date(value, 1, 1), date(value - 1, 12, 31), date(value + 1, 1, 1)]
        case "date", date() | str():
            day = _day(value)
            return [] if day is None else [day, day - timedelta(days=1), day + timedelta(days=1)]
        case "timestamp", int() if 1900 <= value <= 2200:
            return [datetime(value, 1, 1), datetime(value - 1, 12, 31, 23, 59, 59), datetime(value + 1, 1, 1)]
        case "timestamp", datetime():
            moment = value.replace(tzinfo=None)
            return [moment, moment - timedelta(seconds=1), moment + timedelta(seconds=1)]
        case "timestamp", date() | str():
            day = _day(value)
            if day is None:
                return []
            midnight = datetime(day.year, day.month, day.day)
            return [midnight, midnight - timedelta(seconds=1), midnight + timedelta(seconds=1)]
        case "boolean", bool():
            return [value]
        case "uuid", str():
            return [value]
        case _:
            return []


def _day(value: Any) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value)[:10])
    except ValueError:
        return None
