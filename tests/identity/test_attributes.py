"""Claims → attributes: every type, every limit, and nothing coerced."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rls.identity.attributes import Attribute, Refused, read_attributes, read_value
from rls.identity.reasons import PROBLEMS


def problem(attribute: Attribute, raw: object) -> str:
    with pytest.raises(Refused) as caught:
        read_value(attribute, raw)
    assert str(caught.value) in PROBLEMS
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "raw", "want"),
    [
        ("string", "acme", "acme"),
        ("string", "*", "*"),
        ("string", "acme' OR '1'='1", "acme' OR '1'='1"),
        ("string", " acme ", " acme "),
        ("string", "NULL", "NULL"),
        ("integer", 0, 0),
        ("integer", -(2**63), -(2**63)),
        ("integer", 2**63 - 1, 2**63 - 1),
        ("decimal", 12, Decimal(12)),
        ("decimal", Decimal("12.50"), Decimal("12.5")),
        ("decimal", "0.1", Decimal("0.1")),
        ("decimal", "-0.000001", Decimal("-0.000001")),
        ("decimal", Decimal("1E+3"), Decimal(1000)),
        ("decimal", "999999999999.999999", Decimal("999999999999.999999")),
        ("decimal", "-0", Decimal(0)),
        ("boolean", True, True),
        ("boolean", False, False),
        ("date", "2026-02-28", date(2026, 2, 28)),
        ("timestamp", "2026-02-28T12:00:00", datetime(2026, 2, 28, 12)),
        ("timestamp", "2026-02-28 12:00:00.5Z", datetime(2026, 2, 28, 12, 0, 0, 500_000)),
        ("timestamp", "2026-02-28T12:00:00+02:00", datetime(2026, 2, 28, 10)),
    ],
)
def test_value_of_its_type(kind, raw, want) -> None:
    value = read_value(Attribute("x", kind), raw)
    assert (value, type(value)) == (want, type(want))


@pytest.mark.parametrize(
    ("kind", "raw", "want"),
    [
        *[("string", raw, "type") for raw in (1, 1.5, Decimal("1.5"), True, [], ["acme"], {"a": 1}, b"acme")],
        ("string", "", "blank"),
        ("string", " \t", "blank"),
        ("string", "\u2003", "blank"),
        ("string", "a" * 257, "too_long"),
        ("string", "acme\0", "character"),
        *[("integer", raw, "type") for raw in ("1", True, False, 1.0, Decimal("1"), [1], "", {})],
        ("integer", 2**63, "range"),
        ("integer", -(2**63) - 1, "range"),
        *[
            ("decimal", raw, "type")
            for raw in (0.1, True, "1e3", "", "+1", " 1", "1.", ".5", "01", "1_0", "NaN", "\u0661", [])
        ],
        ("decimal", Decimal("NaN"), "range"),
        ("decimal", Decimal("Infinity"), "range"),
        ("decimal", 10**12, "range"),
        ("decimal", Decimal("1E+999999"), "range"),
        ("decimal", Decimal("1E-999999"), "scale"),
        ("decimal", "0.0000001", "scale"),
        *[("boolean", raw, "type") for raw in (0, 1, "true", "false", None, [], "")],
        *[
            ("date", raw, "type")
            for raw in (
                "20260228",
                "2026-2-8",
                "2026-W09-6",
                20260228,
                "2026-02-28T00:00:00",
                "\u0662\u0660\u0662\u0666-02-28",
            )
        ],
        ("date", "2026-02-30", "range"),
        ("date", "2026-02-28\n", "type"),
        *[
            ("timestamp", raw, "type")
            for raw in (1_800_000_000, "2026-02-28", "2026-02-28T12:00", "2026-02-28T12:00:00 UTC")
        ],
        ("timestamp", "2026-02-28T25:00:00", "range"),
        ("timestamp", "0001-01-01T00:00:00+10:00", "range"),
    ],
)
def test_nothing_is_coerced(kind, raw, want) -> None:
    assert problem(Attribute("x", kind), raw) == want


@pytest.mark.parametrize(
    ("raw", "want"),
    [
        ("a", "type"),  # a scalar where a list is declared is not a list of one
        ({"a": 1}, "type"),
        (("a",), "type"),
        (["a", None], "null"),
        (["a", 1], "type"),
        (["a", ["b"]], "type"),
        (["a", ""], "blank"),
        (["a", "b", "c", "d"], "too_many"),
    ],
)
def test_lists(raw, want) -> None:
    attribute = Attribute("x", "string", list=True, max_items=3)
    assert read_value(attribute, []) == ()
    assert read_value(attribute, ["a", "b", "a"]) == ("a", "b", "a")
    assert problem(attribute, raw) == want


def test_enum_and_pattern() -> None:
    assert read_value(Attribute("x", "string", enum=("a", "b")), "b") == "b"
    assert problem(Attribute("x", "string", enum=("a", "b")), "B") == "enum"
    assert problem(Attribute("x", "integer", enum=(1, 2)), 3) == "enum"
    assert problem(Attribute("x", "string", list=True, enum=("a",)), ["a", "b"]) == "enum"
    assert read_value(Attribute("x", "string", pattern="[A-Z]+"), "ABC") == "ABC"
    for raw in ("ABCd", "ABC\n", "aABC"):
        assert problem(Attribute("x", "string", pattern="[A-Z]+"), raw) == "pattern"


DECLARED = {"tenant": Attribute("tenant", "string", required=True), "level": Attribute("level", "integer")}


def test_missing_and_null() -> None:
    assert read_attributes({}, DECLARED, unknown="drop").reasons == ("attribute:tenant:missing",)
    assert read_attributes({"tenant": None}, DECLARED, unknown="drop").reasons == ("attribute:tenant:missing",)
    reading = read_attributes({"tenant": "a", "level": None}, DECLARED, unknown="refuse")
    assert (dict(reading.values), reading.reasons) == ({"tenant": "a"}, ())


def test_all_reasons_are_told() -> None:
    assert read_attributes({"tenant": 1, "level": "1", "x": 1}, DECLARED, unknown="refuse").reasons == (
        "attribute:tenant:type",
        "attribute:level:type",
        "unknown_attribute",
    )


def test_unknown_names() -> None:
    raw = {"tenant": "a", "Tenant": "b", "x\ny": 1}
    dropped = read_attributes(raw, DECLARED, unknown="drop")
    assert (dict(dropped.values), dropped.reasons) == ({"tenant": "a"}, ())
    assert dropped.warnings == (
        "attribute `Tenant` is not declared, dropped",
        "attribute `x\\ny` is not declared, dropped",
    )
    assert read_attributes(raw, DECLARED, unknown="ignore").warnings == ()
    assert len(read_attributes({str(n): n for n in range(99)}, DECLARED, unknown="drop").warnings) == 10


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12) + 1, max_value=10**12 - 1))
def test_decimals_lose_nothing(value: Decimal) -> None:
    attribute = Attribute("x", "decimal")
    assert read_value(attribute, value) == value
    assert read_value(attribute, f"{value:f}") == value


@given(
    st.sampled_from(["string", "integer", "decimal", "boolean", "date", "timestamp"]),
    st.booleans(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.decimals() | st.text() | st.floats(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=4,
    ),
)
def test_any_json_gives_a_value_of_the_type_or_is_refused(kind, is_list, raw) -> None:
    types = {"string": str, "integer": int, "decimal": Decimal, "boolean": bool, "date": date, "timestamp": datetime}
    try:
        value = read_value(Attribute("x", kind, list=is_list), raw)
    except Refused as error:
        assert str(error) in PROBLEMS
        return
    items = value if is_list else (value,)
    assert all(type(item) is types[kind] for item in items)
    assert raw == [] or (isinstance(raw, list) == is_list)
