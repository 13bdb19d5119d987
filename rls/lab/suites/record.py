"""An audit record → a test that the same persona gets the same decision again, as a suite file's text.

Takes a record and the personas; returns YAML. Owns that a test is made only of what the record says: a decision of
policies, on a text that the record holds whole. What it holds as hashes (attributes, parameters) it cannot say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rls.errors import RlsError
from rls.identity.principal import Principal

__all__ = ["NotRecorded", "find_persona", "suite_of_record"]

Record = Mapping[str, Any]


class NotRecorded(RlsError):
    """No test can be made of a record; code `record.*`."""

    exit_code = 1


def find_persona(record: Record, personas: Mapping[str, Principal]) -> str:
    """The persona with the record's subject and roles. Raises NotRecorded `record.persona` unless there is one."""
    roles = frozenset(record["roles"])
    found = [name for name, who in personas.items() if who.subject == record["subject"] and who.roles == roles]
    if len(found) != 1:
        raise NotRecorded(
            "record.persona",
            "no persona has the subject and roles of this record" if not found else "several personas could have asked",
            hint="add one to personas.yaml, with the attributes of that token, or name it with --as",
        )
    return found[0]


def suite_of_record(record: Record, persona: str) -> str:
    """A suite with one test. Raises NotRecorded: `record.outcome`, `record.text`, `record.parameters`."""
    if record["sql_kept"] != "full" or not record["sql"] or len(record["sql"]) != record["sql_length"]:
        raise NotRecorded(
            "record.text", "the record does not hold the query's whole text", hint="write the test by hand"
        )
    if record["parameters"]:
        raise NotRecorded("record.parameters", "the record holds its parameters as hashes", hint="give them by hand")
    expect = _expectation(record)
    title = f"as recorded {str(record['audit_id'])[:8]}"
    lines = [
        f"# From audit record {json.dumps(record['audit_id'])} of {json.dumps(record['time'])}.",
        "# The attributes are the persona's of today, the rows the database's: take out what may change.",
        "tests:",
        f"  - name: {_scalar(title)}",
        f"    as: {_scalar(persona)}",
        f"    query: {_scalar(record['sql'])}",
        "    expect:",
        *(f"      {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in expect.items()),
    ]
    return "\n".join(lines) + "\n"


def _expectation(record: Record) -> dict[str, Any]:
    """What the record says of the answer: a refusal's code, no rows, or how many rows by which policies."""
    relations = record["relations"]
    because = {"because": sorted(next(iter(relations.values()))["policies"])} if len(relations) == 1 else {}
    match record["action"], record["outcome"]:
        case "query" | "guard", "refused":
            return {"refused": record["code"]}
        case "query", "denied":
            return {"denied": True}
        case "query", "allowed":
            return {"rows": record["row_count"], **because}
        case _:
            raise NotRecorded(
                "record.outcome",
                f"a record of `{record['action']}` that was `{record['outcome']}` says nothing that policies decide",
                hint="choose a query that was allowed, denied or refused",
            )


def _scalar(text: str) -> str:
    """A YAML scalar in double quotes, in which JSON's escapes mean the same."""
    return json.dumps(text, ensure_ascii=False)
