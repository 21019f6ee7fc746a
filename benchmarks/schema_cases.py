"""Generated requests against the live service, by its OpenAPI document: none may end in a server error.

    python -m benchmarks.schema_cases [--cases 10000] [--seed 1]

The API runs as a process on a database and a broker of its own. schemathesis takes each operation with values that fit
the document and values that do not, and follows the document's links from a POST to the calls that take its id. Counts
what the API itself counts. Target: of 10,000 requests none is answered with a server error.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from sqlalchemy.orm import Session

from benchmarks.embedded_broker import embedded_broker
from benchmarks.embedded_database import embedded_database
from runaudit_service.store import keys
from runaudit_service.store.database import sync_engine
from runaudit_service.store.migrate import upgrade


def first_key(url: str) -> str:
    """The key of a database that has none yet."""
    engine = sync_engine(url, pool_size=1)
    with Session(engine) as session:
        key = keys.ensure_default(session)
        session.commit()
    engine.dispose()
    if key is None:
        raise RuntimeError("the database has a key already")
    return key


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Until the API answers. Raises RuntimeError if it ends or takes a minute."""
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        try:
            if httpx.get(f"{url}/readyz", trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise RuntimeError("the API did not become ready")


def generate(url: str, key: str, examples: int, seed: int, folder: Path) -> str:
    """Send `examples` requests of each operation, valid ones and others, and as many sequences; what was said of it."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"]
    command += ["-H", f"Authorization: Bearer {key}", "--checks", "not_a_server_error", "-n", str(examples)]
    command += ["--phases", "examples,fuzzing,stateful", "--continue-on-failure", "--no-shrink", "--seed", str(seed)]
    # A stream of events lasts as long as its audit, and no worker is there to end one.
    command += ["--exclude-path-regex", "/events$", "--suppress-health-check", "all", "--request-timeout", "20"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def requests_of(url: str) -> int:
    """How many requests the API has answered."""
    return _counted(url, r"\d+")


def errors_of(url: str) -> int:
    """How many of them with 500 or more, but 503, which says that a part is away, and 507, that the disk is full."""
    return _counted(url, r"(?!503|507)5\d\d")


def _counted(url: str, status: str) -> int:
    figures = httpx.get(f"{url}/metrics", trust_env=False).raise_for_status().text
    line = rf'^runaudit_http_request_seconds_count{{[^}}]*status="{status}"[^}}]*}} (\S+)$'
    return int(sum(float(count) for count in re.findall(line, figures, re.MULTILINE)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000, help="requests to send, at least")
    parser.add_argument("--examples", type=int, default=100, help="of each operation and phase at most, in one pass")
    parser.add_argument("--seed", type=int, default=1, help="of the first pass; each further one has the next")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, embedded_database() as database, embedded_broker() as broker:
        folder, port = Path(name), free_port()
        database.create_database()
        upgrade(database.url())
        key, url = first_key(database.url()), f"http://127.0.0.1:{port}"
        environment = os.environ | {
            "RUNAUDIT_DATABASE_URL": database.url(),
            "RUNAUDIT_BROKER_URL": broker,
            "RUNAUDIT_DATA_DIR": str(folder / "data"),
            "RUNAUDIT_PORT": str(port),
            "RUNAUDIT_REQUESTS_PER_MINUTE": "0",
        }
        written = folder / "api.log"
        with written.open("wb") as log:
            command = [sys.executable, "-m", "runaudit_service.api"]
            api = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            wait_until_ready(url, api)
            seed, said = options.seed, ""
            while (sent := requests_of(url)) < options.cases:
                said = generate(url, key, options.examples, seed, folder)
                seed += 1
                if requests_of(url) < sent + 100:
                    raise RuntimeError(f"schemathesis sent next to nothing: {said[-2000:]}")
                print(f"  {requests_of(url)} requests, {errors_of(url)} server errors", flush=True)
            failed = errors_of(url)
        finally:
            api.send_signal(signal.SIGTERM)
            api.wait(30)
        print(f"{sent} generated requests, {failed} answered with a server error (target: 0 of 10,000)")
        if failed:
            print(said)
            print("".join(line for line in written.open() if '"level": "error"' in line)[-20_000:])
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
