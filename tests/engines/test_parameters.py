"""A caller's parameters are plain values under plain names."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from rls.engines.limits import Limits
from rls.engines.parameters import check_parameters
from rls.errors import EngineInvalid, QueryRefused


class Texty(str):
    """A string that may change its mind."""


def test_plain_values_pass_and_their_names_are_known() -> None:
    given = {"b": [1, None, {"k": Decimal(1)}], "a": date(2024, 1, 1), "C_1": ("x", b"y", "é")}
    assert check_parameters(given, Limits()) == ("C_1", "a", "b")
    assert check_parameters({}, Limits()) == ()


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (["a"], "query.parameters"),
        ("a=1", "query.parameters"),
        (None, "query.parameters"),
        ({"rls_tenant": "x"}, "query.parameter"),
        ({"RLS_tenant": "x"}, "query.parameter"),
        ({1: "x"}, "query.parameter"),
        ({"a b": 1}, "query.parameter"),
        ({"": 1}, "query.parameter"),
        ({"a": 1, "A": 2}, "query.parameter"),
        ({"a": object()}, "query.parameter_value"),
        ({"a": Texty("x")}, "query.parameter_value"),
        ({"a": {1, 2}}, "query.parameter_value"),
        ({"a": {1: 2}}, "query.parameter_value"),
        ({"a": lambda: 1}, "query.parameter_value"),
        ({"a": "\ud800"}, "query.parameter_value"),
        ({"a": [[[[[[[[[[1]]]]]]]]]]}, "query.parameter_value"),
        ({"a": list(range(20))}, "query.parameters"),
    ],
)
def test_anything_else_is_refused(given: Any, code: str) -> None:
    with pytest.raises(QueryRefused) as caught:
        check_parameters(given, Limits(parameters=10))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "bad", [{"seconds": 0}, {"rows": -1}, {"memory": 1.5}, {"threads": True}, {"seconds": float("inf")}, {"text": None}]
)
def test_every_limit_is_finite(bad: dict[str, Any]) -> None:
    with pytest.raises(EngineInvalid) as caught:
        Limits(**bad)
    assert caught.value.code == "engine.limits"
    assert Limits(seconds=1).seconds == 1
