"""A policy's condition, a principal and a relation → the truth of each of its branches, as SQL or for one row.

AND, OR and NOT are branches, what stands between them are leaves. Takes what is bound to the catalog; owns that a leaf
which needs an attribute that is not there has no truth, and that the texts it evaluates are those of the guards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from rls.catalog import Relation, quote
from rls.policy.evaluate import evaluate
from rls.policy.expressions import Branch
from rls.policy.parser import Tree, write_expression
from rls.policy.rules import BoundPolicy

__all__ = ["Leaf", "branches_of", "is_positive", "leaves_of", "own_sql", "own_text"]

_LIKE: Final = {" ~~ ": " LIKE ", " !~~ ": " NOT LIKE ", " ~~* ": " ILIKE ", " !~~* ": " NOT ILIKE "}
_QUOTED_OR_LIKE: Final = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"| !?~~\*? """)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf for one principal: `sql` decides per row, unless `settled` says the same for every row or attributes are
    `missing`. `columns` are those of the relation that it names."""

    branch: Branch
    text: str
    sql: str
    settled: bool | None
    missing: tuple[str, ...]
    columns: tuple[str, ...]


def leaves_of(bound: BoundPolicy, relation: Relation, known: Mapping[str, object]) -> list[Leaf]:
    """The leaves of a policy's condition, from left to right. `known` as `known_values` gives it."""
    found = []
    for branch in bound.policy.using.root.leaves():
        verdict = evaluate(branch, bound.holes, known)
        text = own_text(bound.policy.using.text, branch)
        columns = _columns(branch.text(bound.holes), relation)
        match verdict.kind:
            case "true" | "false":
                found.append(Leaf(branch, text, verdict.kind.upper(), verdict.kind == "true", (), columns))
            case "missing":
                found.append(
                    Leaf(branch, text, "CAST(NULL AS BOOLEAN)", None, tuple(sorted(verdict.attributes)), columns)
                )
            case _:
                found.append(Leaf(branch, text, verdict.text, None, (), columns))
    return found


def branches_of(branch: Branch) -> Iterator[Branch]:
    """A branch and all below it, outermost first."""
    yield branch
    for child in branch.children:
        yield from branches_of(child)


def is_positive(root: Branch, leaf: Branch) -> bool:
    """Whether a leaf's TRUE helps its condition to be TRUE: it stands under an even number of NOT."""
    if root is leaf:
        return True
    inside = next(child for child in root.children if any(each is leaf for each in branches_of(child)))
    return is_positive(inside, leaf) is not (root.kind == "not")


def own_sql(tree: Tree) -> str:
    """A tree as authors write it. Raises ExpressionInvalid."""
    # DuckDB puts the name `user` in quotes, and calls LIKE by its operator.
    text = write_expression(tree).replace('"user".', "user.")
    return _QUOTED_OR_LIKE.sub(lambda found: _LIKE.get(found[0], found[0]), text)


def own_text(text: str, branch: Branch) -> str:
    """What the author wrote, on one line."""
    own = text[branch.start : branch.end] or text
    # A call's closing parenthesis and quotes may lie beyond its last operand's place.
    own += ")" * max(0, own.count("(") - own.count(")"))
    return " ".join(own.split())


def _columns(sql: str, relation: Relation) -> tuple[str, ...]:
    named = re.findall(re.escape(quote(relation.name)) + r'\."((?:[^"]|"")+)"', sql)
    names = {name.replace('""', '"') for name in named}
    return tuple(column.name for column in relation.columns if column.name in names)
