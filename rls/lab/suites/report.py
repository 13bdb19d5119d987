"""How suites ended → what other programs read: JUnit XML, GitHub's annotations, and an HTML page for people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree  # written here, never read

from rls.lab.html import Html, page, table, tag
from rls.lab.suites.plan import MATRIX
from rls.lab.suites.run import Run
from rls.lab.suites.suite import Failure, Outcome
from rls.lab.world.values import show

__all__ = ["github_annotations", "html_report", "junit_xml", "plain_failure", "run_parts"]

# What XML 1.0 cannot hold, not even escaped.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def plain_failure(failure: Failure) -> str:
    """A failure as lines of text: the difference, the rows, the policies behind them."""
    lines = [failure.message]
    for row in failure.rows:
        values = ", ".join(f"{name} {show(value)}" for name, value in row.values.items())
        lines.append(f"  {values}" + (f"  ({'; '.join(row.why)})" if row.why else ""))
    if failure.count > len(failure.rows) > 0:
        lines.append(f"  … and {failure.count - len(failure.rows):,} more")
    lines += [f"  {p.name} ({p.place.file}:{p.place.line}): {' '.join(p.using.text.split())}" for p in failure.policies]
    return "\n".join(lines)


def junit_xml(run: Run) -> str:
    """JUnit's XML, a `testsuite` per suite file, as CI servers read it."""
    root = ElementTree.Element("testsuites", name="rls", tests=str(len(run.outcomes)), time=f"{run.seconds:.3f}")
    root.set("failures", str(run.count("failed")))
    root.set("errors", str(run.count("error")))
    for name, outcomes in _by_file(run):
        failed, errors = (sum(o.status == s for o in outcomes) for s in ("failed", "error"))
        suite = ElementTree.SubElement(root, "testsuite", name=name, tests=str(len(outcomes)))
        suite.set("failures", str(failed))
        suite.set("errors", str(errors))
        suite.set("time", f"{sum(o.seconds for o in outcomes):.3f}")
        for outcome in outcomes:
            case = outcome.case
            made = ElementTree.SubElement(
                suite, "testcase", classname=name, name=_xml(case.id.partition("::")[2]), time=f"{outcome.seconds:.3f}"
            )
            made.set("file", case.place.file)
            made.set("line", str(case.place.line))
            if outcome.status != "passed":
                kind = "failure" if outcome.status == "failed" else "error"
                message = "; ".join(f.message for f in outcome.failures)
                told = ElementTree.SubElement(made, kind, message=_xml(message))
                told.text = _xml("\n".join(map(plain_failure, outcome.failures)))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def github_annotations(run: Run) -> str:
    """Workflow commands, one per case that did not pass: GitHub shows each at its line of the suite."""
    lines = []
    for outcome in run.failed:
        place = outcome.case.place
        where = f"file={_property(_relative(place.file))},line={place.line},col={place.column}"
        title = f"{outcome.case.persona or outcome.case.test}: {outcome.case.subject}"
        title = title if outcome.case.relation or outcome.case.sql else outcome.case.suite
        told = _data("\n".join(map(plain_failure, outcome.failures)))
        lines.append(f"::error {where},title={_property(title)}::{told}\n")
    return "".join(lines)


def html_report(run: Run) -> str:
    """One page: counts, a grid of persona and relation per suite, each failure with its rows and policies."""
    about = f"suites: {len(run.suites)}, policies {run.policy_version}"
    return page("Policy tests", tag("h1", "Policy tests"), tag("p", about, _class="soft"), *run_parts(run))


def run_parts(run: Run) -> list[Html]:
    """What that page holds below its title."""
    failed, errors = run.count("failed"), run.count("error")
    cards = [
        _card("passed", run.count("passed"), "good"),
        _card("failed", failed, "bad" if failed else None),
        _card("errors", errors, "bad" if errors else None),
        _card("seconds", f"{run.seconds:.2f}", None),
    ]
    content = [tag("div", *cards, _class="cards")]
    if run.failed:
        content.append(tag("h2", "What is not as expected"))
        content += [_case(outcome) for outcome in run.failed]
    for name, outcomes in _by_file(run):
        content.append(tag("h2", name))
        matrix = [o for o in outcomes if o.case.test == MATRIX]
        if matrix:
            content.append(_grid(matrix))
        tests = [o for o in outcomes if o.case.test != MATRIX]
        if tests:
            content.append(table(("", "test", "persona", "reads"), map(_test_row, tests)))
    return content


def _card(label: str, value: object, style: str | None) -> Html:
    return tag("div", tag("b", value, _class=style), tag("span", label), _class="card")


def _case(outcome: Outcome) -> Html:
    case = outcome.case
    what = f" · {case.subject} · {case.test}" if case.persona else f" · {case.relation}" if case.relation else ""
    title = [tag("b", case.persona or (case.test if case.relation else case.suite)), what]
    parts = [tag("span", f"{case.place.file}:{case.place.line}", _class="place"), tag("div", *title)]
    if not case.listed:
        parts.append(tag("p", "not listed in the suite, so expected to be invisible", _class="soft"))
    if case.sql is not None:
        parts.append(tag("pre", case.sql))
    for failure in outcome.failures:
        parts.append(tag("p", failure.message, _class="bad"))
        if failure.rows:
            names = list(failure.rows[0].values)
            rows = [
                [*(show(r.values[n]) for n in names), tag("span", "; ".join(r.why), _class="why")] for r in failure.rows
            ]
            parts.append(table((*names, "why"), rows))
            if failure.count > len(failure.rows):
                parts.append(tag("p", f"… and {failure.count - len(failure.rows):,} more", _class="soft"))
        for policy in failure.policies:
            place = f"  {policy.place.file}:{policy.place.line}"
            parts.append(tag("pre", tag("b", policy.name), tag("span", place, _class="soft"), "\n", policy.using.text))
    return tag("section", *parts, _class="case")


def _grid(outcomes: list[Outcome]) -> Html:
    """Personas down, relations across."""
    relations = list(dict.fromkeys(o.case.subject for o in outcomes))
    cells = {(o.case.persona, o.case.subject): o for o in outcomes}
    head = tag("tr", tag("th", ""), *(tag("th", r) for r in relations))
    rows = []
    for persona in dict.fromkeys(o.case.persona for o in outcomes):
        made = [_cell(cells.get((persona, relation))) for relation in relations]
        rows.append(tag("tr", tag("th", persona, _class="row"), *made))
    return tag("div", tag("table", head, *rows, _class="grid"), _class="scroll")


def _cell(outcome: Outcome | None) -> Html:
    if outcome is None:
        return tag("td", "", _class="blank")
    words = "✓" if outcome.status == "passed" else "✗"
    expected = "as listed" if outcome.case.listed else "invisible, as nothing is listed"
    told = "; ".join(f.message for f in outcome.failures) or f"as expected: {expected}"
    shown = words if outcome.case.listed or outcome.status != "passed" else "·"
    return tag("td", shown, _class=outcome.status, title=told)


def _test_row(outcome: Outcome) -> tuple[object, ...]:
    mark = tag("span", "✓", _class="good") if outcome.status == "passed" else tag("span", "✗", _class="bad")
    case = outcome.case
    return mark, case.test, case.persona, case.relation or tag("code", " ".join((case.sql or "").split()))


def _by_file(run: Run) -> Iterator[tuple[str, list[Outcome]]]:
    groups: dict[str, list[Outcome]] = {}
    for outcome in run.outcomes:
        groups.setdefault(_relative(outcome.case.place.file), []).append(outcome)
    yield from groups.items()


def _xml(value: str) -> str:
    return _NOT_XML.sub("�", value)


def _relative(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_absolute() and path.is_relative_to(Path.cwd()) else file


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")
