"""What may stand in a text whose guards show columns with the dictionary they are stored with: the verifier's rules.

DuckDB runs a function that is not marked as fallible over all of a stored dictionary, hidden rows' texts included,
above every fence; what it makes of them takes memory. Takes nodes of DuckDB's syntax tree; it shares nothing with
`cheap`, which says when guards are flat. Owns that what is not named here counts as making much of a text.
"""

from __future__ import annotations

from typing import Any, Final

from rls.catalog import fold
from rls.rewrite.functions import Review

__all__ = ["SEEN", "Growth"]

MAX_CALLS: Final = 60  # each one keeps what it made of a dictionary, for as long as the query runs
MAX_LONGER: Final = 16  # times that such calls together make a text longer
MAX_ADDED: Final = 1_000  # characters of literals, where something adds them to texts
_NOWHERE: Final = 2**64 - 1

# What gives no more than went in, or a few characters.
_NUMBERS: Final = """
    + - * / // % ** ^ & | ~ << >> @ !__postfix factorial abs sign ceil ceiling floor round trunc sqrt exp ln log log10
    log2 pow power mod isnan isinf isfinite
"""
_TEXTS: Final = """
    ~~ !~~ ~~* !~~* ~~~ ^@ like_escape not_like_escape ilike_escape not_ilike_escape regexp_full_match regexp_matches
    contains prefix suffix starts_with ends_with instr strpos position length len strlen char_length character_length
    ascii lower lcase upper ucase trim ltrim rtrim left right substr substring split_part reverse md5 sha1 sha256 hash
    strptime try_strptime nullif if
"""
_PARTS: Final = """
    array_extract list_extract struct_extract list_contains array_contains list_has array_has unnest
"""
_TIMES: Final = """
    century date_diff date_part date_sub date_trunc datediff datepart datesub datetrunc day dayname dayofmonth dayofweek
    dayofyear decade epoch epoch_ms epoch_us hour isodow isoyear last_day microsecond millisecond minute month monthname
    quarter second timezone to_days to_hours to_minutes to_months to_quarters to_seconds to_weeks to_years week weekday
    weekofyear year yearweek
"""
# What makes a text so many times longer, by itself.
_LONGER: Final = {"hex": 2, "to_hex": 2, "base64": 2, "to_base64": 2, "url_encode": 3}
# What puts the literals beside it, or the texts of one row, together.
_ADDING: Final = frozenset("|| concat concat_ws greatest least strftime".split())  # noqa: SIM905 - as the others
# What makes a list or a struct of a text: each time that one becomes text, quotes and brackets are added.
_NESTING: Final = frozenset(
    "list_value struct_pack row split str_split string_split map array_value".split()  # noqa: SIM905 - as the others
)
_KNOWN: Final = frozenset((*_NUMBERS.split(), *_TEXTS.split(), *_PARTS.split(), *_TIMES.split(), *_ADDING, *_NESTING))

_TEXT_TYPES: Final = {"varchar", "text", "string", "char", "bpchar", "nvarchar"}
_FIXED_TYPES: Final = frozenset(
    """bigint bool boolean date datetime dec decimal double float float4 float8 hugeint int int1 int128 int16 int2 int32
    int4 int64 int8 integer integral interval logical long numeric oid real short signed smallint time timestamp
    timestamp_ms timestamp_ns timestamp_s timestamptz timetz tinyint ubigint uhugeint uint128 uint16 uint32 uint64 uint8
    uinteger usmallint utinyint uuid guid""".split()  # noqa: SIM905 - as the others
) | {"time with time zone", "timestamp with time zone"}

SEEN: Final = frozenset((
    "LAMBDA", "OPERATOR_UNPACK", "ORDER_DEFAULT", "ASCENDING", "DESCENDING", "STAR", "ARRAY_CONSTRUCTOR",
    "OPERATOR_CAST", "ARRAY_EXTRACT", "ARRAY_SLICE", "COLLATE", "VALUE_CONSTANT", "VALUE_PARAMETER",
))  # fmt: skip
"""Nodes beside functions that say something."""


class Growth:
    """What a text, its guards apart, could make of one stored text; it is shown each node of `SEEN` and each call of a
    function once."""

    def __init__(self) -> None:
        self.unknown = False
        self.nests = self.adds = self.takes_values = False
        self.added = self.to_text = self.to_others = 0
        self.longer = 1
        self.places: set[object] = set()
        self.sorted_by: set[int] = set()

    def see(self, tree: Any, kind: str, found: Review | None = None) -> None:
        """`found`: what the reviewed table says of a function that is called."""
        match kind:
            case "FUNCTION":
                self._call(tree, fold(tree["function_name"]), found)
            case "LAMBDA" | "OPERATOR_UNPACK":
                self.unknown = True
            case "ORDER_DEFAULT" | "ASCENDING" | "DESCENDING":
                self.sorted_by.add(id(tree["expression"]))  # ORDER BY ALL is one COLUMNS(*) without a call around it
            case "STAR":
                self.unknown |= bool(tree["columns"]) and id(tree) not in self.sorted_by
            case "ARRAY_CONSTRUCTOR":
                self.nests = True
            case "OPERATOR_CAST" if tree["child"]["class"] not in ("CONSTANT", "PARAMETER"):
                self._count(tree)
                name = fold(str(tree["type_expr"].get("type_name")))
                self.to_text += name in _TEXT_TYPES
                self.to_others += name not in _TEXT_TYPES and name not in _FIXED_TYPES
            case "ARRAY_EXTRACT" | "ARRAY_SLICE" | "COLLATE":
                self._count(tree)
            case "VALUE_CONSTANT":
                literal = tree.get("literal")
                size = len(str(literal.get("text") or "")) if isinstance(literal, dict) else 0
                self.unknown |= size > MAX_ADDED
                self.added += size
            case "VALUE_PARAMETER":
                self.takes_values |= not fold(tree["identifier"]).startswith("rls_")
            case _:
                pass

    def _call(self, tree: Any, name: str, found: Review | None) -> None:
        literals = [_literal(argument) for argument in tree["arguments"]]
        if name == "replace" and len(literals) == 3 and literals[1] is not None and literals[2] is not None:
            self.longer *= max(1, -(-len(literals[2].encode()) // max(1, len(literals[1].encode()))))
        elif name == "regexp_extract" and len(literals) in (2, 3) and None not in literals[1:]:
            pass  # with a list of names it gives a field for each
        elif name in _LONGER:
            self.longer *= _LONGER[name]
        elif name not in _KNOWN:
            # Aggregates run on rows that passed the filter.
            self.unknown |= found is None or not {"aggregate", "window"}.issuperset(found.kinds)
        if name in _ADDING:
            self.adds = True
            # As many times as there are literals between which it stands.
            self.unknown |= name == "concat_ws" and not (literals and literals[0] is not None)
        self.nests |= name in _NESTING
        self._count(tree)

    def _count(self, tree: Any) -> None:
        place = tree.get("query_location", _NOWHERE)
        self.places.add(len(self.places) + _NOWHERE if place >= _NOWHERE else place)

    @property
    def of_one(self) -> bool:
        """Whether it could make much of a single text, which no row filter may be run behind."""
        return self.unknown or (self.adds and self.takes_values)

    @property
    def of_many(self) -> bool:
        """Whether it could make much of a whole dictionary."""
        return (
            self.of_one
            or len(self.places) > MAX_CALLS
            or self.longer > MAX_LONGER
            or (self.adds and self.added > MAX_ADDED)
            or (self.nests and self.to_text + self.to_others > 0)
            or self.to_others > 1
        )


def _literal(argument: Any) -> str | None:
    tree = argument.get("expression", argument)
    literal = tree.get("literal") if tree["class"] == "CONSTANT" else None
    return str(literal.get("text") or "") if isinstance(literal, dict) else None
