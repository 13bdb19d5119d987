"""Sub-queries over mapping tables → formulas: any table, but where one says TRUE there are rows of tables that show it.

Takes `x IN (SELECT …)`, `EXISTS (…)` and scalar sub-queries; returns a `Term`. What the sub-query answers is left open
(a function of the names in it: the same for everybody, since all see one data base). Where `shown` knows what a row of
it is made of, its TRUE needs rows of tables that make one; those become part of a counterexample.
"""

from __future__ import annotations

import z3

from rls.lab.prove.encode import Encoder
from rls.lab.prove.shown import show_row
from rls.lab.prove.terms import Term, common
from rls.policy.parser import Tree

__all__ = ["encode_subquery"]


def encode_subquery(encoder: Encoder, node: Tree) -> Term:
    """What a sub-query gives."""
    kind = node["subquery_type"]
    if kind not in ("ANY", "EXISTS"):
        return encoder.open(node)
    answer = encoder.open(node, type_="BOOLEAN")
    scene = encoder.scene
    child: Term | None = None
    if kind == "EXISTS":
        answer = Term("boolean", answer.value, type="BOOLEAN")
    else:
        child = encoder.term(node["child"])
        # NULL is in no list; without rows the answer is FALSE even then.
        scene.rules.append(z3.Implies(answer.true, z3.Not(child.null)))
    if node["comparison_type"] not in ("COMPARE_EQUAL", "INVALID"):
        return answer
    shown = show_row(encoder, node["subquery"]["node"])
    if shown is None:
        return answer
    meets = list(shown.meets)
    if child is not None:
        selected = shown.columns[0][1]
        if z3.is_false(selected.null):
            # A list without NULLs says TRUE or FALSE of what is not NULL.
            scene.rules.append(z3.Implies(answer.null, child.null))
        values = common(encoder.fitted(selected, child), encoder.fitted(child, selected))
        meets.append(z3.Not(selected.null))
        if values is not None:
            meets.append(values[0] == values[1])
    scene.rules.append(z3.Implies(answer.true, z3.And(*meets)))
    scene.witnesses += [(z3.And(answer.true, when), relation, columns) for when, relation, columns in shown.needs]
    return answer
