"""The public names, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import rls

NAMES = """
AuditFailed AuditLog AuditRecord AuditSink Catalog Column Engine EngineInvalid Explanation Grant GuardedQuery Identity
Inspection Limits PolicyInvalid PolicySet Position Principal QueryFailed QueryRefused Relation Result RlsError Session
TokenRejected Verifier check_policies generate_key guard inspect_token lint_identity lint_token load_identity
load_personas load_policies mint_token read_records traced verify_log verify_token
""".split()  # noqa: SIM905
HEAVY = (
    "duckdb",
    "sqlglot",
    "orjson",
    "jwt",
    "cryptography",
    "pydantic",
    "ruamel",
    "rich",
    "click",
    "pyarrow",
    "pandas",
    "numpy",
    "IPython",
)


def loaded_after(statement: str) -> set[str]:
    """Which heavy libraries a fresh interpreter has loaded after a statement."""
    script = f"import sys\n{statement}\nprint(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent
    )
    return set(done.stdout.split())


def test_the_public_names_are_these() -> None:
    assert rls.__all__ == NAMES
    assert dir(rls) == NAMES


def test_every_public_name_is_there_and_is_itself() -> None:
    for name in rls.__all__:
        found = getattr(rls, name)
        assert found.__name__ == name
        assert found.__doc__
        assert found.__module__.startswith("rls.")
    assert rls.errors.QueryRefused is rls.QueryRefused


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    assert not hasattr(rls, "nope")


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert loaded_after("import rls") == set()
    assert loaded_after("from rls import Engine, Limits, Principal, QueryRefused, Result, Session") == set()


def test_each_library_comes_with_its_subject_only() -> None:
    assert "duckdb" not in loaded_after("from rls import mint_token, verify_token")
    assert "jwt" not in loaded_after("from rls import guard")
    assert "pydantic" not in loaded_after("from rls import guard")
    assert not loaded_after("from rls.engines.duckdb import DuckDBExecutor") & {"sqlglot", "jwt", "pydantic", "pyarrow"}
