"""The solver's model → principals and rows as Python values, with texts that a person can tell apart.

Takes the model and the formulas it is a model of; returns `Found`. Owns the names: a text that no formula spells out
gets one that lies where the model put it (`tenant-1`, what a pattern asks for, something between two literals).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import z3

from rls.catalog import Relation, fold
from rls.identity.principal import Principal
from rls.lab.prove.encode import Scene
from rls.lab.prove.functions import like_matches
from rls.lab.prove.symbols import Asker, Row
from rls.lab.prove.terms import Term, element_type, kind_of, literal_texts, text_value

__all__ = ["Found", "constants_in", "is_used", "read_model"]

_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True)
class Found:
    """A model: principals by name, the claim's rows by name, and rows of mapping tables that it needs. Columns that
    nothing asks for are left out."""

    principals: Mapping[str, Principal]
    rows: Mapping[str, Mapping[str, object]]
    others: tuple[tuple[Relation, Mapping[str, object]], ...]


class _Unreadable(Exception):
    """The model has a value that DuckDB or a token cannot hold."""


def constants_in(formulas: Iterable[Any]) -> set[str]:
    """Names of the constants in formulas."""
    # By the solver's own numbers: an object for each node would take ten times as long.
    formulas = list(formulas)
    context = z3.main_ctx().ref()
    pending = [formula.as_ast() for formula in formulas]
    seen: set[int] = set()
    found: dict[int, Any] = {}
    while pending:
        node = pending.pop()
        number = z3.Z3_get_ast_id(context, node)
        if number in seen:
            continue
        seen.add(number)
        match z3.Z3_get_ast_kind(context, node):
            case z3.Z3_APP_AST:
                app = z3.Z3_to_app(context, node)
                size = z3.Z3_get_app_num_args(context, app)
                pending += [z3.Z3_get_app_arg(context, app, place) for place in range(size)]
                if not size:
                    found[number] = z3.Z3_get_app_decl(context, app)
            case z3.Z3_QUANTIFIER_AST:
                pending.append(z3.Z3_get_quantifier_body(context, node))
            case _:
                pass
    free = [d for d in found.values() if z3.Z3_get_decl_kind(context, d) == z3.Z3_OP_UNINTERPRETED]
    return {z3.Z3_get_symbol_string(context, z3.Z3_get_decl_name(context, d)) for d in free}


def is_used(term: Term, used: set[str]) -> bool:
    """Whether formulas with the constants `used` speak of a term."""
    parts = [term.value, term.null] if term.identity is None else [term.value, term.null, term.identity]
    return bool(constants_in(parts) & used)


def read_model(
    model: Any,
    formulas: list[Any],
    askers: Mapping[str, Asker],
    rows: Mapping[str, Row],
    scene: Scene,
    *,
    used: set[str],
) -> Found | None:
    """What a model says; None where a value is beyond what can be written down."""
    reader = _Reader(model, formulas, scene, used)
    try:
        principals = {name: reader.principal(asker) for name, asker in askers.items()}
        seen = {name: reader.row(row.columns) for name, row in rows.items()}
        others = tuple(
            (relation, reader.row({c.name: columns[fold(c.name)] for c in relation.columns}))
            for needed, relation, columns in scene.witnesses
            if reader.holds(needed)
        )
    except _Unreadable:
        return None
    # Two sub-queries may need the same row.
    once = tuple(row for number, row in enumerate(others) if row not in others[:number])
    return Found(principals, seen, once)


class _Reader:
    """Values of one model. A list's elements are those that the formulas ask about."""

    def __init__(self, model: Any, formulas: list[Any], scene: Scene, used: set[str]) -> None:
        self._model, self._used, self._ordered = model, used, scene.ordered
        self._asked: dict[Any, list[Any]] = {}
        self._liked: dict[int, dict[str, bool]] = {}
        patterns = {likes.name(): pattern for pattern, likes in scene.patterns.items()}
        for node in _nodes(formulas):
            if z3.is_app(node) and node.decl().name() in patterns:
                said = self._liked.setdefault(self._number(node.arg(0)), {})
                said[patterns[node.decl().name()]] = self.holds(node)
            if z3.is_select(node) or z3.is_store(node):
                self._asked.setdefault(node.arg(0).sort(), []).append(node.arg(1))
        texts = ["", *literal_texts(constants_in(formulas))]
        self._texts = {self._number(text_value(text)): text for text in texts}

    def principal(self, asker: Asker) -> Principal:
        subject = self._named(asker.values["subject"], "u")
        attributes: dict[str, Any] = {}
        for name, term in asker.values.items():
            present = asker.present[name]
            if name in ("subject", "roles") or not self.holds(present):
                continue
            if not z3.is_true(present) and not (is_used(term, self._used) or constants_in([present]) & self._used):
                continue  # optional, and nothing asks for it
            value = self._named(term, name)
            attributes[name] = tuple(value) if isinstance(value, list) else value
        roles = frozenset(role for role, has in asker.roles.items() if self.holds(has))
        agent = attributes.pop("agent", None)
        actors = () if agent is None else (str(agent),)
        return Principal(
            str(subject), roles, attributes, assurance="persona", agent=next(iter(actors), None), actors=actors
        )

    def row(self, columns: Mapping[str, Term]) -> dict[str, object]:
        return {
            name: None if self.holds(term.null) else self._named(term, name)
            for name, term in columns.items()
            if is_used(term, self._used)
        }

    def holds(self, condition: Any) -> bool:
        return bool(z3.is_true(self._model.eval(condition, model_completion=True)))

    def _named(self, term: Term, name: str) -> object:
        if term.kind == "list":
            return self._list(term, name)
        if term.kind == "text" and not is_used(term, self._used):
            return f"{name}-0"  # the model says nothing of it
        return self._plain(term.kind, term.type, term.value, name)

    def _plain(self, kind: str, type_: str, formula: Any, name: str) -> object:
        value = self._model.eval(formula, model_completion=True)
        try:
            match kind:
                case "boolean":
                    return z3.is_true(value)
                case "text":
                    return self._text(value.as_long(), name)
                case "number" if value.sort() == z3.IntSort():
                    return int(value.as_long())
                case "number":
                    fraction = value.as_fraction()
                    return Decimal(fraction.numerator) / Decimal(fraction.denominator)
                case "double":
                    return float(value.as_fraction())
                case "date":
                    return _EPOCH + timedelta(days=value.as_long())
                case "timestamp":
                    return datetime(1970, 1, 1) + timedelta(microseconds=value.as_long())
                case _:
                    return _some(type_)
        except (OverflowError, ArithmeticError, AttributeError, z3.Z3Exception):
            raise _Unreadable from None

    def _list(self, term: Term, name: str) -> list[object]:
        type_ = element_type(term.type)
        found: dict[object, None] = {}
        for asked in self._asked.get(term.value.sort(), []):
            if self.holds(z3.Select(term.value, asked)):
                found.setdefault(self._plain(kind_of(type_), type_, asked, name.removesuffix("s")))
        return list(found)

    def _number(self, formula: Any) -> int:
        return int(self._model.eval(formula, model_completion=True).as_long())

    def _text(self, number: int, name: str) -> str:
        """The text that a number stands for; a new one is remembered, and lies where its number does."""
        if number not in self._texts:
            self._texts[number] = self._new_text(number, name)
        return self._texts[number]

    def _new_text(self, number: int, name: str) -> str:
        known = sorted(self._texts)
        at = bisect_left(known, number)
        if at == 0:
            raise _Unreadable  # nothing is before the empty text
        below = self._texts[known[at - 1]]
        above = self._texts[known[at]] if at < len(known) else None
        liked = self._liked.get(number, {})
        word = "".join(c for c in name if c.isalnum() or c in "_-") or "text"
        stems = [word, *(p.replace("%", word).replace("_", "x") for p, holds in liked.items() if holds)]
        stems += [below, *([above[:-1] + chr(ord(above[-1]) - 1)] if above and above[-1] > "1" else [])]
        taken = set(self._texts.values())
        for stem in stems:
            for suffix in (*(f"-{n}" for n in range(1, 10)), "", " ", "!"):
                text = stem + suffix if not stem.endswith(suffix) else stem
                inside = not self._ordered or (below < text and (above is None or text < above))
                if inside and text not in taken and all(like_matches(text, p) == h for p, h in liked.items()):
                    return text
        raise _Unreadable


def _nodes(formulas: Iterable[Any]) -> Iterable[Any]:
    """Every node of some formulas, once."""
    seen: set[int] = set()
    pending = list(formulas)
    while pending:
        node = pending.pop()
        if node.get_id() not in seen:
            seen.add(node.get_id())
            yield node
            pending += node.children()


def _some(type_: str) -> object:
    """A value of a type that is not modelled."""
    known: dict[str, object] = {
        "FLOAT": 1.0,
        "TIME": "12:00:00",
        "JSON": "{}",
        "BLOB": b"x",
        "UUID": "00000000-0000-0000-0000-000000000001",
        "TIMESTAMP WITH TIME ZONE": "2026-01-15 12:00:00+00",
    }
    return [] if type_.endswith("[]") else known.get(type_)
