"""The bell on a real broker, and on one that is down or hangs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from runaudit_service.store.bell import ENOUGH, QUIET_SECONDS, Bell
from tests.worker.broker import Broker

LONGEST_RING_SECONDS = 6.0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path / "valkey")
    yield broker
    broker.stop()


def test_a_bell_waits_in_its_queue_only_and_names_no_job(broker: Broker) -> None:
    broker.start()
    bell = Bell(broker.url)
    assert [bell.waiting("cpu"), bell.waiting("gpu")] == [0, 0]
    assert bell.ring("gpu")
    assert [bell.waiting("cpu"), bell.waiting("gpu")] == [0, 1]
    with redis.Redis.from_url(broker.url) as client:
        (message,) = client.lrange("gpu", 0, -1)
    envelope = json.loads(message)
    assert envelope["content-type"] == "application/json"
    assert envelope["headers"]["task"] == "runaudit.work"
    assert envelope["headers"]["argsrepr"] == "['gpu']"
    bell.close()


def test_where_enough_bells_wait_no_more_are_sent_until_they_are_heard(broker: Broker) -> None:
    broker.start()
    bell = Bell(broker.url)
    assert all(bell.ring("cpu") for _ in range(4 * ENOUGH))
    waiting = bell.waiting("cpu")
    assert waiting is not None
    assert ENOUGH <= waiting <= 2 * ENOUGH
    assert bell.ring("gpu")
    assert bell.waiting("gpu") == 1
    with redis.Redis.from_url(broker.url) as client:
        client.delete("cpu")
    time.sleep(QUIET_SECONDS)
    assert bell.ring("cpu")
    assert bell.waiting("cpu") == 1
    bell.close()


def test_a_queue_that_does_not_exist_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no queue"):
        Bell("redis://127.0.0.1:1/0").ring("tpu")


def test_a_broker_that_is_down_costs_no_time(broker: Broker) -> None:
    bell = Bell(broker.url)
    begun = time.monotonic()
    assert not bell.ring("cpu")
    assert bell.waiting("cpu") is None
    assert time.monotonic() - begun < LONGEST_RING_SECONDS
    bell.close()


def test_a_broker_that_hangs_costs_little_time(broker: Broker) -> None:
    broker.start()
    bell, used_bell = Bell(broker.url), Bell(broker.url)
    assert used_bell.ring("cpu")
    broker.freeze()
    for each in (bell, used_bell):
        begun = time.monotonic()
        assert not each.ring("cpu")
        assert time.monotonic() - begun < LONGEST_RING_SECONDS


def test_the_same_bell_rings_again_when_the_broker_is_back(broker: Broker) -> None:
    broker.start()
    bell = Bell(broker.url)
    assert bell.ring("cpu")
    broker.kill()
    assert not bell.ring("cpu")
    broker.start()
    assert bell.ring("cpu")
    bell.close()
