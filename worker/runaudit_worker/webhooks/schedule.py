"""When a delivery is tried again: the example schedule of the Standard Webhooks specification, with jitter."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

DELAYS: Final = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
"""seconds before each attempt; 75 h 35 min in all (research/service.md B1)"""
JITTER: Final = 0.2
"""a delay is longer by up to this part, so that what failed together does not come back together"""
LONGEST_RETRY_AFTER: Final = 86400.0
"""of what a receiver asks for: more than a day would be beyond the schedule's own steps"""


def delay_after(
    attempts: int, retry_after: float | None = None, *, chance: Callable[[], float] = random.random
) -> float | None:
    """Seconds from the end of a failed attempt to the next; None if that was the last.

    Args:
        attempts: how many of the schedule were made, 1 or more.
        retry_after: how long the receiver wants to be left alone, in seconds; it can lengthen a delay only.
        chance: a number from 0 to 1.
    """
    if attempts >= len(DELAYS):
        return None
    planned = DELAYS[attempts] * (1 + JITTER * chance())
    return max(planned, min(retry_after or 0.0, LONGEST_RETRY_AFTER))


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """Retry-After in seconds from `now`, in either of its forms (RFC 9110 section 10.2.3); None if it can't be read."""
    if header is None:
        return None
    if header.strip().isascii() and header.strip().isdecimal():
        return min(float(header.strip()), LONGEST_RETRY_AFTER) if len(header) < 20 else LONGEST_RETRY_AFTER
    try:
        moment = parsedate_to_datetime(header)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - now).total_seconds()
    except (TypeError, ValueError, OverflowError):
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
