"""Which answers are tried again, and after how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from runaudit.client.retry import Retry, is_transient, retry_after


def response(status: int, **more: object) -> httpx.Response:
    return httpx.Response(status, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_passing_troubles_are_tried_again(status: int) -> None:
    assert is_transient(response(status))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 500, 501])
def test_lasting_troubles_are_not(status: int) -> None:
    assert not is_transient(response(status))
    assert Retry().delay(1, response(status)) is None


def test_a_conflict_is_tried_again_only_while_the_same_request_is_in_flight() -> None:
    assert is_transient(response(409, json={"code": "idempotency_key_in_flight"}))
    assert not is_transient(response(409, json={"code": "audit_not_ended"}))
    assert not is_transient(response(409, text="conflict"))


@pytest.mark.parametrize(
    ("value", "seconds"), [("0", 0.0), ("7", 7.0), (" 12 ", 12.0), ("", None), ("soon", None), ("-3", None)]
)
def test_retry_after_in_seconds(value: str, seconds: float | None) -> None:
    assert retry_after(response(503, headers={"Retry-After": value})) == seconds


def test_retry_after_as_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    asked = retry_after(response(503, headers={"Retry-After": later}))
    assert asked is not None and 25 < asked <= 30
    assert retry_after(response(503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})) == 0.0


def test_delays_grow_stay_bounded_and_end() -> None:
    retry = Retry(attempts=8, base=1.0, longest=10.0)
    for attempt, whole in enumerate([1, 2, 4, 8, 10, 10, 10], start=1):
        delay = retry.delay(attempt, None)
        assert delay is not None and whole / 2 <= delay <= whole
    assert retry.delay(8, None) is None


def test_what_the_service_asks_for_is_kept_to_unless_it_is_too_long() -> None:
    retry = Retry(longest_asked=60)
    assert retry.delay(1, response(429, headers={"Retry-After": "42"})) == 42.0
    assert retry.delay(1, response(429, headers={"Retry-After": "61"})) is None
