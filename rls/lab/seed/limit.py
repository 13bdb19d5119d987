"""How long a seeding may take: what is left out when the time is up is told, never waited for.

Takes seconds; tells whether they are over, and remembers what was left out for that. Owns the words that tell it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

__all__ = ["SECONDS", "TIME_IS_UP", "Limit"]

SECONDS: Final = 300.0
TIME_IS_UP: Final = "not looked for, the time was up"


@dataclass
class Limit:
    """From the moment it is made; `left_out` says what was not done, in words."""

    seconds: float
    left_out: dict[str, None] = field(default_factory=dict)
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        self._until = time.monotonic() + self.seconds

    @property
    def left(self) -> float:
        """Seconds that are left, not below 0."""
        return max(0.0, self._until - time.monotonic())

    def is_over(self, doing: str) -> bool:
        """Whether the time is up before something is done; if so, that is left out."""
        if self.left > 0:
            return False
        self.left_out.setdefault(doing)
        return True
