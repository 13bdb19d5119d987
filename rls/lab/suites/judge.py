"""A case and a `World` → the differences between what is expected and what the engine answers.

Takes what `plan_cases` made; returns failures, none if the case passes. Each part of an expectation is one function
from a view to failures. Owns the rule that a case which could not be asked is an error, never a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rls.catalog import Relation
from rls.errors import PolicyInvalid, RlsError
from rls.lab.suites.judge_query import judge_query
from rls.lab.suites.judge_relation import judge_relation
from rls.lab.suites.suite import Case, Failure
from rls.lab.world.observe import QueryView, RelationView
from rls.lab.world.raw import RawFailed
from rls.lab.world.world import World
from rls.policy.load import parse_path

if TYPE_CHECKING:
    from rls.lab.suites.model import Expect

__all__ = ["CaseError", "find_relation", "judge"]

KeyOf = Callable[[World, Relation], tuple[str, ...]]


class CaseError(Exception):
    """The case could not be asked; the failure says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def judge(world: World, case: Case, *, key_of: KeyOf) -> list[Failure]:
    """What differs. Raises CaseError where the case cannot be asked: no such relation, a policy that does not fit."""
    try:
        return list(_judge(world, case, key_of))
    except PolicyInvalid as error:
        raise CaseError(Failure("policy", str(error))) from None
    except RlsError as error:
        raise CaseError(Failure("failed", describe(error))) from None
    except RawFailed as error:
        raise CaseError(Failure("sql", str(error))) from None


def _judge(world: World, case: Case, key_of: KeyOf) -> Iterator[Failure]:
    view: RelationView | QueryView
    key: tuple[str, ...] = ()
    if case.relation is not None:
        view = RelationView.of(world, case.persona, find_relation(world, case))
        key = key_of(world, view.relation)
        asks_keys = any(e is not None for e in (case.expect.keys, case.expect.includes, case.expect.excludes))
        refusal = view.refusal(key if asks_keys else ())
    else:
        assert case.sql is not None  # noqa: S101 - a case has one of both
        view = QueryView(world, case.persona, case.sql, case.parameters)
        refusal = view.refusal()
    if refusal is not None:
        yield from _refused(refusal, case.expect)
        return
    if case.expect.refused is not None:
        yield Failure("not_refused", f"it ran, but `{case.expect.refused}` was expected")
        return
    if isinstance(view, RelationView):
        _refuse_of_view(view.relation, case.expect)
        yield from judge_relation(view, case.expect, key)
    else:
        yield from judge_query(view, case.expect)


def _refuse_of_view(relation: Relation, expect: Expect) -> None:
    """A view is guarded by the policies of the tables it reads, and has none of its own to compare."""
    own = [name for name in ("where", "same_as", "denied", "because", "masked", "absent") if getattr(expect, name)]
    if relation.kind == "view" and own:
        message = f"`{relation.label}` is a view: write a `query` of it to expect `{own[0]}`"
        raise CaseError(Failure("view", message))


def _refused(error: RlsError, expect: Expect) -> Iterator[Failure]:
    if error.code == "query.policy":
        # The engine's caller is not told; the policies' author is.
        raise CaseError(Failure("policy", error.detail or describe(error)))
    if expect.refused is not None:
        if error.code != expect.refused:
            yield Failure("refused", f"refused with `{error.code}`, but `{expect.refused}` was expected")
        return
    if error.code == "query.unknown_relation" and expect.rows == "none":
        return  # what cannot be read cannot be seen
    if not error.code.startswith("query."):
        raise CaseError(Failure("failed", describe(error)))
    yield Failure("refused", f"refused: {describe(error)}")


def describe(error: RlsError) -> str:
    """An error on one line, with its code."""
    return f"`{error.code}`, {error}"


def find_relation(world: World, case: Case) -> Relation:
    """The relation a case is about. Raises CaseError."""
    assert case.relation is not None  # noqa: S101 - the caller has looked
    path = parse_path(case.relation)
    found = None if path is None else world.catalog.find(path)
    if found is None:
        from rls.yaml_model import suggest

        hint = suggest(case.relation, [r.label for r in world.catalog.relations.values()])
        message = f"there is no relation `{case.relation}` in these data"
        raise CaseError(Failure("unknown_relation", f"{message}; {hint}" if hint else message))
    return found
