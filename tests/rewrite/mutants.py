"""Every way to weaken one guard of a final text.

It takes a text, the place of a guard in it, and the relation and conditions of that guard, and returns weakened texts
by kind: the guard dropped, its row filter weakened, its fence or a mask gone, a denied column shown. It owns that no
code that makes guards, or judges them, is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from tests.rewrite.guard_sites import ATTACHED, Site, Span, Token, closing, own, tokens_of

__all__ = ["KINDS", "Mutant", "as_stored", "mutants"]


@dataclass(frozen=True)
class Mutant:
    """A weakened text and how it was made."""

    kind: str
    text: str


def _put(text: str, span: Span, new: str) -> str:
    return text[: span[0]] + new + text[span[1] :]


def _bare(text: str, site: Site, _: Any) -> Iterator[str]:
    path = text[slice(*site.source)]
    if site.where is not None or text[slice(*site.shown)] != "*":
        # A guard that shows everything is nothing but parentheses, and FROM may do without them.
        yield _put(text, (site.start, site.end), path)
    _, schema, *rest = (token.text for token in tokens_of(path) if token.kind == "name")
    for short in ((*rest,), (schema, *rest)):
        yield _put(text, (site.start, site.end), ".".join(short))
    yield _put(text, (site.start, site.end), rest[-1].strip('"').replace('""', '"'))


def _nothing_read(text: str, site: Site, _: Any) -> Iterator[str]:
    yield _put(text, (site.start, site.end), "(SELECT 1 AS id)")


def _other_source(text: str, site: Site, _: Any) -> Iterator[str]:
    yield _put(text, site.source, f'"{ATTACHED}"."main"."secrets"')
    yield _put(text, (site.alias[1], site.alias[1]), f' CROSS JOIN "{ATTACHED}"."main"."secrets"')
    yield _put(text, (site.alias[1], site.alias[1]), " TABLESAMPLE reservoir(100%)")
    yield _put(text, site.alias, 'AS "another"')


def _united(text: str, site: Site, _: Any) -> Iterator[str]:
    path = text[slice(*site.source)]
    yield _put(text, (site.end - 1, site.end - 1), f" UNION ALL FROM {path}")
    at = site.fence[0] if site.fence else site.end - 1
    yield _put(text, (at, at), f" UNION ALL FROM {path} ")


def _no_filter(text: str, site: Site, _: Any) -> Iterator[str]:
    if site.where is not None:
        yield _put(text, site.where, "")
        yield _put(text, site.where, "WHERE true ")


def _weaker_filter(text: str, site: Site, _: Any) -> Iterator[str]:
    if site.where is None:
        return
    start, end = site.where[0] + len("WHERE"), site.where[1]
    whole = text[start:end].strip()
    for weaker in (f"({whole}) OR true", f"({whole}) IS NOT NULL", f"NOT ({whole})", f"coalesce({whole}, true)"):
        yield _put(text, (start, end), f" {weaker} ")


def _beside_copies(text: str, site: Site, guard: Any) -> Iterator[str]:
    """The caller's own conditions without the policy's, which they stand beside."""
    if site.where is not None and guard.conjuncts:
        copies = " AND ".join(f"({copy})" for copy in guard.conjuncts)
        yield _put(text, site.where, f"WHERE {copies} ")


def _conjunct_dropped(text: str, site: Site, guard: Any) -> Iterator[str]:
    """Each side of each AND and OR of the policy's condition dropped, at every depth."""
    if site.where is None:
        return
    tokens = tokens_of(text, *site.where)
    spans = [(0, len(tokens))]
    spans += [(i, closing(tokens, i) or i) for i, token in enumerate(tokens) if token.says("(")]
    for number, (opening, close) in enumerate(spans):
        parts = _operands(tokens, opening + 1, close)
        # At the top, what follows the policy's own condition are copies: without one the guard is as strong.
        count = len(parts) - len(guard.conjuncts) if number == 0 else len(parts)
        for index in range(count if len(parts) > 1 else 0):
            first, last = parts[index]
            if index + 1 < len(parts):
                span = (tokens[first].start, tokens[parts[index + 1][0]].start)
            else:
                span = (tokens[first - 1].start, tokens[last - 1].end)
            copied = text[span[0] : span[1]]
            if not any(f"({copy})" in f"({copied})" for copy in guard.conjuncts):
                yield _put(text, span, "")


def _operands(tokens: list[Token], first: int, last: int) -> list[Span]:
    """The operands of AND and OR between two indexes, as spans of indexes."""
    parts, start, between = [], first, False
    for index in own(tokens, first, last):
        if tokens[index].says("SELECT"):
            where = next((i for i in own(tokens, index, last) if tokens[i].says("WHERE")), last)
            return _operands(tokens, where + 1, last) if where < last else []
        if tokens[index].says("BETWEEN"):
            between = True
        elif tokens[index].says("AND") and between:
            between = False
        elif tokens[index].says("AND", "OR"):
            parts.append((start, index))
            start = index + 1
    return [*parts, (start, last)]


def _inside(text: str, site: Site, guard: Any) -> list[Token]:
    """Tokens of what policies say in a guard: its row filter without the caller's copies, which stand at its end."""
    if site.where is None:
        return []
    copies = sum(len(copy) + len(" AND ()") for copy in guard.conjuncts)
    return tokens_of(text, site.where[0] + len("WHERE"), site.where[1] - copies)


def _other_value(text: str, site: Site, guard: Any) -> Iterator[str]:
    """A literal for a parameter, another parameter, another literal."""
    for token in _inside(text, site, guard):
        span = (token.start, token.end)
        if token.text.startswith("$rls_"):
            yield _put(text, span, "'globex'")
            yield _put(text, span, "$rls_another")
            yield _put(text, span, "$mine")
        elif token.kind == "text":
            yield _put(text, span, f"'{token.text[1:-1]}%'")
        elif token.kind == "word" and token.text.isdigit():
            yield _put(text, span, str(int(token.text) + 1))


def _other_operator(text: str, site: Site, guard: Any) -> Iterator[str]:
    swaps = {"=": "<>", "<": ">=", ">": "<", "AND": "OR", "IN": "NOT IN", "NOT": "", "LIST_CONTAINS": "list_has_any"}
    tokens = _inside(text, site, guard)
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else None
        beside = before is not None and before.end == token.start and before.text in "<>="
        if token.kind in ("word", "sign") and token.text.upper() in swaps and not beside:
            yield _put(text, (token.start, token.end), swaps[token.text.upper()])


def _other_column(text: str, site: Site, guard: Any) -> Iterator[str]:
    """The row filter asks another column of the relation."""
    names = {f'"{column.name}"': column.name for column in guard.relation.columns}
    for token in _inside(text, site, guard):
        name = token.text if token.kind == "name" else f'"{token.text}"' if token.kind == "word" else ""
        if name in names:
            other = next((n for n in names if n != name), name)
            yield _put(text, (token.start, token.end), other)


def _no_fence(text: str, site: Site, _: Any) -> Iterator[str]:
    if site.fence is not None:
        yield _put(text, site.fence, "")


def _other_fence(text: str, site: Site, _: Any) -> Iterator[str]:
    if site.fence is not None:
        for other in ("OFFSET 1", "LIMIT 1000000000", "LIMIT 5 OFFSET 0", "OFFSET NULL", "ORDER BY 1"):
            yield _put(text, site.fence, other)


def _listed(text: str, site: Site, word: str) -> tuple[Span, list[Span]] | None:
    """The span of `EXCLUDE (…)` or `REPLACE (…)` in what a guard shows, and its items."""
    tokens = tokens_of(text, *site.shown)
    at = next((i for i in own(tokens, 0, len(tokens)) if tokens[i].says(word)), None)
    if at is None:
        return None
    close = closing(tokens, at + 1)
    assert close is not None
    commas = [i for i in own(tokens, at + 2, close) if tokens[i].says(",")]
    edges = [at + 1, *commas, close]
    items = [(tokens[a + 1].start, tokens[b - 1].end) for a, b in pairwise(edges)]
    return (tokens[at].start, tokens[close].end), items


def _item_dropped(text: str, site: Site, _: Any, *, word: str) -> Iterator[str]:
    found = _listed(text, site, word)
    if found is None:
        return
    span, items = found
    yield _put(text, span, "")
    kept = [text[slice(*item)] for item in items]
    for index in range(len(items) if len(items) > 1 else 0):
        yield _put(text, span, f"{word} ({', '.join(kept[:index] + kept[index + 1 :])})")


def _other_mask(text: str, site: Site, _: Any) -> Iterator[str]:
    """The column itself, or another expression, where a mask, a cast or a CASE stands."""
    found = _listed(text, site, "REPLACE")
    for start, end in found[1] if found else ():
        name = tokens_of(text, start, end)[-1]
        for expression in (name.text, f"coalesce({name.text})", "NULL"):
            yield _put(text, (start, name.start), f"{expression} AS ")


def _with_dictionary(text: str, site: Site, _: Any) -> Iterator[str]:
    """A column as it is stored, where TRY or an element of a list keeps the dictionary away."""
    found = _listed(text, site, "REPLACE")
    for item in found[1] if found else ():
        if (stored := _stored(text[slice(*item)])) is not None:
            yield _put(text, item, stored)


def _stored(item: str) -> str | None:
    for before, after in (("TRY(", ")"), ("list_extract([", "], 1)")):
        if item.startswith(before):
            shown, name = item[len(before) :].rsplit(f"{after} AS ", 1)
            return f"{shown} AS {name}"
    return None


def as_stored(text: str, site: Site) -> str:
    """The text with one guard as it is where nothing keeps dictionaries away."""
    found = _listed(text, site, "REPLACE")
    if found is None:
        return text
    items = [text[slice(*item)] for item in found[1]]
    shown = [_stored(item) or item for item in items]
    left = [item for item in shown if item.count(" AS ") > 1 or len({*item.split(" AS ")}) > 1]
    if left:
        return _put(text, found[0], f"REPLACE ({', '.join(left)})")
    return _put(text, (found[0][0] - 1, found[0][1]), "")


def _other_denied(text: str, site: Site, guard: Any) -> Iterator[str]:
    """Another column denied instead, or the denied one shown under another name."""
    found = _listed(text, site, "EXCLUDE")
    for start, end in found[1] if found else ():
        denied = text[start:end]
        other = next(f'"{c.name}"' for c in guard.relation.columns if f'"{c.name}"' != denied)
        yield _put(text, (start, end), other)
        yield _put(text, site.shown, f"{denied} AS shown, {text[slice(*site.shown)]}")
        yield _put(text, (site.shown[0], site.shown[0]), "* RENAME (id AS it), ")


def _more_shown(text: str, site: Site, _: Any) -> Iterator[str]:
    yield _put(text, (site.shown[0], site.shown[0]), "*, ")
    yield _put(text, (site.shown[1], site.shown[1]), ", rowid")


def _another_statement(text: str, _: Site, __: Any) -> Iterator[str]:
    yield f'{text}; FROM "{ATTACHED}"."main"."secrets"'
    yield f'{text} UNION ALL FROM "{ATTACHED}"."main"."secrets"'


KINDS: dict[str, Callable[[str, Site, Any], Iterator[str]]] = {
    "no guard": _bare,
    "nothing read": _nothing_read,
    "other source": _other_source,
    "union in the guard": _united,
    "no row filter": _no_filter,
    "weaker row filter": _weaker_filter,
    "copies without the policy": _beside_copies,
    "part of the row filter dropped": _conjunct_dropped,
    "other value": _other_value,
    "other operator": _other_operator,
    "other column": _other_column,
    "no fence": _no_fence,
    "other fence": _other_fence,
    "mask dropped": partial(_item_dropped, word="REPLACE"),
    "other mask": _other_mask,
    "shown with its dictionary": _with_dictionary,
    "denied column shown": partial(_item_dropped, word="EXCLUDE"),
    "other column denied": _other_denied,
    "more shown": _more_shown,
    "unguarded relation beside": _another_statement,
}


def mutants(text: str, site: Site, guard: Any) -> Iterator[Mutant]:
    """Every mutant of one guard."""
    for kind, mutate in KINDS.items():
        for mutated in mutate(text, site, guard):
            yield Mutant(kind, mutated)
