"""Row rules of other systems → policy files: `import_rules`. What cannot be said faithfully is said to be missing."""

from __future__ import annotations

from pathlib import Path

from rls.errors import PolicyInvalid
from rls.lab.importing.model import Imported

__all__ = ["FORMATS", "import_rules"]

FORMATS = ("postgres", "superset", "cube", "toucan")
_NOTHING = {
    "postgres": "no CREATE POLICY and no ENABLE ROW LEVEL SECURITY",
    "superset": "no rule",
    "cube": "no cube",
    "toucan": "no table with rules",
}


def import_rules(text: str, *, format: str, file: str) -> Imported:
    """The policies in `text`, which is of one of `FORMATS`; `file` is its name in remarks.

    Raises PolicyInvalid `policy.import` where the text is not of that format, or says nothing of rows.
    """
    try:
        found = _read(text, format, file)
    except RecursionError:
        raise PolicyInvalid("policy.import", "a condition is nested too deeply", file=file) from None
    if not (found.policies or found.denied or found.remarks):
        hint = f"is it of the format `{format}`?"
        raise PolicyInvalid("policy.import", f"there is nothing to import: {_NOTHING[format]}", file=file, hint=hint)
    return found


def _read(text: str, format: str, file: str) -> Imported:
    match format:
        case "postgres":
            from rls.lab.importing.postgres import read_postgres

            return read_postgres(text, file=Path(file).name)
        case "superset":
            from rls.lab.importing.superset import read_superset

            return read_superset(text, file=file)
        case "cube":
            from rls.lab.importing.cube import read_cube

            return read_cube(text, file=file)
        case "toucan":
            from rls.lab.importing.toucan import read_toucan

            return read_toucan(text, file=file)
        case _:
            raise ValueError(f"no such format: {format}")
