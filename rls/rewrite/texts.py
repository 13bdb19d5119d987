"""What was guarded before, found again by its text or by its tokens, within bounds.

Takes texts with their templates; forgets the oldest that nobody used since they were last looked at, once the memory is
used up. Readers take no lock. Owns that nothing outlives its text: templates, queries that are ready for a principal
and the tokens by which a text like it finds them go together.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from rls.catalog import Relation
from rls.identity.principal import Principal
from rls.rewrite.guarded import GuardedQuery
from rls.rewrite.literals import BoundLiteral

__all__ = ["OVERHEAD", "READY", "Key", "Shape", "Template", "Text", "Texts", "Tokens"]

READY: Final = 20_000  # queries that are kept ready for one principal each, over all texts
OVERHEAD: Final = 8_192  # bytes that a template takes beside its texts
BINDINGS: Final = 4  # sets of bound literals for texts with the same tokens

Key = str | tuple[str, tuple[tuple[str, str], ...]]  # a text, with the types of its parameters if it has any
Shape = tuple[int, ...]


@dataclass(slots=True)
class Template:
    """A finished query whose values are anybody's. `shown` are labels and keys of the relations whose grants it shows;
    `literals` its own: beside a column that is masked for some, nothing is bound for them."""

    query: GuardedQuery
    shown: tuple[tuple[str, tuple[str, ...]], ...]
    literals: tuple[BoundLiteral, ...]

    @property
    def bound(self) -> frozenset[int]:
        """The tokens of its bound literals."""
        return frozenset(one.token for one in self.literals)


@dataclass(frozen=True, slots=True)
class Tokens:
    """By what a text is found by texts like it: its tokens but for literals, which literals are bound, and the class
    of those with the spelling of the others."""

    shape: object
    bound: frozenset[int]
    literals: object


@dataclass(slots=True)
class Text:
    """A text and its templates, by the shape of the grants of all relations that were asked for.

    size    bytes, roughly
    tokens  by what texts like it find it
    values  token → what a literal binds in `templates`, if these are another text's
    ready   id of a principal → that object (an id is given again when its object is gone) and its query
    """

    relations: tuple[Relation, ...]
    templates: dict[Shape, Template]
    size: int
    tokens: Tokens | None = None
    values: Mapping[int, object] | None = None
    ready: dict[int, tuple[Principal, GuardedQuery]] = field(default_factory=dict)
    used: bool = False

    def ready_for(self, principal: Principal) -> GuardedQuery | None:
        """The query, if it was made for this principal before."""
        found = self.ready.get(id(principal))
        if found is None or found[0] is not principal:
            return None
        self.used = True
        return found[1]


class Texts:
    """Texts up to `memory` bytes, roughly."""

    def __init__(self, memory: int) -> None:
        self._memory, self._size, self._ready = memory, 0, 0
        self._texts: dict[Key, Text] = {}
        self._alike: dict[object, dict[frozenset[int], dict[object, Key]]] = {}
        self._changing = threading.Lock()

    def __len__(self) -> int:
        return len(self._texts)

    def get(self, asked: Key) -> Text | None:
        """The text, if it is here."""
        return self._texts.get(asked)

    def bindings(self, shape: object) -> list[frozenset[int]]:
        """Which literals are bound in texts that have these tokens."""
        return list(self._alike.get(shape, ()))

    def alike(self, tokens: Tokens) -> Text | None:
        """The text with these tokens."""
        asked = self._alike.get(tokens.shape, {}).get(tokens.bound, {}).get(tokens.literals)
        return None if asked is None else self._texts.get(asked)

    def add(self, asked: Key, text: Text) -> None:
        """Keep a text in place of the one that is here under its name."""
        with self._changing:
            self._drop(asked)
            self._forget(text.size)
            self._texts[asked] = text
            self._size += text.size
            if text.tokens is not None:
                by_binding = self._alike.setdefault(text.tokens.shape, {})
                if text.tokens.bound in by_binding or len(by_binding) < BINDINGS:
                    by_binding.setdefault(text.tokens.bound, {})[text.tokens.literals] = asked

    def extend(self, asked: Key, text: Text, shape: Shape, template: Template, size: int) -> None:
        """Give a text a template for one more shape."""
        with self._changing:
            self._forget(size)
            if self._texts.get(asked) is text:
                text.templates[shape] = template
                text.size += size
                self._size += size

    def make_ready(self, asked: Key, text: Text, principal: Principal, query: GuardedQuery) -> None:
        """Keep a principal's query with its text."""
        with self._changing:
            if self._texts.get(asked) is not text:
                return  # forgotten meanwhile
            if self._ready >= READY:
                self._forget_ready()
            self._ready += id(principal) not in text.ready
            text.ready[id(principal)] = principal, query

    def forget_principals(self, principals: Iterable[Principal]) -> None:
        """Keep nothing ready for these."""
        ids = {id(one) for one in principals}
        with self._changing:
            for text in self._texts.values():
                for key in text.ready.keys() & ids:
                    del text.ready[key]
                    self._ready -= 1

    def _forget(self, size: int) -> None:
        """Make room: the oldest texts go, but for those that were used since they were last looked at."""
        while self._texts and self._size + size > self._memory:
            asked = next(iter(self._texts))
            text = self._texts[asked]
            if text.used:
                text.used = False
                self._texts[asked] = self._texts.pop(asked)
            else:
                self._drop(asked)

    def _drop(self, asked: Key) -> None:
        text = self._texts.pop(asked, None)
        if text is None:
            return
        self._size -= text.size
        self._ready -= len(text.ready)
        tokens = text.tokens
        if tokens is None or (by_binding := self._alike.get(tokens.shape)) is None:
            return
        by_literals = by_binding.get(tokens.bound, {})
        if by_literals.get(tokens.literals) == asked:
            del by_literals[tokens.literals]
        if not by_literals:
            by_binding.pop(tokens.bound, None)
        if not by_binding:
            del self._alike[tokens.shape]

    def _forget_ready(self) -> None:
        for text in self._texts.values():
            if self._ready <= READY * 9 // 10:
                break
            self._ready -= len(text.ready)
            text.ready = {}
