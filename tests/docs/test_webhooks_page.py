"""The receiver of docs/webhooks.md, run as it stands: it takes what the service signs, once, and nothing else."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from runaudit_service.store import signing
from runaudit_service.store.webhooks import EVENT_TYPES
from runaudit_worker.webhooks.schedule import DELAYS
from tests.conftest import wait_until
from tests.service.live import free_port

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "webhooks.md").read_text()
BODY = b'{"type":"audit.succeeded","timestamp":"2026-11-24T08:15:31Z","data":{"verdict":"fail","headline":"Too fast."}}'


def example() -> str:
    (found,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


@contextmanager
def receiver(secret: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "WEBHOOK_SECRET": secret, "PORT": str(port)}
    command = [sys.executable, "-c", example()]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: answers(port), what="the receiver answering")
            yield process
        finally:
            process.terminate()


def test_the_receiver_takes_what_is_signed_once() -> None:
    secret, port = signing.new_secret(), free_port()
    with receiver(secret, port) as process:
        now = int(time.time())
        signed = signing.headers("msg_1", now, BODY, [signing.new_secret(), secret])
        url = f"http://127.0.0.1:{port}/"
        assert [httpx.post(url, content=BODY, headers=signed).status_code for _ in range(2)] == [204, 204]
        for wrong in (
            signing.headers("msg_2", now, BODY, [signing.new_secret()]),
            signing.headers("msg_2", now, BODY + b" ", [secret]),
            signing.headers("msg_2", now - 3600, BODY, [secret]),
            {**signed, "webhook-id": "msg_2"},
            {},
        ):
            assert httpx.post(url, content=BODY, headers=wrong).status_code == 400
        process.terminate()
        output, _ = process.communicate(timeout=20)
    assert output.decode() == "audit.succeeded fail Too fast.\n"


def test_the_page_tells_every_event_and_the_whole_schedule() -> None:
    assert re.findall(r"^\| `([a-z.]+)` \|", PAGE, re.MULTILINE) == list(EVENT_TYPES)
    (row,) = re.findall(r"^\| after the one before \| (.*) \|$", PAGE, re.MULTILINE)
    units = {"s": 1, "min": 60, "h": 3600}
    told = [float(number) * units[unit] for number, unit in (cell.split() for cell in row.split(" | "))]
    assert told == list(DELAYS)
