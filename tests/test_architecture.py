"""Who may import what: read from the source, so that a wrong import fails here before it costs anything."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "rls"
MODULES = {
    ".".join(("rls", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# Library → the modules (or packages) that may import it.
LIBRARIES = {
    "duckdb": (
        "rls.engines",
        # DuckDB's parser, and its opinion on types, on empty instances of their own.
        "rls.rewrite.engine_ast",
        "rls.rewrite.bound",
        "rls.policy.parser",
        "rls.policy.scratch",
        "rls.policy.check_types",
        "rls.policy.check_truth",
        # Builds the demo's data and counts all of its rows, for the matrix of rows seen.
        "rls.cli.demo_stage",
        # Writes the rows that suites give, and reads rows without guards for who compares and explains.
        "rls.lab.world.given",
        "rls.lab.prove.types",
        "rls.lab.seed.board",
        "rls.lab.leaks.check",
        "rls.lab.leaks.copies",
        "rls.lab.world.raw",
    ),
    "sqlglot": ("rls.rewrite", "rls.lab.leaks", "rls.lab.importing", "rls.lab.exporting"),
    "pytz": ("rls.engines.postgres.values",),
    "orjson": ("rls.rewrite.engine_ast", "rls.rewrite.bound"),
    "jwt": ("rls.identity",),
    "joserfc": ("rls.identity.decrypt",),
    "cryptography": ("rls.identity", "rls.audit.signing"),
    "pydantic": (
        "rls.identity.model",
        "rls.policy.model",
        "rls.audit.model",
        "rls.yaml_model",
        "rls.lab.suites.model",
        "rls.lab.prove.model",
        "rls.lab.diff.widenings_model",
    ),
    "ruamel": ("rls.yaml_source",),
    "opentelemetry": ("rls.audit.telemetry",),
    "psycopg": ("rls.engines.postgres.connections",),
    "pyspark": ("rls.engines.spark.sessions", "rls.engines.spark.catalog", "rls.engines.spark.failures"),
    "grpc": ("rls.engines.spark.failures",),
    "pyarrow": ("rls.engines",),
    "pandas": ("rls.result",),
    "IPython": ("rls.notebook.magic",),
    "pytest": ("rls.lab.pytest_plugin",),
    "z3": ("rls.lab.prove",),
    "rich": ("rls.cli",),
    "click": ("rls.cli",),
}
# Libraries that are called otherwise where they are installed from, and those that others bring along.
DISTRIBUTIONS = {
    "jwt": "pyjwt",
    "ruamel": "ruamel.yaml",
    "IPython": "ipython",
    "z3": "z3-solver",
    "opentelemetry": "opentelemetry-api",
    "pyspark": "pyspark-client",
}
COME_WITH_OTHERS = {"cryptography", "grpc", "pytest"}  # PyJWT's, the Spark client's; and who runs tests has pytest

# Package → the packages it may import. Data moves one way: token → principal → grants → guarded query → result → record.
LAYERS = {
    "rls.identity": (
        "rls.identity",
        "rls.errors",
        "rls.forks",
        "rls.yaml_model",
        "rls.yaml_source",
        "rls.catalog",
        "rls.sqlite_file",
    ),
    "rls.rewrite": (
        "rls.rewrite",
        "rls.errors",
        "rls.forks",
        "rls.catalog",
        "rls.identity.capabilities",
        "rls.identity.principal",
        "rls.policy.grant",
    ),
    "rls.engines": (
        "rls.engines",
        "rls.errors",
        "rls.forks",
        "rls.catalog",
        "rls.rewrite.guarded",
        "rls.rewrite.splice",
        "rls.rewrite.port.target",
        # Binding texts, in a process that may die of one.
        "rls.rewrite.bound",
    ),
    "rls.audit": (
        "rls.audit",
        "rls.errors",
        "rls.forks",
        "rls.catalog",
        "rls.sqlite_file",
        "rls.yaml_model",
        "rls.yaml_source",
        "rls.engines.failures",
        "rls.identity.principal",
        "rls.policy.grant",
        "rls.rewrite.guarded",
        # A replay derives a decision again.
        "rls.engines.parameters",
        "rls.policy.load",
        "rls.rewrite.native",
        "rls.rewrite.port.target",
        "rls.rewrite.templates",
        "rls.identity.inspect",
        "rls.identity.declared",
    ),
}
VALUES = {
    "rls.errors": (),
    "rls.catalog": (),
    "rls.identity.capabilities": (),
    "rls.identity.principal": (),
    "rls.policy.grant": (),
    "rls.rewrite.guarded": ("rls.catalog", "rls.policy.grant"),
    "rls.rewrite.port.target": (),
    "rls.audit.record": (),
}


def imports(path: Path, *, types_too: bool = True) -> Iterator[str]:
    """The modules that a file imports anywhere in it; without `types_too`, those it imports when it is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif types_too or not late(node):
            pending += ast.iter_child_nodes(node)


def late(node: ast.AST) -> bool:
    """Whether what is inside runs after the import of its module, or never."""
    for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    return for_types or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def test_every_library_comes_with_the_package() -> None:
    """A new environment has what is declared, and nothing else."""
    used = {name.partition(".")[0] for path in MODULES.values() for name in imports(path)}
    ours = {"rls", "fixtures"}
    assert used - sys.stdlib_module_names - ours == set(LIBRARIES)
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: wanted for name, wanted in project["optional-dependencies"].items() if name != "dev"}
    wanted = [*project["dependencies"], *(one for some in extras.values() for one in some)]
    declared = {re.split(r"[^\w.-]", one)[0].lower() for one in wanted}
    assert {DISTRIBUTIONS.get(one, one) for one in set(LIBRARIES) - COME_WITH_OTHERS} <= declared


def inside(name: str, homes: tuple[str, ...]) -> bool:
    return any(name == home or name.startswith(home + ".") for home in homes)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_imported_in_its_few_places(library: str) -> None:
    found = {module for module, path in MODULES.items() if any(n.partition(".")[0] == library for n in imports(path))}
    assert {module for module in found if not inside(module, LIBRARIES[library])} == set()
    assert found, f"nothing imports {library} any more: drop it"


@pytest.mark.parametrize("layer", LAYERS)
def test_data_moves_one_way(layer: str) -> None:
    wrong = [
        (module, name)
        for module, path in MODULES.items()
        if inside(module, (layer,))
        for name in imports(path)
        if name in MODULES and name != "rls" and not inside(name, LAYERS[layer]) and name not in LAYERS
    ]
    assert wrong == []


@pytest.mark.parametrize("module", VALUES)
def test_value_objects_import_nothing(module: str) -> None:
    found = {name for name in imports(MODULES[module]) if name in MODULES}
    assert found == set(VALUES[module])


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {m: {n for n in imports(p, types_too=False) if n in MODULES and n != m} for m, p in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " → ".join((*trail, module))
        if module not in done:
            for name in graph[module]:
                visit(name, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_every_file_says_first_what_it_is() -> None:
    silent = [
        module
        for module, path in MODULES.items()
        if path.read_text(encoding="utf-8").strip()
        and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_there_is_one_way_in() -> None:
    """No interface verifies a token, guards a text or runs one by itself: the engine does, and records it."""
    own_ways = (
        "rls.identity.verify",
        "rls.rewrite.guard",
        "rls.engines.base",
        "rls.identity.verify_token",
        "rls.guard",
    )
    found = [
        (module, name)
        for module, path in MODULES.items()
        if inside(module, ("rls.cli", "rls.serve"))
        for name in imports(path)
        if inside(name, own_ways)
    ]
    assert found == []
    # The catalog of a file is read by opening it; nothing is run.
    runners = (
        "rls.engines.duckdb",
        "rls.engines.workers",
        "rls.engines.postgres.executor",
        "rls.engines.spark.executor",
        "rls.engines.opening",
    )
    openers = {
        module
        for module, path in MODULES.items()
        if not inside(module, ("rls.engines",)) and any(name in runners for name in imports(path))
    }
    assert openers <= {"rls.engine", "rls.cli.opening", "rls.cli.options", "rls.lab.world.world"}
