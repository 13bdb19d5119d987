"""Queries in which nothing seems to raise: where a product decides that a row filter needs no fence, it decides here.

It takes what `Clauses` offers and returns statements of total functions, arithmetic near the limits of its types,
casts to wider types, comparisons of two types. Hidden rows hold the extremes of every type: one expression that is
taken for total and is not, and an error tells of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from rls.rewrite.functions import reviews
from tests.fuzz.calls import Overload, overloads
from tests.fuzz.clauses import Clauses
from tests.fuzz.expressions import Scope

__all__ = ["Calm"]

_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT")
_EVERY = (
    "{c}", "{c}", "{c} IS NULL", "coalesce({c}, {d})", "hash({c})", "{c}::VARCHAR", "CASE WHEN {c} = {d} THEN {c} END", "nullif({c}, {d})",
    "typeof({c})", "count({c})", "min({c})", "max({c})", "{c} = {d}", "{c} < {d}", "[{c}, {d}]", "greatest({c}, {d})", "any_value({c}) IS NULL", "{{'k': {c}}}",
    "count(DISTINCT {c})", "{c} IS DISTINCT FROM {d}", "if({c} > {d}, {c}, NULL)", "list({c}) IS NULL", "TRY_CAST({c} AS INTEGER)", "md5({c}::VARCHAR)",
)  # fmt: skip
_NUMBER = (
    "{c} + {n}", "{c} - {n}", "{c} * {n}", "{c}::BIGINT + {n}", "{c}::HUGEINT * {n}", "{c}::BIGINT * {n}", "-{c}", "abs({c})", "{c} % {n}", "{c} // {n}", "{c} / {n}",
    "{c}::DOUBLE", "{c}::DOUBLE * {n}", "{c}::DECIMAL(38,2)", "{c}::HUGEINT", "{c}::BIGINT", "{c}::INTEGER", "{c}::SMALLINT", "{c}::UBIGINT", "sum({c})", "avg({c})", "sum({c}::HUGEINT)",
    "round({c}, 1)", "sign({c})", "{c} & 3", "{c} << 1", "{c} >> 1", "~{c}", "xor({c}, 1)", "{c} = 2.5", "{c} < 3000000000", "{c} BETWEEN -1 AND 300", "{c} IN (1, 2, 99999999999)",
    "bit_and({c})", "stddev({c})", "isnan({c}::DOUBLE)", "floor({c})", "ceil({c})", "sqrt(abs({c}))", "pow({c}, 2)", "sum({c} + {n})", "sum({c} * {n})", "{c} + {c}", "{c} * {c}", "{c} - {d}",
    "product({c})", "bit_count({c})", "to_days({c}::INTEGER)", "{c}::VARCHAR", "format('{{}}', {c})", "bin({c})", "hex({c})", "{c} ** 2", "trunc({c})", "even({c})", "count_if({c} > 1)", "median({c})",
    "({c} + 1)::DOUBLE / 3", "sum({c}) / count(*)", "max({c}) - min({c})", "sum({c}::DOUBLE)", "avg({c}::DECIMAL(38,4))", "histogram({c})", "kahan_sum({c})", "sum({c}) OVER ()",
)  # fmt: skip
_TIME = (
    "{c} + INTERVAL 1 DAY", "{c} - INTERVAL 1 MONTH", "{c} + 1", "{c} - {d}", "year({c})", "month({c})", "week({c})", "date_part('isoyear', {c})", "date_trunc('month', {c})", "{c}::DATE",
    "{c}::TIMESTAMP", "{c}::TIMESTAMPTZ", "strftime({c}, '%Y-%m')", "epoch({c})", "epoch_ms({c})", "date_diff('day', {c}, {d})", "date_sub('month', {c}, {d})", "dayname({c})", "last_day({c})", "monthname({c})",
    "{c} < DATE '2024-03-01'", "{c} > TIMESTAMP '2024-01-01'", "{c} = TIMESTAMPTZ '2024-01-01 00:00:00+00'", "julian({c})", "time_bucket(INTERVAL '1 day', {c})", "isfinite({c})", "extract('quarter' FROM {c})",
    "{c} BETWEEN '2024-01-01' AND '2025-01-01'", "age({c}, {d})", "to_timestamp(epoch({c}))", "{c}::TIMESTAMP_MS", "{c}::TIMESTAMP_S", "century({c})", "yearweek({c})", "make_timestamp(year({c}), 1, 1, 0, 0, 0)",
)  # fmt: skip
_TEXT = (
    "lower({c})", "upper({c})", "length({c})", "left({c}, 2)", "substring({c}, 2, 3)", "{c} || 'x'", "{c} LIKE 'a%'", "{c} ILIKE '%SECRET%'", "replace({c}, 'a', 'b')", "trim({c})", "reverse({c})",
    "contains({c}, 'a')", "starts_with({c}, 'S')", "regexp_matches({c}, '^a')", "split_part({c}, 'a', 1)", "strip_accents({c})", "md5({c})", "ascii({c})", "{c} = 'acme'", "{c} > 'm'", "string_agg({c}, ',' ORDER BY {c})",
    "levenshtein({c}, 'a')", "string_split({c}, 'a')", "{c} COLLATE NOCASE = 'ACME'", "concat({c}, {d})", "{c} IN ('5', 'x')", "regexp_replace({c}, '[0-9]', '')", "octet_length({c}::BLOB)", "{c}[1]", "unicode({c})",
    "lpad({c}, 3, 'x')", "repeat({c}, 2)", "json_valid({c})", "encode({c})", "jaccard({c}, 'ab')", "nfc_normalize({c})", "{c} SIMILAR TO 'a.*'", "{c} GLOB 'a*'", "url_encode({c})", "format('{{}}', {c})", "soundex({c})",
    "TRY_CAST({c} AS DATE)", "regexp_extract({c}, '(a)(b)?', 2)", "ord({c})", "translate({c}, 'ab', 'cd')", "hamming({c}, {c})", "jaro_similarity({c}, 'a')", "bit_length({c})", "{c} BETWEEN 'a' AND 'b'",
)  # fmt: skip
_NESTED = (
    "len({c})", "{c}[1]", "list_distinct({c})", "list_sort({c})", "list_contains({c}, NULL)", "{c} = {d}", "{c} IS NOT NULL", "{c}::VARCHAR", "to_json({c})", "unnest({c})", "map_keys({c})", "{c}['a']", "{c}.a", "{c}.code",
    "list_reverse({c})", "{c}[1:2]", "cardinality({c})", "list_sum({c})", "array_length({c})", "list_aggregate({c}, 'max')", "list_transform({c}, lambda x: x IS NULL)", "list_position({c}, NULL)", "flatten([{c}])", "list_concat({c}, {d})",
    "{c}.n.v", "struct_extract({c}, 'code')", "{c}[-1]", "map_values({c})", "map_entries({c})", "list_unique({c})", "json_keys({c})", "{c}->'$.k'", "json_type({c})", "bit_count({c})", "octet_length({c})", "union_tag({c})", "{c}.s",
)  # fmt: skip
_NUMBERS = ("1", "2", "0", "-1", "10", "100", "1000000", "2147483647", "1.5", "0.001", "$p_one", "$p_five", "$p_real")


# What a product may take for cheap as well as total; in every second query there is nothing else.
_CHEAP = {
    "coalesce", "nullif", "greatest", "if", "count", "min", "max", "sum", "avg", "abs", "lower", "upper", "length", "left", "substring", "trim", "split_part",
    "contains", "starts_with", "ascii", "concat", "year", "month", "week", "date_part", "date_trunc", "date_diff", "last_day", "strftime", "epoch", "epoch_ms", "dayname",
    "monthname", "list_contains", "struct_extract", "round", "sign", "floor", "ceil", "trunc", "sqrt", "isnan", "bit_and", "count_if", "isfinite", "to_days", "date_sub", "any",
}  # fmt: skip
_CALL = re.compile(r"(\w+)\(")
_COSTLY = re.compile(r"OVER|COLLATE|SIMILAR|GLOB|TRY_CAST|\blambda\b|\{\{|\[")
_ANY_STATEMENT, _CHEAP_STATEMENT = tuple(range(12)), (0, 1, 3, 4, 6, 7, 9, 9, 9, 9)


@cache
def _cheap(templates: tuple[str, ...]) -> tuple[str, ...]:
    """Those with nothing but cheap calls."""
    return tuple(
        t for t in templates if not _COSTLY.search(t) and {name.lower() for name in _CALL.findall(t)} <= _CHEAP
    )


@cache
def _total() -> tuple[Overload, ...]:
    """Overloads of scalar functions that the reviewed table calls total."""
    names = {row.name for row in reviews() if row.verdict == "leakproof"}
    return tuple(one for one in overloads() if one.name in names and one.kind == "scalar")


@dataclass
class Calm(Clauses):
    """The generator of queries that look harmless; `cheap` is drawn for each."""

    cheap: bool = False

    def calm(self) -> str:
        """A statement."""
        self.cheap = self.chance(0.6)
        text, scope = self._relations()
        shown = [self._value(scope) for _ in range(self.random.choice((1, 1, 2, 3)))]
        where = f" WHERE {self._condition_of(scope)}" if self.chance(0.75) else ""
        # Aggregates stand in HAVING and the select list; a plain column beside them is grouped by.
        items = ", ".join(f"{value} AS c{number}" for number, value in enumerate(shown))
        match self.random.choice(_CHEAP_STATEMENT if self.cheap else _ANY_STATEMENT):
            case 0 | 1:
                return f"SELECT {items}, count(*) AS n FROM {text}{where} GROUP BY ALL"
            case 2:
                return f"SELECT {items} FROM {text}{where} GROUP BY ALL HAVING count(*) > 0 ORDER BY ALL LIMIT 5"
            case 3:
                return (
                    f"WITH w AS (SELECT {items} FROM {text}{where}) SELECT * FROM w WHERE c0 IS NOT NULL ORDER BY ALL"
                )
            case 4:
                return f"SELECT DISTINCT {items} FROM {text}{where}"
            case 5:
                keys = ", ".join(name for name, _ in self.columns(scope)[:3])
                return f"SELECT {items}, rank() OVER (ORDER BY {keys}) AS r FROM {text}{where}"
            case 6:
                return f"SELECT count(*), count({shown[0]}) FROM {text}{where}"
            case 7:
                other, inner = self._relations()
                word = self.random.choice(("UNION ALL", "UNION", "EXCEPT", "INTERSECT"))
                return f"SELECT {items} FROM {text}{where} {word} SELECT {', '.join(self._value(inner) for _ in shown)} FROM {other}"
            case 8:
                return f"SELECT * FROM {text}{where} ORDER BY ALL LIMIT 7"
            case _:
                return f"SELECT {items} FROM {text}{where}"

    def _relations(self) -> tuple[str, Scope]:
        text, rel = self.table()
        relations = [rel]
        for _ in range(self.random.choice((0, 0, 0, 1, 1, 2))):
            right, other = self.table()
            pair = self._pair(relations, other)
            word = self.random.choice(
                ("JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "SEMI JOIN", "ANTI JOIN")
            )
            if pair is None:
                continue
            extra = f" AND {self._condition_of(Scope((*relations, other)))}" if self.chance(0.3) else ""
            text = f"{text} {word} {right} ON {pair[0]} = {pair[1]}{extra}"
            if word.split()[0] not in ("SEMI", "ANTI"):
                relations.append(other)
        return text, Scope(tuple(relations))

    def _value(self, scope: Scope) -> str:
        """A value without sub-queries; at times a function of the reviewed table, at times two levels deep."""
        if not self.cheap and self.chance(0.3):
            pool = _total()
            for _ in range(3):
                made = self.applied(self._by_name(pool), scope, 0)
                if made is not None:
                    return made[0]
        column, type_ = self.random.choice(self.columns(scope))
        value = self._of(column, type_, scope)
        if self.chance(0.2) and (found := self.binder.describe_value(value, self._tables(scope))) is not None:
            return self._of(f"({value})", found, scope)
        return value

    def _tables(self, scope: Scope) -> str:
        nulls = [
            f"(SELECT {', '.join(f'CAST(NULL AS {t}) AS {chr(34)}{name}{chr(34)}' for name, t in rel.columns)}) AS {rel.alias}"
            for rel in scope.relations
        ]
        return ", ".join(nulls)

    def _of(self, column: str, type_: str, scope: Scope) -> str:
        templates: tuple[str, ...] = _EVERY
        if type_ in (*_WHOLE, "DOUBLE", "FLOAT", "UBIGINT") or type_.startswith("DECIMAL"):
            templates = (*_NUMBER, *_EVERY)
        elif type_ == "DATE" or type_.startswith(("TIMESTAMP", "TIME")):
            templates = (*_TIME, *_EVERY)
        elif type_ == "VARCHAR":
            templates = (*_TEXT, *_EVERY)
        elif type_ not in ("BOOLEAN", "UUID"):
            templates = (*_NESTED, *_EVERY)
        templates = _cheap(templates) if self.cheap else templates
        same = [name for name, other in self.columns(scope) if other == type_] or [column]
        for _ in range(6):
            made = self.random.choice(templates).format(
                c=column, d=self.random.choice(same), n=self.random.choice(_NUMBERS)
            )
            if self.binder.describe_value(made, self._tables(scope)) is not None:
                return made
        return column

    def _condition_of(self, scope: Scope) -> str:
        columns = self.columns(scope)
        parts = []
        for _ in range(self.random.choice((1, 1, 2, 3))):
            for _ in range(8):
                value = self._value(scope)
                found = self.binder.describe_value(value, self._tables(scope))
                if (
                    found is None
                    or "OVER" in value
                    or self.binder.describe_value(f"count({value})", self._tables(scope)) is None
                ):
                    continue
                if found == "BOOLEAN":
                    parts.append(self.random.choice(("{v}", "NOT ({v})", "({v}) IS NOT TRUE")).format(v=value))
                else:
                    parts.append(
                        f"{value} {self.random.choice(('=', '<>', '<', '>=', 'IS DISTINCT FROM'))} {self.literal(found)}"
                    )
                break
        if self.chance(0.25):
            other, inner = self.table()
            pair = self._pair(list(scope.relations), inner)
            if pair is not None:
                kind = self.random.choice(
                    (
                        "{l} IN (SELECT {r} FROM {t})",
                        "EXISTS (SELECT 1 FROM {t} WHERE {l} = {r})",
                        "{l} NOT IN (SELECT {r} FROM {t})",
                        "{l} = (SELECT max({r}) FROM {t})",
                        "(SELECT count(*) FROM {t} WHERE {l} = {r}) > 0",
                        "{l} = ANY(SELECT {r} FROM {t})",
                    )
                )
                parts.append(kind.format(l=pair[0], r=pair[1], t=other))
        return self.random.choice((" AND ", " AND ", " OR ")).join(parts) or f"{columns[0][0]} IS NOT NULL"
