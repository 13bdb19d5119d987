"""A bound expression → what does not fit in types, as DuckDB says it on a copy of the catalog without data.

`tenant_id = user.tenant` binds in DuckDB whatever the types are: a number is compared with a text by converting the
text, and the query fails on the first value that is none. So each comparison with an attribute is asked a second
time in a strict form (`strict_forms`), which DuckDB binds only where both have one type in common.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from rls.catalog import Catalog, Relation
from rls.policy.attributes import Attribute
from rls.policy.bind import bind
from rls.policy.expressions import Expression
from rls.policy.parser import ExpressionInvalid, character_offset
from rls.policy.scratch import Scratch
from rls.policy.strict_forms import Strict

__all__ = ["bound_forms", "find_mismatches", "sample_parameters", "type_of"]

_SAMPLES: Final = {
    "string": "x",
    "integer": 1,
    "decimal": Decimal("1.5"),
    "boolean": True,
    "date": date(2000, 1, 1),
    "timestamp": datetime(2000, 1, 1),
}
_OTHER_TYPE: Final = re.compile(r"'(.+)', which is incompatible")


def sample_parameters(attributes: Mapping[str, Attribute]) -> dict[str, object]:
    """A value of the declared type for every attribute, by parameter name."""
    return {a.parameter: [_SAMPLES[a.kind]] if a.many else _SAMPLES[a.kind] for a in attributes.values()}


def type_of(text: str, relation: Relation, scratch: Scratch, attributes: Mapping[str, Attribute]) -> str:
    """DuckDB's type of a bound expression; raises ExpressionInvalid `policy.type` where it does not bind."""
    problem = _bind_error(text, relation, scratch, attributes)
    if isinstance(problem, Exception):
        message = str(problem).partition("\n")[0]
        message = message.partition(": ")[2] or message
        raise ExpressionInvalid("policy.type", message[:1].lower() + message[1:].replace('"', "`"))
    return problem


def bound_forms(
    forms: Iterable[Strict], relation: Relation, catalog: Catalog, attributes: Mapping[str, Attribute]
) -> list[tuple[Strict, str]]:
    """Strict forms with their texts for a relation."""
    return [(one, one.form.root.text(bind(one.form, relation, catalog, attributes))) for one in forms]


def find_mismatches(
    expression: Expression,
    forms: Iterable[tuple[Strict, str]],
    relation: Relation,
    scratch: Scratch,
    attributes: Mapping[str, Attribute],
) -> Iterator[ExpressionInvalid]:
    """Every comparison of an attribute with something of another type (`policy.type_mismatch`), and every `x IN y`
    where `y` is text (`policy.in_text`); `forms` are the expression's strict ones, bound."""
    for strict, text in forms:
        problem = _bind_error(text, relation, scratch, attributes)
        if not isinstance(problem, Exception):
            continue
        found = _OTHER_TYPE.search(str(problem))
        if not found and not _binds(expression, relation, scratch, attributes):
            continue  # as it is, it fails for another reason, which the caller says
        start = strict.operand["query_location"]
        offset = character_offset(expression.text, start)
        if strict.attribute is None:
            yield ExpressionInvalid(
                "policy.in_text",
                "`IN` over a text is true for every part of the text",
                offset=offset,
                hint="write `=`, or `contains(…)` if a part is meant",
            )
            continue
        end = start + strict.operand["query_location_length"]
        other = found[1].removesuffix("_LITERAL") if found else "a value of another type"
        yield ExpressionInvalid(
            "policy.type_mismatch",
            f"`user.{strict.attribute.name}` is {strict.attribute.type}, compared with {other}",
            offset=offset,
            length=character_offset(expression.text, end) - offset,
            hint="change the attribute's `type` in the identity file, or convert one side with CAST",
        )


def _binds(expression: Expression, relation: Relation, scratch: Scratch, attributes: Mapping[str, Attribute]) -> bool:
    text = expression.root.text(bind(expression, relation, scratch.catalog, attributes))
    return not isinstance(_bind_error(text, relation, scratch, attributes), Exception)


def _bind_error(
    text: str, relation: Relation, scratch: Scratch, attributes: Mapping[str, Attribute]
) -> str | Exception:
    """The type of an expression, or what DuckDB says instead."""
    import duckdb

    try:
        return scratch.type_of(text, relation, sample_parameters(attributes))
    except duckdb.Error as error:
        return error
