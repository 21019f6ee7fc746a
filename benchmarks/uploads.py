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
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.embedded_database import embedded_database
from runaudit_service.embedded import valkey
from runaudit_service.embedded.part import stop
from runaudit_service.store.prepare import prepare

MEBIBYTE = 1 << 20
MEMORY_TARGET_BYTES = 50_000_000
P99_TARGET_SECONDS = 0.25
SAMPLE_SECONDS = 0.05
START_SECONDS = 120
OTHERS = 4
FORM_HEAD = b'--b\r\nContent-Disposition: form-data; name="artifact"; filename="run.zip"\r\n\r\n'
FORM_END = b"\r\n--b--\r\n"


@dataclass(frozen=True)
class Api:
    url: str
    key: str
    process: subprocess.Popen[bytes]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def memory(self) -> int:
        """Resident bytes now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE")


@contextmanager
def running_api() -> Iterator[Api]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="runaudit-benchmark-")))
        server = stack.enter_context(embedded_database())
        server.create_database("runaudit")
        key = prepare(server.url("runaudit"))
        assert key is not None
        broker = valkey.prepare(folder)
        part = broker.part(folder / "valkey.log")
        stack.callback(stop, part.start(), part)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment = os.environ | {
            "RUNAUDIT_DATABASE_URL": server.url("runaudit"),
            "RUNAUDIT_BROKER_URL": broker.url,
            "RUNAUDIT_DATA_DIR": str(folder / "data"),
            "RUNAUDIT_PORT": str(port),
            "RUNAUDIT_REQUESTS_PER_MINUTE": "1000000",
        }
        process = subprocess.Popen([sys.executable, "-m", "runaudit_service.api"], env=environment)
        stack.callback(process.wait)
        stack.callback(process.send_signal, signal.SIGTERM)
        api = Api(f"http://127.0.0.1:{port}", key, process)
        _wait_until_ready(api)
        yield api


def _wait_until_ready(api: Api) -> None:
    end = time.monotonic() + START_SECONDS
    while api.process.poll() is None and time.monotonic() < end:
        try:
            if httpx.get(f"{api.url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError("the API did not become ready")


@contextmanager
def watched_memory(api: Api) -> Iterator[list[int]]:
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


def by_pieces(api: Api, size: int) -> None:
    """One resumable upload in two requests, so that its bytes are read again at the end."""
    place = httpx.post(f"{api.url}/v1/uploads", json={"length": size}, headers=api.headers).headers["Location"]
    for offset in (0, size // 2):
        headers = api.headers | {"Upload-Offset": str(offset), "Content-Length": str(size // 2)}
        answer = httpx.patch(f"{api.url}{place}", content=blocks(size // 2), headers=headers, timeout=600)
        assert answer.status_code == 204, answer.text


def by_form(api: Api, size: int) -> None:
    def form() -> Iterator[bytes]:
        yield FORM_HEAD
        yield from blocks(size)
        yield FORM_END

    headers = api.headers | {"Content-Type": "multipart/form-data; boundary=b"}
    answer = httpx.post(f"{api.url}/v1/audits", content=form(), headers=headers, timeout=600)
    assert answer.status_code == 202, answer.text


def measure_memory(api: Api, size: int) -> None:
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


def begun(api: Api, count: int) -> list[str]:
    """The places of uploads of which nothing has come yet."""
    with httpx.Client(base_url=api.url, headers=api.headers, timeout=60) as client:
        return [client.post("/v1/uploads", json={"length": 1_000_000}).headers["Location"] for _ in range(count)]


async def dawdle(api: Api, place: str | None) -> None:
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


async def times_of_others(api: Api, path: str, seconds: float) -> list[float]:
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


async def measure_slow_clients(api: Api, clients: int, seconds: float) -> None:
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
