"""Noninterference and the oracle, by random queries: `python -m tests.fuzz --minutes N [--seed S] [--corpus]`.

schema → rules → vary make a *world*: one base database, policies for one principal, and two databases that differ from
it only in what this principal may not see. grammar (calls, expressions, clauses, queries) makes queries over it; `judge`
asks both databases and a copy that physically holds the permitted rows only, and says in one word what the answers
show; `shrink` reduces a query that shows a fault; `run` supervises worker processes, because some queries end them.
Everything is drawn from (seed, world, case): a finding is replayed from these three.
"""
