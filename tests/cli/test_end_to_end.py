"""The client commands against the real service that `runaudit serve` starts, from the key to the report."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runaudit.client import Client, ProblemError, load_credentials
from tests.cli.command import COMMAND, NO_SERVICE, runaudit
from tests.cli.test_check import write_run

READY_SECONDS = 90
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A running service's environment: what the client commands need to find it."""
    folder = tmp_path_factory.mktemp("service")
    with (folder / "serve.log").open("wb") as log:
        serving = subprocess.Popen(
            [*COMMAND, "serve", "--data-dir", str(folder / "data"), "--port", "0"],
            env=os.environ | NO_SERVICE,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not (folder / "data" / "credentials.json").exists():
            assert serving.poll() is None and time.monotonic() < deadline, (folder / "serve.log").read_text()
            time.sleep(0.1)
        yield {"RUNAUDIT_DATA_DIR": str(folder / "data")}
    finally:
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(60) == 0, (folder / "serve.log").read_text()


@pytest.fixture
def diverged(tmp_path: Path) -> Path:
    return write_run(tmp_path / "diverged", epochs=40, diverges_at=12)


def test_a_run_goes_in_and_its_report_comes_out(service: dict[str, str], diverged: Path, tmp_path: Path) -> None:
    submitted = runaudit(
        "submit", diverged, "--wait", "--depth", "curves", "--run-name", "diverged", "--label", "branch=main",
        "--format", "json", environment=service,
    )  # fmt: skip
    assert submitted.returncode == 1, submitted.stderr
    report = json.loads(submitted.stdout)
    assert report["verdict"] == "fail"

    listed = json.loads(runaudit("list", "--json", "--label", "branch=main", environment=service).stdout)
    assert [one["run_name"] for one in listed] == ["diverged"]
    audit_id = listed[0]["id"]
    shown = runaudit("show", audit_id, environment=service)
    assert shown.returncode == 0
    assert report["headline"] in shown.stdout
    assert json.loads(runaudit("report", audit_id, "--format", "json", environment=service).stdout) == report
    text = runaudit("report", audit_id, environment=service)
    markdown = runaudit("report", audit_id, "--format", "markdown", "-o", tmp_path / "r.md", environment=service)
    assert (text.returncode, markdown.returncode) == (0, 0)
    assert "numerical_divergence" in text.stdout
    assert "numerical_divergence" in (tmp_path / "r.md").read_text()


def test_the_service_and_check_agree(service: dict[str, str], diverged: Path) -> None:
    """But for seconds, and for what names the artifact."""
    here = json.loads(runaudit("check", diverged, "--depth", "curves", "--format", "json").stdout)
    there = json.loads(
        runaudit("submit", diverged, "--wait", "--depth", "curves", "--format", "json", environment=service).stdout
    )
    for report in (here, there):
        del report["provenance"]
    assert here == there


def test_the_same_run_again_is_the_earlier_audit_unless_forced(service: dict[str, str], diverged: Path) -> None:
    first = runaudit("submit", diverged, "--depth", "curves", environment=service).stdout
    again = runaudit("submit", diverged, "--depth", "curves", environment=service).stdout
    forced = runaudit("submit", diverged, "--depth", "curves", "--force", environment=service).stdout
    assert first == again
    assert first != forced


def test_a_run_that_cannot_be_read_exits_with_2(service: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "run.zip").write_bytes(b"PK\x03\x04 cut short")
    ended = runaudit("submit", tmp_path / "run.zip", "--wait", environment=service)
    assert ended.returncode == 2
    assert "failed" in ended.stderr and "[archive_" in ended.stderr


def test_every_format_of_a_report_is_served_and_others_exit_with_2(service: dict[str, str], diverged: Path) -> None:
    audit_id = runaudit("submit", diverged, "--depth", "curves", environment=service).stdout.strip()
    begins = {"json": "{", "html": "<!doctype html>", "markdown": "#", "junit": "<?xml", "sarif": "{"}
    for name, beginning in begins.items():
        answer = runaudit("report", audit_id, "--format", name, environment=service)
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.lower().startswith(beginning), name
    assert runaudit("report", audit_id, "--format", "pdf", environment=service).returncode == 2


def test_a_new_key_opens_what_its_scopes_say_and_no_more(service: dict[str, str]) -> None:
    created = runaudit("keys", "create", "reader", "--scope", "audits:read", environment=service)
    assert created.returncode == 0, created.stderr
    limited = service | {"RUNAUDIT_API_KEY": created.stdout.strip()}
    assert runaudit("list", environment=limited).returncode == 0
    refused = runaudit("keys", "create", "another", environment=limited)
    assert refused.returncode == 2
    assert "[insufficient_scope]" in refused.stderr


def test_doctor_reaches_the_service(service: dict[str, str]) -> None:
    found = json.loads(runaudit("doctor", "--json", environment=service).stdout)
    assert found["service"]["state"] == "ready", found["service"]


def test_cancel_and_rerun(service: dict[str, str], diverged: Path) -> None:
    with Client.from_environment(load_credentials(service)) as client:
        first = client.wait(client.submit(diverged, depth="curves", force=True).id, timeout=60)
        again = client.rerun(first.id)
        assert again.rerun_of == first.id
        assert client.wait(again.id, timeout=60).verdict == first.verdict
        with pytest.raises(ProblemError) as caught:
            client.cancel(first.id)
        assert caught.value.error_code == "audit_already_ended"


def test_pages_join_without_gaps(service: dict[str, str], diverged: Path) -> None:
    with Client.from_environment(load_credentials(service)) as client:
        made = [client.submit(diverged, depth="curves", force=True, labels={"paged": "yes"}).id for _ in range(5)]
        found = [audit.id for audit in client.list(labels={"paged": "yes"}, page_size=2)]
    assert found == made[::-1]


def test_the_example_of_the_documentation_runs(service: dict[str, str], diverged: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "client.md").read_text(), flags=re.S)
    target = tmp_path / "runs" / "detect" / "train"
    target.parent.mkdir(parents=True)
    diverged.rename(target)
    ended = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)],
        cwd=tmp_path,
        env=os.environ | NO_SERVICE | service,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "fail" in ended.stdout
