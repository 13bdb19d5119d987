"""A mistake planted in a policy directory → what the tool that is to find it tells the reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from rls.catalog import Catalog
from rls.cli.opening import open_catalog
from rls.errors import PolicyInvalid
from rls.lab.coverage.measure import measure_coverage
from rls.lab.coverage.report import advice
from rls.lab.mutate.score import mutate
from rls.lab.seed import Seed, make_seed
from rls.lab.suites.prove_invariants import prove_invariants
from rls.lab.suites.reader import directory_personas, read_suite, read_suites
from rls.lab.suites.report import plain_failure
from rls.lab.suites.run import Filters, Run, run_suites
from rls.policy.check import check_policies
from rls.policy.load import load_policies
from tests.lab.planted import Fault

__all__ = ["NOON", "tell"]

NOON = 1_768_478_400.0  # 2026-01-15T12:00:00Z


def tell(fault: Fault, folder: Path, small: Path, catalog: Catalog, right: Seed) -> list[str]:
    """What the tool that is to find a mistake says, a text for each thing that it finds. `small` is the database that
    rows are made for, `right` the suite seeded from the right policies."""
    if fault.found == "load":
        with pytest.raises(PolicyInvalid) as caught:
            load_policies(folder, keys="none")
        return [f"{caught.value.code} {caught.value}"]
    policies = load_policies(folder, keys="none")
    match fault.found:
        case "check":
            return [f"{f.code} {f}" for f in check_policies(policies, catalog)]
        case "seed":
            return _failures(make_seed(folder, small, open_catalog(small), now=NOON).run)
        case "suite":
            suite = read_suite(right.file, policies.identity, directory_personas(folder, policies.identity))
            return _failures(run_suites([suite], policies, filters=Filters(relation=fault.relation)))
        case "coverage":
            suite = read_suite(right.file, policies.identity, directory_personas(folder, policies.identity))
            found = measure_coverage(policies, [suite])
            return [f"{p.place.file}:{p.place.line} {p.subject}: {advice(p)}" for p in found.open]
        case "mutate":
            fates = mutate(policies, read_suites(folder, policies.identity)).survivors
            return [
                f"{f.mutant.place.file}:{f.mutant.place.line} {f.mutant.subject} {' '.join(f.mutant.after)}"
                for f in fates
            ]
        case "prove":
            text = f"invariants:\n  - {{prove: isolated by tenant, about: [{fault.relation}]}}\n"
            (folder / "invariants.yaml").write_text(text, encoding="utf-8")
            outcomes = prove_invariants(policies, catalog)
            return ["\n".join(map(plain_failure, o.failures)) for o in outcomes if o.status == "failed"]


def _failures(run: Run) -> list[str]:
    return [f"{o.case.test} {o.case.persona}\n" + "\n".join(map(plain_failure, o.failures)) for o in run.failed]
