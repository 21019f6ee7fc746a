"""One file over HTTP: redirects by hand, each hop checked anew, and a server that is too slow is left."""

from __future__ import annotations

import email.utils
import ipaddress
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from runaudit_service.store.settings import Settings
from runaudit_service.store.web_address import UrlNotAllowedError, WebAddress
from runaudit_worker.fetching.fetcher import Sink, Terms
from runaudit_worker.guarded import EgressFailedError, EgressRefusedError, GuardedClient, StreamedAnswer, resolve
from runaudit_worker.guarded.addresses import Resolver

MAX_REDIRECTS: Final = 3
"""research/security.md C; release pages and data hubs need one or two"""
SLOWEST_BYTES_PER_SECOND: Final = 16 * 1024
"""over PACE_SECONDS: an eighth of what a slow DSL line sends (125 KiB/s)"""
PACE_SECONDS: Final = 30.0
LONGEST_RETRY_AFTER_SECONDS: Final = 600.0
_SLACK_BYTES: Final = 1 << 20
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAY_PASS: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_ANYWHERE: Final = (ipaddress.IPv4Network("0.0.0.0/0"), ipaddress.IPv6Network("::/0"))


class Downloader:
    """Fetches files of servers that strangers name, and of the operator's own, which may stand anywhere."""

    def __init__(self, settings: Settings, resolver: Resolver = resolve) -> None:
        self._strangers = GuardedClient(
            allow=settings.fetch_rule.allowed,
            allow_http=settings.fetch_allow_http,
            ca_file=settings.fetch_ca_file,
            resolver=resolver,
        )
        self._own = GuardedClient(allow=_ANYWHERE, allow_http=True, ca_file=settings.fetch_ca_file, resolver=resolver)

    def file(
        self,
        address: WebAddress,
        sink: Sink,
        terms: Terms,
        *,
        headers: Mapping[str, str] | None = None,
        own: bool = False,
    ) -> None:
        """Bring the body of a GET into `sink`; errors as of `Fetcher.fetch`.

        `headers` may hold credentials: no other origin is sent them. `own`: the operator named this server in the
        settings, so its address is not asked for. What it redirects to is a stranger's again.
        """
        origin, sent = address.origin, headers
        for _ in range(MAX_REDIRECTS + 1):
            client = self._own if own and address.origin == origin else self._strangers
            with client.stream(
                "GET",
                address,
                seconds=terms.seconds,
                # The sink has the last word on size; this is for one that has none.
                max_bytes=terms.max_bytes + _SLACK_BYTES,
                headers=sent,
                should_stop=terms.should_stop,
            ) as answer:
                if answer.status not in _REDIRECTS:
                    _require_success(address, answer)
                    _take(answer, address, sink)
                    return
                address = _next_hop(address, answer)
                sent = sent if address.origin == origin else None
        raise EgressRefusedError(
            f"More than {MAX_REDIRECTS} redirects, the last to {address}.", code="too_many_redirects"
        )

    def json(self, address: WebAddress, terms: Terms, *, headers: Mapping[str, str]) -> bytes:
        """The body of a GET of the operator's own server, as it is; errors as of `file`."""
        with self._own.stream(
            "GET",
            address,
            seconds=terms.seconds,
            max_bytes=terms.max_bytes,
            headers=headers,
            should_stop=terms.should_stop,
        ) as answer:
            _require_success(address, answer)
            return b"".join(answer.chunks())


def _take(answer: StreamedAnswer, address: WebAddress, sink: Sink) -> None:
    sink.expect(answer.length or 0)
    begun, taken = time.monotonic(), 0
    for chunk in answer.chunks():
        sink.write(chunk)
        taken += len(chunk)
        seconds = time.monotonic() - begun
        if seconds > PACE_SECONDS:
            if taken < seconds * SLOWEST_BYTES_PER_SECOND:
                raise EgressFailedError(f"{address.host} sends too slowly.", code="too_slow")
            begun, taken = time.monotonic(), 0


def _next_hop(address: WebAddress, answer: StreamedAnswer) -> WebAddress:
    try:
        target = address.join(answer.headers.get("Location", ""), schemes=("https", "http"))
    except UrlNotAllowedError as error:
        raise EgressRefusedError(
            f"{address.host} redirects to something that is not followed: {error.detail}", code="redirect_not_allowed"
        ) from error
    if "Location" not in answer.headers:
        raise EgressRefusedError(f"{address.host} redirects to nowhere.", code="redirect_not_allowed")
    if address.scheme == "https" and target.scheme == "http":
        raise EgressRefusedError(f"{address.host} redirects from https to http.", code="redirect_not_allowed")
    return target


def _require_success(address: WebAddress, answer: StreamedAnswer) -> None:
    status = answer.status
    if status == HTTPStatus.OK:
        return
    if status in _MAY_PASS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise EgressFailedError(
            f"{address.host} answered {status}.",
            code="answer_failed",
            retry_after=_retry_after(answer.headers.get("Retry-After", "")),
        )
    raise EgressRefusedError(f"{address.host} answered {status}.", code="answer_refused")


def _retry_after(value: str) -> float | None:
    """Seconds from a header of either form (RFC 9110 section 10.2.3), bounded; None if it says nothing."""
    if value.strip().isdecimal():
        seconds = float(value)
    else:
        try:
            seconds = (email.utils.parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)
