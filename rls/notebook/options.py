"""The line of a `%rls` magic → its options and the SQL after them.

Takes the text behind `%rls` or `%%rls`; returns `Options`. Owns that SQL is passed on as it was written: only the
options before it are split into words, so that quotes in SQL stay quotes.
"""

from __future__ import annotations

import difflib
import keyword
import re
from dataclasses import dataclass, field

__all__ = ["HELP", "Options", "OptionsWrong", "parse_line"]

HELP = """\
%%rls --as PERSONA      the SQL of the cell, as the persona sees it; the result is the cell's output
%rls --as PERSONA SQL   the same on one line
%rls --policies DIR --database FILE [--as PERSONA]
                        what later cells need not say again; also RLS_POLICIES and RLS_DATABASE

--out NAME              keep the result in a variable instead of showing it
--bind NAME             `$NAME` in the SQL is the value of this variable; may be given again
--explain               what the SQL becomes, and why; reads no row
--why                   where the rows go: after each policy, after each condition of the SQL
--matrix                who sees how much of every table; without SQL"""

_VALUES = ("policies", "database", "as", "out", "bind")
_FLAGS = ("explain", "why", "matrix", "help")
_WORD = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|(\S+))""")


class OptionsWrong(ValueError):
    """The line cannot be read; the message says what to write."""


@dataclass(frozen=True)
class Options:
    """`given` are the options with a value, `action` what to do with the SQL: `query` unless a flag says otherwise."""

    sql: str
    action: str = "query"
    given: dict[str, str] = field(default_factory=dict)
    bind: tuple[str, ...] = ()


def parse_line(line: str) -> Options:
    """Options, then SQL. Raises OptionsWrong.

    >>> parse_line("--as eve SELECT 'a b'")
    Options(sql="SELECT 'a b'", action='query', given={'as': 'eve'}, bind=())
    """
    given: dict[str, str] = {}
    bind: list[str] = []
    actions: list[str] = []
    rest = line.strip()
    # `--` alone, or before a space, begins a comment of SQL.
    while found := re.match(r"--([A-Za-z][\w-]*)(?:=|(?=\s|$))", rest):
        name = found[1]
        rest = rest[found.end() :]
        if name in _FLAGS:
            actions.append(name)
        elif name in _VALUES:
            word = _WORD.match(rest)
            if word is None:
                raise OptionsWrong(f"--{name} needs a value")
            value = next(part for part in word.groups() if part is not None)
            rest = rest[word.end() :]
            if name == "bind":
                bind.append(_variable(value, name))
            else:
                given[name] = _variable(value, name) if name == "out" else value
        else:
            near = difflib.get_close_matches(name, (*_VALUES, *_FLAGS), n=1)
            hint = f"did you mean --{near[0]}?" if near else "%rls --help lists the options"
            raise OptionsWrong(f"there is no option --{name}; {hint}")
        rest = rest.lstrip()
    if len(actions) > 1:
        raise OptionsWrong(f"give one of {', '.join(f'--{name}' for name in actions)}")
    return Options(rest, actions[0] if actions else "query", given, tuple(bind))


def _variable(name: str, option: str) -> str:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise OptionsWrong(f"--{option} needs the name of a variable, `{name}` cannot be one")
    return name
