"""The API as a process: sockets, memory, a full disk, and its end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from runaudit_service.api.idempotency import LEASE
from runaudit_service.store import queue
from runaudit_service.store.database import sync_engine
from runaudit_service.store.models import Job
from tests.service.clients import code_of
from tests.service.live import Live, live

MEBIBYTE = 1 << 20
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
HEAD = b'--b\r\nContent-Disposition: form-data; name="artifact"; filename="run.zip"\r\n\r\n'
END = b"\r\n--b--\r\n"


@pytest.fixture
def api(fresh_postgres_url: str, valkey_url: str, tmp_path: Path) -> Iterator[Live]:
    with live(fresh_postgres_url, valkey_url, tmp_path) as running:
        yield running


def zeros(mebibytes: int) -> Iterator[bytes]:
    """A form with an artifact of this size."""
    chunk = bytes(MEBIBYTE)
    yield HEAD
    for _ in range(mebibytes):
        yield chunk
    yield END


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_it_serves_and_ends_on_sigterm_though_clients_wait(api: Live) -> None:
    with httpx.Client(base_url=api.url, headers=api.headers, timeout=40) as client:
        audit = client.post("/v1/audits", files={"artifact": ("run.zip", b"run")}).json()
        answers: list[httpx.Response] = []
        waiting = threading.Thread(target=lambda: answers.append(client.get(f"/v1/audits/{audit['id']}?wait=30")))
        waiting.start()
        time.sleep(1)
        started = time.monotonic()
        api.process.send_signal(signal.SIGTERM)
        code = api.process.wait(20)
        waiting.join()
    assert time.monotonic() - started < 15
    assert [(answer.status_code, answer.json()["state"]) for answer in answers] == [(200, "queued")]
    assert code in (0, -signal.SIGTERM)
    assert "Traceback" not in api.log.read_text()


def test_a_body_is_not_read_for_a_stranger(api: Live) -> None:
    """The answer comes though the announced gigabyte never does."""
    host, port = api.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as stranger:
        stranger.sendall(
            b"POST /v1/audits HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + HEAD
        )
        assert stranger.recv(12) == b"HTTP/1.1 401"
    assert api.artifacts() == []


def test_a_client_that_hangs_up_leaves_nothing(api: Live) -> None:
    host, port = api.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(
            b"POST /v1/audits HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n"
            b"Authorization: Bearer " + api.key.encode() + b"\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + HEAD + bytes(3 * MEBIBYTE)
        )
        assert eventually(lambda: sum(path.stat().st_size for path in api.artifacts()) >= 2 * MEBIBYTE)
    assert eventually(lambda: api.artifacts() == [])
    assert httpx.get(f"{api.url}/healthz").status_code == 200
    assert "Traceback" not in api.log.read_text()


def test_a_killed_api_s_hold_on_a_key_ends_within_seconds(
    api: Live, fresh_postgres_url: str, valkey_url: str, tmp_path: Path
) -> None:
    host, port = api.url.removeprefix("http://").split(":")
    engine = sync_engine(fresh_postgres_url).execution_options(isolation_level="AUTOCOMMIT")
    held = text("SELECT extract(epoch FROM expires_at - clock_timestamp()) FROM idempotency_keys WHERE status IS NULL")
    with socket.create_connection((host, int(port)), timeout=10) as client, engine.connect() as connection:
        client.sendall(
            b"POST /v1/audits HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\nIdempotency-Key: k\r\n"
            b"Authorization: Bearer " + api.key.encode() + b"\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" + HEAD
        )
        assert eventually(lambda: connection.execute(held).first() is not None)
        api.process.kill()
        api.process.wait()
        left = connection.execute(held).scalar_one()
    assert 0 < left <= LEASE.total_seconds() <= 60
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE idempotency_keys SET expires_at = expires_at - make_interval(secs => :left)"), {"left": left}
        )
    engine.dispose()
    (tmp_path / "next").mkdir()
    with live(fresh_postgres_url, valkey_url, tmp_path / "next", key=api.key) as following:
        files, key = {"artifact": ("run.zip", b"run")}, {"Idempotency-Key": "k"}
        answer = httpx.post(f"{following.url}/v1/audits", files=files, headers=following.headers | key)
    assert answer.status_code == 202


def test_a_full_disk_is_told_and_survived(fresh_postgres_url: str, valkey_url: str, tmp_path: Path) -> None:
    """The process may write files of 4 MiB at most; the system answers a longer one as it answers a full disk."""
    with live(fresh_postgres_url, valkey_url, tmp_path, largest_file=4 * MEBIBYTE) as api:
        response = httpx.post(f"{api.url}/v1/audits", content=zeros(8), headers=api.headers | FORM)
        assert (response.status_code, code_of(response)) == (507, "storage_full")
        assert api.artifacts() == []
        assert httpx.post(f"{api.url}/v1/audits", content=zeros(2), headers=api.headers | FORM).status_code == 202


@pytest.mark.slow  # sends 200 MiB
def test_memory_stays_flat_while_an_artifact_comes_in(api: Live) -> None:
    httpx.post(f"{api.url}/v1/audits", content=zeros(4), headers=api.headers | FORM, timeout=60)
    before = api.peak_memory()
    response = httpx.post(f"{api.url}/v1/audits", content=zeros(200), headers=api.headers | FORM, timeout=120)
    assert response.json()["artifacts"][0]["bytes"] == 200 * MEBIBYTE
    assert api.peak_memory() - before < 16 * MEBIBYTE


def test_a_port_in_use_is_an_error(api: Live, fresh_postgres_url: str, valkey_url: str, tmp_path: Path) -> None:

    environment = {
        **os.environ,
        "RUNAUDIT_DATABASE_URL": fresh_postgres_url,
        "RUNAUDIT_BROKER_URL": valkey_url,
        "RUNAUDIT_DATA_DIR": str(tmp_path / "second"),
        "RUNAUDIT_PORT": api.url.rpartition(":")[2],
    }
    second = subprocess.run([sys.executable, "-m", "runaudit_service.api"], env=environment, timeout=60, check=False)
    assert second.returncode != 0


def test_the_front_desk_starts_without_what_runs_models() -> None:
    """Import-linter sees imports as they are written; this sees what a process really loads."""
    program = (
        "import sys, runaudit_service.api.app; "
        "print([name for name in ('torch', 'ultralytics', 'cv2', 'runaudit_worker', 'runaudit.isolation') "
        "if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_the_log_has_the_ids_of_a_request_which_go_with_its_job(
    fresh_postgres_url: str, valkey_url: str, tmp_path: Path
) -> None:
    with live(fresh_postgres_url, valkey_url, tmp_path) as api:
        given = api.headers | {"X-Request-ID": "my-request.1"}
        answer = httpx.post(f"{api.url}/v1/audits", files={"artifact": ("run.zip", b"run")}, headers=given)
        assert answer.headers["X-Request-ID"] == "my-request.1"
        missing = httpx.get(f"{api.url}/v1/audits/none", headers=api.headers | {"X-Request-ID": "a b"})
        assert missing.json()["request_id"] == missing.headers["X-Request-ID"] != "a b"
    lines = [json.loads(line) for line in api.log.read_text().splitlines()]
    told = next(line for line in lines if line.get("request_id") == "my-request.1")
    assert (told["audit_id"], told["route"], told["status"]) == (answer.json()["id"], "/v1/audits", 202)
    engine = sync_engine(fresh_postgres_url)
    with Session(engine) as session:
        job = session.scalars(select(Job)).one()
        assert (str(job.id), job.request_id) == (told["job_id"], "my-request.1")
    claimed = queue.claim(engine, ["gpu"], "worker", 60)
    assert claimed is not None
    assert (claimed.request_id, str(claimed.tenant_id)) == ("my-request.1", told["tenant_id"])
    engine.dispose()


def connected(api: Live) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", int(api.url.rpartition(":")[2])))
    made.settimeout(20)
    return made


def answered(connection: socket.socket) -> bytes:
    """All that comes until the service closes."""
    come = b""
    try:
        while piece := connection.recv(65536):
            come += piece
    except ConnectionError:
        pass
    return come


def test_heads_that_do_not_end_cost_neither_memory_nor_a_connection_for_ever(
    fresh_postgres_url: str, valkey_url: str, tmp_path: Path
) -> None:
    """Nobody needs a key for these."""
    with live(fresh_postgres_url, valkey_url, tmp_path, RUNAUDIT_BODY_IDLE_SECONDS="2") as api:
        assert httpx.get(f"{api.url}/healthz", headers={"X-Large": "y" * 30_000}).status_code == 200
        before = api.peak_memory()
        line = b"X: " + b"y" * 65_000 + b"\r\n"
        body = b"POST /v1/audits HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n"
        for begun in (b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET /", body):
            with connected(api) as connection:
                connection.sendall(begun)
                try:
                    for _ in range(1000):
                        connection.sendall(line)
                except ConnectionError:
                    pass
                else:
                    raise AssertionError("65 MB of a head were taken")
        assert api.peak_memory() - before < 20 * MEBIBYTE
        silent, half, slow = (connected(api) for _ in range(3))
        half.sendall(b"GET /healthz HTTP/1.1\r\n")
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
        first = b""
        while b"alive" not in first:
            first += slow.recv(65536)
        slow.sendall(b"GET /healthz HTTP/1.1\r\n")
        for connection in (silent, half, slow):
            assert b"HTTP" not in answered(connection)
            connection.close()


def closed_within(connection: socket.socket, seconds: float, drop: bytes) -> bool:
    """Whether the service closes while a client sends this much twice a second, and reads."""
    end = time.monotonic() + seconds
    connection.settimeout(0.5)
    while time.monotonic() < end:
        try:
            connection.sendall(drop)
            if not connection.recv(65536):
                return True
        except TimeoutError:
            pass
        except ConnectionError:
            return True
    return False


def test_no_connection_is_kept_for_ever_by_what_follows_its_answer(
    fresh_postgres_url: str, valkey_url: str, tmp_path: Path
) -> None:
    """Nobody needs a key for these: an answer was given, or could be, and only drops come after it."""
    with live(fresh_postgres_url, valkey_url, tmp_path, RUNAUDIT_BODY_IDLE_SECONDS="2") as api:
        refused = b"POST /v1/audits HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
        answered_already = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        now = str(int(time.time())).encode()
        unsigned = (
            b"POST /v1/hooks/mlflow HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"X-MLflow-Signature: v1,AAAA\r\nX-MLflow-Delivery-Id: one\r\nX-MLflow-Timestamp: " + now + b"\r\n"
            b"Content-Length: 1000000\r\n\r\n"
        )
        for begun, drop in ((refused, b"x"), (answered_already, b"\r\n"), (unsigned, b" ")):
            with connected(api) as connection:
                connection.sendall(begun)
                assert closed_within(connection, 12, drop), begun


def test_who_does_not_read_its_answers_is_let_go(fresh_postgres_url: str, valkey_url: str, tmp_path: Path) -> None:
    with live(fresh_postgres_url, valkey_url, tmp_path, RUNAUDIT_BODY_IDLE_SECONDS="1") as api:
        size = len(httpx.get(f"{api.url}/openapi.json").content)
        with connected(api) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            # Far more than the system's buffers take.
            deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * (20 * MEBIBYTE // size))

            def is_let_go() -> bool:
                try:
                    deaf.send(b"\r\n")
                except ConnectionError:
                    return True
                return False

            assert eventually(is_let_go)


def test_who_reads_slowly_is_served(fresh_postgres_url: str, valkey_url: str, tmp_path: Path) -> None:
    with live(fresh_postgres_url, valkey_url, tmp_path, RUNAUDIT_BODY_IDLE_SECONDS="1") as api:
        size = len(httpx.get(f"{api.url}/openapi.json").content)
        wanted = 16 * MEBIBYTE // size
        with connected(api) as slow:
            slow.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * wanted)
            come = 0
            while come < wanted * size:
                come += (piece := len(slow.recv(MEBIBYTE)))
                assert piece, f"closed after {come} of {wanted * size} bytes"
                time.sleep(piece / (2 * MEBIBYTE))


def test_who_was_refused_early_may_send_the_rest_and_go_on(
    fresh_postgres_url: str, valkey_url: str, tmp_path: Path
) -> None:
    with (
        live(fresh_postgres_url, valkey_url, tmp_path, RUNAUDIT_BODY_IDLE_SECONDS="1") as api,
        connected(api) as client,
    ):
        size = 8 * MEBIBYTE
        client.sendall(b"POST /v1/audits HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(16):
            client.sendall(bytes(size // 16))
            time.sleep(0.25)
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        come = answered(client)
    assert come.startswith(b"HTTP/1.1 401 ")
    assert b"HTTP/1.1 200 " in come


def test_a_body_may_come_in_chunks_of_a_byte(api: Live) -> None:
    answer = httpx.post(
        f"{api.url}/v1/projects",
        content=iter([bytes([byte]) for byte in json.dumps({"name": "x" * 200}).encode() + b" " * 30_000]),
        headers={**api.headers, "Content-Type": "application/json"},
    )
    assert answer.status_code == 201
