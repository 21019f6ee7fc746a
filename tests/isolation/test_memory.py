"""What runs out of memory is told as that: by the process itself where it can, by its parent where it was killed."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

import pytest

from examples.shapes import render
from examples.train import RUNS
from runaudit.errors import ChildMemoryError
from runaudit.isolation import sandbox
from runaudit.isolation.audit import run_audit
from runaudit.isolation.job import JobSpec, Progress, Source
from runaudit.isolation.memory import kernel_kills, why_killed
from tests.isolation.test_supervisor import children


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [(3, 4, "out_of_memory"), (3, 3, "child_crashed"), (None, None, "child_crashed")],
)
def test_a_kill_is_put_down_to_memory_where_the_kernel_has_killed(
    before: int | None, after: int | None, code: str
) -> None:
    error = why_killed("evaluate", before, after)
    assert error.error_code == code
    assert isinstance(error, ChildMemoryError) == (code == "out_of_memory")
    assert "SIGKILL" in error.detail
    assert ("memory" in error.detail) == (after != 3)


def test_the_kernel_s_kills_are_counted(tmp_path: Path) -> None:
    assert isinstance(kernel_kills(), int)
    (tmp_path / "vmstat").write_text("nr_free_pages 12\noom_kill 7\nswap_ra 0\n")
    assert kernel_kills(tmp_path / "vmstat") == 7
    (tmp_path / "vmstat").write_text("nr_free_pages 12\n")
    assert kernel_kills(tmp_path / "vmstat") is None
    assert kernel_kills(tmp_path / "absent") is None


def test_a_model_too_large_for_the_memory_is_told_with_what_it_was_run_with(tmp_path: Path) -> None:
    """The evaluate child's address space is bounded once it begins to validate, so that its next large array fails."""
    run = tmp_path / "run"
    shutil.copytree(RUNS / "healthy", run)
    arguments = (run / "args.yaml").read_text()
    assert "imgsz: 160\n" in arguments
    (run / "args.yaml").write_text(arguments.replace("imgsz: 160\n", "imgsz: 4096\n"))
    data = render(tmp_path / "data", train=1, val=4)
    job = tmp_path / "job"
    job.mkdir()
    scores: list[str] = []
    before = set(children())

    def bound(progress: Progress) -> None:
        if progress.stage != "validate" or scores:
            return
        (child,) = set(children()) - before
        scores.append(Path(f"/proc/{child}/oom_score_adj").read_text().strip())
        used = int(Path(f"/proc/{child}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.prlimit(child, resource.RLIMIT_AS, (used + 2**28, used + 2**28))

    spec = JobSpec(
        run=Source(kind="folder", path=str(run)), data=Source(kind="data_yaml", path=str(data)), device="cpu"
    )
    with pytest.raises(ChildMemoryError) as caught:
        run_audit(spec, job, on_progress=bound, should_stop=lambda: False)
    assert caught.value.error_code == "out_of_memory"
    for said in ("imgsz 4096", "4 images at a time", "device cpu", "where there is more memory"):
        assert said in caught.value.detail
    assert "DefaultCPUAllocator" not in caught.value.detail
    assert scores == [str(sandbox.FIRST_TO_KILL)]
