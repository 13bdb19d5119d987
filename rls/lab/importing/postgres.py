"""PostgreSQL's CREATE POLICY → policies. The header is read token by token, the condition as sqlglot reads it.

Takes a script (a dump, migrations); returns `Imported`. Owns which expressions mean the same in both systems: they are
allowed by name, with `current_setting('app.tenant')`, `auth.uid()` and JWT claims as attributes; all others are lost
with a reason. https://www.postgresql.org/docs/current/sql-createpolicy.html
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import sqlglot
from sqlglot import exp

from rls.errors import PolicyInvalid
from rls.lab.importing.model import Imported, NotCarried, text_of

__all__ = ["read_postgres"]

_SAME: Final = (
    exp.Column, exp.Identifier, exp.Literal, exp.Null, exp.Boolean, exp.Paren, exp.And, exp.Or, exp.Not, exp.EQ,
    exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Is, exp.In, exp.Between, exp.Coalesce, exp.Lower, exp.Upper,
    exp.Case, exp.If, exp.Neg, exp.Add, exp.Sub, exp.Mul, exp.NullSafeEQ, exp.NullSafeNEQ, exp.CurrentDate,
    exp.Exists, exp.Select, exp.From, exp.Join, exp.Where, exp.Table, exp.TableAlias, exp.Subquery, exp.Tuple,
    exp.Cast, exp.DataType, exp.Like,
)  # fmt: skip
_TYPES: Final = {"INT": "integer", "BIGINT": "integer", "SMALLINT": "integer", "BOOLEAN": "boolean", "DATE": "date"}
_PLAIN_TYPES: Final = frozenset(("TEXT", "VARCHAR", "UUID", *_TYPES))
_USER: Final = re.compile(r"""'(?:[^']|'')*'|"user"\.""")
_READ: Final = frozenset(("SELECT", "ALL"))


@dataclass
class _Policy:
    name: str
    table: tuple[str, ...]
    kind: Literal["permissive", "restrictive"] = "permissive"
    command: str = "ALL"
    roles: tuple[str, ...] | None = None
    using: str = ""
    checks: bool = False
    text: str = ""


@dataclass
class _Script:
    policies: list[_Policy] = field(default_factory=list)
    enabled: dict[tuple[str, ...], None] = field(default_factory=dict)


def read_postgres(text: str, *, file: str) -> Imported:
    """The row policies of a script. Raises PolicyInvalid `policy.import` where it cannot be taken apart."""
    found, script = Imported(), _Script()
    for statement in _statements(text, file):
        _read_statement(statement, script, found)
    guarded = script.enabled.keys() | {p.table for p in script.policies}
    for policy in script.policies:
        _carry(policy, script, guarded, found)
    for table in script.enabled:
        if all(p.table != table for p in script.policies):
            found.lose(text_of(table), "row level security", "it is enabled without any policy: nobody sees a row", "")
    return found


def _statements(text: str, file: str) -> Iterator[list[Any]]:
    try:
        tokens = sqlglot.tokenize(text, dialect="postgres")
    except sqlglot.errors.SqlglotError:
        raise PolicyInvalid("policy.import", "this is not SQL that can be read", file=file) from None
    statement: list[Any] = []
    for token in tokens:
        if token.token_type == sqlglot.TokenType.SEMICOLON:
            if statement:
                yield [(t, text) for t in statement]
            statement = []
        else:
            statement.append(token)
    if statement:
        yield [(t, text) for t in statement]


class _Words:
    """Tokens of one statement, read from left to right."""

    def __init__(self, tokens: list[Any]) -> None:
        self._tokens = [t for t, _ in tokens]
        self.source = tokens[0][1]
        self.at = 0

    @property
    def text(self) -> str:
        return str(self.source[self._tokens[0].start : self._tokens[-1].end + 1])

    def word(self, ahead: int = 0) -> str:
        at = self.at + ahead
        if at >= len(self._tokens):
            return ""
        # What stands in quotes is no keyword and no parenthesis.
        return "quoted" if self.source[self._tokens[at].start] in "'\"$" else str(self._tokens[at].text).upper()

    def take(self, *words: str) -> bool:
        """Step over these words, if they come next."""
        if [self.word(n) for n in range(len(words))] != list(words):
            return False
        self.at += len(words)
        return True

    def name(self) -> str:
        if self.at >= len(self._tokens):
            raise NotCarried("the statement ends too early")
        token = self._tokens[self.at]
        self.at += 1
        quoted = self.source[token.start] == '"'
        # PostgreSQL folds names that are not quoted.
        return str(token.text) if quoted else str(token.text).lower()

    def path(self) -> tuple[str, ...]:
        self.take("ONLY")
        parts = [self.name()]
        while self.take("."):
            parts.append(self.name())
        return tuple(parts) if len(parts) > 1 else ("public", *parts)

    def parenthesised(self) -> str:
        """The text between the parenthesis that comes next and its partner."""
        start, depth = self.at, 0
        while self.at < len(self._tokens):
            depth += (self.word() == "(") - (self.word() == ")")
            self.at += 1
            if depth == 0:
                inner = self._tokens[start].end + 1, self._tokens[self.at - 1].start
                return str(self.source[inner[0] : inner[1]]).strip()
        raise NotCarried("a parenthesis is not closed")


def _read_statement(tokens: list[Any], script: _Script, found: Imported) -> None:
    words = _Words(tokens)
    text = " ".join(words.text.split())
    try:
        if words.take("CREATE", "POLICY"):
            script.policies.append(_read_policy(words))
        elif words.take("ALTER", "TABLE"):
            words.take("IF", "EXISTS")
            table = words.path()
            if words.take("ENABLE", "ROW", "LEVEL", "SECURITY"):
                script.enabled[table] = None
            elif words.take("DISABLE", "ROW", "LEVEL", "SECURITY"):
                found.drop(text_of(table), "row level security is disabled later on: look at the order of statements")
        elif words.word(1) == "POLICY":
            found.drop(text[:80], "what changes or drops a policy is not followed: apply it by hand")
    except NotCarried as error:
        found.drop(text[:80], str(error))


def _read_policy(words: _Words) -> _Policy:
    policy = _Policy(words.name(), ())
    policy.text = words.text
    if not words.take("ON"):
        raise NotCarried("a policy without ON")
    policy.table = words.path()
    if words.take("AS"):
        kind = words.name()
        policy.kind = "restrictive" if kind == "restrictive" else "permissive"
    if words.take("FOR"):
        policy.command = words.word()
        words.at += 1
    if words.take("TO"):
        roles = [words.name()]
        while words.take(","):
            roles.append(words.name())
        policy.roles = None if "public" in roles else tuple(roles)
    if words.take("USING"):
        policy.using = words.parenthesised()
    if words.take("WITH", "CHECK"):
        policy.checks = True
        words.parenthesised()
    if words.word():
        raise NotCarried(f"`{words.word()}` is not known here")
    return policy


def _carry(policy: _Policy, script: _Script, guarded: Any, found: Imported) -> None:
    relation, where = text_of(policy.table), f"{text_of(policy.table)}: {policy.name}"
    if policy.command not in _READ:
        found.note(where, f"it is for {policy.command}, and only reading is decided here: left out")
        return
    if policy.checks:
        found.note(where, "its WITH CHECK is about writing: left out")
    if policy.table not in script.enabled:
        found.note(where, "row level security is not enabled in this script: the policy may be without effect there")
    try:
        for role in policy.roles or ():
            if role in ("current_user", "session_user", "current_role"):
                raise NotCarried(f"it is for {role}, which is a database role and no principal")
        if not policy.using:
            raise NotCarried("it has no USING, so it lets nobody read")
        reader = _Condition(found, where, guarded)
        found.add(relation, policy.name, reader.read(policy.using), kind=policy.kind, roles=policy.roles)
    except NotCarried as error:
        found.lose(relation, policy.name, str(error), policy.text, kind=policy.kind, roles=policy.roles)


class _Condition:
    """One condition: PostgreSQL's text → ours."""

    def __init__(self, found: Imported, where: str, guarded: Any) -> None:
        self._found, self._where, self._guarded = found, where, guarded

    def read(self, text: str) -> str:
        logger = logging.getLogger("sqlglot")
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            select = sqlglot.parse_one(f"SELECT 1 WHERE {text}", dialect="postgres")
            tree = select.args["where"].this
        except (sqlglot.errors.SqlglotError, AttributeError, KeyError):
            raise NotCarried("its condition cannot be read") from None
        finally:
            logger.setLevel(level)
        if not isinstance(select, exp.Select) or {k for k, v in select.args.items() if v} != {"expressions", "where"}:
            raise NotCarried("its condition is more than one expression")
        tree = tree.transform(self._attributes).transform(self._lists)
        for node in tree.walk():
            self._same(node)
        # `user` is a keyword to sqlglot; in policies it is who asks.
        return _USER.sub(lambda m: "user." if m[0] == '"user".' else m[0], str(tree.sql(dialect="duckdb")))

    def _attributes(self, node: Any) -> Any:
        """Who asks, in PostgreSQL's several ways, as an attribute."""
        if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Select):
            # `(SELECT auth.uid())` is written so that it is evaluated once.
            inner = node.this
            if {k for k, v in inner.args.items() if v} <= {"expressions", "kind"} and len(inner.expressions) == 1:
                changed = self._attributes(inner.expressions[0].unalias())
                if changed is not inner.expressions[0]:
                    return changed
        if isinstance(node, exp.Cast):
            name = self._setting(node.this)
            if name is not None:
                return self._user(name, node.to.this.name)
        name = self._setting(node)
        return node if name is None else self._user(name, "TEXT")

    def _user(self, name: str, type_: str) -> Any:
        if type_ not in _PLAIN_TYPES:
            raise NotCarried(f"`{name}` is read as {type_.lower()}")
        written = self._found.attribute(name, _TYPES.get(type_, "string"))
        return exp.column(written.partition(".")[2], table="user")

    def _setting(self, node: Any) -> str | None:
        """The name of the attribute that a node reads, or None."""
        match node:
            case exp.Anonymous() if node.name.lower() == "current_setting" and node.expressions:
                setting = node.expressions[0]
                if not isinstance(setting, exp.Literal) or not setting.is_string or "." not in setting.this:
                    raise NotCarried("the setting it reads is not one of an application")
                if len(node.expressions) == 1:
                    self._found.note(self._where, "where the setting is missing PostgreSQL fails; here no row is seen")
                if setting.this.startswith("request.jwt"):
                    return None
                return str(setting.this).rpartition(".")[2]
            case exp.Dot() if node.sql(dialect="postgres").lower() == "auth.uid()":
                return "subject"
            case exp.JSONExtractScalar() if isinstance(node.expression, exp.JSONPath | exp.Literal):
                source = node.this.sql(dialect="postgres").lower()
                claims = source.startswith(
                    ("auth.jwt()", "current_setting('request.jwt.claims'", "cast(current_setting(")
                )
                if not claims and "request.jwt.claims" not in source and "auth.jwt()" not in source:
                    return None
                if "user_metadata" in source:
                    raise NotCarried("it reads user_metadata, which users may change themselves")
                name = node.expression.name if isinstance(node.expression, exp.Literal) else _last_key(node.expression)
                return "subject" if name == "sub" else name
            case _:
                return None

    def _lists(self, node: Any) -> Any:
        """`x = ANY(string_to_array(current_setting('app.regions'), ','))` → `x IN user.regions`."""
        if not isinstance(node, exp.EQ) or not isinstance(node.expression, exp.Any):
            return node
        inner = node.expression.this.unnest()
        if isinstance(inner, exp.StringToArray) and isinstance(inner.this, exp.Column) and inner.this.table == "user":
            name = inner.this.name
            self._found.attributes.pop(name, None)
            self._found.attribute(name, many=True)
            return exp.In(this=node.this, field=exp.column(name, table="user"))
        if isinstance(inner, exp.Array):
            return exp.In(this=node.this, expressions=inner.expressions)
        raise NotCarried("`= ANY` of something that is no list of literals")

    def _same(self, node: Any) -> None:
        """Raises NotCarried for a node whose meaning is not known to be the same."""
        if not isinstance(node, _SAME):
            raise NotCarried(f"`{node.sql(dialect='postgres')[:60]}` is not known to mean the same here")
        match node:
            case exp.Cast() if node.to.this.name not in _PLAIN_TYPES:
                raise NotCarried(f"a cast to {node.to.sql(dialect='postgres').lower()}")
            case exp.Like() if "\\" in node.expression.name:
                raise NotCarried("a backslash in a LIKE pattern is an escape there and a letter here")
            case exp.Select():
                allowed = {"expressions", "from", "from_", "joins", "where", "kind", "distinct"}
                if {k for k, v in node.args.items() if v} - allowed:
                    raise NotCarried("a sub-query with more than SELECT, FROM, JOIN and WHERE")
            case exp.Table():
                path = (node.db or "public", node.name)
                if path in self._guarded:
                    raise NotCarried(
                        f"its sub-query reads `{node.name}` as that table's own policies allow; here it would read all"
                    )
                # The search path's schema is the main one.
                node.set("db", None if path[0] == "public" else node.args["db"])
            case exp.GT() | exp.GTE() | exp.LT() | exp.LTE() if any(
                isinstance(side, exp.Literal) and side.is_string for side in (node.this, node.expression)
            ):
                self._found.note(self._where, "texts are ordered by code points here, there by the column's collation")
            case _:
                pass


def _last_key(path: Any) -> str:
    with contextlib.suppress(AttributeError, IndexError):
        return str(path.expressions[-1].this)
    raise NotCarried("a claim that is not named")
