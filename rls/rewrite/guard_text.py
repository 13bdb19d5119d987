"""A guard → its text: the sub-query that stands for a relation, with its permitted rows and shown columns.

Masks in, denied columns out, enum labels hidden, the row filter, the fence. `expected` says the same a second time.
"""

from __future__ import annotations

import re
from typing import Final

from rls.catalog import Relation, fold, quote, shown_type
from rls.policy.grant import Grant
from rls.rewrite.guarded import Guard

__all__ = ["guard_text"]

# Types whose values are stored without a dictionary.
_FIXED: Final = re.compile(
    r"BOOLEAN|U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|DECIMAL\(\d+, ?\d+\)|FLOAT|DOUBLE|DATE|INTERVAL|UUID"
    r"|TIME(STAMP)?( WITH TIME ZONE)?|TIMESTAMP_(S|MS|NS)|TIME_NS"
)


def guard_text(guard: Guard, *, source: str) -> str:
    """The sub-query that stands for a relation: its permitted rows, its shown columns.

    `SELECT * [EXCLUDE denied] [REPLACE masks] FROM source AS "name" [WHERE predicate [AND copies]] [OFFSET 0]`. The
    OFFSET keeps the caller's expressions above the row filter (invariant fenced); `barrier` says when it may go.
    """
    relation, grant = guard.relation, guard.grant
    fence = " OFFSET 0" if guard.fenced else ""
    shown = _shown_columns(relation, grant, flat=guard.flat and grant.hides)
    text = f"SELECT {shown} FROM {source} AS {quote(relation.name)}"
    match grant.kind:
        case "always":
            return f"({text})"
        case "conditional":
            parts = [grant.predicate, *guard.conjuncts]
            where = " AND ".join(f"({part})" for part in parts) if guard.conjuncts else grant.predicate
            return f"({text} WHERE {where}{fence})"
        case _:
            return f"({text} WHERE false{fence})"


def _shown_columns(relation: Relation, grant: Grant, *, flat: bool) -> str:
    """`*` with EXCLUDE and REPLACE as the grant says.

    A column of ENUM type shows every label of the type, hidden rows' too (in errors, `enum_range`, Arrow
    dictionaries), so it is shown as VARCHAR unless its labels are public; also inside lists, structs and maps.

    DuckDB moves `place.zip::INTEGER` into the scan, below any fence, where the cast runs on hidden rows; an expression
    around the struct keeps it above.

    A `flat` column has no dictionary: `TRY` leaves none, and nor does an element of a list, which a mask is put into
    instead, since an error of its own is to be seen.
    """
    if not (
        flat or grant.denied or grant.masks or any("ENUM(" in c.type or "STRUCT(" in c.type for c in relation.columns)
    ):
        return "*"
    denied = {fold(c) for c in grant.denied}
    masks = {fold(c): text for c, text in grant.masks.items()}
    labels = {fold(c) for c in grant.labels}
    excluded, replaced = [], []
    for column in relation.columns:
        name = fold(column.name)
        if name in denied:
            excluded.append(quote(column.name))
        elif name in masks:
            mask = masks[name]
            shown = f"list_extract([{mask}], 1)" if flat and '"' in mask else mask
            replaced.append(f"{shown} AS {quote(column.name)}")
        else:
            shown = stored = quote(column.name)
            if "ENUM(" in column.type and name not in labels:
                shown = f"CAST({stored} AS {shown_type(column.type)})"
            if "STRUCT(" in column.type and grant.kind != "always":
                shown = f"CASE WHEN {stored} IS NOT NULL THEN {shown} END"
            if flat and not _FIXED.fullmatch(column.type):
                shown = f"TRY({shown})"
            if shown != stored:
                replaced.append(f"{shown} AS {stored}")
    text = "*"
    if excluded:
        text += f" EXCLUDE ({', '.join(excluded)})"
    if replaced:
        text += f" REPLACE ({', '.join(replaced)})"
    return text
