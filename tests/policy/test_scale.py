"""Many policies: what is done once for all of them, what is done for a relation when it is asked for, and what never."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.many import make_catalog, make_policies, make_principal
from rls.policy import parser
from rls.policy.attributes import Attribute
from rls.policy.expressions import Expression, read_expression, read_expressions
from rls.policy.load import load_policies
from rls.policy.parser import ExpressionInvalid
from rls.policy.policy_set import PolicySet
from rls.rewrite.guard import guard

ATTRIBUTES = {"tenant": Attribute("tenant", "string"), "regions": Attribute("regions", "string", many=True)}
TEXTS = [
    "tenant_id = user.tenant",
    "tenant_id = user.tenant AND region IN user.regions OR NOT paid",
    "tenant_id = user.tennant",  # no such attribute
    "1 +",  # no SQL
    "read_text('x') = 'y'",
    "true; SELECT 1",
    "a = 1 -- and more",
    "tenant_id = user.tenant",
    "id IN (SELECT c.id FROM customers c WHERE c.owner = user.tenant)",
]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> PolicySet:
    directory = tmp_path_factory.mktemp("many")
    return load_policies(make_policies(directory, relations=60, per_relation=5, role_count=4), keys="none")


def test_texts_read_together_are_as_read_alone() -> None:
    together = read_expressions(TEXTS, ATTRIBUTES, branches=True)
    for text, found in zip(TEXTS, together, strict=True):
        if isinstance(found, Expression):
            assert found == read_expression(text, ATTRIBUTES, branches=True)
            assert found.root.tree == read_expression(text, ATTRIBUTES, branches=True).root.tree
            continue
        with pytest.raises(ExpressionInvalid) as alone:
            read_expression(text, ATTRIBUTES, branches=True)
        assert (found.code, found.offset) == (alone.value.code, alone.value.offset)
    assert [isinstance(found, Expression) for found in together] == [True, True, *[False] * 5, True, True]


def test_policies_with_the_same_text_share_no_branch() -> None:
    first, second = (found for found in read_expressions(TEXTS[1:2] * 2, ATTRIBUTES, branches=True))
    assert isinstance(first, Expression)
    assert isinstance(second, Expression)
    assert first == second
    assert not {id(leaf) for leaf in first.root.leaves()} & {id(leaf) for leaf in second.root.leaves()}


def test_duckdb_is_not_asked_for_each_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    run = parser._run
    monkeypatch.setattr(parser, "_run", lambda call, arguments: asked.append(len(arguments)) or run(call, arguments))
    policies = load_policies(make_policies(tmp_path, relations=60, per_relation=5, role_count=4), keys="none")
    count = sum(len(rules.policies) for rules in policies.rules)
    assert count == 300
    assert sum(asked) > count
    assert len(asked) < count / 10


def test_a_relation_is_bound_when_it_is_asked_for_and_no_other(many: PolicySet) -> None:
    catalog, somebody = make_catalog(60), make_principal()
    assert not many._bound
    guarded = guard("SELECT count(*) FROM table_7", somebody, many, catalog)
    assert guarded.grants["table_7"].policies == ("own_tenant", "rule_0")
    (_, bound), *others = many._bound.values()
    assert [*bound] == [("main", "table_7")]
    assert not others
    # And looks into the trees of no other's policies.
    read = {id(p.using.root.read): "tree" in p.using.root.read.__dict__ for r in many.rules for p in r.policies}
    assert len(read) > 200
    assert sum(read.values()) <= 5


def test_a_guard_is_the_same_among_few_and_among_many(many: PolicySet, tmp_path: Path) -> None:
    few = load_policies(make_policies(tmp_path, relations=1, per_relation=5, role_count=4), keys="none")
    sql, somebody = "SELECT region, sum(amount) FROM table_0 GROUP BY region", make_principal()
    alone = guard(sql, somebody, few, make_catalog(1))
    assert guard(sql, somebody, many, make_catalog(60)).sql == alone.sql
