"""A query that shows a fault → a smaller one that shows the same.

It takes SQL and a question (`does this text still show it?`) and returns the smallest text found within a number of
attempts. First by structure, on sqlglot's tree (clauses dropped, expressions replaced by a part of themselves), then by
tokens, for what sqlglot does not print as it was. Both only propose: the question decides.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import sqlglot
from sqlglot import exp

__all__ = ["shrink"]

_TOKEN = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\w+|\s+|[^\w\s]")


def shrink(sql: str, shows: Callable[[str], bool], *, attempts: int = 400, seconds: float = 40.0) -> str:
    """The smallest text found that still shows it; `sql` itself if none is smaller."""
    budget = _Budget(shows, attempts, time.monotonic() + seconds)
    smallest = _by_structure(sql, budget)
    return " ".join(_by_tokens(smallest, budget).split())


class _Budget:
    """Counts questions; once they are used up, every answer is no."""

    def __init__(self, shows: Callable[[str], bool], attempts: int, deadline: float) -> None:
        self._shows, self._left, self._deadline = shows, attempts, deadline
        self._asked: set[str] = set()

    @property
    def spent(self) -> bool:
        return self._left <= 0 or time.monotonic() > self._deadline

    def ask(self, sql: str) -> bool:
        if self.spent or sql in self._asked:
            return False
        self._asked.add(sql)
        self._left -= 1
        return self._shows(sql)


def _by_structure(sql: str, budget: _Budget) -> str:
    try:
        tree = sqlglot.parse_one(sql, dialect="duckdb")
        printed = str(tree.sql(dialect="duckdb"))
    except (sqlglot.errors.SqlglotError, RecursionError):
        return sql
    if not budget.ask(printed):
        return sql
    smallest, progress = printed, True
    while progress and not budget.spent:
        progress = False
        for candidate in _smaller_trees(tree):
            try:
                text = str(candidate.sql(dialect="duckdb"))
            except Exception:  # noqa: BLE001, S112 - a tree that cannot be printed is no candidate
                continue
            if len(text) < len(smallest) and budget.ask(text):
                tree, smallest, progress = candidate, text, True
                break
            if budget.spent:
                break
    return smallest


def _smaller_trees(tree: exp.Expr) -> Iterator[exp.Expr]:
    """Copies of the tree with one thing dropped or replaced; what is large goes first."""
    for number, node in enumerate(tree.bfs()):
        for child in _children(node):
            if node.parent is None:
                if isinstance(child, exp.Query):
                    yield child.copy()
            elif not isinstance(node, exp.From | exp.Join | exp.Where | exp.Alias | exp.With | exp.CTE):
                yield _changed(tree, number, lambda found, child=child: found.replace(child.copy()))  # type: ignore[misc]
        for key, value in node.args.items():
            if isinstance(value, list):
                for index in range(len(value)):
                    yield _changed(tree, number, lambda found, key=key, index=index: found.args[key].pop(index))  # type: ignore[misc]
            elif value is not None and key != "this":
                yield _changed(tree, number, lambda found, key=key: found.set(key, None))  # type: ignore[misc]
        if isinstance(node, exp.Condition) and node.parent is not None and not isinstance(node, exp.Literal | exp.Null):
            yield _changed(tree, number, lambda found: found.replace(exp.null()))


def _children(node: exp.Expr) -> list[exp.Expr]:
    found = []
    for value in node.args.values():
        found += [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, exp.Expr)]
    return [child for child in found if not isinstance(child, exp.Identifier | exp.TableAlias | exp.DataType)]


def _changed(tree: exp.Expr, number: int, change: Callable[[exp.Expr], object]) -> exp.Expr:
    copy = tree.copy()
    for index, node in enumerate(copy.bfs()):
        if index == number:
            change(node)
            break
    return copy


def _by_tokens(sql: str, budget: _Budget) -> str:
    """Drop runs of tokens, longest first, that leave parentheses balanced."""
    tokens = _TOKEN.findall(sql)
    size = max(1, len(tokens) // 2)
    while size and not budget.spent:
        start = 0
        while start < len(tokens) and not budget.spent:
            rest = tokens[:start] + tokens[start + size :]
            if _balanced(tokens[start : start + size]) and budget.ask("".join(rest)):
                tokens = rest
            else:
                start += max(1, size // 2)
        size //= 2
    return "".join(_unwrapped(tokens, budget))


def _unwrapped(tokens: list[str], budget: _Budget) -> list[str]:
    """Drop pairs of parentheses and leave what is between them."""
    start = 0
    while start < len(tokens):
        end = start + 1
        while end < len(tokens) and not _balanced(tokens[start : end + 1]):
            end += 1
        rest = tokens[:start] + tokens[start + 1 : end] + tokens[end + 1 :]
        if tokens[start] == "(" and end < len(tokens) and budget.ask("".join(rest)):
            tokens = rest
        else:
            start += 1
    return tokens


def _balanced(tokens: list[str]) -> bool:
    if all(token.isspace() for token in tokens):
        return False
    depth = 0
    for piece in tokens:
        depth += (piece in "([{") - (piece in ")]}")
        if depth < 0:
            return False
    return depth == 0
