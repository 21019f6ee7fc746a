"""How a worker takes being told to stop, signal by signal."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from celery.worker import state
from sqlalchemy import create_engine

from runaudit_service.store.bell import Bell
from runaudit_service.store.settings import Settings
from runaudit_worker.app import StopSignals
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
    assert not workshop.stopping
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
