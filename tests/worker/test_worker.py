"""A worker process with a real broker and database: it hears the bell, and every way in which an audit ends."""

from __future__ import annotations

from runaudit_service.store.bell import Bell
from tests.conftest import wait_until
from tests.worker.rows import audit_of, events_of, job_of, submit
from tests.worker.workplace import Workplace


def test_an_artifact_that_is_gone_fails_the_audit_with_its_code(workplace: Workplace) -> None:
    with workplace.worker():
        submitted = submit(workplace.engine, run_sha256="c" * 64)
        assert Bell(workplace.broker_url).ring("cpu")
        wait_until(lambda: audit_of(workplace.engine, submitted).ended_at is not None)
    audit = audit_of(workplace.engine, submitted)
    assert audit.state == "failed"
    assert audit.error is not None
    assert audit.error["code"] == "artifact_missing"
    assert job_of(workplace.engine, submitted).attempt == 1
    assert events_of(workplace.engine, submitted) == ["audit.queued", "audit.started", "audit.failed"]
    assert workplace.job_folders == []
