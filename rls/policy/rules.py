"""Value objects of a loaded policy directory: what its files say, and the same bound to one relation of a catalog."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rls.catalog import Catalog, Relation, fold
from rls.errors import PolicyInvalid
from rls.policy.expressions import Expression
from rls.policy.parser import ExpressionInvalid
from rls.yaml_source import Document, NodePath

__all__ = ["Bound", "BoundColumn", "BoundPolicy", "ColumnRule", "Pattern", "Place", "Policy", "Rules"]


@dataclass(frozen=True)
class Place:
    """A value in a policy file, for errors that are found later than it was read."""

    document: Document = field(repr=False)
    path: NodePath

    @property
    def file(self) -> str:
        return self.document.file

    @property
    def line(self) -> int:
        return self.document.position(self.path)[0]

    @property
    def column(self) -> int:
        return self.document.position(self.path)[1]

    def invalid(self, code: str, message: str, *, hint: str | None = None) -> PolicyInvalid:
        """An error at this value."""
        return self.document.invalid(code, message, path=self.path, hint=hint)

    def invalid_expression(self, error: ExpressionInvalid) -> PolicyInvalid:
        """An error inside the expression that stands here."""
        return self.document.invalid(error.code, error.message, path=self.path, offset=error.offset, hint=error.hint)


@dataclass(frozen=True, slots=True)
class Policy:
    """A named rule: `roles` it applies to (None: to every principal), and the condition a row must meet."""

    name: str
    kind: Literal["permissive", "restrictive"]
    roles: frozenset[str] | None
    using: Expression
    place: Place  # of the condition's text
    description: str = ""

    def applies_to(self, roles: frozenset[str]) -> bool:
        return self.roles is None or bool(self.roles & roles)


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """What becomes of a column: denied, masked, or (an ENUM) shown with its labels; not for roles in `exempt`."""

    column: str
    denied: bool
    mask: Expression | None
    labels_public: bool
    exempt: frozenset[str]
    place: Place  # of the mask's text, else of the rule


@dataclass(frozen=True, slots=True)
class Pattern:
    """Tables by what they look like: all of `with_columns`, in one of `in_schemas` (if any), none of `exempt`."""

    with_columns: tuple[str, ...]
    in_schemas: tuple[tuple[str, ...], ...]
    exempt: tuple[tuple[str, ...], ...]

    def matches(self, relation: Relation, catalog: Catalog) -> bool:
        """Tables only: a view is guarded by the policies of the tables it reads."""
        if relation.kind != "table" or any(relation.column(name) is None for name in self.with_columns):
            return False
        schema = tuple(fold(s) for s in relation.schema)
        if self.in_schemas and schema not in self.in_schemas:
            return False
        found = (catalog.find(path) for path in self.exempt)
        return all(other is None or other.key != relation.key for other in found)


@dataclass(frozen=True, slots=True)
class Rules:
    """One document of a policy file."""

    target: tuple[str, ...] | Pattern
    public: bool
    policies: tuple[Policy, ...]
    columns: tuple[ColumnRule, ...]
    place: Place  # of the relation's name or the pattern
    strict: bool = False

    @property
    def decides_rows(self) -> bool:
        """Whether it says who sees which rows; a document with columns only does not."""
        return self.public or bool(self.policies)

    def covers(self, relation: Relation, catalog: Catalog) -> bool:
        """Whether these rules are about a relation."""
        if isinstance(self.target, Pattern):
            return self.target.matches(relation, catalog)
        found = catalog.find(self.target)
        return found is not None and found.key == relation.key


@dataclass(frozen=True, slots=True)
class BoundPolicy:
    """A policy with the text of its condition's holes for one relation."""

    policy: Policy
    holes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BoundColumn:
    """A column rule with its mask's text (attributes as parameters), None where there is no mask."""

    rule: ColumnRule
    column: str
    mask: str | None
    blank: str  # NULL of the type the column is shown with


@dataclass(frozen=True, slots=True)
class Bound:
    """All that policy files say of one relation of one catalog; policies sorted by name."""

    relation: Relation
    public: bool
    policies: tuple[BoundPolicy, ...]
    columns: tuple[BoundColumn, ...]
    labels: frozenset[str]
    strict: bool = False
