"""When a request is sent again, and after how long."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

RETRIED_STATUSES = frozenset({429, 502, 503, 504})
IN_FLIGHT = "idempotency_key_in_flight"


@dataclass(frozen=True)
class Retry:
    """How patient the client is.

    `attempts` counts the first one. Delays grow as `base * 2**n` seconds up to `longest`, each multiplied by a random
    number in [0.5, 1] so that many clients do not come back together (AWS Architecture Blog, "Exponential Backoff
    And Jitter", 2015, the "equal jitter" form). A Retry-After of the service is kept to as it stands, up to
    `longest_asked`; one that is longer ends the retries, since waiting less would be turned down again.
    """

    attempts: int = 6
    base: float = 0.5
    longest: float = 20.0
    longest_asked: float = 120.0

    def delay(self, attempt: int, response: httpx.Response | None) -> float | None:
        """Seconds to wait after failed attempt `attempt` (from 1), or None if it should not be tried again."""
        if attempt >= self.attempts or (response is not None and not is_transient(response)):
            return None
        asked = retry_after(response) if response is not None else None
        if asked is not None:
            return asked if asked <= self.longest_asked else None
        return float(min(self.base * 2 ** (attempt - 1), self.longest) * random.uniform(0.5, 1))  # noqa: S311


def is_transient(response: httpx.Response) -> bool:
    """True for 429, 502, 503, 504, and for the 409 that says that the same request is still being answered."""
    if response.status_code in RETRIED_STATUSES:
        return True
    return response.status_code == 409 and problem_code(response) == IN_FLIGHT


def surely_undone(response: httpx.Response | None, failure: httpx.TransportError | None) -> bool:
    """True if the service did nothing: there was no connection, or it turned the request down for its rate (429)."""
    if response is not None:
        return response.status_code == 429
    return isinstance(failure, httpx.ConnectError | httpx.ConnectTimeout)


def problem_code(response: httpx.Response) -> str | None:
    """The `code` of a problem document, else None."""
    try:
        document = response.json()
    except ValueError:
        return None
    code = document.get("code") if isinstance(document, dict) else None
    return code if isinstance(code, str) else None


def retry_after(response: httpx.Response) -> float | None:
    """Seconds of the Retry-After header (RFC 9110 section 10.2.3: seconds or a date), at least 0; None without one."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
