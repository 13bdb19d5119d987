"""A small, fixed sample of the shared corpora; `.ci/run` takes much more of them. Skipped where the folder is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpora import DATABASES, SLT, run, shared, units
from tests.judging import attack_runner, token_runner
from tests.judging.judge import FAULTS

ROOT = shared()
needs_corpora = pytest.mark.skipif(ROOT is None, reason="no corpora: set RLS_SHARED to the folder that holds them")
# Every fourth attack here; all of them in CI.
EVERY = 4


@needs_corpora
@pytest.mark.parametrize("corpus", DATABASES)
def test_benchmark_queries(corpus: str) -> None:
    assert ROOT is not None
    for unit in units(ROOT, corpus, limit=4, seed=1, rounds=1, kinds=("mixed", "either")):
        outcomes = run(unit)
        assert [outcome for outcome in outcomes if outcome.status in (*FAULTS, "refused")] == []
        assert any(outcome.status == "ok" for outcome in outcomes)


@needs_corpora
@pytest.mark.parametrize("corpus", SLT)
def test_logic_tests(corpus: str) -> None:
    assert ROOT is not None
    outcomes = [
        outcome
        for unit in units(ROOT, corpus, limit=60, seed=5, rounds=1, kinds=("mixed", "modulo", "listed"))
        for outcome in run(unit)
    ]
    assert [outcome for outcome in outcomes if outcome.status in FAULTS] == []
    assert sum(outcome.status == "ok" for outcome in outcomes) >= 30


@needs_corpora
def test_attacks() -> None:
    assert ROOT is not None
    folder: Path = ROOT / "attacks"
    chosen = {attack.id for attack in attack_runner.load(folder)[::EVERY] if attack.category != "resource"}
    findings = attack_runner.run(folder, only=chosen)
    assert [finding for finding in findings if finding.kind != "held"] == []
    assert len(findings) == len(chosen) > 80


@needs_corpora
def test_tokens() -> None:
    assert ROOT is not None
    faults, total = token_runner.run(ROOT / "attacks")
    assert faults == []
    assert total > 70
