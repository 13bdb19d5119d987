"""What runs too long is interrupted, nothing else is, and nothing is after its end."""

from __future__ import annotations

import threading

import pytest

from rls.engines.watchdog import Watchdog


def test_an_expired_watch_is_interrupted_again_and_again() -> None:
    dog, calls = Watchdog(), threading.Semaphore(0)
    with dog.watch(calls.release, seconds=0.01) as watch:
        for _ in range(3):
            assert calls.acquire(timeout=10)
        assert watch.expired
    dog.close()


def test_nothing_is_interrupted_before_its_time_or_after_its_end() -> None:
    dog, calls = Watchdog(), []
    with dog.watch(lambda: calls.append("long"), seconds=60) as long:
        interrupted = threading.Event()
        with dog.watch(interrupted.set, seconds=0.01) as short:
            assert interrupted.wait(10)
        assert short.expired
        assert not long.expired
    with dog.watch(lambda: calls.append("ended"), seconds=0.05):
        pass
    waited = threading.Event()
    with dog.watch(waited.set, seconds=0.2):
        assert waited.wait(10)
    assert calls == []
    dog.close()


def test_an_interrupt_that_raises_does_not_stop_the_watchdog() -> None:
    dog, second = Watchdog(), threading.Event()

    def broken() -> None:
        raise RuntimeError("connection is closed")

    with dog.watch(broken, seconds=0.01), dog.watch(second.set, seconds=0.05):
        assert second.wait(10)
    dog.close()


def test_closing_interrupts_what_is_left() -> None:
    dog, ended = Watchdog(), threading.Event()

    def query() -> None:
        stopped = threading.Event()
        with dog.watch(stopped.set, seconds=60):
            assert stopped.wait(10)
        ended.set()

    thread = threading.Thread(target=query)
    thread.start()
    while not dog._watches:
        pass
    dog.close()
    thread.join()
    assert ended.is_set()


def test_errors_in_the_block_pass_through() -> None:
    dog = Watchdog()
    with pytest.raises(ValueError, match="mine"), dog.watch(lambda: None, seconds=60):
        raise ValueError("mine")
    assert dog._watches == []
    dog.close()
