"""What uploads cost the API: memory while a large artifact comes in, and the time of others while 200 clients dawdle.

    python -m benchmarks.uploads [--gibibytes 5] [--clients 200] [--seconds 20]

Targets: the API's memory grows by less than 50 MB, and the p99 of others stays below 250 ms. The API is a process of
its own on the embedded PostgreSQL and Valkey; the load comes from this process, on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from benchmarks.live_api import LiveApi, running_api

MEBIBYTE = 1 << 20
MEMORY_TARGET_BYTES = 50_000_000
P99_TARGET_SECONDS = 0.25
SAMPLE_SECONDS = 0.05
OTHERS = 4
FORM_HEAD = b'--b\r\nContent-Disposition: form-data; name="artifact"; filename="run.zip"\r\n\r\n'
FORM_END = b"\r\n--b--\r\n"


@contextmanager
def watched_memory(api: LiveApi) -> Iterator[list[int]]:
    """Samples of the API's memory, taken until the end of the context."""
    samples = [api.memory()]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(SAMPLE_SECONDS):
            samples.append(api.memory())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield samples
    finally:
        ended.set()
        watching.join()


def blocks(size: int) -> Iterator[bytes]:
    block = os.urandom(MEBIBYTE)
    for _ in range(size // MEBIBYTE):
        yield block


def by_pieces(api: LiveApi, size: int) -> None:
    """One resumable upload in two requests, so that its bytes are read again at the end."""
    place = httpx.post(f"{api.url}/v1/uploads", json={"length": size}, headers=api.headers).headers["Location"]
    for offset in (0, size // 2):
        headers = api.headers | {"Upload-Offset": str(offset), "Content-Length": str(size // 2)}
        answer = httpx.patch(f"{api.url}{place}", content=blocks(size // 2), headers=headers, timeout=600)
        assert answer.status_code == 204, answer.text


def by_form(api: LiveApi, size: int) -> None:
    def form() -> Iterator[bytes]:
        yield FORM_HEAD
        yield from blocks(size)
        yield FORM_END

    headers = api.headers | {"Content-Type": "multipart/form-data; boundary=b"}
    answer = httpx.post(f"{api.url}/v1/audits", content=form(), headers=headers, timeout=600)
    assert answer.status_code == 202, answer.text


def measure_memory(api: LiveApi, size: int) -> None:
    for name, send in (("resumable upload", by_pieces), ("form", by_form)):
        send(api, 8 * MEBIBYTE)
        started = time.monotonic()
        with watched_memory(api) as samples:
            send(api, size)
        grown, seconds = max(samples) - samples[0], time.monotonic() - started
        met = "met" if grown < MEMORY_TARGET_BYTES else "NOT MET"
        print(
            f"{name} of {size / 2**30:g} GiB: memory {samples[0] / 1e6:.0f} MB, at most {grown / 1e6:+.1f} MB "
            f"(target below +50 MB: {met}); {size / seconds / 1e6:.0f} MB/s"
        )


def begun(api: LiveApi, count: int) -> list[str]:
    """The places of uploads of which nothing has come yet."""
    with httpx.Client(base_url=api.url, headers=api.headers, timeout=60) as client:
        return [client.post("/v1/uploads", json={"length": 1_000_000}).headers["Location"] for _ in range(count)]


async def dawdle(api: LiveApi, place: str | None) -> None:
    """Send a byte a second, of the upload at `place` or of a form, until cancelled."""
    host, port = api.url.removeprefix("http://").split(":")
    head = f"Host: x\r\nAuthorization: Bearer {api.key}\r\nContent-Length: 1000000\r\n"
    if place is None:
        head = f"POST /v1/audits HTTP/1.1\r\n{head}Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        body = FORM_HEAD
    else:
        head = f"PATCH {place} HTTP/1.1\r\n{head}Upload-Offset: 0\r\n\r\n"
        body = b""
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode() + body)
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(1)


async def times_of_others(api: LiveApi, path: str, seconds: float) -> list[float]:
    """What a GET takes, for OTHERS clients that each ask again as soon as they are answered."""
    times: list[float] = []
    end = time.monotonic() + seconds

    async def ask() -> None:
        async with httpx.AsyncClient(base_url=api.url, headers=api.headers, timeout=60) as client:
            while time.monotonic() < end:
                started = time.perf_counter()
                answer = await client.get(path)
                times.append(time.perf_counter() - started)
                assert answer.status_code == 200

    await asyncio.gather(*(ask() for _ in range(OTHERS)))
    return times


async def measure_slow_clients(api: LiveApi, clients: int, seconds: float) -> None:
    audit = httpx.post(f"{api.url}/v1/audits", files={"artifact": ("run.zip", b"run")}, headers=api.headers).json()
    path = audit["links"]["self"]
    alone = await times_of_others(api, path, seconds)
    places = [*begun(api, clients // 2), *[None] * (clients - clients // 2)]
    slow = [asyncio.create_task(dawdle(api, place)) for place in places]
    await asyncio.sleep(3)
    beside = await times_of_others(api, path, seconds)
    ended = [task for task in slow if task.done()]
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    assert not ended, f"{len(ended)} slow clients were cut"
    for name, times in (("alone", alone), (f"beside {clients} clients at 1 byte a second", beside)):
        p99 = statistics.quantiles(times, n=100)[98]
        print(f"GET {name}: p50 {statistics.median(times) * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms, n {len(times)}")
    met = "met" if statistics.quantiles(beside, n=100)[98] < P99_TARGET_SECONDS else "NOT MET"
    print(f"p99 beside slow clients below {P99_TARGET_SECONDS * 1e3:.0f} ms: {met}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gibibytes", type=float, default=5, help="0 leaves the memory out")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    size = int(options.gibibytes * 1024) // 2 * 2 * MEBIBYTE
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < 4 * size + 2**31:
        sys.exit(f"{4 * size + 2**31} bytes have to be free in {tempfile.gettempdir()}, and {free} are")
    with running_api() as api:
        if size:
            measure_memory(api, size)
        asyncio.run(measure_slow_clients(api, options.clients, options.seconds))


if __name__ == "__main__":
    main()
