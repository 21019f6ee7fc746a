"""After which errors an audit is tried again, and when; once with a real worker whose audit runs out of memory."""

from __future__ import annotations

import io
import os
import resource
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from examples.shapes import render
from examples.train import RUNS
from runaudit.errors import ArchiveError, ChildError, ChildMemoryError, ChildTimeoutError, RunauditError
from runaudit_service.store.bell import Bell
from runaudit_service.store.models import Artifact, AuditArtifact, new_id
from runaudit_worker.workshop import MEMORY_RETRY_SECONDS, pause_before_retry
from tests.conftest import wait_until
from tests.worker.children import children
from tests.worker.rows import audit_of, job_of, submit
from tests.worker.workplace import Workplace


@pytest.mark.parametrize(
    ("error", "pauses"),
    [
        (ArchiveError("cut short"), [None]),
        (ChildTimeoutError("too long"), [None]),
        (ChildMemoryError("too large"), [MEMORY_RETRY_SECONDS, None, None]),
        (ChildError("SIGSEGV"), [1, 2, 4]),
        (RunauditError("no room", code="disk_full"), [1, 2, 4]),
    ],
)
def test_what_may_go_better_is_tried_again(error: RunauditError, pauses: list[float | None]) -> None:
    assert [pause_before_retry(error, attempt) for attempt in range(1, len(pauses) + 1)] == pauses


def run_of_imgsz(imgsz: int) -> bytes:
    """A zip of the healthy example, which claims to have been trained with another imgsz."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("results.csv", "weights/best.pt"):
            archive.write(RUNS / "healthy" / name, f"run/{name}")
        arguments = (RUNS / "healthy" / "args.yaml").read_text()
        archive.writestr("run/args.yaml", arguments.replace("imgsz: 160\n", f"imgsz: {imgsz}\n"))
    return packed.getvalue()


def zipped(folder: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return packed.getvalue()


def give_data(workplace: Workplace, audit_id: object, content: bytes) -> None:
    digest = workplace.store(content)
    with Session(workplace.engine) as session:
        tenant = session.scalars(select(Artifact.tenant_id)).first()
        artifact = Artifact(id=new_id(), tenant_id=tenant, sha256=digest, bytes=len(content))
        session.add(artifact)
        session.flush()
        session.add(AuditArtifact(audit_id=audit_id, role="data", artifact_id=artifact.id))
        session.commit()


def test_an_audit_without_memory_waits_a_minute_and_is_told(workplace: Workplace, tmp_path: Path) -> None:
    """The evaluate child's address space is bounded as soon as it validates."""
    workplace.extra["RUNAUDIT_DEVICE"] = "cpu"
    submitted = submit(workplace.engine, depth="standard", run_sha256=workplace.store(run_of_imgsz(4096)))
    give_data(workplace, submitted.audit_id, zipped(render(tmp_path / "set", train=1, val=24).parent))
    assert Bell(workplace.broker_url).ring("cpu")
    with workplace.worker() as worker:
        wait_until(lambda: audit_of(workplace.engine, submitted).progress_stage == "validate", seconds=60)
        (child,) = children(worker.pid)
        used = int(Path(f"/proc/{child}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.prlimit(child, resource.RLIMIT_AS, (used + 2**26, used + 2**26))
        wait_until(lambda: job_of(workplace.engine, submitted).last_error is not None, seconds=60)
    job = job_of(workplace.engine, submitted)
    assert job.last_error is not None
    assert job.last_error["code"] == "out_of_memory"
    assert (job.state, job.attempt) == ("queued", 1)
    assert job.run_after - datetime.now(UTC) > timedelta(seconds=MEMORY_RETRY_SECONDS / 2)
