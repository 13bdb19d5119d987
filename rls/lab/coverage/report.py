"""Coverage → an HTML page: every policy's text, coloured by what the suites have met of it."""

from __future__ import annotations

from collections.abc import Sequence

from rls.lab.coverage.measure import Coverage, Point
from rls.lab.html import Html, page, table, tag, text
from rls.policy.rules import Policy

__all__ = ["advice", "coverage_parts", "html_coverage"]


def advice(point: Point, *, most: int = 1_000) -> str:
    """What would cover a point, in one line; conditions are cut to `most` characters."""
    part = point.part if len(point.part) <= most else point.part[: most - 1] + "…"
    match point.kind, point.state:
        case "branch", "NULL":
            return f"a row with NULL where `{part}` looks"
        case "branch", state:
            return f"a persona and a row for which `{part}` is {state}"
        case "item", item:
            return f"a persona and a row for which {item} in the list of `{part}` decides"
        case "role", state:
            return f"a persona who reads it {state}"
        case "column", "as it is":
            return f"a persona with a role that sees `{point.subject}` as it is"
        case "column", state:
            return f"a persona for whom `{point.subject}` is {state}"
        case _, "missing":
            return f"a persona without {point.subject}"
        case _, state:
            return f"a persona for whom {point.subject} is {state}"


def html_coverage(found: Coverage) -> str:
    """The page."""
    return page("Policy coverage", tag("h1", "What the suites have met of the policies"), *coverage_parts(found))


def coverage_parts(found: Coverage) -> list[Html]:
    """The counts, the policies' text in colours, what is missing."""
    percent = f"{found.percent:.0f}%"
    cards = [
        _card("covered", percent, "good" if not found.open else "warn"),
        _card("points", f"{found.covered} of {len(found.points)}", None),
    ]
    content = [
        tag("div", *cards, _class="cards"),
        _legend(),
    ]
    for file, policies in _by_file(found.policies):
        content.append(tag("h2", file))
        for policy in policies:
            mine = [p for p in found.points if p.place is policy.place and p.kind == "branch"]
            roles = [p for p in found.points if p.place is policy.place and p.kind == "role"]
            told = [tag("span", f" {p.state}", _class="good" if p.covered else "bad") for p in roles]
            place = tag("span", f"line {policy.place.line}", _class="place")
            content.append(tag("h3", policy.name, tag("span", f" {policy.kind}", _class="soft"), *told, place))
            content.append(tag("pre", coloured(policy.using.text, mine)))
    if found.open:
        rows = [(f"{p.place.file}:{p.place.line}", p.subject, advice(p)) for p in found.open]
        content += [tag("h2", "What is missing"), table(("where", "of", "would be met by"), rows)]
    if found.skipped:
        content += [tag("h2", "Not looked at"), tag("pre", "\n".join(found.skipped))]
    return content


def _legend() -> Html:
    words = (("all", "met as TRUE, FALSE and NULL"), ("some", "met in part"), ("none", "never looked at"))
    return tag("p", *(part for style, word in words for part in (tag("mark", word, _class=style), " ")), _class="soft")


def coloured(condition: str, points: Sequence[Point]) -> Html:
    """A condition's text, its leaves marked; a leaf is what has no other mark inside."""
    spans: dict[tuple[int, int], list[Point]] = {}
    for point in points:
        spans.setdefault((point.start, point.end), []).append(point)
    leaves = [s for s in spans if not any(o != s and s[0] <= o[0] and o[1] <= s[1] for o in spans)]
    made: list[object] = []
    at = 0
    for start, end in sorted(leaves):
        if start < at:
            continue
        group = spans[(start, end)]
        met = sum(p.covered for p in group)
        style = "all" if met == len(group) else "some" if met else "none"
        title = ", ".join(f"{p.state}: {'met' if p.covered else 'never'}" for p in group)
        made += [condition[at:start], tag("mark", condition[start:end], _class=style, title=title)]
        at = end
    made.append(condition[at:])
    return Html("".join(map(text, made)))


def _by_file(policies: Sequence[Policy]) -> list[tuple[str, list[Policy]]]:
    groups: dict[str, list[Policy]] = {}
    for policy in policies:
        groups.setdefault(policy.place.file, []).append(policy)
    return list(groups.items())


def _card(label: str, value: object, style: str | None) -> Html:
    return tag("div", tag("b", value, _class=style), tag("span", label), _class="card")
