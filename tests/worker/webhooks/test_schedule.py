"""When deliveries are tried again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runaudit_worker.webhooks.schedule import DELAYS, JITTER, LONGEST_RETRY_AFTER, delay_after, retry_after_seconds

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


def test_the_schedule_is_that_of_the_specification() -> None:
    hours = [0, 5 / 3600, 5 / 60, 0.5, 2, 5, 10, 14, 20, 24]
    assert [delay / 3600 for delay in DELAYS] == hours
    assert [delay_after(number, chance=lambda: 0) for number in range(1, 10)] == list(DELAYS[1:])
    assert delay_after(10) is None


@given(st.integers(1, 9), st.floats(0, 1), st.none() | st.floats(0, 1e9))
def test_a_delay_is_never_shorter_than_planned_or_asked_for(attempts: int, chance: float, asked: float | None) -> None:
    delay = delay_after(attempts, asked, chance=lambda: chance)
    assert delay is not None
    assert DELAYS[attempts] <= delay
    assert delay >= min(asked or 0, LONGEST_RETRY_AFTER)
    assert delay <= max(DELAYS[attempts] * (1 + JITTER), LONGEST_RETRY_AFTER)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 7 ", 7),
        ("9" * 400, LONGEST_RETRY_AFTER),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("\u0664", None),
        ("Tue, 24 Nov 2026 12:01:00 GMT", 60),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 0),
        ("Tue, 24 Nov 99999 11:00:00 GMT", None),
    ],
)
def test_retry_after_in_both_of_its_forms(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW) == seconds


@given(st.text())
def test_whatever_a_receiver_writes_there_is_read_without_an_error(header: str) -> None:
    read = retry_after_seconds(header, NOW)
    assert read is None or read >= 0
