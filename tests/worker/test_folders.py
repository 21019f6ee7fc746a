"""Job folders: private, gone at the end, and gone after a worker that was killed."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runaudit_worker.folders import job_folder, remove_abandoned


def test_a_folder_lasts_as_long_as_its_context(tmp_path: Path) -> None:
    root = tmp_path / "work"
    with job_folder(root, "job-1") as folder:
        assert folder == root / "job-1"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert list(folder.iterdir()) == []
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("x")
        (folder / "deep").chmod(0)
        (folder / "link").symlink_to(tmp_path)
    assert list(root.iterdir()) == []
    assert tmp_path.exists()


def test_an_error_inside_leaves_nothing_either(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), job_folder(tmp_path, "job-1"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_use_stays_and_what_the_dead_left_goes(tmp_path: Path) -> None:
    script = (
        "import os, signal; from pathlib import Path; from runaudit_worker.folders import job_folder\n"
        f"with job_folder(Path({str(tmp_path)!r}), 'dead-1') as folder:\n"
        "    (folder / 'file').write_text('x'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    assert (tmp_path / "dead-1" / "file").exists()
    with job_folder(tmp_path, "live-1") as folder:
        assert remove_abandoned(tmp_path) == 1
        assert folder.exists()
        assert not (tmp_path / "dead-1").exists()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["live-1", "live-1.lock"]
    assert remove_abandoned(tmp_path) == 0
