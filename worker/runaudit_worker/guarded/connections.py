"""Connections to checked addresses only: what httpcore's pools are given in place of their own network code."""

from __future__ import annotations

import asyncio
import queue
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

import httpcore

from runaudit.errors import CancelledError
from runaudit_service.store.address_rule import AddressRule
from runaudit_worker.guarded.addresses import Resolver, permitted_addresses
from runaudit_worker.guarded.errors import EgressError, EgressFailedError

CONNECT_SECONDS: Final = 10.0
"""to resolve a name, and again for each address to answer and for TLS to be set up"""
_LOOK_SECONDS: Final = 1.0
"""how long a stop may go unheard in a silent connection"""

SocketOptions = Iterable[Any]


@dataclass(frozen=True)
class Gate:
    """What decides where to connect."""

    rule: AddressRule
    resolver: Resolver

    def addresses(self, host: str, port: int) -> list[str]:
        """Raises EgressError. Blocks."""
        return permitted_addresses(self.rule, self.resolver, host, port)


class Patience:
    """How long one exchange may take in all, on the monotonic clock, and whether it is still wanted."""

    def __init__(self, seconds: float, should_stop: Callable[[], bool] = lambda: False) -> None:
        self._end = time.monotonic() + seconds
        self._should_stop = should_stop

    def left(self, at_most: float | None = None) -> float:
        """Seconds that the next step may take. Raises EgressFailedError (`too_slow`) and CancelledError."""
        if self._should_stop():
            raise CancelledError("The exchange with another server was stopped.")
        left = self._end - time.monotonic()
        if left <= 0:
            raise EgressFailedError("The server took longer than it may in all.", code="too_slow")
        return left if at_most is None else min(left, at_most)


class GuardedBackend(httpcore.NetworkBackend):
    """Connects one exchange: each of its steps, down to single reads, keeps to its patience."""

    def __init__(self, gate: Gate, patience: Patience) -> None:
        self._gate = gate
        self._patience = patience
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("no address")
        for address in self._resolved(host, port):
            try:
                plain = self._plain.connect_tcp(address, port, self._patience.left(timeout), None, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _PatientStream(plain, self._patience)
        raise failure

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: SocketOptions | None = None
    ) -> httpcore.NetworkStream:
        raise EgressFailedError("Sockets of this machine are not connected to.")

    def sleep(self, seconds: float) -> None:
        time.sleep(self._patience.left(seconds))

    def _resolved(self, host: str, port: int) -> list[str]:
        """In a thread of its own, for a resolver knows no deadline."""
        answer: queue.SimpleQueue[list[str] | EgressError] = queue.SimpleQueue()

        def ask() -> None:
            try:
                answer.put(self._gate.addresses(host, port))
            except EgressError as error:
                answer.put(error)

        threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
        try:
            found = answer.get(timeout=self._patience.left(CONNECT_SECONDS))
        except queue.Empty:
            raise EgressFailedError(f"The name {host} was not resolved in time.", code="host_not_resolved") from None
        if isinstance(found, EgressError):
            raise found
        return found


class _PatientStream(httpcore.NetworkStream):
    """A connection whose reads and writes end with the patience of the exchange, however slowly bytes drip."""

    def __init__(self, plain: httpcore.NetworkStream, patience: Patience) -> None:
        self._plain = plain
        self._patience = patience

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        end = time.monotonic() + self._patience.left(timeout)
        while True:
            try:
                return self._plain.read(max_bytes, self._patience.left(_LOOK_SECONDS))
            except httpcore.ReadTimeout:
                if time.monotonic() >= end:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._plain.write(buffer, self._patience.left(timeout))

    def close(self) -> None:
        self._plain.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        # The handshake's timeout is one of the whole handshake (CPython's _ssl.c keeps a deadline), not of each read.
        secured = self._plain.start_tls(ssl_context, server_hostname, self._patience.left(timeout))
        return _PatientStream(secured, self._patience)

    def get_extra_info(self, info: str) -> Any:
        return self._plain.get_extra_info(info)


class AsyncGuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects for asyncio. Its connections may be kept and used again: their address was checked once, and stays.

    `resolving` runs the resolver, so that a slow name server holds up nobody else's threads.
    """

    def __init__(self, gate: Gate, resolving: Executor) -> None:
        self._gate = gate
        self._resolving = resolving
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore.AsyncNetworkStream:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                addresses = await loop.run_in_executor(self._resolving, self._gate.addresses, host, port)
        except TimeoutError:
            raise EgressFailedError(f"The name {host} was not resolved in time.", code="host_not_resolved") from None
        failure: Exception = httpcore.ConnectError("no address")
        for address in addresses:
            try:
                return await self._plain.connect_tcp(address, port, timeout, None, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: SocketOptions | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise EgressFailedError("Sockets of this machine are not connected to.")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
