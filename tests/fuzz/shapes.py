"""Shapes of queries that are seldom written and often forgotten: `COLUMNS(…)`, named windows, LATERAL, USING KEY, …

It takes what `Clauses` offers and returns statements. Each embeds conditions that fail on hidden values, so that a shape
which moves them below a row filter shows it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.fuzz.clauses import Clauses
from tests.fuzz.expressions import Rel, Scope, reference
from tests.judging.oracle import quoted

__all__ = ["Shapes"]

_FRAMES = (
    "ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING EXCLUDE TIES",
    "GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
    "ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING EXCLUDE GROUP",
    "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
)
_LIMITS = (
    "LIMIT 40 PERCENT",
    "LIMIT 12.5%",
    "LIMIT 1 + 2",
    "LIMIT $p_five OFFSET $p_one",
    "LIMIT greatest(1, $p_one::INTEGER)",
    "OFFSET 2 ROWS FETCH FIRST 3 ROWS ONLY",
)


@dataclass
class Shapes(Clauses):
    """The generator of unusual statements."""

    def unusual(self, depth: int) -> str:
        """One of the shapes."""
        shapes = (
            self._chosen_columns, self._chosen_columns, self._whole_rows, self._windows, self._by_key, self._united_by_name,
            self._grouped_sets, self._lateral, self._lateral, self._limited, self._implicit_join, self._sampled,
            self._collected, self._collected, self._correlated, self._correlated, self._bound, self._bound, self._shown,
            self._from_first, self._ordered_set,
        )  # fmt: skip
        return self.random.choice(shapes)(max(1, depth))

    def failing(self, scope: Scope, type_: str = "BOOLEAN") -> str:
        """A condition, or a value of the type, that fails on hidden values if one fits."""
        made = self.provoking(type_, scope)
        if made is not None and self.chance(0.85):
            return made
        return self.boolean(scope, 1) if type_ == "BOOLEAN" else self.of(type_, scope, 1)

    def _where(self, scope: Scope) -> str:
        return f" WHERE {self.failing(scope)}" if self.chance(0.6) else ""

    def _chosen_columns(self, _: int) -> str:
        text, rel = self.table()
        scope, names = Scope((rel,)), [name for name, _ in rel.columns]
        dropped, changed = self.random.choice(names), self.random.choice(names)
        value = self.failing(scope, self.random.choice(("INTEGER", "VARCHAR", "DATE", "DOUBLE")))
        excluded = quoted(dropped)
        kept = quoted(changed if changed != dropped else next(n for n in names if n != dropped))
        pattern = self.random.choice(("'.*i.*'", "'^(id|note|doc|stamp)$'", "'[nt]$'", "'^.{2,6}$'"))
        shown = self.random.choice(
            (
                f"* EXCLUDE ({excluded}) REPLACE ({value} AS {kept})", f"* REPLACE ({value} AS {kept})", f"* RENAME ({kept} AS other)",
                f"* LIKE '%{changed[0]}%'", f"{rel.alias}.* EXCLUDE {excluded}", f"COLUMNS({pattern})", f"COLUMNS(* EXCLUDE ({excluded}))::VARCHAR",
                f"max(COLUMNS({pattern}))", f"COLUMNS(lambda c: c LIKE '%{changed[-1]}')", f"min(COLUMNS({rel.alias}.*)) AS '\\0_least'",
                "count(COLUMNS(*)), count(*)",
                f"*, {value} AS added",
            )
        )  # fmt: skip
        where = self._where(scope)
        if self.chance(0.15):
            where = " WHERE COLUMNS('^(id|quantity|item)$') > 0"
        return f"SELECT {shown} FROM {text}{where}"

    def _whole_rows(self, _: int) -> str:
        text, rel = self.table()
        scope = Scope((rel,))
        row = rel.alias
        shown = self.random.choice(
            (
                row, f"{row}::VARCHAR", f"hash({row}) IS NULL", f"list({row})", f"unnest({row})", f"struct_keys({row})", f"to_json({row})",
                f"({row}).{quoted(rel.columns[0][0])}", f"struct_pack(a := {row}, b := {self.failing(scope, 'INTEGER')})", f"count(DISTINCT {row})",
                f"unnest({row}, recursive := true)", f"row({row}, 1) IS NOT NULL", f"{row} = {row}", f"struct_extract({row}, '{rel.columns[-1][0]}')",
            )
        )  # fmt: skip
        return f"SELECT {shown} AS c0 FROM {text}{self._where(scope)}"

    def _windows(self, depth: int) -> str:
        text, scope = self.joined(0)
        columns = [name for name, _ in self.columns(scope)]
        keys = ", ".join(self.random.sample(columns, min(3, len(columns))))
        value = self.failing(scope, self.random.choice(("INTEGER", "BIGINT", "DOUBLE", "VARCHAR")))
        frame = self.random.choice(_FRAMES)
        called = self.random.choice(
            (
                f"first_value({value} IGNORE NULLS)", f"lead({value}, 1, NULL)", f"max({value}) FILTER (WHERE {self.failing(scope)})",
                f"count(DISTINCT {value})", f"nth_value({value}, 2)", f"min({value})", f"list({value} ORDER BY {value})", f"row_number(ORDER BY {keys})",
            )
        )  # fmt: skip
        partition = f"PARTITION BY {self.failing(scope, 'INTEGER')} " if self.chance(0.4) else ""
        qualify = f" QUALIFY {self.failing(scope)} AND rank() OVER w > 0" if self.chance(0.3) else ""
        return (
            f"SELECT {called} OVER (w {frame}) AS c0, count(*) OVER w AS c1 FROM {text}{self._where(scope)} "
            f"WINDOW w AS ({partition}ORDER BY {keys})"
            f"{qualify}"
        )

    def _by_key(self, _: int) -> str:
        text, rel = self.table()
        scope = Scope((rel,))
        keys = self.columns(scope, "INTEGER") or [("1", "INTEGER")]
        key, value = self.random.choice(keys)[0], self.failing(scope, "INTEGER")
        other, step = self.table()
        on = self.random.choice(self.columns(Scope((step,)), "INTEGER") or [("1", "INTEGER")])[0]
        found = self.failing(Scope((step,)), "INTEGER")
        past = self.random.choice(("w", "w", "recurring.w AS w"))
        return (
            f"WITH RECURSIVE w(n, v, level) USING KEY (n) AS (SELECT {key}, max({value}), 0 FROM {text}{self._where(scope)} "
            f"GROUP BY 1 UNION SELECT w.n, max({found}), min(w.level) + 1 FROM {past} JOIN {other} ON w.n = {on} "
            f"WHERE w.level < 2 GROUP BY w.n) SELECT * FROM w ORDER BY ALL"
        )

    def _united_by_name(self, depth: int) -> str:
        parts = []
        for _ in range(self.random.choice((2, 2, 3))):
            made = self.select(depth - 1)
            parts.append(f"({made.text})" if self.chance(0.3) else f"SELECT * FROM ({made.text}) AS {self.alias('s')}")
        word = self.random.choice((" UNION BY NAME ", " UNION ALL BY NAME "))
        return word.join(parts)

    def _grouped_sets(self, depth: int) -> str:
        text, scope = self.joined(0)
        one, two = self.any(scope, 1)[0], self.failing(scope, "INTEGER")
        sets = self.random.choice(
            (
                "GROUPING SETS ((c0, c1), (c0), ())",
                "CUBE (c0, c1)",
                "ROLLUP (c1, c0)",
                "c0, ROLLUP (c1)",
                "ALL",
                "c0, c1",
            )
        )
        aggregate, _ = self.aggregate(scope, 1)
        extra = ", grouping(c0) AS g" if sets.startswith(("GROUPING", "CUBE", "ROLLUP")) else ""
        having = f" HAVING bool_or({self.failing(scope)}) IS NOT NULL" if self.chance(0.4) else ""
        return f"SELECT {one} AS c0, {two} AS c1, {aggregate} AS c2{extra} FROM {text}{self._where(scope)} GROUP BY {sets}{having}"

    def _lateral(self, depth: int) -> str:
        text, rel = self.table()
        other, inner = self.table()
        outer, both = Scope((rel,)), Scope((inner,), (rel,))
        value = self.failing(
            self.random.choice((outer, Scope((inner,)))), self.random.choice(("INTEGER", "DATE", "DOUBLE"))
        )
        pair = self._pair([rel], inner)
        where = f" WHERE {f'{pair[0]} = {pair[1]} AND ' if pair else ''}{self.failing(both)}"
        match self.random.randrange(5):
            case 0:
                return f"SELECT q.c0, count(*) FROM {text}, LATERAL (SELECT {value} AS c0 FROM {other}{where}) AS q GROUP BY 1"
            case 1:
                return f"SELECT q.c0 FROM {text} LEFT JOIN LATERAL (SELECT max({value}) AS c0 FROM {other}{where}) AS q ON {self.failing(outer)}"
            case 2:
                return (
                    f"SELECT q.c0 FROM {text}, (SELECT {self.failing(outer, 'INTEGER')}) AS q(c0){self._where(outer)}"
                )
            case 3:
                lists = (
                    self.columns(outer, "VARCHAR[]") or self.columns(outer, "INTEGER[]") or [("[1, 2]", "INTEGER[]")]
                )
                return f"SELECT u.v, u.o, {self.failing(outer, 'INTEGER')} AS c1 FROM {text}, unnest({lists[0][0]}) WITH ORDINALITY AS u(v, o){self._where(outer)}"
            case _:
                return f"SELECT sum(q.c0) FROM {text} CROSS JOIN LATERAL (SELECT {value}::DOUBLE AS c0 FROM {other}{where} ORDER BY ALL LIMIT 1) AS q"

    def _limited(self, depth: int) -> str:
        made = self.select(depth)
        if " SAMPLE " in made.text:
            return made.text
        text, rel = self.table()
        limit = self.random.choice(
            (
                *_LIMITS,
                f"LIMIT (SELECT count(*) // 2 FROM {text}{self._where(Scope((rel,)))})",
                f"LIMIT (SELECT count(*) FROM {text}) OFFSET 1",
            )
        )
        return f"SELECT * FROM ({made.text}) AS q ORDER BY ALL {limit}"

    def _implicit_join(self, _: int) -> str:
        """A join of two types: text is cast to numbers, on which side is the engine's choice."""
        text, rel = self.table()
        other, second = self.table()
        texts = [reference(rel, name) for name, type_ in rel.columns if type_ == "VARCHAR"]
        numbers = [
            reference(second, name)
            for name, type_ in second.columns
            if type_ in ("INTEGER", "BIGINT", "SMALLINT", "DATE", "DOUBLE")
        ]
        if not texts or not numbers:
            return self.select(1).text
        likely = [t for t in texts if t.rsplit(".", 1)[-1] in ("note", "age", "num", "memo", "grade", "stamp")]
        left, right = self.random.choice(likely or texts), self.random.choice(numbers)
        word = self.random.choice(("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "SEMI JOIN", "ANTI JOIN"))
        operator = self.random.choice(("=", "=", "<>", "IS NOT DISTINCT FROM"))
        return f"SELECT count(*) FROM {text} {word} {other} ON {left} {operator} {right}"

    def _sampled(self, _: int) -> str:
        text, rel = self.table()
        bare = f"(SELECT * FROM {text})" if " " in text or self.chance(0.3) else text
        sample = self.random.choice(
            (
                "TABLESAMPLE 50%",
                "TABLESAMPLE reservoir(3 ROWS)",
                "TABLESAMPLE bernoulli(40%) REPEATABLE (3)",
                "TABLESAMPLE system(60%)",
                "TABLESAMPLE (5 ROWS)",
            )
        )
        value = self.failing(Scope((Rel("q", rel.columns),)), "INTEGER")
        return f"SELECT {value} AS c0, q.{quoted(rel.columns[0][0])} FROM {bare} AS q {sample}"

    def _collected(self, _: int) -> str:
        """Lists of many rows' values, taken apart again."""
        text, rel = self.table()
        scope = Scope((rel,))
        texts = [reference(rel, name) for name, type_ in rel.columns if type_ == "VARCHAR"]
        likely = [t for t in texts if t.rsplit(".", 1)[-1] in ("note", "age", "num", "memo", "grade", "stamp", "label")]
        column = self.random.choice(likely or texts or ["'5'"])
        many = f"list({column} ORDER BY {column})"
        shown = self.random.choice(
            (
                f"[x::INTEGER FOR x IN {many}]", f"list_transform({many}, lambda x: TRY_CAST(x AS INTEGER))", f"list_filter({many}, lambda x, i: x::INT > i)",
                f"list_reduce({many}, lambda a, b: a || b)", f"list_aggregate({many}, 'max')", f"list_sort({many})[1]::INTEGER", f"{many}::INTEGER[]",
                f"[x FOR x, i IN {many} IF i < 3]", f"list_zip({many}, {many})", f"map_from_entries(list(({column}, 1))) IS NULL", f"histogram({column})",
                f"ARRAY(SELECT y.v::INTEGER FROM (SELECT unnest({many}) AS v) AS y ORDER BY 1)", f"string_agg({column}, ',' ORDER BY {column})",
                f"max({{'a': {column}::INTEGER, 'b': {column}}})", f"arg_max({column}, {column}::INTEGER)",
            )
        )  # fmt: skip
        return f"SELECT {shown} AS c0 FROM {text}{self._where(scope)}"

    def _correlated(self, depth: int) -> str:
        text, rel = self.table()
        scope = Scope((rel,))
        kind = self.random.choice(("INTEGER", "VARCHAR", "DOUBLE"))
        query = self.scalar_query(kind, scope, 2) or "NULL"
        exists = self.exists_query(scope, 1)
        key = reference(rel, rel.columns[0][0])
        return self.random.choice(
            (
                f"SELECT {query} AS c0 FROM {text}{self._where(scope)}",
                f"SELECT count(*) AS n FROM {text} GROUP BY {query}",
                f"SELECT {key} AS c0 FROM {text} ORDER BY {query}, 1",
                f"SELECT count(*) FILTER (WHERE EXISTS {exists}) AS n FROM {text}{self._where(scope)}",
                f"SELECT {key} AS c0, rank() OVER (ORDER BY {query}) AS c1 FROM {text}",
                f"SELECT {key} AS c0 FROM {text} QUALIFY row_number() OVER (PARTITION BY {query} ORDER BY {key}) = 1 AND {self.failing(scope)}",
                f"SELECT CASE WHEN EXISTS {exists} THEN {self.failing(scope, 'INTEGER')} END AS c0 FROM {text}",
                f"SELECT max({query}) AS m FROM {text} HAVING count(*) > 0",
                f"SELECT {key} AS c0 FROM {text} WHERE {key} IN (SELECT v.a FROM (VALUES (1), (2)) AS v(a) WHERE {self.failing(scope)})",
                f"SELECT [{query}, {query}] AS c0 FROM {text} WHERE NOT EXISTS {exists}",
                f"VALUES ((SELECT max({self.failing(scope, kind)}) FROM {text}), 1)",
            )
        )

    def _bound(self, _: int) -> str:
        """Parameters in the places of constants; their types are the engine's guess."""
        text, rel = self.table()
        scope = Scope((rel,))
        columns = self.columns(scope)
        name, type_ = self.random.choice(columns)
        texts = [c for c, t in columns if t == "VARCHAR"] or [name]
        one = self.random.choice(texts)
        condition = self.random.choice(
            (
                f"{one} = $p_five", f"{one} = $p_text", f"{one} IN ($p_text, $p_name)", f"{one}::INTEGER > $p_one", f"{one} LIKE $p_word",
                f"list_contains($p_texts, {one})", f"{one} = ANY($p_texts)", f"{name} IS DISTINCT FROM $p_null", f"{one} BETWEEN $p_text AND $p_name",
                f"coalesce($p_null, {self.failing(scope)})", f"{one} IN (SELECT unnest($p_texts))",
            )
        )  # fmt: skip
        shown = self.random.choice(
            (name, "count(*)", f"{self.failing(scope, 'DOUBLE')} * $p_real", f"max({name})", "$p_name")
        )
        if type_ == "INTEGER" and self.chance(0.3):
            shown = f"{name} // $p_one"
        return f"SELECT {shown} AS c0 FROM {text} WHERE {condition}"

    def _shown(self, depth: int) -> str:
        made = self.select(depth - 1)
        text, rel = self.table()
        bare = quoted(*self.random.choice(sorted(self.tables)))
        return self.random.choice(
            (
                f"SELECT * FROM (DESCRIBE {made.text})", f"SELECT column_name, min, max FROM (SUMMARIZE {made.text})", f"DESCRIBE {bare}",
                f"SUMMARIZE SELECT {self.failing(Scope((rel,)), 'INTEGER')} AS c0 FROM {text}", f"FROM (SUMMARIZE {bare})", f"TABLE {bare}",
                f"SELECT column_type FROM (DESCRIBE SELECT {self.any(Scope((rel,)), 2)[0]} AS c0 FROM {text})",
            )
        )  # fmt: skip

    def _from_first(self, _: int) -> str:
        text, scope = self.joined(0)
        value = self.failing(scope, self.random.choice(("INTEGER", "DATE")))
        tail = self._where(scope)
        return self.random.choice(
            (
                f"FROM {text} SELECT c0: {value}{tail}",
                f"FROM {text}{tail} LIMIT 0",
                f"FROM {text} SELECT DISTINCT {value} AS c0{tail} ORDER BY ALL",
            )
        )

    def _ordered_set(self, _: int) -> str:
        text, scope = self.joined(0)
        value = self.failing(scope, self.random.choice(("INTEGER", "DOUBLE", "BIGINT")))
        shown = self.random.choice(
            (
                f"quantile_disc({value}, 0.5)", f"percentile_disc(0.5) WITHIN GROUP (ORDER BY {value})", f"mode() WITHIN GROUP (ORDER BY {value}) IS NULL",
                f"median({value})", f"max({value}, 2)", f"min_by({value}, {value})", f"count_if({self.failing(scope)})", f"bit_xor({value}::BIGINT)",
                f"sum({value}) FILTER (WHERE {self.failing(scope)})", f"approx_count_distinct({value}) IS NULL", f"any_value({value}) IS NULL",
            )
        )  # fmt: skip
        return f"SELECT {shown} AS c0 FROM {text}{self._where(scope)}"
