"""Relation and grant → the select list of its guard: masks in, denied columns out, enum labels hidden."""

from __future__ import annotations

from rls.catalog import Relation, fold, quote, shown_type
from rls.policy.grant import Grant

__all__ = ["shown_columns"]


def shown_columns(relation: Relation, grant: Grant) -> str:
    """`*` with EXCLUDE and REPLACE as the grant says.

    A column of ENUM type shows every label of the type, hidden rows' too (in errors, `enum_range`, Arrow
    dictionaries), so it is shown as VARCHAR unless its labels are public; also inside lists, structs and maps.

    DuckDB moves `place.zip::INTEGER` into the scan, below any fence, where the cast runs on hidden rows; an expression
    around the struct keeps it above.
    """
    denied = {fold(c) for c in grant.denied}
    masks = {fold(c): text for c, text in grant.masks.items()}
    labels = {fold(c) for c in grant.labels}
    excluded, replaced = [], []
    for column in relation.columns:
        name = fold(column.name)
        if name in denied:
            excluded.append(quote(column.name))
        elif name in masks:
            replaced.append(f"{masks[name]} AS {quote(column.name)}")
        else:
            shown = stored = quote(column.name)
            if "ENUM(" in column.type and name not in labels:
                shown = f"CAST({stored} AS {shown_type(column.type)})"
            if "STRUCT(" in column.type and grant.kind != "always":
                shown = f"CASE WHEN {stored} IS NOT NULL THEN {shown} END"
            if shown != stored:
                replaced.append(f"{shown} AS {stored}")
    text = "*"
    if excluded:
        text += f" EXCLUDE ({', '.join(excluded)})"
    if replaced:
        text += f" REPLACE ({', '.join(replaced)})"
    return text
