"""How long it takes from POST to the first line of the child that reads the run, with a worker that is idle.

    python -m benchmarks.start [--rounds 10]

`runaudit serve` runs as it is: database, broker, API, worker. A round posts a small run and looks, every 2 ms, for the
child behind its walls (NoNewPrivs in /proc), which is where it begins with the run. The peer, by turns with it: a bare
Python process that imports that child's modules, to its first line after them. Target: at most 1.5 times the peer.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx

TARGET: Final = 1.5
LOOK_SECONDS: Final = 0.002
LONGEST_WAIT_SECONDS: Final = 300.0
_PEER: Final = "import runaudit.isolation.child, runaudit.isolation.ingest, os; os.write(1, b'here')"


def run_archive(number: int) -> bytes:
    """A zip of a run that left its curves only, another one for each number."""
    lines = ["epoch,train/box_loss,train/cls_loss,train/dfl_loss,metrics/mAP50(B),metrics/mAP50-95(B)"]
    lines += [f"{epoch},{2 / epoch:.5f},{2 / epoch:.5f},1,{epoch / 99:.5f},{epoch / 199:.5f}" for epoch in range(1, 13)]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("exp/results.csv", "\n".join(lines) + "\n")
        archive.writestr("exp/args.yaml", f"task: detect\nmode: train\nmodel: yolov8n.pt\nepochs: 12\nseed: {number}\n")
    return packed.getvalue()


def peer_seconds() -> float:
    """From the start of a bare Python process to its first line after the imports."""
    began = time.perf_counter()
    command = [sys.executable, "-I", "-c", _PEER]
    environment = {"PATH": os.environ.get("PATH", ""), "PYDANTIC_DISABLE_PLUGINS": "__all__", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        process.stdout.read(4)
        return time.perf_counter() - began


def children(process_id: int) -> list[int]:
    """The processes that a process started, in whichever of its threads."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{process_id}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def audit_children(worker: int) -> list[int]:
    """The children that a worker has audits done by: those of its fork server."""
    return [child for server in children(worker) for child in children(server)]


def worker_of(service: int) -> int:
    """The worker process of audits that the service started."""
    for child in children(service):
        command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        if b"runaudit_worker" in command and b"cpu,gpu" in command:
            return child
    raise LookupError("the service has no worker")


def seconds_to_first_line(client: httpx.Client, worker: int, number: int) -> float:
    """One round: posted, seen behind its walls, and waited for to its end."""
    archive = run_archive(number)
    request = json.dumps({"depth": "curves"})
    parts = {"artifact": ("run.zip", archive), "request": (None, request, "application/json")}
    began = time.perf_counter()
    answer = client.post("/v1/audits", files=parts)
    while not any(_walled_in(child) for child in audit_children(worker)):
        if time.perf_counter() - began > LONGEST_WAIT_SECONDS:
            raise TimeoutError("no child began")
        time.sleep(LOOK_SECONDS)
    taken = time.perf_counter() - began
    ended = client.get(answer.raise_for_status().json()["links"]["self"], params={"wait": 60}).json()
    if ended["state"] != "succeeded":
        raise RuntimeError(f"the audit did not succeed: {ended['error']}")
    return taken


def _walled_in(process_id: int) -> bool:
    try:
        return "NoNewPrivs:\t1" in Path(f"/proc/{process_id}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        command = [sys.executable, "-m", "runaudit_service.embedded", "--data-dir", folder, "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as service:
            try:
                ours, peer = _measure(Path(folder), service, options.rounds)
            finally:
                service.send_signal(signal.SIGTERM)
                service.wait(120)
    ratio = statistics.median(ours) / statistics.median(peer)
    print(f"from POST to the first line of the ingest child, median of {options.rounds}")
    print(f"  ours {statistics.median(ours):.3f} s, bare process with the same modules {statistics.median(peer):.3f} s")
    print(f"  ratio {ratio:.2f} (target {TARGET}: {'reached' if ratio <= TARGET else 'MISSED'})")
    return 0


def _measure(folder: Path, service: subprocess.Popen[bytes], rounds: int) -> tuple[list[float], list[float]]:
    credentials = folder / "credentials.json"
    end = time.monotonic() + LONGEST_WAIT_SECONDS
    while not credentials.exists():
        if service.poll() is not None or time.monotonic() > end:
            raise RuntimeError("the service did not start")
        time.sleep(0.1)
    known = json.loads(credentials.read_text())
    worker = worker_of(service.pid)
    ours, peer = [], []
    headers = {"Authorization": f"Bearer {known['key']}"}
    with httpx.Client(base_url=known["url"], headers=headers, timeout=90, trust_env=False) as client:
        # The first of each fills the caches of files and connections.
        seconds_to_first_line(client, worker, 0)
        peer_seconds()
        for number in range(1, rounds + 1):
            ours.append(seconds_to_first_line(client, worker, number))
            peer.append(peer_seconds())
    return ours, peer


if __name__ == "__main__":
    sys.exit(main())
