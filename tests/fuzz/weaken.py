"""The product with one protection taken out, so that the harness can show that it would notice.

It takes the name of a protection and returns a context in which guards lack it and the verifier is silent. For the
fuzzer's own tests, and for whoever wants to know how long a hole stays unseen.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

__all__ = ["PROTECTIONS", "without"]

Text = Callable[..., str]


@contextlib.contextmanager
def without(protection: str) -> Iterator[None]:
    """Guards without `protection`, one of `PROTECTIONS`."""
    import rls.rewrite.guard as module

    weak = PROTECTIONS[protection](module.guard_text)
    with mock.patch.object(module, "guard_text", weak), mock.patch.object(module.verification, "verify", _silent):
        yield


def _silent(*_: Any, **__: Any) -> None:
    """A verifier that objects to nothing."""


def _edited(edit: Callable[[str], str]) -> Callable[[Text], Text]:
    return lambda original: lambda *given, **named: edit(original(*given, **named))


def _granted(**changes: Any) -> Callable[[Text], Text]:
    """Guards of another grant: the second argument of `guard_text`."""

    def weaken(original: Text) -> Text:
        def text(relation: Any, grant: Any, *given: Any, **named: Any) -> str:
            shown = {key: value(relation) if callable(value) else value for key, value in changes.items()}
            return original(relation, dataclasses.replace(grant, **shown), *given, **named)

        return text

    return weaken


PROTECTIONS: dict[str, Callable[[Text], Text]] = {
    "fence": _edited(lambda text: text.replace(" OFFSET 0)", ")")),
    "filter": _edited(lambda text: re.sub(r" WHERE .* OFFSET 0\)$", " OFFSET 0)", text, flags=re.DOTALL)),
    "mask": _granted(masks={}),
    "denied columns": _granted(denied=frozenset()),
    "labels": _granted(labels=lambda relation: frozenset(column.name for column in relation.columns)),
}
