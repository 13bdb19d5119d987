"""Every guard of every golden query, weakened in every way: `python -m tests.rewrite.mutate_guards [--sample N]`.

It takes the texts that the rewrite shows to `verify` for a golden query, and shows `verify` their mutants in the same
way. It owns that `verify` is called as the rewrite called it, whatever it is told.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb

from tests.judging.driver import sign
from tests.rewrite.guard_sites import ATTACHED, Site, sites, tokens_of
from tests.rewrite.mutants import Mutant, as_stored, mutants

__all__ = ["OVERLOOKED", "Judged", "Setting", "judge_record", "open_setting", "records"]

OVERLOOKED = "growth overlooked"
GOLDEN = Path(__file__).parents[1] / "golden"


@dataclass
class Judged:
    """What `verify` said of a record's mutants: by kind, how many it objected to, and those that it let pass."""

    guards: int = 0
    sites: int = 0
    objected: Counter[str] = field(default_factory=Counter)
    same: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    passed: list[Mutant] = field(default_factory=list)


@dataclass(frozen=True)
class Setting:
    """The goldens' catalog, policies and principals."""

    catalog: Any
    policies: Any
    principals: Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """One call of `verify` as the rewrite made it."""

    text: str
    again: Callable[[str, Sequence[Any]], object]
    guards: tuple[Any, ...]
    whole: bool


def shown_to_verify(sql: str, principal: Any, setting: Setting) -> list[Shown]:
    """Every text that the rewrite of a query showed to `verify`: the query, and those that list a PIVOT's values."""
    import rls.rewrite.verify as verification
    from rls.rewrite.barrier import lower
    from rls.rewrite.guard import draft

    original, calls = verification.verify, []

    def verify(text: str, *given: Any, **named: Any) -> Any:
        outcome = original(text, *given, **named)

        def again(other: str, guards: Sequence[Any]) -> object:
            return original(other, *given, **{**named, "guards": guards})

        calls.append(Shown(text, again, tuple(named["guards"]), whole=bool(named.get("original"))))
        return outcome

    with mock.patch.object(verification, "verify", verify):
        lower(draft(sql, principal, setting.policies, setting.catalog))
    return calls


def judge_record(sql: str, principal: Any, setting: Setting, *, sample: int | None, seed: str) -> Judged:
    """Show the mutants of a query to `verify`; `sample`: so many of each kind, drawn by `seed`."""
    source, judged = random.Random(seed), Judged()
    for shown in shown_to_verify(sql, principal, setting):
        found = sites(shown.text)
        judged.guards += sum(guard.relation.kind == "table" for guard in shown.guards)
        judged.sites += len(found)
        drawn: dict[str, list[Mutant]] = {}
        for site in found:
            for mutant in mutants(shown.text, site, _guard_of(shown, site)):
                drawn.setdefault(mutant.kind, []).append(mutant)
        for made in drawn.values():
            for mutant in made if sample is None else source.sample(made, min(sample, len(made))):
                _judge(mutant, shown, judged, shown.guards)
        # With a guard's own claim that nothing needs to be flat, too. (What lists a PIVOT's values may hold nothing that
        # grows, where the rest of the text does.)
        if shown.whole and any(guard.flat for guard in shown.guards):
            _judge(_overlooked(shown), shown, judged, [replace(guard, flat=False) for guard in shown.guards])
    return judged


def _guard_of(shown: Shown, site: Site) -> Any:
    """The guard that stands at a site, told by the relation it reads and the conditions copied into it."""
    path = [token.text.strip('"').replace('""', '"') for token in tokens_of(shown.text, *site.source)]
    names = [name for name in path[1:] if name != "."]
    fitting = [
        guard
        for guard in shown.guards
        if [*guard.relation.schema, guard.relation.name] == names and guard.relation.kind == "table"
    ]
    text = shown.text[site.start : site.end]
    return max(fitting, key=lambda guard: sum(f"({copy})" in text for copy in guard.conjuncts))


def _overlooked(shown: Shown) -> Mutant:
    """The text as a rewrite would make it that overlooks what grows: every column with its dictionary."""
    text = shown.text
    for site in reversed(sites(text)):
        text = as_stored(text, site)
    return Mutant(OVERLOOKED, text)


def _judge(mutant: Mutant, shown: Shown, judged: Judged, guards: Sequence[Any]) -> None:
    from rls.errors import QueryRefused

    if mutant.text == shown.text:
        judged.same += 1
        return
    try:
        shown.again(mutant.text, guards)
    except QueryRefused as error:
        judged.objected[mutant.kind] += 1
        judged.unreadable[mutant.kind] += error.code == "query.syntax"
    else:
        judged.passed.append(mutant)


def records() -> list[dict[str, str]]:
    """The legal golden queries."""
    return [json.loads(line) for line in (GOLDEN / "legal.jsonl").read_text(encoding="utf-8").splitlines()]


def open_setting(directory: Path) -> Setting:
    """The goldens' schema as a catalog, their policies, their principals by name."""
    from rls.engines.read_catalog import read_catalog
    from rls.identity.verify import verify_token
    from rls.policy.load import load_policies

    policies = Path(shutil.copytree(GOLDEN / "policies", directory / "policies"))
    loaded = load_policies(str(policies))
    secret, now = (policies / "secret.txt").read_text(encoding="utf-8"), int(time.time())
    base = {"iss": "https://golden.test", "aud": "rls-golden", "iat": now, "exp": now + 3000}
    personas = json.loads((GOLDEN / "personas.json").read_text(encoding="utf-8"))
    principals = {
        name: verify_token(sign(base | persona["claims"], secret), loaded.identity, now=now)
        for name, persona in personas.items()
    }
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH ':memory:' AS {ATTACHED}; USE {ATTACHED}")
        connection.execute((GOLDEN / "schema.sql").read_text(encoding="utf-8"))
        catalog = read_catalog(connection, ATTACHED, name="warehouse")
    return Setting(catalog, loaded, principals)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.rewrite.mutate_guards", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--sample", type=int, help="mutants of a kind per text; without it, all of them")
    options = parser.parse_args(arguments)
    total, passed = Judged(), 0
    with tempfile.TemporaryDirectory() as name:
        setting = open_setting(Path(name))
        for record in records():
            for persona, principal in setting.principals.items():
                judged = judge_record(
                    record["sql"], principal, setting, sample=options.sample, seed=f"{record['id']}{persona}"
                )
                total.objected += judged.objected
                total.unreadable += judged.unreadable
                total.same += judged.same
                total.guards += judged.guards
                total.sites += judged.sites
                passed += len(judged.passed)
                for mutant in judged.passed[:3]:
                    print(f"{record['id']} as {persona}: {mutant.kind} passed\n  {mutant.text}")
    for kind, count in total.objected.most_common():
        print(f"{count:>7}  {kind}  ({total.unreadable[kind]} no SQL)")
    print(f"{total.sites} of {total.guards} guards, {total.same} mutants were no change")
    print(f"{total.objected.total()} passed, {passed} failed")
    return 1 if passed or total.sites != total.guards else 0


if __name__ == "__main__":
    sys.exit(main())
