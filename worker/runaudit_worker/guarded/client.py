"""The clients: one exchange with another server, over checked addresses, with an end in time and size."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import certifi
import httpcore
import httpx

from runaudit import __version__
from runaudit_service.store.address_rule import AddressRule
from runaudit_service.store.web_address import Network, UrlNotAllowedError, WebAddress
from runaudit_worker.guarded.addresses import Resolver, resolve
from runaudit_worker.guarded.connections import CONNECT_SECONDS, AsyncGuardedBackend, Gate, GuardedBackend, Patience
from runaudit_worker.guarded.errors import EgressError, EgressFailedError, EgressRefusedError

# Its lines for debugging hold headers of answers; a Location or a cookie may be a secret.
logging.getLogger("httpcore").setLevel(logging.WARNING)

IDLE_SECONDS: Final = 30.0
"""how long a server may say nothing"""
KEEP_ALIVE_SECONDS: Final = 5.0
_BODY_METHODS: Final = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True)
class Answer:
    """A whole answer. Its body is as it was sent, never decompressed."""

    status: int
    headers: httpx.Headers
    body: bytes


class StreamedAnswer:
    """An answer whose body is still to come: read it once, by `chunks`."""

    def __init__(self, plain: httpcore.Response, max_bytes: int, host: str) -> None:
        self.status = plain.status
        self.headers = httpx.Headers(plain.headers)
        self._plain = plain
        self._max_bytes = max_bytes
        self._host = host

    @property
    def length(self) -> int | None:
        """The number of bytes that the server announced, if it did."""
        return _announced(self.headers)

    def chunks(self) -> Iterator[bytes]:
        """The body, a piece at a time.

        Raises:
            EgressRefusedError: `encoding_not_allowed`, or `too_large` at the first byte over `max_bytes`.
            EgressFailedError: `too_slow`, or `answer_malformed`: it ended early.
        """
        _require_plain(self.headers, self._host)
        _require_size(self.length or 0, self._max_bytes, self._host)
        taken = 0
        with _errors_of(self._host):
            for chunk in self._plain.iter_stream():
                taken += len(chunk)
                _require_size(taken, self._max_bytes, self._host)
                yield chunk


class _Guard:
    """What both clients have in common: where they may connect, and how they know a server."""

    def __init__(
        self,
        *,
        allow: Iterable[Network] = (),
        allow_http: bool = False,
        ports: Iterable[int] = (80, 443),
        ca_file: Path | None = None,
        resolver: Resolver = resolve,
    ) -> None:
        self.schemes: tuple[str, ...] = ("https", "http") if allow_http else ("https",)
        self._gate = Gate(AddressRule(tuple(allow), frozenset(ports)), resolver)
        # Not the environment's authorities (SSL_CERT_FILE): what is trusted stands in the settings.
        self._tls = ssl.create_default_context(cafile=certifi.where())
        if ca_file is not None:
            self._tls.load_verify_locations(cafile=str(ca_file))

    def _request(
        self, method: str, url: WebAddress | str, headers: Mapping[str, str], content: bytes, *, keep: bool
    ) -> tuple[WebAddress, httpcore.Request]:
        address = WebAddress.parse(url, schemes=self.schemes) if isinstance(url, str) else url
        if address.scheme not in self.schemes:
            raise UrlNotAllowedError(f"Only URLs of {' and '.join(self.schemes)} are used here.")
        sent = httpx.Headers({"User-Agent": f"runaudit/{__version__}", "Accept": "*/*"})
        sent.update(headers)
        sent["Host"] = address.authority
        sent["Accept-Encoding"] = "identity"
        sent["Connection"] = "keep-alive" if keep else "close"
        if content or method in _BODY_METHODS:
            sent["Content-Length"] = str(len(content))
        target = httpcore.URL(
            scheme=address.scheme.encode(),
            host=address.host.encode(),
            port=address.port,
            target=address.target.encode(),
        )
        timeouts = {"connect": CONNECT_SECONDS, "read": IDLE_SECONDS, "write": IDLE_SECONDS, "pool": None}
        return address, httpcore.Request(
            method, target, headers=sent.raw, content=content or None, extensions={"timeout": timeouts}
        )


class GuardedClient(_Guard):
    """The client for threads: a connection for each exchange, so that its time limit holds down to single reads."""

    def request(
        self,
        method: str,
        url: WebAddress | str,
        *,
        seconds: float,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """One exchange with its whole answer; see `stream`."""
        with self.stream(
            method, url, seconds=seconds, max_bytes=max_bytes, headers=headers, content=content, should_stop=should_stop
        ) as answer:
            return Answer(answer.status, answer.headers, b"".join(answer.chunks()))

    @contextmanager
    def stream(
        self,
        method: str,
        url: WebAddress | str,
        *,
        seconds: float,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[StreamedAnswer]:
        """One exchange, whose body is read inside the context. A redirect is an answer like any other.

        Args:
            method: the method, in upper case.
            url: where to; as text it is parsed first.
            seconds: the time for all of it, from resolving the name to the last byte of the body.
            max_bytes: the largest body that is taken.
            headers: headers of the request; Host, Accept-Encoding, Connection and Content-Length are set here.
            content: the body of the request.
            should_stop: asked at each step and once a second in between.

        Raises:
            UrlNotAllowedError: the URL, or its scheme here.
            EgressRefusedError: `address_not_allowed`, `certificate_invalid`; while reading the body also `too_large`
                and `encoding_not_allowed`.
            EgressFailedError: `host_not_resolved`, `not_reachable`, `too_slow`, `answer_malformed`.
            CancelledError: `should_stop` said so.
        """
        address, request = self._request(method, url, headers or {}, content, keep=False)
        backend = GuardedBackend(self._gate, Patience(seconds, should_stop))
        with httpcore.ConnectionPool(ssl_context=self._tls, network_backend=backend, max_connections=1) as pool:
            with _errors_of(address.host):
                plain = pool.handle_request(request)
            try:
                yield StreamedAnswer(plain, max_bytes, address.host)
            finally:
                plain.close()


class AsyncGuardedClient(_Guard):
    """The client for asyncio: many exchanges at a time, over connections that are kept for a while."""

    def __init__(
        self,
        *,
        allow: Iterable[Network] = (),
        allow_http: bool = False,
        ports: Iterable[int] = (80, 443),
        ca_file: Path | None = None,
        resolver: Resolver = resolve,
        connections: int = 64,
    ) -> None:
        super().__init__(allow=allow, allow_http=allow_http, ports=ports, ca_file=ca_file, resolver=resolver)
        # One for each connection, and as many for those that were given up: a resolver goes on when nobody waits any
        # more, and must not keep the others waiting.
        self._resolving = ThreadPoolExecutor(2 * connections, thread_name_prefix="resolve")
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=self._tls,
            network_backend=AsyncGuardedBackend(self._gate, self._resolving),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=KEEP_ALIVE_SECONDS,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        self._resolving.shutdown(wait=False, cancel_futures=True)
        await self._pool.aclose()

    async def request(
        self,
        method: str,
        url: WebAddress | str,
        *,
        seconds: float,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        truncate: bool = False,
    ) -> Answer:
        """One exchange with its whole answer; arguments and errors as of `GuardedClient.stream`.

        With `truncate` the body is cut at `max_bytes` instead of refused, and may be compressed: for a log's eyes.
        """
        address, request = self._request(method, url, headers or {}, content, keep=True)
        try:
            with _errors_of(address.host):
                async with asyncio.timeout(seconds):
                    plain = await self._pool.handle_async_request(request)
                    try:
                        return await self._whole(plain, address.host, max_bytes, truncate)
                    finally:
                        await plain.aclose()
        except TimeoutError:
            raise EgressFailedError(f"{address.host} took longer than {seconds:g} s.", code="too_slow") from None

    async def _whole(self, plain: httpcore.Response, host: str, max_bytes: int, truncate: bool) -> Answer:
        headers = httpx.Headers(plain.headers)
        if not truncate:
            _require_plain(headers, host)
            _require_size(_announced(headers) or 0, max_bytes, host)
        body = bytearray()
        stream: AsyncIterable[bytes] = plain.aiter_stream()
        async for chunk in stream:
            body += chunk
            if len(body) >= max_bytes and truncate:
                break
            _require_size(len(body), max_bytes, host)
        return Answer(plain.status, headers, bytes(body[:max_bytes]))


@contextmanager
def _errors_of(host: str) -> Iterator[None]:
    """Our errors in place of httpcore's, whose words would tell a stranger what lies behind an address."""
    try:
        yield
    except EgressError:
        raise
    except (httpcore.ConnectTimeout, httpcore.ReadTimeout, httpcore.WriteTimeout, httpcore.PoolTimeout) as error:
        raise EgressFailedError(f"{host} did not answer in time.", code="too_slow") from error
    except httpcore.ConnectError as error:
        if _is_certificate_trouble(error):
            raise EgressRefusedError(
                f"The certificate of {host} is not one that is trusted here.", code="certificate_invalid"
            ) from error
        raise EgressFailedError(f"{host} can't be connected to.", code="not_reachable") from error
    except httpcore.NetworkError as error:
        raise EgressFailedError(f"{host} broke the connection.", code="not_reachable") from error
    except httpcore.RemoteProtocolError as error:
        raise EgressFailedError(f"{host} did not answer as HTTP has it.", code="answer_malformed") from error
    except httpcore.LocalProtocolError as error:
        raise EgressRefusedError(f"What is to be sent to {host} is not valid in HTTP.") from error


def _is_certificate_trouble(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _announced(headers: httpx.Headers) -> int | None:
    value = headers.get("Content-Length", "")
    return int(value) if value.isdecimal() else None


def _require_plain(headers: httpx.Headers, host: str) -> None:
    """Whatever is compressed may be a bomb, and nobody asked for it."""
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise EgressRefusedError(
            f"{host} sends the body compressed although it was asked not to.", code="encoding_not_allowed"
        )


def _require_size(size: int, max_bytes: int, host: str) -> None:
    if size > max_bytes:
        raise EgressRefusedError(
            f"The answer of {host} is larger than the {max_bytes} bytes that it may have.", code="too_large"
        )
