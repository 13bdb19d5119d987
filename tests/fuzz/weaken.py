"""The product with one protection taken out, so that the harness can show that it would notice.

It takes the name of a protection and returns a context in which guards lack it and the verifier is silent, or the name
of a rule about stored extremes, and nothing asks for it. For the fuzzer's own tests, and for whoever wants to know how
long a hole stays unseen.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

__all__ = ["PROTECTIONS", "RULES", "without", "without_rule"]

Text = Callable[..., str]


@contextlib.contextmanager
def without(protection: str) -> Iterator[None]:
    """Guards without `protection`, one of `PROTECTIONS`."""
    import rls.rewrite.guard as module
    import rls.rewrite.verify as verification
    from rls.engines import lockdown

    weak = PROTECTIONS[protection](module.guard_text)
    verify = _silent(verification.verify)
    # What else keeps expressions above a filter goes with the fence.
    off = () if protection == "fence" else lockdown._MOVERS
    with (
        mock.patch.object(module, "guard_text", weak),
        mock.patch.object(verification, "verify", verify),
        mock.patch.object(lockdown, "_MOVERS", off),
    ):
        yield


def _silent(verify: Callable[..., Any]) -> Callable[..., Any]:
    """A verifier that objects to nothing."""
    from rls.errors import QueryRefused

    def judge(*given: Any, **named: Any) -> Any:
        try:
            return verify(*given, **named)
        except QueryRefused:
            return False

    return judge


def _edited(edit: Callable[[str], str]) -> Callable[[Text], Text]:
    return lambda original: lambda *given, **named: edit(original(*given, **named))


def _granted(change: Callable[[Any, Any], Any]) -> Callable[[Text], Text]:
    """Guards of another grant."""

    def weaken(original: Text) -> Text:
        def text(guard: Any, *given: Any, **named: Any) -> str:
            grant = change(guard.grant, guard.relation)
            return original(dataclasses.replace(guard, grant=grant), *given, **named)

        return text

    return weaken


PROTECTIONS: dict[str, Callable[[Text], Text]] = {
    "fence": _edited(lambda text: text.replace(" OFFSET 0)", ")")),
    "filter": _edited(lambda text: re.sub(r" WHERE .*?( OFFSET 0)?\)$", r"\1)", text, flags=re.DOTALL)),
    "mask": _granted(lambda grant, _: dataclasses.replace(grant, masks={})),
    "denied columns": _granted(lambda grant, _: dataclasses.replace(grant, denied=frozenset())),
    "labels": _granted(
        lambda grant, table: dataclasses.replace(grant, labels=frozenset(c.name for c in table.columns))
    ),
}


@contextlib.contextmanager
def without_rule(rule: str) -> Iterator[None]:
    """A product that does not know `rule`, one of `RULES`."""
    from rls.rewrite import leakproof

    with contextlib.ExitStack() as undo:
        for target, replacement in RULES[rule].items():
            undo.enter_context(mock.patch(target, replacement))
        # What was found out of policies is remembered.
        undo.enter_context(mock.patch.object(leakproof, "_known", {}))
        yield


_NEVER = re.compile(r"(?!)")
RULES: dict[str, dict[str, Any]] = {
    "a CASE in a filter": {"rls.rewrite.extremes._may_be_null": lambda case: False},
    "a struct's field in a policy": {"rls.rewrite.extremes._FIELDS": frozenset()},
    "a policy that fills a strict copy": {"rls.rewrite.copies._is_filled_alike": lambda one, catalog: True},
    "date_trunc beside intervals": {"rls.policy.bind._TRUNCATES": _NEVER},
}
