"""A policy's condition → AND beside OR without parentheses: one of the two readings lets more rows through.

Takes the condition's branches and, for what stands inside sub-queries, its text; yields problems at their place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rls.policy.expressions import Branch
from rls.policy.parser import ExpressionInvalid
from rls.policy.rules import Policy

__all__ = ["find_mixed"]

_TOKEN: Final = re.compile(
    r"'(?:[^']|'')*' | \"(?:[^\"]|\"\")*\" | --[^\n]* | /\*.*?\*/ | [()\[\],;] | [A-Za-z_]\w*(?:\.\w+)*",
    re.DOTALL | re.VERBOSE,
)
# Where a condition begins or ends, at its own level of parentheses.
_ENDS: Final = frozenset(
    (
        *("select", "from", "where", "on", "having", "qualify", "group", "order", "limit", "using", "values", "window"),
        *("join", "left", "right", "full", "inner", "cross", "union", "intersect", "except", "case", "when", "then"),
        *("else", "end", ",", ";"),
    )
)


@dataclass
class _Level:
    """What was met at one level of parentheses since a condition began."""

    joined_by_and: int | None = None
    joined_by_or: int | None = None
    between: int = 0


def find_mixed(policy: Policy) -> Iterator[ExpressionInvalid]:
    """`a OR b AND c`, in the condition itself and in its sub-queries."""
    yield from _in_branches(policy, policy.using.root)
    for leaf in policy.using.root.leaves():
        for offset in _in_text(policy.using.text[leaf.start : leaf.end]):
            yield _problem(policy, leaf.start + offset)


def _in_branches(policy: Policy, branch: Branch) -> Iterator[ExpressionInvalid]:
    text = policy.using.text
    for child in branch.children:
        if branch.kind == "or" and child.kind == "and":
            inside = text[: child.start].rstrip().endswith("(") and text[child.end :].lstrip().startswith(")")
            if not inside:
                yield _problem(policy, child.start)
        yield from _in_branches(policy, child)


def _in_text(text: str) -> Iterator[int]:
    """Places of the second of two words that are AND and OR at one level."""
    levels = [_Level()]
    for token in _TOKEN.finditer(text):
        word, level = token[0].lower(), levels[-1]
        if word in ("(", "["):
            levels.append(_Level())
        elif word in (")", "]"):
            del levels[-1:]
            levels = levels or [_Level()]
        elif word in _ENDS:
            levels[-1] = _Level()
        elif word == "between":
            level.between += 1
        elif word == "and" and level.between:
            level.between -= 1
        elif word in ("and", "or"):
            if word == "and":
                level.joined_by_and = token.start()
            else:
                level.joined_by_or = token.start()
            if level.joined_by_and is not None and level.joined_by_or is not None:
                yield token.start()
                levels[-1] = _Level()


def _problem(policy: Policy, offset: int) -> ExpressionInvalid:
    return ExpressionInvalid(
        "policy.mixed_and_or",
        f"`AND` beside `OR` without parentheses in policy `{policy.name}`: `AND` binds first",
        offset=offset,
        hint="put parentheses around what belongs together",
    )
