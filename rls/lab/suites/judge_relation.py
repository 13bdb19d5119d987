"""What a persona sees of a relation, and an expectation → failures, with sample rows and the policies behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rls.catalog import fold, quote
from rls.lab.suites.judge_rows import compare_names, compare_rows, compare_set
from rls.lab.suites.suite import Failure, ShownRow
from rls.lab.truth.rows import sample_rows
from rls.lab.world.observe import RelationView, filter_sql, key_condition, renamed_filter
from rls.lab.world.values import Canonical, canonical, canonical_row, show

if TYPE_CHECKING:
    from rls.lab.suites.model import Expect

__all__ = ["judge_relation"]

_SAMPLES = 5


def judge_relation(view: RelationView, expect: Expect, key: tuple[str, ...]) -> Iterator[Failure]:
    """Every part of the expectation that is written. Raises RlsError as the view does."""
    yield from _rows(view, expect, key)
    if expect.keys is not None:
        yield from _keys(view, expect.keys, key)
    if expect.includes is not None or expect.excludes is not None:
        yield from _some_keys(view, expect.includes or [], expect.excludes or [], key)
    if expect.where is not None:
        yield from _where(view, expect.where, key)
    if expect.same_as is not None:
        yield from _same_as(view, expect.same_as, key)
    yield from _columns(view, expect)
    grant = view.grant
    if expect.denied and (grant is None or grant.kind != "never"):
        rows = _sample(view, filter_sql(grant), {}, key)
        message = "not denied: policies let rows through" if view.count else "not denied: a policy may let rows through"
        yield Failure("not_denied", message, rows, view.count, "visible")
    if expect.because is not None:
        yield from compare_names(
            "because", expect.because, () if grant is None else grant.policies, "deciding policies"
        )


def _rows(view: RelationView, expect: Expect, key: tuple[str, ...]) -> Iterator[Failure]:
    match expect.rows:
        case None:
            return
        case "none":
            if view.count:
                yield from _too_many(view, 0, key, f"{_rows_word(view.count)} visible, none expected")
        case "all":
            if view.count < view.total:
                yield from _too_few(view, key, f"{view.count:,} of {_rows_word(view.total)} visible, all expected")
        case int() as wanted:
            message = f"{_rows_word(view.count)} visible, {wanted:,} expected"
            if view.count > wanted:
                yield from _too_many(view, wanted, key, message)
            elif view.count < wanted:
                yield from _too_few(view, key, message)
        case list() as wanted:
            yield from compare_rows(view.ask("*"), wanted, ordered=expect.ordered)


def _too_many(view: RelationView, wanted: int, key: tuple[str, ...], message: str) -> Iterator[Failure]:
    rows = _sample(view, filter_sql(view.grant), {}, key)
    yield Failure("extra_rows" if not wanted else "row_count", message, rows, view.count, "visible")


def _too_few(view: RelationView, key: tuple[str, ...], message: str) -> Iterator[Failure]:
    rows = _sample(view, f"{filter_sql(view.grant)} IS NOT TRUE", {}, key)
    yield Failure("missing_rows", message, rows, view.total - view.count, "hidden")


def _keys(view: RelationView, wanted: Sequence[Any], key: tuple[str, ...]) -> Iterator[Failure]:
    visible, expected = _keyed(view, wanted, key)
    yield from _compare_keys(view, key, expected, extra={k: v for k, v in visible.items() if k not in expected})


def _some_keys(
    view: RelationView, includes: Sequence[Any], excludes: Sequence[Any], key: tuple[str, ...]
) -> Iterator[Failure]:
    visible, wanted = _keyed(view, includes, key)
    _, unwanted = _keyed(view, excludes, key)
    extra = {k: v for k, v in visible.items() if k in unwanted}
    yield from _compare_keys(view, key, wanted, extra=extra)
    yield from _unknown_keys(view, key, [raw for k, raw in unwanted.items() if k not in visible], "excludes")


def _compare_keys(
    view: RelationView, key: tuple[str, ...], expected: Mapping[Any, Any], *, extra: Mapping[Any, Any]
) -> Iterator[Failure]:
    visible = {canonical_row(row) for row in view.keys(key)}
    missing = [raw for k, raw in expected.items() if k not in visible]
    if extra:
        condition, parameters = key_condition(view.world.raw, view.relation, key, list(extra.values())[:_SAMPLES])
        rows = _sample(view, condition, parameters, key)
        message = f"{_rows_word(len(extra))} visible that should not be"
        yield Failure("extra_rows", message, rows, len(extra), "should not be visible")
    if missing:
        condition, parameters = key_condition(view.world.raw, view.relation, key, missing)
        there = view.world.raw.rows(
            f"SELECT count(*) FROM {view.world.raw.source(view.relation)} WHERE {condition}", parameters
        )[0][0]
        if there:
            rows = _sample(view, condition, parameters, key)
            message = f"{_rows_word(there)} expected and not visible"
            yield Failure("missing_rows", message, rows, there, "missing")
        yield from _unknown_keys(view, key, missing, "expected")


def _unknown_keys(view: RelationView, key: tuple[str, ...], keys: Sequence[Any], what: str) -> Iterator[Failure]:
    """A key that no row has proves nothing, whichever way it is expected."""
    unknown = []
    for values in keys:
        condition, parameters = key_condition(view.world.raw, view.relation, key, [values])
        found = view.world.raw.rows(
            f"SELECT 1 FROM {view.world.raw.source(view.relation)} WHERE {condition} LIMIT 1", parameters
        )
        if not found:
            unknown.append(show(values[0] if len(values) == 1 else values))
    if unknown:
        label = ", ".join(key)
        yield Failure("unknown_key", f"`{view.relation.label}` has no row with {label} {', '.join(unknown)} ({what})")


def _keyed(
    view: RelationView, wanted: Sequence[Any], key: tuple[str, ...]
) -> tuple[dict[tuple[Canonical, ...], tuple[Any, ...]], dict[tuple[Canonical, ...], tuple[Any, ...]]]:
    """Visible rows and expected ones by the canonical form of their keys."""
    rows = view.keys(key)
    visible = {canonical_row(row): tuple(row) for row in rows}
    # A value says of what type a column is, NULL does not.
    typed = [next((v for v in column if v is not None), None) for column in zip(*rows, strict=True)]
    like = typed or _any_key(view, key)
    expected = {}
    for item in wanted:
        values = tuple(item) if isinstance(item, list) and len(key) > 1 else (item,)
        if len(values) != len(key):
            values = (*values, *([None] * len(key)))[: len(key)]
        expected[canonical_row(values, like)] = values
    return visible, expected


def _any_key(view: RelationView, key: tuple[str, ...]) -> Sequence[Any] | None:
    picked = ", ".join(map(quote, key))
    rows = view.world.raw.rows(f"SELECT {picked} FROM {view.world.raw.source(view.relation)} LIMIT 1")
    return rows[0] if rows else None


def _where(view: RelationView, condition: str, key: tuple[str, ...]) -> Iterator[Failure]:
    visible, parameters = filter_sql(view.grant), {} if view.grant is None else view.grant.parameters
    conditions = [visible, f"({condition})", f"{visible} AND ({condition})"]
    through, meant, both = view.world.raw.counts(view.relation, conditions, parameters)
    extra, missing = through - both, meant - both
    if through != view.count:
        yield Failure("disagreement", f"the engine shows {view.count:,} rows, the grant lets {through:,} through")
    if extra:
        rows = _sample(view, f"{visible} AND ({condition}) IS NOT TRUE", {}, key)
        message = f"{_rows_word(extra)} visible for which `{condition}` is not true"
        yield Failure("extra_rows", message, rows, extra, "should not be visible")
    if missing:
        rows = _sample(view, f"{visible} IS NOT TRUE AND ({condition})", {}, key)
        message = f"{_rows_word(missing)} hidden for which `{condition}` is true"
        yield Failure("missing_rows", message, rows, missing, "missing")


def _same_as(view: RelationView, other: str, key: tuple[str, ...]) -> Iterator[Failure]:
    theirs = RelationView.of(view.world, other, view.relation)
    mine_sql = filter_sql(view.grant)
    # Both bind the same names to different values.
    their_sql, parameters = renamed_filter(theirs.grant, "other")
    parameters |= {} if view.grant is None else view.grant.parameters
    conditions = [mine_sql, their_sql, f"{mine_sql} AND {their_sql}"]
    mine, them, both = view.world.raw.counts(view.relation, conditions, parameters)
    extra, missing = mine - both, them - both
    if extra:
        rows = _sample(view, f"{mine_sql} AND {their_sql} IS NOT TRUE", parameters, key)
        yield Failure("extra_rows", f"{_rows_word(extra)} visible that `{other}` does not see", rows, extra, "visible")
    if missing:
        rows = _sample(view, f"{mine_sql} IS NOT TRUE AND {their_sql}", parameters, key)
        yield Failure("missing_rows", f"{_rows_word(missing)} hidden that `{other}` sees", rows, missing, "hidden")
    if not extra and not missing:
        ours, others = ((g.masks.keys(), g.denied) if g else ((), frozenset()) for g in (view.grant, theirs.grant))
        for word, a, b in (("masked", ours[0], others[0]), ("absent", ours[1], others[1])):
            if set(a) != set(b):
                message = f"columns {word} here: {_listed(a)}; for `{other}`: {_listed(b)}"
                yield Failure(word, message)


def _columns(view: RelationView, expect: Expect) -> Iterator[Failure]:
    grant = view.grant
    if expect.columns is not None:
        yield from compare_names("columns", expect.columns, view.ask("*", "LIMIT 0").columns, "columns")
    if expect.masked is not None:
        yield from compare_names("masked", expect.masked, sorted(grant.masks) if grant else (), "masked columns")
    if expect.absent is not None:
        yield from compare_names("absent", expect.absent, sorted(grant.denied) if grant else (), "absent columns")
    there = {fold(c.name) for c in view.relation.columns} - {fold(n) for n in (grant.denied if grant else ())}
    for name, wanted in (expect.values or {}).items():
        if fold(name) not in there:
            yield Failure("values", f"there is no column `{name}` to compare the values of")
            continue
        found = [row[0] for row in view.ask(f"DISTINCT {quote(name)}").rows]
        yield from compare_set(f"values of `{name}`", wanted, found)
    for name, total in (expect.sums or {}).items():
        if fold(name) not in there:
            yield Failure("sums", f"there is no column `{name}` to sum")
            continue
        result = view.ask(f"sum({quote(name)})").rows[0][0]
        if canonical(total, result) != canonical(result):
            yield Failure("sums", f"sum of `{name}` is {show(result)}, {show(total)} expected")


def _sample(
    view: RelationView, where: str, parameters: Mapping[str, Any], key: tuple[str, ...]
) -> tuple[ShownRow, ...]:
    bound = {**({} if view.grant is None else view.grant.parameters), **parameters}
    if view.relation.kind == "view":
        return ()
    return sample_rows(view.world, view.persona, view.relation, where=where, parameters=bound, key=key, limit=_SAMPLES)


def _rows_word(count: int) -> str:
    return f"{count:,} row" if count == 1 else f"{count:,} rows"


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"
