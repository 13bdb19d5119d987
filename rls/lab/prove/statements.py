"""A statement as its author writes it → `Statement`: what is to hold for all rows and all principals.

    isolated by tenant                      no two principals with different user.tenant both see a row
    isolated by tenant_id                   (a column) no principal sees rows with two different values of it
    never visible where amount > 100        no principal sees such a row
    visible implies tenant_id = user.tenant
    policy own_regions implies visible      also: `is equivalent to`, `is disjoint from`
    always denied without clearance         a principal that lacks the attribute sees no row
    not wider than ../old                   whoever sees a row here sees it under those policies

Each side of `implies` and its like is `visible`, `policy NAME` or an SQL condition over the columns and `user.…`.
Owns the grammar, and that every error has its place in the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from rls.policy.parser import ExpressionInvalid

__all__ = ["Operand", "Statement", "read_statement"]

Relationship = Literal["implies", "equivalent", "disjoint"]
_NAME: Final = r'(?:user\.)?(?P<name>"(?:[^"]|"")+"|[^\s"]+)'
_SIDES: Final = re.compile(r"\s(implies|is\s+equivalent\s+to|is\s+disjoint\s+from)\s", re.IGNORECASE)
_QUOTED: Final = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")


@dataclass(frozen=True, slots=True)
class Operand:
    """One side of a statement: `visible`, a policy by `text`, or an SQL condition; `offset` is its place."""

    kind: Literal["visible", "policy", "condition"]
    text: str
    offset: int


@dataclass(frozen=True, slots=True)
class Statement:
    """What is claimed. `name` is an attribute or column, `sides` are conditions, `path` the other directory."""

    kind: Literal["isolated", "never", "denied", "not_wider", "implies", "equivalent", "disjoint"]
    text: str
    name: str = ""
    sides: tuple[Operand, ...] = ()
    path: str = ""


def read_statement(text: str) -> Statement:
    """The statement of a text. Raises ExpressionInvalid `policy.statement`.

    >>> read_statement("isolated by tenant").name, read_statement("visible implies amount < 5").sides[1].text
    ('tenant', 'amount < 5')
    """
    # What stands in quotes is neither a keyword nor the end of anything.
    bare = _QUOTED.sub(lambda m: "_" * len(m.group()), text)
    if found := re.fullmatch(rf"\s*isolated\s+by\s+{_NAME}\s*", text, re.IGNORECASE):
        return Statement("isolated", text, name=_unquoted(found["name"]))
    if found := re.fullmatch(rf"\s*always\s+denied\s+without\s+{_NAME}\s*", text, re.IGNORECASE):
        return Statement("denied", text, name=_unquoted(found["name"]))
    if found := re.fullmatch(r"\s*not\s+wider\s+than\s+(?P<path>\S.*?)\s*", text, re.IGNORECASE | re.DOTALL):
        return Statement("not_wider", text, path=found["path"])
    if found := re.fullmatch(r"\s*never\s+visible(?:\s+where\s+(?P<where>\S.*?))?\s*", text, re.IGNORECASE | re.DOTALL):
        where = found["where"]
        condition = () if where is None else (Operand("condition", where, found.start("where")),)
        return Statement("never", text, sides=condition)
    splits = list(_SIDES.finditer(bare))
    if len(splits) == 1:
        split = splits[0]
        kinds: dict[str, Relationship] = {"implies": "implies", "is equivalent to": "equivalent"}
        kind = kinds.get(" ".join(split[1].lower().split()), "disjoint")
        sides = (_operand(text[: split.start()], 0), _operand(text[split.end() :], split.end()))
        return Statement(kind, text, sides=sides)
    raise ExpressionInvalid(
        "policy.statement",
        "this is not a statement that can be proved",
        length=len(text),
        hint="write `isolated by tenant`, `never visible where …`, `visible implies …`, `always denied without …`",
    )


def _operand(text: str, offset: int) -> Operand:
    offset += len(text) - len(text.lstrip())
    text = text.strip()
    if text.lower() == "visible":
        return Operand("visible", text, offset)
    if found := re.fullmatch(r"policy\s+(?P<name>\S.*)", text, re.IGNORECASE):
        return Operand("policy", _unquoted(found["name"]), offset)
    return Operand("condition", text, offset)


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
