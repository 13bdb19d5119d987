"""A caller's text → whether all that it calls takes a small fixed effort per row, by names alone.

Two need to know. `barrier` takes no fence away from a text that a hidden row could make run out of time or memory. And
DuckDB runs a function that is not marked as fallible once over the dictionary that a column's texts are stored with,
hidden rows' texts included, above every fence: `hex(hex(…regexp_extract(note, '^pw:Z')…))` ran out of memory where a
hidden note began like that. Owns that what is not named here is not cheap; a guard then shows its columns `flat`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from sqlglot.tokens import Token, TokenType

from rls.rewrite.functions import review
from rls.rewrite.parse import Parsed

__all__ = ["BOUNDED", "GROWING", "MAX_CONSTANT", "MAX_TEXT", "grows", "why_not_cheap"]

MAX_TEXT: Final = 20_000  # characters of a text without fences
MAX_CONSTANT: Final = 1_000  # characters
# A function that runs over a dictionary keeps what it made of each entry: `||` 900 times took 8 GB for hidden texts.
MAX_EFFORT: Final = 60  # tokens that may stand for a call

GROWING: Final = {"||", "concat", "concat_ws", "list_value", "struct_pack", "row"}
BOUNDED: Final = {
    *GROWING,
    "+", "-", "*", "/", "%", "abs", "@", "sign", "round", "ceil", "ceiling", "floor", "trunc", "sqrt", "exp",
    "greatest", "least", "isnan", "isinf", "isfinite",
    "~~", "!~~", "~~*", "!~~*", "^@", "contains", "prefix", "suffix", "starts_with", "ends_with", "length", "len",
    "char_length", "character_length", "strlen", "lower", "lcase", "upper", "ucase", "trim", "ltrim", "rtrim",
    "substring", "substr", "left", "right", "strpos", "instr", "split_part", "string_split", "str_split", "split",
    "array_extract", "list_extract", "ascii",
    "list_contains", "array_contains", "list_has", "array_has", "struct_extract",
    "year", "month", "day", "dayofmonth", "dayofweek", "dayofyear", "decade", "century", "quarter", "week",
    "weekofyear", "weekday", "isodow", "isoyear", "yearweek", "hour", "minute", "second", "millisecond", "microsecond",
    "epoch", "epoch_ms", "epoch_us", "date_part", "datepart", "date_trunc", "datetrunc", "date_diff", "datediff",
    "date_sub", "datesub", "last_day", "monthname", "dayname", "strftime", "to_days", "to_months", "to_years",
    "to_hours", "to_minutes", "to_seconds", "to_weeks", "to_quarters",
}  # fmt: skip
# Words that stand before a parenthesis without being functions, and functions that the binder writes in another way.
_WORDS: Final = {
    "and", "or", "not", "in", "on", "using", "where", "select", "from", "by", "having", "when", "then", "else", "case",
    "as", "over", "exists", "all", "any", "distinct", "union", "except", "intersect", "join", "values", "between",
    "with", "extract", "cast", "coalesce", "nullif", "ifnull", "if", "interval", "count", "sum",
    "min", "max", "avg", "mean", "bool_and", "bool_or", "decimal", "numeric", "varchar", "char", "cube", "rollup",
    "sets", "grouping", "materialized", "is", "like", "recursive", "position", "filter", "dec", "asc", "desc", "end",
    "count_if",
}  # fmt: skip

# Not cheap, but in one pass over a text, and the result is no longer than a digest or the text itself: once per entry
# of a dictionary they are many times faster. (`regexp_extract` gives a field per group, and `json_extract` an element
# per path: those grow.)
_SHORT_RESULTS: Final = {
    "regexp_matches", "regexp_full_match", "reverse", "md5", "sha1", "sha256", "hash", "strptime", "try_strptime",
}  # fmt: skip

# Nor do these make anything of a text.
_NO_FUNCTIONS: Final = {
    "array", "unnest", "lateral", "row", "exclude", "except", "rename", "reservoir", "bernoulli", "system", "unpivot",
    "pivot", "nulls", "bucket", "sample", "within", "try", "try_cast",
    "range", "generate_series", "limit", "offset", "key",
}  # fmt: skip

# What gives a text about as long as the one that went in, if its other arguments are literals of these kinds; how much
# longer it gets, the verifier says.
_ARGUMENTS: Final = {
    "replace": ((TokenType.STRING, TokenType.STRING),),
    "regexp_extract": ((TokenType.STRING,), (TokenType.STRING, TokenType.NUMBER)),
    **dict.fromkeys(("hex", "to_hex", "base64", "to_base64", "url_encode"), ((),)),
}
_OPENING: Final = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE}
_CLOSING: Final = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE}

_DEFINES: Final = ([TokenType.ALIAS, TokenType.L_PAREN], [TokenType.USING, TokenType.VAR])

_JSON: Final = {TokenType.ARROW, TokenType.DARROW}
_CALLS: Final = {
    TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE, TokenType.DCOLON, TokenType.DPIPE, TokenType.PLUS,
    TokenType.DASH, TokenType.STAR, TokenType.SLASH, TokenType.DIV, TokenType.MOD, TokenType.CARET, TokenType.DSTAR,
    TokenType.LIKE, TokenType.ILIKE, TokenType.GLOB, TokenType.SIMILAR_TO, TokenType.TILDE, TokenType.INTERVAL,
}  # fmt: skip


def why_not_cheap(parsed: Parsed) -> str | None:
    """What in a text may take more than a small fixed effort per row, in a few words; None if nothing."""
    if len(parsed.text) > MAX_TEXT:
        return "the text is long"
    name = next((name for name, _ in _unlisted_calls(parsed)), None)
    return None if name is None else f"`{name[:60]}` is not among the cheap functions"


def grows(parsed: Parsed) -> bool:
    """Whether a text has something that could make much of a stored text: aggregates, which run on rows of the answer
    only, do not."""
    if len(parsed.text) > MAX_TEXT:
        return True
    kinds = parsed.kinds
    if not _JSON.isdisjoint(kinds) or sum(map(_CALLS.__contains__, kinds)) > MAX_EFFORT:
        return True
    texts = [len(parsed.tokens[index].text) for index, kind in enumerate(kinds) if kind == TokenType.STRING]
    if max(texts, default=0) > MAX_CONSTANT:
        return True
    if TokenType.DPIPE in kinds and (sum(texts) > MAX_CONSTANT or TokenType.PARAMETER in kinds):
        return True
    return any(
        not (
            name in _SHORT_RESULTS
            or name in _NO_FUNCTIONS
            or _runs_on_rows_of_the_answer(name)
            or _keeps_length(parsed.tokens, name, index)
        )
        for name, index in _unlisted_calls(parsed)
    )


def _unlisted_calls(parsed: Parsed) -> list[tuple[str, int]]:
    """Names before a parenthesis that are not among the cheap ones, and where it stands; also what else merely looks
    like a call, which costs time, and nothing else."""
    tokens, kinds = parsed.tokens, parsed.kinds
    found = []
    for index, kind in enumerate(kinds):
        if kind != TokenType.L_PAREN or not index:
            continue
        if index > 1 and kinds[index - 2] == TokenType.ALIAS:
            continue  # `AS t(a, b)`, or a type's name
        name = tokens[index - 1].text.lower()
        if name == "concat_ws":
            # Between so many texts it stands as many times: a stored text as separator is multiplied.
            known = kinds[index + 1 : index + 3] == [TokenType.STRING, TokenType.COMMA]
        else:
            known = not name.isidentifier() or name in BOUNDED or name in _WORDS
        if not known:
            found.append((name, index))
    return found


def _keeps_length(tokens: Sequence[Token], name: str, opening: int) -> bool:
    """Whether a call has no argument after the first but such literals; what names columns is no call."""
    if opening > 1 and tokens[opening - 2].token_type in (TokenType.STAR, TokenType.R_PAREN):
        return True  # `* REPLACE (…)`, `(VALUES …) v(x)`
    depth, close, commas = 0, opening, []
    for close in range(opening, len(tokens)):
        kind = tokens[close].token_type
        depth += (kind in _OPENING) - (kind in _CLOSING)
        if depth == 0:
            break
        if depth == 1 and kind == TokenType.COMMA:
            commas.append(close)
    if [token.token_type for token in tokens[close + 1 : close + 3]] in _DEFINES:
        return True  # `WITH o(a, b) AS (…)`
    alone = all(end - comma == 2 for comma, end in pairwise([*commas, close]))
    return alone and tuple(tokens[comma + 1].token_type for comma in commas) in _ARGUMENTS.get(name, ())


def _runs_on_rows_of_the_answer(name: str) -> bool:
    found = review(name, "expression")
    return found is not None and {"aggregate", "window"}.issuperset(found.kinds)
