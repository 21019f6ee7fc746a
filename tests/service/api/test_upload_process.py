"""Uploads to the API as a process: lines that break, clients that fall silent, and an API that is killed."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from runaudit.client import Client
from runaudit.client.retry import Retry
from runaudit_service.api.uploads.receiving import CHECKPOINT_BYTES
from runaudit_service.store.database import sync_engine
from tests.service.cutting import poor_line
from tests.service.live import Live, live

MEBIBYTE = 1 << 20
IDLE_SECONDS = 1


@pytest.fixture(scope="module")
def api(postgres_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    with live(postgres_url, valkey_url, folder, RUNAUDIT_BODY_IDLE_SECONDS=str(IDLE_SECONDS)) as running:
        yield running


def begin(api: Live, length: int) -> str:
    answer = httpx.post(f"{api.url}/v1/uploads", json={"length": length}, headers=api.headers)
    return api.url + answer.headers["Location"]


def offset_of(api: Live, place: str) -> int:
    return int(httpx.head(place, headers=api.headers).headers["Upload-Offset"])


def talk(api: Live, method: str, path: str, headers: dict[str, str], body: bytes) -> socket.socket:
    """A connection on which a request was begun, whose body lacks something."""
    host, port = api.url.removeprefix("http://").split(":")
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {api.key}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    return connection


def answer_on(connection: socket.socket) -> bytes:
    """All until the API closes the connection."""
    received = b""
    while data := connection.recv(1 << 16):
        received += data
    return received


def test_a_client_goes_on_where_its_line_broke(api: Live, tmp_path: Path) -> None:
    run = tmp_path / "run.zip"
    run.write_bytes(os.urandom(12 * MEBIBYTE))
    cuts = [5 * MEBIBYTE, 1000, 4 * MEBIBYTE]
    with poor_line(api.url, cut_after=[*cuts]) as line:
        retry = Retry(attempts=4, base=0.1)
        with Client(line.url, api.key, retry=retry, resumable_bytes=MEBIBYTE) as client:
            audit = client.submit(run)
            assert line.cuts == len(cuts)
            assert line.sent < 17 * MEBIBYTE, "what had arrived was sent again"
            before = line.sent
            again = client.submit(run)
            assert line.sent - before < MEBIBYTE, "what is there already was sent again"
    (artifact,) = audit.artifacts
    assert (artifact.sha256, artifact.bytes) == (sha256(run.read_bytes()).hexdigest(), 12 * MEBIBYTE)
    assert again.id == audit.id
    assert "Traceback" not in api.log.read_text()


def test_a_silent_client_is_cut_and_keeps_what_arrived(api: Live) -> None:
    place = begin(api, 1000)
    path = place.removeprefix(api.url)
    started = time.monotonic()
    with talk(api, "PATCH", path, {"Upload-Offset": "0", "Content-Length": "1000"}, b"x" * 300) as connection:
        answer = answer_on(connection)
    assert answer.startswith(b"HTTP/1.1 408") and b'"code":"body_timed_out"' in answer
    assert IDLE_SECONDS <= time.monotonic() - started < IDLE_SECONDS + 5
    assert offset_of(api, place) == 300
    done = httpx.patch(place, content=b"x" * 700, headers=api.headers | {"Upload-Offset": "300"})
    assert done.headers["Upload-Complete"] == "?1"


def test_a_silent_form_is_cut_and_leaves_nothing(api: Live) -> None:
    before = len(api.artifacts())
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": "100000"}
    part = b'--b\r\nContent-Disposition: form-data; name="artifact"; filename="run.zip"\r\n\r\nrun'
    with talk(api, "POST", "/v1/audits", headers, part) as connection:
        answer = answer_on(connection)
    assert answer.startswith(b"HTTP/1.1 408")
    assert len(api.artifacts()) == before


def test_a_slow_client_that_goes_on_is_not_cut(api: Live) -> None:
    place = begin(api, 6)
    headers = {"Upload-Offset": "0", "Content-Length": "6"}
    with talk(api, "PATCH", place.removeprefix(api.url), headers, b"x") as connection:
        for _ in range(5):
            time.sleep(IDLE_SECONDS * 0.5)
            connection.sendall(b"x")
        assert connection.recv(12) == b"HTTP/1.1 204"


def test_a_long_answer_is_waited_for_though_nothing_is_sent(api: Live) -> None:
    """The limit is for bodies: one who waits for an audit says nothing all the while."""
    audit = httpx.post(f"{api.url}/v1/audits", files={"artifact": ("a.zip", b"a")}, headers=api.headers).json()
    started = time.monotonic()
    answer = httpx.get(f"{api.url}/v1/audits/{audit['id']}?wait={IDLE_SECONDS * 2.5}", headers=api.headers)
    assert answer.status_code == 200
    assert time.monotonic() - started >= IDLE_SECONDS * 2.5


def test_what_was_told_survives_a_killed_api(fresh_postgres_url: str, valkey_url: str, tmp_path: Path) -> None:
    length = CHECKPOINT_BYTES + 6 * MEBIBYTE
    block = os.urandom(MEBIBYTE)
    digest = sha256(block * (length // MEBIBYTE)).hexdigest()
    with live(fresh_postgres_url, valkey_url, tmp_path) as api:
        answer = httpx.post(f"{api.url}/v1/uploads", json={"length": length, "sha256": digest}, headers=api.headers)
        path = answer.headers["Location"]
        stalled = threading.Event()

        def most() -> Iterator[bytes]:
            for _ in range(length // MEBIBYTE - 1):
                yield block
            stalled.wait(60)
            raise ConnectionError

        def send() -> None:
            headers = api.headers | {"Upload-Offset": "0", "Content-Length": str(length)}
            with pytest.raises((httpx.TransportError, ConnectionError)):
                httpx.patch(f"{api.url}{path}", content=most(), headers=headers, timeout=60)

        sending = threading.Thread(target=send)
        sending.start()
        end = time.monotonic() + 60
        while (told := offset_of(api, f"{api.url}{path}")) == 0 and time.monotonic() < end:
            time.sleep(0.05)
        api.process.kill()
        api.process.wait()
        stalled.set()
        sending.join()
        key = api.key
    assert told >= CHECKPOINT_BYTES
    with live(fresh_postgres_url, valkey_url, tmp_path, key=key) as api:
        place = f"{api.url}{path}"
        headers = api.headers | {"Upload-Offset": str(told)}
        rest = (block * 7)[told % MEBIBYTE :][: length - told]
        busy = httpx.patch(place, content=rest, headers=headers)
        assert (busy.status_code, busy.json()["code"]) == (409, "upload_busy")
        engine = sync_engine(fresh_postgres_url)
        with engine.begin() as connection:
            # In place of waiting for the lease of the one that was killed.
            connection.execute(text("UPDATE uploads SET held_until = now() - interval '1 second'"))
        engine.dispose()
        assert offset_of(api, place) == told
        assert httpx.patch(place, content=rest, headers=headers, timeout=60).headers["Upload-Complete"] == "?1"
        audit = httpx.post(f"{api.url}/v1/audits", json={"upload_id": path.rpartition("/")[2]}, headers=api.headers)
    assert audit.json()["artifacts"][0]["sha256"] == digest
