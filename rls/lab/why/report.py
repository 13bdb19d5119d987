"""A `RowWhy` or a `QueryWhy` → HTML: the truth of each condition with its values; where a query's rows go."""

from __future__ import annotations

from collections.abc import Iterable

from rls.lab.html import Html, table, tag
from rls.lab.why.query import QueryWhy, Step
from rls.lab.why.row import NodeWhy, PolicyWhy, RowWhy
from rls.lab.world.values import show

__all__ = ["query_parts", "row_parts"]

_TRUTH = {True: ("TRUE", "good"), False: ("FALSE", "bad"), None: ("NULL", "warn")}
_NODES = {"and": "all of", "or": "any of", "not": "not"}


def row_parts(found: RowWhy) -> list[Html]:
    """The verdict, a tree per policy, and what is shown changed."""
    key = ", ".join(f"{name} {show(value)}" for name, value in found.key.items())
    verdict = tag("b", "visible", _class="good") if found.visible else tag("b", "not visible", _class="bad")
    parts = [
        tag("p", tag("b", found.relation), f" {key} for ", tag("b", found.persona), ": ", verdict, f", {found.reason}")
    ]
    parts += [_policy(policy) for policy in found.policies]
    changed = [
        (name, show(found.values[name]), show(value))
        for name, value in found.shown.items()
        if value != found.values[name]
    ]
    changed += [(name, show(found.values[name]), "absent") for name in found.values if name not in found.shown]
    if found.visible and changed:
        parts.append(table(("column", "is", "is shown as"), changed))
    return parts


def _policy(policy: PolicyWhy) -> Html:
    place = tag("span", f"{policy.policy.place.file}:{policy.policy.place.line}", _class="soft")
    title = [tag("b", policy.policy.name), f" ({policy.policy.kind}) "]
    if not policy.applies:
        roles = ", ".join(sorted(policy.policy.roles or ()))
        return tag("p", *title, tag("span", f"is for {roles} ", _class="soft"), place)
    if policy.missing:
        needs = f"is FALSE without user.{', user.'.join(policy.missing)} "
        title.append(tag("span", needs, _class="bad"))
    else:
        word, style = _TRUTH[policy.root.value]
        title += ["is ", tag("b", word, _class=style), " "]
    return tag("div", tag("p", *title, place), tag("ul", _node(policy.root), _class="tree"))


def _node(node: NodeWhy) -> Html:
    word, style = ("missing", "bad") if node.missing else _TRUTH[node.value]
    text = tag("code", node.text) if node.kind == "leaf" else _NODES[node.kind]
    values = [f"{name} = {show(value)}" for name, value in node.values]
    values += [f"no user.{name}" for name in node.missing]
    told = tag("span", "  ", ", ".join(values), _class="soft") if values else ""
    children = tag("ul", *map(_node, node.children), _class="tree") if node.children else ""
    return tag("li", tag("b", word, _class=f"truth {style}"), " ", text, told, children)


def query_parts(found: QueryWhy) -> list[Html]:
    """Rows of each relation, then of the query."""
    parts = []
    for relation in found.relations:
        visible = Step(f"visible to {found.persona}", relation.visible)
        parts.append(tag("h3", relation.label))
        parts.append(_steps([Step("rows", relation.total), *relation.steps, visible]))
        if not relation.visible:
            parts += [tag("p", reason, _class="warn") for reason in relation.reasons]
    parts += [tag("p", found.lost_at, _class="warn")] if found.lost_at else []
    parts += [tag("h3", "the query"), _steps([*found.steps, Step("rows of the answer", found.rows)])]
    return parts


def _steps(steps: Iterable[Step]) -> Html:
    rows = [
        ("?" if s.rows is None else tag("span", f"{s.rows:,}", _class=None if s.rows else "bad"), s.what) for s in steps
    ]
    return table(("rows", ""), rows, numbers=("rows",))
