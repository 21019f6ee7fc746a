"""One attempt: the message goes out over the guarded transport, signed, and what comes back becomes an outcome."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, Literal

from runaudit.errors import RunauditError
from runaudit_service.store import signing
from runaudit_service.store.deliveries import Claimed, Outcome
from runaudit_service.store.tracing import tracing
from runaudit_service.store.webhooks import PING
from runaudit_worker.guarded import Answer, AsyncGuardedClient
from runaudit_worker.webhooks.messages import body_of
from runaudit_worker.webhooks.schedule import delay_after, retry_after_seconds

_log = logging.getLogger(__name__)

SECONDS: Final = 15.0
"""for one attempt in all (the specification asks for 15 to 30)"""
KEPT_RESPONSE_BYTES: Final = 1024
_RETRY_AFTER: Final = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}


@dataclass(frozen=True)
class Exchange:
    """Makes attempts; `base_url` is where links of people's messages begin."""

    client: AsyncGuardedClient
    base_url: str
    seconds: float = SECONDS

    async def attempt(self, delivery: Claimed) -> Outcome:
        """Sends the message once. Never raises for what the receiver, or the way to it, does."""
        with tracing.span(f"webhook {delivery.type}", parent=delivery.traceparent) as span:
            outcome = await self._attempt(delivery)
            if span is not None:
                # Neither the URL nor the answer, which may hold secrets.
                span.set_attributes({"runaudit.message_id": delivery.message_id, "runaudit.attempt": delivery.step + 1})
                if outcome.status is not None:
                    span.set_attribute("http.response.status_code", outcome.status)
                if outcome.error is not None:
                    span.set_attribute("error.type", outcome.error)
            return outcome

    async def _attempt(self, delivery: Claimed) -> Outcome:
        started_at, begun = datetime.now(UTC), time.monotonic()
        body = status = error = response = retry_after = None
        try:
            body = body_of(delivery, self.base_url)
            answer = await self._post(delivery, body.encode(), int(started_at.timestamp()))
        except RunauditError as refused:
            error = refused.error_code
        except Exception:
            # A fault of ours, which must take down neither the other deliveries nor this one for good.
            _log.exception("delivery %s: the attempt failed", delivery.id)
            error = RunauditError.code
        else:
            status, response = answer.status, answer.body.decode(errors="replace")
            if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
                error = "redirect_not_followed"
            if status in _RETRY_AFTER:
                retry_after = retry_after_seconds(answer.headers.get("Retry-After"), datetime.now(UTC))
        state, delay = _next(delivery, status, retry_after)
        return Outcome(
            delivery=delivery,
            body=body,
            started_at=started_at,
            seconds=time.monotonic() - begun,
            state=state,
            delay=delay,
            status=status,
            error=error,
            response=response,
            gone=status == HTTPStatus.GONE,
        )

    async def _post(self, delivery: Claimed, body: bytes, timestamp: int) -> Answer:
        headers = signing.headers(delivery.message_id, timestamp, body, delivery.secrets)
        return await self.client.request(
            "POST",
            delivery.url,
            seconds=self.seconds,
            max_bytes=KEPT_RESPONSE_BYTES,
            headers=headers | {"Content-Type": "application/json"},
            content=body,
            truncate=True,
        )


def _next(
    delivery: Claimed, status: int | None, retry_after: float | None
) -> tuple[Literal["succeeded", "pending", "failed"], float]:
    if status is not None and HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return "succeeded", 0.0
    # A ping is asked for by someone who waits for it: an hour later nobody does.
    delay = None if status == HTTPStatus.GONE or delivery.type == PING else delay_after(delivery.step + 1, retry_after)
    return ("failed", 0.0) if delay is None else ("pending", delay)
