"""The walls hold: each forbidden action is tried in a process that has raised them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from runaudit.isolation import sandbox

PRELUDE = """
import os, sys, socket
from pathlib import Path
from runaudit.isolation import sandbox
def refused(action):
    try:
        action()
    except OSError as error:
        return f"refused:{error.errno}"
    return "allowed"
inside, outside = Path(sys.argv[1]), Path(sys.argv[2])
"""


def behind_walls(script: str, tmp_path: Path) -> list[str]:
    """What `script` prints, line by line, when it runs in a process of its own with two folders at hand."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "kept").write_text("kept")
    result = subprocess.run(
        [sys.executable, "-I", "-c", PRELUDE + textwrap.dedent(script), str(inside), str(outside)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return result.stdout.split()


needs_walls = pytest.mark.skipif(
    sandbox.active_layers() != {"network": "blocked", "writes": "confined"},
    reason="this kernel lacks seccomp or Landlock",
)


@needs_walls
def test_internet_sockets_are_refused_and_unix_sockets_only_where_allowed(tmp_path: Path) -> None:
    script = """
    assert sandbox.block_network(allow_unix_sockets=True) == "blocked"
    print(refused(lambda: socket.socket(socket.AF_INET)), refused(lambda: socket.socket(socket.AF_INET6)))
    print(refused(lambda: socket.socket(socket.AF_UNIX)))
    assert sandbox.block_network(allow_unix_sockets=False) == "blocked"
    print(refused(lambda: socket.socket(socket.AF_UNIX)))
    """
    assert behind_walls(script, tmp_path) == ["refused:13", "refused:13", "allowed", "refused:13"]


@needs_walls
def test_files_can_be_changed_only_inside_the_given_folders(tmp_path: Path) -> None:
    script = """
    assert sandbox.confine_writes([inside]) == "confined"
    print(refused(lambda: (inside / "new").write_text("x")))
    print(refused(lambda: (outside / "new").write_text("x")))
    print(refused(lambda: (outside / "kept").write_text("x")))
    print(refused(lambda: os.truncate(outside / "kept", 0)))
    print(refused(lambda: (outside / "kept").unlink()))
    print(refused(lambda: (outside / "folder").mkdir()))
    print(refused(lambda: (outside / "kept").rename(inside / "kept")))
    print(refused(lambda: (outside / "kept").read_text()))
    """
    first, *refused, last = behind_walls(script, tmp_path)
    assert (first, last) == ("allowed", "allowed")
    assert all(answer.startswith("refused:") for answer in refused)
    assert (tmp_path / "outside" / "kept").read_text() == "kept"


@needs_walls
def test_other_processes_cannot_be_read_or_traced(tmp_path: Path) -> None:
    script = """
    import ctypes
    assert sandbox.block_network(allow_unix_sockets=True) == "blocked"
    libc = ctypes.CDLL(None, use_errno=True)
    print(libc.ptrace(16, os.getppid(), 0, 0), ctypes.get_errno())
    """
    assert behind_walls(script, tmp_path) == ["-1", "1"]


def test_memory_and_file_size_are_bounded(tmp_path: Path) -> None:
    script = """
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sandbox.limit_resources(memory_bytes=2**30, file_bytes=2**20)
    try:
        bytearray(2**31)
    except MemoryError:
        print("memory:bounded")
    print(refused(lambda: (inside / "large").write_bytes(b"x" * 2**21)))
    """
    assert behind_walls(script, tmp_path) == ["memory:bounded", "refused:27"]


def test_a_child_whose_parent_is_gone_ends_at_once(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-I", "-c", "from runaudit.isolation import sandbox; sandbox.die_with_parent(1); print('on')"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert os.getpid() != 1
    assert (result.returncode, result.stdout) == (70, "")
