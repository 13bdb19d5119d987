"""Objects that are asked for again and again → what a record says of them, worked out once per object.

A principal's list of ten thousand values is hashed for its first query and not for every one. Owns that nothing is
kept for longer than the object it is of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import ref

__all__ = ["Kept"]

Thing = TypeVar("Thing")
Context = TypeVar("Context")
Part = TypeVar("Part")


class Kept(Generic[Thing, Context, Part]):
    """What `make` gives for an object that changes nothing in itself, and for what else decides, its `context`. Safe to
    share between threads: at worst something is worked out twice."""

    def __init__(self, make: Callable[[Thing, Context], Part]) -> None:
        self._make = make
        self._parts: dict[int, tuple[ref[Thing], Context, Part]] = {}

    def __len__(self) -> int:
        return len(self._parts)

    def of(self, thing: Thing, context: Context) -> Part:
        """What was made of this very object in this context, or is made now."""
        # By its id: what these objects hold, and would be compared by, may be long.
        key = id(thing)
        found = self._parts.get(key)
        if found is not None and found[0]() is thing and found[1] == context:
            return found[2]
        part = self._make(thing, context)
        parts = self._parts
        self._parts[key] = (ref(thing, lambda _: parts.pop(key, None)), context, part)
        return part
