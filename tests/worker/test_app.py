"""How a worker takes being told to stop, signal by signal."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest
from celery.worker import state
from kombu.asynchronous import Hub
from sqlalchemy import create_engine

from runaudit_service.store.bell import Bell
from runaudit_service.store.settings import Settings
from runaudit_worker.app import StopSignals, WakingPool
from runaudit_worker.workshop import Workshop


@pytest.fixture
def workshop() -> Iterator[Workshop]:
    """A workshop that never gets to its database or broker."""
    bell = Bell("redis://127.0.0.1:1/0")
    yield Workshop(create_engine("postgresql+psycopg://127.0.0.1:1/none"), bell, Settings())
    bell.close()


@pytest.fixture
def signals(workshop: Workshop) -> Iterator[StopSignals]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)}
    yield StopSignals(workshop, grace_seconds=300)
    for number, handler in before.items():
        signal.signal(number, handler)
    state.should_stop = None


def test_the_first_signal_waits_and_the_second_does_not(workshop: Workshop, signals: StopSignals) -> None:
    signals.install()
    os.kill(os.getpid(), signal.SIGTERM)
    assert state.should_stop == 0
    assert (workshop.closing, workshop.stopping) == (True, False)
    os.kill(os.getpid(), signal.SIGTERM)
    assert workshop.stopping


def test_a_signal_that_comes_while_the_first_is_answered_counts(
    workshop: Workshop, signals: StopSignals, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[bytes] = []

    def write_and_be_interrupted(_descriptor: int, line: bytes) -> int:
        said.append(line)
        if len(said) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return len(line)

    signals.install()
    monkeypatch.setattr("runaudit_worker.app.os.write", write_and_be_interrupted)
    os.kill(os.getpid(), signal.SIGTERM)
    assert [line.split(b":")[0] for line in said] == [b"stopping", b"stopping now"]
    assert workshop.stopping


def test_quit_does_not_wait(workshop: Workshop, signals: StopSignals) -> None:
    signals.install()
    os.kill(os.getpid(), signal.SIGQUIT)
    assert workshop.stopping


def test_the_loop_hears_at_once_that_a_thread_is_free_again() -> None:
    hub, pool = Hub(), WakingPool(1)
    pool.register_with_event_loop(hub)
    # Without a wake the loop sleeps until its next timer, or for ten seconds.
    hub.call_later(60, print)
    reading, writing = os.pipe()
    hub.add_reader(reading, print)
    loop = hub.create_loop()
    pool.on_start()
    begun = time.monotonic()
    pool.apply_async(time.sleep, (0.2,), callback=lambda _: None)
    next(loop)
    assert 0.15 < time.monotonic() - begun < 8
    pool.stop()
    hub.close()
    os.close(reading)
    os.close(writing)
