"""Two policy sets, personas and a database → who sees more, less or other rows and columns than before.

Takes policies before and after; returns a `Diff`. Each table is read once, for all personas and both sets together;
equal pairs of grants are counted once. Owns what a widening is: a row that was not visible and now is, or a column
that was denied or masked and is now shown otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rls.catalog import Relation, fold, quote
from rls.errors import PolicyInvalid
from rls.lab.diff.changes import PolicyChange, find_changes
from rls.lab.world.observe import renamed_filter
from rls.lab.world.raw import RawFailed
from rls.lab.world.world import World
from rls.policy.grant import Grant
from rls.policy.policy_set import PolicySet

__all__ = ["Change", "ColumnChange", "Diff", "compute_diff"]

_SAMPLES = 3
_STATES = frozenset(("denied", "as it is", "labels hidden"))
_LOOKED_AT = 60  # smallest keys among which different ones are looked for: a key may name several rows


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """How a column is shown: `as it is`, `denied`, `labels hidden` (an ENUM as text), or by its mask's text."""

    column: str
    before: str
    after: str

    @property
    def widens(self) -> bool:
        """Any other mask may show more: only what ends as denied, or becomes masked at all, surely does not."""
        return self.after != "denied" and self.before != "as it is"


@dataclass(frozen=True)
class Change:
    """What changes for one persona and relation. Counts are None where a policy fails on a row, for the `error`.

    `gained_keys` and `lost_keys` are samples: rows of `key` columns. `kinds` are the grants' before and after.
    """

    relation: str
    persona: str
    kinds: tuple[str, str]
    gained: int | None
    lost: int | None
    unchanged: int | None
    key: tuple[str, ...] = ()
    gained_keys: tuple[tuple[Any, ...], ...] = ()
    lost_keys: tuple[tuple[Any, ...], ...] = ()
    columns: tuple[ColumnChange, ...] = ()
    error: str = ""

    @property
    def changed(self) -> bool:
        return self.gained != 0 or self.lost != 0 or bool(self.columns)

    @property
    def widens(self) -> bool:
        """More is seen, or that cannot be told."""
        sees = self.gained is None or self.gained + (self.unchanged or 0) > 0
        return self.gained is None or self.gained > 0 or (sees and any(c.widens for c in self.columns))

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "relation": self.relation,
            "persona": self.persona,
            "before": self.kinds[0],
            "after": self.kinds[1],
            "gained": self.gained,
            "lost": self.lost,
            "unchanged": self.unchanged,
            "key": list(self.key),
            "gained_keys": [list(k) for k in self.gained_keys],
            "lost_keys": [list(k) for k in self.lost_keys],
            "columns": [{"column": c.column, "before": c.before, "after": c.after} for c in self.columns],
            "widens": self.widens,
            "error": self.error,
        }


@dataclass(frozen=True)
class Diff:
    """All changes, in order of relations and personas; those without any are left out of `changes`."""

    personas: tuple[str, ...]
    relations: tuple[str, ...]
    changes: tuple[Change, ...]
    policies: tuple[PolicyChange, ...]

    @property
    def widenings(self) -> tuple[Change, ...]:
        return tuple(c for c in self.changes if c.widens)

    def _repr_html_(self) -> str:
        """Who sees more or less, in a notebook."""
        from rls.lab.diff.page import diff_parts
        from rls.lab.html import fragment

        return fragment(*diff_parts(self))

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "personas": list(self.personas),
            "relations": list(self.relations),
            "changes": [c.to_dict() for c in self.changes],
            "policies": [
                {"target": p.target, "what": p.what, "change": p.kind, "before": p.before, "after": p.after}
                for p in self.policies
            ],
        }


def compute_diff(
    world: World,
    old: PolicySet,
    new: PolicySet,
    *,
    on_step: Callable[[str, int, int], None] | None = None,
) -> Diff:
    """Compare what every persona of `world` sees. `on_step` is called before each table."""
    before, after = world.with_policies(old), world.with_policies(new)
    tables = world.tables()
    changes: list[Change] = []
    for done, relation in enumerate(tables):
        if on_step is not None:
            on_step(relation.label, done, len(tables))
        changes += _of_relation(world, before, after, relation)
    changed = tuple(c for c in changes if c.changed)
    return Diff(tuple(world.personas), tuple(r.label for r in tables), changed, tuple(find_changes(old, new)))


@dataclass
class _Pair:
    """Grants before and after that several personas have together."""

    before: Grant | None
    after: Grant | None
    personas: list[str] = field(default_factory=list)
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Counted:
    gained: int | None = None
    lost: int | None = None
    unchanged: int | None = None
    gained_keys: tuple[tuple[Any, ...], ...] = ()
    lost_keys: tuple[tuple[Any, ...], ...] = ()
    error: str = ""


def _of_relation(world: World, before: World, after: World, relation: Relation) -> list[Change]:
    pairs: dict[str, _Pair] = {}
    for persona in world.personas:
        was, first = _grant(before, persona, relation)
        is_, second = _grant(after, persona, relation)
        key = repr((_identity(was), _identity(is_), first, second))
        pairs.setdefault(key, _Pair(was, is_, error=second or first)).personas.append(persona)
    key_columns = _key(world, relation)
    texts = (_masks(before, relation), _masks(after, relation))
    counted = _count(world, relation, [p for p in pairs.values() if not p.error], key_columns)
    changes = {}
    for pair in pairs.values():
        numbers = counted.get(id(pair)) or _Counted(error=pair.error)
        for persona in pair.personas:
            changes[persona] = Change(
                relation.label,
                persona,
                (_kind(pair.before), _kind(pair.after)),
                numbers.gained,
                numbers.lost,
                numbers.unchanged,
                key_columns,
                numbers.gained_keys,
                numbers.lost_keys,
                _columns(pair.before, pair.after, texts),
                numbers.error,
            )
    return [changes[persona] for persona in world.personas]


def _grant(world: World, persona: str, relation: Relation) -> tuple[Grant | None, str]:
    try:
        return world.grant(persona, relation), ""
    except PolicyInvalid as error:
        return None, error.message


def _identity(grant: Grant | None) -> object:
    if grant is None:
        return None
    return (
        grant.kind,
        grant.predicate,
        sorted(grant.parameters.items()),
        sorted(grant.masks.items()),
        sorted(grant.denied),
    )


def _kind(grant: Grant | None) -> str:
    return "undecided" if grant is None else grant.kind


def _key(world: World, relation: Relation) -> tuple[str, ...]:
    primary = world.raw.primary_key(relation)
    first = next((c.name for c in relation.columns if fold(c.name) == "id"), relation.columns[0].name)
    return primary or (first,)


def _count(world: World, relation: Relation, pairs: Sequence[_Pair], key: tuple[str, ...]) -> dict[int, _Counted]:
    """Numbers by id of the pair. All pairs in one scan; if a policy fails on a row, each by itself."""
    apart = [p for p in pairs if _has_subquery(p)]
    if apart and len(pairs) > 1:
        found = _count(world, relation, [p for p in pairs if p not in apart], key) if len(apart) < len(pairs) else {}
        for pair in apart:
            found |= _count(world, relation, [pair], key)
        return found
    try:
        return _joins(world, relation, pairs[0], key) if apart else _scan(world, relation, pairs, key)
    except RawFailed as error:
        if len(pairs) == 1:
            return {id(pairs[0]): _Counted(error=f"a policy fails on a row: {error}")}
    found = {}
    for pair in pairs:
        found |= _count(world, relation, [pair], key)
    return found


def _has_subquery(pair: _Pair) -> bool:
    return any(grant is not None and "(SELECT" in grant.predicate for grant in (pair.before, pair.after))


def _joins(world: World, relation: Relation, pair: _Pair, key: tuple[str, ...]) -> dict[int, _Counted]:
    """A pair with sub-queries, by queries of its own: as a condition, a sub-query is a join that the rest of its
    filter narrows first; in the scan for all, every row would go through all of the joins."""
    was, before = renamed_filter(pair.before, "before")
    is_, after = renamed_filter(pair.after, "after")
    source, bound = world.raw.source(relation), {**before, **after}
    shown = ", ".join(f"{quote(relation.name)}.{quote(k)}" for k in key)
    samples = f"min({f'row({shown})' if len(key) > 1 else shown}, {_LOOKED_AT})"

    def rows(these: str, but: str) -> tuple[int, tuple[tuple[Any, ...], ...]]:
        """How many rows pass the one filter and not the other, and the first of them."""
        condition = f"{these} AND ({but}) IS NOT TRUE"
        count, keys = world.raw.rows(f"SELECT count(*), {samples} FROM {source} WHERE {condition}", bound)[0]
        return count, _keys(keys)

    same = _identity(pair.before) == _identity(pair.after)
    gained, gained_keys = (0, ()) if same else rows(is_, was)
    lost, lost_keys = (0, ()) if same else rows(was, is_)
    seen = world.raw.rows(f"SELECT count(*) FROM {source} WHERE {was}", bound)[0][0]
    return {id(pair): _Counted(gained, lost, seen - lost, gained_keys, lost_keys)}


def _scan(world: World, relation: Relation, pairs: Sequence[_Pair], key: tuple[str, ...]) -> dict[int, _Counted]:
    conditions: dict[str, str] = {}  # text of a filter → its column in the scan
    bound: dict[str, object] = {}
    names: dict[str, tuple[str, Mapping[str, object]]] = {}

    def column(grant: Grant | None) -> str:
        if grant is None or grant.kind == "never":
            return "FALSE"
        if grant.kind == "always":
            return "TRUE"
        identity = repr((grant.predicate, sorted(grant.parameters.items())))
        if identity not in names:
            names[identity] = renamed_filter(grant, f"d{len(names)}")
        text, parameters = names[identity]
        bound.update(parameters)
        return conditions.setdefault(text, f'"seen {len(conditions)}"')

    picked: list[str] = []
    for pair in pairs:
        was, is_ = column(pair.before), column(pair.after)
        gained, lost = f"{is_} AND NOT {was}", f"{was} AND NOT {is_}"
        # Of no rows, count_if is NULL.
        picked += [f"count(*) FILTER (WHERE {condition})" for condition in (gained, lost, f"{was} AND {is_}")]
        # The first keys, so that two runs show the same ones.
        names_of_key = ", ".join(f'"key {n}"' for n in range(len(key)))
        shown = f"row({names_of_key})" if len(key) > 1 else names_of_key
        for condition in (gained, lost):
            picked.append("NULL" if was == is_ else f"min({shown}, {_LOOKED_AT}) FILTER (WHERE {condition})")
    columns = [f"({text}) IS TRUE AS {name}" for text, name in conditions.items()]
    keys = [f'{quote(relation.name)}.{quote(k)} AS "key {n}"' for n, k in enumerate(key)]
    inner = f"SELECT {', '.join([*keys, *columns])} FROM {world.raw.source(relation)}"
    row = world.raw.rows(f"SELECT {', '.join(picked)} FROM ({inner})", bound)[0]
    found = {}
    for number, pair in enumerate(pairs):
        gained, lost, unchanged, gained_keys, lost_keys = row[number * 5 : number * 5 + 5]
        found[id(pair)] = _Counted(gained, lost, unchanged, _keys(gained_keys), _keys(lost_keys))
    return found


def _keys(found: Any) -> tuple[tuple[Any, ...], ...]:
    """Keys of samples, whether of one column or of several; each once."""
    keys = [tuple(k.values()) if isinstance(k, dict) else k if isinstance(k, tuple) else (k,) for k in found or ()]
    different = [key for number, key in enumerate(keys) if key not in keys[:number]]
    return tuple(different[:_SAMPLES])


def _masks(world: World, relation: Relation) -> dict[str, str]:
    """What authors wrote for the masks of a relation."""
    try:
        bound = world.policies.bound(relation, world.catalog)
    except PolicyInvalid:
        return {}
    columns = () if bound is None else bound.columns
    return {c.column: " ".join(c.rule.mask.text.split()) for c in columns if c.rule.mask is not None}


def _columns(
    before: Grant | None, after: Grant | None, texts: tuple[Mapping[str, str], Mapping[str, str]]
) -> tuple[ColumnChange, ...]:
    if before is None or after is None:
        return ()
    names = before.masks.keys() | after.masks.keys() | before.denied | after.denied
    found = [ColumnChange(name, _shown(before, name), _shown(after, name)) for name in sorted(names)]
    for name in sorted(before.labels ^ after.labels):
        states = ["as it is" if name in grant.labels else "labels hidden" for grant in (before, after)]
        found.append(ColumnChange(name, *states))
    return tuple(_as_written(c, texts) for c in found if c.before != c.after)


def _as_written(change: ColumnChange, texts: tuple[Mapping[str, str], Mapping[str, str]]) -> ColumnChange:
    """With masks as their authors wrote them, unless that reads the same before and after."""
    sides = zip((change.before, change.after), texts, strict=True)
    was, is_ = (shown if shown in _STATES else told.get(change.column, shown) for shown, told in sides)
    return change if was == is_ else ColumnChange(change.column, was, is_)


def _shown(grant: Grant, column: str) -> str:
    if column in grant.denied:
        return "denied"
    return grant.masks.get(column, "as it is")
