"""Conditions inside sub-queries: each slip of a hand is made once, and nothing else of the text changes."""

from __future__ import annotations

from rls.lab.truth.branches import own_sql
from rls.lab.truth.inner import changed_inside, dropped_inside, loosened_inside, moved, near_misses
from rls.lab.truth.patterns import changed_patterns
from rls.policy.parser import read_select, write_expression

NESTED = "id IN (SELECT m.pid FROM member AS m JOIN team AS t ON t.id = m.team WHERE m.who = 'u' AND m.until IS NULL)"


def texts(sql: str, *, changed: bool) -> list[str]:
    tree = read_select(sql)["select_list"][0]
    return [write_expression(made) for made in (changed_inside if changed else dropped_inside)(tree)]


def test_each_condition_is_dropped_once() -> None:
    found = texts(NESTED, changed=False)
    assert len(found) == len(set(found)) == 3
    assert sum("until" not in text and "(m.who = 'u')" in text for text in found) == 1
    # What a comparison is NULL for still fails it.
    assert sum("((m.who = 'u') IS NOT NULL)" in text and "until" in text for text in found) == 1
    assert sum("((t.id = m.team) IS NOT NULL)" in text for text in found) == 1
    (alone,) = texts("EXISTS (SELECT 1 FROM s WHERE s.ended IS NULL)", changed=False)
    assert "WHERE" not in alone


def test_and_becomes_or_and_comparisons_turn() -> None:
    found = texts(NESTED, changed=True)
    assert len(found) == len(set(found)) == 5
    assert sum(" OR " in text for text in found) == 1
    assert sum("(t.id != m.team)" in text for text in found) == 1
    assert sum("(m.who != 'u')" in text for text in found) == 1


def test_what_has_no_sub_query_stays() -> None:
    assert texts("a = 1 AND b < 2", changed=True) == []


def test_a_hierarchy_without_its_steps_and_the_other_way_up() -> None:
    tree = read_select(
        "id IN (WITH RECURSIVE b AS (SELECT 1 AS id UNION SELECT s.id FROM s JOIN b ON s.above = b.id) SELECT id FROM b)"
    )["select_list"][0]
    found = [write_expression(made) for made in dropped_inside(tree)]
    assert any("UNION" not in text for text in found)
    assert any("SELECT s.above" in text and "(s.id = b.id)" in text for text in found)


def test_numbers_that_order_move_by_one() -> None:
    tree = read_select("level >= 2 AND id IN (SELECT x FROM t WHERE 5 < y AND z = 7)")["select_list"][0]
    found = [write_expression(made) for made in moved(tree)]
    assert len(found) == 4
    assert sorted(number in text for text in found for number in (">= 1", ">= 3", "(4 <", "(6 <")).count(True) == 4


def test_no_value_passes_and_a_mapping_is_read_the_other_way() -> None:
    tree = read_select("owner IN (SELECT d.giver FROM d WHERE d.taker = 'u' AND d.ends >= 3)")["select_list"][0]
    found = [write_expression(made) for made in loosened_inside(tree)]
    assert sum("COALESCE((d.taker = 'u'), " in text for text in found) == 1
    assert sum("COALESCE((d.ends >= 3), " in text for text in found) == 1
    assert sum("SELECT d.taker" in text and "(d.giver = 'u')" in text for text in found) == 1
    assert len(found) == 3


def test_a_changed_hierarchy_ends_where_the_data_has_a_circle() -> None:
    tree = read_select(
        "id IN (WITH RECURSIVE b AS (SELECT 1 AS id UNION ALL SELECT s.id FROM s JOIN b ON s.above = b.id WHERE s.n > 2)"
        " SELECT id FROM b)"
    )["select_list"][0]
    for change in (changed_inside, dropped_inside, loosened_inside, moved):
        found = [write_expression(made) for made in change(tree)]
        assert found and not any("UNION ALL" in text for text in found)


def test_beside_each_slip_is_what_only_it_lets_through() -> None:
    tree = read_select(
        "id IN (SELECT m.pid FROM member AS m WHERE m.ended IS NULL AND (m.kind IN ('a', 'b') OR m.n > 3))"
    )["select_list"][0]
    pairs = {write_expression(made): write_expression(near) for made, near in near_misses(tree)}
    where = {made.partition("WHERE ")[2]: near.partition("WHERE ")[2] for made, near in pairs.items()}
    # Dropped: it is false. An item of a list: it is that item. Of OR: the other parts are not true.
    assert where["((m.kind IN ('a', 'b')) OR (m.n > 3))))"] == (
        "((NOT (m.ended IS NULL)) AND ((m.kind IN ('a', 'b')) OR (m.n > 3)))))"
    )
    assert where["((m.ended IS NULL) AND ((m.kind IN ('b')) OR (m.n > 3)))))"] == (
        "((m.ended IS NULL) AND ((m.kind IN ('a')) OR (m.n > 3)))))"
    )
    assert where["((m.ended IS NULL) AND (m.n > 3))))"] == (
        "((m.ended IS NULL) AND (m.kind IN ('a', 'b')) AND COALESCE((NOT (m.n > 3)), true))))"
    )
    # Loosened: it is NULL; `IS NULL` never is.
    assert sum("(m.n > 3) IS NULL" in near for near in where.values()) == 1
    assert not any("IS NULL) IS NULL" in near for near in where.values())


def test_a_bound_of_between_is_dropped() -> None:
    found = texts("EXISTS (SELECT 1 FROM t WHERE t.x BETWEEN 1 AND 5)", changed=False)
    assert sum("(t.x <= 5)" in text for text in found) == sum("(t.x >= 1)" in text for text in found) == 1


def test_one_item_of_not_in_is_left_out() -> None:
    found = texts("id IN (SELECT x FROM t WHERE k NOT IN ('a', 'b') AND z = 1)", changed=False)
    assert sum("'a'" in text and "'b'" not in text for text in found) == 1
    assert sum("'b'" in text and "'a'" not in text for text in found) == 1


def test_patterns_lose_an_anchor_and_a_part() -> None:
    def made(sql: str) -> list[str]:
        return [own_sql(tree) for tree in changed_patterns(read_select(sql)["select_list"][0])]

    assert made("a LIKE 'ab%'") == ["(a LIKE '%ab%')", "(a LIKE 'a%')", "(a ILIKE 'ab%')"]
    assert made("a NOT LIKE '%x_y'") == ["(a NOT LIKE '%x_y%')", "(a NOT LIKE '%x%y')", "(a NOT ILIKE '%x_y')"]
    assert made("starts_with(a, b)") == ["contains(a, b)"]
    assert made("a LIKE '%' OR b = ' ~~ '") == []
    assert any("WHERE (n LIKE '%y%')" in text for text in made("id IN (SELECT x FROM t WHERE n LIKE 'y%')"))
