"""What all tests share: patience, so that none depends on how fast the machine is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

PATIENCE = 120.0


@pytest.fixture(scope="session", autouse=True)
def _patient_planner() -> Iterator[None]:
    """A query keeps its fence where planning takes too long; a test that looks for one without means the text's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rls.engines.planner.SECONDS", PATIENCE)
        patch.setattr("rls.engines.planner.WAIT_SECONDS", PATIENCE)
        yield
