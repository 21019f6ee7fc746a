"""The step between fork and exec, from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runaudit_service.embedded.part import Account, launch_command
from tests.conftest import wait_until

CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1 << 1, 1 << 2
LAUNCHED = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"


@pytest.mark.parametrize("death_signal", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_dies_with_its_parent(death_signal: signal.Signals) -> None:
    parent_script = (
        "import subprocess, sys, signal; from runaudit_service.embedded.part import launch_command\n"
        f"subprocess.run(launch_command([sys.executable, '-c', {LAUNCHED!r}], "
        f"death_signal=signal.Signals({int(death_signal)})))\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent_script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert Path(f"/proc/{child}").exists()
        parent.kill()
    wait_until(lambda: not Path(f"/proc/{child}").exists())


def test_nothing_starts_for_a_parent_that_is_gone() -> None:
    command = launch_command([sys.executable, "-c", "print('started')"], death_signal=signal.SIGKILL)
    command[command.index("--parent") + 1] = "1"
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "started" not in result.stdout
    assert "the parent ended" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes the account")
def test_no_capability_is_kept_where_none_is_needed() -> None:
    command = launch_command(
        ["/usr/bin/env", "cat", "/proc/self/status"],
        death_signal=signal.SIGKILL,
        account=Account(65534, 65534),
        reach=(Path("/usr/bin"),),
    )
    status = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["65534"] * 4
    assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == int(fields["CapAmb"], 16) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes the account")
def test_only_reading_is_kept_where_a_folder_is_closed(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "file").write_text("x")
    command = launch_command(
        ["/bin/sh", "-c", f"cat {closed}/file; cat /proc/self/status; echo y > {closed}/file"],
        death_signal=signal.SIGKILL,
        account=Account(65534, 65534),
        reach=(closed / "file",),
    )
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stdout.startswith("x")
    fields = dict(line.split(":\t", 1) for line in result.stdout.splitlines() if ":\t" in line)
    if int(fields["CapEff"], 16) == CAP_DAC_OVERRIDE:
        pytest.skip("this container has no CAP_DAC_READ_SEARCH to keep, so the wider right is kept")
    assert int(fields["CapEff"], 16) == CAP_DAC_READ_SEARCH
    assert result.returncode != 0
    assert (closed / "file").read_text() == "x"
