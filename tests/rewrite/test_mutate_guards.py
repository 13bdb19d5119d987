"""Mutation of all goldens: whatever is dropped or changed in a guard, `verify` objects. `python -m tests.rewrite.mutate_guards`
tries every mutant; here one of each kind is drawn for each golden query, for the persona that its name picks."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import pytest

from tests.rewrite.guard_sites import ATTACHED, sites
from tests.rewrite.mutants import KINDS
from tests.rewrite.mutate_guards import OVERLOOKED, Judged, Setting, judge_record, open_setting, records

# What must have been tried at least so often over all goldens, if the goldens are to say anything.
LEAST = 1


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    return open_setting(tmp_path_factory.mktemp("mutation"))


@pytest.fixture(scope="module")
def total() -> Iterator[Judged]:
    return Judged()  # type: ignore[return-value]


@pytest.mark.parametrize("record", records(), ids=lambda record: record["id"])
def test_verify_objects_to_every_mutant(record: dict[str, str], setting: Setting, total: Judged) -> None:
    names = sorted(setting.principals)
    persona = names[zlib.crc32(record["id"].encode()) % len(names)]
    judged = judge_record(record["sql"], setting.principals[persona], setting, sample=1, seed=record["id"])
    total.objected += judged.objected
    total.unreadable += judged.unreadable
    assert judged.sites == judged.guards
    assert judged.passed == []
    assert judged.objected or not judged.guards


def test_every_kind_of_mutant_was_tried(total: Judged) -> None:
    if len(total.objected) < len(KINDS) and sum(total.objected.values()) < 1_000:
        pytest.skip("only some goldens ran")
    readable = total.objected - total.unreadable
    assert {kind: readable[kind] for kind in (*KINDS, OVERLOOKED) if readable[kind] < LEAST} == {}


def test_sites_are_the_outermost_guards() -> None:
    text = (
        f'SELECT \'(SELECT * FROM "{ATTACHED}"\' FROM (SELECT * EXCLUDE ("a") FROM "{ATTACHED}"."main"."t" AS "t" '
        f'WHERE id IN (SELECT id FROM "{ATTACHED}"."main"."m" WHERE x = $rls_x) OFFSET 0) AS t -- (SELECT'
    )
    (site,) = sites(text)
    assert text[slice(*site.shown)] == '* EXCLUDE ("a")'
    assert text[slice(*site.source)] == f'"{ATTACHED}"."main"."t"'
    assert site.where is not None
    assert site.fence is not None
    assert text[slice(*site.where)].startswith("WHERE id IN (SELECT id")
    assert text[slice(*site.fence)] == "OFFSET 0"
