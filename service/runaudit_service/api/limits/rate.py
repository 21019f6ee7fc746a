"""Requests a minute, counted for each tenant by all replicas together: a token bucket in the broker.

A bucket holds a minute's requests and is filled again evenly. A replica does not ask the broker for each request: it
takes as many tokens at once as flow into the bucket in PORTION_SECONDS, and spends them by itself. So the replicas
together never give out more than the bucket had, a poll costs no way to the broker but every hundredth time or so, and
what a replica takes and does not use is little and flows back at once. A tenant with few requests a minute has portions
of one, and is counted exactly.

With the broker away, requests are let through and not counted: a service that works without its bell should not fail
for want of a counter.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from runaudit_service.api.errors import ApiError

logger = logging.getLogger(__name__)

WINDOW_SECONDS: Final = 60
POLICY: Final = "requests"
PORTION_SECONDS: Final = 0.1
SPENT_WITHIN_SECONDS: Final = 1.0
"""tokens that lie unused for longer are forgotten: the bucket has been filled again by ten times as many meanwhile"""
PATIENCE_SECONDS: Final = 0.25
"""a broker that takes longer is away; a request waits no longer for its permission"""
AWAY_SECONDS: Final = 5.0
"""between two tries at a broker that is away"""

# KEYS: the bucket. ARGV: its capacity, the window in seconds, the tokens that are wanted.
# Returns the tokens that are given, those left, and the milliseconds until there is one.
_TAKE: Final = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local capacity, per_second = tonumber(ARGV[1]), ARGV[1] / ARGV[2]
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = capacity
if bucket[1] then
  tokens = math.min(capacity, bucket[1] + math.max(0, now - bucket[2]) * per_second)
end
local given = math.min(math.floor(tokens), tonumber(ARGV[3]))
tokens = tokens - given
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], ARGV[2] * 1000)
return {given, math.floor(tokens), math.ceil(math.max(0, 1 - tokens) / per_second * 1000)}
"""


class RateLimitedError(ApiError):
    """More requests than the tenant may make a minute."""

    code = "rate_limited"
    status = 429
    title = "Too many requests"

    def __init__(self, per_minute: int, wait_seconds: float) -> None:
        super().__init__(f"This tenant may make {per_minute} requests a minute. Try again after Retry-After.")
        self.headers = {"Retry-After": str(max(1, math.ceil(wait_seconds)))} | rate_headers(per_minute, 0)


def rate_headers(per_minute: int, remaining: int) -> dict[str, str]:
    """`RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-10.

    `r` requests are left; after `t` seconds without any it would be all `q` again.
    """
    until_full = math.ceil((per_minute - remaining) * WINDOW_SECONDS / per_minute)
    return {
        "RateLimit-Policy": f'"{POLICY}";q={per_minute};w={WINDOW_SECONDS}',
        "RateLimit": f'"{POLICY}";r={remaining};t={until_full}',
    }


@dataclass
class _Purse:
    """Tokens of one tenant in the hands of this replica, and what the bucket had left when they were taken."""

    tokens: int = 0
    left: int = 0
    taken_at: float = -math.inf
    empty_until: float = -math.inf
    taking: asyncio.Lock = field(default_factory=asyncio.Lock)


class RateLimiter:
    """Gives permission to requests."""

    def __init__(self, broker_url: str) -> None:
        self._redis: Redis | None = None
        if broker_url:
            self._redis = Redis.from_url(
                broker_url, socket_timeout=PATIENCE_SECONDS, socket_connect_timeout=PATIENCE_SECONDS
            )
            self._take = self._redis.register_script(_TAKE)
        self._purses: dict[uuid.UUID, _Purse] = {}
        self._away_until = -math.inf

    async def admit(self, tenant_id: uuid.UUID, per_minute: int) -> dict[str, str]:
        """Count a request of a tenant; the headers that tell it what is left.

        No headers if it is not counted: there is no limit (0), or no broker. Raises RateLimitedError.
        """
        if per_minute == 0 or self._redis is None:
            return {}
        purse = self._purses.get(tenant_id)
        if purse is None:
            purse = self._purses[tenant_id] = _Purse()
        if not self._has_tokens(purse):
            async with purse.taking:
                # Another request may have taken some while this one waited.
                if not self._has_tokens(purse) and not await self._fill(purse, tenant_id, per_minute):
                    return {}
        if purse.tokens == 0:
            raise RateLimitedError(per_minute, purse.empty_until - time.monotonic())
        purse.tokens -= 1
        return rate_headers(per_minute, purse.tokens + purse.left)

    async def close(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            await self._redis.aclose()

    @staticmethod
    def _has_tokens(purse: _Purse) -> bool:
        """Whether this replica can answer by itself: it has tokens, or knows that there are none yet."""
        now = time.monotonic()
        return (purse.tokens > 0 and now - purse.taken_at < SPENT_WITHIN_SECONDS) or now < purse.empty_until

    async def _fill(self, purse: _Purse, tenant_id: uuid.UUID, per_minute: int) -> bool:
        """Take a portion; whether the broker answered."""
        if time.monotonic() < self._away_until:
            return False
        portion = max(1, int(per_minute * PORTION_SECONDS / WINDOW_SECONDS))
        key, arguments = f"runaudit:rate:{tenant_id}", [per_minute, WINDOW_SECONDS, portion]
        try:
            answer: Any = await self._take(keys=[key], args=arguments)
        except (RedisError, OSError) as error:
            self._away_until = time.monotonic() + AWAY_SECONDS
            logger.warning("requests are not counted for %g s, the broker does not answer: %s", AWAY_SECONDS, error)
            return False
        purse.tokens, purse.left, wait = map(int, answer)
        purse.taken_at = time.monotonic()
        purse.empty_until = purse.taken_at + wait / 1000 if purse.tokens == 0 else -math.inf
        return True
