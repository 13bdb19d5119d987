"""Generated policies: for every table of a database one rule of a kind, as policy files and as the oracle's plain SQL.

It takes an open database, a kind and a seeded random source and returns a `Generated`: the same decision said twice,
once in the words of the product (YAML, token attributes) and once with literals for the oracle. It shares no code
with `rls`, so that a misreading of a policy cannot be on both sides.
"""

from __future__ import annotations

import datetime
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from tests.judging.oracle import Rule, quoted, tables_of

__all__ = ["ISSUER", "KINDS", "ROLE", "SECRET", "SUBJECT", "Generated", "add_entitlements", "generate", "write"]

ISSUER, AUDIENCE, SUBJECT, ROLE = "https://corpus.test", "rls-corpus", "u-1", "reader"
SECRET = "a secret of the corpus runner, for tests and nothing else"
ENTITLEMENTS = ("entitled", "pairs")

_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
_DECLARED = dict.fromkeys(_INTEGERS, "integer") | {"VARCHAR": "string", "DATE": "date", "BOOLEAN": "boolean"}
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass
class Generated:
    """Policy files (`documents`: one per relation), what the token carries, and the oracle's rules."""

    kind: str
    documents: list[dict[str, Any]] = field(default_factory=list)
    declared: dict[str, dict[str, Any]] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    rules: dict[tuple[str, ...], Rule] = field(default_factory=dict)

    def attribute(self, type_: str, value: Any) -> str:
        """Put a value into the token and return how a policy calls it."""
        name = f"a{len(self.declared)}"
        self.declared[name] = {"type": type_} | ({"list": True} if isinstance(value, list) else {})
        self.attributes[name] = [_json(v) for v in value] if isinstance(value, list) else _json(value)
        return f"user.{name}"


@dataclass(frozen=True)
class _Table:
    """One table, and what a kind needs to choose a predicate."""

    connection: duckdb.DuckDBPyConnection
    path: tuple[str, ...]
    columns: list[tuple[str, str]]
    random: random.Random

    def pick(self, types: Any) -> tuple[str, str] | None:
        """A column of one of these types."""
        fitting = [column for column in self.columns if column[1] in types]
        return self.random.choice(fitting) if fitting else None

    def values(self, column: str, limit: int = 5) -> list[Any]:
        """Frequent values of a column."""
        name = quoted(column)
        rows = self.connection.execute(
            f"SELECT {name} FROM {quoted(*self.path)} WHERE {name} IS NOT NULL AND length({name}::VARCHAR) < 40 "
            f"GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT {limit}"
        ).fetchall()
        return [row[0] for row in rows if _fits_a_token(row[0])]


def generate(connection: duckdb.DuckDBPyConnection, kind: str, *, source: random.Random) -> Generated:
    """Policies of one kind over every table; `mixed` draws a kind per table."""
    made = Generated(kind)
    for path, columns in tables_of(connection).items():
        if path == ENTITLEMENTS:
            continue
        drawn = source.choice(sorted(KINDS)) if kind == "mixed" else kind
        KINDS[drawn](made, _Table(connection, path, columns, source))
    return made


def add_entitlements(database: Path) -> None:
    """Add the mapping table that the kind `mapping` reads: half of the values of every integer and text column."""
    with duckdb.connect(str(database)) as connection:
        tables = tables_of(connection)
        connection.execute(f"CREATE SCHEMA {ENTITLEMENTS[0]}")
        connection.execute(
            f"CREATE TABLE {quoted(*ENTITLEMENTS)} (place VARCHAR, who VARCHAR, num BIGINT, txt VARCHAR)"
        )
        for path, columns in tables.items():
            for name, type_ in columns:
                if type_ not in _INTEGERS | {"VARCHAR"}:
                    continue
                value = quoted(name)
                number, text = (value, "NULL") if type_ in _INTEGERS else ("NULL", value)
                connection.execute(
                    f"INSERT INTO {quoted(*ENTITLEMENTS)} SELECT $1, if(row_number() OVER (ORDER BY {value}) % 2 = 1, "
                    f"'{SUBJECT}', 'u-2'), {number}, {text} FROM {quoted(*path)} GROUP BY {value} ORDER BY 1 LIMIT 200",
                    [_place(path, name)],
                )


def write(made: Generated, directory: Path) -> Path:
    """Write the policy directory: `identity.yaml`, its secret, and a file per relation (JSON is YAML)."""
    directory.mkdir(parents=True, exist_ok=True)
    identity = {
        "issuers": [
            {
                "name": ISSUER,
                "audiences": [AUDIENCE],
                "algorithms": ["HS256"],
                "keys": [{"kid": "k1", "secret": {"file": "secret.txt"}}],
                "claims": {"subject": "/sub", "roles": "/roles", "attributes": "/attributes"},
            }
        ],
        "roles": [ROLE, "other"],
        "attributes": made.declared,
        "unknown_attributes": "drop",
    }
    (directory / "secret.txt").write_text(SECRET)
    (directory / "identity.yaml").write_text(json.dumps(identity, ensure_ascii=False, indent=1))
    for number, document in enumerate(made.documents):
        (directory / f"p{number}.yaml").write_text(json.dumps(document, ensure_ascii=False, indent=1))
    return directory


def claims(made: Generated, *, now: int) -> dict[str, Any]:
    """The claims of a token for these policies."""
    return {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": SUBJECT,
        "iat": now,
        "exp": now + 3000,
        "roles": [ROLE],
        "attributes": made.attributes,
    }


def _decide(made: Generated, table: _Table, using: str, rule: Rule, columns: dict[str, Any] | None = None) -> None:
    """Say `using` in one of three ways that mean the same, and give the oracle its rule."""
    match table.random.randrange(3):
        case 0:
            policies = [{"name": "p", "using": using}]
        case 1:
            policies = [
                {"name": "all", "to": [ROLE], "using": "true"},
                {"name": "r", "as": "restrictive", "using": using},
            ]
        case _:
            # The second policy is for a role that the caller does not have.
            policies = [{"name": "p", "to": [ROLE], "using": using}, {"name": "q", "to": ["other"], "using": "true"}]
    document: dict[str, Any] = {"relation": _label(table.path), "policies": policies}
    if columns:
        document["columns"] = columns
    made.documents.append(document)
    made.rules[table.path] = rule


def _identity(made: Generated, table: _Table) -> None:
    _decide(made, table, "true", Rule())


def _none(made: Generated, table: _Table) -> None:
    _decide(made, table, "false", Rule("false"))


def _modulo(made: Generated, table: _Table) -> None:
    if (column := table.pick(_INTEGERS)) is None:
        return _equality(made, table)
    text = f"{quoted(column[0])} % 3 = 0"
    return _decide(made, table, text, Rule(text))


def _equality(made: Generated, table: _Table) -> None:
    if (column := table.pick(_DECLARED)) is None or not (values := table.values(column[0])):
        return _identity(made, table)
    value = table.random.choice(values)
    user = made.attribute(_DECLARED[column[1]], value)
    return _decide(made, table, f"{quoted(column[0])} = {user}", Rule(f"{quoted(column[0])} = {_literal(value)}"))


def _either(made: Generated, table: _Table) -> None:
    number, other = table.pick(_INTEGERS), table.pick(_DECLARED)
    if number is None or other is None or not (values := table.values(other[0])):
        return _modulo(made, table)
    user = made.attribute(_DECLARED[other[1]], values[-1])
    left, right = f"{quoted(number[0])} % 5 < 2", quoted(other[0])
    rule = Rule(f"({left}) OR ({right} = {_literal(values[-1])})")
    return _decide(made, table, f"{left} OR {right} = {user}", rule)


def _listed(made: Generated, table: _Table) -> None:
    if (column := table.pick(_DECLARED)) is None or not (values := table.values(column[0])):
        return _none(made, table)
    user = made.attribute(_DECLARED[column[1]], values)
    listed = ", ".join(map(_literal, values))
    return _decide(made, table, f"{quoted(column[0])} IN {user}", Rule(f"{quoted(column[0])} IN ({listed})"))


def _mapping(made: Generated, table: _Table) -> None:
    if (column := table.pick(_INTEGERS | {"VARCHAR"})) is None:
        return _identity(made, table)
    value = "txt" if column[1] == "VARCHAR" else "num"
    text = (
        f"{quoted(column[0])} IN (SELECT {value} FROM {'.'.join(ENTITLEMENTS)} "
        f"WHERE place = {_literal(_place(table.path, column[0]))} AND who = %s)"
    )
    return _decide(made, table, text % "user.subject", Rule(text % f"'{SUBJECT}'"))


def _denied(made: Generated, table: _Table) -> None:
    if len(table.columns) < 2:
        return _identity(made, table)
    name = table.random.choice(table.columns)[0]
    return _decide(made, table, "true", Rule(denied=frozenset([name])), {name: {"deny": True}})


def _masked(made: Generated, table: _Table) -> None:
    if (column := table.pick(_DECLARED)) is None:
        return _identity(made, table)
    name, type_ = column
    shown = {"VARCHAR": f"left({quoted(name)}, 1)", "DATE": "DATE '2000-01-01'", "BOOLEAN": "false"}
    mask = shown.get(type_, f"CAST(0 AS {type_})")
    return _decide(made, table, "true", Rule(masks={name: mask}), {name: {"mask": mask}})


KINDS: dict[str, Callable[[Generated, _Table], None]] = {
    "identity": _identity,
    "none": _none,
    "modulo": _modulo,
    "equality": _equality,
    "either": _either,
    "listed": _listed,
    "mapping": _mapping,
    "denied": _denied,
    "masked": _masked,
}


def _label(path: tuple[str, ...]) -> str:
    """A relation as a policy file names it."""
    parts = path[1:] if path[0] == "main" else path
    return ".".join(part if _PLAIN_NAME.fullmatch(part.lower()) else quoted(part) for part in parts)


def _place(path: tuple[str, ...], column: str) -> str:
    return ".".join((*path, column))


def _literal(value: Any) -> str:
    match value:
        case bool() | int():
            return str(value)
        case datetime.date():
            return f"DATE '{value.isoformat()}'"
        case str():
            return "'" + value.replace("'", "''") + "'"
        case _:
            raise TypeError(type(value))


def _fits_a_token(value: Any) -> bool:
    """Whether a value can stand in JSON exactly and in a well-behaved token: no control characters, no infinity."""
    match value:
        case bool():
            return True
        case int():
            return abs(value) < 1 << 53
        case str():
            # A date beyond Python's years comes as text.
            return (
                value.isprintable() and value.strip() == value != "" and not re.fullmatch(r"\d{5,}-\d\d-\d\d.*", value)
            )
        case _:
            return datetime.date(1000, 1, 1) < value < datetime.date(9999, 1, 1)


def _json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime.date) else value
