"""What templates keep: bounded, found by text and by tokens, and gone as a whole."""

from __future__ import annotations

import threading
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rls.identity.principal import Principal
from rls.rewrite import texts as module
from rls.rewrite.guarded import GuardedQuery
from rls.rewrite.texts import Template, Text, Texts, Tokens

MEMORY = 100
PEOPLE = [Principal(str(number)) for number in range(4)]


def query(name: str) -> GuardedQuery:
    return GuardedQuery(name, {}, name, {})


def check(texts: Texts) -> None:
    """Nothing is counted that is not there, and nothing is there that is not counted."""
    kept = texts._texts
    assert texts._size == sum(text.size for text in kept.values())
    assert texts._size <= MEMORY or len(kept) == 1
    assert texts._ready == sum(len(text.ready) for text in kept.values())
    found = [
        asked
        for by_binding in texts._alike.values()
        for by_literals in by_binding.values()
        for asked in by_literals.values()
    ]
    assert all(asked in kept for asked in found)
    assert all(by_literals for by_binding in texts._alike.values() for by_literals in by_binding.values())
    assert all(texts._alike.values())


def act(texts: Texts, step: tuple[Any, ...]) -> None:
    match step:
        case "add", name, size, shape, bound:
            tokens = Tokens(shape, frozenset(bound), name[0])
            texts.add(name, Text((), {(0,): Template(query(name), (), ())}, size, tokens))
        case "extend", name, size:
            text = texts.get(name)
            if text is not None:
                texts.extend(name, text, (size,), Template(query(name), (), ()), size)
        case "ready", name, who:
            text = texts.get(name)
            if text is not None:
                texts.make_ready(name, text, PEOPLE[who], query(name))
        case "look", name, who:
            text = texts.get(name)
            found = None if text is None else text.ready_for(PEOPLE[who])
            assert found is None or found.sql == name
        case "alike", name, shape, bound:
            found = texts.alike(Tokens(shape, frozenset(bound), name[0]))
            assert found is None or found.templates[0,].query.sql[0] == name[0]


names = st.text("abc", min_size=1, max_size=2)
bounds = st.sampled_from([(), (1,), (1, 2), (3,), (4,), (5,)])
steps = st.one_of(
    st.tuples(st.just("add"), names, st.integers(1, 60), st.integers(0, 1), bounds),
    st.tuples(st.just("extend"), names, st.integers(1, 60)),
    st.tuples(st.just("ready"), names, st.integers(0, 3)),
    st.tuples(st.just("look"), names, st.integers(0, 3)),
    st.tuples(st.just("alike"), names, st.integers(0, 1), bounds),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=40))
def test_everything_that_is_kept_is_counted_and_goes_with_its_text(done: list[tuple[Any, ...]]) -> None:
    texts = Texts(MEMORY)
    for step in done:
        act(texts, step)
        check(texts)


def test_queries_that_are_ready_are_few(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "READY", 10)
    texts = Texts(MEMORY)
    for number in range(8):
        text = Text((), {}, 1)
        texts.add(str(number), text)
        for who in PEOPLE:
            texts.make_ready(str(number), text, who, query(str(number)))
            check(texts)
            assert texts._ready <= 10
    assert texts.get("7").ready_for(PEOPLE[3]) is not None  # type: ignore[union-attr]


def test_another_object_is_another_principal() -> None:
    texts, text = Texts(MEMORY), Text((), {}, 1)
    texts.add("a", text)
    texts.make_ready("a", text, PEOPLE[0], query("a"))
    # The id of an object that is gone is given again.
    text.ready[id(PEOPLE[1])] = text.ready[id(PEOPLE[0])]
    assert text.ready_for(PEOPLE[1]) is None


def test_a_text_that_is_gone_gets_nothing_more() -> None:
    texts, gone = Texts(MEMORY), Text((), {}, 1)
    texts.add("a", gone)
    texts.add("a", Text((), {}, 1))
    texts.make_ready("a", gone, PEOPLE[0], query("a"))
    texts.extend("a", gone, (0,), Template(query("a"), (), ()), 5)
    check(texts)
    assert gone.ready == {}


def test_what_is_used_stays() -> None:
    texts = Texts(10)
    often = Text((), {}, 1)
    texts.add("often", often)
    texts.make_ready("often", often, PEOPLE[0], query("often"))
    for number in range(100):
        texts.add(str(number), Text((), {}, 1))
        assert often.ready_for(PEOPLE[0]) is not None
    assert texts.get("often") is often
    assert texts.get("0") is None


def test_threads_leave_nothing_uncounted() -> None:
    texts = Texts(MEMORY)

    def work(seed: int) -> None:
        for number in range(400):
            name = "abc"[(number * seed) % 3] + "xyz"[number % 3]
            act(texts, ("add", name, 1 + number % 40, number % 2, (number % 7,)))
            act(texts, ("extend", name, 5))
            act(texts, ("ready", name, number % 4))
            act(texts, ("look", name, number % 4))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(1, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(texts)
