"""Audits the two example runs over HTTP, as a training pipeline would, and shows what comes back.

    make demo            (or: python -m examples.demo)

Renders the data set, starts `runaudit serve` in a temporary folder, hands in both runs with their data, waits for the
verdicts, shows them and the report of the faulty run, and takes everything down again. Ends with 0 only if the healthy
run did not fail and the faulty run failed because of its learning rate.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.shapes import render
from runaudit.client import Audit, Client, Credentials

RUNS = Path(__file__).parent / "runs"
READY_SECONDS = 120
AUDIT_SECONDS = 600
STOP_SECONDS = 60
EXPECTED_CAUSES = {"learning_rate", "numerical_divergence"}
"""What the faulty run's first finding may be called: its learning rate, or what that did to its numbers."""


class DemoError(Exception):
    """The demo can't go on, or did not show what it promises."""


def main() -> int:
    """Run the demo and return the exit code."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="runaudit-demo-") as folder:
        root = Path(folder)
        service_dir = root / "service"
        try:
            with _stage("rendered the data set"):
                data = render(root / "data")
            with (
                _service(service_dir, root / "serve.log") as credentials,
                Client(credentials.url, credentials.key) as client,
            ):
                _audit_both(client, data)
        except KeyboardInterrupt:
            return 130
        except Exception as error:
            _show_logs([root / "serve.log", *sorted(service_dir.rglob("*.log"))])
            print(f"\nThe demo failed: {type(error).__name__}: {error}", file=sys.stderr)
            return 1
    print(f"\nDone in {time.monotonic() - started:.0f} s; the service is stopped and its folder removed.")
    return 0


def _audit_both(client: Client, data: Path) -> None:
    """Hand in both runs, wait for both, show them."""
    with _stage("handed in examples/runs/healthy and examples/runs/faulty"):
        submitted = {name: client.submit(RUNS / name, data, run_name=name) for name in ("healthy", "faulty")}
    audits = {name: _wait(client, audit) for name, audit in submitted.items()}
    reports = {name: json.loads(client.report(audit.id)) for name, audit in audits.items()}
    print("\n" + client.report(audits["faulty"].id, format="markdown"))
    print("In short:")
    for name, audit in audits.items():
        box = reports[name]["validation"]["metrics"]["box"]
        print(f"  {name:8} {str(audit.verdict).upper():13} mAP50-95 {box['map50_95']:.3f}  {audit.headline}")
    _expect(audits, reports["faulty"]["findings"])


def _wait(client: Client, audit: Audit) -> Audit:
    """The audit once it has succeeded; its stages are printed on the way."""
    begun = time.monotonic()
    stages: list[str] = []

    def follow(current: Audit) -> None:
        stage = current.progress.stage if current.state == "running" else current.state
        if stage and stage not in stages:
            stages.append(stage)
            print(f"           {audit.run_name}: {stage}", flush=True)

    ended = client.wait(audit.id, timeout=AUDIT_SECONDS, on_progress=follow)
    if ended.state != "succeeded":
        raise DemoError(f"the audit of {audit.run_name} ended as {ended.state}: {ended.error}")
    print(f"{time.monotonic() - begun:7.1f} s  audited {audit.run_name}: {ended.verdict}", flush=True)
    return ended


def _expect(audits: dict[str, Audit], faulty_findings: list[dict[str, object]]) -> None:
    """Raise DemoError unless the two runs were told apart for the right reason."""
    if audits["healthy"].verdict not in ("pass", "warn"):
        raise DemoError(f"the healthy run got the verdict {audits['healthy'].verdict}")
    if audits["faulty"].verdict != "fail":
        raise DemoError(f"the faulty run got the verdict {audits['faulty'].verdict}")
    first = faulty_findings[0]["cause"]
    if first not in EXPECTED_CAUSES:
        raise DemoError(f"the faulty run's first finding is {first}, not one of {sorted(EXPECTED_CAUSES)}")


@contextmanager
def _service(data_dir: Path, log: Path) -> Iterator[Credentials]:
    """`runaudit serve` on a free port, with its data in `data_dir`; stopped at the end, killed if it does not stop."""
    command = [str(Path(sys.executable).with_name("runaudit")), "serve", "--data-dir", str(data_dir), "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUNAUDIT_")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    try:
        with _stage("started database, broker, API, worker and reaper"):
            credentials = _ready(process, data_dir / "credentials.json")
        yield credentials
    finally:
        with _stage("stopped the service"):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _ready(process: subprocess.Popen[bytes], path: Path) -> Credentials:
    """The credentials that the service writes once it is ready."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if path.is_file():
            content = json.loads(path.read_text())
            return Credentials(url=content["url"], key=content["key"], source=str(path))
        if process.poll() is not None:
            raise DemoError(f"the service ended with status {process.returncode} before it was ready")
        time.sleep(0.1)
    raise DemoError(f"the service was not ready after {READY_SECONDS} s")


@contextmanager
def _stage(done: str) -> Iterator[None]:
    """Print what was done and how long it took."""
    started = time.monotonic()
    yield
    print(f"{time.monotonic() - started:7.1f} s  {done}", flush=True)


def _show_logs(logs: list[Path], lines: int = 30) -> None:
    """Print the last lines of each log to standard error."""
    for log in logs:
        if log.is_file():
            tail = log.read_text(errors="replace").splitlines()[-lines:]
            print(f"\n--- the end of {log.name}", *tail, sep="\n", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
