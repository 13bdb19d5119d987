"""Whether the solver is installed. The prover is the extra `prove`; nothing else of the package needs it."""

from __future__ import annotations

from importlib.util import find_spec

from rls.errors import EngineInvalid

__all__ = ["require_solver"]


def require_solver() -> None:
    """Raises EngineInvalid `engine.missing_extra` without z3."""
    if find_spec("z3") is None:
        raise EngineInvalid(
            "engine.missing_extra", "proving needs the solver z3", hint="install it with `pip install 'rls[prove]'`"
        )
