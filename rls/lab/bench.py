"""A query, policies, a database and a persona → what each step of guarding costs, beside the query without it.

For whoever wants to know what their own policies cost on their own data. The query goes the way of every query, token
and audit record included; the token's key is the laboratory's. Owns that the answer is thrown away: times come out,
and how many rows there were.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rls.identity.principal import Principal
from rls.identity.verify import verify_token
from rls.lab.timing import Timing, time_in_turn, time_once
from rls.lab.world.principals import token_for
from rls.lab.world.raw import RawFailed, open_bare
from rls.lab.world.world import World, open_live
from rls.policy.policy_set import PolicySet

__all__ = ["STEPS", "QueryCosts", "measure_query"]

VERIFY, COLD, WARM, QUERY, BARE = "verify", "guard, cold", "guard, warm", "query", "unguarded"
STEPS = {
    VERIFY: "the token's signature and claims (HS256)",
    COLD: "a text that was not seen before",
    WARM: "the same text again",
    QUERY: "guard, warm, then run it and record it",
    BARE: "the text as it is, on all rows",
}
PERSONA = "somebody"


@dataclass(frozen=True)
class QueryCosts:
    """`steps` are the times of `STEPS`; `unguarded` is missing where the text runs under policies only (`bare_failure`
    says why). `rows` of the guarded answer, `bare_rows` of the other. `fence_reason` says why the guards hold a fence,
    where they do.
    """

    steps: dict[str, Timing]
    rows: int
    bare_rows: int | None
    fence_reason: str = ""
    bare_failure: str = ""

    @property
    def overhead(self) -> float | None:
        """How many times the CPU of the unguarded query the guarded one takes; below 1 where it reads fewer rows."""
        bare = self.steps.get(BARE)
        return None if bare is None else self.steps[QUERY].least / bare.least

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; times in milliseconds of CPU, `wall` by the clock on the wall."""
        steps = {
            name: {
                "least": round(one.least, 5),
                "median": round(one.at(0.5), 5),
                "p95": round(one.at(0.95), 5),
                "wall": round(one.wall[(len(one.wall) - 1) // 2], 5),
            }
            for name, one in self.steps.items()
        }
        return {
            "steps": steps,
            "overhead": None if self.overhead is None else round(self.overhead, 4),
            "rows": self.rows,
            "unguarded_rows": self.bare_rows,
            "fence_reason": self.fence_reason,
            "unguarded_failure": self.bare_failure,
        }


def measure_query(
    sql: str,
    *,
    policies: PolicySet,
    database: Path,
    principal: Principal,
    rounds: int = 20,
    seconds: float = 60.0,
    on_round: Callable[[], object] = lambda: None,
) -> QueryCosts:
    """Measure `rounds` times, or until `seconds` have passed. The database is opened read-only, in this process.

    `on_round` is called after each round. Raises `QueryRefused`, `QueryFailed`, `PolicyInvalid`, `EngineInvalid` and
    `MintRefused` as a query of this principal does.
    """
    with open_live(database, policies, {PERSONA: principal}) as world, open_bare(database) as bare:
        session, token = world.session(PERSONA), token_for(world.policies, principal, now=world.now)
        answer, guarded = session.query(sql), session.guard(sql)
        calls: dict[str, Callable[[], object]] = {
            VERIFY: lambda: verify_token(token, world.policies.identity, now=world.now),
            WARM: lambda: session.guard(sql),
            QUERY: lambda: session.query(sql),
        }
        bare_rows, failure = None, ""
        try:
            bare_rows = len(bare(sql))
            calls[BARE] = lambda: bare(sql)
        except RawFailed as error:
            failure = str(error)

        def cold() -> tuple[float, float]:
            on_round()
            return _cold(world, sql)

        found = time_in_turn(calls, rounds=rounds, seconds=seconds, elsewhere={COLD: cold})
    steps = {name: found[name] for name in STEPS if name in found}
    return QueryCosts(steps, answer.row_count, bare_rows, guarded.fence_reason, failure)


def _cold(world: World, sql: str) -> tuple[float, float]:
    """The first guard of an engine that was just made: it has seen no text."""
    session = world.with_policies(world.policies).session(PERSONA)
    return time_once(lambda: session.guard(sql))
