"""What `rls demo` plays: who asks, what they ask, and two attacks. Data only; `demo` runs it and shows it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ATTACKS", "CAST", "ISSUER", "KEY", "QUESTIONS", "REWRITTEN", "Attack", "Question"]

ISSUER = "https://app.example"
KEY = "rs256.private.pem"

# Names in fixtures/policies/personas.yaml, and what makes them different.
CAST = {
    "alice": "heads sales of acme in one region",
    "bob": "heads finance of acme, builds dashboards",
    "gina": "heads support of globex, another tenant",
}


@dataclass(frozen=True, slots=True)
class Question:
    """An analytics query; its column `rows_read` says how many rows of the relations went into each line."""

    title: str
    sql: str


QUESTIONS = (
    Question(
        "revenue by region",
        """\
SELECT region, sum(amount) AS revenue, count(*) AS rows_read
FROM orders
GROUP BY region
ORDER BY revenue DESC""",
    ),
    Question(
        "best customers",
        """\
SELECT c.name, sum(o.amount) AS revenue, rank() OVER (ORDER BY sum(o.amount) DESC) AS place, count(*) AS rows_read
FROM orders o
JOIN customers c ON c.id = o.customer_id
GROUP BY ALL
ORDER BY place""",
    ),
    Question(
        "visitors by month",
        """\
WITH visits AS (SELECT date_trunc('month', event_date) AS month, session_id FROM events)
SELECT month, count(DISTINCT session_id) AS visitors, count(*) AS rows_read
FROM visits
GROUP BY month
ORDER BY month""",
    ),
    Question(
        "ledger balances",
        """\
SELECT account, sum(amount) AS balance, count(*) AS rows_read
FROM finance.ledger
GROUP BY account
ORDER BY account""",
    ),
    Question(
        "pay by department",
        """\
SELECT department, median(salary) AS median_salary, count(*) AS rows_read
FROM employees
GROUP BY department
ORDER BY department""",
    ),
)

# Shown before and after, for whom.
REWRITTEN = (QUESTIONS[0], "alice")


@dataclass(frozen=True, slots=True)
class Attack:
    """A hostile query, who sends it, and what to look at; `compare` if plain DuckDB's answer is worth showing."""

    title: str
    who: str
    sql: str
    lesson: str
    compare: bool


ATTACKS = (
    Attack(
        "delete inside a WITH",
        "bob",
        "WITH gone AS (DELETE FROM orders RETURNING *) SELECT count(*) FROM gone",
        "What is not allowed by name is refused before anything runs, wherever it stands in the query.",
        compare=False,
    ),
    Attack(
        "read a salary from an error message",
        "bob",
        """\
SELECT count(*) FROM employees
WHERE CASE WHEN tenant_id = 'globex'
      THEN CAST(name || ' earns ' || salary AS INTEGER) > 0 ELSE true END""",
        "No expression of the caller is evaluated on a hidden row, so no error can tell of one.",
        compare=True,
    ),
)
