"""What can be said of a caller's text before any parser sees it."""

from __future__ import annotations

from rls.engines.limits import Limits
from rls.errors import QueryRefused

__all__ = ["check_text"]


def check_text(sql: object, limits: Limits) -> None:
    """Raise `QueryRefused`: `query.text` for what is no text, `query.too_long`."""
    if not isinstance(sql, str):
        raise QueryRefused("query.text", "a query is a text", hint="give it as a string")
    if len(sql) > limits.text:
        raise QueryRefused("query.too_long", f"the query is longer than {limits.text} characters", hint="shorten it")
    if sql.isascii():
        return
    try:
        sql.encode()
    except UnicodeEncodeError:
        failure = QueryRefused("query.text", "the query holds half of a surrogate pair", hint="send it as UTF-8")
    else:
        return
    raise failure
